//! Launch of the dropout.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, into_contiguous};

use super::wgsl::{self, COUNTER_HASH, KernelSpec, ROWS};
use crate::kernels::dropout::{Dropout, DropoutKernel};

/// `shaders/dropout.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "dropout",
    source: include_str!("../../../shaders/dropout.wgsl"),
    shared: &[ROWS, COUNTER_HASH],
    workgroup: 64,
    storage_buffers: 2,
    variants: &[],
};

impl DropoutKernel for CubeBackend {
    fn dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        let x = into_contiguous(x);
        let shape = x.shape();
        let n = shape.num_elements();
        let out = wgsl::empty(&x, shape);
        let [a, b, c] = dropout.key;
        let scale = dropout.scale.to_bits();
        wgsl::launch(
            &FORWARD,
            &[],
            wgsl::groups_of(n, FORWARD.workgroup),
            &[&x, &out],
            &[n as u32, dropout.drop_below, scale, 0, a, b, c, 0],
        );
        out
    }
}
