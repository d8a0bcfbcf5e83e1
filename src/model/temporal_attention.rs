//! One attention layer over the sampled past events of each root (TGN, equations 8-11).

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::Tensor;

use super::config::ModelConfig;
use super::init::Initializer;
use super::input::{DropoutKey, LayerInput, draws};
use super::time_encoding::TimeEncoding;
use crate::kernels::attention_layer::{LayerParameters, LayerRoots, attention_layer};
use crate::kernels::dropout::{DrawRows, Dropout, dropout_by};
use crate::kernels::output_norm::{BeforeNorm, output_norm};
use crate::kernels::temporal_attention::AttentionSlots;

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
    /// Stream numbers of the layer's two dropouts within an iteration begin here.
    first_stream: usize,
}

impl TemporalAttention {
    /// Layer number `layer` with PyTorch's initial weights.
    pub(crate) fn new(
        layer: usize,
        config: &ModelConfig,
        init: &mut Initializer<'_>,
    ) -> TemporalAttention {
        let (width, time) = (config.width, config.time_width);
        let bound = |inputs: usize| 1.0 / (inputs as f64).sqrt();
        let query = bound(width + time);
        let attended = width + config.edge_width + time;
        let output = bound(2 * width);
        TemporalAttention {
            time_encoding: TimeEncoding::new(config, init),
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
            first_stream: 2 * layer,
        }
    }

    /// Embedding of each root, `[roots, width]`, from the node rows `node` `[rows, width]`; dropouts are
    /// drawn `by` other rows than the roots where that is said.
    pub(crate) fn forward(
        &self,
        node: Tensor<2>,
        input: &LayerInput,
        key: DropoutKey,
        by: Option<&DrawRows>,
    ) -> Tensor<2> {
        let first_stream = self.first_stream as u32;
        let slots = AttentionSlots {
            draw_row: by.map(|by| by.row.clone()),
            ..input.slots.clone()
        };
        let roots = LayerRoots {
            row: input.root_row.clone(),
            uses: input.root_uses.clone(),
        };
        let attention_draws = draws(key, self.attention_dropout, first_stream);
        let output = attention_layer(
            node,
            input.edge.clone(),
            self.parameters(),
            roots,
            slots,
            attention_draws,
        );
        let drawn = draws(key, self.dropout, first_stream + 1);
        let (output, dropout) = match by {
            None => (output, drawn),
            Some(_) => (dropout_by(output, drawn, by), Dropout::OFF),
        };
        let relu = true;
        output_norm(output, &self.norm, BeforeNorm { dropout, relu })
    }

    fn parameters(&self) -> LayerParameters {
        LayerParameters {
            heads: self.heads,
            time: self.time_encoding.time.val(),
            query_node: self.query_node.val(),
            query_time: self.query_time.val(),
            query_bias: self.query_bias.val(),
            key: self.key.val(),
            value: self.value.val(),
            output_value: self.output_value.val(),
            output_node: self.output_node.val(),
            output_bias: self.output_bias.val(),
        }
    }
}
