//! What all gradients of a step are multiplied by so that their norm together stays below a limit.
//!
//! Two kernels: sums of squares of all gradients, and one launch that adds them. The
//! result stays on the device, behind the moments that the step works on, so that nothing waits for
//! it.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use crate::kernels::costs;
use crate::kernels::cpu::clip_scale::{self as cpu, CHUNK};
use crate::kernels::flex::{floats, floats_mut};
use crate::kernels::float_list::FloatList;
use crate::profiler::{self, Kind};

/// Dispatch of [`clip_scale`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub trait ClipScale: Backend {
    /// `sums` with the sums of squares of each chunk of the flat `gradients`, one after the other.
    fn gradient_squares(
        sums: FloatTensor<Self>,
        #[extension_type] gradients: FloatList<Self>,
    ) -> FloatTensor<Self>;

    /// `moments` with the scale as their last number.
    fn scale_of(
        moments: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        largest: f32,
    ) -> FloatTensor<Self>;
}

impl ClipScale for Flex {
    fn gradient_squares(
        mut sums: FloatTensor<Self>,
        gradients: FloatList<Self>,
    ) -> FloatTensor<Self> {
        let gradients: Vec<_> = gradients.0.iter().map(floats).collect();
        let gradients: Vec<&[f32]> = gradients.iter().map(|of| &**of).collect();
        cpu::gradient_squares(&gradients, floats_mut(&mut sums));
        sums
    }

    fn scale_of(
        mut moments: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        largest: f32,
    ) -> FloatTensor<Self> {
        let scale = cpu::clip_scale(&floats(&sums), largest);
        if let Some(last) = floats_mut(&mut moments).last_mut() {
            *last = scale;
        }
        moments
    }
}

/// Puts what `gradients`, flat and of one step, are to be multiplied by behind `moments`, as the
/// last number: 1 unless their norm is above `largest`.
pub fn clip_scale(moments: Tensor<1>, gradients: &[Tensor<1>], largest: f32) -> Tensor<1> {
    let chunks = |gradient: &Tensor<1>| gradient.dims()[0].div_ceil(CHUNK);
    let _operation = profiler::operation("clip_scale", Kind::Optimizer, || {
        costs::clip_scale(gradients.iter().map(|gradient| gradient.dims()[0]).sum())
    });
    let all: usize = gradients.iter().map(chunks).sum();
    let sums: Tensor<1> = Tensor::empty([all], &moments.device());
    let gradients = gradients.iter().cloned().map(Tensor::into_dispatch);
    let sums = Dispatch::gradient_squares(sums.into_dispatch(), FloatList(gradients.collect()));
    Tensor::from_dispatch(Dispatch::scale_of(moments.into_dispatch(), sums, largest))
}
