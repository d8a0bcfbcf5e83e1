//! Launches of the scale that keeps a step's gradients below a limit: sums of squares of seven gradients each, and
//! one that adds them.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, into_contiguous};

use super::wgsl::{self, FINITE, KernelSpec, ROWS};
use crate::kernels::clip_scale::{ClipScale, SquaredGradients};
use crate::kernels::cpu::clip_scale::CHUNK;

/// `shaders/gradient_squares.wgsl`.
pub(crate) static SQUARES: KernelSpec = KernelSpec {
    name: "gradient_squares",
    source: include_str!("../../../shaders/gradient_squares.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 8,
    variants: &[],
};

/// `shaders/clip_scale.wgsl`.
pub(crate) static SCALE: KernelSpec = KernelSpec {
    name: "clip_scale",
    source: include_str!("../../../shaders/clip_scale.wgsl"),
    shared: &[FINITE],
    workgroup: 64,
    storage_buffers: 2,
    variants: &[],
};

impl ClipScale for CubeBackend {
    fn gradient_squares(
        sums: FloatTensor<Self>,
        gradients: SquaredGradients<Self>,
        first: usize,
    ) -> FloatTensor<Self> {
        let sums = wgsl::writable(sums);
        let [a, b, c, d, e, f, g] = gradients.all().map(into_contiguous);
        let numbers = [&a, &b, &c, &d, &e, &f, &g].map(|of| of.shape().num_elements());
        let mut end = 0;
        let ends = numbers.map(|numbers| {
            end += numbers.div_ceil(CHUNK);
            end as u32
        });
        let mut sizes = vec![first as u32];
        sizes.extend(numbers.map(|numbers| numbers as u32));
        sizes.extend(ends);
        let buffers = [&sums, &a, &b, &c, &d, &e, &f, &g];
        wgsl::launch(&SQUARES, &[], end, &buffers, &sizes);
        sums
    }

    fn scale_of(
        moments: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        largest: f32,
    ) -> FloatTensor<Self> {
        let (moments, sums) = (wgsl::writable(moments), into_contiguous(sums));
        let [of, last] = [&sums, &moments].map(|tensor| tensor.shape().num_elements() as u32);
        let sizes = [of, last - 1, largest.to_bits()];
        wgsl::launch(&SCALE, &[], 1, &[&sums, &moments], &sizes);
        moments
    }
}
