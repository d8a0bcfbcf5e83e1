//! JODIE's projection of embeddings to the time of a query (equation 3): x (1 + r w + b).

/// Rows as wide as `weight` and `bias`, one recency each.
pub(crate) fn time_projection(
    x: &[f64],
    recency: &[f64],
    weight: &[f64],
    bias: &[f64],
) -> Vec<f64> {
    let width = weight.len();
    let mut out = Vec::new();
    for (i, x) in x.iter().enumerate() {
        let (r, c) = (i / width, i % width);
        out.push(x * (1.0 + recency[r] * weight[c] + bias[c]));
    }
    out
}

/// Gradients of x, weight and bias.
pub(crate) fn time_projection_gradients(
    x: &[f64],
    recency: &[f64],
    weight: &[f64],
    bias: &[f64],
    grad: &[f64],
) -> [Vec<f64>; 3] {
    let width = weight.len();
    let mut d_x = Vec::new();
    let (mut d_weight, mut d_bias) = (vec![0.0; width], vec![0.0; width]);
    for i in 0..x.len() {
        let (r, c) = (i / width, i % width);
        d_x.push(grad[i] * (1.0 + recency[r] * weight[c] + bias[c]));
        d_weight[c] += grad[i] * x[i] * recency[r];
        d_bias[c] += grad[i] * x[i];
    }
    [d_x, d_weight, d_bias]
}
