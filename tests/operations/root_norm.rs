//! Layer norm by root and a projection, with inputs as plain numbers.

use burn::module::Param;
use burn::nn::LayerNormConfig;
use burn::tensor::Device;
use mspipe::kernels::root_norm::{Projection, root_norm};

use super::attention::query_rows;
use super::{
    Defined, Operation, Outcome, draws, finish, floats, gradient, ints, uses_on, wide_projection,
};
use crate::definitions::dropout::Draws;
use crate::definitions::{self, wide};

#[derive(Debug, Clone)]
pub(crate) struct RootNorm {
    width: usize,
    /// Row of each root.
    row: Vec<i32>,
    table: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    recency: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    projected: bool,
}

/// No dropout.
const KEEP: Draws = Draws {
    probability: 0.0,
    seed: 0,
    stream: 0,
    iteration: 0,
};

impl RootNorm {
    /// Two of five roots share the row of another, and one row has no root.
    pub(crate) fn new(roots: usize, width: usize, projected: bool) -> RootNorm {
        let row: Vec<i32> = query_rows(roots).collect();
        let rows = row.iter().max().map_or(1, |&row| row as usize + 2);
        RootNorm {
            width,
            row,
            table: draws(70, rows * width),
            gamma: draws(71, width),
            beta: draws(72, width),
            recency: draws(73, roots).iter().map(|v| v.abs()).collect(),
            weight: draws(74, width),
            bias: draws(75, width),
            projected,
        }
    }

    /// With the first row at every other root.
    pub(crate) fn with_hub(mut self) -> RootNorm {
        self.row.iter_mut().step_by(2).for_each(|row| *row = 0);
        self
    }
}

impl Operation for RootNorm {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        let mut inputs = vec![
            ("table", &mut self.table),
            ("gamma", &mut self.gamma),
            ("beta", &mut self.beta),
        ];
        if self.projected {
            inputs.push(("weight", &mut self.weight));
            inputs.push(("bias", &mut self.bias));
        }
        inputs
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let (rows, width) = (self.table.len() / self.width, self.width);
        let table = floats(&self.table, [rows, width], device).require_grad();
        let mut norm = LayerNormConfig::new(width).init(device);
        let parameter = |of: &[f32]| Param::from_tensor(floats(of, [width], device).require_grad());
        let (gamma, beta) = (parameter(&self.gamma), parameter(&self.beta));
        (norm.gamma, norm.beta) = (gamma.clone(), Some(beta.clone()));
        let uses = uses_on(self.row.iter().copied(), rows, device);
        let weight = floats(&self.weight, [1, width], device).require_grad();
        let bias = floats(&self.bias, [width], device).require_grad();
        let projection = self.projected.then(|| Projection {
            recency: floats(&self.recency, [self.row.len()], device),
            weight: weight.clone(),
            bias: bias.clone(),
        });
        let row = ints(&self.row, [self.row.len()], device);
        let out = root_norm(table.clone(), &norm, row, uses, projection);
        finish(out, device, |g| {
            let mut gradients = vec![
                gradient(&table, g),
                gradient(&gamma.val(), g),
                gradient(&beta.val(), g),
            ];
            if self.projected {
                gradients.extend([gradient(&weight, g), gradient(&bias, g)]);
            }
            gradients
        })
    }

    fn definition(&self) -> Defined {
        use definitions::gather_rows::{gather_rows, table_gradient};
        use definitions::output_norm::{output_norm, output_norm_gradients};
        use definitions::time_projection::{time_projection, time_projection_gradients};
        let (rows, width) = (self.table.len() / self.width, self.width);
        let [table, gamma, beta, recency, weight, bias] = [
            &self.table,
            &self.gamma,
            &self.beta,
            &self.recency,
            &self.weight,
            &self.bias,
        ]
        .map(|of| wide(of));
        let normed = output_norm(&table, [&gamma, &beta], KEEP, false);
        let mut output = gather_rows(&normed, &self.row, width);
        let mut d_roots = wide_projection(output.len());
        let mut of_projection = Vec::new();
        if self.projected {
            let x = std::mem::take(&mut output);
            output = time_projection(&x, &recency, &weight, &bias);
            let [d_x, d_weight, d_bias] =
                time_projection_gradients(&x, &recency, &weight, &bias, &d_roots);
            d_roots = d_x;
            of_projection = vec![d_weight, d_bias];
        }
        let d_normed = table_gradient(&d_roots, &self.row, rows, width);
        let of_norm = output_norm_gradients(&table, &gamma, KEEP, false, &d_normed);
        let mut gradients = of_norm.to_vec();
        gradients.extend(of_projection);
        Defined { output, gradients }
    }
}
