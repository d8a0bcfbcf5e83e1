//! Products on an adapter, as the kernels of [`mod@super::product`] make them.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::tensor::Shape;

use super::memories::empty_together;
use super::product::{Base, Matrix, Product, multiply};
use super::wgsl;
use crate::kernels::costs;
use crate::kernels::products::{LinearGradients, ProductGradients, Products, Wanted};
use crate::profiler::{self, Kind};

/// Where the products of heads go: each by itself, `[heads, m, n]`, or side by side, `[m, heads n]`.
fn place(out: &CubeTensor, [_, m, _, n]: [usize; 4]) -> Matrix<'_> {
    let shape = out.shape();
    match shape.num_dims() {
        2 => Matrix::whole(out, shape[1]).by_head(n),
        _ => Matrix::whole(out, n).by_head(m * n),
    }
}

/// Sums of all rows of a contiguous `[rows, width]` tensor, `[1, width]`.
pub(crate) fn column_sums(matrix: &CubeTensor) -> CubeTensor {
    let sums = wgsl::empty(matrix, [1, matrix.shape()[1]]);
    strided_sums(matrix, [matrix.shape()[0], matrix.shape()[1]], 0, &sums);
    sums
}

/// Writes the sums of `rows` rows of a contiguous tensor to `sums`, as many columns as that has numbers. `first` is the place
/// of the first number that is summed, rows are `stride` apart.
pub(crate) fn strided_sums(
    matrix: &CubeTensor,
    [rows, stride]: [usize; 2],
    first: usize,
    sums: &CubeTensor,
) {
    let of = Matrix::whole(matrix, stride).from(first);
    let width = sums.shape().num_elements();
    multiply(&[Product::of_ones(of, [rows, width], sums)]);
}

/// Sums of all rows of the two halves of a contiguous `[rows, 2 width]` tensor, `[width]` each.
pub(super) fn sums_of_halves(matrix: &CubeTensor, width: usize) -> [CubeTensor; 2] {
    let rows = matrix.shape()[0];
    let sums = empty_together(matrix, [(); 2].map(|()| Shape::new([width])));
    let of = |half: usize| {
        let matrix = Matrix::whole(matrix, 2 * width).from(half * width);
        Product::of_ones(matrix, [rows, width], &sums[half])
    };
    multiply(&[of(0), of(1)]);
    sums
}

impl Products for CubeBackend {
    fn add_product(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (m, k, n) = (x.shape()[0], x.shape()[1], weight.shape()[1]);
        let [x, weight] = [x, weight].map(into_contiguous);
        let factors = [Matrix::whole(&x, k), Matrix::whole(&weight, n)];
        let size = [1, m, k, n];
        if base.shape()[0] == 1 {
            let (base, out) = (into_contiguous(base), wgsl::empty(&x, [m, n]));
            let place = Matrix::whole(&out, n);
            multiply(&[Product::of_rows(factors, size, Base::Row(&base), place)]);
            return out;
        }
        let base = into_contiguous(base);
        if base.can_mut() {
            let place = Matrix::whole(&base, n);
            multiply(&[Product::of_rows(factors, size, Base::Output, place)]);
            return base;
        }
        let out = wgsl::empty(&x, [m, n]);
        let place = Matrix::whole(&out, n);
        multiply(&[Product::of_rows(factors, size, Base::Matrix(&base), place)]);
        out
    }

    fn product_to_heads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        let (rows, width, inputs) = (x.shape()[0], x.shape()[1], weight.shape()[0]);
        let [x, weight] = [x, weight].map(into_contiguous);
        let size = [heads, rows, width / heads, inputs];
        let out = wgsl::empty(&x, [heads, rows, inputs]);
        let factors = to_heads(&x, &weight, heads);
        multiply(&[Product::of_rows(
            factors,
            size,
            Base::Zero,
            place(&out, size),
        )]);
        out
    }

    fn product_from_heads(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let [x, weight] = [x, weight].map(into_contiguous);
        joined(&x, &weight, Base::Zero)
    }

    fn add_product_from_heads(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [base, x, weight] = [base, x, weight].map(into_contiguous);
        joined(&x, &weight, Base::Matrix(&base))
    }
}

/// The products of heads side by side, and `base`.
fn joined(x: &CubeTensor, weight: &CubeTensor, base: Base<'_>) -> CubeTensor {
    let (shape, width) = (x.shape(), weight.shape()[1]);
    let (heads, rows, inputs) = (shape[0], shape[1], shape[2]);
    let size = [heads, rows, inputs, width / heads];
    let out = wgsl::empty(x, [rows, width]);
    let factors = from_heads(x, weight);
    multiply(&[Product::of_rows(factors, size, base, place(&out, size))]);
    out
}

/// Factors of [`Products::product_to_heads`].
fn to_heads<'a>(x: &'a CubeTensor, weight: &'a CubeTensor, heads: usize) -> [Matrix<'a>; 2] {
    let width = x.shape()[1];
    let whole = |of| Matrix::whole(of, width).by_head(width / heads);
    [whole(x), whole(weight).transposed()]
}

/// Factors of [`Products::product_from_heads`].
fn from_heads<'a>(x: &'a CubeTensor, weight: &'a CubeTensor) -> [Matrix<'a>; 2] {
    let (shape, width) = (x.shape(), weight.shape()[1]);
    let (heads, rows, inputs) = (shape[0], shape[1], shape[2]);
    [
        Matrix::whole(x, inputs).by_head(rows * inputs),
        Matrix::whole(weight, width).by_head(width / heads),
    ]
}

