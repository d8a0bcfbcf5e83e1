//! Rows of the memory updater that the chunks of one batch share.
//!
//! What the updater makes of a row depends on the row alone, and the memory does not change while
//! pairs are scored beside a batch. So a row is made once per batch, and found here by all later
//! chunks. Questions in between updates of few nodes keep the rows of all others. The table is
//! bounded: one that is full is forgotten, and rows are made again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use burn::tensor::{Device, Tensor};

use crate::batch::Roots;
use crate::graph::{NodeId, Queries, Timestamp};
use crate::kernels::memory_update::memory_update;
use crate::train::upload;

/// Rows that the table holds.
pub(crate) const TABLE_ROWS: usize = 1 << 16;

/// Updated rows of the batch, those of the chunks so far.
#[derive(Debug, Default)]
pub(crate) struct UpdatedRows {
    /// `[TABLE_ROWS, width]`, of which only the places that are given out were ever written.
    table: Option<Tensor<2>>,
    /// Place of each row: a node, or a node and its query time.
    place: HashMap<(NodeId, Timestamp), i32>,
    /// Places below `end` that have no row any more.
    free: Vec<i32>,
    /// Places from here on have had no row since all were forgotten.
    end: i32,
    /// Rows have query times.
    timed: bool,
    /// Rows that were made so far.
    made: u64,
}

/// The rows of a chunk.
pub(super) struct ChunkRows {
    /// Those that are not in the table yet.
    pub(super) new: Roots,
    /// Place of each of these.
    new_place: Vec<i32>,
    /// Place of each row of the chunk.
    place: Vec<i32>,
}

impl UpdatedRows {
    /// Forgets all rows: the memory has changed.
    pub(crate) fn forget(&mut self) {
        self.place.clear();
        self.free.clear();
        self.end = 0;
        self.timed = false;
    }

    /// Forgets the rows of `nodes`: their memory or mail has changed.
    pub(crate) fn forget_nodes(&mut self, nodes: &[NodeId]) {
        if self.timed {
            self.forget();
            return;
        }
        for &node in nodes {
            self.free
                .extend(self.place.remove(&(node, Timestamp::default())));
        }
    }

