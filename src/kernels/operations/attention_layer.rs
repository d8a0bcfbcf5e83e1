//! An attention layer (TGN, equations 8-11) from node rows to what is normalised, as one operation: queries, their
//! projection to the keys' inputs, [`mod@super::temporal_attention`], values and the output product.
//!
//! As one operation, gradients of what is used twice are added where they are made, and the rows of the roots are read
//! where they lie. What depends on a root's row alone is computed once per row: a root that occurs again in the batch
//! shares it. On the CPU it is a sequence of the operations that it is made of, on an adapter one of fewer launches.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, ExtensionType, Flex, TensorMetadata,
    backend_extension,
};
use burn::tensor::{Int, Shape, Slice, Tensor};

use super::dropout::Dropout;
use super::gather_rows::{GatherRows, LongRows, Uses};
use super::products::{ProductGradients, Products, Wanted};
use super::temporal_attention::{
    AttentionGradients, AttentionShape, AttentionSlots, AttentionTensors, TemporalAttention,
};
use super::time_encoding::TimeEncoding;
use crate::kernels::autodiff::differentiable;
use crate::kernels::costs;
use crate::kernels::flex::from_floats;
use crate::profiler::{self, Kind, Operation};

/// What gets gradients, or the gradients, as burn's backends take them.
#[derive(ExtensionType, Debug, Clone)]
pub struct LayerInputs<B: Backend> {
    /// Node rows, those of the roots first, `[rows, width]`.
    pub node: FloatTensor<B>,
    /// ω, then φ, `[2, time width]`.
    pub time: FloatTensor<B>,
    /// `[width, width]`.
    pub query_node: FloatTensor<B>,
    /// `[time width, width]`.
    pub query_time: FloatTensor<B>,
    /// `[width]`.
    pub query_bias: FloatTensor<B>,
    /// `[attended, width]`.
    pub key: FloatTensor<B>,
    /// `[attended, width]`.
    pub value: FloatTensor<B>,
    /// `[width, width]`.
    pub output_value: FloatTensor<B>,
    /// `[width, width]`.
    pub output_node: FloatTensor<B>,
    /// `[width]`.
    pub output_bias: FloatTensor<B>,
}

/// The constants of a batch, as burn's backends take them.
#[derive(ExtensionType, Debug, Clone)]
pub struct LayerSlots<B: Backend> {
    /// Edge feature rows, `[event rows, edge]`.
    pub edge: FloatTensor<B>,
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
    /// Row of each root, `[roots]`.
    pub root_row: IntTensor<B>,
    /// Roots of each of these rows: offsets `[own rows + 1]`.
    pub root_offsets: IntTensor<B>,
    /// Roots of each of these rows.
    pub root_items: IntTensor<B>,
    /// Query rows, node rows and rows of roots with many uses.
    pub long: [LongRows; 3],
}

impl<B: Backend> LayerSlots<B> {
    /// Rows that roots have.
    pub(crate) fn own_rows(&self) -> usize {
        self.root_offsets.shape()[0].saturating_sub(1)
    }

    /// What the attention reads, of these node rows and time parameters.
    pub(crate) fn attention(
        &self,
        node: FloatTensor<B>,
        time: FloatTensor<B>,
    ) -> AttentionTensors<B> {
        let slots = self.clone();
        AttentionTensors {
            node,
            edge: slots.edge,
            time,
            slot: slots.slot,
            query_offsets: slots.query_offsets,
            query_items: slots.query_items,
            offsets: slots.offsets,
            items: slots.items,
            draw_row: slots.draw_row,
            long: [slots.long[0], slots.long[1]],
        }
    }
}

