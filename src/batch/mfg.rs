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
use crate::batch::index_table::{KeyTable, NodeTable};
use crate::graph::{Csr, EventId, NodeId, Queries, Timestamp};
use crate::parallel::{self, LINE};
use crate::sampling::Neighbors;

mod event_set;

use event_set::EventSet;

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

/// Roots whose slots a task writes.
const ROOTS: usize = 128;

/// Tables that [`Mfg::of`] uses again and again, so that a batch costs no clearing and hardly an
/// allocation. What is in them never shows in a result.
#[derive(Clone, Debug)]
pub struct MfgScratch {
    nodes: NodeTable,
    keys: KeyTable<(NodeId, Timestamp)>,
    events: EventSet,
}

impl MfgScratch {
    /// Tables for a graph of `nodes` nodes: 8 bytes per node.
    pub fn new(nodes: usize) -> MfgScratch {
        MfgScratch {
            nodes: NodeTable::new(nodes),
            keys: KeyTable::default(),
            events: EventSet::default(),
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
        let MfgScratch {
            nodes,
            keys,
            events: others,
        } = scratch;
        let part = parallel::part("rows and events");
        // Side by side: each number depends on those before it.
        let (rows, ascending) = parallel::both(
            || match time_delta {
                TimeDelta::Message => Rows::by_node(roots, neighbors, nodes),
                TimeDelta::Query => Rows::by_query(roots, neighbors, keys),
            },
            || sampled_events(neighbors, &events, others),
        );
        drop(part);
        let _part = parallel::part("slots and uses");
        let numbers = Numbers {
            roots,
            neighbors,
            rows: &rows,
            own: events.clone(),
            others,
            ticks_per_unit,
        };
        let (slots, [slot_uses, root_uses]) = parallel::both(|| numbers.slots(), || rows.uses());
        parallel::alone(|| (size_of::<EventId>() * (events.len() + 2 * ascending.len())) as u64);
        let own = events.map(|event| EventId(event as u32));
        Mfg {
            roots: roots.node.len(),
            fanout: neighbors.fanout,
            events: own.chain(ascending).collect(),
            node: rows.node,
            query_time: rows.query_time,
            root_row: rows.of_roots,
            slots,
            slot_uses,
            root_uses,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.node.len()
    }
}

/// Rows of a layer, numbered by first use.
struct Rows {
    /// See [`Mfg::node`].
    node: Vec<NodeId>,
    /// See [`Mfg::query_time`].
    query_time: Vec<Timestamp>,
    /// `[roots]`.
    of_roots: Vec<i32>,
    /// `[roots * fanout]`, -1 where a slot is empty.
    of_slots: Vec<i32>,
}

impl Rows {
    /// One for each node.
    fn by_node(roots: Queries<'_>, neighbors: &Neighbors, table: &mut NodeTable) -> Rows {
        Rows::count(roots, neighbors);
        let mut node = Vec::new();
        table.clear();
        let of_roots = roots
            .node
            .iter()
            .map(|&n| table.row(n, &mut node))
            .collect();
        let mut of_slots = vec![-1; neighbors.node.len()];
        for slot in valid_slots(neighbors).flat_map(|(_, slots)| slots) {
            of_slots[slot] = table.row(neighbors.node[slot], &mut node);
        }
        Rows {
            node,
            query_time: Vec::new(),
            of_roots,
            of_slots,
        }
    }

    /// One for each node and query time.
    fn by_query(
        roots: Queries<'_>,
        neighbors: &Neighbors,
        table: &mut KeyTable<(NodeId, Timestamp)>,
    ) -> Rows {
        Rows::count(roots, neighbors);
        table.clear(roots.node.len() + neighbors.node.len());
        let keys = roots.node.iter().copied().zip(roots.time.iter().copied());
        let of_roots = keys.map(|key| table.index(key)).collect();
        let mut of_slots = vec![-1; neighbors.node.len()];
        for slot in valid_slots(neighbors).flat_map(|(_, slots)| slots) {
            of_slots[slot] = table.index((neighbors.node[slot], neighbors.time[slot]));
        }
        let (node, query_time) = table.keys().iter().copied().unzip();
        Rows {
            node,
            query_time,
            of_roots,
            of_slots,
        }
    }
}

impl Rows {
    /// Counts the task that makes them.
    fn count(roots: Queries<'_>, neighbors: &Neighbors) {
        parallel::task(|| ((roots.node.len() + neighbors.node.len()) * LINE) as u64);
    }

    /// Slots that read each row, and roots that read each of those that roots read.
    fn uses(&self) -> [Csr; 2] {
        parallel::task(|| ((self.of_slots.len() + self.of_roots.len()) * LINE) as u64);
        let read = self.of_roots.iter().max();
        let read = read.map_or(0, |&row| row as usize + 1);
        [
            Csr::invert(self.node.len(), self.of_slots.iter().copied()),
            Csr::invert(read, self.of_roots.iter().copied()),
        ]
    }
}

/// The events that were sampled, but for the batch's `own`, distinct and ascending; `set` has them then.
fn sampled_events(neighbors: &Neighbors, own: &Range<usize>, set: &mut EventSet) -> Vec<EventId> {
    let slots = neighbors.event.len();
    parallel::task(|| (slots * LINE) as u64);
    let sampled = valid_slots(neighbors).flat_map(|(_, slots)| &neighbors.event[slots]);
    let others = sampled
        .copied()
        .filter(|event| !own.contains(&event.index()));
    set.fill(others, slots)
}

/// What slots are made of.
struct Numbers<'a> {
    roots: Queries<'a>,
    neighbors: &'a Neighbors,
    rows: &'a Rows,
    /// The batch's own events, which have the first event rows.
    own: Range<usize>,
    /// All others.
    others: &'a EventSet,
    ticks_per_unit: i64,
}

impl Numbers<'_> {
    /// The slots of all roots.
    fn slots(&self) -> Vec<Slot> {
        let fanout = self.neighbors.fanout;
        let mut slots = vec![Slot::zeroed(); self.neighbors.node.len()];
        parallel::alone(|| size_of_val(&*slots) as u64);
        let chunks = slots.chunks_mut(ROOTS * fanout.max(1)).enumerate();
        parallel::for_each(chunks.collect(), |(chunk, slots)| {
            parallel::task(|| (slots.len() * (LINE + size_of::<Slot>())) as u64);
            for (root, slots) in (chunk * ROOTS..).zip(slots.chunks_exact_mut(fanout)) {
                self.fill(root, slots);
            }
        });
        slots
    }

