//! Dropout whose draws depend on a key and the element alone; also with a relu behind it.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor, activation};

use crate::kernels::autodiff::differentiable;
use crate::kernels::costs;
use crate::kernels::cpu::counter_hash as cpu;
use crate::kernels::flex::{floats, from_floats};
use crate::profiler::{self, Kind};

pub use crate::kernels::cpu::counter_hash::{Dropout, counter_hash};

/// Dispatch of [`dropout`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff)]
pub(crate) trait DropoutKernel: Backend {
    /// See [`dropout`].
    fn dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self>;

    /// See [`dropout_relu`].
    fn dropout_relu(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self>;

    /// Gradient of its input, given what it has made.
    fn dropout_relu_backward(
        out: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        dropout: Dropout,
    ) -> FloatTensor<Self>;
}

impl DropoutKernel for Flex {
    fn dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        if dropout == Dropout::OFF {
            return x;
        }
        let shape = x.shape();
        from_floats(cpu::dropout(&floats(&x), dropout), shape)
    }

    fn dropout_relu(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        let shape = x.shape();
        from_floats(cpu::dropout_relu(&floats(&x), dropout), shape)
    }

    fn dropout_relu_backward(
        out: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        dropout: Dropout,
    ) -> FloatTensor<Self> {
        let shape = out.shape();
        let d = cpu::dropout_relu_backward(&floats(&out), &floats(&grad), dropout);
        from_floats(d, shape)
    }
}

impl<B: DropoutKernel, C: CheckpointStrategy> DropoutKernel for Autodiff<B, C> {
    fn dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        let inputs = [x.node()];
        let out = B::dropout(x.into_primitive(), dropout);
        differentiable::<B, C, _, 1>(inputs, dropout, out, |dropout, grad| {
            let _operation = profiler::operation("dropout_backward", Kind::Kernel, || {
                costs::dropout(grad.shape().num_elements())
            });
            [B::dropout(grad, dropout)]
        })
    }

    fn dropout_relu(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        let inputs = [x.node()];
        let out = B::dropout_relu(x.into_primitive(), dropout);
        let kept = (out.clone(), dropout);
        differentiable::<B, C, _, 1>(inputs, kept, out, |(out, dropout), grad| {
            let _operation = profiler::operation("dropout_backward", Kind::Kernel, || {
                costs::dropout(grad.shape().num_elements())
            });
            [B::dropout_relu_backward(out, grad, dropout)]
        })
    }

    fn dropout_relu_backward(
        out: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        dropout: Dropout,
    ) -> FloatTensor<Self> {
        let _ = (out, grad, dropout);
        unreachable!("first order only")
    }
}

/// Rows by which dropouts are drawn where they are not those of the tensor: the same rows of a batch
/// that several ranks share.
#[derive(Debug, Clone)]
pub struct DrawRows {
    /// `[rows]`: the row of each row of the tensor.
    pub row: Tensor<1, Int>,
    /// Rows that there are, below 2^31.
    pub of: usize,
}

/// [`dropout()`] of each row of `x` as if `x` had the row at the place that `by` says, bit for bit.
pub fn dropout_by(x: Tensor<2>, dropout: Dropout, by: Option<&DrawRows>) -> Tensor<2> {
    let Some(DrawRows { row, of }) = by.filter(|_| dropout != Dropout::OFF) else {
        return self::dropout(x, dropout);
    };
    let device = x.device();
    let ones = Tensor::<2>::ones([*of, x.dims()[1]], &device.clone().inner());
    let factors = self::dropout(ones, dropout).select(0, row.clone());
    match device.is_autodiff() {
        true => x * Tensor::from_inner(factors),
        false => x * factors,
    }
}

/// `x` with the elements that `dropout` draws set to 0 and the others scaled.
pub fn dropout<const D: usize>(x: Tensor<D>, dropout: Dropout) -> Tensor<D> {
    if dropout == Dropout::OFF {
        return x;
    }
    let _operation = profiler::operation("dropout", Kind::Kernel, || {
        costs::dropout(x.shape().num_elements())
    });
    Tensor::from_dispatch(Dispatch::dropout(x.into_dispatch(), dropout))
}

/// max(y, 0) for what [`dropout_by`] makes of `x`; NaN stays NaN.
pub fn dropout_relu_by(x: Tensor<2>, dropout: Dropout, by: Option<&DrawRows>) -> Tensor<2> {
    if by.is_some() && dropout != Dropout::OFF {
        return activation::relu(dropout_by(x, dropout, by));
    }
    dropout_relu(x, dropout)
}

/// max(y, 0) for what [`dropout()`] makes of `x`; NaN stays NaN.
pub fn dropout_relu<const D: usize>(x: Tensor<D>, dropout: Dropout) -> Tensor<D> {
    let _operation = profiler::operation("dropout", Kind::Kernel, || {
        costs::dropout(x.shape().num_elements())
    });
    Tensor::from_dispatch(Dispatch::dropout_relu(x.into_dispatch(), dropout))
}
