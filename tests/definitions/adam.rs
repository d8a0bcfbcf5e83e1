//! Steps of the optimisers, from their papers: Adam (arXiv 1412.6980, algorithm 1) with β₁ = 0.9,
//! β₂ = 0.999 and ε = 1e-8, AdamW (arXiv 1711.05101, algorithm 2), and gradient descent.

/// What is done with one parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    Adam,
    Sgd,
}

/// What gradients are multiplied by so that the norm of all of them together is at most `largest`, as
/// PyTorch's `clip_grad_norm_` has it.
pub(crate) fn clip_scale(gradients: impl Iterator<Item = f64>, largest: f64) -> f64 {
    let norm = gradients.map(|g| g * g).sum::<f64>().sqrt();
    (largest / (norm + 1e-6)).min(1.0)
}

/// Where `parameter` is after steps `1..=steps` with the gradients that `gradient` gives; before each
/// it loses the share learning rate × `weight_decay`.
pub(crate) fn moved(
    mut parameter: f64,
    rule: Rule,
    learning_rate: f64,
    weight_decay: f64,
    steps: u32,
    gradient: impl Fn(u32) -> f64,
) -> f64 {
    let (mut first, mut second) = (0.0, 0.0);
    for t in 1..=steps {
        let g = gradient(t);
        parameter -= learning_rate * weight_decay * parameter;
        first = 0.9 * first + 0.1 * g;
        second = 0.999 * second + 0.001 * g * g;
        let m = first / (1.0 - 0.9f64.powi(t as i32));
        let v: f64 = second / (1.0 - 0.999f64.powi(t as i32));
        parameter -= match rule {
            Rule::Adam => learning_rate * m / (v.sqrt() + 1e-8),
            Rule::Sgd => learning_rate * g,
        };
    }
    parameter
}
