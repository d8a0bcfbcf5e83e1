//! What a model reads of one batch.

use burn::tensor::{Int, Tensor};

use crate::kernels::dropout::{DrawRows, Dropout};
use crate::kernels::gather_rows::Uses;
use crate::kernels::temporal_attention::AttentionSlots;

/// What a model reads of one batch.
///
/// A row is a node whose memory the batch needs (`time_delta = message`), or a (node,
/// time) pair (`query`).
#[derive(Debug, Clone)]
pub struct ModelInput {
    /// Memory of each row, `[rows, width]`.
    pub memory: Tensor<2>,
    /// Mail, `[mail rows, slots x mail width]`: one per row, or those that `mailbox` refers to.
    pub mail: Tensor<2>,
    /// Mail that some rows absorb before it.
    pub backlog: Option<BacklogInput>,
    /// Past changes of the rows that will be written, in training with [`pres`](super::pres).
    pub trends: Option<TrendInput>,
    /// Time since the last update of each row, `[rows]`, in the stream's unit.
    pub delta_t: Tensor<1>,
    /// 1 where the row goes through the updater, 0 where it keeps its memory, `[rows]`.
    pub active: Tensor<1, Int>,
    /// Where a row's mail is and how old, if the updater attends to each of them.
    pub mailbox: Option<MailboxInput>,
    /// Node features of each row, `[rows, node width]`, if the stream has any.
    pub node_features: Option<Tensor<2>>,
    /// Time since the last event of each root over the time since the stream's start,
    /// `[roots]`, roots being src ‖ dst ‖ neg.
    pub root_recency: Tensor<1>,
    /// Statistics of the past events of each pair that the link predictor scores, standardised,
    /// `[2 events, statistics]`: of (src, dst) of all events, then of (src, neg); none for a
    /// model that reads none.
    pub pair_history: Option<Tensor<2>>,
    /// Rows by which dropouts are drawn, where ranks share a batch, else none: of the roots of each layer, the
    /// innermost first, or of the rows for a model without layers.
    pub draws: Vec<DrawRows>,
    /// Layers, the innermost first: its rows are the memory's, and its roots are the rows
    /// of the next layer; the last one's roots are the batch's.
    pub layers: Vec<LayerInput>,
}

/// Mail that rows absorb before their newest, without gradients, as
/// [`Backlog`](crate::memory::backlog::Backlog) has it.
#[derive(Debug, Clone)]
pub struct BacklogInput {
    /// `[entries]`: a row with the memory that each entry begins with.
    pub row: Tensor<1, Int>,
    /// Entries of each step: the first ones.
    pub steps: Vec<usize>,
    /// `[mail, mail width]`, step by step.
    pub mail: Tensor<2>,
    /// `[mail]`, as [`ModelInput::delta_t`].
    pub delta_t: Tensor<1>,
    /// `[rows]`: each row among the entries and, behind them, the rows.
    pub source: Tensor<1, Int>,
}

/// Past changes of the rows that will be written, as
/// [`FetchedTrends`](crate::memory::trends::FetchedTrends) has them.
#[derive(Debug, Clone)]
pub struct TrendInput {
    /// `[trends]`: the row of each.
    pub row: Tensor<1, Int>,
    /// Trends of each row.
    pub row_uses: Uses,
    /// Sums of past changes per unit of time, `[trends, width]`.
    pub sums: Tensor<2>,
    /// How many there were, at least 1, `[trends, 1]`.
    pub count: Tensor<2>,
    /// 1 where there were some, else 0, `[trends, 1]`.
    pub known: Tensor<2>,
    /// Time since the last update, in the stream's unit, `[trends, 1]`.
    pub delta_t: Tensor<2>,
    /// The same, at least a tick, `[trends, 1]`.
    pub spacing: Tensor<2>,
    /// What each counts in the loss, where ranks share the batch, `[trends, 1]`.
    pub share: Option<Tensor<2>>,
    /// `[rows]`: each row among the rows and, behind them, the trends.
    pub source: Tensor<1, Int>,
    /// Rows of each of these.
    pub source_uses: Uses,
}

/// Mail as the attention kernel takes past events.
#[derive(Debug, Clone)]
pub struct MailboxInput {
    /// `[rows, slots, 4]`: 0, place among the mail, bits of the f32 time since, query row.
    pub slot: Tensor<3, Int>,
    /// `[queries]`: a row with the memory of each query. Rows of one node share it.
    pub query: Tensor<1, Int>,
    /// Rows that use each query.
    pub query_uses: Uses,
}

/// One sampled layer.
#[derive(Debug, Clone)]
pub struct LayerInput {
    /// Row of each root, `[roots]`; the rows of roots come before all others.
    pub root_row: Tensor<1, Int>,
    /// Roots that use each of their rows.
    pub root_uses: Uses,
    /// Sampled past events of each root; none where the model needs none.
    pub slots: AttentionSlots,
    /// Edge features of the batch's events and of the sampled ones, `[event rows, edge width]`.
    pub edge: Tensor<2>,
}

/// Seed and counter of an iteration's dropouts; `None` in evaluation.
pub type DropoutKey = Option<(u64, u32)>;

/// The draws of one of a model's dropouts, which have distinct `stream` numbers; none in
/// evaluation.
pub(super) fn draws(key: DropoutKey, probability: f64, stream: u32) -> Dropout {
    key.map_or(Dropout::OFF, |(seed, iteration)| {
        Dropout::new(probability as f32, seed, stream, iteration)
    })
}
