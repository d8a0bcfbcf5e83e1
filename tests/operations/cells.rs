//! Recurrent cells with inputs as plain numbers.

use burn::tensor::Device;
use mspipe::kernels::recurrent_cell::{CellBatch, CellParameters, recurrent_cell};

use super::{
    Defined, Operation, Outcome, draws, finish, floats, frequencies, gradient, ints,
    wide_projection,
};
use crate::definitions::recurrent_cell::Cell;

#[derive(Debug, Clone)]
pub(crate) struct RecurrentCell {
    rows: usize,
    width: usize,
    mail_width: usize,
    gates: usize,
    mail: Vec<f32>,
    delta_t: Vec<f32>,
    memory: Vec<f32>,
    active: Vec<i32>,
    omega: Vec<f32>,
    phi: Vec<f32>,
    from_mail: Vec<f32>,
    from_time: Vec<f32>,
    from_memory: Vec<f32>,
    input_bias: Vec<f32>,
    memory_bias: Vec<f32>,
}

impl RecurrentCell {
    /// A GRU (3 gates) or an RNN (1 gate) over times up to `longest`; every fourth row is not
    /// active. The time encoding is 3 narrower than the memory.
    pub(crate) fn new(
        [rows, width, mail_width]: [usize; 3],
        gates: usize,
        longest: f32,
    ) -> RecurrentCell {
        let time = width.saturating_sub(3).max(1);
        let (omega, phi) = if longest > 1e3 {
            frequencies(time)
        } else {
            (draws(20, time), draws(21, time))
        };
        let outputs = gates * width;
        let weights = |seed, inputs: usize| {
            let scale = 1.0 / (inputs as f32).sqrt();
            draws(seed, inputs * outputs)
                .iter()
                .map(|v| v * scale)
                .collect()
        };
        RecurrentCell {
            rows,
            width,
            mail_width,
            gates,
            mail: draws(22, rows * mail_width),
            delta_t: draws(23, rows).iter().map(|d| d.abs() * longest).collect(),
            memory: draws(24, rows * width),
            active: (0..rows as i32)
                .map(|row| i32::from(row % 4 != 3))
                .collect(),
            omega,
            phi,
            from_mail: weights(25, mail_width),
            from_time: weights(26, time),
            from_memory: weights(27, width),
            input_bias: draws(28, outputs),
            memory_bias: draws(29, outputs),
        }
    }

    /// With products of mails times `largest`, where the gates saturate.
    pub(crate) fn saturated(mut self, largest: f32) -> RecurrentCell {
        self.from_mail.iter_mut().for_each(|v| *v *= largest);
        self
    }

    fn cell(&self) -> Cell<'_> {
        Cell {
            gates: self.gates,
            mail: &self.mail,
            delta_t: &self.delta_t,
            memory: &self.memory,
            active: &self.active,
            omega: &self.omega,
            phi: &self.phi,
            from_mail: &self.from_mail,
            from_time: &self.from_time,
            from_memory: &self.from_memory,
            input_bias: &self.input_bias,
            memory_bias: &self.memory_bias,
        }
    }
}

impl Operation for RecurrentCell {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![
            ("omega", &mut self.omega),
            ("phi", &mut self.phi),
            ("from_mail", &mut self.from_mail),
            ("from_time", &mut self.from_time),
            ("from_memory", &mut self.from_memory),
            ("input_bias", &mut self.input_bias),
            ("memory_bias", &mut self.memory_bias),
        ]
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let (rows, width, outputs) = (self.rows, self.width, self.gates * self.width);
        let batch = CellBatch {
            mail: floats(&self.mail, [rows, self.mail_width], device),
            delta_t: floats(&self.delta_t, [rows], device),
            memory: floats(&self.memory, [rows, width], device),
            active: ints(&self.active, [rows], device),
        };
        let times = self.omega.len();
        let time = [self.omega.as_slice(), &self.phi].concat();
        let weights = |numbers: &[f32], inputs| floats(numbers, [inputs, outputs], device);
        let bias = |numbers: &[f32]| floats(numbers, [outputs], device).require_grad();
        let parameters = CellParameters {
            time: floats(&time, [2, times], device).require_grad(),
            from_mail: weights(&self.from_mail, self.mail_width).require_grad(),
            from_time: weights(&self.from_time, times).require_grad(),
            from_memory: weights(&self.from_memory, width).require_grad(),
            input_bias: bias(&self.input_bias),
            memory_bias: bias(&self.memory_bias),
        };
        let out = recurrent_cell(batch, parameters.clone());
        finish(out, device, |g| {
            let time = gradient(&parameters.time, g);
            let (omega, phi) = time.split_at(times);
            vec![
                omega.to_vec(),
                phi.to_vec(),
                gradient(&parameters.from_mail, g),
                gradient(&parameters.from_time, g),
                gradient(&parameters.from_memory, g),
                gradient(&parameters.input_bias, g),
                gradient(&parameters.memory_bias, g),
            ]
        })
    }

    fn definition(&self) -> Defined {
        let output = self.cell().new_memory();
        let grad = wide_projection(output.len());
        Defined {
            gradients: self.cell().gradients(&grad),
            output,
        }
    }
}