    /// Writes the slots of a root.
    fn fill(&self, root: usize, slots: &mut [Slot]) {
        let Numbers {
            roots,
            neighbors,
            rows,
            own,
            ..
        } = self;
        let query = rows.of_roots[root];
        let (valid, empty) = slots.split_at_mut(neighbors.len[root] as usize);
        for (place, slot) in (root * neighbors.fanout..).zip(valid) {
            let event = neighbors.event[place];
            // The difference is taken exactly, in ticks, and only the result is rounded to f32.
            let ticks = roots.time[root] - neighbors.time[place];
            *slot = Slot {
                row: rows.of_slots[place],
                event: match own.contains(&event.index()) {
                    true => (event.index() - own.start) as i32,
                    false => own.len() as i32 + self.others.rank(event) as i32,
                },
                delta_t: (ticks as f64 / self.ticks_per_unit as f64) as f32,
                query,
            };
        }
        empty.fill(Slot::empty(query));
    }
}

/// Each root with the range of its valid slots.
fn valid_slots(neighbors: &Neighbors) -> impl Iterator<Item = (usize, Range<usize>)> + Clone + '_ {
    let fanout = neighbors.fanout;
    (neighbors.len.iter().enumerate())
        .map(move |(root, &len)| (root, root * fanout..root * fanout + len as usize))
}

#[cfg(test)]
mod tests;
