//! The link predictor, and scores and loss alone, with inputs as plain numbers.

use burn::tensor::Device;
use mspipe::kernels::link_predictor::{PredictorInput, link_predictor};
use mspipe::kernels::link_scores::{LinkLayer, link_scores};

use super::{Operation, Outcome, draws, finish, floats, gradient, numbers};

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

    /// With logits of order `scale`, far beyond what e^x can take.
    pub(crate) fn scaled(mut self, scale: f32) -> LinkScores {
        self.output.iter_mut().for_each(|v| *v *= scale);
        self
    }

    /// Logits and loss, computed in f64.
    pub(crate) fn expected(&self) -> (Vec<f64>, f64) {
        let width = self.bias.len();
        let logits: Vec<f64> = (0..2 * self.events)
            .map(|pair| {
                let hidden = |c: usize| {
                    let source = self.source[pair % self.events * width + c];
                    let sum = source + self.destination[pair * width + c] + self.bias[c];
                    f64::from(sum).max(0.0) * f64::from(self.output[c])
                };
                (0..width).map(hidden).sum::<f64>() + f64::from(self.output_bias[0])
            })
            .collect();
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let (positive, negative) = logits.split_at(self.events);
        let sum: f64 = positive.iter().map(|x| softplus(-x)).sum::<f64>()
            + negative.iter().map(|x| softplus(*x)).sum::<f64>();
        (logits, sum / self.events.max(1) as f64)
    }

    /// Logits without autodiff.
    pub(crate) fn logits(&self, device: &Device) -> Vec<f32> {
        numbers(link_scores(self.layer(device)).logits)
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

impl Operation for LinkScores {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![
            ("source", &mut self.source),
            ("destination", &mut self.destination),
            ("bias", &mut self.bias),
            ("output", &mut self.output),
            ("output_bias", &mut self.output_bias),
        ]
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let layer = self.layer(device);
        let layer = LinkLayer {
            source: layer.source.require_grad(),
            destination: layer.destination.require_grad(),
            bias: layer.bias.require_grad(),
            output: layer.output.require_grad(),
            output_bias: layer.output_bias.require_grad(),
        };
        let scores = link_scores(layer.clone());
        finish(scores.loss, device, |g| {
            vec![
                gradient(&layer.source, g),
                gradient(&layer.destination, g),
                gradient(&layer.bias, g),
                gradient(&layer.output, g),
                gradient(&layer.output_bias, g),
            ]
        })
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

    /// Loss, computed in f64.
    pub(crate) fn expected(&self) -> f64 {
        let width = self.output.len();
        let product = |root: usize, weight: &[f32], c: usize| -> f64 {
            let terms = (0..width).map(|k| {
                f64::from(self.embedding[root * width + k]) * f64::from(weight[k * width + c])
            });
            terms.sum()
        };
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let mut loss = 0.0;
        for pair in 0..2 * self.events {
            let mut logit = f64::from(self.output_bias[0]);
            for c in 0..width {
                let sum = product(pair % self.events, &self.source, c)
                    + product(self.events + pair, &self.destination, c)
                    + f64::from(self.source_bias[c])
                    + f64::from(self.destination_bias[c]);
                logit += sum.max(0.0) * f64::from(self.output[c]);
            }
            loss += softplus(if pair < self.events { -logit } else { logit });
        }
        loss / self.events.max(1) as f64
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
}
