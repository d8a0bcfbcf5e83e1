//! The link predictor, and scores alone, with inputs as plain numbers.

use burn::tensor::{Device, Tensor, TensorData};
use mspipe::kernels::link_predictor::{PredictorInput, link_predictor};
use mspipe::kernels::link_scores::{LinkLayer, PairHistory, link_scores};

use super::{Defined, Operation, Outcome, draws, finish, floats, gradient, numbers};
use crate::definitions::link_predictor::{self, Pairs, Predictor};
use crate::definitions::wide;

/// Statistics of pairs and their weights, some or none.
#[derive(Debug, Clone, Default)]
struct History {
    statistics: Vec<f32>,
    weight: Vec<f32>,
}

impl History {
    /// `count` statistics of each of `pairs`, whose share of a sum is 0.4 at most.
    fn new(pairs: usize, count: usize, width: usize) -> History {
        let weight = draws(57, count * width).into_iter();
        History {
            statistics: draws(56, pairs * count),
            weight: weight.map(|v| v * 0.4 / count as f32).collect(),
        }
    }

    fn defined(&self) -> link_predictor::History {
        link_predictor::History {
            statistics: wide(&self.statistics),
            weight: wide(&self.weight),
        }
    }

    /// On the device, of pairs of a hidden layer `width` wide.
    fn on(&self, pairs: usize, width: usize, device: &Device) -> Option<PairHistory> {
        let count = self.weight.len() / width;
        (count > 0).then(|| PairHistory {
            statistics: floats(&self.statistics, [pairs, count], device),
            weight: floats(&self.weight, [count, width], device),
        })
    }
}

/// Scores of products, without gradients.
#[derive(Debug, Clone)]
pub(crate) struct LinkScores {
    pairs: usize,
    source: Vec<f32>,
    destination: Vec<f32>,
    bias: Vec<f32>,
    output: Vec<f32>,
    output_bias: Vec<f32>,
    history: History,
}

impl LinkScores {
    /// Random products. No sum of a pair comes closer than 0.05 to the kink of the relu.
    pub(crate) fn new(pairs: usize, width: usize) -> LinkScores {
        let (source, bias) = (draws(17, pairs * width), draws(19, width));
        let mut destination = draws(18, pairs * width);
        for (i, destination) in destination.iter_mut().enumerate() {
            let sum = source[i] + *destination + bias[i % width];
            if sum.abs() < 0.05 {
                *destination += 0.1;
            }
        }
        LinkScores {
            pairs,
            source,
            destination,
            bias,
            output: draws(20, width),
            output_bias: draws(21, 1),
            history: History::default(),
        }
    }

    /// With `count` statistics of each pair.
    pub(crate) fn with_history(mut self, count: usize) -> LinkScores {
        self.history = History::new(self.pairs, count, self.bias.len());
        self
    }

    pub(crate) fn definition(&self) -> Pairs {
        Pairs {
            source: wide(&self.source),
            destination: wide(&self.destination),
            bias: wide(&self.bias),
            output: wide(&self.output),
            output_bias: f64::from(self.output_bias[0]),
            history: self.history.defined(),
        }
    }

    /// Logits.
    pub(crate) fn run(&self, device: &Device) -> Vec<f32> {
        let places = || {
            let places = (0..self.pairs as i32).collect();
            Tensor::from_data(TensorData::new::<i32, _>(places, [self.pairs]), device)
        };
        numbers(link_scores(self.layer(device), [places(), places()]))
    }

