//! Launches of the scale that keeps a step's gradients below a limit: one for the sums of squares of all gradients
//! that lie in seven memories, and one that adds them.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};

use super::memories::Memories;
use super::wgsl::{self, FINITE, KernelSpec, ROWS, TOTAL};
use crate::kernels::clip_scale::ClipScale;
use crate::kernels::cpu::clip_scale::CHUNK;
use crate::kernels::float_list::FloatList;

/// Memories that a launch of the squares binds beside the sums.
const SOURCES: usize = 7;

/// Most gradients of a launch.
const GRADIENTS: usize = 32;

/// `shaders/gradient_squares.wgsl`.
pub(crate) static SQUARES: KernelSpec = KernelSpec {
    name: "gradient_squares",
    source: include_str!("../../../shaders/gradient_squares.wgsl"),
    shared: &[ROWS, TOTAL],
    workgroup: 64,
    storage_buffers: 1 + SOURCES as u32,
    variants: &[&[("GRADIENTS", GRADIENTS as u32)]],
};

/// `shaders/clip_scale.wgsl`.
pub(crate) static SCALE: KernelSpec = KernelSpec {
    name: "clip_scale",
    source: include_str!("../../../shaders/clip_scale.wgsl"),
    shared: &[FINITE, TOTAL],
    workgroup: 64,
    storage_buffers: 2,
    variants: &[],
};

/// Gradients that are gathered until no more fit into a launch.
#[derive(Default)]
struct Launch {
    sources: Memories,
    /// Four numbers for each gradient, as the shader has them.
    table: Vec<u32>,
    /// Chunks of these, and of those of the launches before.
    chunks: usize,
    before: usize,
}

impl Launch {
    /// Launches what was gathered, if there is anything.
    fn submit(&mut self, sums: &CubeTensor) {
        let mut sizes = vec![self.before as u32, 0, 0, 0];
        sizes.append(&mut self.table);
        sizes.resize(4 + 4 * GRADIENTS, 0);
        let mut buffers = vec![sums];
        buffers.extend(self.sources.filled(SOURCES, sums));
        let constants = [("GRADIENTS", GRADIENTS as u32)];
        wgsl::launch(&SQUARES, &constants, self.chunks, &buffers, &sizes);
        *self = Launch {
            before: self.before + self.chunks,
            ..Launch::default()
        };
    }
}

impl ClipScale for CubeBackend {
    fn gradient_squares(sums: FloatTensor<Self>, gradients: FloatList<Self>) -> FloatTensor<Self> {
        let sums = wgsl::writable(sums);
        let mut launch = Launch::default();
        for gradient in gradients.0.into_iter().map(into_contiguous) {
            let numbers = gradient.shape().num_elements();
            if numbers == 0 {
                continue;
            }
            if launch.sources.with(&[&gradient]) > SOURCES || launch.table.len() == 4 * GRADIENTS {
                launch.submit(&sums);
            }
            let at = launch.sources.place(&gradient);
            launch.chunks += numbers.div_ceil(CHUNK);
            let of = [launch.chunks, numbers, at.memory, at.first];
            launch.table.extend(of.map(|number| number as u32));
        }
        launch.submit(&sums);
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
