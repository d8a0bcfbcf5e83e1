//! Time encoding cos(Δt ω + φ) with its backward.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use crate::kernels::autodiff::differentiable;
use crate::kernels::costs;
use crate::kernels::cpu::time_encoding as cpu;
use crate::kernels::flex::{floats, from_floats};
use crate::profiler::{self, Kind};

/// Dispatch of [`time_encoding`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff)]
pub trait TimeEncoding: Backend {
    /// See [`time_encoding`].
    fn time_encoding(time: FloatTensor<Self>, delta: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Gradient of `time`.
    fn time_encoding_backward(
        time: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl TimeEncoding for Flex {
    fn time_encoding(time: FloatTensor<Self>, delta: FloatTensor<Self>) -> FloatTensor<Self> {
        let (rows, width) = (delta.shape()[0], time.shape()[1]);
        let out = cpu::time_encoding(&floats(&time), &floats(&delta), width);
        from_floats(out, [rows, width])
    }

    fn time_encoding_backward(
        time: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let width = time.shape()[1];
        let d_time =
            cpu::time_encoding_backward(&floats(&time), &floats(&delta), &floats(&grad), width);
        from_floats(d_time, [2, width])
    }
}

impl<B: TimeEncoding, C: CheckpointStrategy> TimeEncoding for Autodiff<B, C> {
    fn time_encoding(time: FloatTensor<Self>, delta: FloatTensor<Self>) -> FloatTensor<Self> {
        let inputs = [time.node()];
        let (time, delta) = (time.into_primitive(), delta.into_primitive());
        let out = B::time_encoding(time.clone(), delta.clone());
        differentiable::<B, C, _, 1>(inputs, (time, delta), out, |(time, delta), grad| {
            let _operation = profiler::operation("time_encoding_backward", Kind::Kernel, || {
                costs::time_encoding(delta.shape()[0], time.shape()[1], true)
            });
            [B::time_encoding_backward(time, delta, grad)]
        })
    }

    fn time_encoding_backward(
        time: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let _ = (time, delta, grad);
        unreachable!("first order only")
    }
}

/// Encodings `[n, width]` of the time differences `delta` (`[n]`, a constant); `time` is
/// `[2, width]`: ω, then φ.
///
/// Product and sum are rounded to f32 one after the other, and the cosine of the result
/// is exact to about 1e-7 whatever its size, so every device agrees with PyTorch.
pub fn time_encoding(time: Tensor<2>, delta: Tensor<1>) -> Tensor<2> {
    let _operation = profiler::operation("time_encoding", Kind::Kernel, || {
        costs::time_encoding(delta.dims()[0], time.dims()[1], false)
    });
    Tensor::from_dispatch(Dispatch::time_encoding(
        time.into_dispatch(),
        delta.into_dispatch(),
    ))
}
