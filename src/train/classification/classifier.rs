//! The classifier on top of embeddings: two linear layers with a ReLU between.
//!
//! Source: `NodeClassificationModel` of TGL's `modules.py`, with one logit for two classes.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::checkpoint::{Arrays, Unfit};
use crate::kernels::products::linear;
use crate::model::init::Initializer;
use crate::train::error::EvalError;
use crate::train::upload::{floats, read};

/// relu(h W + b) w + b.
#[derive(Module, Debug)]
pub(super) struct Classifier {
    /// `[input, width]`.
    hidden: Param<Tensor<2>>,
    /// `[width]`.
    hidden_bias: Param<Tensor<1>>,
    /// `[width, logits]`.
    output: Param<Tensor<2>>,
    /// `[logits]`.
    output_bias: Param<Tensor<1>>,
}

/// The numbers of a parameter.
pub(super) struct NamedNumbers {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// Logits of so many classes: one tells two apart.
pub(super) fn logits_of(classes: usize) -> usize {
    if classes == 2 { 1 } else { classes }
}

impl Classifier {
    /// A classifier of rows of so many numbers with PyTorch's initial weights.
    pub(super) fn new(
        input: usize,
        width: usize,
        classes: usize,
        init: &mut Initializer<'_>,
    ) -> Classifier {
        let bound = |width: usize| 1.0 / (width as f64).sqrt();
        let logits = logits_of(classes);
        Classifier {
            hidden: init.uniform([input, width], bound(input)),
            hidden_bias: init.uniform([width], bound(input)),
            output: init.uniform([width, logits], bound(width)),
            output_bias: init.uniform([logits], bound(width)),
        }
    }

    /// Logits `[events, logits]` of `rows` `[events, input]`.
    pub(super) fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        let (hidden_bias, output_bias) = (self.hidden_bias.val(), self.output_bias.val());
        let hidden = linear(hidden_bias.unsqueeze(), rows, self.hidden.val());
        linear(output_bias.unsqueeze(), relu(hidden), self.output.val())
    }

    /// Cross-entropy of each event, `[events]`: binary where there is one logit, whose `target`
    /// `[events, 1]` is 0 or 1; else of the softmax, with a `target` `[events, logits]` that is 1 for the
    /// event's class and 0 for all others.
    pub(super) fn losses(&self, rows: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
        let logits = self.forward(rows);
        if logits.dims()[1] == 1 {
            let (logit, target) = (logits.reshape([-1]), target.reshape([-1]));
            // log(1 + e^x) - x y, without overflow.
            let softplus = relu::<1>(logit.clone()) + logit.clone().abs().neg().exp().log1p();
            return softplus - logit * target;
        }
        // log Σ e^x - x of the class, all less the largest x, which changes no gradient.
        let most = logits.clone().detach().max_dim(1);
        let above = logits - most;
        let all = above.clone().exp().sum_dim(1).log();
        let own = (above * target).sum_dim(1);
        (all - own).reshape([-1])
    }

    /// Its numbers, with names that begin with `prefix`.
    ///
    /// # Errors
    /// When the device does not hand them over.
    pub(super) fn numbers(&self, prefix: &str) -> Result<Vec<NamedNumbers>, EvalError> {
        let matrix = |name, parameter: &Param<Tensor<2>>| {
            let tensor = parameter.val().inner();
            let shape = tensor.dims().to_vec();
            Ok((name, shape, read(tensor)?))
        };
        let vector = |name, parameter: &Param<Tensor<1>>| {
            let tensor = parameter.val().inner();
            let shape = tensor.dims().to_vec();
            Ok((name, shape, read(tensor)?))
        };
        let all: [Result<_, EvalError>; 4] = [
            matrix("hidden", &self.hidden),
            vector("hidden_bias", &self.hidden_bias),
            matrix("output", &self.output),
            vector("output_bias", &self.output_bias),
        ];
        all.into_iter()
            .map(|numbers| {
                let (name, shape, values) = numbers?;
                let name = format!("{prefix}{name}");
                Ok(NamedNumbers {
                    name,
                    shape,
                    values,
                })
            })
            .collect()
    }

    /// The same parameters with the numbers of `arrays` whose names begin with `prefix`.
    ///
    /// # Errors
    /// When they are missing or of another shape.
    pub(super) fn with_numbers(
        &self,
        arrays: &mut Arrays<'_>,
        prefix: &str,
    ) -> Result<Classifier, Unfit> {
        let mut take = |name: &str, shape: &[usize]| {
            arrays.take_shaped::<f32>(&format!("{prefix}{name}"), shape)
        };
        Ok(Classifier {
            hidden: replaced(&self.hidden, take("hidden", &self.hidden.dims())?),
            hidden_bias: replaced(
                &self.hidden_bias,
                take("hidden_bias", &self.hidden_bias.dims())?,
            ),
            output: replaced(&self.output, take("output", &self.output.dims())?),
            output_bias: replaced(
                &self.output_bias,
                take("output_bias", &self.output_bias.dims())?,
            ),
        })
    }
}

/// The parameter with other numbers.
fn replaced<const D: usize>(parameter: &Param<Tensor<D>>, values: Vec<f32>) -> Param<Tensor<D>> {
    parameter.clone().map(|tensor| {
        floats(values, tensor.dims(), &tensor.device()).set_require_grad(tensor.is_require_grad())
    })
}

/// max(x, 0), and NaN for NaN, of which burn's makes 0.
fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let not_positive = x.clone().lower_equal_elem(0.0);
    x.mask_fill(not_positive, 0.0)
}
