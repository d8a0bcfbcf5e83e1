
// Activations of recurrent cells, NaN for NaN. CPU kernels: kernels/cpu/gru_gates.rs.

fn sigmoid(x: f32) -> f32 {
    return unless_nan(x, 1.0 / (1.0 + exp(-clamp(x, -80.0, 80.0))));
}

// tanh of a driver may overflow for large arguments; its result is 1 from 10 on.
fn bounded_tanh(x: f32) -> f32 {
    return unless_nan(x, tanh(clamp(x, -10.0, 10.0)));
}
