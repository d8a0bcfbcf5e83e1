//! Scores whether two nodes interact, and the loss on those scores.

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

use super::config::ModelConfig;
use super::init::Initializer;
use crate::kernels::link_predictor::{PredictorInput, link_predictor, link_products};
use crate::kernels::link_scores::{LinkLayer, PairHistory, link_scores};

/// Two layers on a pair of embeddings and the pair's history h:
/// relu(src W_s + b_s + dst W_d + b_d + h W_h) w + b.
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
    /// `[statistics, width]`; none where no pair history is read.
    pub history: Option<Param<Tensor<2>>>,
}

/// Products of some sources, which many pairs share.
#[derive(Debug, Clone)]
pub struct OfSources(Tensor<2>);

/// Logits of a batch's events and of their negatives, and the loss on them.
#[derive(Debug, Clone)]
pub struct Logits {
    /// Of (src, dst), then of (src, neg), `[2 events]`: cut where they are read, which training does not.
    both: Tensor<1>,
    loss: Tensor<1>,
}

impl LinkPredictor {
    /// A predictor with PyTorch's initial weights.
    pub(crate) fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> LinkPredictor {
        let width = config.width;
        let bound = 1.0 / (width as f64).sqrt();
        LinkPredictor {
            source: init.uniform([width, width], bound),
            source_bias: init.uniform([width], bound),
            destination: init.uniform([width, width], bound),
            destination_bias: init.uniform([width], bound),
            output: init.uniform([width, 1], bound),
            output_bias: init.uniform([1], bound),
            // The last draw of a model, so that all others are the same without it.
            history: (config.pair_history > 0).then(|| {
                let bound = 1.0 / (config.pair_history as f64).sqrt();
                init.uniform([config.pair_history, width], bound)
            }),
        }
    }

    /// Logits and loss of a batch from the embeddings `[3 events, width]` of its roots
    /// src ‖ dst ‖ neg and the history `[2 events, statistics]` of (src, dst) ‖ (src, neg), if the
    /// predictor reads any.
    ///
    /// # Panics
    /// When there is history for a predictor that reads none, or the reverse.
    pub fn forward(&self, embedding: Tensor<2>, history: Option<Tensor<2>>) -> Logits {
        let scores = link_predictor(self.input(embedding, self.weighted(history)));
        Logits {
            both: scores.logits,
            loss: scores.loss,
        }
    }
}

impl LinkPredictor {
    /// What scores need of some sources, given their embeddings, `[sources, width]`.
    pub fn of_sources(&self, embedding: Tensor<2>) -> OfSources {
        let sources = embedding.dims()[0];
        OfSources(link_products(self.input(embedding, None), sources).source)
    }

    /// Logits of any pairs, `[pairs]`, bit for bit those that [`forward`](Self::forward) gives for
    /// the same two embeddings. `embedding` `[destinations, width]` is that of the destinations;
    /// `source` and `destination` `[pairs]` say which of either a pair has, `history`
    /// `[pairs, statistics]` what has happened between the two.
    ///
    /// # Panics
    /// When there is history for a predictor that reads none, or the reverse.
    pub fn score_pairs(
        &self,
        sources: &OfSources,
        embedding: Tensor<2>,
        [source, destination]: [Tensor<1, Int>; 2],
        history: Option<Tensor<2>>,
    ) -> Tensor<1> {
        let layer = LinkLayer {
            source: sources.0.clone(),
            history: self.weighted(history),
            ..link_products(self.input(embedding, None), 0)
        };
        link_scores(layer, [source, destination])
    }

    /// Statistics of pairs with their weights.
    fn weighted(&self, history: Option<Tensor<2>>) -> Option<PairHistory> {
        match (history, &self.history) {
            (None, None) => None,
            (Some(statistics), Some(weight)) => Some(PairHistory {
                statistics,
                weight: weight.val(),
            }),
            _ => panic!("statistics of pairs need weights, and weights need statistics"),
        }
    }

    fn input(&self, embedding: Tensor<2>, history: Option<PairHistory>) -> PredictorInput {
        PredictorInput {
            embedding,
            source: self.source.val(),
            source_bias: self.source_bias.val(),
            destination: self.destination.val(),
            destination_bias: self.destination_bias.val(),
            output: self.output.val(),
            output_bias: self.output_bias.val(),
            history,
        }
    }
}

impl Logits {
    /// How many events the batch has.
    pub fn events(&self) -> usize {
        self.both.dims()[0] / 2
    }

    /// Of (src, dst), `[events]`.
    pub fn positive(&self) -> Tensor<1> {
        self.both.clone().slice(0..self.events())
    }

    /// Of (src, neg), `[events]`.
    pub fn negative(&self) -> Tensor<1> {
        self.both.clone().slice(self.events()..2 * self.events())
    }

    /// Binary cross-entropy of the positives against 1 plus that of the negatives
    /// against 0, each averaged (TGL's loss), `[1]`. It alone carries a gradient.
    pub(crate) fn loss(&self) -> Tensor<1> {
        self.loss.clone()
    }

    /// The same without autodiff.
    pub(crate) fn inner(self) -> Logits {
        Logits {
            both: self.both.inner(),
            loss: self.loss.inner(),
        }
    }
}
