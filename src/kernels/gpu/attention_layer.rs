//! Launches of an attention layer: products that read the roots' rows where they lie, two to a launch, around the
//! attention's own; what all queries have in common in one more, forward and backward.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};

use super::memories::empty_together;
use super::product::{Base, Matrix, Product, multiply};
use super::products::{from_heads_backward, linear_backward, to_heads_backward};
use super::temporal_attention;
use super::wgsl::{self, COSINE, FINITE, KernelSpec, ROWS};
use crate::kernels::attention_layer::{AttentionLayer, LayerInputs, LayerOutput, LayerSlots};
use crate::kernels::costs;
use crate::kernels::dropout::Dropout;
use crate::kernels::gather_rows::GatherRows;
use crate::kernels::products::Products;
use crate::kernels::temporal_attention::{AttentionShape, TemporalAttention};
use crate::profiler::{self, Kind, Operation};

/// `shaders/query_row.wgsl`.
pub(crate) static QUERY_ROW: KernelSpec = KernelSpec {
    name: "query_row",
    source: include_str!("../../../shaders/query_row.wgsl"),
    shared: &[COSINE, FINITE],
    workgroup: 64,
    storage_buffers: 4,
    variants: &[&[("WIDTH", 100), ("TIME", 100)]],
};

/// `shaders/query_row_backward.wgsl`.
pub(crate) static QUERY_ROW_BACKWARD: KernelSpec = KernelSpec {
    name: "query_row_backward",
    source: include_str!("../../../shaders/query_row_backward.wgsl"),
    shared: &[ROWS, COSINE, FINITE],
    workgroup: 64,
    storage_buffers: 5,
    variants: &[&[("WIDTH", 100), ("TIME", 100)]],
};

