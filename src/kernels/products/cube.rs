//! Products on a GPU: burn's own on a real one, [`super::product`] on a software adapter.

use std::ops::Range;

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, into_contiguous};
use burn::tensor::{Shape, Slice};

use super::Products;
use super::product::{Base, Matrix, column_sums, new_product, product};
use crate::kernels::wgsl::{self, is_software};

/// `[rows, width]` by heads as `[heads, rows, width / heads]`.
fn split(x: FloatTensor<CubeBackend>, heads: usize) -> FloatTensor<CubeBackend> {
    let (rows, width) = (x.shape()[0], x.shape()[1]);
    let x = CubeBackend::float_reshape(x, Shape::new([rows, heads, width / heads]));
    CubeBackend::float_swap_dims(x, 0, 1)
}

/// The reverse of [`split`].
fn join(x: FloatTensor<CubeBackend>) -> FloatTensor<CubeBackend> {
    let shape = x.shape();
    let x = CubeBackend::float_swap_dims(x, 0, 1);
    CubeBackend::float_reshape(x, Shape::new([shape[1], shape[0] * shape[2]]))
}

/// Rows of `x`: a view where the adapter can bind them.
fn some_rows(x: FloatTensor<CubeBackend>, rows: Range<usize>) -> FloatTensor<CubeBackend> {
    let width = x.shape()[1];
    CubeBackend::float_slice(x, &[Slice::from(rows), Slice::from(0..width)])
}

/// burn's product. A lone row goes there twice: burn has other kernels for vectors than for matrices,
/// and a row must not depend on how many others there are.
fn matmul(a: FloatTensor<CubeBackend>, b: FloatTensor<CubeBackend>) -> FloatTensor<CubeBackend> {
    let axis = a.shape().num_dims() - 2;
    if a.shape()[axis] != 1 {
        return CubeBackend::float_matmul(a, b);
    }
    let twice = CubeBackend::float_cat(vec![a.clone(), a], axis);
    let out = CubeBackend::float_matmul(twice, b);
    let first: Vec<Slice> = (0..out.shape().num_dims())
        .map(|of| Slice::from(0..if of == axis { 1 } else { out.shape()[of] }))
        .collect();
    CubeBackend::float_slice(out, &first)
}

impl Products for CubeBackend {
    fn add_product(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        if !is_software(&x) {
            return Self::float_add(matmul(x, weight), base);
        }
        let (m, k, n) = (x.shape()[0], x.shape()[1], weight.shape()[1]);
        let [x, weight] = [x, weight].map(into_contiguous);
        let (x, weight) = (Matrix::whole(&x, k), Matrix::whole(&weight, n));
        let size = [1, m, k, n];
        if base.shape()[0] == 1 {
            let (base, out) = (into_contiguous(base), wgsl::empty(x.tensor(), [m, n]));
            let place = Matrix::whole(&out, n);
            product(x, weight, size, Base::Row(&base), place);
            return out;
        }
        let base = wgsl::writable(base);
        let place = Matrix::whole(&base, n);
        product(x, weight, size, Base::Output, place);
        base
    }

    fn product_transposed(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        if !is_software(&grad) {
            return Self::float_matmul(grad, Self::float_swap_dims(weight, 0, 1));
        }
        let (m, k, n) = (grad.shape()[0], grad.shape()[1], weight.shape()[0]);
        let [grad, weight] = [grad, weight].map(into_contiguous);
        new_product(
            Matrix::whole(&grad, k),
            Matrix::whole(&weight, k).transposed(),
            [1, m, k, n],
            Shape::new([m, n]),
        )
    }

    fn transposed_product(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        if !is_software(&x) {
            return Self::float_matmul(Self::float_swap_dims(x, 0, 1), grad);
        }
        let (k, m, n) = (x.shape()[0], x.shape()[1], grad.shape()[1]);
        let [x, grad] = [x, grad].map(into_contiguous);
        new_product(
            Matrix::whole(&x, m).transposed(),
            Matrix::whole(&grad, n),
            [1, m, k, n],
            Shape::new([m, n]),
        )
    }

    fn column_sums(grad: FloatTensor<Self>) -> FloatTensor<Self> {
        if !is_software(&grad) {
            return Self::float_sum_dim(grad, 0);
        }
        let width = grad.shape()[1];
        column_sums(&into_contiguous(grad), 0, width)
    }

