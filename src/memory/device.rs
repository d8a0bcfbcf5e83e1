//! Node memory in the device's own memory.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::clock::NodeClock;
use super::{FetchedMemory, MemoryCommit, MemoryStore};
use crate::graph::{NodeId, Timestamp};
use crate::kernels::memory_gather::memory_gather;
use crate::kernels::memory_update::memory_update;

/// Memory rows and mails as two tables on the device, times on the host.
#[derive(Debug, Clone)]
pub struct DeviceMemory {
    memory: Tensor<2>,
    mailbox: Tensor<2>,
    clock: NodeClock,
    version: u64,
}

impl DeviceMemory {
    /// Zero rows for `nodes` nodes on `device` (without autodiff: memory is a constant of
    /// an iteration).
    pub fn new(
        nodes: usize,
        width: usize,
        mail_width: usize,
        clock: NodeClock,
        device: &Device,
    ) -> DeviceMemory {
        DeviceMemory {
            memory: Tensor::zeros([nodes, width], device),
            mailbox: Tensor::zeros([nodes, mail_width], device),
            clock,
            version: 0,
        }
    }

    /// The tables `[nodes, width]` and `[nodes, mail width]`.
    pub fn tables(&self) -> (Tensor<2>, Tensor<2>) {
        (self.memory.clone(), self.mailbox.clone())
    }
}

impl MemoryStore for DeviceMemory {
    fn fetch(&self, node: &[NodeId], query_time: &[Timestamp]) -> FetchedMemory {
        let index: Vec<i32> = node.iter().map(|node| node.0 as i32).collect();
        let index = Tensor::<1, Int>::from_data(
            TensorData::new(index, [node.len()]),
            &self.memory.device(),
        );
        let (memory, mail) = memory_gather(self.memory.clone(), self.mailbox.clone(), index);
        FetchedMemory {
            memory,
            mail,
            times: self.clock.fetch(node, query_time),
        }
    }

    fn commit(&mut self, commit: MemoryCommit<'_>) {
        let winners = commit.winners;
        let mut fields: Vec<i32> = (0..winners.node.len())
            .flat_map(|i| {
                [
                    winners.node[i].0 as i32,
                    winners.row[i],
                    winners.peer_row[i],
                    winners.event_row[i],
                ]
            })
            .collect();
        for (node, row) in &commit.times.kept {
            // Winners ascend by node.
            if winners.node.binary_search(node).is_err() {
                fields.extend([node.0 as i32, *row as i32, -1, -1]);
            }
        }
        let device = self.memory.device();
        let entries = fields.len() / 4;
        let fields = TensorData::new(fields, [entries, 4]);
        let winner = Tensor::<2, Int>::from_data(fields, &device);
        // Hand over the only handles of the tables, so that they are written in place.
        let nothing = || Tensor::<2>::empty([0, 0], &device);
        let memory = std::mem::replace(&mut self.memory, nothing());
        let mailbox = std::mem::replace(&mut self.mailbox, nothing());
        (self.memory, self.mailbox) =
            memory_update(memory, mailbox, commit.memory, commit.edge, winner);
        self.clock.commit(winners, commit.times);
        self.version += 1;
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn reset(&mut self) {
        self.memory = self.memory.zeros_like();
        self.mailbox = self.mailbox.zeros_like();
        self.clock.reset();
        self.version = 0;
    }
}
