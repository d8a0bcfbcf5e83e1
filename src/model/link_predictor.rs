//! Scores whether two nodes interact, and the loss on those scores.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};

use super::init::Initializer;
use super::{Logits, ModelConfig};

/// Two layers on a pair of embeddings: relu(src W_s + b_s + dst W_d + b_d) w + b.
#[derive(Module, Debug)]
pub struct LinkPredictor {
    /// `[width, width]`.
    pub source: Param<Tensor<2>>,
    /// `[width]`.
    pub source_bias: Param<Tensor<1>>,
    /// `[width, width]`.
    pub destination: Param<Tensor<2>>,
    /// `[width]`.
    pub destination_bias: Param<Tensor<1>>,
    /// `[width, 1]`.
    pub output: Param<Tensor<2>>,
    /// `[1]`.
    pub output_bias: Param<Tensor<1>>,
}

impl LinkPredictor {
    /// A predictor with PyTorch's initial weights.
    pub fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> LinkPredictor {
        let width = config.width;
        let bound = 1.0 / (width as f64).sqrt();
        LinkPredictor {
            source: init.uniform([width, width], bound),
            source_bias: init.uniform([width], bound),
            destination: init.uniform([width, width], bound),
            destination_bias: init.uniform([width], bound),
            output: init.uniform([width, 1], bound),
            output_bias: init.uniform([1], bound),
        }
    }

    /// Logits of a batch from the embeddings `[3 events, width]` of its roots
    /// src ‖ dst ‖ neg.
    pub fn forward(&self, embedding: Tensor<2>) -> Logits {
        let [roots, width] = embedding.dims();
        let events = roots / 3;
        let source = embedding.clone().slice(0..events).matmul(self.source.val())
            + self.source_bias.val().unsqueeze();
        let destination = embedding
            .slice(events..roots)
            .matmul(self.destination.val())
            + self.destination_bias.val().unsqueeze();
        let pair = destination.reshape([2, events, width]) + source.unsqueeze();
        let logit = activation::relu(pair)
            .reshape([2 * events, width])
            .matmul(self.output.val())
            + self.output_bias.val().unsqueeze();
        let logit = logit.reshape([2 * events]);
        Logits {
            positive: logit.clone().slice(0..events),
            negative: logit.slice(events..2 * events),
        }
    }
}

impl Logits {
    /// Binary cross-entropy of the positives against 1 plus that of the negatives
    /// against 0, each averaged (TGL's loss), `[1]`.
    pub fn loss(&self) -> Tensor<1> {
        softplus(self.positive.clone().neg()).mean() + softplus(self.negative.clone()).mean()
    }
}

/// log(1 + e^x) without overflow.
fn softplus(x: Tensor<1>) -> Tensor<1> {
    activation::relu(x.clone()) + x.abs().neg().exp().log1p()
}
