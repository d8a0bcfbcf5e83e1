//! Launches of the dropout, and of the one with a relu behind it.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};

use super::wgsl::{self, COUNTER_HASH, FINITE, KernelSpec, ROWS};
use crate::kernels::dropout::{Dropout, DropoutKernel};

/// `shaders/dropout.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "dropout",
    source: include_str!("../../../shaders/dropout.wgsl"),
    shared: &[ROWS, COUNTER_HASH, FINITE],
    workgroup: 64,
    storage_buffers: 2,
    variants: &[&[("RELU", 1)]],
};

/// `shaders/dropout_relu_backward.wgsl`.
pub(crate) static RELU_BACKWARD: KernelSpec = KernelSpec {
    name: "dropout_relu_backward",
    source: include_str!("../../../shaders/dropout_relu_backward.wgsl"),
    shared: &[ROWS, COUNTER_HASH, FINITE],
    workgroup: 64,
    storage_buffers: 3,
    variants: &[],
};

/// The sizes uniform of both.
fn sizes(n: usize, dropout: Dropout) -> [u32; 8] {
    let [a, b, c] = dropout.key;
    let scale = dropout.scale.to_bits();
    [n as u32, dropout.drop_below, scale, 0, a, b, c, 0]
}

/// The dropout of `x`, and a relu of that if there is one.
fn forward(x: CubeTensor, dropout: Dropout, relu: bool) -> CubeTensor {
    let x = into_contiguous(x);
    let shape = x.shape();
    let n = shape.num_elements();
    let out = wgsl::empty(&x, shape);
    wgsl::launch(
        &FORWARD,
        &[("RELU", relu.into())],
        wgsl::groups_of(n, FORWARD.workgroup),
        &[&x, &out],
        &sizes(n, dropout),
    );
    out
}

impl DropoutKernel for CubeBackend {
    fn dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        forward(x, dropout, false)
    }

    fn dropout_relu(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        forward(x, dropout, true)
    }

    fn dropout_relu_backward(
        out: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        dropout: Dropout,
    ) -> FloatTensor<Self> {
        let [out, grad] = [out, grad].map(into_contiguous);
        let shape = out.shape();
        let n = shape.num_elements();
        let d_x = wgsl::empty(&out, shape);
        wgsl::launch(
            &RELU_BACKWARD,
            &[],
            wgsl::groups_of(n, RELU_BACKWARD.workgroup),
            &[&out, &grad, &d_x],
            &sizes(n, dropout),
        );
        d_x
    }
}
