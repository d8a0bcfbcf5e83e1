//! The recurrent cells that turn a mail and a memory row into a new memory row.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::config::ModelConfig;
use super::init::Initializer;
use super::input::{BacklogInput, ModelInput};
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
        let memory = match &input.backlog {
            Some(backlog) => self.caught_up(input.memory.clone(), backlog),
            None => input.memory.clone(),
        };
        let batch = CellBatch {
            mail: input.mail.clone(),
            delta_t: input.delta_t.clone(),
            memory,
            active: input.active.clone(),
        };
        recurrent_cell(batch, self.parameters())
    }

    fn parameters(&self) -> CellParameters {
        CellParameters {
            time: self.time_encoding.time.val(),
            from_mail: self.from_mail.val(),
            from_time: self.from_time.val(),
            from_memory: self.from_memory.val(),
            input_bias: self.input_bias.val(),
            memory_bias: self.memory_bias.val(),
        }
    }

    /// Memory of each row, `[rows, width]`, when the mail before its newest has been absorbed: what
    /// earlier updates would have written had they seen it, and like what they wrote a constant of
    /// the iteration.
    fn caught_up(&self, memory: Tensor<2>, backlog: &BacklogInput) -> Tensor<2> {
        let trains = memory.device().is_autodiff();
        let (memory, parameters) = match trains {
            true => (memory.inner(), self.parameters().inner()),
            false => (memory, self.parameters()),
        };
        let device = memory.device();
        let mut entries: Vec<Tensor<2>> = Vec::new();
        let (mut mail, mut begun) = (0, 0);
        for &of_step in &backlog.steps {
            if of_step > begun {
                let row = backlog.row.clone().slice(begun..of_step);
                entries.push(memory.clone().select(0, row));
            }
            let pieces = mail..mail + of_step;
            let batch = CellBatch {
                mail: backlog.mail.clone().slice(pieces.clone()),
                delta_t: backlog.delta_t.clone().slice(pieces),
                memory: Tensor::cat(std::mem::take(&mut entries), 0),
                active: Tensor::ones([of_step], &device),
            };
            entries.push(recurrent_cell(batch, parameters.clone()));
            (mail, begun) = (mail + of_step, of_step);
        }
        entries.push(memory);
        let rows = Tensor::cat(entries, 0).select(0, backlog.source.clone());
        match trains {
            true => Tensor::from_inner(rows),
            false => rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int, TensorData};

    use super::*;
    use crate::model::ModelName;

    const CONFIG: ModelConfig = ModelConfig {
        name: ModelName::Tgn,
        width: 5,
        time_width: 4,
        edge_width: 2,
        node_width: 0,
        layers: 1,
        heads: 1,
        mail_slots: 1,
        train_time_encoding: true,
        dropout: 0.0,
        attention_dropout: 0.0,
        pair_history: 0,
    };

    fn drawn(rows: usize, width: usize, seed: u64, device: &Device) -> Tensor<2> {
        Initializer::new(seed, device)
            .uniform([rows, width], 1.0)
            .val()
    }

    fn ints(values: &[i32], device: &Device) -> Tensor<1, Int> {
        let count = values.len();
        Tensor::from_data(TensorData::new(values.to_vec(), [count]), device)
    }

    fn bits(rows: Tensor<2>) -> Vec<u32> {
        let values: Vec<f32> = rows.into_data().try_to_vec().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    }

    /// Rows with this memory and mail.
    fn input(memory: Tensor<2>, mail: Tensor<2>, delta_t: Tensor<1>) -> ModelInput {
        let device = memory.device();
        let rows = memory.dims()[0];
        ModelInput {
            memory,
            mail,
            backlog: None,
            trends: None,
            delta_t,
            active: Tensor::ones([rows], &device),
            mailbox: None,
            node_features: None,
            root_recency: Tensor::zeros([0], &device),
            pair_history: None,
            draws: Vec::new(),
            layers: Vec::new(),
        }
    }

    #[test]
    fn catching_up_is_one_update_after_the_other() {
        for autodiff in [false, true] {
            let plain = Device::flex();
            let device = match autodiff {
                true => plain.clone().autodiff(),
                false => plain.clone(),
            };
            let updater = RecurrentUpdater::gru(&CONFIG, &mut Initializer::new(3, &device));
            let lift = |tensor: Tensor<2>| match autodiff {
                true => Tensor::from_inner(tensor),
                false => tensor,
            };
            let mail_width = CONFIG.mail_width();
            let memory = drawn(4, CONFIG.width, 1, &plain);
            let newest = drawn(4, mail_width, 2, &plain);
            let earlier = drawn(3, mail_width, 4, &plain);
            let delta_t = |values: &[f32], device: &Device| {
                Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
            };
            // Row 2 has two earlier pieces of mail, rows 0 and 3 are of a node that has one.
            let caught_up = ModelInput {
                backlog: Some(BacklogInput {
                    row: ints(&[2, 0], &plain),
                    steps: vec![1, 2],
                    mail: earlier.clone(),
                    delta_t: delta_t(&[5.0, 6.0, 7.0], &plain),
                    source: ints(&[1, 2 + 1, 0, 1], &plain),
                }),
                ..input(
                    lift(memory.clone()),
                    lift(newest.clone()),
                    delta_t(&[1.0, 2.0, 3.0, 4.0], &device),
                )
            };
            let found = updater.forward(&caught_up);

            let step = |memory: Tensor<2>, mail: Tensor<2>, time: f32| {
                let made =
                    updater.forward(&input(lift(memory), lift(mail), delta_t(&[time], &device)));
                if autodiff { made.inner() } else { made }
            };
            let row = |table: &Tensor<2>, row: usize| table.clone().slice(row..row + 1);
            let two = step(row(&memory, 2), row(&earlier, 0), 5.0);
            let two = step(two, row(&earlier, 1), 6.0);
            let zero = step(row(&memory, 0), row(&earlier, 2), 7.0);
            let expected = [
                step(zero.clone(), row(&newest, 0), 1.0),
                step(row(&memory, 1), row(&newest, 1), 2.0),
                step(two, row(&newest, 2), 3.0),
                step(zero, row(&newest, 3), 4.0),
            ];
            let found = if autodiff { found.inner() } else { found };
            assert_eq!(bits(found), bits(Tensor::cat(expected.to_vec(), 0)));
        }
    }
}
