//! Launch that gathers rows of a table of features.

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, into_contiguous};

use super::wgsl::{self, KernelSpec, ROWS};
use crate::kernels::feature_rows::{Stored, StoredRows};

/// `shaders/feature_rows.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "feature_rows",
    source: include_str!("../../../shaders/feature_rows.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 3,
    variants: &[
        &[("WIDTH", 172), ("PACKED", 0)],
        &[("WIDTH", 186), ("PACKED", 1)],
    ],
};

impl StoredRows for CubeBackend {
    fn feature_rows(
        table: IntTensor<Self>,
        index: IntTensor<Self>,
        width: usize,
        stored: Stored,
    ) -> FloatTensor<Self> {
        let [table, index] = [table, index].map(into_contiguous);
        let rows = index.shape()[0];
        let out = wgsl::empty(&table, [rows, width]);
        let packed = u32::from(stored == Stored::Booleans);
        wgsl::launch(
            &FORWARD,
            &[("WIDTH", width as u32), ("PACKED", packed)],
            wgsl::groups_of(rows * width, FORWARD.workgroup),
            &[&table, &index, &out],
            &[rows as u32],
        );
        out
    }
}
