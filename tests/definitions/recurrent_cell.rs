//! The recurrent cells of the memory: a GRU as PyTorch has it, and an RNN with tanh, of the input
//! `[mail | cos(Δt ω + φ)]` and the old memory. Rows that are not active keep theirs.

use super::linear::{linear, linear_gradients};
use super::time_encoding::{time_encoding, time_gradients};
use super::wide;

/// What a cell reads; the gates of a GRU are packed r, z, n.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell<'a> {
    /// Gates: 3 of a GRU, 1 of an RNN.
    pub(crate) gates: usize,
    /// `[rows, mail width]`.
    pub(crate) mail: &'a [f32],
    /// `[rows]`.
    pub(crate) delta_t: &'a [f32],
    /// `[rows, width]`.
    pub(crate) memory: &'a [f32],
    /// `[rows]`.
    pub(crate) active: &'a [i32],
    /// `[time width]`.
    pub(crate) omega: &'a [f32],
    /// `[time width]`.
    pub(crate) phi: &'a [f32],
    /// `[mail width, gates * width]`.
    pub(crate) from_mail: &'a [f32],
    /// `[time width, gates * width]`.
    pub(crate) from_time: &'a [f32],
    /// `[width, gates * width]`.
    pub(crate) from_memory: &'a [f32],
    /// `[gates * width]`.
    pub(crate) input_bias: &'a [f32],
    /// `[gates * width]`.
    pub(crate) memory_bias: &'a [f32],
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Both products of a cell, and what they are made of.
struct Products {
    mail: Vec<f64>,
    encoding: Vec<f64>,
    memory: Vec<f64>,
    of_input: Vec<f64>,
    of_memory: Vec<f64>,
}

impl Cell<'_> {
    fn outputs(&self) -> usize {
        self.input_bias.len()
    }

    fn width(&self) -> usize {
        self.outputs() / self.gates
    }

    /// Rows, inputs and outputs of the product with a weight.
    fn sizes(&self, weight: &[f32]) -> [usize; 3] {
        let outputs = self.outputs();
        [self.active.len(), weight.len() / outputs, outputs]
    }

    fn products(&self) -> Products {
        let [mail, memory] = [self.mail, self.memory].map(wide);
        let encoding = time_encoding(self.omega, self.phi, self.delta_t);
        let input_bias = wide(self.input_bias);
        let of_mail = linear(
            &input_bias,
            &mail,
            &wide(self.from_mail),
            self.sizes(self.from_mail),
        );
        let nothing = vec![0.0; self.outputs()];
        let sizes = self.sizes(self.from_time);
        let of_time = linear(&nothing, &encoding, &wide(self.from_time), sizes);
        let (bias, weight) = (wide(self.memory_bias), wide(self.from_memory));
        Products {
            of_input: of_mail.iter().zip(&of_time).map(|(a, b)| a + b).collect(),
            of_memory: linear(&bias, &memory, &weight, self.sizes(self.from_memory)),
            mail,
            encoding,
            memory,
        }
    }

    /// The places of a number's gates in the products.
    fn places(&self, row: usize, c: usize) -> [usize; 3] {
        [0, 1, 2].map(|gate| row * self.outputs() + gate % self.gates * self.width() + c)
    }

    /// New memory `[rows, width]`.
    pub(crate) fn new_memory(&self) -> Vec<f64> {
        let Products {
            memory,
            of_input: i,
            of_memory: m,
            ..
        } = self.products();
        let mut out = memory.clone();
        for (row, _) in self.active.iter().enumerate().filter(|(_, a)| **a != 0) {
            for c in 0..self.width() {
                let [r, z, n] = self.places(row, c);
                let old = memory[row * self.width() + c];
                out[row * self.width() + c] = if self.gates == 1 {
                    (i[r] + m[r]).tanh()
                } else {
                    let reset = sigmoid(i[r] + m[r]);
                    let update = sigmoid(i[z] + m[z]);
                    let new = (i[n] + reset * m[n]).tanh();
                    (1.0 - update) * new + update * old
                };
            }
        }
        out
    }

    /// Gradients of ω, φ, the weights of mail, time and memory, and the two biases.
    pub(crate) fn gradients(&self, grad: &[f64]) -> Vec<Vec<f64>> {
        let products = self.products();
        let (i, m) = (&products.of_input, &products.of_memory);
        let (mut d_i, mut d_m) = (vec![0.0; i.len()], vec![0.0; m.len()]);
        for (row, _) in self.active.iter().enumerate().filter(|(_, a)| **a != 0) {
            for c in 0..self.width() {
                let [r, z, n] = self.places(row, c);
                let at = row * self.width() + c;
                if self.gates == 1 {
                    d_i[r] = grad[at] * (1.0 - (i[r] + m[r]).tanh().powi(2));
                    d_m[r] = d_i[r];
                    continue;
                }
                let reset = sigmoid(i[r] + m[r]);
                let update = sigmoid(i[z] + m[z]);
                let new = (i[n] + reset * m[n]).tanh();
                d_i[n] = grad[at] * (1.0 - update) * (1.0 - new.powi(2));
                d_m[n] = d_i[n] * reset;
                d_i[z] = grad[at] * (products.memory[at] - new) * update * (1.0 - update);
                d_m[z] = d_i[z];
                d_i[r] = d_i[n] * m[n] * reset * (1.0 - reset);
                d_m[r] = d_i[r];
            }
        }
        let through = |x: &[f64], weight: &[f32], d: &[f64]| {
            linear_gradients(x, &wide(weight), self.sizes(weight), d)
        };
        let [input_bias, _, from_mail] = through(&products.mail, self.from_mail, &d_i);
        let [_, d_encoding, from_time] = through(&products.encoding, self.from_time, &d_i);
        let [memory_bias, _, from_memory] = through(&products.memory, self.from_memory, &d_m);
        let [omega, phi] = time_gradients(self.omega, self.phi, self.delta_t, &d_encoding);
        vec![
            omega,
            phi,
            from_mail,
            from_time,
            from_memory,
            input_bias,
            memory_bias,
        ]
    }
}
