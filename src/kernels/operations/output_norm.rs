//! What follows an attention layer's output product: dropout, relu and layer norm in one
//! launch, their gradients in three. Also layer norm alone.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension,
};
use burn::nn::LayerNorm;
use burn::tensor::Tensor;

use crate::kernels::autodiff::differentiable;
use crate::kernels::costs;
use crate::kernels::cpu::output_norm as cpu;
use crate::kernels::flex::{floats, from_floats};
use crate::profiler::{self, Kind};

pub use crate::kernels::cpu::output_norm::BeforeNorm;

/// Gradients of the three inputs, as burn's backends hand them over.
#[derive(ExtensionType)]
pub struct NormGradients<B: Backend> {
    pub(crate) x: FloatTensor<B>,
    pub(crate) gamma: FloatTensor<B>,
    pub(crate) beta: FloatTensor<B>,
}

/// Dispatch of [`output_norm`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff)]
pub trait OutputNorm: Backend {
    /// See [`output_norm`].
    fn output_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> FloatTensor<Self>;

    /// Gradients of the inputs.
    fn output_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> NormGradients<Self>;
}

impl OutputNorm for Flex {
    fn output_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> FloatTensor<Self> {
        let out = cpu::output_norm(&floats(&x), &floats(&gamma), &floats(&beta), before);
        from_floats(out, x.shape())
    }

    fn output_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> NormGradients<Self> {
        let width = gamma.shape()[0];
        let (d_x, mut d_gamma) =
            cpu::output_norm_backward(&floats(&x), &floats(&gamma), &floats(&grad), before);
        let d_beta = d_gamma.split_off(width);
        NormGradients {
            x: from_floats(d_x, x.shape()),
            gamma: from_floats(d_gamma, [width]),
            beta: from_floats(d_beta, [width]),
        }
    }
}

impl<B: OutputNorm, C: CheckpointStrategy> OutputNorm for Autodiff<B, C> {
    fn output_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> FloatTensor<Self> {
        let inputs = [x.node(), gamma.node(), beta.node()];
        let [x, gamma, beta] = [x, gamma, beta].map(|tensor| tensor.into_primitive());
        let out = B::output_norm(x.clone(), gamma.clone(), beta, before);
        let kept = (x, gamma, before);
        differentiable::<B, C, _, 3>(inputs, kept, out, |(x, gamma, before), grad| {
            let _operation = profiler::operation("output_norm_backward", Kind::Kernel, || {
                costs::output_norm_backward(x.shape()[0], x.shape()[1])
            });
            let d = B::output_norm_backward(x, gamma, grad, before);
            [d.x, d.gamma, d.beta]
        })
    }

    fn output_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> NormGradients<Self> {
        let _ = (x, gamma, grad, before);
        unreachable!("first order only")
    }
}

/// Layer norm of each row of `x` `[rows, width]`, after a dropout and a relu if `before` asks
/// for them.
///
/// `norm` gives the parameters, `[width]`; its epsilon must be 1e-5, burn's and PyTorch's
/// default. The draws are those of [`dropout`](super::dropout::dropout()) with the same key.
pub fn output_norm(x: Tensor<2>, norm: &LayerNorm, before: BeforeNorm) -> Tensor<2> {
    let gamma = norm.gamma.val();
    let beta = match &norm.beta {
        Some(beta) => beta.val(),
        None => gamma.zeros_like(),
    };
    let _operation = profiler::operation("output_norm", Kind::Kernel, || {
        let [rows, width] = x.dims();
        costs::output_norm(rows, width)
    });
    Tensor::from_dispatch(Dispatch::output_norm(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        before,
    ))
}
