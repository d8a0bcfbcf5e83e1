//! JODIE's projection of embeddings to the time of a query.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension,
};
use burn::tensor::Tensor;

use crate::kernels::autodiff::differentiable;
use crate::kernels::costs;
use crate::kernels::cpu::time_projection as cpu;
use crate::kernels::flex::{floats, from_floats};
use crate::profiler::{self, Kind};

/// What the projection reads, or the gradients of that, as burn's backends take it.
#[derive(ExtensionType, Debug, Clone)]
pub struct ProjectionTensors<B: Backend> {
    /// `[rows, width]`.
    pub x: FloatTensor<B>,
    /// `[1, width]`.
    pub weight: FloatTensor<B>,
    /// `[width]`.
    pub bias: FloatTensor<B>,
}

/// Dispatch of [`time_projection`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff)]
pub trait TimeProjection: Backend {
    /// See [`time_projection`].
    fn time_projection(
        #[extension_type] tensors: ProjectionTensors<Self>,
        recency: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Gradients of embeddings and parameters.
    fn time_projection_backward(
        #[extension_type] tensors: ProjectionTensors<Self>,
        recency: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> ProjectionTensors<Self>;
}

/// Calls `kernel` with the numbers of `tensors`.
fn with_numbers<T>(
    tensors: &ProjectionTensors<Flex>,
    recency: &FloatTensor<Flex>,
    kernel: impl FnOnce(&cpu::ProjectionInput<'_>) -> T,
) -> T {
    kernel(&cpu::ProjectionInput {
        x: &floats(&tensors.x),
        recency: &floats(recency),
        weight: &floats(&tensors.weight),
        bias: &floats(&tensors.bias),
    })
}

impl TimeProjection for Flex {
    fn time_projection(
        tensors: ProjectionTensors<Self>,
        recency: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let out = with_numbers(&tensors, &recency, cpu::time_projection);
        from_floats(out, tensors.x.shape())
    }

    fn time_projection_backward(
        tensors: ProjectionTensors<Self>,
        recency: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> ProjectionTensors<Self> {
        let (d_x, mut d_weight) = with_numbers(&tensors, &recency, |input| {
            cpu::time_projection_backward(input, &floats(&grad))
        });
        let d_bias = d_weight.split_off(d_weight.len() / 2);
        ProjectionTensors {
            x: from_floats(d_x, tensors.x.shape()),
            weight: from_floats(d_weight, tensors.weight.shape()),
            bias: from_floats(d_bias, tensors.bias.shape()),
        }
    }
}

impl<B: TimeProjection, C: CheckpointStrategy> TimeProjection for Autodiff<B, C> {
    fn time_projection(
        tensors: ProjectionTensors<Self>,
        recency: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let ProjectionTensors { x, weight, bias } = tensors;
        let inputs = [x.node(), weight.node(), bias.node()];
        let tensors = ProjectionTensors::<B> {
            x: x.into_primitive(),
            weight: weight.into_primitive(),
            bias: bias.into_primitive(),
        };
        let recency = recency.into_primitive();
        let out = B::time_projection(tensors.clone(), recency.clone());
        differentiable::<B, C, _, 3>(
            inputs,
            (tensors, recency),
            out,
            |(tensors, recency), grad| {
                let _operation =
                    profiler::operation("time_projection_backward", Kind::Kernel, || {
                        costs::time_projection(grad.shape()[0], grad.shape()[1], true)
                    });
                let d = B::time_projection_backward(tensors, recency, grad);
                [d.x, d.weight, d.bias]
            },
        )
    }

    fn time_projection_backward(
        tensors: ProjectionTensors<Self>,
        recency: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> ProjectionTensors<Self> {
        let _ = (tensors, recency, grad);
        unreachable!("first order only")
    }
}

/// `x (1 + r w + b)`, `[rows, width]`, for embeddings `x` `[rows, width]`, recencies `r` `[rows]`
/// (constants), `weight` `[1, width]` and `bias` `[width]` (JODIE, equation 3).
pub fn time_projection(
    x: Tensor<2>,
    recency: Tensor<1>,
    weight: Tensor<2>,
    bias: Tensor<1>,
) -> Tensor<2> {
    let _operation = profiler::operation("time_projection", Kind::Kernel, || {
        costs::time_projection(x.dims()[0], x.dims()[1], false)
    });
    let tensors = ProjectionTensors {
        x: x.into_dispatch(),
        weight: weight.into_dispatch(),
        bias: bias.into_dispatch(),
    };
    Tensor::from_dispatch(Dispatch::time_projection(tensors, recency.into_dispatch()))
}
