//! The gates of a GRU cell, after its two matrix products: part of
//! `recurrent_cell`, which is what backends and autodiff know.

use burn::backend::TensorMetadata;
use burn::backend::wgpu::{CubeTensor, into_contiguous};

use super::wgsl::{self, FINITE, GATES, KernelSpec, ROWS};

/// `shaders/gru_gates.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "gru_gates",
    source: include_str!("../../../shaders/gru_gates.wgsl"),
    shared: &[ROWS, FINITE, GATES],
    workgroup: 64,
    storage_buffers: 5,
    variants: &[&[("WIDTH", 100)]],
};

/// `shaders/gru_gates_backward.wgsl`.
pub(crate) static BACKWARD: KernelSpec = KernelSpec {
    name: "gru_gates_backward",
    source: include_str!("../../../shaders/gru_gates_backward.wgsl"),
    shared: &[ROWS, FINITE, GATES],
    workgroup: 64,
    storage_buffers: 7,
    variants: &[&[("WIDTH", 100)]],
};

/// Gradients of the two products, from what the forward pass reads and the gradient of the new rows.
pub(super) fn gru_gates_backward(inputs: [CubeTensor; 4], grad: CubeTensor) -> [CubeTensor; 2] {
    let [from_input, from_memory, memory, active] = inputs.map(into_contiguous);
    let grad = into_contiguous(grad);
    let (rows, width) = (memory.shape()[0], memory.shape()[1]);
    let [d_input, d_memory] = [(); 2].map(|()| wgsl::empty(&memory, [rows, 3 * width]));
    wgsl::launch(
        &BACKWARD,
        &[("WIDTH", width as u32)],
        wgsl::groups_of(rows * width, BACKWARD.workgroup),
        &[
            &from_input,
            &from_memory,
            &memory,
            &active,
            &grad,
            &d_input,
            &d_memory,
        ],
        &[rows as u32],
    );
    [d_input, d_memory]
}
