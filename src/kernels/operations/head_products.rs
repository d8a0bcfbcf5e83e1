//! Products of attention heads that lie side by side in the columns of one matrix.
//!
//! burn has the products of each head, but needs the heads in a dimension of their own: on
//! the CPU the permutations around them cost about as much as the products.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use crate::kernels::costs;
use crate::kernels::products::Products;
use crate::profiler::{self, Kind, Operation};

/// Dispatch of [`to_heads`] and [`from_heads`] to the backends.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait HeadProducts: Backend {
    /// See [`to_heads`].
    fn to_heads(x: FloatTensor<Self>, weight: FloatTensor<Self>, heads: usize)
    -> FloatTensor<Self>;

    /// See [`from_heads`].
    fn from_heads(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl HeadProducts for CubeBackend {
    fn to_heads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        Self::product_to_heads(x, weight, heads)
    }

    fn from_heads(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::product_from_heads(x, weight)
    }
}

impl HeadProducts for Flex {
    fn to_heads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        Self::product_to_heads(x, weight, heads)
    }

    fn from_heads(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::product_from_heads(x, weight)
    }
}

#[derive(Debug)]
struct ToHeadsBackward;

impl<B: Products> Backward<B, 2> for ToHeadsBackward {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (x, weight) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [x_node, weight_node] = ops.parents;
        let size = size(&grad.shape());
        if let Some(node) = weight_node {
            let operation = begin("to_heads_backward_weight", size, x.shape()[1]);
            let d_weight = B::transposed_product_of_heads(grad.clone(), x);
            drop(operation);
            grads.register::<B>(node.id, d_weight);
        }
        if let Some(node) = x_node {
            let operation = begin("to_heads_backward_input", size, weight.shape()[1]);
            let d_x = B::product_from_heads(grad, weight);
            drop(operation);
            grads.register::<B>(node.id, d_x);
        }
    }
}

#[derive(Debug)]
struct FromHeadsBackward;

impl<B: Products> Backward<B, 2> for FromHeadsBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, usize);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (x, weight, heads) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [x_node, weight_node] = ops.parents;
        let (size, width) = (size(&x.shape()), grad.shape()[1]);
        if let Some(node) = weight_node {
            let operation = begin("from_heads_backward_weight", size, width);
            let d_weight = B::transposed_product_of_heads(x, grad.clone());
            drop(operation);
            grads.register::<B>(node.id, d_weight);
        }
        if let Some(node) = x_node {
            let operation = begin("from_heads_backward_input", size, width);
            let d_x = B::product_to_heads(grad, weight, heads);
            drop(operation);
            grads.register::<B>(node.id, d_x);
        }
    }
}

impl<B: HeadProducts + Products, C: CheckpointStrategy> HeadProducts for Autodiff<B, C> {
    fn to_heads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        let prepared = ToHeadsBackward
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound()
            .stateful();
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let out = B::to_heads(x.clone(), weight.clone(), heads);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((x, weight), out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }

    fn from_heads(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = FromHeadsBackward
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound()
            .stateful();
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let heads = x.shape()[0];
        let out = B::from_heads(x.clone(), weight.clone());
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((x, weight, heads), out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }
}

/// Begins a product of which one side is `[heads, rows, inputs]`, the other `[rows, width]`.
fn begin(name: &'static str, size: [usize; 3], width: usize) -> Operation {
    profiler::operation(name, Kind::Product, || costs::head_product(size, width))
}

fn size(by_heads: &Shape) -> [usize; 3] {
    [by_heads[0], by_heads[1], by_heads[2]]
}

fn check_heads(heads: usize, width: usize) {
    assert!(
        heads > 0 && width.is_multiple_of(heads),
        "{heads} heads in a width of {width}"
    );
}

/// For each head, its columns of `x` `[rows, width]` times the transposed ones of `weight`
/// `[inputs, width]`: `[heads, rows, inputs]`.
pub fn to_heads(x: Tensor<2>, weight: Tensor<2>, heads: usize) -> Tensor<3> {
    check_heads(heads, weight.dims()[1]);
    let size = [heads, x.dims()[0], weight.dims()[0]];
    let _operation = begin("to_heads", size, weight.dims()[1]);
    Tensor::from_dispatch(Dispatch::to_heads(
        x.into_dispatch(),
        weight.into_dispatch(),
        heads,
    ))
}

/// For each head, `x` `[heads, rows, inputs]` times its columns of `weight`
/// `[inputs, width]`: its columns of `[rows, width]`.
pub fn from_heads(x: Tensor<3>, weight: Tensor<2>) -> Tensor<2> {
    check_heads(x.dims()[0], weight.dims()[1]);
    let _operation = begin("from_heads", x.dims(), weight.dims()[1]);
    Tensor::from_dispatch(Dispatch::from_heads(
        x.into_dispatch(),
        weight.into_dispatch(),
    ))
}
