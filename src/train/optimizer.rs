//! The optimiser over the parameters of a module: Adam or SGD, with decoupled weight decay.
//!
//! Both are one operation: plain SGD is Adam without its averages and without the division.

use std::collections::HashMap;
use std::ops::Range;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Shape, Tensor};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::flat;
use super::learning_rate::LearningRate;
use crate::kernels::adam::{AdamStep, BESIDE, Moving, WATCHED, adam};

/// What moves the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Adam with PyTorch's constants (0.9, 0.999, 1e-8); with --weight-decay AdamW
    #[default]
    Adam,
    /// Gradient descent without momentum; --weight-decay is then the same as an L2 penalty
    Sgd,
}

/// How the weights are moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerRule {
    /// What moves them.
    pub optimizer: OptimizerName,
    /// How far.
    pub learning_rate: LearningRate,
    /// What they are multiplied by before a step is 1 − learning rate × this.
    pub weight_decay: f64,
    /// Largest norm of the gradients of all weights together, if there is one.
    pub clip_norm: Option<f64>,
}

impl OptimizerRule {
    /// Adam at one learning rate, without decay.
    pub fn adam(learning_rate: f64) -> OptimizerRule {
        OptimizerRule {
            optimizer: OptimizerName::Adam,
            learning_rate: LearningRate::constant(learning_rate),
            weight_decay: 0.0,
            clip_norm: None,
        }
    }

    /// The constants of step `t`, from 1.
    fn step(&self, t: u32) -> AdamStep {
        let learning_rate = self.learning_rate.at(t as usize);
        let step = match self.optimizer {
            OptimizerName::Adam => AdamStep::new(learning_rate, t),
            OptimizerName::Sgd => AdamStep::sgd(learning_rate, t),
        };
        AdamStep {
            clip_norm: self.clip_norm.map(|norm| norm as f32),
            ..step.with_decay(learning_rate * self.weight_decay)
        }
    }
}

/// Makes the steps.
#[derive(Debug)]
pub(crate) struct Optimizer {
    rule: OptimizerRule,
    steps: u32,
    /// Moments to resume from, until the first step lays them out.
    given: HashMap<ParamId, [Tensor<1>; 2]>,
    table: Option<Table>,
}

/// All moments, side by side in one tensor, and where each parameter has its own.
#[derive(Debug)]
struct Table {
    /// The first moments of all numbers, then the second, then what stands beside them.
    numbers: Tensor<1>,
    places: HashMap<ParamId, Range<usize>>,
}

impl Optimizer {
    /// Before the first step.
    pub(crate) fn new(rule: OptimizerRule) -> Optimizer {
        Optimizer {
            rule,
            steps: 0,
            given: HashMap::new(),
            table: None,
        }
    }

    /// First and second moment of a parameter, flat; none before its first step.
    fn moments_of(&self, id: ParamId) -> Option<[Tensor<1>; 2]> {
        let Some(Table { numbers, places }) = &self.table else {
            return self.given.get(&id).cloned();
        };
        let of = places.get(&id)?;
        let all = (numbers.dims()[0] - BESIDE) / 2;
        Some([0, all].map(|half| numbers.clone().slice(half + of.start..half + of.end)))
    }

    /// Moves each parameter of `module` that has a gradient.
    pub(crate) fn step<M: Module>(&mut self, module: M, gradients: GradientsParams) -> M {
        self.steps += 1;
        let step = self.rule.step(self.steps);
        let given = &mut self.given;
        let table = self
            .table
            .take()
            .or_else(|| Table::laid_out(&module, std::mem::take(given)));
        let Some(Table { numbers, places }) = table else {
            return module;
        };
        let mut taken = Taken {
            gradients,
            places: &places,
            shapes: Vec::new(),
            moving: Vec::new(),
        };
        let module = module.map(&mut taken);
        let Taken { shapes, moving, .. } = taken;
        let (numbers, moved) = adam(numbers, moving, step);
        self.table = Some(Table { numbers, places });
        let moved = shapes.into_iter().zip(moved);
        module.map(&mut Moved(
            moved
                .map(|((id, shape), flat)| (id, (shape, flat)))
                .collect(),
        ))
    }
}

