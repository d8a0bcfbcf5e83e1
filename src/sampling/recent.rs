//! The most recent neighbours: the newest `fanout` events strictly before the query.
//!
//! Deterministic, so the key is not used. Among equal times the event later in the file is newer.

use crate::graph::{EventId, Queries, Tcsr};
use crate::sampling::{NeighborSampler, Neighbors, ROOTS_PER_CHUNK, SampleKey, fill_slots};

/// Samples the newest `fanout` past events of each root.
#[derive(Clone, Copy, Debug)]
pub struct Recent {
    /// Events per root at most.
    pub fanout: usize,
}

impl NeighborSampler for Recent {
    fn sample(
        &self,
        graph: &Tcsr,
        roots: Queries<'_>,
        hidden_from: Option<EventId>,
        _key: SampleKey,
    ) -> Neighbors {
        assert_eq!(
            roots.node.len(),
            roots.time.len(),
            "one query time per root"
        );
        fill_slots(roots.node.len(), self.fanout, |first, slots| {
            // All searches come before all copies: the searches are chains of cache misses that do
            // not depend on one another, and in a loop of their own the processor overlaps them.
            let mut starts = [0; ROOTS_PER_CHUNK];
            for (root, len) in slots.len.iter_mut().enumerate() {
                let (node, time) = (roots.node[first + root], roots.time[first + root]);
                let past = graph.past(node, time, hidden_from);
                let taken = past.len().min(self.fanout);
                starts[root] = past.end - taken;
                *len = taken as u32;
            }
            for (root, &len) in slots.len.iter().enumerate() {
                let taken = graph.slice(starts[root]..starts[root] + len as usize);
                let base = root * self.fanout;
                let range = base..base + len as usize;
                copy_reversed(taken.neighbor, &mut slots.node[range.clone()]);
                copy_reversed(taken.event, &mut slots.event[range.clone()]);
                copy_reversed(taken.time, &mut slots.time[range]);
            }
        })
    }
}

/// Copies oldest-first into newest-first.
#[inline]
fn copy_reversed<T: Copy>(from: &[T], to: &mut [T]) {
    for (to, &from) in to.iter_mut().zip(from.iter().rev()) {
        *to = from;
    }
}
