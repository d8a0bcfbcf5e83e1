//! cos(Δt ω + φ).

/// The argument of the cosine. Its product and its sum are rounded to f32, one after the other: for
/// a month in seconds that is the difference between two encodings, and it is part of the definition.
fn argument(omega: f32, phi: f32, delta: f32) -> f64 {
    let product = delta * omega;
    f64::from(product + phi)
}

/// `[n, width]`.
pub(crate) fn time_encoding(omega: &[f32], phi: &[f32], delta: &[f32]) -> Vec<f64> {
    let mut out = Vec::new();
    for &delta in delta {
        for (&omega, &phi) in omega.iter().zip(phi) {
            out.push(argument(omega, phi, delta).cos());
        }
    }
    out
}

/// Gradients of ω and φ.
pub(crate) fn time_gradients(
    omega: &[f32],
    phi: &[f32],
    delta: &[f32],
    grad: &[f64],
) -> [Vec<f64>; 2] {
    let width = omega.len();
    let (mut d_omega, mut d_phi) = (vec![0.0; width], vec![0.0; width]);
    for (i, &delta) in delta.iter().enumerate() {
        for c in 0..width {
            let d_argument = -argument(omega[c], phi[c], delta).sin() * grad[i * width + c];
            d_omega[c] += d_argument * f64::from(delta);
            d_phi[c] += d_argument;
        }
    }
    [d_omega, d_phi]
}
