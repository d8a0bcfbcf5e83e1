//! Launches of rows by index and of their backward, a segmented sum; rows with many uses are summed in pieces.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::tensor::Shape;

use super::wgsl::{self, KernelSpec, ROWS};
use crate::kernels::gather_rows::{GatherRows, LANES, LongRows};

/// `shaders/gather_rows.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "gather_rows",
    source: include_str!("../../../shaders/gather_rows.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 3,
    variants: &[&[("WIDTH", 100)]],
};

/// `shaders/segment_sum.wgsl`.
pub(crate) static SEGMENT_SUM: KernelSpec = KernelSpec {
    name: "segment_sum",
    source: include_str!("../../../shaders/segment_sum.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 5,
    variants: &[&[("WIDTH", 100)]],
};

/// `shaders/piece_sums.wgsl`.
pub(crate) static PIECE_SUMS: KernelSpec = KernelSpec {
    name: "piece_sums",
    source: include_str!("../../../shaders/piece_sums.wgsl"),
    shared: &[ROWS],
    workgroup: LANES as u32,
    storage_buffers: 3,
    variants: &[&[("WIDTH", 100)]],
};

impl GatherRows for CubeBackend {
    fn gather_rows(
        table: FloatTensor<Self>,
        index: IntTensor<Self>,
        _offsets: IntTensor<Self>,
        _items: IntTensor<Self>,
        _long: LongRows,
    ) -> FloatTensor<Self> {
        let [table, index] = [table, index].map(into_contiguous);
        let (rows, width) = (index.shape()[0], table.shape()[1]);
        let out = wgsl::empty(&table, [rows, width]);
        gather_into(&table, &index, &out);
        out
    }

    fn segment_sum(
        value: FloatTensor<Self>,
        offsets: IntTensor<Self>,
        items: IntTensor<Self>,
        long: LongRows,
    ) -> FloatTensor<Self> {
        let [value, offsets, items] = [value, offsets, items].map(into_contiguous);
        let (n, width) = (value.shape()[0], value.shape()[1]);
        let value = Self::float_reshape(value, Shape::new([1, n, width]));
        let sums = segment_sums(&value, &offsets, &items, long);
        let rows = sums.shape()[1];
        Self::float_reshape(sums, Shape::new([rows, width]))
    }
}

/// Writes `table[index]` to `out`, all contiguous.
pub(super) fn gather_into(table: &CubeTensor, index: &CubeTensor, out: &CubeTensor) {
    let (rows, width) = (index.shape()[0], table.shape()[1]);
    wgsl::launch(
        &FORWARD,
        &[("WIDTH", width as u32)],
        wgsl::groups_of(rows * width, FORWARD.workgroup),
        &[table, index, out],
        &[rows as u32],
    );
}

/// The segmented sums of each table of `value` `[tables, n, width]`: `[tables, rows, width]`.
/// All contiguous.
pub(super) fn segment_sums(
    value: &CubeTensor,
    offsets: &CubeTensor,
    items: &CubeTensor,
    long: LongRows,
) -> CubeTensor {
    let shape = value.shape();
    let (tables, n, width) = (shape[0], shape[1], shape[2]);
    let rows = offsets.shape()[0].saturating_sub(1);
    let out = wgsl::empty(value, [tables, rows, width]);
    let pieces = Pieces::new(&out, items, long);
    let [uses, long_rows, of_row] = pieces.sizes();
    wgsl::launch(
        &SEGMENT_SUM,
        &[("WIDTH", width as u32)],
        wgsl::groups_of(
            tables * (rows + long.pieces) * width.div_ceil(4),
            SEGMENT_SUM.workgroup,
        ),
        &[value, offsets, items, &out, pieces.partial()],
        &[
            rows as u32,
            n as u32,
            tables as u32,
            uses,
            long_rows,
            of_row,
        ],
    );
    pieces.add();
    out
}

/// The pieces of long rows: where a first pass puts their sums, and the second, which adds these.
pub(super) struct Pieces<'a> {
    /// `[tables, rows, width]`.
    out: &'a CubeTensor,
    items: &'a CubeTensor,
    long: LongRows,
    /// `[tables, pieces, width]`; none where no row is long.
    sums: Option<CubeTensor>,
}

impl<'a> Pieces<'a> {
    /// Of rows of `out`, whose `items` are those of [`Uses`](crate::kernels::gather_rows::Uses).
    pub(super) fn new(out: &'a CubeTensor, items: &'a CubeTensor, long: LongRows) -> Pieces<'a> {
        let shape = out.shape();
        let (tables, width) = (shape[0], shape[2]);
        let sums = (long.pieces > 0).then(|| wgsl::empty(out, [tables, long.pieces, width]));
        Pieces {
            out,
            items,
            long,
            sums,
        }
    }

    /// What the first pass binds for the sums; where there are none, it writes none.
    pub(super) fn partial(&self) -> &CubeTensor {
        self.sums.as_ref().unwrap_or(self.out)
    }

    /// Uses, long rows and pieces.
    pub(super) fn sizes(&self) -> [u32; 3] {
        let uses = self.items.shape()[0] - self.long.table();
        [uses, self.long.rows, self.long.pieces].map(|size| size as u32)
    }

    /// Adds them, a workgroup four columns of a row.
    pub(super) fn add(self) {
        let Some(sums) = &self.sums else {
            return;
        };
        let shape = self.out.shape();
        let (tables, rows, width) = (shape[0], shape[1], shape[2]);
        let [uses, long_rows, pieces] = self.sizes();
        wgsl::launch(
            &PIECE_SUMS,
            &[("WIDTH", width as u32)],
            tables * self.long.rows * width.div_ceil(4),
            &[self.items, sums, self.out],
            &[rows as u32, uses, long_rows, pieces, tables as u32],
        );
    }
}
