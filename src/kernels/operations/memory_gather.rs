//! Memory and mail rows of the wanted nodes, in one pass.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor};

use crate::kernels::costs;
use crate::kernels::cpu::rows;
use crate::kernels::flex::{floats, from_floats, ints};
use crate::profiler::{self, Kind};

/// Memory rows and mail rows, as burn's backends hand them over.
#[derive(ExtensionType)]
pub(crate) struct GatheredRows<B: Backend> {
    pub(crate) memory: FloatTensor<B>,
    pub(crate) mail: FloatTensor<B>,
}

/// Dispatch of [`memory_gather`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub(crate) trait MemoryGather: Backend {
    /// See [`memory_gather`].
    fn memory_gather(
        memory: FloatTensor<Self>,
        mailbox: FloatTensor<Self>,
        node: IntTensor<Self>,
    ) -> GatheredRows<Self>;
}

impl MemoryGather for Flex {
    fn memory_gather(
        memory: FloatTensor<Self>,
        mailbox: FloatTensor<Self>,
        node: IntTensor<Self>,
    ) -> GatheredRows<Self> {
        let (width, mail) = (memory.shape()[1], mailbox.shape()[1]);
        let node = ints(&node);
        let gather = |table: &[f32], width| {
            let rows = rows::gather_rows(table, &node, width);
            from_floats(rows, [node.len(), width])
        };
        GatheredRows {
            memory: gather(&floats(&memory), width),
            mail: gather(&floats(&mailbox), mail),
        }
    }
}

/// Memory rows `[rows, width]` and mail rows `[rows, mail width]` of the nodes `node`
/// (`[rows]`) out of the tables `memory` `[nodes, width]` and `mailbox`
/// `[nodes, mail width]`.
///
/// Not differentiable: memory enters a training iteration as a constant.
pub fn memory_gather(
    memory: Tensor<2>,
    mailbox: Tensor<2>,
    node: Tensor<1, Int>,
) -> (Tensor<2>, Tensor<2>) {
    let _operation = profiler::operation("memory_gather", Kind::Memory, || {
        costs::gather(node.dims()[0], memory.dims()[1] + mailbox.dims()[1])
    });
    let rows = Dispatch::memory_gather(
        memory.into_dispatch(),
        mailbox.into_dispatch(),
        node.into_dispatch(),
    );
    (
        Tensor::from_dispatch(rows.memory),
        Tensor::from_dispatch(rows.mail),
    )
}