/// Factors of a weight's gradient: transposed `x` `[heads, rows, inputs]`, and `grad` `[rows, width]` by heads.
fn transposed_of_heads<'a>(x: &'a CubeTensor, grad: &'a CubeTensor) -> [Matrix<'a>; 2] {
    let [x, grad] = from_heads(x, grad);
    [x.transposed(), grad]
}

/// Writes those gradients of `bias + x · weight` that have a place, of `x`, weight and bias, given that of the result. All
/// contiguous.
pub(super) fn linear_backward(
    [grad, x, weight]: [&CubeTensor; 3],
    [d_x, d_weight, d_bias]: [Option<&CubeTensor>; 3],
) {
    let (m, k, n) = (x.shape()[0], x.shape()[1], weight.shape()[1]);
    let _operation = profiler::operation("linear_backward", Kind::Product, || {
        let wanted = [d_x, d_weight, d_bias].map(|of| of.is_some());
        costs::linear_backward([m, k, n], wanted)
    });
    let of_grad = Matrix::whole(grad, n);
    let input = d_x.map(|d_x| {
        let factors = [of_grad, Matrix::whole(weight, n).transposed()];
        Product::of_rows(factors, [1, m, n, k], Base::Zero, Matrix::whole(d_x, k))
    });
    let of_weight = match (d_weight, d_bias) {
        (Some(d_weight), sums) => {
            let factors = [Matrix::whole(x, k).transposed(), of_grad];
            let out = Matrix::whole(d_weight, n);
            Some(Product::of_terms(factors, [1, k, m, n], out, sums))
        }
        (None, Some(sums)) => Some(Product::of_ones(of_grad, [m, n], sums)),
        (None, None) => None,
    };
    let products: Vec<Product<'_>> = input.into_iter().chain(of_weight).collect();
    multiply(&products);
}

/// Writes the gradients of `x` and `weight` of [`Products::product_to_heads`], given that of its result. All contiguous.
pub(super) fn to_heads_backward(
    [grad, x, weight]: [&CubeTensor; 3],
    [d_x, d_weight]: [&CubeTensor; 2],
) {
    let (shape, width) = (grad.shape(), x.shape()[1]);
    let (heads, rows, inputs) = (shape[0], shape[1], shape[2]);
    let _operation = profiler::operation("to_heads_backward", Kind::Product, || {
        costs::head_products_backward([heads, rows, inputs], width)
    });
    let size = [heads, rows, inputs, width / heads];
    let of_weight = [heads, inputs, rows, width / heads];
    multiply(&[
        Product::of_rows(from_heads(grad, weight), size, Base::Zero, place(d_x, size)),
        Product::of_terms(
            transposed_of_heads(grad, x),
            of_weight,
            place(d_weight, of_weight),
            None,
        ),
    ]);
}

/// The same of [`Products::product_from_heads`].
pub(super) fn from_heads_backward(
    [grad, x, weight]: [&CubeTensor; 3],
    [d_x, d_weight]: [&CubeTensor; 2],
) {
    let (shape, width) = (x.shape(), grad.shape()[1]);
    let (heads, rows, inputs) = (shape[0], shape[1], shape[2]);
    let _operation = profiler::operation("from_heads_backward", Kind::Product, || {
        costs::head_products_backward([heads, rows, inputs], width)
    });
    let size = [heads, rows, width / heads, inputs];
    let of_weight = [heads, inputs, rows, width / heads];
    multiply(&[
        Product::of_rows(
            to_heads(grad, weight, heads),
            size,
            Base::Zero,
            place(d_x, size),
        ),
        Product::of_terms(
            transposed_of_heads(x, grad),
            of_weight,
            place(d_weight, of_weight),
            None,
        ),
    ]);
}

impl ProductGradients for CubeBackend {
    fn linear_gradients(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        wanted: Wanted,
    ) -> LinearGradients<Self> {
        let n = weight.shape()[1];
        let [grad, x, weight] = [grad, x, weight].map(into_contiguous);
        let input = wanted.input.then(|| wgsl::empty(&x, x.shape()));
        let (of_weight, bias) = match (wanted.weight, wanted.bias) {
            (true, true) => {
                let [weight, bias] = empty_together(&x, [weight.shape(), Shape::new([1, n])]);
                (Some(weight), Some(bias))
            }
            (of_weight, bias) => (
                of_weight.then(|| wgsl::empty(&x, weight.shape())),
                bias.then(|| wgsl::empty(&x, [1, n])),
            ),
        };
        let places = [&input, &of_weight, &bias].map(Option::as_ref);
        linear_backward([&grad, &x, &weight], places);
        LinearGradients {
            input,
            weight: of_weight,
            bias,
        }
    }

    fn to_heads_gradients(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        let [grad, x, weight] = [grad, x, weight].map(into_contiguous);
        let [d_x, d_weight] = [&x, &weight].map(|of| wgsl::empty(of, of.shape()));
        to_heads_backward([&grad, &x, &weight], [&d_x, &d_weight]);
        [d_x, d_weight]
    }

    fn from_heads_gradients(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        let [grad, x, weight] = [grad, x, weight].map(into_contiguous);
        let [d_x, d_weight] = [&x, &weight].map(|of| wgsl::empty(of, of.shape()));
        from_heads_backward([&grad, &x, &weight], [&d_x, &d_weight]);
        [d_x, d_weight]
    }
}
