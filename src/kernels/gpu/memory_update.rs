//! Launch that writes the rows of last writers to the node memory.

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, into_contiguous};

use super::wgsl::{self, KernelSpec, ROWS};
use crate::kernels::memory_update::MemoryUpdate;

/// `shaders/memory_update.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "memory_update",
    source: include_str!("../../../shaders/memory_update.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 3,
    variants: &[&[("WIDTH", 100)]],
};

impl MemoryUpdate for CubeBackend {
    fn memory_update(
        memory: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        last_writer: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let memory = wgsl::writable(memory);
        let [hidden, last_writer] = [hidden, last_writer].map(into_contiguous);
        let (width, last_writers) = (memory.shape()[1], last_writer.shape()[0]);
        wgsl::launch(
            &FORWARD,
            &[("WIDTH", width as u32)],
            wgsl::groups_of(last_writers * width, FORWARD.workgroup),
            &[&memory, &hidden, &last_writer],
            &[last_writers as u32],
        );
        memory
    }
}