/// What a layer makes: its output and, for the backward, what lies between.
#[derive(ExtensionType, Debug, Clone)]
pub struct LayerOutput<B: Backend> {
    pub(crate) out: FloatTensor<B>,
    /// `[own rows, width]`.
    pub(crate) query: FloatTensor<B>,
    /// `[heads, own rows, attended]`.
    pub(crate) projected: FloatTensor<B>,
    /// `[heads, roots, attended]`.
    pub(crate) attended: FloatTensor<B>,
    /// `[roots, fanout x heads]`.
    pub(crate) score: FloatTensor<B>,
    /// `[roots, width]`.
    pub(crate) values: FloatTensor<B>,
}

/// Dispatch of [`attention_layer`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff)]
pub trait AttentionLayer: Backend {
    /// See [`attention_layer`].
    fn attention_layer(
        #[extension_type] inputs: LayerInputs<Self>,
        #[extension_type] slots: LayerSlots<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> LayerOutput<Self>;

    /// Gradients of the inputs.
    fn attention_layer_backward(
        #[extension_type] inputs: LayerInputs<Self>,
        #[extension_type] slots: LayerSlots<Self>,
        #[extension_type] output: LayerOutput<Self>,
        grad: FloatTensor<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> LayerInputs<Self>;
}

/// `[width]` as the row that products are added to.
fn as_row<B: Backend>(bias: FloatTensor<B>) -> FloatTensor<B> {
    let width = bias.shape()[0];
    B::float_reshape(bias, Shape::new([1, width]))
}

/// The first rows.
fn first_rows<B: Backend>(x: FloatTensor<B>, rows: usize) -> FloatTensor<B> {
    let width = x.shape()[1];
    B::float_slice(x, &[Slice::from(0..rows), Slice::from(0..width)])
}

/// [`super::products::linear`] as part of the layer.
fn linear<B: Products>(
    base: FloatTensor<B>,
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
) -> FloatTensor<B> {
    let _operation = profiler::operation("linear", Kind::Product, || {
        let size = [x.shape()[0], x.shape()[1], weight.shape()[1]];
        costs::product(size, base.shape().num_elements())
    });
    B::add_product(base, x, weight)
}

/// Begins an attention over these slots, forward or backward.
fn attending<B: Backend>(
    slots: &LayerSlots<B>,
    node: &FloatTensor<B>,
    shape: &AttentionShape,
    backward: bool,
) -> Operation {
    let name = match backward {
        false => "temporal_attention",
        true => "temporal_attention_backward",
    };
    profiler::operation(name, Kind::Kernel, || {
        let (roots, events) = (slots.slot.shape()[0], slots.edge.shape()[0]);
        let of = [roots, slots.own_rows(), node.shape()[0], events];
        costs::temporal_attention(shape, of, backward)
    })
}

impl AttentionLayer for Flex {
    fn attention_layer(
        inputs: LayerInputs<Self>,
        slots: LayerSlots<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> LayerOutput<Self> {
        let own_rows = slots.own_rows();
        let own = first_rows::<Self>(inputs.node.clone(), own_rows);
        let of_time = linear::<Self>(
            as_row::<Self>(inputs.query_bias),
            of_no_time(inputs.time.clone()),
            inputs.query_time,
        );
        let query = linear::<Self>(of_time, own.clone(), inputs.query_node);
        let (attended, width) = (inputs.key.shape()[0], inputs.key.shape()[1]);
        let heads = |name, rows| {
            let size = [shape.heads, rows, attended];
            profiler::operation(name, Kind::Product, || costs::head_product(size, width))
        };
        let operation = heads("to_heads", own_rows);
        let projected = Self::product_to_heads(query.clone(), inputs.key.clone(), shape.heads);
        drop(operation);
        let operation = attending(&slots, &inputs.node, &shape, false);
        let tensors = slots.attention(inputs.node, inputs.time);
        let attended = Self::temporal_attention(projected.clone(), tensors, shape, dropout);
        drop(operation);
        let operation = heads("from_heads", slots.slot.shape()[0]);
        let values = Self::product_from_heads(attended.out.clone(), inputs.value);
        drop(operation);

        let bias = as_row::<Self>(inputs.output_bias);
        let of_own = linear::<Self>(bias, own, inputs.output_node);
        let operation = profiler::operation("gather_rows", Kind::Kernel, || {
            costs::gather(slots.root_row.shape()[0], of_own.shape()[1])
        });
        let of_root = Self::gather_rows(
            of_own,
            slots.root_row,
            slots.root_offsets,
            slots.root_items,
            slots.long[2],
        );
        drop(operation);
        LayerOutput {
            out: linear::<Self>(of_root, values.clone(), inputs.output_value),
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
        let all = Wanted {
            input: true,
            weight: true,
            bias: true,
        };
        let own_rows = slots.own_rows();
        let own = first_rows::<Self>(inputs.node.clone(), own_rows);
        let no_bias = Wanted { bias: false, ..all };
        let of_values =
            Self::linear_gradients(grad.clone(), output.values, inputs.output_value, no_bias);
        let operation = profiler::operation("gather_rows_backward", Kind::Kernel, || {
            costs::segment_sum(slots.root_row.shape()[0], own_rows, grad.shape()[1])
        });
        let (offsets, items) = (slots.root_offsets.clone(), slots.root_items.clone());
        let d_own = Self::segment_sum(grad, offsets, items, slots.long[2]);
        drop(operation);
        let of_own = Self::linear_gradients(d_own, own.clone(), inputs.output_node, all);

        let [d_attended, value] =
            Self::from_heads_gradients(made(of_values.input), output.attended, inputs.value);
        let operation = attending(&slots, &inputs.node, &shape, true);
        let d = Self::temporal_attention_backward(
            output.projected,
            slots.attention(inputs.node, inputs.time.clone()),
            output.score,
            d_attended,
            shape,
            dropout,
        );
        drop(operation);
        let AttentionGradients { query, node, time } = d;
        let [d_query, key] = Self::to_heads_gradients(query, output.query, inputs.key);
        let of_query = Self::linear_gradients(d_query, own, inputs.query_node, all);

        let encoding = of_no_time(inputs.time.clone());
        let of_time = Self::linear_gradients(made(of_query.bias), encoding, inputs.query_time, all);
        let of_phase = time_gradient(inputs.time, made(of_time.input));
        let d_own = Self::float_add(made(of_own.input), made(of_query.input));
        let flat = |bias: Option<FloatTensor<Self>>| {
            let bias = made(bias);
            let width = bias.shape()[1];
            Self::float_reshape(bias, Shape::new([width]))
        };
        LayerInputs {
            node: added_to_first(node, d_own),
            time: Self::float_add(time, of_phase),
            query_node: made(of_query.weight),
            query_time: made(of_time.weight),
            query_bias: flat(of_time.bias),
            key,
            value,
            output_value: made(of_values.weight),
            output_node: made(of_own.weight),
            output_bias: flat(of_own.bias),
        }
    }
}

/// A gradient that was asked for.
fn made(gradient: Option<FloatTensor<Flex>>) -> FloatTensor<Flex> {
    match gradient {
        Some(gradient) => gradient,
        None => unreachable!("all gradients of a layer are asked for"),
    }
}

/// No time difference.
fn no_time() -> FloatTensor<Flex> {
    from_floats(vec![0.0], [1])
}

/// Encoding of no time difference, `[1, time width]`.
fn of_no_time(time: FloatTensor<Flex>) -> FloatTensor<Flex> {
    let _operation = profiler::operation("time_encoding", Kind::Kernel, || {
        costs::time_encoding(1, time.shape()[1], false)
    });
    Flex::time_encoding(time, no_time())
}

/// Gradient of the time parameters by way of that encoding.
fn time_gradient(time: FloatTensor<Flex>, grad: FloatTensor<Flex>) -> FloatTensor<Flex> {
    let _operation = profiler::operation("time_encoding_backward", Kind::Kernel, || {
        costs::time_encoding(1, time.shape()[1], true)
    });
    Flex::time_encoding_backward(time, no_time(), grad)
}

/// `table` with `rows` added to its first ones.
fn added_to_first(table: FloatTensor<Flex>, rows: FloatTensor<Flex>) -> FloatTensor<Flex> {
    let (count, width) = (rows.shape()[0], rows.shape()[1]);
    let sum = Flex::float_add(first_rows::<Flex>(table.clone(), count), rows);
    Flex::float_slice_assign(table, &[Slice::from(0..count), Slice::from(0..width)], sum)
}

impl<B: AttentionLayer, C: CheckpointStrategy> AttentionLayer for Autodiff<B, C> {
    fn attention_layer(
        inputs: LayerInputs<Self>,
        slots: LayerSlots<Self>,
        shape: AttentionShape,
        dropout: Dropout,
    ) -> LayerOutput<Self> {
        let nodes = [
            inputs.node.node(),
            inputs.time.node(),
            inputs.query_node.node(),
            inputs.query_time.node(),
            inputs.query_bias.node(),
            inputs.key.node(),
            inputs.value.node(),
            inputs.output_value.node(),
            inputs.output_node.node(),
            inputs.output_bias.node(),
        ];
        let (inputs, slots) = plain::<B, C>(inputs, slots);
        let output = B::attention_layer(inputs.clone(), slots.clone(), shape, dropout);
        let between = |made: &FloatTensor<B>| <Self as AutodiffBackend>::from_inner(made.clone());
        let query = between(&output.query);
        let projected = between(&output.projected);
        let attended = between(&output.attended);
        let score = between(&output.score);
        let values = between(&output.values);
        let out = output.out.clone();
        let kept = (inputs, slots, output, shape, dropout);
        let out = differentiable::<B, C, _, 10>(nodes, kept, out, |kept, grad| {
            let (inputs, slots, output, shape, dropout) = kept;
            let d = B::attention_layer_backward(inputs, slots, output, grad, shape, dropout);
            [
                d.node,
                d.time,
                d.query_node,
                d.query_time,
                d.query_bias,
                d.key,
                d.value,
                d.output_value,
                d.output_node,
                d.output_bias,
            ]
        });
        LayerOutput {
            out,
            query,
            projected,
            attended,
            score,
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
        let _ = (inputs, slots, output, grad, shape, dropout);
        unreachable!("first order only")
    }
}

/// The same without autodiff.
fn plain<B: Backend, C: CheckpointStrategy>(
    inputs: LayerInputs<Autodiff<B, C>>,
    slots: LayerSlots<Autodiff<B, C>>,
) -> (LayerInputs<B>, LayerSlots<B>) {
    let inputs = LayerInputs {
        node: inputs.node.into_primitive(),
        time: inputs.time.into_primitive(),
        query_node: inputs.query_node.into_primitive(),
        query_time: inputs.query_time.into_primitive(),
        query_bias: inputs.query_bias.into_primitive(),
        key: inputs.key.into_primitive(),
        value: inputs.value.into_primitive(),
        output_value: inputs.output_value.into_primitive(),
        output_node: inputs.output_node.into_primitive(),
        output_bias: inputs.output_bias.into_primitive(),
    };
    let slots = LayerSlots {
        edge: slots.edge.into_primitive(),
        slot: slots.slot,
        query_offsets: slots.query_offsets,
        query_items: slots.query_items,
        offsets: slots.offsets,
        items: slots.items,
        draw_row: slots.draw_row,
        root_row: slots.root_row,
        root_offsets: slots.root_offsets,
        root_items: slots.root_items,
        long: slots.long,
    };
    (inputs, slots)
}

/// Parameters of a layer.
#[derive(Debug, Clone)]
pub struct LayerParameters {
    /// Heads of the attention.
    pub heads: usize,
    /// ω, then φ, of the time since a past event, `[2, time width]`.
    pub time: Tensor<2>,
    /// Query weights of the root's row, `[width, width]`.
    pub query_node: Tensor<2>,
    /// Query weights of the encoding of no time difference, `[time width, width]`.
    pub query_time: Tensor<2>,
    /// `[width]`.
    pub query_bias: Tensor<1>,
    /// Key weights; the last row is the bias. `[width + edge width + time width + 1, width]`.
    pub key: Tensor<2>,
    /// Value weights; the last row is the bias. Shape of `key`.
    pub value: Tensor<2>,
    /// Output weights of the attended values, `[width, width]`.
    pub output_value: Tensor<2>,
    /// Output weights of the root's row, `[width, width]`.
    pub output_node: Tensor<2>,
    /// `[width]`.
    pub output_bias: Tensor<1>,
}

/// Roots of a layer.
#[derive(Debug, Clone)]
pub struct LayerRoots {
    /// Row of each root, `[roots]`; the rows of roots come before all others.
    pub row: Tensor<1, Int>,
    /// Roots that use each of their rows.
    pub uses: Uses,
}

/// What a root's past events and its own row come to, `[roots, width]`, before dropout, relu and norm, for the node rows
/// `node` `[rows, width]` and edge features `edge` `[event rows, edge width]` (constants):
/// (attention of q over x) W_value' W_output + row W_output' + b, where q = row W_q + Φ(0) W_q' + b_q and
/// x = [node row | edge features | Φ(Δt) | 1], as [`mod@super::temporal_attention`] takes them.
///
/// # Panics
/// When the heads do not divide the width or the key weights are not of the attended inputs.
pub fn attention_layer(
    node: Tensor<2>,
    edge: Tensor<2>,
    parameters: LayerParameters,
    roots: LayerRoots,
    slots: AttentionSlots,
    dropout: Dropout,
) -> Tensor<2> {
    let heads = parameters.heads;
    let shape = AttentionShape {
        heads,
        fanout: slots.slot.dims()[1],
        node: node.dims()[1],
        edge: edge.dims()[1],
        time: parameters.time.dims()[1],
    };
    let [attended, width] = parameters.key.dims();
    assert_eq!(attended, shape.width(), "key weights against {shape:?}");
    assert!(
        heads > 0 && width.is_multiple_of(heads),
        "{heads} heads in a width of {width}"
    );
    let dropout = Dropout {
        by_rows: slots.draw_row.is_some() && dropout != Dropout::OFF,
        ..dropout
    };
    // Any list, where none is read.
    let draw_row = slots
        .draw_row
        .unwrap_or_else(|| slots.query_uses.items.clone());
    let inputs = LayerInputs::<Dispatch> {
        node: node.into_dispatch(),
        time: parameters.time.into_dispatch(),
        query_node: parameters.query_node.into_dispatch(),
        query_time: parameters.query_time.into_dispatch(),
        query_bias: parameters.query_bias.into_dispatch(),
        key: parameters.key.into_dispatch(),
        value: parameters.value.into_dispatch(),
        output_value: parameters.output_value.into_dispatch(),
        output_node: parameters.output_node.into_dispatch(),
        output_bias: parameters.output_bias.into_dispatch(),
    };
    let long = [slots.query_uses.long, slots.uses.long, roots.uses.long];
    let slots = LayerSlots {
        edge: edge.into_dispatch(),
        slot: slots.slot.into_dispatch(),
        query_offsets: slots.query_uses.offsets.into_dispatch(),
        query_items: slots.query_uses.items.into_dispatch(),
        offsets: slots.uses.offsets.into_dispatch(),
        items: slots.uses.items.into_dispatch(),
        draw_row: draw_row.into_dispatch(),
        root_row: roots.row.into_dispatch(),
        root_offsets: roots.uses.offsets.into_dispatch(),
        root_items: roots.uses.items.into_dispatch(),
        long,
    };
    Tensor::from_dispatch(Dispatch::attention_layer(inputs, slots, shape, dropout).out)
}
