//! Adam (arXiv 1412.6980, algorithm 1) with β₁ = 0.9, β₂ = 0.999 and ε = 1e-8.

/// Where `parameter` is after steps `1..=steps` with the gradients that `gradient` gives.
pub(crate) fn adam(
    mut parameter: f64,
    learning_rate: f64,
    steps: u32,
    gradient: impl Fn(u32) -> f64,
) -> f64 {
    let (mut first, mut second) = (0.0, 0.0);
    for t in 1..=steps {
        let g = gradient(t);
        first = 0.9 * first + 0.1 * g;
        second = 0.999 * second + 0.001 * g * g;
        let m = first / (1.0 - 0.9f64.powi(t as i32));
        let v: f64 = second / (1.0 - 0.999f64.powi(t as i32));
        parameter -= learning_rate * m / (v.sqrt() + 1e-8);
    }
    parameter
}
