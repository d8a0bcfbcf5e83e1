//! APAN (Wang et al., SIGMOD 2021; arXiv 2011.11545) as TGL defines it: a node attends to the
//! mail that it got, its own and those of events around it. No neighbours are read to
//! predict: mail is routed to sampled neighbours instead.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::Tensor;

use super::config::ModelConfig;
use super::init::Initializer;
use super::input::ModelInput;
use super::mailbox_attention::MailboxAttention;
use super::node_features::NodeFeatures;
use crate::kernels::root_norm::root_norm;

/// The whole model.
#[derive(Module, Debug)]
pub struct Apan {
    /// s' = attention of s over [mail | Φ(ages)], and a layer on top.
    pub updater: MailboxAttention,
    /// h = s' + features (TGL's APAN reads no node features).
    pub node_features: NodeFeatures,
    /// z = LayerNorm(h).
    pub norm: LayerNorm,
}

impl Apan {
    /// The model with initial weights.
    pub(super) fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> Apan {
        Apan {
            updater: MailboxAttention::new(config, init),
            node_features: NodeFeatures::new(config, init),
            norm: LayerNormConfig::new(config.width).init(init.device()),
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
            None,
        )
    }
}
