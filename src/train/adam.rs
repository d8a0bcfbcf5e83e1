//! Adam over the parameters of a module.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::kernels::adam::{AdamState, AdamStep, adam};

/// Adam with PyTorch's constants (0.9, 0.999, 1e-8), no decay.
#[derive(Debug)]
pub struct Adam {
    learning_rate: f64,
    steps: u32,
    /// First and second moment of each parameter, flat.
    moments: HashMap<ParamId, (Tensor<1>, Tensor<1>)>,
}

impl Adam {
    /// Before the first step.
    pub fn new(learning_rate: f64) -> Adam {
        Adam {
            learning_rate,
            steps: 0,
            moments: HashMap::new(),
        }
    }

    /// Moves each parameter of `module` that has a gradient.
    pub fn step<M: Module>(&mut self, module: M, gradients: GradientsParams) -> M {
        self.steps += 1;
        let step = AdamStep::new(self.learning_rate, self.steps);
        module.map(&mut Stepper {
            moments: &mut self.moments,
            gradients,
            step,
        })
    }
}

/// Visits the parameters in one step.
struct Stepper<'a> {
    moments: &'a mut HashMap<ParamId, (Tensor<1>, Tensor<1>)>,
    gradients: GradientsParams,
    step: AdamStep,
}

impl ModuleMapper for Stepper<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(gradient) = self.gradients.remove::<D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let shape = tensor.shape();
        let parameter = tensor.inner().reshape([-1]);
        let (first, second) = self
            .moments
            .remove(&id)
            .unwrap_or_else(|| (parameter.zeros_like(), parameter.zeros_like()));
        let state = AdamState {
            parameter,
            first,
            second,
        };
        let state = adam(state, gradient.reshape([-1]), self.step);
        self.moments.insert(id, (state.first, state.second));
        let tensor = Tensor::from_inner(state.parameter.reshape(shape)).require_grad();
        Param::from_mapped_value(id, tensor, mapper)
    }
}
