//! Attention of each root over its sampled past events, with projected queries.
//!
//! Keys and values of TGN's attention are linear in `x = [node row | edge features |
//! time encoding | 1]`, so `q . (W_k x) = (W_k^T q) . x` and
//! `sum a (W_v x) = W_v (sum a x)`: the model projects one query a head and root, and
//! this operation works on the inputs themselves. The 1 carries the two biases.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, ExtensionType, Flex, TensorMetadata,
    backend_extension,
};
use burn::tensor::{Int, Shape, Tensor};

use super::dropout::Dropout;
use super::gather_rows::{Uses, segment_sums};
use crate::kernels::autodiff::differentiable;
use crate::kernels::choice::{self, GPU, Kernels, SOFTWARE};
use crate::kernels::costs;
use crate::kernels::cpu::temporal_attention as cpu;
use crate::kernels::flex::{floats, from_floats, ints};
use crate::kernels::products::cube::strided_sums;
use crate::kernels::wgsl::{self, ATTENTION, COSINE, COUNTER_HASH, FINITE, KernelSpec, ROWS};
use crate::profiler::{self, Kind};

pub use crate::kernels::cpu::temporal_attention::AttentionShape;

/// Most invocations of the two kernels that take one root a workgroup.
const WORKGROUP: u32 = 128;

/// Workgroup memory that every adapter has.
const WORKGROUP_BYTES: usize = 16_384;

/// Wikipedia, no edge features, one slot, more pairs than invocations.
const SHAPES: [[u32; 5]; 4] = [
    [2, 10, 100, 172, 100],
    [1, 20, 16, 0, 12],
    [1, 1, 1, 1, 1],
    [8, 20, 100, 172, 64],
];

const ROOT_VARIANTS: &[&[(&str, u32)]] = &[
    &root_constants(SHAPES[0], &GPU, GPU.lanes),
    &root_constants(SHAPES[0], &SOFTWARE, SOFTWARE.lanes),
    &root_constants(SHAPES[1], &GPU, GPU.lanes),
    &root_constants(SHAPES[2], &GPU, GPU.lanes),
    &root_constants(SHAPES[2], &SOFTWARE, SOFTWARE.lanes),
    &root_constants(SHAPES[3], &GPU, 4),
];

const ROW_VARIANTS: &[&[(&str, u32)]] = &[
    &row_constants(SHAPES[0]),
    &row_constants(SHAPES[1]),
    &row_constants(SHAPES[2]),
    &row_constants(SHAPES[3]),
];

/// `shaders/temporal_attention.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "temporal_attention",
    source: include_str!("../../../shaders/temporal_attention.wgsl"),
    shared: &[ROWS, COSINE, FINITE, COUNTER_HASH, ATTENTION],
    workgroup: WORKGROUP,
    storage_buffers: 7,
    variants: ROOT_VARIANTS,
};

/// `shaders/temporal_attention_backward.wgsl`.
pub(crate) static BACKWARD: KernelSpec = KernelSpec {
    name: "temporal_attention_backward",
    source: include_str!("../../../shaders/temporal_attention_backward.wgsl"),
    shared: &[ROWS, COSINE, FINITE, COUNTER_HASH, ATTENTION],
    workgroup: WORKGROUP,
    storage_buffers: 8,
    variants: ROOT_VARIANTS,
};

/// `shaders/temporal_attention_backward_rows.wgsl`.
pub(crate) static BACKWARD_ROWS: KernelSpec = KernelSpec {
    name: "temporal_attention_backward_rows",
    source: include_str!("../../../shaders/temporal_attention_backward_rows.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 7,
    variants: ROW_VARIANTS,
};

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
}

/// Result and scores of the forward pass.
#[derive(ExtensionType)]
pub struct AttentionOutput<B: Backend> {
    out: FloatTensor<B>,
    score: FloatTensor<B>,
}

/// Gradients of query, node rows and time parameters.
#[derive(ExtensionType)]
pub struct AttentionGradients<B: Backend> {
    query: FloatTensor<B>,
    node: FloatTensor<B>,
    time: FloatTensor<B>,
}

