//! The kernels of matrix products: one way to say what is multiplied, and two kernels for it, of which an adapter
//! runs the one that its [`Kernels`](crate::kernels::choice::Kernels) name.
//!
//! `product_tiled.wgsl` is for GPUs: it takes up to two products a launch, divides long sums among the invocations of
//! a workgroup and has tiles of three sizes. `product.wgsl` and `column_sums.wgsl` are for software adapters, where
//! a barrier costs more than a launch.
//!
//! A row of a result has the same bits whatever the number of rows: the tile, which decides in what order a sum is
//! added, depends on a batch's rows never.

use burn::backend::wgpu::CubeTensor;

use super::gather_rows;
use super::settled;
use super::wgsl::{self, KernelSpec, ROWS};
use crate::kernels::choice::ProductsBy;

/// `shaders/product.wgsl`.
pub(crate) static BY_INVOCATION: KernelSpec = KernelSpec {
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

/// `shaders/product_tiled.wgsl`.
pub(crate) static BY_WORKGROUP: KernelSpec = KernelSpec {
    name: "product_tiled",
    source: include_str!("../../../shaders/product_tiled.wgsl"),
    shared: &[ROWS],
    workgroup: 128,
    storage_buffers: 8,
    variants: &[&[("TILE", 16)], &[("TILE", 32)]],
};

/// Rows and columns of an output that an invocation of `product.wgsl` takes.
const TILE: [usize; 2] = [32, 20];

/// Rows that an invocation of the column sums adds.
const CHUNK: usize = 64;

/// Sides of a workgroup's tile, the larger the fewer numbers are read.
const TILES: [usize; 3] = [32, 16, 8];

/// Workgroups that keep a GPU busy.
const ENOUGH: usize = 128;

/// Columns from which on a product of a batch's rows has enough of the largest tiles.
const WIDE: usize = 256;

/// A matrix for each head inside a contiguous tensor: element (r, c) of head h is at
/// `start + h * heads + r * rows + c * columns`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    tensor: &'a CubeTensor,
    start: usize,
    rows: usize,
    columns: usize,
    heads: usize,
}

impl<'a> Matrix<'a> {
    /// All of a row-major tensor `width` wide.
    pub(super) fn whole(tensor: &'a CubeTensor, width: usize) -> Matrix<'a> {
        Matrix {
            tensor,
            start: 0,
            rows: width,
            columns: 1,
            heads: 0,
        }
    }

    /// The transposed matrices.
    pub(super) fn transposed(self) -> Matrix<'a> {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            ..self
        }
    }

    /// Those of the heads are `distance` apart.
    pub(super) fn by_head(self, distance: usize) -> Matrix<'a> {
        Matrix {
            heads: distance,
            ..self
        }
    }

    /// The same from element `start` on.
    pub(super) fn from(self, start: usize) -> Matrix<'a> {
        Matrix { start, ..self }
    }
}

/// What products are added to.
#[derive(Clone, Copy)]
pub(super) enum Base<'a> {
    /// Nothing.
    Zero,
    /// The same row everywhere.
    Row(&'a CubeTensor),
    /// What the output holds.
    Output,
    /// Another matrix, as the output lies.
    Matrix(&'a CubeTensor),
    /// A row of a table for each row, `[rows, n]` and `[m]`: of the first product of a launch.
    Table(&'a CubeTensor, &'a CubeTensor),
}

/// What of a product is as many as a batch has rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Batch {
    /// Its rows.
    Rows,
    /// The terms of its sums.
    Terms,
}

