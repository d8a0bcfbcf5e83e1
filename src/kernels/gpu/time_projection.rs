//! Launches of JODIE's projection and of its backward.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, into_contiguous};
use burn::tensor::Shape;

use super::chunks::Chunks;
use super::products::column_sums;
use super::wgsl::{self, KernelSpec, ROWS};
use crate::kernels::time_projection::{ProjectionTensors, TimeProjection};

/// `shaders/time_projection.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "time_projection",
    source: include_str!("../../../shaders/time_projection.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 5,
    variants: &[&[("WIDTH", 100)]],
};

/// `shaders/time_projection_backward.wgsl`.
pub(crate) static BACKWARD: KernelSpec = KernelSpec {
    name: "time_projection_backward",
    source: include_str!("../../../shaders/time_projection_backward.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 7,
    variants: &[&[("WIDTH", 100)]],
};

impl TimeProjection for CubeBackend {
    fn time_projection(
        tensors: ProjectionTensors<Self>,
        recency: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let ProjectionTensors { x, weight, bias } = tensors;
        let [x, weight, bias, recency] = [x, weight, bias, recency].map(into_contiguous);
        let (rows, width) = (x.shape()[0], x.shape()[1]);
        let out = wgsl::empty(&x, [rows, width]);
        wgsl::launch(
            &FORWARD,
            &[("WIDTH", width as u32)],
            wgsl::groups_of(rows * width, FORWARD.workgroup),
            &[&x, &recency, &weight, &bias, &out],
            &[rows as u32],
        );
        out
    }

    fn time_projection_backward(
        tensors: ProjectionTensors<Self>,
        recency: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> ProjectionTensors<Self> {
        let ProjectionTensors { x, weight, bias } = tensors;
        let [x, weight, bias, recency, grad] =
            [x, weight, bias, recency, grad].map(into_contiguous);
        let (rows, width) = (x.shape()[0], x.shape()[1]);
        let chunks = Chunks::of(rows);
        let d_x = wgsl::empty(&x, [rows, width]);
        let partial = wgsl::empty(&x, [chunks.count, 2 * width]);
        wgsl::launch(
            &BACKWARD,
            &[("WIDTH", width as u32)],
            wgsl::groups_of(chunks.count * width, BACKWARD.workgroup),
            &[&x, &recency, &weight, &bias, &grad, &d_x, &partial],
            &[rows as u32, chunks.rows as u32],
        );
        let part = |first: usize, shape: Shape| {
            Self::float_reshape(column_sums(&partial, first, width), shape)
        };
        ProjectionTensors {
            x: d_x,
            weight: part(0, weight.shape()),
            bias: part(width, bias.shape()),
        }
    }
}
