//! Launch that gathers memory and mail rows in one pass.

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, into_contiguous};

use super::wgsl::{self, KernelSpec, ROWS};
use crate::kernels::memory_gather::{GatheredRows, MemoryGather};

/// `shaders/memory_gather.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "memory_gather",
    source: include_str!("../../../shaders/memory_gather.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 5,
    variants: &[&[("MEMORY", 100), ("MAIL", 372)]],
};

impl MemoryGather for CubeBackend {
    fn memory_gather(
        memory: FloatTensor<Self>,
        mailbox: FloatTensor<Self>,
        node: IntTensor<Self>,
    ) -> GatheredRows<Self> {
        let [memory, mailbox, node] = [memory, mailbox, node].map(into_contiguous);
        let (width, mail) = (memory.shape()[1], mailbox.shape()[1]);
        let rows = node.shape()[0];
        let memory_rows = wgsl::empty(&memory, [rows, width]);
        let mail_rows = wgsl::empty(&memory, [rows, mail]);
        wgsl::launch(
            &FORWARD,
            &[("MEMORY", width as u32), ("MAIL", mail as u32)],
            wgsl::groups_of(rows * (width + mail), FORWARD.workgroup),
            &[&memory, &mailbox, &node, &memory_rows, &mail_rows],
            &[rows as u32],
        );
        GatheredRows {
            memory: memory_rows,
            mail: mail_rows,
        }
    }
}
