//! Memory-based models: from fetched rows to embeddings and updated memory.
//!
//! A model never touches the node memory itself: it gets the rows that were fetched for
//! a batch ([`ModelInput`]) and returns updated rows beside the embeddings
//! ([`ModelOutput`]). So every model runs under any staleness and residency.

pub mod init;
pub mod link_predictor;
pub mod memory_updater;
pub mod temporal_attention;
pub mod tgl_weights;
pub mod tgn;
pub mod time_encoding;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Int, Tensor};

use crate::kernels::gather_rows::Uses;
use crate::kernels::temporal_attention::AttentionSlots;
use link_predictor::LinkPredictor;

/// Widths and probabilities of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelConfig {
    /// Width of a memory row and of an embedding.
    pub width: usize,
    /// Width of a time encoding.
    pub time_width: usize,
    /// Width of an edge feature row, 0 for none.
    pub edge_width: usize,
    /// Width of a node feature row, 0 for none.
    pub node_width: usize,
    /// Attention heads; must divide the width.
    pub heads: usize,
    /// Probability of dropout after a layer's output product.
    pub dropout: f32,
    /// Probability of dropout of attention weights.
    pub attention_dropout: f32,
}

impl ModelConfig {
    /// Width of a mail: own row, peer's row, edge features.
    pub fn mail_width(&self) -> usize {
        2 * self.width + self.edge_width
    }
}

/// What a model reads of one batch.
///
/// A row is a node whose memory the batch needs (`time_delta = message`), or a (node,
/// time) pair (`query`); roots and slots refer to rows.
#[derive(Debug, Clone)]
pub struct ModelInput {
    /// Memory of each row, `[rows, width]`.
    pub memory: Tensor<2>,
    /// Mail of each row, `[rows, mail width]`.
    pub mail: Tensor<2>,
    /// Time since the last update of each row, `[rows]`, in the stream's unit.
    pub delta_t: Tensor<1>,
    /// 1 where the row goes through the updater, 0 where it keeps its memory, `[rows]`.
    pub active: Tensor<1, Int>,
    /// Node features of each row, `[rows, node width]`, if the stream has any.
    pub node_features: Option<Tensor<2>>,
    /// Edge features of the batch's events and of the sampled ones, `[event rows, edge width]`.
    pub edge: Tensor<2>,
    /// Row of each root, `[roots]`, roots being src ‖ dst ‖ neg.
    pub root_row: Tensor<1, Int>,
    /// Roots that use each row.
    pub root_uses: Uses,
    /// Sampled past events of each root.
    pub slots: AttentionSlots,
}

/// What a model makes of a batch.
#[derive(Debug, Clone)]
pub struct ModelOutput {
    /// Updated memory of each row, `[rows, width]`.
    pub memory: Tensor<2>,
    /// Embedding of each root, `[roots, width]`.
    pub embedding: Tensor<2>,
}

/// Seed and counter of an iteration's dropouts; `None` in evaluation.
pub type DropoutKey = Option<(u64, u32)>;

/// A memory-based temporal graph neural network.
pub trait MemoryModel: Module + ModuleDisplay {
    /// Updates the rows and embeds the roots.
    fn forward(&self, input: &ModelInput, key: DropoutKey) -> ModelOutput;
}

/// A model with the predictor that is trained on top of it.
#[derive(Module, Debug)]
pub struct LinkModel<M: Module> {
    /// Makes embeddings.
    pub model: M,
    /// Scores pairs of embeddings.
    pub predictor: LinkPredictor,
}

/// Logits of a batch: `[events]` for its events and for their negatives.
#[derive(Debug, Clone)]
pub struct Logits {
    /// Of (src, dst).
    pub positive: Tensor<1>,
    /// Of (src, neg).
    pub negative: Tensor<1>,
}

impl<M: MemoryModel> LinkModel<M> {
    /// Logits of the batch and the updated rows.
    pub fn forward(&self, input: &ModelInput, key: DropoutKey) -> (Logits, Tensor<2>) {
        let output = self.model.forward(input, key);
        (self.predictor.forward(output.embedding), output.memory)
    }
}
