//! Launches of dropout, relu and layer norm as one, and of their gradients as three.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};

use super::chunks::Chunks;
use super::products::sums_of_halves;
use super::wgsl::{self, COUNTER_HASH, FINITE, KernelSpec, ROWS, TOTAL};
use crate::kernels::choice::SOFTWARE;
use crate::kernels::cpu::output_norm as cpu;
use crate::kernels::output_norm::{BeforeNorm, NormGradients, OutputNorm};

/// `shaders/output_norm.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "output_norm",
    source: include_str!("../../../shaders/output_norm.wgsl"),
    shared: &[ROWS, COUNTER_HASH, FINITE, TOTAL],
    workgroup: 64,
    storage_buffers: 4,
    variants: &[
        &[("WIDTH", 100)],
        &[("WIDTH", 100), ("WORKGROUP", SOFTWARE.row_workgroup)],
    ],
};

/// `shaders/output_norm_backward.wgsl`.
pub(crate) static BACKWARD: KernelSpec = KernelSpec {
    name: "output_norm_backward",
    source: include_str!("../../../shaders/output_norm_backward.wgsl"),
    shared: &[ROWS, COUNTER_HASH, FINITE, TOTAL],
    workgroup: 64,
    storage_buffers: 5,
    variants: &[
        &[("WIDTH", 100)],
        &[("WIDTH", 100), ("WORKGROUP", SOFTWARE.row_workgroup)],
    ],
};

/// `shaders/output_norm_backward_sums.wgsl`.
pub(crate) static BACKWARD_SUMS: KernelSpec = KernelSpec {
    name: "output_norm_backward_sums",
    source: include_str!("../../../shaders/output_norm_backward_sums.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 3,
    variants: &[&[("WIDTH", 100)]],
};

/// Constants of the two kernels that take a row per workgroup.
fn row_constants(x: &CubeTensor, width: usize) -> [(&'static str, u32); 2] {
    let workgroup = wgsl::row_workgroup(x, FORWARD.workgroup);
    [("WIDTH", width as u32), ("WORKGROUP", workgroup)]
}

/// The sizes uniform of the two kernels that take a row per workgroup.
fn sizes(rows: usize, before: &BeforeNorm) -> [u32; 8] {
    let dropout = before.dropout;
    let [a, b, c] = dropout.key;
    let (scale, epsilon) = (dropout.scale.to_bits(), cpu::EPSILON.to_bits());
    [
        rows as u32,
        dropout.drop_below,
        scale,
        epsilon,
        a,
        b,
        c,
        before.relu.into(),
    ]
}

impl OutputNorm for CubeBackend {
    fn output_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> FloatTensor<Self> {
        let [x, gamma, beta] = [x, gamma, beta].map(into_contiguous);
        let (rows, width) = (x.shape()[0], x.shape()[1]);
        let out = wgsl::empty(&x, [rows, width]);
        wgsl::launch(
            &FORWARD,
            &row_constants(&x, width),
            rows,
            &[&x, &gamma, &beta, &out],
            &sizes(rows, &before),
        );
        out
    }

    fn output_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> NormGradients<Self> {
        let [x, gamma, grad] = [x, gamma, grad].map(into_contiguous);
        let (rows, width) = (x.shape()[0], x.shape()[1]);
        let d_x = wgsl::empty(&x, [rows, width]);
        let normalised = wgsl::empty(&x, [rows, width]);
        wgsl::launch(
            &BACKWARD,
            &row_constants(&x, width),
            rows,
            &[&x, &gamma, &grad, &d_x, &normalised],
            &sizes(rows, &before),
        );
        let chunks = Chunks::of(rows);
        let partial = wgsl::empty(&x, [chunks.count, 2 * width]);
        wgsl::launch(
            &BACKWARD_SUMS,
            &[("WIDTH", width as u32)],
            wgsl::groups_of(chunks.count * width, BACKWARD_SUMS.workgroup),
            &[&grad, &normalised, &partial],
            &[rows as u32, chunks.rows as u32],
        );
        let [gamma, beta] = sums_of_halves(&partial, width);
        NormGradients {
            x: d_x,
            gamma,
            beta,
        }
    }
}
