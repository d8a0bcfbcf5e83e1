//! Feature rows of a stream that is followed: those that it had, and those that came since.
//!
//! What it had is a table of all of it, mapped or drawn, or a few rows that a state has kept. What came
//! since is kept until it is let go of ([`FollowedRows::keep`]). Rows are unpacked on the host: few are
//! asked for at a time.

use std::fmt;
use std::iter::Peekable;
use std::sync::Arc;

use mspipe_datasets::{EventLog, FeatureTable};

/// The rows of a stream's first events, or nodes.
#[derive(Clone)]
enum First {
    /// All of them, drawn.
    Drawn(Arc<FeatureTable>),
    /// Those of a log's events.
    Events(Arc<EventLog>),
    /// Those of a log's nodes.
    Nodes(Arc<EventLog>),
    /// Some of them.
    Kept(Kept),
}

/// Rows with their ids.
#[derive(Clone, Default)]
struct Kept {
    /// Ascending.
    ids: Vec<u32>,
    /// `[ids, width]`.
    values: Vec<f32>,
}

/// Rows of a chunk.
const CHUNK: usize = 1024;

/// Rows that came since, in chunks, so that one more moves none of the others: a table that grows twice as
/// large at once would have whoever asks wait for it.
#[derive(Clone, Default)]
struct Newer {
    /// None is empty; ids ascend.
    chunks: Vec<Kept>,
    rows: usize,
}

impl Newer {
    fn push(&mut self, id: u32, row: &[f32]) {
        let full = |chunk: &Kept| chunk.ids.len() >= CHUNK;
        if self.chunks.last().is_none_or(full) {
            self.chunks.push(Kept {
                ids: Vec::with_capacity(CHUNK),
                values: Vec::with_capacity(CHUNK * row.len()),
            });
        }
        let Some(chunk) = self.chunks.last_mut() else {
            unreachable!("there is one with room");
        };
        chunk.ids.push(id);
        chunk.values.extend_from_slice(row);
        self.rows += 1;
    }

    /// # Panics
    /// When `id` is not among them.
    fn row(&self, id: u32, width: usize) -> &[f32] {
        let after = self.chunks.partition_point(|chunk| chunk.ids[0] <= id);
        let chunk = after.checked_sub(1).map(|place| &self.chunks[place]);
        chunk.expect("a row that was not kept").row(id, width)
    }

    /// Lets go of all but those `needed`, ascending.
    fn keep(&mut self, needed: &[u32], width: usize) {
        let mut needed = needed.iter().copied().peekable();
        for chunk in &mut self.chunks {
            chunk.keep(&mut needed, width);
        }
        self.chunks.retain(|chunk| !chunk.ids.is_empty());
        self.rows = self.chunks.iter().map(|chunk| chunk.ids.len()).sum();
    }
}

impl Kept {
    /// Lets go of all but those `needed`, ascending, of which it takes those up to its last.
    fn keep(&mut self, needed: &mut Peekable<impl Iterator<Item = u32>>, width: usize) {
        let mut kept = 0;
        for place in 0..self.ids.len() {
            let id = self.ids[place];
            while needed.next_if(|&other| other < id).is_some() {}
            if needed.peek() == Some(&id) {
                let row = place * width..(place + 1) * width;
                self.ids[kept] = id;
                self.values.copy_within(row, kept * width);
                kept += 1;
            }
        }
        self.ids.truncate(kept);
        self.values.truncate(kept * width);
        if self.values.len() < self.values.capacity() / 2 {
            self.ids.shrink_to_fit();
            self.values.shrink_to_fit();
        }
    }

    /// # Panics
    /// When `id` is not among them.
    fn row(&self, id: u32, width: usize) -> &[f32] {
        let place = self.ids.binary_search(&id);
        let place = place.expect("a row that sampling does not need was not kept");
        &self.values[place * width..(place + 1) * width]
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct FollowedRows {
    width: usize,
    /// Ids of `first` are below this; the others follow.
    count: usize,
    first: First,
    newer: Newer,
    /// The id of the row that comes next.
    next: u32,
}

impl fmt::Debug for FollowedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FollowedRows { width, count, .. } = self;
        write!(f, "{} rows of {width} after {count}", self.newer.rows)
    }
}

impl FollowedRows {
    fn of(first: First, width: usize, count: usize) -> FollowedRows {
        FollowedRows {
            width,
            count,
            first,
            newer: Newer::default(),
            next: count as u32,
        }
    }

    /// The first `count` rows of `table`.
    pub(super) fn drawn(table: &Arc<FeatureTable>, count: usize) -> FollowedRows {
        FollowedRows::of(First::Drawn(table.clone()), table.width(), count)
    }

    /// The rows of the first `count` events of `log`.
    pub(super) fn of_events(log: &Arc<EventLog>, count: usize) -> FollowedRows {
        let width = log.edge_features().map_or(0, FeatureTable::width);
        FollowedRows::of(First::Events(log.clone()), width, count)
    }

