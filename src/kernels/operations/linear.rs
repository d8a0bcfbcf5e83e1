//! A product added to something: the layer `x · weight + bias`, and sums of such layers
//! without passes between them.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use crate::kernels::costs;
use crate::kernels::products::Products;
use crate::profiler::{self, Kind};

/// Dispatch of [`linear`] to the backends.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait Linear: Backend {
    /// See [`linear`].
    fn linear_sum(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl Linear for CubeBackend {
    fn linear_sum(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::add_product(base, x, weight)
    }
}

impl Linear for Flex {
    fn linear_sum(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::add_product(base, x, weight)
    }
}

#[derive(Debug)]
struct LinearBackward;

/// What the backward needs of the forward: the factors, and whether the base was one row.
#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    of_one_row: bool,
}

impl<B: Products> Backward<B, 3> for LinearBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let Saved {
            x,
            weight,
            of_one_row,
        } = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [base_node, x_node, weight_node] = ops.parents;
        let product = |name, m: usize, k: usize, n: usize| {
            profiler::operation(name, Kind::Product, || costs::product([m, k, n], 0))
        };
        let [rows, outputs] = [0, 1].map(|axis| grad.shape()[axis]);
        if let Some(node) = weight_node {
            let operation = product("linear_backward_weight", x.shape()[1], rows, outputs);
            let d_weight = B::transposed_product(x, grad.clone());
            drop(operation);
            grads.register::<B>(node.id, d_weight);
        }
        if let Some(node) = x_node {
            let operation = product("linear_backward_input", rows, outputs, weight.shape()[0]);
            let d_x = B::product_transposed(grad.clone(), weight);
            drop(operation);
            grads.register::<B>(node.id, d_x);
        }
        if let Some(node) = base_node {
            let d_base = if of_one_row {
                let _operation = profiler::operation("linear_backward_bias", Kind::Kernel, || {
                    costs::column_sums(rows * outputs, outputs)
                });
                B::column_sums(grad)
            } else {
                grad
            };
            grads.register::<B>(node.id, d_base);
        }
    }
}

impl<B: Linear + Products, C: CheckpointStrategy> Linear for Autodiff<B, C> {
    fn linear_sum(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let prepared = LinearBackward
            .prepare::<C>([base.node(), x.node(), weight.node()])
            .compute_bound()
            .stateful();
        let of_one_row = base.shape()[0] == 1;
        let (base, x, weight) = (
            base.into_primitive(),
            x.into_primitive(),
            weight.into_primitive(),
        );
        match prepared {
            OpsKind::Tracked(prepared) => {
                let saved = Saved {
                    x: x.clone(),
                    weight: weight.clone(),
                    of_one_row,
                };
                prepared.finish(saved, B::linear_sum(base, x, weight))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::linear_sum(base, x, weight)),
        }
    }
}

/// `base + x · weight`, `[rows, outputs]`, for `x` `[rows, inputs]` and `weight`
/// `[inputs, outputs]`.
///
/// `base` is a sum to continue, `[rows, outputs]` (written in place where the caller holds
/// the only handle), or a bias, `[1, outputs]`. On the GPU this is burn's product and sum.
pub fn linear(base: Tensor<2>, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let _operation = profiler::operation("linear", Kind::Product, || {
        let [rows, inputs] = x.dims();
        let size = [rows, inputs, weight.dims()[1]];
        costs::product(size, base.shape().num_elements())
    });
    Tensor::from_dispatch(Dispatch::linear_sum(
        base.into_dispatch(),
        x.into_dispatch(),
        weight.into_dispatch(),
    ))
}
