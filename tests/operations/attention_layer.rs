//! An attention layer with inputs as plain numbers.

use burn::tensor::{Device, Tensor};
use mspipe::kernels::attention_layer::{LayerParameters, LayerRoots, attention_layer};
use mspipe::kernels::temporal_attention::AttentionShape;

use super::attention::Attention;
use super::{
    Defined, Operation, Outcome, draws, dropout_of, finish, floats, gradient, ints, uses_on,
    wide_projection,
};
use crate::definitions::attention_layer as defined;
use crate::definitions::wide;

/// Shapes of the weights.
const WEIGHTS: usize = 8;

/// A layer over the slots of an [`Attention`], of whose roots several share a row.
#[derive(Debug, Clone)]
pub(crate) struct AttentionLayer {
    attention: Attention,
    /// In the order of [`LayerParameters`], without the time parameters.
    weights: [Vec<f32>; WEIGHTS],
}

impl AttentionLayer {
    /// Node rows have the width of the layer.
    pub(crate) fn new(shape: AttentionShape, roots: usize, probability: f32) -> AttentionLayer {
        let attention = Attention::new(shape, roots, probability);
        let shapes = Self::shapes(&shape);
        let weights = std::array::from_fn(|of| {
            let [inputs, outputs] = shapes[of];
            let scale = 1.0 / (inputs as f32).sqrt();
            let numbers = draws(40 + of as u32, inputs * outputs);
            numbers.iter().map(|v| v * scale).collect()
        });
        AttentionLayer { attention, weights }
    }

    /// With time differences up to `longest` and frequencies of order 1.
    pub(crate) fn with_short_times(mut self, longest: f32) -> AttentionLayer {
        self.attention = self.attention.with_short_times(longest);
        self
    }

    /// With as many roots again that all share the first row and attend to it alone.
    pub(crate) fn with_hub(mut self) -> AttentionLayer {
        self.attention = self.attention.with_hub();
        self
    }

    /// Biases are of one row.
    fn shapes(shape: &AttentionShape) -> [[usize; 2]; WEIGHTS] {
        let width = shape.node;
        [
            [width, width],
            [shape.time, width],
            [1, width],
            [shape.width(), width],
            [shape.width(), width],
            [width, width],
            [width, width],
            [1, width],
        ]
    }
}

impl Operation for AttentionLayer {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        let names = [
            "query node",
            "query time",
            "query bias",
            "key",
            "value",
            "output value",
            "output node",
            "output bias",
        ];
        let Attention {
            node, omega, phi, ..
        } = &mut self.attention;
        let mut inputs = vec![("node", node), ("omega", omega), ("phi", phi)];
        inputs.extend(names.into_iter().zip(&mut self.weights));
        inputs
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let (attention, shape) = (&self.attention, &self.attention.shape);
        let node = floats(&attention.node, [attention.rows, shape.node], device).require_grad();
        let edge = floats(&attention.edge, [attention.event_rows, shape.edge], device);
        let time = [attention.omega.as_slice(), &attention.phi].concat();
        let time = floats(&time, [2, shape.time], device).require_grad();
        let shapes = Self::shapes(shape);
        let table = |of: usize| floats(&self.weights[of], shapes[of], device).require_grad();
        let row = |of: usize| -> Tensor<1> {
            floats(&self.weights[of], [shape.node], device).require_grad()
        };
        let weights = LayerParameters {
            heads: shape.heads,
            time: time.clone(),
            query_node: table(0),
            query_time: table(1),
            query_bias: row(2),
            key: table(3),
            value: table(4),
            output_value: table(5),
            output_node: table(6),
            output_bias: row(7),
        };
        let rows = &attention.query_row;
        let roots = LayerRoots {
            row: ints(rows, [rows.len()], device),
            uses: uses_on(rows.iter().copied(), attention.queries, device),
        };
        let of = weights.clone();
        let (slots, dropout) = (attention.slots(device), dropout_of(attention.draws));
        let out = attention_layer(node.clone(), edge, of, roots, slots, dropout);
        finish(out, device, |g| {
            let time = gradient(&time, g);
            let (omega, phi) = time.split_at(shape.time);
            vec![
                gradient(&node, g),
                omega.to_vec(),
                phi.to_vec(),
                gradient(&weights.query_node, g),
                gradient(&weights.query_time, g),
                gradient(&weights.query_bias, g),
                gradient(&weights.key, g),
                gradient(&weights.value, g),
                gradient(&weights.output_value, g),
                gradient(&weights.output_node, g),
                gradient(&weights.output_bias, g),
            ]
        })
    }

    fn definition(&self) -> Defined {
        let [
            query_node,
            query_time,
            query_bias,
            key,
            value,
            output_value,
            output_node,
            output_bias,
        ] = self.weights.each_ref().map(|weight| wide(weight));
        let layer = defined::Layer {
            attention: self.attention.defined(),
            root_row: self.attention.query_row.clone(),
            own_rows: self.attention.queries,
            width: self.attention.shape.node,
            query_node,
            query_time,
            query_bias,
            key,
            value,
            output_value,
            output_node,
            output_bias,
        };
        let output = layer.output();
        let gradients = layer.gradients(&wide_projection(output.len()));
        Defined { output, gradients }
    }
}
