//! Launches of the attention: a workgroup takes a root, forward and backward; the gradients of node rows are summed
//! in one more.

use burn::backend::TensorMetadata;
use burn::backend::ops::IntTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::tensor::Shape;

use super::gather_rows::{Pieces, segment_sums};
use super::products::strided_sums;
use super::settled;
use super::wgsl::{self, ATTENTION, COSINE, COUNTER_HASH, FINITE, KernelSpec, ROWS};
use crate::kernels::choice::{GPU, Kernels, SOFTWARE};
use crate::kernels::dropout::Dropout;
use crate::kernels::gather_rows::LongRows;
use crate::kernels::temporal_attention::{
    AttentionGradients, AttentionOutput, AttentionShape, AttentionTensors, TemporalAttention,
};

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
    storage_buffers: 8,
    variants: ROW_VARIANTS,
};

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
    let kernels = settled::kernels_of(query);
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
        long: tensors.long,
    }
}

/// Writes the gradient of the node rows, of the queries, the gradient of the result and the shares of its roots.
fn node_gradient(
    [query, grad, shares]: [&CubeTensor; 3],
    tensors: &AttentionTensors<CubeBackend>,
    shape: &AttentionShape,
    long: LongRows,
    d_node: &CubeTensor,
) {
    let (queries, roots) = (query.shape()[1], tensors.slot.shape()[0]);
    let rows = tensors.node.shape()[0];
    let of_one_table = wgsl::beginning(d_node, Shape::new([1, rows, shape.node]));
    let pieces = Pieces::new(&of_one_table, &tensors.items, long);
    let [uses, long_rows, of_rows] = pieces.sizes();
    wgsl::launch(
        &BACKWARD_ROWS,
        &row_constants(widths(shape)),
        wgsl::groups_of(
            (rows + long.pieces) * shape.node.div_ceil(4),
            BACKWARD_ROWS.workgroup,
        ),
        &[
            query,
            grad,
            shares,
            &tensors.slot,
            &tensors.offsets,
            &tensors.items,
            d_node,
            pieces.partial(),
        ],
        &[
            rows as u32,
            roots as u32,
            queries as u32,
            uses,
            long_rows,
            of_rows,
        ],
    );
    pieces.add();
}

/// The gradient of the queries, given the scores of the forward pass and the gradient of its result; those of node rows and
/// time parameters are written to `d_node` and `d_time`.
pub(super) fn backward(
    [query, score, grad]: [CubeTensor; 3],
    tensors: AttentionTensors<CubeBackend>,
    (shape, dropout): (&AttentionShape, &Dropout),
    [d_node, d_time]: [&CubeTensor; 2],
) -> CubeTensor {
    let [query, score, grad] = [query, score, grad].map(into_contiguous);
    let tensors = contiguous(tensors);
    let (queries, roots) = (query.shape()[1], tensors.slot.shape()[0]);
    let coefficients = 2 * shape.fanout * shape.heads;
    let side_width = coefficients + 2 * shape.time;
    // Gradients of the queries, then of all else, root by root.
    let of_queries = grad.shape().num_elements();
    let shares = wgsl::empty(&query, [of_queries + roots * side_width]);
    let slot = slots_and_draws(&tensors.slot, &tensors.draw_row, dropout);
    wgsl::launch(
        &BACKWARD,
        &constants(shape, &query),
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
        &sizes(roots, queries, dropout),
    );
    let d_query = wgsl::beginning(&shares, grad.shape());
    let [long_queries, long_rows] = tensors.long;
    let uses = (&tensors.query_offsets, &tensors.query_items);
    let d_query = segment_sums(&d_query, uses.0, uses.1, long_queries);
    node_gradient([&query, &grad, &shares], &tensors, shape, long_rows, d_node);
    let of_time = of_queries + coefficients;
    strided_sums(&shares, [roots, side_width], of_time, d_time);
    d_query
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
        let [node, time] = [&tensors.node, &tensors.time].map(|of| wgsl::empty(of, of.shape()));
        let numbers = [query, score, grad];
        let query = backward(numbers, tensors, (&shape, &dropout), [&node, &time]);
        AttentionGradients { query, node, time }
    }
}
