//! Two tables that number distinct keys from 0 by first use.
//!
//! Both forget their content in constant time: an entry counts only if it carries the stamp of the
//! current use. Numbers depend on the order of the calls alone; where a key lies never shows.

use crate::graph::{EventId, NodeId, Timestamp};

/// An entry of either table: the stamp of the use that wrote it, and the number.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    stamp: u32,
    number: u32,
}

/// Starts a use: a stamp that no entry carries, which empties the table.
fn next_stamp(stamp: &mut u32, entries: &mut [Entry]) {
    *stamp = stamp.checked_add(1).unwrap_or_else(|| {
        entries.fill(Entry::default());
        1
    });
}

/// Numbers nodes by one look into an array of all nodes.
#[derive(Clone, Debug)]
pub(super) struct NodeTable {
    entries: Vec<Entry>,
    stamp: u32,
}

impl NodeTable {
    pub(super) fn new(nodes: usize) -> NodeTable {
        NodeTable {
            entries: vec![Entry::default(); nodes],
            stamp: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        next_stamp(&mut self.stamp, &mut self.entries);
    }

    /// The number of `node`; a new one is appended to `rows`, which holds the nodes numbered so far.
    #[inline]
    pub(super) fn row(&mut self, node: NodeId, rows: &mut Vec<NodeId>) -> i32 {
        let entry = &mut self.entries[node.index()];
        if entry.stamp != self.stamp {
            *entry = Entry {
                stamp: self.stamp,
                number: rows.len() as u32,
            };
            rows.push(node);
        }
        entry.number as i32
    }
}

/// What a [`KeyTable`] can number.
pub(super) trait Key: Copy + Eq {
    /// 64 bits that tell most keys apart.
    fn bits(self) -> u64;
}

impl Key for EventId {
    fn bits(self) -> u64 {
        u64::from(self.0)
    }
}

impl Key for i32 {
    fn bits(self) -> u64 {
        u64::from(self.cast_unsigned())
    }
}

impl Key for (NodeId, Timestamp) {
    fn bits(self) -> u64 {
        // The times of a batch are close together, so they seldom differ in bits 32 and up.
        let node = u64::from(self.0.0);
        self.1.cast_unsigned() ^ (node << 32) ^ (node << 13)
    }
}

/// Numbers keys of an unbounded range: open addressing with linear probing, at most half full.
#[derive(Clone, Debug)]
pub(super) struct KeyTable<K> {
    /// A power of two; the number refers to `keys`.
    entries: Vec<Entry>,
    stamp: u32,
    keys: Vec<K>,
}

impl<K> Default for KeyTable<K> {
    fn default() -> Self {
        KeyTable {
            entries: Vec::new(),
            stamp: 0,
            keys: Vec::new(),
        }
    }
}

impl<K: Key> KeyTable<K> {
    /// Empties the table and makes room for `keys` keys.
    pub(super) fn clear(&mut self, keys: usize) {
        let size = (2 * keys).next_power_of_two().max(2);
        if self.entries.len() < size {
            self.entries = vec![Entry::default(); size];
            self.stamp = 0;
        }
        next_stamp(&mut self.stamp, &mut self.entries);
        self.keys.clear();
    }

    /// The number of `key`. No more keys may be numbered than [`KeyTable::clear`] made room for.
    #[inline]
    pub(super) fn index(&mut self, key: K) -> i32 {
        let (place, known) = self.find(key);
        if let Some(number) = known {
            return number as i32;
        }
        let number = self.keys.len() as u32;
        self.entries[place] = Entry {
            stamp: self.stamp,
            number,
        };
        self.keys.push(key);
        number as i32
    }

    /// The number of `key`, which has one.
    #[inline]
    pub(super) fn number(&self, key: K) -> i32 {
        match self.find(key) {
            (_, Some(number)) => number as i32,
            (_, None) => unreachable!("a key without a number"),
        }
    }

    /// The place of `key`, and its number if it has one.
    #[inline]
    fn find(&self, key: K) -> (usize, Option<u32>) {
        // Fibonacci hashing (Knuth, TAOCP 3, section 6.4): the high bits of the product are mixed
        // best.
        let shift = 64 - self.entries.len().trailing_zeros();
        let mask = self.entries.len() - 1;
        let mut place = (key.bits().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift) as usize;
        loop {
            let entry = self.entries[place];
            if entry.stamp != self.stamp {
                return (place, None);
            }
            if self.keys[entry.number as usize] == key {
                return (place, Some(entry.number));
            }
            place = (place + 1) & mask;
        }
    }

    /// The keys numbered since [`KeyTable::clear`], by number.
    pub(super) fn keys(&self) -> &[K] {
        &self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_first_use_and_are_forgotten_by_clear() {
        let mut table = KeyTable::default();
        let mut nodes = NodeTable::new(10);
        for round in 0..3u32 {
            table.clear(4);
            nodes.clear();
            let (mut got, mut rows) = (vec![], vec![]);
            for id in [7, 3, 7, 9, 3, round] {
                got.push(table.index(EventId(id)));
                assert_eq!(nodes.row(NodeId(id), &mut rows), got[got.len() - 1]);
            }
            assert_eq!(got, [0, 1, 0, 2, 1, 3]);
            assert_eq!(table.keys(), [7, 3, 9, round].map(EventId));
            assert_eq!(rows, [7, 3, 9, round].map(NodeId));
        }
    }

    #[test]
    fn a_stamp_that_wraps_around_does_not_revive_entries() {
        let mut table = KeyTable::default();
        table.clear(2);
        table.index(EventId(6));
        table.index(EventId(5)); // number 1, written with stamp 1
        table.stamp = u32::MAX;
        table.clear(2);
        assert_eq!(table.stamp, 1);
        assert_eq!(table.index(EventId(5)), 0);

        let mut nodes = NodeTable::new(2);
        nodes.clear();
        nodes.row(NodeId(1), &mut vec![NodeId(0)]); // number 1, written with stamp 1
        nodes.stamp = u32::MAX;
        nodes.clear();
        assert_eq!(nodes.row(NodeId(1), &mut vec![]), 0);
    }
}