/// Constants of both.
fn constants(time: &CubeTensor, weight: &CubeTensor) -> [(&'static str, u32); 2] {
    let (time, width) = (time.shape()[1], weight.shape()[1]);
    [("WIDTH", width as u32), ("TIME", time as u32)]
}

/// `bias` and the encoding of no time difference through `weight`, `[width]`. All contiguous.
fn query_row(time: &CubeTensor, weight: &CubeTensor, bias: &CubeTensor) -> CubeTensor {
    let out = wgsl::empty(bias, bias.shape());
    wgsl::launch(
        &QUERY_ROW,
        &constants(time, weight),
        1,
        &[time, weight, bias, &out],
        &[0],
    );
    out
}

/// Writes the gradient of `query_time` to `d`, given that of the row, which is its `query_bias`; that of the phases is added to
/// its `time`.
fn query_row_backward(inputs: &LayerInputs<CubeBackend>, d: &LayerInputs<CubeBackend>) {
    let (time, weight) = (&inputs.time, &inputs.query_time);
    wgsl::launch(
        &QUERY_ROW_BACKWARD,
        &constants(time, weight),
        wgsl::groups_of(time.shape()[1], QUERY_ROW_BACKWARD.workgroup),
        &[time, weight, &d.query_bias, &d.query_time, &d.time],
        &[0],
    );
}

fn contiguous(inputs: LayerInputs<CubeBackend>) -> LayerInputs<CubeBackend> {
    LayerInputs {
        node: into_contiguous(inputs.node),
        time: into_contiguous(inputs.time),
        query_node: into_contiguous(inputs.query_node),
        query_time: into_contiguous(inputs.query_time),
        query_bias: into_contiguous(inputs.query_bias),
        key: into_contiguous(inputs.key),
        value: into_contiguous(inputs.value),
        output_value: into_contiguous(inputs.output_value),
        output_node: into_contiguous(inputs.output_node),
        output_bias: into_contiguous(inputs.output_bias),
    }
}

/// Begins the layer, forward or backward.
fn operation(
    name: &'static str,
    inputs: &LayerInputs<CubeBackend>,
    slots: &LayerSlots<CubeBackend>,
    shape: &AttentionShape,
    backward: bool,
) -> Operation {
    profiler::operation(name, Kind::Kernel, || {
        let (roots, events) = (slots.slot.shape()[0], slots.edge.shape()[0]);
        let of = [roots, slots.own_rows(), inputs.node.shape()[0], events];
        costs::attention_layer(shape, of, inputs.key.shape()[1], backward)
    })
}

/// Queries, and what the roots' rows add to the output, `[own rows, width]`: of one matrix the products with two
/// weights.
fn of_own_rows(inputs: &LayerInputs<CubeBackend>, own_rows: usize) -> [CubeTensor; 2] {
    let width = inputs.node.shape()[1];
    let row = query_row(&inputs.time, &inputs.query_time, &inputs.query_bias);
    let products = [(); 2].map(|()| wgsl::empty(&row, [own_rows, width]));
    let weights = [&inputs.query_node, &inputs.output_node];
    let bases = [&row, &inputs.output_bias];
    multiply(&[0, 1].map(|of| {
        let factors = [&inputs.node, weights[of]].map(|x| Matrix::whole(x, width));
        let size = [1, own_rows, width, width];
        let out = Matrix::whole(&products[of], width);
        Product::of_rows(factors, size, Base::Row(bases[of]), out)
    }));
    products
}

/// The output: the values' product, and for each root what its row adds.
fn output(
    values: &CubeTensor,
    weight: &CubeTensor,
    of_own: &CubeTensor,
    root_row: CubeTensor,
) -> CubeTensor {
    let (roots, width) = (values.shape()[0], values.shape()[1]);
    let root_row = into_contiguous(root_row);
    let out = wgsl::empty(values, [roots, width]);
    multiply(&[Product::of_rows(
        [values, weight].map(|x| Matrix::whole(x, width)),
        [1, roots, width, width],
        Base::Table(of_own, &root_row),
        Matrix::whole(&out, width),
    )]);
    out
}

/// Adds the gradient of the queries and of what the roots' rows add to the output, by way of these rows, to that of the
/// node rows in `d`, and writes those of the two weights and biases to it.
fn own_rows_backward(
    inputs: &LayerInputs<CubeBackend>,
    grads: [&CubeTensor; 2],
    d: &LayerInputs<CubeBackend>,
) {
    let (own_rows, width) = (grads[0].shape()[0], grads[0].shape()[1]);
    let whole = |x| Matrix::whole(x, width);
    let of = |grad, weight| [whole(grad), whole(weight).transposed()];
    let size = [1, own_rows, width, width];
    let of_query = of(grads[0], &inputs.query_node);
    multiply(&[Product {
        more: Some((of(grads[1], &inputs.output_node), width)),
        ..Product::of_rows(of_query, size, Base::Output, whole(&d.node))
    }]);
    let d_weights = [&d.query_node, &d.output_node];
    let d_biases = [&d.query_bias, &d.output_bias];
    multiply(&[0, 1].map(|of| {
        let factors = [whole(&inputs.node).transposed(), whole(grads[of])];
        let size = [1, width, own_rows, width];
        Product::of_terms(factors, size, whole(d_weights[of]), Some(d_biases[of]))
    }));
}

/// Room for the gradients of the parameters, in one memory, beside that of the node rows.
fn room(inputs: &LayerInputs<CubeBackend>, node: CubeTensor) -> LayerInputs<CubeBackend> {
    let parameters = [
        &inputs.time,
        &inputs.query_node,
        &inputs.query_time,
        &inputs.query_bias,
        &inputs.key,
        &inputs.value,
        &inputs.output_value,
        &inputs.output_node,
        &inputs.output_bias,
    ];
    let shapes = parameters.map(|of| of.shape());
    let [
        time,
        query_node,
        query_time,
        query_bias,
        key,
        value,
        output_value,
        output_node,
        output_bias,
    ] = empty_together(&node, shapes);
    LayerInputs {
        node,
        time,
        query_node,
        query_time,
        query_bias,
        key,
        value,
        output_value,
        output_node,
        output_bias,
    }
}

impl AttentionLayer for CubeBackend {
    fn attention_layer(
        inputs: LayerInputs<Self>,
        slots: LayerSlots<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> LayerOutput<Self> {
        let _operation = operation("attention_layer", &inputs, &slots, &shape, false);
        let inputs = contiguous(inputs);
        let [query, of_own] = of_own_rows(&inputs, slots.own_rows());
        let projected = Self::product_to_heads(query.clone(), inputs.key, shape.heads);
        let tensors = slots.attention(inputs.node, inputs.time);
        let attended = Self::temporal_attention(projected.clone(), tensors, shape, dropout);
        let values = Self::product_from_heads(attended.out.clone(), inputs.value);
        LayerOutput {
            out: output(&values, &inputs.output_value, &of_own, slots.root_row),
            query,
            projected,
            attended: attended.out,
            score: attended.score,
            values,
        }
    }

    fn attention_layer_backward(
        inputs: LayerInputs<Self>,
        slots: LayerSlots<Self>,
        output: LayerOutput<Self>,
        grad: FloatTensor<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> LayerInputs<Self> {
        let _operation = operation("attention_layer_backward", &inputs, &slots, &shape, true);
        let (inputs, grad) = (contiguous(inputs), into_contiguous(grad));
        let d = room(&inputs, wgsl::empty(&grad, inputs.node.shape()));
        let [d_values, d_attended] =
            [&output.values, &output.attended].map(|of| wgsl::empty(of, of.shape()));
        linear_backward(
            [&grad, &output.values, &inputs.output_value],
            [Some(&d_values), Some(&d.output_value), None],
        );
        let (offsets, items) = (slots.root_offsets.clone(), slots.root_items.clone());
        let d_of_own = Self::segment_sum(grad, offsets, items, slots.long[2]);
        from_heads_backward(
            [&d_values, &output.attended, &inputs.value],
            [&d_attended, &d.value],
        );
        let projected = output.projected;
        let d_projected = temporal_attention::backward(
            [projected, output.score, d_attended],
            slots.attention(inputs.node.clone(), inputs.time.clone()),
            (&shape, &dropout),
            [&d.node, &d.time],
        );
        let d_query = wgsl::empty(&output.query, output.query.shape());
        to_heads_backward(
            [&d_projected, &output.query, &inputs.key],
            [&d_query, &d.key],
        );
        own_rows_backward(&inputs, [&d_query, &d_of_own], &d);
        query_row_backward(&inputs, &d);
        d
    }
}
