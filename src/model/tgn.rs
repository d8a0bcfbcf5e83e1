//! TGN (Rossi et al., 2020; arXiv 2006.10637) as TGL defines it: a GRU over mail, layers
//! of temporal attention.

use burn::module::Module;
use burn::tensor::Tensor;

use super::config::ModelConfig;
use super::init::Initializer;
use super::input::{DropoutKey, ModelInput};
use super::memory_updater::RecurrentUpdater;
use super::node_features::NodeFeatures;
use super::temporal_attention::TemporalAttention;

/// The whole model.
#[derive(Module, Debug)]
pub struct Tgn {
    /// s' = GRU([mail | Φ(Δt)], s).
    pub updater: RecurrentUpdater,
    /// h = s' + features.
    pub node_features: NodeFeatures,
    /// h = attention of the roots' h over the sampled events' h, the innermost layer first.
    pub layers: Vec<TemporalAttention>,
}

impl Tgn {
    /// The model with initial weights.
    pub(super) fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> Tgn {
        Tgn {
            updater: RecurrentUpdater::gru(config, init),
            node_features: NodeFeatures::new(config, init),
            layers: (0..config.layers)
                .map(|layer| TemporalAttention::new(layer, config, init))
                .collect(),
        }
    }

    /// Embedding of each root, `[roots, width]`, from the updated rows `memory`.
    pub(super) fn embed(
        &self,
        memory: Tensor<2>,
        input: &ModelInput,
        key: DropoutKey,
    ) -> Tensor<2> {
        let mut node = self
            .node_features
            .combine(memory, input.node_features.as_ref());
        for (nth, (layer, sampled)) in self.layers.iter().zip(&input.layers).enumerate() {
            node = layer.forward(node, sampled, key, input.draws.get(nth));
        }
        node
    }
}
