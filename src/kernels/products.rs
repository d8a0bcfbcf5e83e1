//! Matrix products as the operations that are made of them need them: burn's own on real
//! GPUs, `product.wgsl` on software adapters, on the CPU those of
//! [`mod@super::cpu::products`], which write results once.

mod cube;
mod product;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata};

use super::cpu::products::{self as cpu, Base, Matrix, Place};
use super::flex::{floats, floats_mut, from_floats};

pub(crate) use cube::{product_of_rows, stacked_products_transposed, transposed_product_of_rows};
pub(crate) use product::column_sums;
pub use product::{COLUMN_SUMS, PRODUCT};

/// Products on tensors of a backend, without autodiff.
///
/// `by heads` means that the columns of a `[rows, width]` matrix belong to `heads` heads, one
/// after the other, of equal width.
pub trait Products: Backend {
    /// `base + x · weight`, `[rows, outputs]`; `base` is `[rows, outputs]` or `[1, outputs]`.
    fn add_product(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// `grad · weightᵀ`.
    fn product_transposed(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `xᵀ · grad`.
    fn transposed_product(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Sum of all rows, `[1, width]`.
    fn column_sums(grad: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `x` by heads times the transposed `weight` `[inputs, width]` by heads:
    /// `[heads, rows, inputs]`.
    fn product_to_heads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self>;

    /// `x` `[heads, rows, inputs]` times `weight` `[inputs, width]` by heads: `[rows, width]`.
    fn product_from_heads(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

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
