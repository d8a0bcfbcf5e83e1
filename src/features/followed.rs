//! Feature rows of a stream that is followed: those that it had, and those that came since.
//!
//! What it had is a table of all of it, mapped or drawn, or a few rows that a state has kept. What came
//! since is kept until it is let go of ([`FollowedRows::keep`]). Rows are unpacked on the host: few are
//! asked for at a time.

use std::fmt;
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
    Kept(Arc<Kept>),
}

/// Rows with their ids.
#[derive(Clone, Default)]
struct Kept {
    /// Ascending.
    ids: Vec<u32>,
    /// `[ids, width]`.
    values: Vec<f32>,
}

/// Rows of a chunk. A chunk that is shared is copied when a row of it changes: after a state was taken 200 events
/// copy 2 MB of 172 features at most, and with 1,024 rows in a chunk they copied all there is.
const CHUNK: usize = 16;

/// Rows that came since, in places that are used again. They lie in chunks, so that one more moves none of
/// the others, and whoever writes a copy of them down shares them until they change.
#[derive(Clone, Default)]
struct Newer {
    /// Ascending.
    ids: Vec<u32>,
    /// Where the row of each lies.
    places: Vec<u32>,
    /// Places without a row.
    free: Vec<u32>,
    /// `[CHUNK, width]` each.
    chunks: Vec<Arc<Vec<f32>>>,
}

impl Newer {
    fn push(&mut self, id: u32, row: &[f32]) {
        // With none free, all places have a row.
        let place = self.free.pop().unwrap_or(self.ids.len() as u32);
        let (chunk, within) = (place as usize / CHUNK, place as usize % CHUNK);
        if chunk == self.chunks.len() {
            self.chunks.push(Arc::new(vec![0.0; CHUNK * row.len()]));
        }
        let rows = Arc::make_mut(&mut self.chunks[chunk]);
        rows[within * row.len()..][..row.len()].copy_from_slice(row);
        self.ids.push(id);
        self.places.push(place);
    }

    /// # Panics
    /// When `id` is not among them.
    fn row(&self, id: u32, width: usize) -> &[f32] {
        let nth = self.ids.binary_search(&id);
        let place = self.places[nth.expect("a row that was not kept")] as usize;
        &self.chunks[place / CHUNK][place % CHUNK * width..][..width]
    }

    /// Looks at `most` more rows on the way that `rest` describes; whether it has come to the end.
    fn keep(&mut self, rest: &mut RowsToKeep, most: usize) -> bool {
        let end = self.ids.len().min(rest.looked.saturating_add(most));
        for nth in rest.looked..end {
            let (id, place) = (self.ids[nth], self.places[nth]);
            let before = rest.needed[rest.passed..].iter();
            rest.passed += before.take_while(|&&other| other < id).count();
            if id >= rest.end || rest.needed.get(rest.passed) == Some(&id) {
                rest.ids.push(id);
                rest.places.push(place);
            } else {
                rest.free.push(place);
            }
        }
        rest.looked = end;
        if end < self.ids.len() {
            return false;
        }
        // Their room stays what it is: as many rows come again.
        self.ids.clear();
        self.ids.extend_from_slice(&rest.ids);
        self.places.clear();
        self.places.extend_from_slice(&rest.places);
        self.free.extend_from_slice(&rest.free);
        true
    }

    fn bytes(&self) -> u64 {
        let numbers = self.ids.capacity() + self.places.capacity() + self.free.capacity();
        let rows: usize = self.chunks.iter().map(|chunk| chunk.capacity()).sum();
        4 * (numbers + rows) as u64
    }
}

/// Rows that are kept of those that came since, found some at a time ([`FollowedRows::keep`]). Until all were
/// looked at, all are there.
#[derive(Debug, Default)]
pub(crate) struct RowsToKeep {
    /// Ascending.
    needed: Vec<u32>,
    /// Those from this one on came later, and are kept.
    end: u32,
    /// Rows that were looked at, and the needed ones before them.
    looked: usize,
    passed: usize,
    /// Those that are kept of them, and places of the others.
    ids: Vec<u32>,
    places: Vec<u32>,
    free: Vec<u32>,
}

impl Kept {
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
        let newer = self.newer.ids.len();
        write!(f, "{newer} rows of {width} after {count}")
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
        let kept = Arc::new(Kept { ids, values });
        FollowedRows::of(First::Kept(kept), width, count)
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
        if self.width > 0 {
            for (&id, row) in ids.iter().zip(values.chunks_exact(self.width)) {
                self.newer.push(id, row);
            }
        }
        self.next += rows as u32;
    }

    /// Rows that came since and are there.
    pub(crate) fn newer(&self) -> usize {
        self.newer.ids.len()
    }

    /// Bytes of the rows that lie in RAM alone.
    pub(crate) fn bytes(&self) -> u64 {
        let first = match &self.first {
            First::Kept(kept) => 4 * (kept.ids.capacity() + kept.values.capacity()) as u64,
            First::Drawn(table) => 4 * (self.count * table.width()) as u64,
            // Those of a log are the operating system's.
            First::Events(_) | First::Nodes(_) => 0,
        };
        first + self.newer.bytes()
    }

    /// The way to let go of all that came since but for the rows `needed`, ascending, which are all of those so
    /// far that are asked for from now on.
    pub(crate) fn to_keep(&self, needed: Vec<u32>) -> RowsToKeep {
        RowsToKeep {
            needed,
            end: self.next,
            ..RowsToKeep::default()
        }
    }

    /// Goes on on that way, and looks at `most` rows; whether it has come to its end.
    pub(crate) fn keep(&mut self, rest: &mut RowsToKeep, most: usize) -> bool {
        self.newer.keep(rest, most)
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
        let mut rest = rows.to_keep(vec![1, 2, 5, 8, 11]);
        // What comes on the way is kept, and all are there until its end.
        assert!(!rows.keep(&mut rest, 2));
        assert_eq!(rows.gather(&[4, 8]), [4.0, 4.5, 8.0, 8.5]);
        assert!(!rows.keep(&mut rest, 2));
        assert!(rows.keep(&mut rest, 2));
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
        let mut rest = rows.to_keep(needed.clone());
        let steps = std::iter::repeat_with(|| rows.keep(&mut rest, 7));
        let steps = steps.take_while(|end| !end).count();
        assert_eq!(steps, many as usize / 7);
        assert_eq!(rows.newer(), needed.len());
        let before = rows.clone();
        // They lie where the others lay.
        let full = many + many - needed.len() as u32;
        (many..full).for_each(|id| rows.push(&[id as f32]));
        assert_eq!(rows.newer.chunks.len(), 4);
        let asked: Vec<u32> = needed
            .iter()
            .copied()
            .chain([many, full - 1])
            .rev()
            .collect();
        let expected: Vec<f32> = asked.iter().map(|&id| id as f32).collect();
        assert_eq!(rows.gather(&asked), expected);
        // A copy has what there was.
        assert_eq!(before.newer(), needed.len());
        let expected: Vec<f32> = needed.iter().map(|&id| id as f32).collect();
        assert_eq!(before.gather(&needed), expected);
    }

    #[test]
    #[should_panic(expected = "was not kept")]
    fn a_row_that_was_let_go_of_is_no_zero() {
        let mut rows = rows();
        let mut rest = rows.to_keep(vec![5]);
        rows.keep(&mut rest, usize::MAX);
        rows.gather(&[4]);
    }
}