    /// The rows of the first `count` nodes of `log`.
    pub(super) fn of_nodes(log: &Arc<EventLog>, count: usize) -> FollowedRows {
        let width = log.node_features().map_or(0, FeatureTable::width);
        FollowedRows::of(First::Nodes(log.clone()), width, count)
    }

    /// Of `count` rows those with the ids `ids`, ascending, which are all that is asked for;
    /// `values` are `[ids, width]`.
    pub(crate) fn kept(
        count: usize,
        width: usize,
        ids: Vec<u32>,
        values: Vec<f32>,
    ) -> FollowedRows {
        FollowedRows::of(First::Kept(Kept { ids, values }), width, count)
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Adds the next row.
    ///
    /// # Panics
    /// When it has another width.
    pub(crate) fn push(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.width, "width of a feature row");
        if self.width > 0 {
            self.newer.push(self.next, row);
        }
        self.next += 1;
    }

    /// Adds `rows` rows, of which only those with the ids `ids`, ascending, are there; `values` are
    /// `[ids, width]`.
    pub(crate) fn extend_kept(&mut self, rows: usize, ids: &[u32], values: &[f32]) {
        for (&id, row) in ids.iter().zip(values.chunks(self.width.max(1))) {
            self.newer.push(id, row);
        }
        self.next += rows as u32;
    }

    /// Rows that came since and are there.
    pub(crate) fn newer(&self) -> usize {
        self.newer.rows
    }

    /// Lets go of all that came since but for the rows `needed`, ascending, which are all that is asked
    /// for from now on.
    pub(crate) fn keep(&mut self, needed: &[u32]) {
        self.newer.keep(needed, self.width);
    }

    /// The rows `ids`, `[ids, width]`. A row that is not there is zero: a node that was never seen
    /// has no features.
    ///
    /// # Panics
    /// When one is asked for that was not kept, or was let go of.
    pub(crate) fn gather(&self, ids: &[u32]) -> Vec<f32> {
        let mut rows = vec![0.0; ids.len() * self.width];
        if self.width > 0 {
            for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(self.width)) {
                self.row_into(id, row);
            }
        }
        rows
    }

    fn row_into(&self, id: u32, row: &mut [f32]) {
        let width = self.width;
        if id as usize >= self.count {
            if id < self.next {
                row.copy_from_slice(self.newer.row(id, width));
            }
            return;
        }
        let table = match &self.first {
            First::Drawn(table) => Some(&**table),
            First::Events(log) => log.edge_features(),
            First::Nodes(log) => log.node_features(),
            First::Kept(kept) => {
                row.copy_from_slice(kept.row(id, width));
                None
            }
        };
        if let Some(table) = table {
            table.row_into(id as usize, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> FollowedRows {
        let mut rows = FollowedRows::kept(4, 2, vec![1, 3], vec![1.0, 1.5, 3.0, 3.5]);
        for id in 4..9u8 {
            rows.push(&[f32::from(id), f32::from(id) + 0.5]);
        }
        rows
    }

    #[test]
    fn rows_stay_under_their_ids() {
        let mut rows = rows();
        assert_eq!(rows.gather(&[8, 1, 4]), [8.0, 8.5, 1.0, 1.5, 4.0, 4.5]);
        rows.keep(&[1, 2, 5, 8, 11]);
        assert_eq!(rows.newer(), 2);
        rows.push(&[9.0, 9.5]);
        assert_eq!(
            rows.gather(&[9, 5, 3, 8]),
            [9.0, 9.5, 5.0, 5.5, 3.0, 3.5, 8.0, 8.5]
        );
        // Whoever was never seen has none.
        assert_eq!(rows.gather(&[10]), [0.0, 0.0]);
        rows.extend_kept(3, &[11], &[11.0, 11.5]);
        assert_eq!(rows.gather(&[11, 13]), [11.0, 11.5, 0.0, 0.0]);
    }

    #[test]
    fn rows_of_many_chunks_stay_under_their_ids() {
        let mut rows = FollowedRows::kept(0, 1, Vec::new(), Vec::new());
        let many = 3 * CHUNK as u32 + 5;
        (0..many).for_each(|id| rows.push(&[id as f32]));
        // Of the second chunk none, of the third one.
        let chunk = CHUNK as u32;
        let needed: Vec<u32> = (0..chunk)
            .step_by(3)
            .chain([2 * chunk + 7, many - 1])
            .collect();
        rows.keep(&needed);
        assert_eq!((rows.newer(), rows.newer.chunks.len()), (needed.len(), 3));
        rows.push(&[many as f32]);
        let asked: Vec<u32> = needed.iter().copied().chain([many]).rev().collect();
        let expected: Vec<f32> = asked.iter().map(|&id| id as f32).collect();
        assert_eq!(rows.gather(&asked), expected);
    }

    #[test]
    #[should_panic(expected = "was not kept")]
    fn a_row_that_was_let_go_of_is_no_zero() {
        let mut rows = rows();
        rows.keep(&[5]);
        rows.gather(&[4]);
    }
}
