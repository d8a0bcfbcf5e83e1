//! The kernels that each open device runs.
//!
//! [`crate::device::open`] settles them for each device that it opens, and a launch asks for them by the device of its
//! tensor: nothing else asks what kind of adapter there is, so all kernels can be run on any adapter.

use std::sync::{PoisonError, RwLock};

use burn::backend::wgpu::CubeTensor;
use burn::backend::{CubeDevice, DispatchDevice};
use burn::tensor::Device;

use crate::kernels::choice::Kernels;

/// What each open device runs. A process opens one or two.
static SETTLED: RwLock<Vec<(CubeDevice, Kernels)>> = RwLock::new(Vec::new());

/// From now on `device`, which has just been opened, runs `kernels`.
///
/// # Panics
/// When it is not a GPU's.
pub(crate) fn settle(device: &Device, kernels: Kernels) {
    let DispatchDevice::Cube(device) = device.as_dispatch() else {
        unreachable!("{device:?} has no kernels to choose from");
    };
    let mut settled = SETTLED.write().unwrap_or_else(PoisonError::into_inner);
    settled.push((device.clone(), kernels));
}

/// What the device of `tensor` runs.
///
/// # Panics
/// When the device was not opened by [`crate::device::open`].
pub(super) fn kernels_of(tensor: &CubeTensor) -> Kernels {
    let settled = SETTLED.read().unwrap_or_else(PoisonError::into_inner);
    match settled.iter().find(|(device, _)| *device == tensor.device) {
        Some((_, kernels)) => *kernels,
        None => panic!("{:?} was not opened by mspipe", tensor.device),
    }
}
