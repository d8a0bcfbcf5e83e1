//! The encoder and what it has embedded.

use crate::memory::node_memory::NodeMemory;
use crate::model::LinkModel;

/// What embeds, and how far it is.
pub(super) struct Encoder {
    pub(super) model: LinkModel,
    /// After the batches that are embedded.
    pub(super) memory: NodeMemory,
    /// Batches that are embedded, of all parts together.
    pub(super) batches: usize,
}

/// Embeddings of labelled events, on the host.
#[derive(Default)]
pub(super) struct Rows {
    /// `[labelled events, width]`.
    pub(super) values: Vec<f32>,
    pub(super) width: usize,
}