/// `out = base + a b` for each head.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) a: Matrix<'a>,
    pub(super) b: Matrix<'a>,
    /// Heads, m, k, n.
    pub(super) size: [usize; 4],
    pub(super) base: Base<'a>,
    /// Two more factors whose product is added, and their k.
    pub(super) more: Option<([Matrix<'a>; 2], usize)>,
    /// Rows of a head lie side by side.
    pub(super) out: Matrix<'a>,
    /// Where the sums of b's rows go, `[n]`, where they are asked for: of one head, on nothing.
    pub(super) sums: Option<&'a CubeTensor>,
    pub(super) batch: Batch,
}

impl<'a> Product<'a> {
    /// One with a row for each row of a batch.
    pub(super) fn of_rows(
        [a, b]: [Matrix<'a>; 2],
        size: [usize; 4],
        base: Base<'a>,
        out: Matrix<'a>,
    ) -> Product<'a> {
        Product {
            a,
            b,
            size,
            base,
            more: None,
            out,
            sums: None,
            batch: Batch::Rows,
        }
    }

    /// One that adds up the rows of a batch.
    pub(super) fn of_terms(
        [a, b]: [Matrix<'a>; 2],
        size: [usize; 4],
        out: Matrix<'a>,
        sums: Option<&'a CubeTensor>,
    ) -> Product<'a> {
        Product {
            sums,
            batch: Batch::Terms,
            ..Product::of_rows([a, b], size, Base::Zero, out)
        }
    }

    /// The sums alone of `rows` rows of b.
    pub(super) fn of_ones(
        b: Matrix<'a>,
        [rows, width]: [usize; 2],
        sums: &'a CubeTensor,
    ) -> Product<'a> {
        let out = Matrix::whole(sums, width);
        Product::of_terms([b, b], [1, 0, rows, width], out, Some(sums))
    }

    /// Rows of the output and, where it is asked for, that of the sums.
    fn down(&self) -> usize {
        self.size[1] + usize::from(self.sums.is_some())
    }

    /// Tiles of the output.
    fn tiles(&self, tile: usize) -> usize {
        let [heads, _, _, n] = self.size;
        heads * self.down().div_ceil(tile) * n.div_ceil(tile)
    }
}

/// Whether workgroups multiply on the device of `tensor`.
fn by_workgroup(tensor: &CubeTensor) -> bool {
    settled::kernels_of(tensor).products == ProductsBy::Workgroup
}

/// Makes one product or two, in one launch where workgroups do.
pub(super) fn multiply(products: &[Product<'_>]) {
    match products {
        [] => {}
        [first, ..] if by_workgroup(first.out.tensor) => by_workgroups(products),
        _ => products.iter().for_each(by_invocations),
    }
}

/// The tile of a launch. Its order of adding must not depend on the number of a batch's rows, so that does not count.
fn tile_of(products: &[Product<'_>]) -> usize {
    let [large, small, least] = TILES;
    let of_rows = |of: &&Product<'_>| of.batch == Batch::Rows;
    if let Some(first) = products.iter().find(of_rows) {
        // Long sums beside it are the slower, the larger the tile.
        let alone = products.iter().all(|of| of_rows(&of));
        return match alone && first.size[3] >= WIDE {
            true => large,
            false => small,
        };
    }
    let groups = |tile| products.iter().map(|of| of.tiles(tile)).sum::<usize>();
    let enough = TILES.into_iter().find(|&tile| groups(tile) >= ENOUGH);
    enough.unwrap_or(least)
}

/// The words of `sizes` for one product of a launch.
fn words(product: &Product<'_>) -> [usize; 16] {
    let Product { a, b, out, .. } = product;
    let [heads, _, k, n] = product.size;
    let base = match (product.base, product.sums) {
        (_, Some(_)) => 4,
        (Base::Zero, None) => 0,
        (Base::Row(_), None) => 1,
        (Base::Output | Base::Matrix(_), None) => 2,
        (Base::Table(..), None) => 3,
    };
    let added = 16 * usize::from(product.more.is_some());
    [
        product.down(),
        k,
        n,
        heads,
        a.rows,
        a.columns,
        a.heads,
        a.start,
        b.rows,
        b.columns,
        b.heads,
        b.start,
        out.rows,
        out.heads,
        out.start,
        base + added,
    ]
}

/// Buffers a, b, base and out of one product of a launch.
fn buffers<'a>(product: &Product<'a>) -> [&'a CubeTensor; 4] {
    let out = product.out.tensor;
    let base = match (product.base, product.sums) {
        (_, Some(sums)) => sums,
        (Base::Row(of) | Base::Matrix(of) | Base::Table(of, _), None) => of,
        (Base::Zero | Base::Output, None) => out,
    };
    [product.a.tensor, product.b.tensor, base, out]
}

/// What is launched as the second product: that one, or what is added to the first, which has no tiles of its own.
fn second<'a>(products: &[Product<'a>]) -> Option<Product<'a>> {
    match *products {
        [
            Product {
                more: Some((factors, k)),
                size: [_, m, _, n],
                out,
                ..
            },
        ] => {
            let size = [0, m, k, n];
            Some(Product::of_rows(factors, size, Base::Zero, out))
        }
        [_, second] => Some(second),
        _ => None,
    }
}

