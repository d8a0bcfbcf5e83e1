//! The differentiable operations with inputs as plain numbers, one way to run them on any device, and
//! what must come out by their definitions. Inputs come from counters: the same on every run and
//! machine.

use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use mspipe::kernels::dropout::{Dropout, dropout, dropout_relu};
use mspipe::kernels::gather_rows::{LongRows, Uses, gather_rows};
use mspipe::kernels::time_encoding::time_encoding;

use crate::definitions::counter_hash::counter_hash;
use crate::definitions::dropout::Draws;
use crate::definitions::{self, wide};

mod attention;
mod attention_layer;
mod cells;
mod layers;
mod link_predictor;
mod root_norm;

pub(crate) use attention::Attention;
pub(crate) use attention_layer::AttentionLayer;
pub(crate) use cells::RecurrentCell;
pub(crate) use layers::{HeadProducts, Linear, OutputNorm};
pub(crate) use link_predictor::{LinkPredictor, LinkScores};
pub(crate) use root_norm::RootNorm;

/// Results of one run of an operation: its output, and the gradient of each input for the
/// loss `sum(output * projection(..))`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) output: Vec<f32>,
    pub(crate) gradients: Vec<Vec<f32>>,
}

/// The same in f64, by the operation's definition.
#[derive(Debug, Clone)]
pub(crate) struct Defined {
    pub(crate) output: Vec<f64>,
    pub(crate) gradients: Vec<Vec<f64>>,
}

/// An operation with its inputs as plain numbers.
pub(crate) trait Operation: Clone + Send + Sync + 'static {
    /// The differentiable inputs, in the order of [`Outcome::gradients`].
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)>;

    /// Runs it on a device, with autodiff.
    fn run(&self, device: &Device) -> Outcome;

    /// What must come out.
    fn definition(&self) -> Defined;
}

/// `n` numbers in [-1, 1) that depend on `seed` alone.
pub(crate) fn draws(seed: u32, n: usize) -> Vec<f32> {
    (0..n as u32)
        .map(|i| counter_hash([seed, i, 0, 0]) as f32 / 2_147_483_648.0 - 1.0)
        .collect()
}

/// `n` whole numbers below `below` (none where that is 0).
pub(crate) fn picks(seed: u32, n: usize, below: usize) -> Vec<i32> {
    let n = if below == 0 { 0 } else { n };
    (0..n as u32)
        .map(|i| (counter_hash([seed, i, 1, 0]) % below as u32) as i32)
        .collect()
}

/// Weights of the loss.
pub(crate) fn projection(n: usize) -> Vec<f32> {
    draws(99, n)
}

/// ω = 1 … 1e-9 as TGN starts with, and phases.
pub(crate) fn frequencies(width: usize) -> (Vec<f32>, Vec<f32>) {
    let last = width.max(2) - 1;
    let omega = (0..width).map(|c| 10.0f32.powf(-9.0 * c as f32 / last as f32));
    (omega.collect(), draws(98, width))
}

/// The same in f64.
fn wide_projection(n: usize) -> Vec<f64> {
    wide(&projection(n))
}

/// The dropout of these draws.
fn dropout_of(draws: Draws) -> Dropout {
    Dropout::new(draws.probability, draws.seed, draws.stream, draws.iteration)
}

pub(crate) fn floats<const D: usize>(
    numbers: &[f32],
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), shape), device)
}

pub(crate) fn ints<const D: usize>(
    numbers: &[i32],
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), shape), device)
}

pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_data().unwrap().try_to_vec().unwrap()
}

fn gradient<const D: usize>(leaf: &Tensor<D>, gradients: &Gradients) -> Vec<f32> {
    numbers(leaf.grad(gradients).expect("every input has a gradient"))
}

/// Reads the output and differentiates the projected sum.
fn finish<const D: usize>(
    output: Tensor<D>,
    device: &Device,
    gradients: impl FnOnce(&Gradients) -> Vec<Vec<f32>>,
) -> Outcome {
    let shape = output.dims();
    let weights = floats(&projection(shape.iter().product()), shape, device);
    let backward = (output.clone() * weights).sum().backward();
    Outcome {
        gradients: gradients(&backward),
        output: numbers(output),
    }
}

/// Places that read each of `rows` rows; `index` is negative where nothing is read.
fn uses(index: impl Iterator<Item = i32>, rows: usize) -> (Vec<i32>, Vec<i32>) {
    let mut places = vec![Vec::new(); rows];
    for (place, row) in index.enumerate() {
        if row >= 0 {
            places[row as usize].push(place as i32);
        }
    }
    let mut offsets = vec![0];
    for places in &places {
        offsets.push(offsets[offsets.len() - 1] + places.len() as i32);
    }
    (offsets, places.concat())
}

