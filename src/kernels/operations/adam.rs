//! One step of Adam for all parameters, with all moments in one tensor.
//!
//! burn's optimiser makes it from fourteen operations on every parameter, a fifth of an
//! iteration of TGN on the CPU.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, backend_extension};
use burn::tensor::Tensor;

use super::clip_scale::clip_scale;
use crate::kernels::costs;
use crate::kernels::cpu::adam as cpu;
use crate::kernels::flex::{floats, floats_mut};
use crate::kernels::float_list::FloatList;
use crate::profiler::{self, Kind};

pub use crate::kernels::cpu::adam::AdamStep;

/// Numbers behind the moments: the first step whose gradients were not all finite (or too large
/// for their squares), and the first whose new parameters were not; 0 for none.
pub const WATCHED: usize = 2;

/// All numbers behind the moments: what is watched, and what the gradients of the step are multiplied
/// by where their norm has a limit.
pub const BESIDE: usize = WATCHED + 1;

/// The moments and the flat parameters, as burn's backends hand them over.
#[derive(ExtensionType)]
pub struct AdamState<B: Backend> {
    pub(crate) moments: FloatTensor<B>,
    #[extension_type]
    pub(crate) parameters: FloatList<B>,
}

/// Dispatch of [`adam`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub trait Adam: Backend {
    /// See [`adam`]; `gradients` and `places` are those of the parameters, in their order.
    fn adam(
        #[extension_type] state: AdamState<Self>,
        #[extension_type] gradients: FloatList<Self>,
        places: Vec<usize>,
        step: AdamStep,
    ) -> AdamState<Self>;
}

impl Adam for Flex {
    fn adam(
        mut state: AdamState<Self>,
        gradients: FloatList<Self>,
        places: Vec<usize>,
        step: AdamStep,
    ) -> AdamState<Self> {
        let moments = floats_mut(&mut state.moments);
        let numbers = (moments.len() - BESIDE) / 2;
        let (first, rest) = moments.split_at_mut(numbers);
        let (second, beside) = rest.split_at_mut(numbers);
        let (watched, scale) = beside.split_at_mut(WATCHED);
        let scale = step.clip_norm.map_or(1.0, |_| scale[0]);
        let gradients: Vec<_> = gradients.0.iter().map(floats).collect();
        let parameters = state.parameters.0.iter_mut().map(floats_mut);
        let mut moving: Vec<_> = places.into_iter().zip(parameters.zip(&gradients)).collect();
        moving.sort_unstable_by_key(|(place, _)| *place);
        let (mut moments, mut begin) = ((first, second), 0);
        let mut numbers = Vec::with_capacity(moving.len());
        for (place, (parameter, gradient)) in moving {
            let (len, before) = (parameter.len(), place - begin);
            numbers.push(cpu::Numbers {
                parameter,
                gradient,
                first: taken(&mut moments.0, before, len),
                second: taken(&mut moments.1, before, len),
            });
            begin = place + len;
        }
        let finite = cpu::adam(numbers, step, scale);
        for (first_step, finite) in watched.iter_mut().zip(finite) {
            if !finite && *first_step == 0.0 {
                *first_step = step.number;
            }
        }
        state
    }
}

/// `len` numbers that begin `before` numbers behind the beginning of `rest`, which is left with those behind them.
fn taken<'a>(rest: &mut &'a mut [f32], before: usize, len: usize) -> &'a mut [f32] {
    let (_, from) = std::mem::take(rest).split_at_mut(before);
    let (own, behind) = from.split_at_mut(len);
    *rest = behind;
    own
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
/// the gradient, then those of its square, then what stands beside them, and the parameters.
///
/// In place where the caller holds the only handles. On a GPU the parameters that are returned lie side by side
/// in one memory, and are moved in place where all of them come back together.
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
    let places = parameters.iter().map(|of| of.place).collect();
    let (parameters, gradients) = parameters
        .into_iter()
        .map(|of| (of.parameter.into_dispatch(), of.gradient.into_dispatch()))
        .unzip();
    let state = AdamState {
        moments: moments.into_dispatch(),
        parameters: FloatList(parameters),
    };
    let state = Dispatch::adam(state, FloatList(gradients), places, step);
    let moved = state.parameters.0.into_iter().map(Tensor::from_dispatch);
    (Tensor::from_dispatch(state.moments), moved.collect())
}
