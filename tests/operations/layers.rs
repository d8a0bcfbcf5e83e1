//! Products and norms of layers with inputs as plain numbers.

use burn::module::Param;
use burn::nn::LayerNormConfig;
use burn::tensor::Device;
use mspipe::kernels::dropout::Dropout;
use mspipe::kernels::head_products::{from_heads, to_heads};
use mspipe::kernels::linear::linear;
use mspipe::kernels::output_norm::{BeforeNorm, output_norm};

use mspipe::kernels::time_projection::time_projection;

use super::{Operation, Outcome, draws, finish, floats, gradient};

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

    /// What must come out, computed in f64.
    pub(crate) fn expected(&self) -> Vec<f64> {
        let inputs = self.weight.len() / self.outputs;
        let element = |at: usize| {
            let (row, column) = (at / self.outputs, at % self.outputs);
            let term = |k: usize| {
                let weight = k * self.outputs + column;
                f64::from(self.x[row * inputs + k])
                    * (f64::from(self.weight[weight]) + f64::from(self.other[weight]))
            };
            f64::from(self.bias[column]) + (0..inputs).map(term).sum::<f64>()
        };
        (0..self.rows * self.outputs).map(element).collect()
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

    /// What must come out, computed in f64.
    pub(crate) fn expected(&self) -> Vec<f64> {
        let (width, of_head) = (self.width, self.width / self.heads);
        let inputs = self.key.len() / width;
        let element = |at: usize| {
            let (row, column) = (at / width, at % width);
            let first = column / of_head * of_head;
            let projected = |k: usize| -> f64 {
                let columns = first..first + of_head;
                columns
                    .map(|c| {
                        f64::from(self.x[row * width + c]) * f64::from(self.key[k * width + c])
                    })
                    .sum()
            };
            (0..inputs)
                .map(|k| projected(k) * f64::from(self.value[k * width + column]))
                .sum()
        };
        (0..self.rows * width).map(element).collect()
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
}

#[derive(Debug, Clone)]
pub(crate) struct OutputNorm {
    width: usize,
    x: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    before: BeforeNorm,
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
            before: BeforeNorm {
                dropout: Dropout::new(probability, 9, 2, 5),
                relu,
            },
        }
    }

    /// What must come out, computed in f64.
    pub(crate) fn expected(&self) -> Vec<f64> {
        let width = self.width as f64;
        let mut out = Vec::new();
        for (r, row) in self.x.chunks(self.width).enumerate() {
            let kept = |(c, x): (usize, &f32)| {
                let element = (r * self.width + c) as u32;
                let kept = f64::from(x * self.before.dropout.factor(element));
                if self.before.relu {
                    kept.max(0.0)
                } else {
                    kept
                }
            };
            let kept: Vec<f64> = row.iter().enumerate().map(kept).collect();
            let mean = kept.iter().sum::<f64>() / width;
            let variance = kept.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width;
            out.extend(kept.iter().enumerate().map(|(c, v)| {
                (v - mean) / (variance + 1e-5).sqrt() * f64::from(self.gamma[c])
                    + f64::from(self.beta[c])
            }));
        }
        out
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
        let out = output_norm(x.clone(), &norm, self.before);
        finish(out, device, |g| {
            let mut gradients = vec![gradient(&x, g)];
            let parameters = [Some(&norm.gamma), norm.beta.as_ref()];
            let parameters = parameters.into_iter().flatten();
            gradients.extend(parameters.map(|parameter| gradient(&parameter.val(), g)));
            gradients
        })
    }
}

#[derive(Debug, Clone)]
pub(crate) struct TimeProjection {
    width: usize,
    x: Vec<f32>,
    recency: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl TimeProjection {
    pub(crate) fn new(rows: usize, width: usize) -> TimeProjection {
        TimeProjection {
            width,
            x: draws(60, rows * width),
            recency: draws(61, rows).iter().map(|v| v.abs()).collect(),
            weight: draws(62, width),
            bias: draws(63, width),
        }
    }

    /// What must come out, computed in f64.
    pub(crate) fn expected(&self) -> Vec<f64> {
        let element = |(i, x): (usize, &f32)| {
            let (row, c) = (i / self.width, i % self.width);
            let [x, r, w, b] = [*x, self.recency[row], self.weight[c], self.bias[c]].map(f64::from);
            x * (1.0 + r * w + b)
        };
        self.x.iter().enumerate().map(element).collect()
    }
}

impl Operation for TimeProjection {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![
            ("x", &mut self.x),
            ("weight", &mut self.weight),
            ("bias", &mut self.bias),
        ]
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let (rows, width) = (self.recency.len(), self.width);
        let x = floats(&self.x, [rows, width], device).require_grad();
        let recency = floats(&self.recency, [rows], device);
        let weight = floats(&self.weight, [1, width], device).require_grad();
        let bias = floats(&self.bias, [width], device).require_grad();
        let out = time_projection(x.clone(), recency, weight.clone(), bias.clone());
        finish(out, device, |g| {
            vec![gradient(&x, g), gradient(&weight, g), gradient(&bias, g)]
        })
    }
}