/// Dispatch of [`temporal_attention`] to the backends.
#[backend_extension(Cube, Flex, Autodiff)]
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

/// Constants of the kernel that sums node rows: heads, fanout, widths of a node row, of an
/// edge feature row and of the time encoding.
const fn row_constants(of: [u32; 5]) -> [(&'static str, u32); 5] {
    let [heads, fanout, node, edge, time] = of;
    [
        ("HEADS", heads),
        ("FANOUT", fanout),
        ("NODE", node),
        ("EDGE", edge),
        ("TIME", time),
    ]
}

/// Constants of the two kernels that take one root a workgroup: the same, the workgroup's
/// invocations, how many of them share one dot product, and whether loops stay loops.
const fn root_constants(of: [u32; 5], kernels: &Kernels, lanes: u32) -> [(&'static str, u32); 8] {
    let [heads, fanout, node, edge, time] = row_constants(of);
    let workgroup = if kernels.row_workgroup < WORKGROUP {
        kernels.row_workgroup
    } else {
        WORKGROUP
    };
    [
        heads,
        fanout,
        node,
        edge,
        time,
        ("WORKGROUP", workgroup),
        ("LANES", lanes),
        ("ROLLED", kernels.rolled as u32),
    ]
}

/// The same for a launch.
fn constants(shape: &AttentionShape, query: &CubeTensor) -> [(&'static str, u32); 8] {
    let kernels = choice::of(query);
    let mut lanes = kernels.lanes;
    while lanes > 1 && workgroup_bytes(shape, lanes) > WORKGROUP_BYTES {
        lanes /= 2;
    }
    root_constants(widths(shape), &kernels, lanes)
}

/// Workgroup memory of the backward, which takes more than the forward, with `lanes`
/// invocations for each dot product.
fn workgroup_bytes(shape: &AttentionShape, lanes: u32) -> usize {
    let pairs = shape.fanout * shape.heads;
    8 * shape.fanout * shape.time + 4 * pairs * lanes as usize + 8 * pairs
}

/// What the constants of the shaders are made of.
fn widths(shape: &AttentionShape) -> [u32; 5] {
    let AttentionShape {
        heads,
        fanout,
        node,
        edge,
        time,
    } = *shape;
    [heads, fanout, node, edge, time].map(|width| width as u32)
}

/// The sizes uniform of the two kernels that take a root a workgroup.
fn sizes(roots: usize, queries: usize, dropout: &Dropout) -> [u32; 12] {
    let [a, b, c] = dropout.key;
    let scale = dropout.scale.to_bits();
    let [roots, queries] = [roots, queries].map(|rows| rows as u32);
    let by_rows = dropout.by_rows.into();
    [
        roots,
        dropout.drop_below,
        scale,
        0,
        a,
        b,
        c,
        queries,
        by_rows,
        0,
        0,
        0,
    ]
}

/// The slots, and behind them the roots' draw rows where the dropout goes by them: one buffer, since a
/// shader can bind only eight.
fn slots_and_draws(slot: &CubeTensor, draw_row: &CubeTensor, dropout: &Dropout) -> CubeTensor {
    if !dropout.by_rows {
        return slot.clone();
    }
    let flat = |ints: &CubeTensor| {
        let count = ints.shape().num_elements();
        CubeBackend::int_reshape(ints.clone(), Shape::new([count]))
    };
    CubeBackend::int_cat(vec![flat(slot), flat(draw_row)], 0)
}

fn contiguous(tensors: AttentionTensors<CubeBackend>) -> AttentionTensors<CubeBackend> {
    AttentionTensors {
        node: into_contiguous(tensors.node),
        edge: into_contiguous(tensors.edge),
        time: into_contiguous(tensors.time),
        slot: into_contiguous(tensors.slot),
        query_offsets: into_contiguous(tensors.query_offsets),
        query_items: into_contiguous(tensors.query_items),
        offsets: into_contiguous(tensors.offsets),
        items: into_contiguous(tensors.items),
        draw_row: into_contiguous(tensors.draw_row),
    }
}

impl TemporalAttention for CubeBackend {
    fn temporal_attention(
        query: FloatTensor<Self>,
        tensors: AttentionTensors<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> AttentionOutput<Self> {
        let (needed, offered) = (
            workgroup_bytes(&shape, 1),
            query.client.properties().hardware.max_shared_memory_size,
        );
        assert!(
            needed <= offered,
            "{shape:?} needs {needed} bytes of workgroup memory and this adapter offers \
             {offered}: use a smaller fanout or time width, or the CPU device"
        );
        let query = into_contiguous(query);
        let AttentionTensors {
            node,
            edge,
            time,
            slot,
            draw_row,
            ..
        } = contiguous(tensors);
        let (queries, roots) = (query.shape()[1], slot.shape()[0]);
        let slot = slots_and_draws(&slot, &draw_row, &dropout);
        let out = wgsl::empty(&query, [shape.heads, roots, shape.width()]);
        let score = wgsl::empty(&query, [roots, shape.fanout * shape.heads]);
        wgsl::launch(
            &FORWARD,
            &constants(&shape, &query),
            roots,
            &[&query, &node, &edge, &time, &slot, &out, &score],
            &sizes(roots, queries, &dropout),
        );
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
        let [query, score, grad] = [query, score, grad].map(into_contiguous);
        let tensors = contiguous(tensors);
        let (queries, roots) = (query.shape()[1], tensors.slot.shape()[0]);
        let coefficients = 2 * shape.fanout * shape.heads;
        let side_width = coefficients + 2 * shape.time;
        // Gradients of the queries, then of all else, root by root.
        let of_queries = grad.shape().num_elements();
        let shares = wgsl::empty(&query, [of_queries + roots * side_width]);
        let slot = slots_and_draws(&tensors.slot, &tensors.draw_row, &dropout);
        wgsl::launch(
            &BACKWARD,
            &constants(&shape, &query),
            roots,
            &[
                &query,
                &tensors.node,
                &tensors.edge,
                &tensors.time,
                &slot,
                &score,
                &grad,
                &shares,
            ],
            &sizes(roots, queries, &dropout),
        );
        let d_query = wgsl::beginning(&shares, grad.shape());
        let d_query = segment_sums(&d_query, &tensors.query_offsets, &tensors.query_items);
        let rows = tensors.node.shape()[0];
        let d_node = wgsl::empty(&query, [rows, shape.node]);
        wgsl::launch(
            &BACKWARD_ROWS,
            &row_constants(widths(&shape)),
            wgsl::groups_of(rows * shape.node.div_ceil(4), BACKWARD_ROWS.workgroup),
            &[
                &query,
                &grad,
                &shares,
                &tensors.slot,
                &tensors.offsets,
                &tensors.items,
                &d_node,
            ],
            &[rows as u32, roots as u32, queries as u32],
        );
        let d_time = strided_sums(
            &shares,
            [roots, side_width],
            of_queries + coefficients,
            2 * shape.time,
        );
        AttentionGradients {
            query: d_query,
            node: d_node,
            time: Self::float_reshape(d_time, Shape::new([2, shape.time])),
        }
    }
}

/// Calls `kernel` with the numbers of `query` and `tensors` and the uses of queries and node rows.
fn with_numbers<T>(
    query: &FloatTensor<Flex>,
    tensors: &AttentionTensors<Flex>,
    shape: AttentionShape,
    dropout: Dropout,
    kernel: impl FnOnce(&cpu::AttentionInput<'_>, [cpu::Uses<'_>; 2]) -> T,
) -> T {
    let of_queries = cpu::Uses {
        offsets: &ints(&tensors.query_offsets),
        items: &ints(&tensors.query_items),
    };
    let of_rows = cpu::Uses {
        offsets: &ints(&tensors.offsets),
        items: &ints(&tensors.items),
    };
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
        },
        shape,
        dropout,
    );
    Tensor::from_dispatch(output.out)
}
