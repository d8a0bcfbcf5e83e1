//! From the ids of a file to dense ones.

use std::collections::HashMap;

/// How ids of the file become dense.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ids {
    /// One space: ascending order of the original ids.
    One,
    /// Sources first, then destinations, each in ascending order.
    Two,
    /// Ids are row numbers of a table of node features.
    Rows {
        /// Rows of the table.
        rows: usize,
        /// The id of its first row.
        first: u64,
    },
}

/// Original ids in order of appearance, and back.
#[derive(Default)]
pub(super) struct Interner {
    index: HashMap<u64, u32>,
    pub(super) originals: Vec<u64>,
}

impl Interner {
    pub(super) fn intern(&mut self, original: u64) -> u32 {
        *self.index.entry(original).or_insert_with(|| {
            self.originals.push(original);
            self.originals.len() as u32 - 1
        })
    }

    /// The dense id of each interned one, from `base` on in ascending order of the originals, and these.
    pub(super) fn ranks(&self, base: u32) -> (Vec<u32>, Vec<u64>) {
        let mut order: Vec<u32> = (0..self.originals.len() as u32).collect();
        order.sort_unstable_by_key(|&i| self.originals[i as usize]);
        let mut ranks = vec![0; order.len()];
        for (rank, &i) in order.iter().enumerate() {
            ranks[i as usize] = base + rank as u32;
        }
        (
            ranks,
            order.iter().map(|&i| self.originals[i as usize]).collect(),
        )
    }
}
