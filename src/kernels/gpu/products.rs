//! Products on an adapter: burn's, or `product.wgsl` and `column_sums.wgsl`, as its
//! [`Kernels`](crate::kernels::choice::Kernels) say.
//!
//! burn's product is made for real GPUs. On llvmpipe each of its kernels takes the driver
//! seconds to compile, and an iteration needs a dozen of them; this is one kernel for all.

use std::ops::Range;

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::tensor::{Shape, Slice};

use super::settled;
use super::wgsl::{self, KernelSpec, ROWS};
use crate::kernels::choice::ProductsBy;
use crate::kernels::products::{ProductGradients, Products};

/// `shaders/product.wgsl`.
pub(crate) static PRODUCT: KernelSpec = KernelSpec {
    name: "product",
    source: include_str!("../../../shaders/product.wgsl"),
    shared: &[ROWS],
    workgroup: 8,
    storage_buffers: 4,
    variants: &[],
};

/// `shaders/column_sums.wgsl`.
pub(crate) static COLUMN_SUMS: KernelSpec = KernelSpec {
    name: "column_sums",
    source: include_str!("../../../shaders/column_sums.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 2,
    variants: &[],
};

/// Rows and columns of an output that an invocation of the product takes.
const TILE: [usize; 2] = [32, 20];

/// Rows that an invocation of the column sums adds.
const CHUNK: usize = 64;

/// A matrix for each head inside a contiguous tensor: element (r, c) of head h is at
/// `start + h * heads + r * rows + c * columns`.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    tensor: &'a CubeTensor,
    start: usize,
    rows: usize,
    columns: usize,
    heads: usize,
}

impl<'a> Matrix<'a> {
    /// All of a row-major tensor `width` wide.
    fn whole(tensor: &'a CubeTensor, width: usize) -> Matrix<'a> {
        Matrix {
            tensor,
            start: 0,
            rows: width,
            columns: 1,
            heads: 0,
        }
    }

    /// The tensor that they lie in.
    fn tensor(self) -> &'a CubeTensor {
        self.tensor
    }

    /// The transposed matrices.
    fn transposed(self) -> Matrix<'a> {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            ..self
        }
    }

    /// Those of the heads are `distance` apart.
    fn by_head(self, distance: usize) -> Matrix<'a> {
        Matrix {
            heads: distance,
            ..self
        }
    }

    /// The same from element `start` on.
    fn from(self, start: usize) -> Matrix<'a> {
        Matrix { start, ..self }
    }
}

/// What products are added to.
#[derive(Clone, Copy)]
enum Base<'a> {
    /// Nothing.
    Zero,
    /// The same row everywhere.
    Row(&'a CubeTensor),
    /// What the output holds.
    Output,
}

/// `out = base + a b` for each head; `size` is heads, m, k, n. Rows of `out` lie side by side.
fn product(a: Matrix<'_>, b: Matrix<'_>, size: [usize; 4], base: Base<'_>, out: Matrix<'_>) {
    let [heads, m, k, n] = size;
    let tiles = heads * m.div_ceil(TILE[0]) * n.div_ceil(TILE[1]);
    let (kind, base) = match base {
        Base::Zero => (0, out.tensor),
        Base::Row(row) => (1, row),
        Base::Output => (2, out.tensor),
    };
    let sizes = [
        m, k, n, heads, a.rows, a.columns, a.heads, a.start, b.rows, b.columns, b.heads, b.start,
        out.rows, out.heads, out.start, kind,
    ];
    wgsl::launch(
        &PRODUCT,
        &[],
        wgsl::groups_of(tiles, PRODUCT.workgroup),
        &[a.tensor, b.tensor, base, out.tensor],
        &sizes.map(|size| size as u32),
    );
}

/// The products of each head as a new tensor: `[heads, m, n]`, or side by side, `[m, heads n]`,
/// as `shape` says.
fn new_product(a: Matrix<'_>, b: Matrix<'_>, size: [usize; 4], shape: Shape) -> CubeTensor {
    let [_, m, _, n] = size;
    let (width, distance) = match shape.num_dims() {
        2 => (shape[1], n),
        _ => (n, m * n),
    };
    let out = wgsl::empty(a.tensor, shape);
    let place = Matrix::whole(&out, width).by_head(distance);
    product(a, b, size, Base::Zero, place);
    out
}

/// Sums of all rows of `width` columns from `first` on of a contiguous `[rows, stride]` tensor,
/// `[1, width]`.
pub(crate) fn column_sums(matrix: &CubeTensor, first: usize, width: usize) -> CubeTensor {
    strided_sums(matrix, [matrix.shape()[0], matrix.shape()[1]], first, width)
}

/// The same of rows that lie anywhere in a contiguous tensor: `first` is the place of the first
/// number that is summed.
pub(crate) fn strided_sums(
    matrix: &CubeTensor,
    [mut rows, mut stride]: [usize; 2],
    first: usize,
    width: usize,
) -> CubeTensor {
    let (mut from, mut first) = (matrix.clone(), first);
    loop {
        let chunks = rows.div_ceil(CHUNK).max(1);
        let sums = wgsl::empty(&from, [chunks, width]);
        wgsl::launch(
            &COLUMN_SUMS,
            &[],
            wgsl::groups_of(chunks * width, COLUMN_SUMS.workgroup),
            &[&from, &sums],
            &[rows as u32, stride as u32, first as u32, width as u32],
        );
        if chunks == 1 {
            return sums;
        }
        (from, rows, stride, first) = (sums, chunks, width, 0);
    }
}

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

/// Whether burn multiplies on the device of `tensor`.
fn by_burn(tensor: &CubeTensor) -> bool {
    settled::kernels_of(tensor).products == ProductsBy::Burn
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
        if by_burn(&x) {
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

    fn product_to_heads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        if by_burn(&x) {
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
        if by_burn(&x) {
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
}

impl ProductGradients for CubeBackend {
    fn product_transposed(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        if by_burn(&grad) {
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
        if by_burn(&x) {
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
        if by_burn(&grad) {
            return Self::float_sum_dim(grad, 0);
        }
        let width = grad.shape()[1];
        column_sums(&into_contiguous(grad), 0, width)
    }

    fn transposed_product_of_heads(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (shape, width) = (x.shape(), grad.shape()[1]);
        let (heads, rows, inputs) = (shape[0], shape[1], shape[2]);
        if by_burn(&x) {
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
    if by_burn(&x) {
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
    if by_burn(&x) {
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
    if by_burn(&grads[0]) {
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
