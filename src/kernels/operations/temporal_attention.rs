//! Attention of each root over its sampled past events, with projected queries.
//!
//! Keys and values of TGN's attention are linear in `x = [node row | edge features |
//! time encoding | 1]`, so `q . (W_k x) = (W_k^T q) . x` and
//! `sum a (W_v x) = W_v (sum a x)`: the model projects one query a head and root, and
//! this operation works on the inputs themselves. The 1 carries the two biases.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, ExtensionType, Flex, TensorMetadata,
    backend_extension,
};
use burn::tensor::{Int, Tensor};

use super::dropout::Dropout;
use super::gather_rows::{LongRows, Uses};
use crate::kernels::autodiff::differentiable;
use crate::kernels::costs;
use crate::kernels::cpu::temporal_attention as cpu;
use crate::kernels::flex::{floats, from_floats, ints};
use crate::profiler::{self, Kind};

pub use crate::kernels::cpu::temporal_attention::AttentionShape;

/// What the attention reads, as burn's backends take it.
#[derive(ExtensionType, Debug, Clone)]
pub struct AttentionTensors<B: Backend> {
    /// Node rows, `[rows, node]`.
    pub node: FloatTensor<B>,
    /// Edge feature rows, `[event rows, edge]`.
    pub edge: FloatTensor<B>,
    /// ω, then φ, `[2, time]`.
    pub time: FloatTensor<B>,
    /// `[roots, fanout, 4]`.
    pub slot: IntTensor<B>,
    /// Uses of each query row: offsets `[queries + 1]`.
    pub query_offsets: IntTensor<B>,
    /// Uses of each query row: roots.
    pub query_items: IntTensor<B>,
    /// Uses of each node row: offsets `[rows + 1]`.
    pub offsets: IntTensor<B>,
    /// Uses of each node row: slots.
    pub items: IntTensor<B>,
    /// Row by which each root's dropouts are drawn, `[roots]`, if the dropout goes by it.
    pub draw_row: IntTensor<B>,
    /// Query rows and node rows with many uses.
    pub long: [LongRows; 2],
}

/// Result and scores of the forward pass.
#[derive(ExtensionType)]
pub struct AttentionOutput<B: Backend> {
    pub(crate) out: FloatTensor<B>,
    pub(crate) score: FloatTensor<B>,
}

/// Gradients of query, node rows and time parameters.
#[derive(ExtensionType)]
pub struct AttentionGradients<B: Backend> {
    pub(crate) query: FloatTensor<B>,
    pub(crate) node: FloatTensor<B>,
    pub(crate) time: FloatTensor<B>,
}

