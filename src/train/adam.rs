//! Adam over the parameters of a module.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
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

/// What Adam goes on from: two modules with moments in the place of parameters.
#[derive(Debug, Clone)]
pub struct Moments<M> {
    /// First moments.
    pub first: M,
    /// Second moments.
    pub second: M,
}

impl Adam {
    /// Steps so far.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// Factor of each step.
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// The moments of `module`'s parameters; zeros where there was no gradient yet.
    pub fn moments<M: Module>(&self, module: &M) -> Moments<M> {
        let placed = |second| {
            module.clone().map(&mut Placer {
                moments: &self.moments,
                second,
            })
        };
        Moments {
            first: placed(false),
            second: placed(true),
        }
    }

    /// Adam after `steps` steps that gave `moments`, whose parameters must have the ids of
    /// those that it is to move.
    pub fn resume<M: Module>(learning_rate: f64, steps: u32, moments: &Moments<M>) -> Adam {
        let flat = |module: &M| {
            let mut flat = Flat(HashMap::new());
            module.visit(&mut flat);
            flat.0
        };
        let (first, mut second) = (flat(&moments.first), flat(&moments.second));
        let pairs = first.into_iter();
        Adam {
            learning_rate,
            steps,
            moments: pairs
                .filter_map(|(id, first)| Some((id, (first, second.remove(&id)?))))
                .collect(),
        }
    }
}

/// Puts moments in the place of parameters.
struct Placer<'a> {
    moments: &'a HashMap<ParamId, (Tensor<1>, Tensor<1>)>,
    second: bool,
}

impl ModuleMapper for Placer<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let moments = self.moments.get(&param.id);
        let moment = moments.map(|(first, second)| if self.second { second } else { first });
        param.map(|parameter| match moment {
            Some(moment) => {
                let moment = moment.clone().reshape(parameter.shape());
                Tensor::from_inner(moment).set_require_grad(parameter.is_require_grad())
            }
            None => parameter
                .zeros_like()
                .set_require_grad(parameter.is_require_grad()),
        })
    }
}

/// Collects parameters, each flat and without autodiff.
struct Flat(HashMap<ParamId, Tensor<1>>);

impl ModuleVisitor for Flat {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.insert(param.id, param.val().inner().reshape([-1]));
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
