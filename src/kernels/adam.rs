//! One step of Adam in one launch a parameter.
//!
//! burn's optimiser makes it from fourteen operations on every parameter, a fifth of an
//! iteration of TGN on the CPU.

use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, into_contiguous};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::costs;
use super::flex::{floats, floats_mut};
use super::reference::adam as twin;
use super::wgsl::{self, KernelSpec, ROWS};
use crate::profiler::{self, Kind};

pub use super::reference::adam::AdamStep;

/// `shaders/adam.wgsl`.
pub static FORWARD: KernelSpec = KernelSpec {
    name: "adam",
    source: include_str!("../../shaders/adam.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 4,
    variants: &[],
};

/// A parameter with its moments, as burn's backends hand them over.
#[derive(ExtensionType)]
pub struct AdamTensors<B: Backend> {
    parameter: FloatTensor<B>,
    first: FloatTensor<B>,
    second: FloatTensor<B>,
}

/// Dispatch of [`adam`] to the backends.
#[backend_extension(Cube, Flex)]
pub trait Adam: Backend {
    /// See [`adam`].
    fn adam(
        #[extension_type] state: AdamTensors<Self>,
        gradient: FloatTensor<Self>,
        step: AdamStep,
    ) -> AdamTensors<Self>;
}

impl Adam for CubeBackend {
    fn adam(
        state: AdamTensors<Self>,
        gradient: FloatTensor<Self>,
        step: AdamStep,
    ) -> AdamTensors<Self> {
        let [parameter, first, second] =
            [state.parameter, state.first, state.second].map(wgsl::writable);
        let gradient = into_contiguous(gradient);
        let n = parameter.shape().num_elements();
        wgsl::launch(
            &FORWARD,
            &[],
            wgsl::groups_of(n, FORWARD.workgroup),
            &[&parameter, &gradient, &first, &second],
            &[
                n as u32,
                step.beta_1.to_bits(),
                step.beta_2.to_bits(),
                step.epsilon.to_bits(),
                step.step_size.to_bits(),
                step.correction.to_bits(),
            ],
        );
        AdamTensors {
            parameter,
            first,
            second,
        }
    }
}

impl Adam for Flex {
    fn adam(
        mut state: AdamTensors<Self>,
        gradient: FloatTensor<Self>,
        step: AdamStep,
    ) -> AdamTensors<Self> {
        twin::adam(
            floats_mut(&mut state.parameter),
            &floats(&gradient),
            floats_mut(&mut state.first),
            floats_mut(&mut state.second),
            step,
        );
        state
    }
}

/// A parameter with Adam's two moments, all of one shape, without autodiff.
#[derive(Debug, Clone)]
pub struct AdamState<const D: usize> {
    /// The parameter.
    pub parameter: Tensor<D>,
    /// Running mean of the gradient.
    pub first: Tensor<D>,
    /// Running mean of its square.
    pub second: Tensor<D>,
}

/// One step along `gradient`. In place where the caller holds the only handles.
pub fn adam<const D: usize>(
    state: AdamState<D>,
    gradient: Tensor<D>,
    step: AdamStep,
) -> AdamState<D> {
    let _operation = profiler::operation("adam", Kind::Optimizer, || {
        costs::adam(gradient.shape().num_elements())
    });
    let tensors = AdamTensors {
        parameter: state.parameter.into_dispatch(),
        first: state.first.into_dispatch(),
        second: state.second.into_dispatch(),
    };
    let tensors = Dispatch::adam(tensors, gradient.into_dispatch(), step);
    AdamState {
        parameter: Tensor::from_dispatch(tensors.parameter),
        first: Tensor::from_dispatch(tensors.first),
        second: Tensor::from_dispatch(tensors.second),
    }
}