    /// Rows that were made so far.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests count them"))]
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// The rows `rows`, which are distinct, `[rows, width]`; those that are not there are made by `make`.
    pub(crate) fn get(
        &mut self,
        rows: Queries<'_>,
        make: impl FnOnce(Queries<'_>) -> Tensor<2>,
        device: &Device,
    ) -> Tensor<2> {
        let found = self.find(rows);
        let made = (!found.new.node.is_empty()).then(|| make(found.new.queries()));
        self.take(found, made, device)
    }

    /// Gives each of `rows`, which are distinct, a place.
    pub(super) fn find(&mut self, rows: Queries<'_>) -> ChunkRows {
        let found = self.number(rows);
        if self.end as usize <= TABLE_ROWS {
            return found;
        }
        self.forget();
        self.number(rows)
    }

    fn number(&mut self, rows: Queries<'_>) -> ChunkRows {
        let mut found = ChunkRows {
            new: Roots::default(),
            new_place: Vec::new(),
            place: Vec::with_capacity(rows.node.len()),
        };
        for (row, &node) in rows.node.iter().enumerate() {
            let time = rows.time.get(row).copied();
            self.timed |= time.is_some();
            let place = match self.place.entry((node, time.unwrap_or_default())) {
                Entry::Occupied(of) => *of.get(),
                Entry::Vacant(none) => {
                    let place = self.free.pop().unwrap_or(self.end);
                    self.end = self.end.max(place + 1);
                    found.new.node.push(node);
                    found.new.time.extend(time);
                    found.new_place.push(place);
                    *none.insert(place)
                }
            };
            found.place.push(place);
        }
        found
    }

    /// The rows of a chunk, `[rows, width]`, given what the updater made of the new ones,
    /// `[new, width]`.
    pub(super) fn take(
        &mut self,
        rows: ChunkRows,
        made: Option<Tensor<2>>,
        device: &Device,
    ) -> Tensor<2> {
        let new = rows.new.node.len();
        let all_new = new == rows.place.len();
        let Some(made) = made else {
            return self.gather(rows.place, device);
        };
        self.made += new as u64;
        if self.end as usize > TABLE_ROWS {
            assert!(all_new, "rows of a table that was forgotten");
            self.forget();
            return made;
        }
        let places: Vec<i32> = (rows.new_place.iter())
            .zip(0..new as i32)
            .flat_map(|(&place, row)| [place, row])
            .collect();
        let places = upload::ints(places, [new, 2], device);
        // The only handle of the table, so that it is written in place.
        let table = self.table.take();
        let table = table.unwrap_or_else(|| Tensor::empty([TABLE_ROWS, made.dims()[1]], device));
        self.table = Some(memory_update(table, made.clone(), places));
        if all_new {
            made
        } else {
            self.gather(rows.place, device)
        }
    }

    fn gather(&self, place: Vec<i32>, device: &Device) -> Tensor<2> {
        let Some(table) = self.table.clone() else {
            unreachable!("rows that were never made")
        };
        let rows = place.len();
        table.select(0, upload::ints(place, [rows], device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(nodes: std::ops::Range<u32>) -> Vec<NodeId> {
        nodes.map(NodeId).collect()
    }

    /// Asks for rows of nodes, each of which is made of the node's number; returns how many are
    /// new.
    fn ask(rows: &mut UpdatedRows, nodes: &[NodeId]) -> usize {
        let device = Device::flex();
        let found = rows.find(Queries {
            node: nodes,
            time: &[],
        });
        let new = found.new.node.clone();
        let made = (!new.is_empty()).then(|| {
            let values = new.iter().map(|node| node.0 as f32).collect();
            upload::floats(values, [new.len(), 1], &device)
        });
        let taken = rows.take(found, made, &device).into_data();
        let taken: Vec<f32> = taken.try_to_vec().unwrap();
        let expected: Vec<f32> = nodes.iter().map(|node| node.0 as f32).collect();
        assert_eq!(taken, expected);
        new.len()
    }

    #[test]
    fn a_row_is_made_once_until_the_memory_changes() {
        let mut rows = UpdatedRows::default();
        assert_eq!(ask(&mut rows, &chunk(0..10)), 10);
        assert_eq!(ask(&mut rows, &chunk(5..20)), 10);
        assert_eq!(ask(&mut rows, &chunk(0..20)), 0);
        rows.forget();
        assert_eq!(ask(&mut rows, &chunk(3..7)), 4);
    }

    #[test]
    fn rows_of_nodes_that_changed_are_made_again_in_their_places() {
        let mut rows = UpdatedRows::default();
        ask(&mut rows, &chunk(0..10));
        rows.forget_nodes(&[NodeId(3), NodeId(7), NodeId(99)]);
        assert_eq!(ask(&mut rows, &chunk(2..5)), 1);
        assert_eq!(ask(&mut rows, &chunk(0..12)), 3);
        assert_eq!((rows.end, rows.free.len()), (12, 0));
        // Churn does not fill the table.
        for _ in 0..TABLE_ROWS {
            rows.forget_nodes(&[NodeId(5)]);
            rows.find(Queries {
                node: &[NodeId(5)],
                time: &[],
            });
        }
        assert_eq!(rows.end, 12);
        // A row of one time says nothing of which others the node has.
        rows.find(Queries {
            node: &[NodeId(5)],
            time: &[8],
        });
        rows.forget_nodes(&[NodeId(1)]);
        assert!(rows.place.is_empty());
    }

    #[test]
    fn a_full_table_is_forgotten() {
        let (mut rows, most) = (UpdatedRows::default(), TABLE_ROWS as u32);
        assert_eq!(ask(&mut rows, &chunk(0..most - 1)), TABLE_ROWS - 1);
        assert_eq!(ask(&mut rows, &chunk(0..most)), 1);
        assert_eq!(ask(&mut rows, &chunk(most - 1..most + 2)), 3);
        assert_eq!(ask(&mut rows, &chunk(most..most + 3)), 1);
        // A chunk that does not fit at all leaves nothing behind.
        assert_eq!(ask(&mut rows, &chunk(0..most + 1)), TABLE_ROWS + 1);
        assert_eq!(ask(&mut rows, &chunk(0..1)), 1);
    }
}