fn uses_on(index: impl Iterator<Item = i32>, rows: usize, device: &Device) -> Uses {
    let (offsets, mut items) = uses(index, rows);
    let (long, table) = LongRows::of(&offsets);
    items.extend(table);
    Uses {
        offsets: ints(&offsets, [offsets.len()], device),
        items: ints(&items, [items.len()], device),
        long,
    }
}

#[derive(Debug, Clone)]
pub(crate) struct GatherRows {
    rows: usize,
    width: usize,
    table: Vec<f32>,
    index: Vec<i32>,
}

impl GatherRows {
    /// `n` random rows of a table of `rows`.
    pub(crate) fn new(rows: usize, n: usize, width: usize) -> GatherRows {
        GatherRows {
            rows,
            width,
            table: draws(1, rows * width),
            index: picks(2, n, rows),
        }
    }

    /// With the first row in every other place.
    pub(crate) fn with_hub(mut self) -> GatherRows {
        self.index.iter_mut().step_by(2).for_each(|row| *row = 0);
        self
    }
}

impl Operation for GatherRows {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![("table", &mut self.table)]
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let table = floats(&self.table, [self.rows, self.width], device).require_grad();
        let index = ints(&self.index, [self.index.len()], device);
        let uses = uses_on(self.index.iter().copied(), self.rows, device);
        let out = gather_rows(table.clone(), index, uses);
        finish(out, device, |g| vec![gradient(&table, g)])
    }

    fn definition(&self) -> Defined {
        use definitions::gather_rows::{gather_rows, table_gradient};
        let output = gather_rows(&wide(&self.table), &self.index, self.width);
        let grad = wide_projection(output.len());
        Defined {
            gradients: vec![table_gradient(&grad, &self.index, self.rows, self.width)],
            output,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct TimeEncoding {
    omega: Vec<f32>,
    phi: Vec<f32>,
    pub(crate) delta: Vec<f32>,
}

impl TimeEncoding {
    /// `n` time differences up to `longest`, frequencies as TGN starts with.
    pub(crate) fn new(n: usize, width: usize, longest: f32) -> TimeEncoding {
        let (omega, phi) = frequencies(width);
        let delta = draws(3, n).iter().map(|d| d.abs() * longest).collect();
        TimeEncoding { omega, phi, delta }
    }
}

impl Operation for TimeEncoding {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![("omega", &mut self.omega), ("phi", &mut self.phi)]
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let width = self.omega.len();
        let time = [self.omega.as_slice(), &self.phi].concat();
        let time = floats(&time, [2, width], device).require_grad();
        let delta = floats(&self.delta, [self.delta.len()], device);
        let out = time_encoding(time.clone(), delta);
        finish(out, device, |g| {
            gradient(&time, g)
                .chunks(width)
                .map(<[f32]>::to_vec)
                .collect()
        })
    }

    fn definition(&self) -> Defined {
        use definitions::time_encoding::{time_encoding, time_gradients};
        let output = time_encoding(&self.omega, &self.phi, &self.delta);
        let grad = wide_projection(output.len());
        let gradients = time_gradients(&self.omega, &self.phi, &self.delta, &grad);
        Defined {
            gradients: gradients.to_vec(),
            output,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct DropoutCase {
    x: Vec<f32>,
    width: usize,
    draws: Draws,
    relu: bool,
}

impl DropoutCase {
    pub(crate) fn new(rows: usize, width: usize, probability: f32) -> DropoutCase {
        DropoutCase {
            x: draws(7, rows * width),
            width,
            draws: Draws {
                probability,
                seed: 0x1234_5678_9abc,
                stream: 3,
                iteration: 17,
            },
            relu: false,
        }
    }

    /// With a relu behind it, and no number within a step of its kink.
    pub(crate) fn with_relu(self) -> DropoutCase {
        let x = self.x.iter().map(|v| v + 0.1f32.copysign(*v));
        DropoutCase {
            x: x.collect(),
            relu: true,
            ..self
        }
    }
}

impl Operation for DropoutCase {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![("x", &mut self.x)]
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let shape = [self.x.len() / self.width, self.width];
        let x = floats(&self.x, shape, device).require_grad();
        let draws = dropout_of(self.draws);
        let out = match self.relu {
            true => dropout_relu(x.clone(), draws),
            false => dropout(x.clone(), draws),
        };
        finish(out, device, |g| vec![gradient(&x, g)])
    }

    fn definition(&self) -> Defined {
        let mut output = definitions::dropout::dropout(&wide(&self.x), self.draws);
        let grad = wide_projection(output.len());
        let mut d_x = definitions::dropout::dropout(&grad, self.draws);
        if self.relu {
            for (d, kept) in d_x.iter_mut().zip(&mut output) {
                *kept = kept.max(0.0);
                *d = if *kept > 0.0 { *d } else { 0.0 };
            }
        }
        Defined {
            gradients: vec![d_x],
            output,
        }
    }
}
