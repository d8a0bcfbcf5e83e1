//! Launches of rows by index and of their backward, a segmented sum.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::tensor::Shape;

use super::wgsl::{self, KernelSpec, ROWS};
use crate::kernels::gather_rows::GatherRows;

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
    storage_buffers: 4,
    variants: &[&[("WIDTH", 100)]],
};

impl GatherRows for CubeBackend {
    fn gather_rows(
        table: FloatTensor<Self>,
        index: IntTensor<Self>,
        _offsets: IntTensor<Self>,
        _items: IntTensor<Self>,
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
    ) -> FloatTensor<Self> {
        let [value, offsets, items] = [value, offsets, items].map(into_contiguous);
        let (n, width) = (value.shape()[0], value.shape()[1]);
        let value = Self::float_reshape(value, Shape::new([1, n, width]));
        let sums = segment_sums(&value, &offsets, &items);
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
) -> CubeTensor {
    let shape = value.shape();
    let (tables, n, width) = (shape[0], shape[1], shape[2]);
    let rows = offsets.shape()[0].saturating_sub(1);
    let out = wgsl::empty(value, [tables, rows, width]);
    wgsl::launch(
        &SEGMENT_SUM,
        &[("WIDTH", width as u32)],
        wgsl::groups_of(tables * rows * width.div_ceil(4), SEGMENT_SUM.workgroup),
        &[value, offsets, items, &out],
        &[rows as u32, n as u32, tables as u32],
    );
    out
}
