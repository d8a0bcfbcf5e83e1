//! Message flow graph: the layout of one sampled layer, ready for kernels.
//!
//! A *row* is something the memory updater computes once: a node ([`TimeDelta::Message`]) or a
//! (node, query time) pair ([`TimeDelta::Query`]). Roots and slots refer to rows, slots also to
//! *event rows* (edge features). All that depends on the data is worked out here: uniqueness,
//! indices, and for each row the list of its uses, so that a backward kernel sums what belongs to a
//! row in a fixed order, without atomics and without a sort.
//!
//! Invariants: rows are numbered by first use (roots in order, then slots in order), so nothing
//! depends on the order of a hash table; the lists of uses ascend; empty slots are -1, -1, 0 and
//! occur in no list.
//!
//! Rows hold no data here: no memory, features or mails are read.

use std::ops::Range;

use crate::batch::{EventBatch, TimeDelta};
use crate::graph::{EventId, NodeId, Timestamp};
use crate::sampling::Neighbors;

mod index_table;

use index_table::{KeyTable, NodeTable};

/// Lists of numbers, one list a row: row `r` has `items[offsets[r]..offsets[r + 1]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Csr {
    /// `[rows + 1]`.
    pub offsets: Vec<i32>,
    /// `[offsets[rows]]`.
    pub items: Vec<i32>,
}

impl Csr {
    /// Inverts an index array: list `r` holds, ascending, the positions at which `row_of` is `r`.
    /// Negative entries are in no list.
    pub fn invert(rows: usize, row_of: impl Iterator<Item = i32> + Clone) -> Csr {
        // Counting sort: counts, their prefix sums, then each position into its list's next place.
        let mut offsets = vec![0i32; rows + 1];
        for row in row_of.clone().filter(|&row| row >= 0) {
            offsets[row as usize + 1] += 1;
        }
        for row in 0..rows {
            offsets[row + 1] += offsets[row];
        }
        let mut items = vec![0; offsets[rows] as usize];
        let mut next = offsets.clone();
        for (position, row) in (0..).zip(row_of).filter(|&(_, row)| row >= 0) {
            let place = &mut next[row as usize];
            items[*place as usize] = position;
            *place += 1;
        }
        Csr { offsets, items }
    }

    /// List of row `row`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn list(&self, row: usize) -> &[i32] {
        &self.items[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

/// One sampled layer; see the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mfg {
    /// Number of roots.
    pub roots: usize,
    /// Slots a root.
    pub fanout: usize,
    /// `[rows]`: node of each row.
    pub node: Vec<NodeId>,
    /// `[rows]` with [`TimeDelta::Query`]: a root's query time, a neighbour's event time, in ticks.
    /// Empty with [`TimeDelta::Message`].
    pub query_time: Vec<Timestamp>,
    /// `[roots]`: row of each root.
    pub root_row: Vec<i32>,
    /// `[roots * fanout]`: (row, event row, bits of the f32 Δt = root's query time − event time, in
    /// the stream's unit); (-1, -1, 0) where the slot is empty.
    pub slots: Vec<[i32; 3]>,
    /// For each row the flat slots (`root * fanout + k`) that read it.
    pub slot_uses: Csr,
    /// For each row that a root reads the roots that do. Rows are numbered by first use, roots
    /// first, so these are the first rows.
    pub root_uses: Csr,
    /// `[event_rows]`: the batch's own events first (event row = position in the batch), then the
    /// other sampled events, ascending and distinct.
    pub events: Vec<EventId>,
}

/// Roots of a layer: those of an [`EventBatch`], or given one by one.
#[derive(Clone, Debug)]
pub struct MfgRoots<'a> {
    /// `[roots]`: the nodes.
    pub node: &'a [NodeId],
    /// `[roots]`: their query times, in ticks.
    pub time: &'a [Timestamp],
    /// The batch's own events: they get the first event rows, sampled or not.
    pub events: Range<usize>,
}

/// Tables that [`Mfg::build`] uses again and again, so that a batch costs no clearing and hardly an
/// allocation. What is in them never shows in a result.
#[derive(Clone, Debug)]
pub struct MfgScratch {
    nodes: NodeTable,
    keys: KeyTable<(NodeId, Timestamp)>,
    events: KeyTable<EventId>,
}

