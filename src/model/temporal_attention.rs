//! One attention layer over the sampled past events of each root (TGN, equations 8-11).

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::{Tensor, activation};

use super::init::Initializer;
use super::time_encoding::TimeEncoding;
use super::{DropoutKey, ModelConfig, ModelInput};
use crate::kernels::dropout::{Dropout, dropout};
use crate::kernels::gather_rows::gather_rows;
use crate::kernels::temporal_attention::temporal_attention;

/// Stream numbers of this layer's dropouts within an iteration.
const ATTENTION_STREAM: u32 = 0;
const OUTPUT_STREAM: u32 = 1;

/// Queries from the root, keys and values from `[node row | edge features | Φ(Δt) | 1]`.
#[derive(Module, Debug)]
pub struct TemporalAttention {
    /// Encodes the time since a past event.
    pub time_encoding: TimeEncoding,
    /// Query weights of the root's row, `[width, width]`.
    pub query_node: Param<Tensor<2>>,
    /// Query weights of Φ(0), `[time width, width]`.
    pub query_time: Param<Tensor<2>>,
    /// Query bias, `[width]`.
    pub query_bias: Param<Tensor<1>>,
    /// Key weights; the last row is the bias. `[width + edge width + time width + 1, width]`.
    pub key: Param<Tensor<2>>,
    /// Value weights; the last row is the bias. Shape of `key`.
    pub value: Param<Tensor<2>>,
    /// Output weights of the attended values, `[width, width]`.
    pub output_value: Param<Tensor<2>>,
    /// Output weights of the root's row, `[width, width]`.
    pub output_node: Param<Tensor<2>>,
    /// Output bias, `[width]`.
    pub output_bias: Param<Tensor<1>>,
    /// Normalises the output.
    pub norm: LayerNorm,
    heads: usize,
    dropout: f64,
    attention_dropout: f64,
}

impl TemporalAttention {
    /// A layer with PyTorch's initial weights.
    pub fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> TemporalAttention {
        let (width, time) = (config.width, config.time_width);
        let bound = |inputs: usize| 1.0 / (inputs as f64).sqrt();
        let query = bound(width + time);
        let attended = width + config.edge_width + time;
        let output = bound(2 * width);
        TemporalAttention {
            time_encoding: TimeEncoding::new(time, init),
            query_node: init.uniform([width, width], query),
            query_time: init.uniform([time, width], query),
            query_bias: init.uniform([width], query),
            key: init.uniform([attended + 1, width], bound(attended)),
            value: init.uniform([attended + 1, width], bound(attended)),
            output_value: init.uniform([width, width], output),
            output_node: init.uniform([width, width], output),
            output_bias: init.uniform([width], output),
            norm: LayerNormConfig::new(width).init(init.device()),
            heads: config.heads,
            dropout: f64::from(config.dropout),
            attention_dropout: f64::from(config.attention_dropout),
        }
    }

    /// Embedding of each root, `[roots, width]`, from the node rows `node` `[rows, width]`.
    pub fn forward(&self, node: Tensor<2>, input: &ModelInput, key: DropoutKey) -> Tensor<2> {
        let [heads, width] = [self.heads, self.query_bias.dims()[0]];
        let head_width = width / heads;
        let root = gather_rows(
            node.clone(),
            input.root_row.clone(),
            input.root_uses.clone(),
        );
        let roots = root.dims()[0];

        // Query of each root, projected to the keys' inputs: [heads, roots, attended + 1].
        let of_time = self.time_encoding.of_zero().matmul(self.query_time.val())
            + self.query_bias.val().unsqueeze();
        let query = root.clone().matmul(self.query_node.val()) + of_time;
        let by_head = |weights: Tensor<2>| {
            let inputs = weights.dims()[0];
            weights.reshape([inputs, heads, head_width])
        };
        let projected = query
            .reshape([roots, heads, head_width])
            .swap_dims(0, 1)
            .matmul(by_head(self.key.val()).permute([1, 2, 0]));

        let attended = temporal_attention(
            projected,
            node,
            input.edge.clone(),
            self.time_encoding.time.val(),
            input.slots.clone(),
            self.draws(key, self.attention_dropout, ATTENTION_STREAM),
        );
        let values = attended
            .matmul(by_head(self.value.val()).swap_dims(0, 1))
            .swap_dims(0, 1)
            .reshape([roots, width]);

        let output = values.matmul(self.output_value.val())
            + root.matmul(self.output_node.val())
            + self.output_bias.val().unsqueeze();
        let output = dropout(output, self.draws(key, self.dropout, OUTPUT_STREAM));
        self.norm.forward(activation::relu(output))
    }

    fn draws(&self, key: DropoutKey, probability: f64, stream: u32) -> Dropout {
        key.map_or(Dropout::OFF, |(seed, iteration)| {
            Dropout::new(probability as f32, seed, stream, iteration)
        })
    }
}
