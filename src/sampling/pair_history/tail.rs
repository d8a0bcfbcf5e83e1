//! What came after an index was built: the newest events of nodes and pairs that had some since.
//!
//! The index of a stream never changes. A stream that is followed adds to this: per node and pair
//! that has a new event a list of those alone, with the decayed counts just after each. Sums begin
//! with those of the index, taken over the list once more in f64 as it was built, so that a stream
//! that grew gives the bits of one that was read whole.

use std::collections::HashMap;

use super::index::{Index, Past, decayed_after};
use super::statistic::SCALES;
use crate::graph::{EventId, NodeId, Timestamp};

/// The new events of a node or a pair.
#[derive(Clone, Debug)]
struct Newer {
    /// Events in the index.
    older: u32,
    events: Vec<EventId>,
    decayed: Vec<[f32; SCALES]>,
    /// Exact sums after the last event, and its time.
    sums: [f64; SCALES],
    last: Option<Timestamp>,
}

/// See the module. Lists lie apart, so that a map that grows moves little at once.
#[derive(Debug, Default)]
pub(super) struct Tail {
    of_node: HashMap<NodeId, Box<Newer>>,
    /// By the smaller of the two nodes, then the other.
    of_pair: HashMap<(NodeId, NodeId), Box<Newer>>,
}

impl Newer {
    /// After the events `older` of the index, whose times are `time`.
    fn after(
        older: impl Iterator<Item = EventId>,
        time: &[Timestamp],
        scales: [f64; SCALES],
    ) -> Newer {
        let mut newer = Newer {
            older: 0,
            events: Vec::new(),
            decayed: Vec::new(),
            sums: [0.0; SCALES],
            last: None,
        };
        for event in older {
            newer.pass(time[event.index()], scales);
            newer.older += 1;
        }
        newer
    }

    fn pass(&mut self, now: Timestamp, scales: [f64; SCALES]) {
        let gap = now - self.last.unwrap_or(now);
        decayed_after(&mut self.sums, gap, scales);
        self.last = Some(now);
    }

    fn push(&mut self, event: EventId, now: Timestamp, scales: [f64; SCALES]) {
        self.pass(now, scales);
        self.events.push(event);
        self.decayed.push(self.sums.map(|sum| sum as f32));
    }

    /// What is before `before`, unless that is the index's alone.
    fn past(&self, before: EventId) -> Option<Past> {
        let count = self.events.partition_point(|&event| event < before);
        let last = count.checked_sub(1)?;
        Some(Past {
            count: self.older + count as u32,
            last: Some((self.events[last], self.decayed[last])),
        })
    }
}

impl Tail {
    /// Adds the event `event` of `src` and `dst` at `now`, later in the stream than all that `index`
    /// and this have; `time` are the times of the events of `index`, at least.
    pub(super) fn push(
        &mut self,
        index: &Index,
        event: EventId,
        [src, dst]: [NodeId; 2],
        time: &[Timestamp],
        now: Timestamp,
        scales: [f64; SCALES],
    ) {
        let both = [src, dst];
        for &node in if src == dst { &both[..1] } else { &both[..] } {
            let newer = (self.of_node.entry(node))
                .or_insert_with(|| Newer::after(index.events_of_node(node), time, scales).into());
            newer.push(event, now, scales);
        }
        let pair = (src.min(dst), src.max(dst));
        let newer = (self.of_pair.entry(pair)).or_insert_with(|| {
            Newer::after(index.events_of_pair(pair.0, pair.1), time, scales).into()
        });
        newer.push(event, now, scales);
    }

    /// The events of `node` before `before`, if any of them is new.
    pub(super) fn of_node(&self, node: NodeId, before: EventId) -> Option<Past> {
        self.of_node.get(&node)?.past(before)
    }

    /// The meetings of two nodes before `before`, if any of them is new.
    pub(super) fn of_pair(&self, a: NodeId, b: NodeId, before: EventId) -> Option<Past> {
        self.of_pair.get(&(a.min(b), a.max(b)))?.past(before)
    }
}
