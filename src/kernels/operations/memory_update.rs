//! Write-back of a batch's last writers to the node memory.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor};

use crate::kernels::costs;
use crate::kernels::cpu::rows;
use crate::kernels::flex::{floats, floats_mut, ints};
use crate::profiler::{self, Kind};

/// Dispatch of [`memory_update`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub(crate) trait MemoryUpdate: Backend {
    /// See [`memory_update`].
    fn memory_update(
        memory: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        last_writer: IntTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl MemoryUpdate for Flex {
    fn memory_update(
        mut memory: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        last_writer: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let width = memory.shape()[1];
        rows::memory_update(
            floats_mut(&mut memory),
            &floats(&hidden),
            bytemuck::cast_slice(&ints(&last_writer)),
            width,
        );
        memory
    }
}

/// Writes the updated row of each last writer and returns the table.
///
/// `memory` is `[nodes, width]`, `hidden` `[rows, width]`, `last writer` `[last writers, 2]` with
/// (node, row); nodes are distinct. In place where the caller holds the only handle of the
/// table, else on a copy.
pub fn memory_update(
    memory: Tensor<2>,
    hidden: Tensor<2>,
    last_writer: Tensor<2, Int>,
) -> Tensor<2> {
    let _operation = profiler::operation("memory_update", Kind::Memory, || {
        costs::gather(last_writer.dims()[0], memory.dims()[1])
    });
    Tensor::from_dispatch(Dispatch::memory_update(
        memory.into_dispatch(),
        hidden.into_dispatch(),
        last_writer.into_dispatch(),
    ))
}
