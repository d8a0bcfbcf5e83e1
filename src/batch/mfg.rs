//! Message flow graph: the layout of one sampled layer, ready for kernels.
//!
//! A *row* is something the memory updater computes once: a node ([`TimeDelta::Message`]) or a
//! (node, query time) pair ([`TimeDelta::Query`]). Roots and slots refer to rows, slots also to
//! *event rows* (edge features). All that depends on the data is worked out here: uniqueness,
//! indices, and for each row the list of its uses, so that a backward kernel sums what belongs to a
//! row in a fixed order, without atomics and without a sort.
//!
//! Invariants: rows are numbered by first use (roots in order, then slots in order), so nothing
//! depends on the order of a hash table; the lists of uses ascend; empty slots
//! occur in no list.
//!
//! Rows hold no data here: no memory, features or mail is read.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::batch::TimeDelta;
use crate::graph::{Csr, EventId, NodeId, Queries, Timestamp};
use crate::sampling::Neighbors;

mod index_table;

use index_table::{KeyTable, NodeTable};

/// One place for a past event of a root, as kernels read it.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Slot {
    /// Row of the neighbour, -1 where the slot is empty.
    pub row: i32,
    /// Event row, -1 where the slot is empty.
    pub event: i32,
    /// Root's query time − event time, in the stream's unit.
    pub delta_t: f32,
    /// Row of the root, which asks.
    pub query: i32,
}

impl Slot {
    /// No past event, asked for by the root in row `query`.
    pub fn empty(query: i32) -> Slot {
        Slot {
            row: -1,
            event: -1,
            delta_t: 0.0,
            query,
        }
    }
}

/// One sampled layer; see the module's text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mfg {
    /// Number of roots.
    pub roots: usize,
    /// Slots per root.
    pub fanout: usize,
    /// `[rows]`: node of each row.
    pub node: Vec<NodeId>,
    /// `[rows]` with [`TimeDelta::Query`]: a root's query time, a neighbour's event time, in ticks.
    /// Empty with [`TimeDelta::Message`].
    pub query_time: Vec<Timestamp>,
    /// `[roots]`: row of each root.
    pub root_row: Vec<i32>,
    /// `[roots * fanout]`: the past events of each root.
    pub slots: Vec<Slot>,
    /// For each row the flat slots (`root * fanout + k`) that read it.
    pub slot_uses: Csr,
    /// For each row that a root reads the roots that do. Rows are numbered by first use, roots
    /// first, so these are the first rows.
    pub root_uses: Csr,
    /// `[event_rows]`: the batch's own events first (event row = position in the batch), then the
    /// other sampled events, ascending and distinct.
    pub events: Vec<EventId>,
}

/// Tables that [`Mfg::of`] uses again and again, so that a batch costs no clearing and hardly an
/// allocation. What is in them never shows in a result.
#[derive(Clone, Debug)]
pub struct MfgScratch {
    nodes: NodeTable,
    keys: KeyTable<(NodeId, Timestamp)>,
    events: KeyTable<EventId>,
}

impl MfgScratch {
    /// Tables for a graph of `nodes` nodes: 8 bytes per node.
    pub fn new(nodes: usize) -> MfgScratch {
        MfgScratch {
            nodes: NodeTable::new(nodes),
            keys: KeyTable::default(),
            events: KeyTable::default(),
        }
    }
}

impl Mfg {
    /// Lays out `roots` and what was sampled for them. The batch's own `events` get the first event
    /// rows, sampled or not; `ticks_per_unit` turns differences of ticks into the stream's unit.
    ///
    /// # Panics
    /// If `neighbors` is not of these roots, or names a node that `scratch` was not made for.
    pub fn of(
        roots: Queries<'_>,
        events: Range<usize>,
        neighbors: &Neighbors,
        time_delta: TimeDelta,
        ticks_per_unit: i64,
        scratch: &mut MfgScratch,
    ) -> Mfg {
        assert_eq!(
            roots.node.len(),
            roots.time.len(),
            "one query time per root"
        );
        assert_eq!(
            roots.node.len(),
            neighbors.len.len(),
            "neighbours of other roots"
        );
        let mut mfg = Mfg {
            roots: roots.node.len(),
            fanout: neighbors.fanout,
            slots: Vec::with_capacity(neighbors.node.len()),
            ..Mfg::default()
        };
        mfg.number_rows(roots, neighbors, time_delta, scratch);
        mfg.number_events(events, neighbors, &mut scratch.events);
        mfg.fill_delta_t(roots.time, neighbors, ticks_per_unit);
        let rows = mfg.node.len();
        mfg.slot_uses = Csr::invert(rows, mfg.slots.iter().map(|slot| slot.row));
        let of_roots = mfg.root_row.iter().max().map_or(0, |&row| row as usize + 1);
        mfg.root_uses = Csr::invert(of_roots, mfg.root_row.iter().copied());
        mfg
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.node.len()
    }

