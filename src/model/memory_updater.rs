//! The recurrent cells that turn a mail and a memory row into a new memory row.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::config::ModelConfig;
use super::init::Initializer;
use super::input::ModelInput;
use super::time_encoding::TimeEncoding;
use crate::kernels::recurrent_cell::{CellBatch, CellParameters, recurrent_cell};

/// Parameters of a recurrent cell over `[mail | Φ(Δt)]` and a memory row.
///
/// The input weights are split by what they multiply: mail and memory rows are
/// constants of an iteration, so only the time part needs a gradient of its input, and
/// no concatenated `[rows, mail width + time width]` array is made.
#[derive(Module, Debug)]
pub struct RecurrentUpdater {
    /// Encodes the time since a row's last update.
    pub time_encoding: TimeEncoding,
    /// `[mail width, gates x width]`.
    pub from_mail: Param<Tensor<2>>,
    /// `[time width, gates x width]`.
    pub from_time: Param<Tensor<2>>,
    /// `[width, gates x width]`.
    pub from_memory: Param<Tensor<2>>,
    /// `[gates x width]`, of the input's product.
    pub input_bias: Param<Tensor<1>>,
    /// `[gates x width]`, of the memory's product.
    pub memory_bias: Param<Tensor<1>>,
}

impl RecurrentUpdater {
    /// A GRU cell (TGN, equation 3) with PyTorch's initial weights; its gates are packed as
    /// PyTorch does: r, z, n.
    pub(crate) fn gru(config: &ModelConfig, init: &mut Initializer<'_>) -> RecurrentUpdater {
        RecurrentUpdater::new(3, config, init)
    }

    /// A plain recurrent cell with tanh (JODIE, equations 1 and 2) with PyTorch's initial
    /// weights.
    pub(crate) fn rnn(config: &ModelConfig, init: &mut Initializer<'_>) -> RecurrentUpdater {
        RecurrentUpdater::new(1, config, init)
    }

    fn new(gates: usize, config: &ModelConfig, init: &mut Initializer<'_>) -> RecurrentUpdater {
        let outputs = gates * config.width;
        let bound = 1.0 / (config.width as f64).sqrt();
        RecurrentUpdater {
            time_encoding: TimeEncoding::new(config, init),
            from_mail: init.uniform([config.mail_width(), outputs], bound),
            from_time: init.uniform([config.time_width, outputs], bound),
            from_memory: init.uniform([config.width, outputs], bound),
            input_bias: init.uniform([outputs], bound),
            memory_bias: init.uniform([outputs], bound),
        }
    }

    /// Updated memory of each row, `[rows, width]`.
    pub(crate) fn forward(&self, input: &ModelInput) -> Tensor<2> {
        let batch = CellBatch {
            mail: input.mail.clone(),
            delta_t: input.delta_t.clone(),
            memory: input.memory.clone(),
            active: input.active.clone(),
        };
        let parameters = CellParameters {
            time: self.time_encoding.time.val(),
            from_mail: self.from_mail.val(),
            from_time: self.from_time.val(),
            from_memory: self.from_memory.val(),
            input_bias: self.input_bias.val(),
            memory_bias: self.memory_bias.val(),
        };
        recurrent_cell(batch, parameters)
    }
}
