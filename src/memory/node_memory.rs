//! Node memory wherever a run keeps it.

use burn::tensor::Tensor;

use super::device::DeviceMemory;
use super::host::HostMemory;
use super::node_times::NodeTimes;
use super::{BegunFetch, FetchedMemory, MemoryCommit, MemoryError, MemoryRequest, MemoryStore};
use crate::kernels::packing::Packing;

/// One of the two residencies; both give the same results.
#[derive(Debug, Clone)]
pub enum NodeMemory {
    /// In the device's memory.
    Device(Box<DeviceMemory>),
    /// In RAM.
    Host(Box<HostMemory>),
}

impl NodeMemory {
    /// Width of a memory row.
    pub fn width(&self) -> usize {
        match self {
            NodeMemory::Device(memory) => memory.width(),
            NodeMemory::Host(memory) => memory.width(),
        }
    }

    /// When its rows were written and its mail was.
    pub fn node_times(&self) -> &NodeTimes {
        match self {
            NodeMemory::Device(memory) => memory.node_times(),
            NodeMemory::Host(memory) => memory.node_times(),
        }
    }

    fn store(&self) -> &dyn MemoryStore {
        match self {
            NodeMemory::Device(memory) => &**memory,
            NodeMemory::Host(memory) => &**memory,
        }
    }

    fn store_mut(&mut self) -> &mut dyn MemoryStore {
        match self {
            NodeMemory::Device(memory) => &mut **memory,
            NodeMemory::Host(memory) => &mut **memory,
        }
    }
}

impl MemoryStore for NodeMemory {
    fn fetch(&self, request: MemoryRequest<'_>) -> FetchedMemory {
        self.store().fetch(request)
    }

    fn begin_fetch(&self, request: MemoryRequest<'_>, packing: &mut Packing) -> BegunFetch<'_> {
        self.store().begin_fetch(request, packing)
    }

    fn commit(&mut self, commit: MemoryCommit) -> Result<(), MemoryError> {
        self.store_mut().commit(commit)
    }

    fn node_times(&self) -> &NodeTimes {
        self.store().node_times()
    }

    fn version(&self) -> u64 {
        self.store().version()
    }

    fn watched(&self) -> Tensor<1> {
        self.store().watched()
    }

    fn reset(&mut self) {
        self.store_mut().reset();
    }
}
