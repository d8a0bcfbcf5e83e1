//! Launch that writes rows to their slots of a table.

use burn::backend::TensorMetadata;
use burn::backend::tensor::IntTensor;
use burn::backend::wgpu::{CubeBackend, into_contiguous};

use super::wgsl::{self, KernelSpec, ROWS};
use crate::kernels::place_rows::PlaceRows;

/// `shaders/place_rows.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "place_rows",
    source: include_str!("../../../shaders/place_rows.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 3,
    variants: &[&[("WORDS", 172)]],
};

impl PlaceRows for CubeBackend {
    fn place_rows(
        table: IntTensor<Self>,
        rows: IntTensor<Self>,
        slot: IntTensor<Self>,
    ) -> IntTensor<Self> {
        let table = wgsl::writable(table);
        let [rows, slot] = [rows, slot].map(into_contiguous);
        let (count, words) = (rows.shape()[0], rows.shape()[1]);
        wgsl::launch(
            &FORWARD,
            &[("WORDS", words as u32)],
            wgsl::groups_of(count * words, FORWARD.workgroup),
            &[&table, &rows, &slot],
            &[count as u32],
        );
        table
    }
}
