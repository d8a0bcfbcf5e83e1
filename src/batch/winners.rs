//! Which event writes a node's memory and mail: the last one in time order wins.
//!
//! Every node among the batch's sources and destinations is written exactly once, so the kernel
//! that writes needs neither atomics nor an order. Among equal times the event later in the file
//! wins; in a self loop the destination's side wins. Negatives never write. (TGL lets a
//! destination's row win over a source's whatever their times; that fault is not reproduced.)
//!
//! APAN's delivery of mails to sampled neighbours is not part of this.

use crate::batch::{EventBatch, Mfg};
use crate::graph::{NodeId, Timestamp};

/// One entry a written node, ascending by node; all columns have the same length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Winners {
    /// The node.
    pub node: Vec<NodeId>,
    /// Its row of the [`Mfg`] at its last event.
    pub row: Vec<i32>,
    /// The row of that event's other endpoint.
    pub peer_row: Vec<i32>,
    /// The event's row in [`Mfg::events`].
    pub event_row: Vec<i32>,
    /// The event's time, in ticks.
    pub time: Vec<Timestamp>,
}

impl Winners {
    /// The winners of `batch`, whose layout is `mfg`.
    ///
    /// # Panics
    /// If `mfg` was not built from the roots of `batch`.
    pub fn of(batch: &EventBatch, mfg: &Mfg) -> Winners {
        let events = batch.src.len();
        assert!(
            mfg.root_row.len() >= 2 * events,
            "the mfg lacks roots of the batch"
        );

        // Sorted by (node, event, side), a node's winner is its last write. Sides: 0 source,
        // 1 destination.
        let mut writes: Vec<(NodeId, u32, u32)> = Vec::with_capacity(2 * events);
        for (event, (&src, &dst)) in (0..).zip(batch.src.iter().zip(&batch.dst)) {
            writes.push((src, event, 0));
            writes.push((dst, event, 1));
        }
        writes.sort_unstable();

        let mut winners = Winners::default();
        for same_node in writes.chunk_by(|a, b| a.0 == b.0) {
            let &[.., (node, event, side)] = same_node else {
                continue;
            };
            let (event, side) = (event as usize, side as usize);
            winners.node.push(node);
            winners.row.push(mfg.root_row[side * events + event]);
            winners
                .peer_row
                .push(mfg.root_row[(1 - side) * events + event]);
            winners.event_row.push(event as i32);
            winners.time.push(batch.time[event]);
        }
        winners
    }
}
