//! Gates of the recurrent cells with inputs as plain numbers.

use burn::tensor::Device;
use mspipe::kernels::gru_gates::gru_gates;
use mspipe::kernels::rnn_gates::rnn_gates;

use super::{Operation, Outcome, draws, finish, floats, gradient, ints};

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
        let device = &device.clone().autodiff();
        let products = [self.rows, 3 * self.width];
        let from_input = floats(&self.from_input, products, device).require_grad();
        let from_hidden = floats(&self.from_hidden, products, device).require_grad();
        let hidden = floats(&self.hidden, [self.rows, self.width], device);
        let active = ints(&self.active, [self.rows], device);
        let out = gru_gates(from_input.clone(), from_hidden.clone(), hidden, active);
        finish(out, device, |g| {
            vec![gradient(&from_input, g), gradient(&from_hidden, g)]
        })
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
        let device = &device.clone().autodiff();
        let shape = [self.rows, self.width];
        let from_input = floats(&self.from_input, shape, device).require_grad();
        let from_memory = floats(&self.from_memory, shape, device).require_grad();
        let hidden = floats(&self.hidden, shape, device);
        let active = ints(&self.active, [self.rows], device);
        let out = rnn_gates(from_input.clone(), from_memory.clone(), hidden, active);
        finish(out, device, |g| {
            vec![gradient(&from_input, g), gradient(&from_memory, g)]
        })
    }
}
