//! What ranks that share a batch read of memory together, counted as one process would count it.
//!
//! Each rank reads the rows of its own events, some of which others read too. It tells which they are, a few
//! bytes a row beside the updated rows; the rank that writes the ledger counts each row once.
//!
//! Invariant: the counts depend on the stream, the batches and k alone, not on the number of ranks.

use bytemuck::cast_slice;
use serde::{Deserialize, Serialize};

use crate::batch::Mfg;
use crate::memory::node_times::FetchedTimes;
use crate::pipeline::ledger::AgeHistogram;
use crate::pipeline::staleness::count;

/// What a rank read for its events of an iteration.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct OwnRead {
    /// Node of each row.
    node: Vec<u32>,
    /// Time of each row; empty where a node has one row whatever the times.
    time: Vec<i64>,
    /// Updates of its own that each row lacked.
    lacks: Vec<u32>,
    /// 1 for each row that the updater ran for.
    active: Vec<i32>,
    /// Nodes with mail that is absorbed before the newest, and how much.
    behind: Vec<(u32, u32)>,
    /// Ages of its roots' memory.
    ages: AgeHistogram,
}

/// What all ranks read in an iteration.
#[derive(Debug, Default, PartialEq)]
pub(super) struct WholeRead {
    /// Ages of the roots' memory.
    pub(super) ages: AgeHistogram,
    /// Rows, by how many updates of their own they lacked.
    pub(super) rows: Vec<u64>,
    /// Pieces of mail that the updater absorbed into them.
    pub(super) updater_rows: u64,
}

impl OwnRead {
    /// The rows of a layout's innermost layer with their times; `lacks` is of each of them.
    pub(super) fn new(
        rows: &Mfg,
        one_row_a_node: bool,
        lacks: Vec<u32>,
        times: &FetchedTimes,
        ages: AgeHistogram,
    ) -> OwnRead {
        let behind = times.backlog.entries();
        OwnRead {
            node: cast_slice(&rows.node).to_vec(),
            time: match one_row_a_node {
                true => Vec::new(),
                false => rows.query_time.clone(),
            },
            lacks,
            active: times.active.clone(),
            behind: behind
                .map(|(row, pieces)| (rows.node[row].0, pieces))
                .collect(),
            ages,
        }
    }

    /// As another rank reads it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match ciborium::into_writer(self, &mut bytes) {
            Ok(()) => bytes,
            Err(error) => unreachable!("a vector takes all that is written: {error}"),
        }
    }

    /// What a rank of the same version gave.
    pub(super) fn from_bytes(bytes: &[u8]) -> OwnRead {
        ciborium::from_reader(bytes).unwrap_or_default()
    }
}

impl WholeRead {
    /// What all of them are together: a row that several have read is one.
    pub(super) fn of(all: impl Iterator<Item = OwnRead>) -> WholeRead {
        let mut whole = WholeRead::default();
        let (mut rows, mut behind) = (Vec::new(), Vec::new());
        for own in all {
            whole.ages.add_all(&own.ages);
            behind.extend(own.behind);
            let times = own.time.into_iter().chain(std::iter::repeat(0));
            let found = own.node.into_iter().zip(times);
            let counts = own.lacks.into_iter().zip(own.active);
            rows.extend(found.zip(counts));
        }
        rows.sort_unstable();
        rows.dedup_by_key(|(row, _)| *row);
        for (_, (lacks, active)) in rows {
            count(&mut whole.rows, lacks);
            whole.updater_rows += active as u64;
        }
        behind.sort_unstable();
        behind.dedup_by_key(|(node, _)| *node);
        let pieces = behind.into_iter().map(|(_, pieces)| u64::from(pieces));
        whole.updater_rows += pieces.sum::<u64>();
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(node: &[u32], time: &[i64], lacks: &[u32], behind: &[(u32, u32)]) -> OwnRead {
        let mut ages = AgeHistogram::default();
        ages.add(3.0);
        let read = OwnRead {
            node: node.to_vec(),
            time: time.to_vec(),
            lacks: lacks.to_vec(),
            active: vec![1; node.len()],
            behind: behind.to_vec(),
            ages,
        };
        OwnRead::from_bytes(&read.to_bytes())
    }

    #[test]
    fn rows_that_several_read_count_once() {
        let ranks = [
            own(&[4, 9], &[], &[0, 2], &[(9, 3)]),
            own(&[9, 7], &[], &[2, 1], &[(9, 3)]),
            OwnRead::from_bytes(&OwnRead::default().to_bytes()),
        ];
        let whole = WholeRead::of(ranks.into_iter());
        assert_eq!(whole.rows, [1, 1, 1]);
        assert_eq!(whole.updater_rows, 3 + 3);
        assert_eq!(whole.ages.buckets(), [0, 0, 2]);
        // Where a row is a node at a time, the times tell them apart.
        let ranks = [
            own(&[4, 9], &[1, 1], &[0, 1], &[]),
            own(&[9, 9], &[1, 2], &[1, 1], &[]),
        ];
        assert_eq!(WholeRead::of(ranks.into_iter()).rows, [1, 2]);
    }
}
