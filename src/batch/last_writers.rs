//! Which event writes a node's memory: the last one in time order wins.
//!
//! Every node among the batch's sources and destinations is written exactly once, so the kernel
//! that writes needs neither atomics nor an order. Among equal times the event later in the file
//! wins; in a self loop the destination's side wins. Negatives never write. (TGL lets a
//! destination's row win over a source's whatever their times; that fault is not reproduced.)
//!
//! Mail is not part of this: see [`crate::batch::mail_routing`].

use bytemuck::{Pod, Zeroable};

use crate::batch::EventBatch;
use crate::graph::NodeId;

/// A memory row that is written, as kernels read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct LastWriter {
    /// The node.
    pub node: NodeId,
    /// Row of the batch's updated rows.
    pub row: i32,
}

/// One entry a written node, ascending by node; both columns have the same length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWriters {
    /// The node.
    pub node: Vec<NodeId>,
    /// Its memory row at its last event.
    pub row: Vec<i32>,
}

impl LastWriters {
    /// The last writers of `batch`, whose roots src ‖ dst ‖ neg have the memory rows `root_row`; and
    /// the side that each is written as: 0 source, 1 destination.
    ///
    /// # Panics
    /// If `root_row` lacks roots of the batch.
    pub fn of(batch: &EventBatch, root_row: &[i32]) -> (LastWriters, Vec<u8>) {
        let events = batch.src.len();
        assert!(
            root_row.len() >= 2 * events,
            "the layout lacks roots of the batch"
        );

        // Sorted by node, event and side, a node's last writer is its last write; one number sorts fast. Sides:
        // 0 source, 1 destination.
        let write = |node: NodeId, event: usize, side: usize| {
            u64::from(node.0) << 32 | (2 * event + side) as u64
        };
        let mut writes: Vec<u64> = Vec::with_capacity(2 * events);
        for (event, (&src, &dst)) in batch.src.iter().zip(&batch.dst).enumerate() {
            writes.push(write(src, event, 0));
            writes.push(write(dst, event, 1));
        }
        writes.sort_unstable();

        let mut last_writers = LastWriters::default();
        let mut sides = Vec::new();
        for same_node in writes.chunk_by(|a, b| a >> 32 == b >> 32) {
            let last = same_node[same_node.len() - 1];
            let (event, side) = (last as u32 as usize / 2, last % 2);
            let root = side as usize * events + event;
            last_writers.node.push(NodeId((last >> 32) as u32));
            last_writers.row.push(root_row[root]);
            sides.push(side as u8);
        }
        (last_writers, sides)
    }
}
