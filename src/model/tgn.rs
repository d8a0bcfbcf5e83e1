//! TGN (Rossi et al., 2020; arXiv 2006.10637) as TGL defines it: a GRU over mails, one
//! layer of temporal attention.

use burn::module::Module;

use super::init::Initializer;
use super::link_predictor::LinkPredictor;
use super::memory_updater::{GruUpdater, NodeFeatures};
use super::temporal_attention::TemporalAttention;
use super::{DropoutKey, LinkModel, MemoryModel, ModelConfig, ModelInput, ModelOutput};

/// The whole model.
#[derive(Module, Debug)]
pub struct Tgn {
    /// s' = GRU([mail | Φ(Δt)], s).
    pub updater: GruUpdater,
    /// h = s' + features.
    pub node_features: NodeFeatures,
    /// z = attention of the roots' h over the sampled events' h.
    pub attention: TemporalAttention,
}

impl Tgn {
    /// A TGN with its link predictor; the same `seed` gives the same bits on any device.
    pub fn with_predictor(config: &ModelConfig, init: &mut Initializer<'_>) -> LinkModel<Tgn> {
        LinkModel {
            model: Tgn {
                updater: GruUpdater::new(config, init),
                node_features: NodeFeatures::new(config, init),
                attention: TemporalAttention::new(config, init),
            },
            predictor: LinkPredictor::new(config, init),
        }
    }
}

impl MemoryModel for Tgn {
    fn forward(&self, input: &ModelInput, key: DropoutKey) -> ModelOutput {
        let memory = self.updater.forward(input);
        let node = self
            .node_features
            .combine(memory.clone(), input.node_features.as_ref());
        let embedding = self.attention.forward(node, input, key);
        ModelOutput { memory, embedding }
    }
}
