//! Recurrent cells, and their gates alone, with inputs as plain numbers.

use burn::tensor::{Device, Tensor};
use mspipe::kernels::gru_gates::{gru_gates, gru_gates_backward};
use mspipe::kernels::recurrent_cell::{CellBatch, CellParameters, recurrent_cell};
use mspipe::kernels::rnn_gates::{rnn_gates, rnn_gates_backward};

use super::{
    Operation, Outcome, draws, finish, floats, frequencies, gradient, ints, numbers, projection,
};

#[derive(Debug, Clone)]
pub(crate) struct GruGates {
    rows: usize,
    width: usize,
    from_input: Vec<f32>,
    from_hidden: Vec<f32>,
    hidden: Vec<f32>,
    active: Vec<i32>,
}

impl GruGates {
    /// Random products; every fourth row is not active.
    pub(crate) fn new(rows: usize, width: usize) -> GruGates {
        let product = |seed| {
            draws(seed, rows * 3 * width)
                .iter()
                .map(|v| 2.0 * v)
                .collect()
        };
        GruGates {
            rows,
            width,
            from_input: product(4),
            from_hidden: product(5),
            hidden: draws(6, rows * width),
            active: (0..rows as i32)
                .map(|row| i32::from(row % 4 != 3))
                .collect(),
        }
    }

    /// With products up to `largest`, where the gates saturate.
    pub(crate) fn saturated(mut self, largest: f32) -> GruGates {
        self.from_input.iter_mut().for_each(|v| *v *= largest);
        self
    }
}

impl Operation for GruGates {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![
            ("from_input", &mut self.from_input),
            ("from_hidden", &mut self.from_hidden),
        ]
    }

    fn run(&self, device: &Device) -> Outcome {
        let (products, rows) = ([self.rows, 3 * self.width], [self.rows, self.width]);
        let input = floats(&self.from_input, products, device);
        let memory = floats(&self.from_hidden, products, device);
        let hidden = floats(&self.hidden, rows, device);
        let active = ints(&self.active, [self.rows], device);
        let grad = floats(&projection(self.rows * self.width), rows, device);
        let [a, b, c] = [&input, &memory, &hidden].map(Tensor::clone);
        let output = gru_gates(a, b, c, active.clone());
        let gradients = gru_gates_backward(input, memory, hidden, active, grad);
        Outcome {
            gradients: gradients.map(numbers).to_vec(),
            output: numbers(output),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct RnnGates {
    rows: usize,
    width: usize,
    from_input: Vec<f32>,
    from_memory: Vec<f32>,
    hidden: Vec<f32>,
    active: Vec<i32>,
}

impl RnnGates {
    /// Random products times `scale`; every fourth row is not active.
    pub(crate) fn new(rows: usize, width: usize, scale: f32) -> RnnGates {
        let product = |seed| {
            let draws = draws(seed, rows * width);
            draws.iter().map(|v| v * scale).collect()
        };
        RnnGates {
            rows,
            width,
            from_input: product(14),
            from_memory: product(15),
            hidden: draws(16, rows * width),
            active: (0..rows as i32)
                .map(|row| i32::from(row % 4 != 3))
                .collect(),
        }
    }

    /// What must come out, computed in f64.
    pub(crate) fn expected(&self) -> Vec<f32> {
        let product = self.from_input.iter().zip(&self.from_memory);
        let element = |(i, (a, b)): (usize, (&f32, &f32))| {
            if self.active[i / self.width] == 0 {
                self.hidden[i]
            } else {
                f64::from(a + b).tanh() as f32
            }
        };
        product.enumerate().map(element).collect()
    }
}

impl Operation for RnnGates {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![
            ("from_input", &mut self.from_input),
            ("from_memory", &mut self.from_memory),
        ]
    }

    fn run(&self, device: &Device) -> Outcome {
        let shape = [self.rows, self.width];
        let products = [&self.from_input, &self.from_memory];
        let [from_input, from_memory] = products.map(|of| floats(of, shape, device));
        let hidden = floats(&self.hidden, shape, device);
        let active = ints(&self.active, [self.rows], device);
        let grad = floats(&projection(self.rows * self.width), shape, device);
        let out = rnn_gates(from_input, from_memory, hidden, active.clone());
        let gradient = numbers(rnn_gates_backward(out.clone(), active, grad));
        Outcome {
            gradients: vec![gradient.clone(), gradient],
            output: numbers(out),
        }
    }
}

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
}
