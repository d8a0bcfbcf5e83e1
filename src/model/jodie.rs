//! JODIE (Kumar et al., KDD 2019; arXiv 1908.01207) as TGL defines it: a recurrent cell over
//! mail, and an embedding that drifts with the time since the last event. No neighbours.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::Tensor;

use super::config::ModelConfig;
use super::init::Initializer;
use super::input::ModelInput;
use super::memory_updater::RecurrentUpdater;
use super::node_features::NodeFeatures;
use super::time_projection::TimeProjection;
use crate::kernels::root_norm::root_norm;

/// The whole model.
#[derive(Module, Debug)]
pub struct Jodie {
    /// s' = tanh(RNN([mail | Φ(Δt)], s)).
    pub updater: RecurrentUpdater,
    /// h = s' + features.
    pub node_features: NodeFeatures,
    /// n = LayerNorm(h).
    pub norm: LayerNorm,
    /// z = n (1 + w r + b) for the recency r of the root's last event.
    pub projection: TimeProjection,
}

impl Jodie {
    /// The model with initial weights.
    pub(super) fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> Jodie {
        Jodie {
            updater: RecurrentUpdater::rnn(config, init),
            node_features: NodeFeatures::new(config, init),
            norm: LayerNormConfig::new(config.width).init(init.device()),
            projection: TimeProjection::new(config.width, init),
        }
    }

    /// Embedding of each root, `[roots, width]`, from the updated rows `memory`.
    pub(super) fn embed(&self, memory: Tensor<2>, input: &ModelInput) -> Tensor<2> {
        let node = self
            .node_features
            .combine(memory, input.node_features.as_ref());
        let roots = &input.layers[0];
        root_norm(
            node,
            &self.norm,
            roots.root_row.clone(),
            roots.root_uses.clone(),
            Some(self.projection.to(input.root_recency.clone())),
        )
    }
}