    fn layer(&self, device: &Device) -> LinkLayer {
        let width = self.bias.len();
        LinkLayer {
            source: floats(&self.source, [self.pairs, width], device),
            destination: floats(&self.destination, [self.pairs, width], device),
            bias: floats(&self.bias, [width], device),
            output: floats(&self.output, [width], device),
            output_bias: floats(&self.output_bias, [1], device),
            history: self.history.on(self.pairs, width, device),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct LinkPredictor {
    events: usize,
    embedding: Vec<f32>,
    source: Vec<f32>,
    source_bias: Vec<f32>,
    destination: Vec<f32>,
    destination_bias: Vec<f32>,
    output: Vec<f32>,
    output_bias: Vec<f32>,
    history: History,
}

impl LinkPredictor {
    /// Random embeddings and weights. Biases keep every sum of a pair away from the kink of the
    /// relu, half of the columns on either side.
    pub(crate) fn new(events: usize, width: usize) -> LinkPredictor {
        let scale = 0.5 / width as f32;
        let weights = |seed| {
            draws(seed, width * width)
                .iter()
                .map(|v| v * scale)
                .collect()
        };
        let sides = (0..width).map(|c| if c % 2 == 0 { 1.1 } else { -1.1 });
        LinkPredictor {
            events,
            embedding: draws(50, 3 * events * width),
            source: weights(51),
            source_bias: sides.collect(),
            destination: weights(52),
            destination_bias: draws(53, width).iter().map(|v| 0.05 * v).collect(),
            output: draws(54, width),
            output_bias: draws(55, 1),
            history: History::default(),
        }
    }

    /// With `count` statistics of each pair; biases keep the sums as far from the kink.
    pub(crate) fn with_history(mut self, count: usize) -> LinkPredictor {
        self.history = History::new(2 * self.events, count, self.output.len());
        self.source_bias
            .iter_mut()
            .for_each(|v| *v += v.signum() * 0.4);
        self
    }

    /// With logits of order `scale`, far beyond what e^x can take.
    pub(crate) fn scaled(mut self, scale: f32) -> LinkPredictor {
        self.output.iter_mut().for_each(|v| *v *= scale);
        self
    }

    fn predictor(&self) -> Predictor {
        Predictor {
            embedding: wide(&self.embedding),
            source: wide(&self.source),
            source_bias: wide(&self.source_bias),
            destination: wide(&self.destination),
            destination_bias: wide(&self.destination_bias),
            output: wide(&self.output),
            output_bias: f64::from(self.output_bias[0]),
            history: self.history.defined(),
        }
    }
}

impl Operation for LinkPredictor {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        let mut inputs = vec![
            ("embedding", &mut self.embedding),
            ("source", &mut self.source),
            ("source_bias", &mut self.source_bias),
            ("destination", &mut self.destination),
            ("destination_bias", &mut self.destination_bias),
            ("output", &mut self.output),
            ("output_bias", &mut self.output_bias),
        ];
        if !self.history.weight.is_empty() {
            inputs.push(("history", &mut self.history.weight));
        }
        inputs
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let width = self.output.len();
        let matrix = |of: &[f32]| floats(of, [width, width], device).require_grad();
        let vector = |of: &[f32]| floats(of, [of.len()], device).require_grad();
        let input = PredictorInput {
            embedding: floats(&self.embedding, [3 * self.events, width], device).require_grad(),
            source: matrix(&self.source),
            source_bias: vector(&self.source_bias),
            destination: matrix(&self.destination),
            destination_bias: vector(&self.destination_bias),
            output: floats(&self.output, [width, 1], device).require_grad(),
            output_bias: vector(&self.output_bias),
            history: (self.history.on(2 * self.events, width, device)).map(|history| PairHistory {
                weight: history.weight.require_grad(),
                ..history
            }),
        };
        let scores = link_predictor(input.clone());
        finish(scores.loss, device, |g| {
            let mut gradients = vec![
                gradient(&input.embedding, g),
                gradient(&input.source, g),
                gradient(&input.source_bias, g),
                gradient(&input.destination, g),
                gradient(&input.destination_bias, g),
                gradient(&input.output, g),
                gradient(&input.output_bias, g),
            ];
            let weight = input.history.as_ref().map(|history| &history.weight);
            gradients.extend(weight.map(|weight| gradient(weight, g)));
            gradients
        })
    }

    fn definition(&self) -> Defined {
        let grad = super::wide_projection(1)[0];
        let mut gradients = self.predictor().gradients(grad);
        gradients.truncate(self.clone().inputs().len());
        Defined {
            output: vec![self.predictor().pairs().loss()],
            gradients,
        }
    }
}