impl MfgScratch {
    /// Tables for a graph of `nodes` nodes: 8 bytes a node.
    pub fn new(nodes: usize) -> MfgScratch {
        MfgScratch {
            nodes: NodeTable::new(nodes),
            keys: KeyTable::default(),
            events: KeyTable::default(),
        }
    }
}

impl Mfg {
    /// Lays out the batch's roots (src ‖ dst ‖ neg) and what was sampled for them.
    ///
    /// `ticks_per_unit` turns differences of ticks into the stream's unit.
    ///
    /// # Panics
    /// If `neighbors` is not of these roots, or names a node that `scratch` was not made for.
    pub fn build(
        batch: &EventBatch,
        neighbors: &Neighbors,
        time_delta: TimeDelta,
        ticks_per_unit: i64,
        scratch: &mut MfgScratch,
    ) -> Mfg {
        let (node, time) = batch.roots();
        let roots = MfgRoots {
            node: &node,
            time: &time,
            events: batch.events.clone(),
        };
        Mfg::of_roots(roots, neighbors, time_delta, ticks_per_unit, scratch)
    }

    /// As [`Mfg::build`], for any roots, such as recorded ones.
    ///
    /// # Panics
    /// If `neighbors` is not of these roots, or names a node that `scratch` was not made for.
    pub fn of_roots(
        roots: MfgRoots<'_>,
        neighbors: &Neighbors,
        time_delta: TimeDelta,
        ticks_per_unit: i64,
        scratch: &mut MfgScratch,
    ) -> Mfg {
        assert_eq!(roots.node.len(), roots.time.len(), "one query time a root");
        assert_eq!(
            roots.node.len(),
            neighbors.len.len(),
            "neighbours of other roots"
        );
        let mut mfg = Mfg {
            roots: roots.node.len(),
            fanout: neighbors.fanout,
            slots: vec![[-1, -1, 0]; neighbors.node.len()],
            ..Mfg::default()
        };
        mfg.number_rows(&roots, neighbors, time_delta, scratch);
        mfg.number_events(&roots, neighbors, &mut scratch.events);
        mfg.fill_delta_t(roots.time, neighbors, ticks_per_unit);
        let rows = mfg.node.len();
        mfg.slot_uses = Csr::invert(rows, mfg.slots.iter().map(|slot| slot[0]));
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
        roots: &MfgRoots<'_>,
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
                for slot in valid_slots(neighbors).flat_map(|(_, slots)| slots) {
                    self.slots[slot][0] = table.row(neighbors.node[slot], &mut self.node);
                }
            }
            TimeDelta::Query => {
                let table = &mut scratch.keys;
                table.clear(self.roots + neighbors.node.len());
                let keys = roots.node.iter().copied().zip(roots.time.iter().copied());
                self.root_row.extend(keys.map(|key| table.index(key)));
                for slot in valid_slots(neighbors).flat_map(|(_, slots)| slots) {
                    self.slots[slot][0] = table.index((neighbors.node[slot], neighbors.time[slot]));
                }
                (self.node, self.query_time) = table.keys().iter().copied().unzip();
            }
        }
    }

    /// Fills `events` and the event rows of the slots.
    fn number_events(
        &mut self,
        roots: &MfgRoots<'_>,
        neighbors: &Neighbors,
        table: &mut KeyTable<EventId>,
    ) {
        let own = &roots.events;
        table.clear(neighbors.event.len());
        for slot in valid_slots(neighbors).flat_map(|(_, slots)| slots) {
            let event = neighbors.event[slot];
            self.slots[slot][1] = if own.contains(&event.index()) {
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
        for [_, event_row, _] in &mut self.slots {
            let first_use = *event_row - own.len() as i32;
            if first_use >= 0 {
                *event_row = rank[first_use as usize];
            }
        }
        self.events
            .extend(own.clone().map(|event| EventId(event as u32)));
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
                let delta_t = (ticks as f64 / ticks_per_unit as f64) as f32;
                self.slots[slot][2] = delta_t.to_bits().cast_signed();
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
