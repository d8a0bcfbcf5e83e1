//! Launch that unpacks rows of booleans.

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, into_contiguous};

use super::wgsl::{self, KernelSpec, ROWS};
use crate::kernels::unpack_bits::UnpackBits;

/// `shaders/unpack_bits.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "unpack_bits",
    source: include_str!("../../../shaders/unpack_bits.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 2,
    variants: &[&[("WIDTH", 186)], &[("WIDTH", 413)]],
};

impl UnpackBits for CubeBackend {
    fn unpack_bits(words: IntTensor<Self>, width: usize) -> FloatTensor<Self> {
        let words = into_contiguous(words);
        let rows = words.shape()[0];
        let out = wgsl::empty(&words, [rows, width]);
        wgsl::launch(
            &FORWARD,
            &[("WIDTH", width as u32)],
            wgsl::groups_of(rows * width, FORWARD.workgroup),
            &[&words, &out],
            &[rows as u32],
        );
        out
    }
}
