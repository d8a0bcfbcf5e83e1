//! Launches of the time encoding and of its backward.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};

use super::chunks::Chunks;
use super::products::strided_sums;
use super::wgsl::{self, COSINE, FINITE, KernelSpec, ROWS};
use crate::kernels::time_encoding::TimeEncoding;

/// `shaders/time_encoding.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "time_encoding",
    source: include_str!("../../../shaders/time_encoding.wgsl"),
    shared: &[ROWS, COSINE, FINITE],
    workgroup: 64,
    storage_buffers: 3,
    variants: &[&[("WIDTH", 100)]],
};

/// `shaders/time_encoding_backward.wgsl`.
pub(crate) static BACKWARD: KernelSpec = KernelSpec {
    name: "time_encoding_backward",
    source: include_str!("../../../shaders/time_encoding_backward.wgsl"),
    shared: &[ROWS, COSINE, FINITE],
    workgroup: 64,
    storage_buffers: 4,
    variants: &[&[("WIDTH", 100)]],
};

/// Writes the gradient of `time` to `d_time`, `[2, width]`, given that of the encoding.
pub(super) fn time_encoding_backward([time, delta, grad]: [CubeTensor; 3], d_time: &CubeTensor) {
    let [time, delta, grad] = [time, delta, grad].map(into_contiguous);
    let (rows, width) = (delta.shape()[0], time.shape()[1]);
    let chunks = Chunks::of(rows);
    let partial = wgsl::empty(&time, [chunks.count, 2 * width]);
    wgsl::launch(
        &BACKWARD,
        &[("WIDTH", width as u32)],
        wgsl::groups_of(chunks.count * width, BACKWARD.workgroup),
        &[&time, &delta, &grad, &partial],
        &[rows as u32, 0, chunks.rows as u32],
    );
    strided_sums(&partial, [chunks.count, 2 * width], 0, d_time);
}

impl TimeEncoding for CubeBackend {
    fn time_encoding(time: FloatTensor<Self>, delta: FloatTensor<Self>) -> FloatTensor<Self> {
        let [time, delta] = [time, delta].map(into_contiguous);
        let (rows, width) = (delta.shape()[0], time.shape()[1]);
        let out = wgsl::empty(&time, [rows, width]);
        wgsl::launch(
            &FORWARD,
            &[("WIDTH", width as u32)],
            wgsl::groups_of(rows * width, FORWARD.workgroup),
            &[&time, &delta, &out],
            &[rows as u32, 0],
        );
        out
    }

    fn time_encoding_backward(
        time: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let d_time = wgsl::empty(&time, time.shape());
        time_encoding_backward([time, delta, grad], &d_time);
        d_time
    }
}
