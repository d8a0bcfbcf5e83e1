//! Write-back of a batch's winners to memory and mailbox.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, into_contiguous};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor};

use super::flex::{floats, floats_mut, ints};
use super::reference::rows;
use super::wgsl::{self, KernelSpec, ROWS};

/// `shaders/memory_update.wgsl`.
pub static FORWARD: KernelSpec = KernelSpec {
    name: "memory_update",
    source: include_str!("../../shaders/memory_update.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 5,
    variants: &[&[("MEMORY", 100), ("EDGE", 172)]],
};

/// Memory and mailbox tables, as burn's backends hand them over.
#[derive(ExtensionType)]
pub struct NodeTables<B: Backend> {
    memory: FloatTensor<B>,
    mailbox: FloatTensor<B>,
}

/// Dispatch of [`memory_update`] to the backends.
#[backend_extension(Cube, Flex)]
pub trait MemoryUpdate: Backend {
    /// See [`memory_update`].
    fn memory_update(
        memory: FloatTensor<Self>,
        mailbox: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        edge: FloatTensor<Self>,
        winner: IntTensor<Self>,
    ) -> NodeTables<Self>;
}

impl MemoryUpdate for CubeBackend {
    fn memory_update(
        memory: FloatTensor<Self>,
        mailbox: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        edge: FloatTensor<Self>,
        winner: IntTensor<Self>,
    ) -> NodeTables<Self> {
        let [memory, mailbox] = [memory, mailbox].map(wgsl::writable);
        let [hidden, edge, winner] = [hidden, edge, winner].map(into_contiguous);
        let (width, mail) = (memory.shape()[1], mailbox.shape()[1]);
        let winners = winner.shape()[0];
        wgsl::launch(
            &FORWARD,
            &[
                ("MEMORY", width as u32),
                ("EDGE", (mail - 2 * width) as u32),
            ],
            wgsl::groups_of(winners * (width + mail), FORWARD.workgroup),
            &[&memory, &mailbox, &hidden, &edge, &winner],
            &[winners as u32],
        );
        NodeTables { memory, mailbox }
    }
}

impl MemoryUpdate for Flex {
    fn memory_update(
        mut memory: FloatTensor<Self>,
        mut mailbox: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        edge: FloatTensor<Self>,
        winner: IntTensor<Self>,
    ) -> NodeTables<Self> {
        let (width, mail) = (memory.shape()[1], mailbox.shape()[1]);
        rows::memory_update(
            floats_mut(&mut memory),
            floats_mut(&mut mailbox),
            &floats(&hidden),
            &floats(&edge),
            &ints(&winner),
            width,
            mail - 2 * width,
        );
        NodeTables { memory, mailbox }
    }
}

/// Writes the updated row and the new mail `[own row | peer's row | edge features]` of
/// each winner, and returns the tables.
///
/// `memory` is `[nodes, width]`, `mailbox` `[nodes, 2 width + edge]`, `hidden`
/// `[rows, width]`, `edge` `[event rows, edge]`, `winner` `[winners, 4]` with (node, row,
/// peer's row, event row); nodes are distinct, and an event row of -1 writes memory alone. In place where the caller holds the only
/// handle of a table, else on a copy.
pub fn memory_update(
    memory: Tensor<2>,
    mailbox: Tensor<2>,
    hidden: Tensor<2>,
    edge: Tensor<2>,
    winner: Tensor<2, Int>,
) -> (Tensor<2>, Tensor<2>) {
    let tables = Dispatch::memory_update(
        memory.into_dispatch(),
        mailbox.into_dispatch(),
        hidden.into_dispatch(),
        edge.into_dispatch(),
        winner.into_dispatch(),
    );
    (
        Tensor::from_dispatch(tables.memory),
        Tensor::from_dispatch(tables.mailbox),
    )
}
