//! The classifier on top of an embedding: two linear layers with a ReLU between.
//!
//! Source: `NodeClassificationModel` of TGL's `modules.py`, with one logit for two classes.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::kernels::products::linear;
use crate::model::init::Initializer;

/// relu(h W + b) w + b.
#[derive(Module, Debug)]
pub(super) struct NodeClassifier {
    /// `[width, width]`.
    hidden: Param<Tensor<2>>,
    /// `[width]`.
    hidden_bias: Param<Tensor<1>>,
    /// `[width, 1]`.
    output: Param<Tensor<2>>,
    /// `[1]`.
    output_bias: Param<Tensor<1>>,
}

impl NodeClassifier {
    /// A classifier with PyTorch's initial weights.
    pub(super) fn new(width: usize, init: &mut Initializer<'_>) -> NodeClassifier {
        let bound = 1.0 / (width as f64).sqrt();
        NodeClassifier {
            hidden: init.uniform([width, width], bound),
            hidden_bias: init.uniform([width], bound),
            output: init.uniform([width, 1], bound),
            output_bias: init.uniform([1], bound),
        }
    }

    /// Logits `[events]` of embeddings `[events, width]`.
    pub(super) fn forward(&self, embedding: Tensor<2>) -> Tensor<1> {
        let (hidden_bias, output_bias) = (self.hidden_bias.val(), self.output_bias.val());
        let hidden = linear(hidden_bias.unsqueeze(), embedding, self.hidden.val());
        linear(output_bias.unsqueeze(), relu(hidden), self.output.val()).reshape([-1])
    }

    /// Mean binary cross-entropy with `label` `[events]`, `[1]`.
    pub(super) fn loss(&self, embedding: Tensor<2>, label: Tensor<1>) -> Tensor<1> {
        let logit = self.forward(embedding);
        // log(1 + e^x) - x y, without overflow.
        let softplus = relu(logit.clone()) + logit.clone().abs().neg().exp().log1p();
        (softplus - logit * label).mean()
    }
}

/// max(x, 0), and NaN for NaN, of which burn's makes 0.
fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let not_positive = x.clone().lower_equal_elem(0.0);
    x.mask_fill(not_positive, 0.0)
}
