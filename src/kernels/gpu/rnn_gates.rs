//! The gate of an RNN cell, after its two matrix products: part of
//! `recurrent_cell`, which is what backends and autodiff know.

use burn::backend::TensorMetadata;
use burn::backend::wgpu::{CubeTensor, into_contiguous};

use super::wgsl::{self, FINITE, GATES, KernelSpec, ROWS};

/// `shaders/rnn_gates.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "rnn_gates",
    source: include_str!("../../../shaders/rnn_gates.wgsl"),
    shared: &[ROWS, FINITE, GATES],
    workgroup: 64,
    storage_buffers: 5,
    variants: &[&[("WIDTH", 100)]],
};

/// `shaders/rnn_gates_backward.wgsl`.
pub(crate) static BACKWARD: KernelSpec = KernelSpec {
    name: "rnn_gates_backward",
    source: include_str!("../../../shaders/rnn_gates_backward.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 4,
    variants: &[&[("WIDTH", 100)]],
};

/// Gradient of either product, which are the same, from the new rows `out` and their gradient.
pub(super) fn rnn_gates_backward(
    out: CubeTensor,
    active: CubeTensor,
    grad: CubeTensor,
) -> CubeTensor {
    let [out, active, grad] = [out, active, grad].map(into_contiguous);
    let (rows, width) = (out.shape()[0], out.shape()[1]);
    let d_product = wgsl::empty(&out, [rows, width]);
    wgsl::launch(
        &BACKWARD,
        &[("WIDTH", width as u32)],
        wgsl::groups_of(rows * width, BACKWARD.workgroup),
        &[&out, &active, &grad, &d_product],
        &[rows as u32],
    );
    d_product
}
