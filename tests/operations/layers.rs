//! Products and norms of layers with inputs as plain numbers.

use burn::module::Param;
use burn::nn::LayerNormConfig;
use burn::tensor::Device;
use mspipe::kernels::output_norm::{BeforeNorm, output_norm};
use mspipe::kernels::products::{from_heads, linear, to_heads};

use super::{
    Defined, Operation, Outcome, draws, dropout_of, finish, floats, gradient, wide_projection,
};
use crate::definitions::dropout::Draws;
use crate::definitions::head_products::{self, Sizes};
use crate::definitions::{self, wide};

/// Two layers on one output: bias + x · weight + x · other.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    rows: usize,
    outputs: usize,
    x: Vec<f32>,
    weight: Vec<f32>,
    other: Vec<f32>,
    bias: Vec<f32>,
}

impl Linear {
    pub(crate) fn new(rows: usize, inputs: usize, outputs: usize) -> Linear {
        let scale = 1.0 / (inputs as f32).sqrt();
        let weight = |seed| {
            let draws = draws(seed, inputs * outputs);
            draws.iter().map(|v| v * scale).collect()
        };
        Linear {
            rows,
            outputs,
            x: draws(22, rows * inputs),
            weight: weight(23),
            other: weight(24),
            bias: draws(25, outputs),
        }
    }
}

impl Operation for Linear {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![
            ("x", &mut self.x),
            ("weight", &mut self.weight),
            ("other", &mut self.other),
            ("bias", &mut self.bias),
        ]
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let inputs = self.weight.len() / self.outputs;
        let x = floats(&self.x, [self.rows, inputs], device).require_grad();
        let weight = floats(&self.weight, [inputs, self.outputs], device).require_grad();
        let other = floats(&self.other, [inputs, self.outputs], device).require_grad();
        let bias = floats(&self.bias, [1, self.outputs], device).require_grad();
        let out = linear(bias.clone(), x.clone(), weight.clone());
        let out = linear(out, x.clone(), other.clone());
        finish(out, device, |g| {
            vec![
                gradient(&x, g),
                gradient(&weight, g),
                gradient(&other, g),
                gradient(&bias, g),
            ]
        })
    }

    fn definition(&self) -> Defined {
        use definitions::linear::{linear, linear_gradients};
        let sizes = [self.rows, self.weight.len() / self.outputs, self.outputs];
        let [x, weight, other, bias] =
            [&self.x, &self.weight, &self.other, &self.bias].map(|of| wide(of));
        let both: Vec<f64> = weight.iter().zip(&other).map(|(a, b)| a + b).collect();
        let output = linear(&bias, &x, &both, sizes);
        let grad = wide_projection(output.len());
        let [d_bias, d_x, d_weight] = linear_gradients(&x, &both, sizes, &grad);
        Defined {
            output,
            gradients: vec![d_x, d_weight.clone(), d_weight, d_bias],
        }
    }
}

/// To heads and back: the products around an attention.
#[derive(Debug, Clone)]
pub(crate) struct HeadProducts {
    heads: usize,
    rows: usize,
    width: usize,
    x: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
}

impl HeadProducts {
    pub(crate) fn new(heads: usize, rows: usize, width: usize, inputs: usize) -> HeadProducts {
        let scale = 1.0 / (inputs as f32).sqrt();
        let weight = |seed| {
            let draws = draws(seed, inputs * width);
            draws.iter().map(|v| v * scale).collect()
        };
        HeadProducts {
            heads,
            rows,
            width,
            x: draws(26, rows * width),
            key: weight(27),
            value: weight(28),
        }
    }
}

impl Operation for HeadProducts {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![
            ("x", &mut self.x),
            ("key", &mut self.key),
            ("value", &mut self.value),
        ]
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let weights = [self.key.len() / self.width, self.width];
        let x = floats(&self.x, [self.rows, self.width], device).require_grad();
        let key = floats(&self.key, weights, device).require_grad();
        let value = floats(&self.value, weights, device).require_grad();
        let out = from_heads(to_heads(x.clone(), key.clone(), self.heads), value.clone());
        finish(out, device, |g| {
            vec![gradient(&x, g), gradient(&key, g), gradient(&value, g)]
        })
    }

    fn definition(&self) -> Defined {
        let sizes = Sizes {
            heads: self.heads,
            rows: self.rows,
            inputs: self.key.len() / self.width,
            width: self.width,
        };
        let [x, key, value] = [&self.x, &self.key, &self.value].map(|of| wide(of));
        let by_head = head_products::to_heads(&x, &key, sizes);
        let output = head_products::from_heads(&by_head, &value, sizes);
        let grad = wide_projection(output.len());
        let [d_by_head, d_value] =
            head_products::from_heads_gradients(&by_head, &value, sizes, &grad);
        let [d_x, d_key] = head_products::to_heads_gradients(&x, &key, sizes, &d_by_head);
        Defined {
            output,
            gradients: vec![d_x, d_key, d_value],
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct OutputNorm {
    width: usize,
    x: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    draws: Draws,
    relu: bool,
}

impl OutputNorm {
    /// Random rows; no number comes closer than 0.05 to the kink of the relu.
    pub(crate) fn new(rows: usize, width: usize, probability: f32, relu: bool) -> OutputNorm {
        let away = |v: &f32| if v.abs() < 0.05 { v + 0.1 } else { *v };
        OutputNorm {
            width,
            x: draws(29, rows * width).iter().map(away).collect(),
            gamma: draws(30, width),
            beta: draws(31, width),
            draws: Draws {
                probability,
                seed: 9,
                stream: 2,
                iteration: 5,
            },
            relu,
        }
    }
}

impl Operation for OutputNorm {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![
            ("x", &mut self.x),
            ("gamma", &mut self.gamma),
            ("beta", &mut self.beta),
        ]
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let shape = [self.x.len() / self.width, self.width];
        let x = floats(&self.x, shape, device).require_grad();
        let mut norm = LayerNormConfig::new(self.width).init(device);
        let parameter =
            |of: &[f32]| Param::from_tensor(floats(of, [self.width], device).require_grad());
        (norm.gamma, norm.beta) = (parameter(&self.gamma), Some(parameter(&self.beta)));
        let before = BeforeNorm {
            dropout: dropout_of(self.draws),
            relu: self.relu,
        };
        let out = output_norm(x.clone(), &norm, before);
        finish(out, device, |g| {
            let mut gradients = vec![gradient(&x, g)];
            let parameters = [Some(&norm.gamma), norm.beta.as_ref()];
            let parameters = parameters.into_iter().flatten();
            gradients.extend(parameters.map(|parameter| gradient(&parameter.val(), g)));
            gradients
        })
    }

    fn definition(&self) -> Defined {
        use definitions::output_norm::{output_norm, output_norm_gradients};
        let [x, gamma, beta] = [&self.x, &self.gamma, &self.beta].map(|of| wide(of));
        let output = output_norm(&x, [&gamma, &beta], self.draws, self.relu);
        let grad = wide_projection(output.len());
        let gradients = output_norm_gradients(&x, &gamma, self.draws, self.relu, &grad);
        Defined {
            output,
            gradients: gradients.to_vec(),
        }
    }
}
