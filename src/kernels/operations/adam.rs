//! One step of Adam, three parameters per launch, with all moments in one tensor.
//!
//! burn's optimiser makes it from fourteen operations on every parameter, a fifth of an
//! iteration of TGN on the CPU. Three parameters with their gradients are what fits beside the
//! moments into the eight storage buffers that every adapter can bind.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::clip_scale::clip_scale;
use crate::kernels::costs;
use crate::kernels::cpu::adam as cpu;
use crate::kernels::flex::{floats, floats_mut};
use crate::profiler::{self, Kind};

pub use crate::kernels::cpu::adam::AdamStep;

/// Parameters that a launch moves.
pub(crate) const GROUP: usize = 3;

/// Numbers behind the moments: the first step whose gradients were not all finite (or too large
/// for their squares), and the first whose new parameters were not; 0 for none.
pub const WATCHED: usize = 2;

/// All numbers behind the moments: what is watched, and what the gradients of the step are multiplied
/// by where their norm has a limit.
pub const BESIDE: usize = WATCHED + 1;

/// The moments and three flat parameters, as burn's backends hand them over; those that are not
/// needed are empty.
#[derive(ExtensionType)]
pub struct AdamTensors<B: Backend> {
    pub(crate) moments: FloatTensor<B>,
    pub(crate) parameter_0: FloatTensor<B>,
    pub(crate) parameter_1: FloatTensor<B>,
    pub(crate) parameter_2: FloatTensor<B>,
}

/// The gradients of [`AdamTensors`].
#[derive(ExtensionType)]
pub struct AdamGradients<B: Backend> {
    pub(crate) gradient_0: FloatTensor<B>,
    pub(crate) gradient_1: FloatTensor<B>,
    pub(crate) gradient_2: FloatTensor<B>,
}

/// Dispatch of [`adam`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub trait Adam: Backend {
    /// See [`adam`]; `places` are those of the parameters' moments.
    fn adam(
        #[extension_type] state: AdamTensors<Self>,
        #[extension_type] gradients: AdamGradients<Self>,
        places: [usize; GROUP],
        step: AdamStep,
    ) -> AdamTensors<Self>;
}

impl Adam for Flex {
    fn adam(
        mut state: AdamTensors<Self>,
        gradients: AdamGradients<Self>,
        places: [usize; GROUP],
        step: AdamStep,
    ) -> AdamTensors<Self> {
        let moments = floats_mut(&mut state.moments);
        let numbers = (moments.len() - BESIDE) / 2;
        let (first, rest) = moments.split_at_mut(numbers);
        let (second, beside) = rest.split_at_mut(numbers);
        let (watched, scale) = beside.split_at_mut(WATCHED);
        let scale = step.clip_norm.map_or(1.0, |_| scale[0]);
        let parameters = [
            (&mut state.parameter_0, gradients.gradient_0),
            (&mut state.parameter_1, gradients.gradient_1),
            (&mut state.parameter_2, gradients.gradient_2),
        ];
        for ((parameter, gradient), place) in parameters.into_iter().zip(places) {
            let numbers = place..place + parameter.shape().num_elements();
            let finite = cpu::adam(
                floats_mut(parameter),
                &floats(&gradient),
                &mut first[numbers.clone()],
                &mut second[numbers],
                step,
                scale,
            );
            for (first_step, finite) in watched.iter_mut().zip(finite) {
                if !finite && *first_step == 0.0 {
                    *first_step = step.number;
                }
            }
        }
        state
    }
}

/// A flat parameter that takes a step, without autodiff.
#[derive(Debug, Clone)]
pub struct Moving {
    /// The parameter.
    pub parameter: Tensor<1>,
    /// Its gradient.
    pub gradient: Tensor<1>,
    /// Place of its moments among all first, and among all second moments.
    pub place: usize,
}

/// One step of each of `parameters`; returns the moments, `[2 numbers + BESIDE]`, first those of
/// the gradient, then those of its square, then what stands beside them, and the parameters. In place
/// where the caller holds the only handles.
pub fn adam(
    mut moments: Tensor<1>,
    parameters: Vec<Moving>,
    step: AdamStep,
) -> (Tensor<1>, Vec<Tensor<1>>) {
    if let Some(largest) = step.clip_norm {
        let gradients: Vec<_> = parameters.iter().map(|of| of.gradient.clone()).collect();
        moments = clip_scale(moments, &gradients, largest);
    }
    let _operation = profiler::operation("adam", Kind::Optimizer, || {
        let numbers = parameters.iter().map(|of| of.parameter.dims()[0]);
        costs::adam(numbers.sum())
    });
    let mut moved = Vec::with_capacity(parameters.len());
    let mut parameters = parameters.into_iter();
    let none = Tensor::empty([0], &moments.device());
    while parameters.len() > 0 {
        let count = parameters.len().min(GROUP);
        let group: [Moving; GROUP] = std::array::from_fn(|_| {
            parameters.next().unwrap_or_else(|| Moving {
                parameter: none.clone(),
                gradient: none.clone(),
                place: 0,
            })
        });
        let places = [0, 1, 2].map(|i| group[i].place);
        let [a, b, c] = group;
        let gradients = AdamGradients {
            gradient_0: a.gradient.into_dispatch(),
            gradient_1: b.gradient.into_dispatch(),
            gradient_2: c.gradient.into_dispatch(),
        };
        let state = AdamTensors {
            moments: moments.into_dispatch(),
            parameter_0: a.parameter.into_dispatch(),
            parameter_1: b.parameter.into_dispatch(),
            parameter_2: c.parameter.into_dispatch(),
        };
        let state = Dispatch::adam(state, gradients, places, step);
        moments = Tensor::from_dispatch(state.moments);
        let group = [state.parameter_0, state.parameter_1, state.parameter_2];
        moved.extend(group.map(Tensor::from_dispatch).into_iter().take(count));
    }
    (moments, moved)
}
