//! Layer norm of each row, after a dropout and a relu if these are asked for.

use super::dropout::Draws;

/// Added to the variance.
const EPSILON: f64 = 1e-5;

/// A row on its way.
struct Row {
    /// After the dropout.
    dropped: Vec<f64>,
    /// After the relu too: minus the mean, over the deviation.
    normalised: Vec<f64>,
    deviation: f64,
}

fn row(x: &[f64], first: usize, draws: Draws, relu: bool) -> Row {
    let width = x.len() as f64;
    let dropped: Vec<f64> = x
        .iter()
        .enumerate()
        .map(|(c, x)| x * draws.factor(first + c))
        .collect();
    let kept: Vec<f64> = dropped
        .iter()
        .map(|x| if relu { x.max(0.0) } else { *x })
        .collect();
    let mean = kept.iter().sum::<f64>() / width;
    let variance = kept.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
    let deviation = (variance + EPSILON).sqrt();
    Row {
        dropped,
        normalised: kept.iter().map(|x| (x - mean) / deviation).collect(),
        deviation,
    }
}

/// Rows as wide as `gamma` and `beta`.
pub(crate) fn output_norm(
    x: &[f64],
    [gamma, beta]: [&[f64]; 2],
    draws: Draws,
    relu: bool,
) -> Vec<f64> {
    let width = gamma.len();
    let mut out = Vec::new();
    for (r, x) in x.chunks(width).enumerate() {
        let row = row(x, r * width, draws, relu);
        for c in 0..width {
            out.push(row.normalised[c] * gamma[c] + beta[c]);
        }
    }
    out
}

/// Gradients of x, gamma and beta.
pub(crate) fn output_norm_gradients(
    x: &[f64],
    gamma: &[f64],
    draws: Draws,
    relu: bool,
    grad: &[f64],
) -> [Vec<f64>; 3] {
    let width = gamma.len();
    let mut d_x = Vec::new();
    let (mut d_gamma, mut d_beta) = (vec![0.0; width], vec![0.0; width]);
    for (r, (x, grad)) in x.chunks(width).zip(grad.chunks(width)).enumerate() {
        let row = row(x, r * width, draws, relu);
        let d_normalised: Vec<f64> = grad.iter().zip(gamma).map(|(g, gamma)| g * gamma).collect();
        // The mean and the variance depend on all numbers of the row.
        let mean = d_normalised.iter().sum::<f64>() / width as f64;
        let along = d_normalised.iter().zip(&row.normalised);
        let along = along.map(|(d, n)| d * n).sum::<f64>() / width as f64;
        for c in 0..width {
            let n = row.normalised[c];
            let d_kept = (d_normalised[c] - mean - n * along) / row.deviation;
            let passes = !relu || row.dropped[c] > 0.0;
            let d_dropped = if passes { d_kept } else { 0.0 };
            d_x.push(d_dropped * draws.factor(r * width + c));
            d_gamma[c] += grad[c] * n;
            d_beta[c] += grad[c];
        }
    }
    [d_x, d_gamma, d_beta]
}
