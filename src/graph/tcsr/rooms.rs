//! Where the entries of a graph lie once it grows, and what is said of some of them.
//!
//! Entries that came with the graph stay where they are; others are in rooms of 4, 8, 16, … behind them.

use crate::graph::Timestamp;
use crate::graph::sharded::Sharded;

/// Entries of the smallest room.
pub(super) const ROOM: u32 = 4;

/// Sizes of rooms: a node has no more entries than there are event ids.
pub(super) const SIZES: usize = 31;

/// The entries of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) start: usize,
    pub(super) len: u32,
    /// Entries that there is room for, from `start` on.
    pub(super) room: u32,
}

/// What a graph has beside its entries once it grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Newer {
    /// Entries of the graph as it was built, and where those of each node lie.
    pub(super) built: Option<(usize, Vec<Row>)>,
    /// Events that it was built of.
    pub(super) first_event: usize,
    /// Rooms that nobody has, by size: where each begins.
    pub(super) free: [Vec<usize>; SIZES],
    /// Entries in rooms.
    pub(super) entries: usize,
    /// Whose past has whom since it was built.
    pub(super) met: Sharded<()>,
}

impl Newer {
    /// Of a graph of `events` events, with nothing yet.
    pub(super) fn after(events: usize) -> Newer {
        Newer {
            first_event: events,
            ..Newer::default()
        }
    }
}

/// Which size a room of `room` entries has.
pub(super) fn size_of_room(room: u32) -> usize {
    (room / ROOM).trailing_zeros() as usize
}

/// Some of a graph's entries, by their places.
#[derive(Clone, Debug)]
pub(crate) struct Places(Vec<u64>);

impl Places {
    /// None of `entries` places.
    pub(super) fn none(entries: usize) -> Places {
        Places(vec![0; entries.div_ceil(64)])
    }

    /// Adds a place; returns whether it was not among them.
    pub(crate) fn add(&mut self, place: usize) -> bool {
        let bit = 1 << (place % 64);
        let word = &mut self.0[place / 64];
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(super) fn has(&self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }
}

/// What came since a graph was built, as columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewerEntries {
    /// Whose past each entry is in; of each node they are in the order of events.
    pub(crate) owner: Vec<u32>,
    /// The other end.
    pub(crate) other: Vec<u32>,
    /// The event.
    pub(crate) event: Vec<u32>,
    /// Its time.
    pub(crate) time: Vec<Timestamp>,
    /// Whose past has had ...
    pub(crate) met_node: Vec<u32>,
    /// ... whom.
    pub(crate) met_other: Vec<u32>,
}