fn by_workgroups(products: &[Product<'_>]) {
    let first = &products[0];
    let second = second(products);
    let tile = tile_of(products);
    let mut sizes = [0u32; 32];
    let words = words(first)
        .into_iter()
        .chain(second.iter().flat_map(words));
    for (size, word) in sizes.iter_mut().zip(words) {
        *size = word as u32;
    }
    let [a, b, base, out] = buffers(first);
    // Any buffers, where none are read.
    let mut others = second.map_or([a, b, base, out], |second| buffers(&second));
    if let Base::Table(_, row) = first.base {
        others[2] = row;
    }
    let [a2, b2, base2, out2] = others;
    wgsl::launch(
        &BY_WORKGROUP,
        &[("TILE", tile as u32)],
        products.iter().map(|of| of.tiles(tile)).sum(),
        &[a, b, base, out, a2, b2, base2, out2],
        &sizes,
    );
}

fn by_invocations(product: &Product<'_>) {
    let Product { a, b, out, .. } = *product;
    if let Some(sums) = product.sums {
        let [.., rows, width] = product.size;
        column_sums_into(b, [rows, width], sums);
    }
    let (base, row) = match product.base {
        Base::Zero => (0, out.tensor),
        Base::Row(row) => (1, row),
        Base::Output => (2, out.tensor),
        Base::Matrix(of) => (2, of),
        Base::Table(table, row) => {
            gather_rows::gather_into(table, row, out.tensor);
            (2, out.tensor)
        }
    };
    one_by_invocations([a, b], product.size, (base, row), out);
    if let Some((factors, k)) = product.more {
        let [heads, m, _, n] = product.size;
        one_by_invocations(factors, [heads, m, k, n], (2, out.tensor), out);
    }
}

fn one_by_invocations(
    [a, b]: [Matrix<'_>; 2],
    size: [usize; 4],
    (base, row): (usize, &CubeTensor),
    out: Matrix<'_>,
) {
    let [heads, m, k, n] = size;
    let tiles = heads * m.div_ceil(TILE[0]) * n.div_ceil(TILE[1]);
    let sizes = [
        m, k, n, heads, a.rows, a.columns, a.heads, a.start, b.rows, b.columns, b.heads, b.start,
        out.rows, out.heads, out.start, base,
    ];
    wgsl::launch(
        &BY_INVOCATION,
        &[],
        wgsl::groups_of(tiles, BY_INVOCATION.workgroup),
        &[a.tensor, b.tensor, row, out.tensor],
        &sizes.map(|size| size as u32),
    );
}

/// Sums of `rows` rows of a matrix, in passes.
fn column_sums_into(matrix: Matrix<'_>, [mut rows, width]: [usize; 2], sums: &CubeTensor) {
    let (mut from, mut first, mut stride) = (matrix.tensor.clone(), matrix.start, matrix.rows);
    loop {
        let chunks = rows.div_ceil(CHUNK).max(1);
        let partial = match chunks {
            1 => sums.clone(),
            _ => wgsl::empty(&from, [chunks, width]),
        };
        wgsl::launch(
            &COLUMN_SUMS,
            &[],
            wgsl::groups_of(chunks * width, COLUMN_SUMS.workgroup),
            &[&from, &partial],
            &[rows as u32, stride as u32, first as u32, width as u32],
        );
        if chunks == 1 {
            return;
        }
        (from, rows, stride, first) = (partial, chunks, width, 0);
    }
}
