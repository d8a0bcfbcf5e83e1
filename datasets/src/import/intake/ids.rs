//! From the ids of a file to dense ones.

use std::collections::{HashMap, TryReserveError};

use crate::ram::room_for;

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
    /// The number of an id; what is wrong if the ids before it have filled the memory.
    pub(super) fn intern(&mut self, original: u64) -> Result<u32, String> {
        if self.index.len() == self.index.capacity() {
            self.grow()?;
        }
        Ok(*self.index.entry(original).or_insert_with(|| {
            self.originals.push(original);
            self.originals.len() as u32 - 1
        }))
    }

    /// Doubles the room, if there is that much.
    #[cold]
    fn grow(&mut self) -> Result<(), String> {
        let more = self.index.len().max(1 << 10);
        // The old index lives until the new one is filled.
        let entry = size_of::<(u64, u32)>() + 1;
        room_for((2 * more * (entry + size_of::<u64>())) as u64)?;
        let problem = |error: TryReserveError| error.to_string();
        self.index.try_reserve(more).map_err(problem)?;
        self.originals.try_reserve(more).map_err(problem)
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
