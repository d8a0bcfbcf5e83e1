//! What a schedule's staleness does to a stream, counted without a model: which mail is lost and which
//! rows are written from stale ones.
//!
//! The batch's end points are all that is looked at: their rows are written and get mail, one piece
//! per node, as in TGN and JODIE. The counts of rows written and of mail are those of a run with
//! these batches and versions, whatever it samples. Beside them, the rows that are left at the end:
//! a node that is active in every batch has k rows that take turns, each with every k-th mail.
//!
//! It knows no neighbours or negatives, so not all rows that a run reads.

use std::collections::VecDeque;

use serde::Serialize;

use crate::pipeline::ledger::ReplayError;
use crate::pipeline::profile::Residency;
use crate::pipeline::schedule::Schedule;
use crate::pipeline::scheduler::Scheduler;
use crate::pipeline::staleness::{BatchNodes, StaleMemory, StalenessCounter};

/// End points of a stream's events, in their order.
#[derive(Debug, Clone, Copy)]
pub struct EndPoints<'a> {
    /// Sources.
    pub src: &'a [u32],
    /// Destinations.
    pub dst: &'a [u32],
    /// Nodes of the stream.
    pub nodes: usize,
    /// Events of an iteration.
    pub batch_size: usize,
}

/// What staleness does to an epoch over a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StreamStaleness {
    /// As the ledger of a run has it, but for the rows read, which only a run knows.
    #[serde(flatten)]
    pub memory: StaleMemory,
    /// Overwritten mail that is in none of the rows left at the end: it was lost, or the row that
    /// had absorbed it was overwritten by one that had not.
    pub mail_missing: u64,
    /// Mail that the updates absorb: steps of the updater for the rows written.
    pub updater_steps: u64,
    /// The same if each update absorbs all mail that its row lacks.
    pub catch_up_steps: u64,
}

/// A node's row as the applied updates have it.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// Mail that the node got.
    mail: u32,
    /// Mail that the row has absorbed, and the rows that it was made of.
    absorbed: u32,
    /// Mail that there was when the row was made.
    seen: u32,
}

/// Counts an epoch over `stream` with the versions of `schedule`; one that measures stage times has
/// none here, and stays at k = 1.
///
/// # Errors
/// When a ledger to replay can't be read, or is of other iterations.
///
/// # Panics
/// If an end point is beyond the nodes that there are, or the batch size is 0.
pub fn count(stream: EndPoints<'_>, schedule: Schedule) -> Result<StreamStaleness, ReplayError> {
    let mut scheduler = Scheduler::new(schedule, Residency::Host)?;
    scheduler.begin(1, 0..stream.src.len().div_ceil(stream.batch_size))?;
    let mut counter = StalenessCounter::new(stream.nodes, 1);
    let mut rows = vec![Row::default(); stream.nodes];
    let mut unapplied: VecDeque<Vec<(u32, Row)>> = VecDeque::new();
    let mut result = StreamStaleness::default();
    let (mut applied, mut ends) = (0, Vec::new());
    let batches = stream.src.chunks(stream.batch_size);
    for (nth, (src, dst)) in batches
        .zip(stream.dst.chunks(stream.batch_size))
        .enumerate()
    {
        ends.clear();
        ends.extend(src.iter().chain(dst));
        ends.sort_unstable();
        ends.dedup();
        let version = scheduler.read_point(nth).version;
        let nodes = BatchNodes {
            read: &ends,
            written: &ends,
            mailed: &ends,
        };
        result.memory.add(&counter.read(version, nodes));
        for update in unapplied.drain(..version - applied) {
            apply(&mut rows, &update);
        }
        applied = version;
        let write = |&node: &u32| {
            let row = rows[node as usize];
            let has_mail = u32::from(row.mail > 0);
            result.updater_steps += u64::from(has_mail);
            result.catch_up_steps += u64::from(row.mail - row.seen);
            let written = Row {
                absorbed: row.absorbed + has_mail,
                seen: row.mail,
                ..row
            };
            (node, written)
        };
        unapplied.push_back(ends.iter().map(write).collect());
    }
    counter.end(&mut result.memory);
    result.memory.rows_read.clear();
    unapplied.iter().for_each(|update| apply(&mut rows, update));
    // The newest mail of a node is still there.
    let overwritten = |row: &Row| u64::from(row.mail.saturating_sub(1) - row.absorbed);
    result.mail_missing = rows.iter().map(overwritten).sum();
    Ok(result)
}

fn apply(rows: &mut [Row], update: &[(u32, Row)]) {
    for &(node, written) in update {
        let row = &mut rows[node as usize];
        *row = Row {
            mail: row.mail + 1,
            ..written
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(events: &[(u32, u32)], batch_size: usize, k: usize) -> StreamStaleness {
        let (src, dst): (Vec<u32>, Vec<u32>) = events.iter().copied().unzip();
        let stream = EndPoints {
            src: &src,
            dst: &dst,
            nodes: 10,
            batch_size,
        };
        count(stream, Schedule::Staleness(k)).unwrap()
    }

    #[test]
    fn a_pair_in_every_batch_by_hand() {
        // Nodes 0 and 1 meet six times, one event per batch.
        let events = [(0, 1); 6];
        let fresh = counted(&events, 1, 1);
        assert_eq!(fresh.memory.mail_overwritten, 10);
        assert_eq!((fresh.memory.mail_lost, fresh.mail_missing), (0, 0));
        assert_eq!((fresh.updater_steps, fresh.catch_up_steps), (10, 10));
        // k = 2: batches 2 to 5 absorb the mail of 0 to 3; the last row is made of 5, 3 and 1, so
        // that it has the mail of 3 and 1, and that of 0, 2 and 4 is missing; that of 4 is lost.
        let stale = counted(&events, 1, 2);
        assert_eq!(stale.memory.mail_lost, 2);
        assert_eq!(stale.mail_missing, 2 * 3);
        assert_eq!(stale.updater_steps, 8);
        // Catching up, batch 2 absorbs the mail of 0, batch 3 that of 0 and 1, and so on.
        assert_eq!(stale.catch_up_steps, 2 * (1 + 2 + 2 + 2));
    }
}
