//! Launches of `product.wgsl` and `column_sums.wgsl`: products on software adapters.
//!
//! burn's product is made for real GPUs. On llvmpipe each of its kernels takes the driver
//! seconds to compile, and an iteration needs a dozen of them; this is one kernel for all.

use burn::backend::TensorMetadata;
use burn::backend::wgpu::CubeTensor;
use burn::tensor::Shape;

use crate::kernels::wgsl::{self, KernelSpec, ROWS};

/// `shaders/product.wgsl`.
pub static PRODUCT: KernelSpec = KernelSpec {
    name: "product",
    source: include_str!("../../../shaders/product.wgsl"),
    shared: &[ROWS],
    workgroup: 8,
    storage_buffers: 4,
    variants: &[],
};

/// `shaders/column_sums.wgsl`.
pub static COLUMN_SUMS: KernelSpec = KernelSpec {
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
pub(crate) struct Matrix<'a> {
    tensor: &'a CubeTensor,
    start: usize,
    rows: usize,
    columns: usize,
    heads: usize,
}

impl<'a> Matrix<'a> {
    /// All of a row-major tensor `width` wide.
    pub(crate) fn whole(tensor: &'a CubeTensor, width: usize) -> Matrix<'a> {
        Matrix {
            tensor,
            start: 0,
            rows: width,
            columns: 1,
            heads: 0,
        }
    }

    /// The tensor that they lie in.
    pub(crate) fn tensor(self) -> &'a CubeTensor {
        self.tensor
    }

    /// The transposed matrices.
    pub(crate) fn transposed(self) -> Matrix<'a> {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            ..self
        }
    }

    /// Those of the heads are `distance` apart.
    pub(crate) fn by_head(self, distance: usize) -> Matrix<'a> {
        Matrix {
            heads: distance,
            ..self
        }
    }

    /// The same from element `start` on.
    pub(crate) fn from(self, start: usize) -> Matrix<'a> {
        Matrix { start, ..self }
    }
}

/// What products are added to.
#[derive(Clone, Copy)]
pub(crate) enum Base<'a> {
    /// Nothing.
    Zero,
    /// The same row everywhere.
    Row(&'a CubeTensor),
    /// What the output holds.
    Output,
}

/// `out = base + a b` for each head; `size` is heads, m, k, n. Rows of `out` lie side by side.
pub(crate) fn product(
    a: Matrix<'_>,
    b: Matrix<'_>,
    size: [usize; 4],
    base: Base<'_>,
    out: Matrix<'_>,
) {
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
pub(crate) fn new_product(
    a: Matrix<'_>,
    b: Matrix<'_>,
    size: [usize; 4],
    shape: Shape,
) -> CubeTensor {
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
    let (mut rows, mut stride) = (matrix.shape()[0], matrix.shape()[1]);
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
