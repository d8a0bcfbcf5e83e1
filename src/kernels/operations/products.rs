//! Matrix products: the layer `x · weight + bias` and sums of such layers without passes between them,
//! and products of attention heads that lie side by side in the columns of one matrix.
//!
//! On adapters they are kernels of our own (`gpu/product.rs`), on the CPU those of `cpu/products.rs`, which write
//! results once. burn has the products of each head, but needs the heads in a dimension of their own, and the
//! permutations around them cost about as much as the products.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use crate::kernels::autodiff::differentiable;
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

    /// `base` `[rows, width]` and the same.
    fn add_product_from_heads(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// Which gradients of a linear layer are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) input: bool,
    pub(crate) weight: bool,
    pub(crate) bias: bool,
}

/// Those gradients, in the shapes of what they belong to; of a bias `[1, outputs]`.
#[derive(Debug)]
pub(crate) struct LinearGradients<B: Backend> {
    pub(crate) input: Option<FloatTensor<B>>,
    pub(crate) weight: Option<FloatTensor<B>>,
    pub(crate) bias: Option<FloatTensor<B>>,
}

/// Their backwards, which are not differentiated themselves.
pub(crate) trait ProductGradients: Products {
    /// Gradients of `bias + x · weight`, given that of the result.
    fn linear_gradients(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        wanted: Wanted,
    ) -> LinearGradients<Self>;

    /// Gradients of `x` and `weight` of [`to_heads`].
    fn to_heads_gradients(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2];

    /// Gradients of `x` and `weight` of [`from_heads`].
    fn from_heads_gradients(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2];
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

    fn add_product_from_heads(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::float_add(Self::product_from_heads(x, weight), base)
    }
}

/// `grad · weightᵀ`.
fn product_transposed(grad: &FloatTensor<Flex>, weight: &FloatTensor<Flex>) -> FloatTensor<Flex> {
    let (m, k, n) = (grad.shape()[0], grad.shape()[1], weight.shape()[0]);
    let (grad, weight) = (floats(grad), floats(weight));
    let weight = Matrix::whole(&weight, k).transposed();
    let out = cpu::new_product(Matrix::whole(&grad, k), weight, [m, k, n], None);
    from_floats(out, [m, n])
}

/// `xᵀ · grad`.
fn transposed_product(x: &FloatTensor<Flex>, grad: &FloatTensor<Flex>) -> FloatTensor<Flex> {
    let (k, m, n) = (x.shape()[0], x.shape()[1], grad.shape()[1]);
    let (x, grad) = (floats(x), floats(grad));
    let x = Matrix::whole(&x, m).transposed();
    let out = cpu::new_product(x, Matrix::whole(&grad, n), [m, k, n], None);
    from_floats(out, [m, n])
}

/// Transposed `x` `[heads, rows, inputs]` times `grad` `[rows, width]` by heads: `[inputs, width]`.
fn transposed_product_of_heads(
    x: &FloatTensor<Flex>,
    grad: &FloatTensor<Flex>,
) -> FloatTensor<Flex> {
    let (size, width) = (size(&x.shape()), grad.shape()[1]);
    let out = cpu::transposed_of_heads(&floats(x), &floats(grad), size, width);
    from_floats(out, [size[2], width])
}

impl ProductGradients for Flex {
    fn linear_gradients(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        wanted: Wanted,
    ) -> LinearGradients<Self> {
        let [rows, outputs] = [0, 1].map(|axis| grad.shape()[axis]);
        let inputs = x.shape()[1];
        let product =
            |name, size| profiler::operation(name, Kind::Product, || costs::product(size, 0));
        let of_weight = wanted.weight.then(|| {
            let _operation = product("linear_backward_weight", [inputs, rows, outputs]);
            transposed_product(&x, &grad)
        });
        let of_input = wanted.input.then(|| {
            let _operation = product("linear_backward_input", [rows, outputs, inputs]);
            product_transposed(&grad, &weight)
        });
        let of_bias = wanted.bias.then(|| {
            let _operation = profiler::operation("linear_backward_bias", Kind::Kernel, || {
                costs::column_sums(rows * outputs, outputs)
            });
            from_floats(cpu::column_sums(&floats(&grad), outputs), [1, outputs])
        });
        LinearGradients {
            input: of_input,
            weight: of_weight,
            bias: of_bias,
        }
    }

