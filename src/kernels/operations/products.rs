//! Matrix products: the layer `x · weight + bias` and sums of such layers without passes between them,
//! and products of attention heads that lie side by side in the columns of one matrix.
//!
//! On real GPUs they are burn's own, on software adapters `product.wgsl`, on the CPU those of
//! `cpu/products.rs`, which write results once. burn has the products of each head,
//! but needs the heads in a dimension of their own: on the CPU the permutations around them cost about
//! as much as the products.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use crate::kernels::costs;
use crate::kernels::cpu::products::{self as cpu, Base, Matrix, Place};
use crate::kernels::flex::{floats, floats_mut, from_floats};
use crate::profiler::{self, Kind, Operation};

/// Dispatch of [`linear`], [`to_heads`] and [`from_heads`] to the backends.
///
/// `by heads` means that the columns of a `[rows, width]` matrix belong to `heads` heads, one
/// after the other, of equal width.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff)]
pub trait Products: Backend {
    /// `base + x · weight`, `[rows, outputs]`; `base` is `[rows, outputs]` or `[1, outputs]`.
    fn add_product(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// `x` by heads times the transposed `weight` `[inputs, width]` by heads:
    /// `[heads, rows, inputs]`.
    fn product_to_heads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self>;

    /// `x` `[heads, rows, inputs]` times `weight` `[inputs, width]` by heads: `[rows, width]`.
    fn product_from_heads(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The products of their backwards, which are not differentiated themselves.
pub(crate) trait ProductGradients: Backend {
    /// `grad · weightᵀ`.
    fn product_transposed(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `xᵀ · grad`.
    fn transposed_product(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Sum of all rows, `[1, width]`.
    fn column_sums(grad: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Transposed `x` `[heads, rows, inputs]` times `grad` `[rows, width]` by heads:
    /// `[inputs, width]`.
    fn transposed_product_of_heads(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl Products for Flex {
    fn add_product(
        mut base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (m, k, n) = (x.shape()[0], x.shape()[1], weight.shape()[1]);
        let (x, weight) = (floats(&x), floats(&weight));
        let (x, weight) = (Matrix::whole(&x, k), Matrix::whole(&weight, n));
        if base.shape()[0] == 1 {
            let out = cpu::new_product(x, weight, [m, k, n], Some(&floats(&base)));
            return from_floats(out, [m, n]);
        }
        assert_eq!(base.shape()[0], m, "rows that a product is added to");
        let place = Place {
            m,
            n,
            start: 0,
            stride: n,
        };
        cpu::product(x, weight, k, Base::Output, place, floats_mut(&mut base));
        base
    }

    fn product_to_heads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        let (rows, width, inputs) = (x.shape()[0], x.shape()[1], weight.shape()[0]);
        let out = cpu::to_heads(&floats(&x), &floats(&weight), [heads, rows, inputs], width);
        from_floats(out, [heads, rows, inputs])
    }

    fn product_from_heads(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let (shape, width) = (x.shape(), weight.shape()[1]);
        let sizes = [shape[0], shape[1], shape[2]];
        let out = cpu::from_heads(&floats(&x), &floats(&weight), sizes, width);
        from_floats(out, [shape[1], width])
    }
}

impl ProductGradients for Flex {
    fn product_transposed(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let (m, k, n) = (grad.shape()[0], grad.shape()[1], weight.shape()[0]);
        let (grad, weight) = (floats(&grad), floats(&weight));
        let weight = Matrix::whole(&weight, k).transposed();
        let out = cpu::new_product(Matrix::whole(&grad, k), weight, [m, k, n], None);
        from_floats(out, [m, n])
    }

    fn transposed_product(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let (k, m, n) = (x.shape()[0], x.shape()[1], grad.shape()[1]);
        let (x, grad) = (floats(&x), floats(&grad));
        let x = Matrix::whole(&x, m).transposed();
        let out = cpu::new_product(x, Matrix::whole(&grad, n), [m, k, n], None);
        from_floats(out, [m, n])
    }

    fn column_sums(grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let width = grad.shape()[1];
        from_floats(cpu::column_sums(&floats(&grad), width), [1, width])
    }

    fn transposed_product_of_heads(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (shape, width) = (x.shape(), grad.shape()[1]);
        let sizes = [shape[0], shape[1], shape[2]];
        let out = cpu::transposed_of_heads(&floats(&x), &floats(&grad), sizes, width);
        from_floats(out, [shape[2], width])
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

impl<B: ProductGradients> Backward<B, 3> for LinearBackward {
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

#[derive(Debug)]
struct ToHeadsBackward;

impl<B: Products + ProductGradients> Backward<B, 2> for ToHeadsBackward {
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

impl<B: Products + ProductGradients> Backward<B, 2> for FromHeadsBackward {
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

impl<B: Products + ProductGradients, C: CheckpointStrategy> Products for Autodiff<B, C> {
    fn add_product(
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
                prepared.finish(saved, B::add_product(base, x, weight))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::add_product(base, x, weight)),
        }
    }

    fn product_to_heads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        let prepared = ToHeadsBackward
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound()
            .stateful();
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let out = B::product_to_heads(x.clone(), weight.clone(), heads);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((x, weight), out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }

    fn product_from_heads(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = FromHeadsBackward
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound()
            .stateful();
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let heads = x.shape()[0];
        let out = B::product_from_heads(x.clone(), weight.clone());
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((x, weight, heads), out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
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
    Tensor::from_dispatch(Dispatch::add_product(
        base.into_dispatch(),
        x.into_dispatch(),
        weight.into_dispatch(),
    ))
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
    Tensor::from_dispatch(Dispatch::product_to_heads(
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
    Tensor::from_dispatch(Dispatch::product_from_heads(
        x.into_dispatch(),
        weight.into_dispatch(),
    ))
}
