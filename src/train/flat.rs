//! The parameters of a module side by side, and their gradients, in the order in which it is visited.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Its parameters, each flat and without autodiff.
pub(super) fn parameters<M: Module>(module: &M) -> Vec<(ParamId, Tensor<1>)> {
    let mut parameters = Parameters(Vec::new());
    module.visit(&mut parameters);
    parameters.0
}

/// The gradient of each parameter, flat, and whether there is one: zeros stand for one that there is not.
pub(super) fn gradients<M: Module>(
    module: &M,
    of: &GradientsParams,
) -> (Vec<Tensor<1>>, Vec<bool>) {
    let mut gradients = Gradients {
        of,
        numbers: Vec::new(),
        present: Vec::new(),
    };
    module.visit(&mut gradients);
    (gradients.numbers, gradients.present)
}

struct Parameters(Vec<(ParamId, Tensor<1>)>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push((param.id, param.val().inner().reshape([-1])));
    }
}

struct Gradients<'a> {
    of: &'a GradientsParams,
    numbers: Vec<Tensor<1>>,
    present: Vec<bool>,
}

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.of.get::<D>(param.id);
        self.present.push(gradient.is_some());
        let gradient = gradient.unwrap_or_else(|| param.val().inner().zeros_like());
        self.numbers.push(gradient.reshape([-1]));
    }
}