    fn to_heads_gradients(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        let (size, width) = (size(&grad.shape()), x.shape()[1]);
        let operation = begin("to_heads_backward_weight", size, width);
        let d_weight = transposed_product_of_heads(&grad, &x);
        drop(operation);
        let _operation = begin("to_heads_backward_input", size, width);
        [Self::product_from_heads(grad, weight), d_weight]
    }

    fn from_heads_gradients(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        let (size, width) = (size(&x.shape()), grad.shape()[1]);
        let operation = begin("from_heads_backward_weight", size, width);
        let d_weight = transposed_product_of_heads(&x, &grad);
        drop(operation);
        let _operation = begin("from_heads_backward_input", size, width);
        [Self::product_to_heads(grad, weight, size[0]), d_weight]
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
        let wanted = Wanted {
            input: x_node.is_some(),
            weight: weight_node.is_some(),
            bias: of_one_row && base_node.is_some(),
        };
        let d = B::linear_gradients(grad.clone(), x, weight, wanted);
        let d_base = if of_one_row { d.bias } else { Some(grad) };
        for (node, d) in [
            (weight_node, d.weight),
            (x_node, d.input),
            (base_node, d_base),
        ] {
            if let (Some(node), Some(d)) = (node, d) {
                grads.register::<B>(node.id, d);
            }
        }
    }
}

impl<B: ProductGradients, C: CheckpointStrategy> Products for Autodiff<B, C> {
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
        let inputs = [x.node(), weight.node()];
        let [x, weight] = [x, weight].map(|tensor| tensor.into_primitive());
        let out = B::product_to_heads(x.clone(), weight.clone(), heads);
        differentiable::<B, C, _, 2>(inputs, (x, weight), out, |(x, weight), grad| {
            B::to_heads_gradients(grad, x, weight)
        })
    }

    fn product_from_heads(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let inputs = [x.node(), weight.node()];
        let [x, weight] = [x, weight].map(|tensor| tensor.into_primitive());
        let out = B::product_from_heads(x.clone(), weight.clone());
        differentiable::<B, C, _, 2>(inputs, (x, weight), out, |(x, weight), grad| {
            B::from_heads_gradients(grad, x, weight)
        })
    }

    fn add_product_from_heads(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let inputs = [base.node(), x.node(), weight.node()];
        let [base, x, weight] = [base, x, weight].map(|tensor| tensor.into_primitive());
        let out = B::add_product_from_heads(base, x.clone(), weight.clone());
        differentiable::<B, C, _, 3>(inputs, (x, weight), out, |(x, weight), grad| {
            let [d_x, d_weight] = B::from_heads_gradients(grad.clone(), x, weight);
            [grad, d_x, d_weight]
        })
    }
}

/// `base + x · weight`, `[rows, outputs]`, for `x` `[rows, inputs]` and `weight`
/// `[inputs, outputs]`.
///
/// `base` is a sum to continue, `[rows, outputs]` (written in place where the caller holds
/// the only handle), or a bias, `[1, outputs]`.
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

/// `base` `[rows, width]` and what [`from_heads`] makes.
pub fn add_from_heads(base: Tensor<2>, x: Tensor<3>, weight: Tensor<2>) -> Tensor<2> {
    check_heads(x.dims()[0], weight.dims()[1]);
    assert_eq!(
        base.dims(),
        [x.dims()[1], weight.dims()[1]],
        "what products of heads are added to"
    );
    let _operation = begin("from_heads", x.dims(), weight.dims()[1]);
    Tensor::from_dispatch(Dispatch::add_product_from_heads(
        base.into_dispatch(),
        x.into_dispatch(),
        weight.into_dispatch(),
    ))
}