    fn product_to_heads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        if !is_software(&x) {
            let weight = Self::float_swap_dims(split(weight, heads), 1, 2);
            return matmul(split(x, heads), weight);
        }
        let (rows, width, inputs) = (x.shape()[0], x.shape()[1], weight.shape()[0]);
        let k = width / heads;
        let [x, weight] = [x, weight].map(into_contiguous);
        new_product(
            Matrix::whole(&x, width).by_head(k),
            Matrix::whole(&weight, width).by_head(k).transposed(),
            [heads, rows, k, inputs],
            Shape::new([heads, rows, inputs]),
        )
    }

    fn product_from_heads(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let (shape, width) = (x.shape(), weight.shape()[1]);
        let (heads, rows, inputs) = (shape[0], shape[1], shape[2]);
        if !is_software(&x) {
            return join(matmul(x, split(weight, heads)));
        }
        let n = width / heads;
        let [x, weight] = [x, weight].map(into_contiguous);
        new_product(
            Matrix::whole(&x, inputs).by_head(rows * inputs),
            Matrix::whole(&weight, width).by_head(n),
            [heads, rows, inputs, n],
            Shape::new([rows, width]),
        )
    }

    fn transposed_product_of_heads(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (shape, width) = (x.shape(), grad.shape()[1]);
        let (heads, rows, inputs) = (shape[0], shape[1], shape[2]);
        if !is_software(&x) {
            let x = Self::float_swap_dims(x, 1, 2);
            return join(Self::float_matmul(x, split(grad, heads)));
        }
        let n = width / heads;
        let [x, grad] = [x, grad].map(into_contiguous);
        new_product(
            Matrix::whole(&x, inputs)
                .by_head(rows * inputs)
                .transposed(),
            Matrix::whole(&grad, width).by_head(n),
            [heads, inputs, rows, n],
            Shape::new([inputs, width]),
        )
    }
}

/// `bias + x[rows] · weight`, `[rows, outputs]`; `bias` is `[outputs]`, 0 where there is none.
pub(crate) fn product_of_rows(
    x: FloatTensor<CubeBackend>,
    rows: Range<usize>,
    weight: FloatTensor<CubeBackend>,
    bias: Option<FloatTensor<CubeBackend>>,
) -> FloatTensor<CubeBackend> {
    let (k, n) = (x.shape()[1], weight.shape()[1]);
    if !is_software(&x) {
        let product = matmul(some_rows(x, rows), weight);
        return match bias {
            None => product,
            Some(bias) => {
                let bias = CubeBackend::float_reshape(bias, Shape::new([1, n]));
                CubeBackend::float_add(product, bias)
            }
        };
    }
    let [x, weight] = [x, weight].map(into_contiguous);
    let bias = bias.map(into_contiguous);
    let out = wgsl::empty(&x, [rows.len(), n]);
    product(
        Matrix::whole(&x, k).from(rows.start * k),
        Matrix::whole(&weight, n),
        [1, rows.len(), k, n],
        bias.as_ref().map_or(Base::Zero, Base::Row),
        Matrix::whole(&out, n),
    );
    out
}

/// `x[rows]ᵀ · grad`.
pub(crate) fn transposed_product_of_rows(
    x: FloatTensor<CubeBackend>,
    rows: Range<usize>,
    grad: FloatTensor<CubeBackend>,
) -> FloatTensor<CubeBackend> {
    if !is_software(&x) {
        return CubeBackend::transposed_product(some_rows(x, rows), grad);
    }
    let (m, n) = (x.shape()[1], grad.shape()[1]);
    let [x, grad] = [x, grad].map(into_contiguous);
    new_product(
        Matrix::whole(&x, m).from(rows.start * m).transposed(),
        Matrix::whole(&grad, n),
        [1, m, rows.len(), n],
        Shape::new([m, n]),
    )
}

/// `grads[0] · weights[0]ᵀ`, and below it `grads[1] · weights[1]ᵀ`.
pub(crate) fn stacked_products_transposed(
    grads: [FloatTensor<CubeBackend>; 2],
    weights: [FloatTensor<CubeBackend>; 2],
) -> FloatTensor<CubeBackend> {
    if !is_software(&grads[0]) {
        let [first, second] = grads;
        let [weight, other] = weights;
        let first = CubeBackend::product_transposed(first, weight);
        return CubeBackend::float_cat(
            vec![first, CubeBackend::product_transposed(second, other)],
            0,
        );
    }
    let (k, n) = (grads[0].shape()[1], weights[0].shape()[0]);
    let (grads, weights) = (grads.map(into_contiguous), weights.map(into_contiguous));
    let rows = [0, 1].map(|i| grads[i].shape()[0]);
    let out = wgsl::empty(&grads[0], [rows[0] + rows[1], n]);
    for (i, start) in [0, rows[0]].into_iter().enumerate() {
        product(
            Matrix::whole(&grads[i], k),
            Matrix::whole(&weights[i], k).transposed(),
            [1, rows[i], k, n],
            Base::Zero,
            Matrix::whole(&out, n).from(start * n),
        );
    }
    out
}
