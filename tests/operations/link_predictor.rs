//! The link predictor, and scores and loss alone, with inputs as plain numbers.

use burn::tensor::Device;
use mspipe::kernels::link_predictor::{PredictorInput, link_predictor};
use mspipe::kernels::link_scores::{LinkLayer, link_scores};

use super::{Defined, Operation, Outcome, draws, finish, floats, gradient, numbers};
use crate::definitions::link_predictor::{Pairs, Predictor};
use crate::definitions::wide;

/// Scores and loss of products, without gradients.
#[derive(Debug, Clone)]
pub(crate) struct LinkScores {
    events: usize,
    source: Vec<f32>,
    destination: Vec<f32>,
    bias: Vec<f32>,
    output: Vec<f32>,
    output_bias: Vec<f32>,
}

impl LinkScores {
    /// Random products. No sum of a pair comes closer than 0.05 to the kink of the relu.
    pub(crate) fn new(events: usize, width: usize) -> LinkScores {
        let (source, bias) = (draws(17, events * width), draws(19, width));
        let mut destination = draws(18, 2 * events * width);
        for (i, destination) in destination.iter_mut().enumerate() {
            let sum = source[i % (events * width)] + *destination + bias[i % width];
            if sum.abs() < 0.05 {
                *destination += 0.1;
            }
        }
        LinkScores {
            events,
            source,
            destination,
            bias,
            output: draws(20, width),
            output_bias: draws(21, 1),
        }
    }

    pub(crate) fn definition(&self) -> Pairs {
        Pairs {
            source: wide(&self.source),
            destination: wide(&self.destination),
            bias: wide(&self.bias),
            output: wide(&self.output),
            output_bias: f64::from(self.output_bias[0]),
        }
    }

    /// Logits and loss.
    pub(crate) fn run(&self, device: &Device) -> (Vec<f32>, f32) {
        let scores = link_scores(self.layer(device));
        (numbers(scores.logits), numbers(scores.loss)[0])
    }

    fn layer(&self, device: &Device) -> LinkLayer {
        let width = self.bias.len();
        LinkLayer {
            source: floats(&self.source, [self.events, width], device),
            destination: floats(&self.destination, [2 * self.events, width], device),
            bias: floats(&self.bias, [width], device),
            output: floats(&self.output, [width], device),
            output_bias: floats(&self.output_bias, [1], device),
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
        }
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
        }
    }
}

impl Operation for LinkPredictor {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![
            ("embedding", &mut self.embedding),
            ("source", &mut self.source),
            ("source_bias", &mut self.source_bias),
            ("destination", &mut self.destination),
            ("destination_bias", &mut self.destination_bias),
            ("output", &mut self.output),
            ("output_bias", &mut self.output_bias),
        ]
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
        };
        let scores = link_predictor(input.clone());
        finish(scores.loss, device, |g| {
            vec![
                gradient(&input.embedding, g),
                gradient(&input.source, g),
                gradient(&input.source_bias, g),
                gradient(&input.destination, g),
                gradient(&input.destination_bias, g),
                gradient(&input.output, g),
                gradient(&input.output_bias, g),
            ]
        })
    }

    fn definition(&self) -> Defined {
        let grad = super::wide_projection(1)[0];
        Defined {
            output: vec![self.predictor().pairs().loss()],
            gradients: self.predictor().gradients(grad),
        }
    }
}