impl Table {
    /// Room for the moments of all parameters, with those that are given; none where `module`
    /// has no parameters.
    fn laid_out<M: Module>(
        module: &M,
        mut given: HashMap<ParamId, [Tensor<1>; 2]>,
    ) -> Option<Table> {
        let (mut places, mut end) = (HashMap::new(), 0);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (id, parameter) in flat::parameters(module) {
            let place = end..end + parameter.dims()[0];
            end = place.end;
            places.insert(id, place);
            let [m, v] = given
                .remove(&id)
                .unwrap_or_else(|| [(); 2].map(|()| parameter.zeros_like()));
            first.push(m);
            second.push(v);
        }
        first.append(&mut second);
        let device = first.first()?.device();
        first.push(Tensor::zeros([BESIDE], &device));
        Some(Table {
            numbers: Tensor::cat(first, 0),
            places,
        })
    }
}

/// What the optimiser continues from: two modules with moments in place of parameters.
#[derive(Debug, Clone)]
pub(crate) struct Moments<M> {
    /// First moments.
    pub first: M,
    /// Second moments.
    pub second: M,
}

impl Optimizer {
    /// Steps so far.
    pub(crate) fn steps(&self) -> u32 {
        self.steps
    }

    /// The first step whose gradients were not all finite, and the first whose new parameters
    /// were not, `[2]`; 0 for none. None before the first step.
    pub(crate) fn watched(&self) -> Option<Tensor<1>> {
        let numbers = &self.table.as_ref()?.numbers;
        let first = numbers.dims()[0] - BESIDE;
        Some(numbers.clone().slice(first..first + WATCHED))
    }

    /// How it moves the weights.
    pub(crate) fn rule(&self) -> OptimizerRule {
        self.rule
    }

    /// The moments of `module`'s parameters; zeros where there was no gradient yet.
    pub(crate) fn moments<M: Module>(&self, module: &M) -> Moments<M> {
        let [first, second] =
            [0, 1].map(|which| module.clone().map(&mut Placer { of: self, which }));
        Moments { first, second }
    }

    /// The optimiser after `steps` steps that gave `moments`, whose parameters must have the ids of
    /// those that it is to move.
    pub(crate) fn resume<M: Module>(
        rule: OptimizerRule,
        steps: u32,
        moments: &Moments<M>,
    ) -> Optimizer {
        let mut second: HashMap<_, _> = flat::parameters(&moments.second).into_iter().collect();
        let first = flat::parameters(&moments.first).into_iter();
        let both = first.filter_map(|(id, first)| Some((id, [first, second.remove(&id)?])));
        Optimizer {
            rule,
            steps,
            given: both.collect(),
            table: None,
        }
    }
}

/// Puts the first or second moments in place of parameters.
struct Placer<'a> {
    of: &'a Optimizer,
    which: usize,
}

impl ModuleMapper for Placer<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let moments = self.of.moments_of(param.id);
        param.map(|parameter| {
            let moment = match moments {
                Some(moments) => {
                    Tensor::from_inner(moments[self.which].clone().reshape(parameter.shape()))
                }
                None => parameter.zeros_like(),
            };
            moment.set_require_grad(parameter.is_require_grad())
        })
    }
}

/// Takes the parameters that have a gradient out of a module, so that nothing but the step
/// holds them and they are written in place.
struct Taken<'a> {
    gradients: GradientsParams,
    places: &'a HashMap<ParamId, Range<usize>>,
    shapes: Vec<(ParamId, Shape)>,
    moving: Vec<Moving>,
}

impl ModuleMapper for Taken<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let (Some(gradient), Some(place)) = (self.gradients.remove::<D>(id), self.places.get(&id))
        else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let nothing = Tensor::empty([0; D], &tensor.device());
        self.shapes.push((id, tensor.shape()));
        self.moving.push(Moving {
            parameter: tensor.inner().reshape([-1]),
            gradient: gradient.reshape([-1]),
            place: place.start,
        });
        Param::from_mapped_value(id, nothing, mapper)
    }
}

/// Puts them back.
struct Moved(HashMap<ParamId, (Shape, Tensor<1>)>);

impl ModuleMapper for Moved {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let tensor = match self.0.remove(&id) {
            None => tensor,
            Some((shape, flat)) => Tensor::from_inner(flat.reshape(shape)).require_grad(),
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}
