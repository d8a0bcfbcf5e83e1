//! The recurrent cell that turns a mail and a memory row into a new memory row.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;

use super::init::Initializer;
use super::time_encoding::TimeEncoding;
use super::{ModelConfig, ModelInput};
use crate::kernels::gru_gates::gru_gates;

/// GRU cell over `[mail | Φ(Δt)]` (TGN, equation 3; gates as PyTorch's GRUCell packs
/// them: r, z, n).
///
/// The input weights are split by what they multiply: mails and memory rows are
/// constants of an iteration, so only the time part needs a gradient of its input, and
/// no concatenated `[rows, mail width + time width]` array is made.
#[derive(Module, Debug)]
pub struct GruUpdater {
    /// Encodes the time since a row's last update.
    pub time_encoding: TimeEncoding,
    /// `[mail width, 3 width]`.
    pub from_mail: Param<Tensor<2>>,
    /// `[time width, 3 width]`.
    pub from_time: Param<Tensor<2>>,
    /// `[width, 3 width]`.
    pub from_memory: Param<Tensor<2>>,
    /// `[3 width]`, of the input's product.
    pub input_bias: Param<Tensor<1>>,
    /// `[3 width]`, of the memory's product.
    pub memory_bias: Param<Tensor<1>>,
}

impl GruUpdater {
    /// A cell with PyTorch's initial weights.
    pub fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> GruUpdater {
        let gates = 3 * config.width;
        let bound = 1.0 / (config.width as f64).sqrt();
        GruUpdater {
            time_encoding: TimeEncoding::new(config.time_width, init),
            from_mail: init.uniform([config.mail_width(), gates], bound),
            from_time: init.uniform([config.time_width, gates], bound),
            from_memory: init.uniform([config.width, gates], bound),
            input_bias: init.uniform([gates], bound),
            memory_bias: init.uniform([gates], bound),
        }
    }

    /// Updated memory of each row, `[rows, width]`.
    pub fn forward(&self, input: &ModelInput) -> Tensor<2> {
        let encoding = self.time_encoding.forward(input.delta_t.clone());
        let from_input = input.mail.clone().matmul(self.from_mail.val())
            + encoding.matmul(self.from_time.val())
            + self.input_bias.val().unsqueeze();
        let from_memory = input.memory.clone().matmul(self.from_memory.val())
            + self.memory_bias.val().unsqueeze();
        gru_gates(
            from_input,
            from_memory,
            input.memory.clone(),
            input.active.clone(),
        )
    }
}

/// Adds node features to updated memory rows (TGL's `combine_node_feature`).
#[derive(Module, Debug)]
pub struct NodeFeatures {
    /// Projection to the memory's width; none where the widths are equal.
    pub projection: Option<Linear>,
}

impl NodeFeatures {
    /// For node features `config.node_width` wide.
    pub fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> NodeFeatures {
        let needs_projection = config.node_width > 0 && config.node_width != config.width;
        let projection = needs_projection.then(|| {
            let bound = 1.0 / (config.node_width as f64).sqrt();
            let mut linear = LinearConfig::new(config.node_width, config.width).init(init.device());
            linear.weight = init.uniform([config.node_width, config.width], bound);
            linear.bias = Some(init.uniform([config.width], bound));
            linear
        });
        NodeFeatures { projection }
    }

    /// Node rows `[rows, width]` that the embedding reads.
    pub fn combine(&self, memory: Tensor<2>, features: Option<&Tensor<2>>) -> Tensor<2> {
        match (features, &self.projection) {
            (None, _) => memory,
            (Some(features), Some(projection)) => memory + projection.forward(features.clone()),
            (Some(features), None) => memory + features.clone(),
        }
    }
}