/// Dispatch of [`temporal_attention`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff)]
pub trait TemporalAttention: Backend {
    /// See [`temporal_attention`].
    fn temporal_attention(
        query: FloatTensor<Self>,
        #[extension_type] tensors: AttentionTensors<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> AttentionOutput<Self>;

    /// Gradients, given the scores of the forward pass and the gradient of its result.
    fn temporal_attention_backward(
        query: FloatTensor<Self>,
        #[extension_type] tensors: AttentionTensors<Self>,
        score: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> AttentionGradients<Self>;
}

/// Calls `kernel` with the numbers of `query` and `tensors` and the uses of queries and node rows.
fn with_numbers<T>(
    query: &FloatTensor<Flex>,
    tensors: &AttentionTensors<Flex>,
    shape: AttentionShape,
    dropout: Dropout,
    kernel: impl FnOnce(&cpu::AttentionInput<'_>, [cpu::Uses<'_>; 2]) -> T,
) -> T {
    let [query_offsets, query_items, offsets, items] = [
        &tensors.query_offsets,
        &tensors.query_items,
        &tensors.offsets,
        &tensors.items,
    ]
    .map(ints);
    let of_queries = cpu::Uses::new(&query_offsets, &query_items);
    let of_rows = cpu::Uses::new(&offsets, &items);
    let slot = ints(&tensors.slot);
    let draw_row = dropout.by_rows.then(|| ints(&tensors.draw_row));
    let input = cpu::AttentionInput {
        query: &floats(query),
        node: &floats(&tensors.node),
        edge: &floats(&tensors.edge),
        time: &floats(&tensors.time),
        slot: bytemuck::cast_slice(&slot),
        draw_row: draw_row.as_deref(),
        shape,
        dropout,
    };
    kernel(&input, [of_queries, of_rows])
}

impl TemporalAttention for Flex {
    fn temporal_attention(
        query: FloatTensor<Self>,
        tensors: AttentionTensors<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> AttentionOutput<Self> {
        let roots = tensors.slot.shape()[0];
        let (out, score) = with_numbers(&query, &tensors, shape, dropout, |input, [queries, _]| {
            cpu::temporal_attention(input, queries)
        });
        AttentionOutput {
            out: from_floats(out, [shape.heads, roots, shape.width()]),
            score: from_floats(score, [roots, shape.fanout * shape.heads]),
        }
    }

    fn temporal_attention_backward(
        query: FloatTensor<Self>,
        tensors: AttentionTensors<Self>,
        score: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> AttentionGradients<Self> {
        let d = with_numbers(
            &query,
            &tensors,
            shape,
            dropout,
            |input, [queries, rows]| {
                cpu::temporal_attention_backward(
                    input,
                    &floats(&score),
                    &floats(&grad),
                    queries,
                    rows,
                )
            },
        );
        AttentionGradients {
            query: from_floats(d.query, query.shape()),
            node: from_floats(d.node, tensors.node.shape()),
            time: from_floats(d.time, [2, shape.time]),
        }
    }
}

impl<B: TemporalAttention, C: CheckpointStrategy> TemporalAttention for Autodiff<B, C> {
    fn temporal_attention(
        query: FloatTensor<Self>,
        tensors: AttentionTensors<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> AttentionOutput<Self> {
        let inputs = [query.node(), tensors.node.node(), tensors.time.node()];
        let query = query.into_primitive();
        let tensors = AttentionTensors::<B> {
            node: tensors.node.into_primitive(),
            edge: tensors.edge.into_primitive(),
            time: tensors.time.into_primitive(),
            slot: tensors.slot,
            query_offsets: tensors.query_offsets,
            query_items: tensors.query_items,
            offsets: tensors.offsets,
            items: tensors.items,
            draw_row: tensors.draw_row,
            long: tensors.long,
        };
        let output = B::temporal_attention(query.clone(), tensors.clone(), shape, dropout);
        let score = <Self as AutodiffBackend>::from_inner(output.score.clone());
        let kept = (query, tensors, output.score, shape, dropout);
        let out = differentiable::<B, C, _, 3>(inputs, kept, output.out, |kept, grad| {
            let (query, tensors, score, shape, dropout) = kept;
            let name = "temporal_attention_backward";
            let _operation = profiler::operation(name, Kind::Kernel, || {
                let AttentionTensors { node, edge, .. } = &tensors;
                let (roots, queries) = (grad.shape()[1], query.shape()[1]);
                let of = [roots, queries, node.shape()[0], edge.shape()[0]];
                costs::temporal_attention(&shape, of, true)
            });
            let d = B::temporal_attention_backward(query, tensors, score, grad, shape, dropout);
            [d.query, d.node, d.time]
        });
        AttentionOutput { out, score }
    }

    fn temporal_attention_backward(
        query: FloatTensor<Self>,
        tensors: AttentionTensors<Self>,
        score: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> AttentionGradients<Self> {
        let _ = (query, tensors, score, grad, shape, dropout);
        unreachable!("first order only")
    }
}

/// What each root attends to.
#[derive(Debug, Clone)]
pub struct AttentionSlots {
    /// `[roots, fanout, 4]`: row of the past event's other node, row of the event's
    /// features, bits of the f32 time since; row -1 where empty; row of the root's query, the
    /// same in all of its slots.
    pub slot: Tensor<3, Int>,
    /// For each query row the roots that read it; every row has one.
    pub query_uses: Uses,
    /// For each node row the flat slots (root * fanout + k) that read it.
    pub uses: Uses,
    /// `[roots]`: the row by which each root's dropouts are drawn; none where that is its own number.
    pub draw_row: Option<Tensor<1, Int>>,
}

/// For each head and root `sum_k dropout(softmax_k(leaky_relu(query . x_k))) x_k`,
/// `[heads, roots, width]`; zeros for a root without past events.
///
/// Roots may share queries: `query` is `[heads, queries, width]`, `node` `[rows, node]`, `edge` `[event rows, edge]`
/// (a constant), `time` `[2, time]`. Gradients go to query, node rows and time
/// parameters. Source: TGL's transformer layer, LeakyReLU slope 0.2, no scaling.
pub fn temporal_attention(
    query: Tensor<3>,
    node: Tensor<2>,
    edge: Tensor<2>,
    time: Tensor<2>,
    slots: AttentionSlots,
    dropout: Dropout,
) -> Tensor<3> {
    let [heads, _, width] = query.dims();
    let shape = AttentionShape {
        heads,
        fanout: slots.slot.dims()[1],
        node: node.dims()[1],
        edge: edge.dims()[1],
        time: time.dims()[1],
    };
    assert_eq!(width, shape.width(), "query width against {shape:?}");
    let _operation = profiler::operation("temporal_attention", Kind::Kernel, || {
        let (roots, queries) = (slots.slot.dims()[0], query.dims()[1]);
        let of = [roots, queries, node.dims()[0], edge.dims()[0]];
        costs::temporal_attention(&shape, of, false)
    });
    let dropout = Dropout {
        by_rows: slots.draw_row.is_some() && dropout != Dropout::OFF,
        ..dropout
    };
    // Any list, where none is read.
    let draw_row = slots
        .draw_row
        .unwrap_or_else(|| slots.query_uses.items.clone());
    let output = Dispatch::temporal_attention(
        query.into_dispatch(),
        AttentionTensors {
            node: node.into_dispatch(),
            edge: edge.into_dispatch(),
            time: time.into_dispatch(),
            slot: slots.slot.into_dispatch(),
            query_offsets: slots.query_uses.offsets.into_dispatch(),
            query_items: slots.query_uses.items.into_dispatch(),
            offsets: slots.uses.offsets.into_dispatch(),
            items: slots.uses.items.into_dispatch(),
            draw_row: draw_row.into_dispatch(),
            long: [slots.query_uses.long, slots.uses.long],
        },
        shape,
        dropout,
    );
    Tensor::from_dispatch(output.out)
}