    /// Fills `node`, `query_time`, `root_row` and the rows of the slots.
    fn number_rows(
        &mut self,
        roots: Queries<'_>,
        neighbors: &Neighbors,
        time_delta: TimeDelta,
        scratch: &mut MfgScratch,
    ) {
        match time_delta {
            TimeDelta::Message => {
                let table = &mut scratch.nodes;
                table.clear();
                self.root_row
                    .extend(roots.node.iter().map(|&n| table.row(n, &mut self.node)));
                self.empty_slots();
                for slot in valid_slots(neighbors).flat_map(|(_, slots)| slots) {
                    self.slots[slot].row = table.row(neighbors.node[slot], &mut self.node);
                }
            }
            TimeDelta::Query => {
                let table = &mut scratch.keys;
                table.clear(self.roots + neighbors.node.len());
                let keys = roots.node.iter().copied().zip(roots.time.iter().copied());
                self.root_row.extend(keys.map(|key| table.index(key)));
                self.empty_slots();
                for slot in valid_slots(neighbors).flat_map(|(_, slots)| slots) {
                    self.slots[slot].row =
                        table.index((neighbors.node[slot], neighbors.time[slot]));
                }
                (self.node, self.query_time) = table.keys().iter().copied().unzip();
            }
        }
    }

    /// Makes the slots of all roots, which have their rows.
    fn empty_slots(&mut self) {
        for &query in &self.root_row {
            let slots = std::iter::repeat_n(Slot::empty(query), self.fanout);
            self.slots.extend(slots);
        }
    }

    /// Fills `events` and the event rows of the slots.
    fn number_events(
        &mut self,
        own: Range<usize>,
        neighbors: &Neighbors,
        table: &mut KeyTable<EventId>,
    ) {
        table.clear(neighbors.event.len());
        for slot in valid_slots(neighbors).flat_map(|(_, slots)| slots) {
            let event = neighbors.event[slot];
            self.slots[slot].event = if own.contains(&event.index()) {
                (event.index() - own.start) as i32
            } else {
                // Numbered by first use for now, and beyond the own events.
                own.len() as i32 + table.index(event)
            };
        }

        let mut ascending: Vec<(EventId, u32)> = table.keys().iter().copied().zip(0..).collect();
        ascending.sort_unstable();
        let mut rank = vec![0; ascending.len()];
        for (position, &(_, first_use)) in (0i32..).zip(&ascending) {
            rank[first_use as usize] = own.len() as i32 + position;
        }
        for slot in &mut self.slots {
            let first_use = slot.event - own.len() as i32;
            if first_use >= 0 {
                slot.event = rank[first_use as usize];
            }
        }
        self.events.extend(own.map(|event| EventId(event as u32)));
        self.events
            .extend(ascending.iter().map(|&(event, _)| event));
    }

    /// Fills Δt: the difference is taken exactly, in ticks, and only the result is rounded to f32.
    fn fill_delta_t(
        &mut self,
        root_time: &[Timestamp],
        neighbors: &Neighbors,
        ticks_per_unit: i64,
    ) {
        for (root, slots) in valid_slots(neighbors) {
            for slot in slots {
                let ticks = root_time[root] - neighbors.time[slot];
                self.slots[slot].delta_t = (ticks as f64 / ticks_per_unit as f64) as f32;
            }
        }
    }
}

/// Each root with the range of its valid slots.
fn valid_slots(neighbors: &Neighbors) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
    let fanout = neighbors.fanout;
    (neighbors.len.iter().enumerate())
        .map(move |(root, &len)| (root, root * fanout..root * fanout + len as usize))
}

#[cfg(test)]
mod tests;
