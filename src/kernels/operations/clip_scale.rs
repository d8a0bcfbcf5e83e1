//! What all gradients of a step are multiplied by so that their norm together stays below a limit.
//!
//! Two kernels: sums of squares of seven gradients per launch, and one launch that adds them. The
//! result stays on the device, behind the moments that the step works on, so that nothing waits for
//! it.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use crate::kernels::costs;
use crate::kernels::cpu::clip_scale::{self as cpu, CHUNK};
use crate::kernels::flex::{floats, floats_mut};
use crate::profiler::{self, Kind};

/// Gradients of a launch.
const GROUP: usize = 7;

/// Flat gradients; those that are not needed are empty.
#[derive(ExtensionType)]
pub struct SquaredGradients<B: Backend> {
    gradient_0: FloatTensor<B>,
    gradient_1: FloatTensor<B>,
    gradient_2: FloatTensor<B>,
    gradient_3: FloatTensor<B>,
    gradient_4: FloatTensor<B>,
    gradient_5: FloatTensor<B>,
    gradient_6: FloatTensor<B>,
}

impl<B: Backend> SquaredGradients<B> {
    pub(crate) fn all(self) -> [FloatTensor<B>; GROUP] {
        [
            self.gradient_0,
            self.gradient_1,
            self.gradient_2,
            self.gradient_3,
            self.gradient_4,
            self.gradient_5,
            self.gradient_6,
        ]
    }
}

/// Dispatch of [`clip_scale`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub trait ClipScale: Backend {
    /// `sums` with the sums of squares of each chunk of `gradients`, from `first` on.
    fn gradient_squares(
        sums: FloatTensor<Self>,
        #[extension_type] gradients: SquaredGradients<Self>,
        first: usize,
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
        gradients: SquaredGradients<Self>,
        first: usize,
    ) -> FloatTensor<Self> {
        let mut left = &mut floats_mut(&mut sums)[first..];
        for gradient in gradients.all() {
            let chunks = gradient.shape().num_elements().div_ceil(CHUNK);
            let (own, others) = left.split_at_mut(chunks);
            cpu::gradient_squares(&floats(&gradient), own);
            left = others;
        }
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
    let device = moments.device();
    let none: Tensor<1> = Tensor::empty([0], &device);
    let all: usize = gradients.iter().map(chunks).sum();
    let mut sums: Tensor<1> = Tensor::zeros([all], &device);
    let mut first = 0;
    for group in gradients.chunks(GROUP) {
        let of = |i: usize| group.get(i).unwrap_or(&none).clone().into_dispatch();
        let squared = SquaredGradients {
            gradient_0: of(0),
            gradient_1: of(1),
            gradient_2: of(2),
            gradient_3: of(3),
            gradient_4: of(4),
            gradient_5: of(5),
            gradient_6: of(6),
        };
        let squares = Dispatch::gradient_squares(sums.into_dispatch(), squared, first);
        sums = Tensor::from_dispatch(squares);
        first += group.iter().map(chunks).sum::<usize>();
    }
    let moments = moments.into_dispatch();
    Tensor::from_dispatch(Dispatch::scale_of(moments, sums.into_dispatch(), largest))
}
