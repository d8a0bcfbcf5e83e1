//! What the version rule does to memory: mail that is overwritten before an update has absorbed it,
//! and rows that are read without updates of their own node.
//!
//! Definitions. An *update* is what an iteration writes: the memory rows of its batch's nodes and
//! mail. An iteration that reads version v sees the first v updates of its epoch, and its
//! own update has *absorbed*, for each node whose row it writes, all mail of that node that it saw.
//! * Mail is *overwritten* when an update is applied that puts other mail into its place, and
//!   *lost* if no update had absorbed it by then. Whoever reads later does not see it, so it never
//!   will be. A node that is active again within fewer than k batches loses mail so.
//! * A row *lacks* the updates before its iteration that change its node (its row or its mail) and
//!   that the iteration did not see: 0 to k − 1 of them. A row that lacks one is *stale*.
//!
//! Invariant: counts are whole numbers that depend on the batches and the versions alone, so they
//! are the same on every device, wherever memory lies, and in a run that was paused.
//! It does not choose versions, and knows nothing of what rows and mail hold.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// What staleness did to the memory that an iteration read, or several.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StaleMemory {
    /// Mail overwritten by the updates that were applied since the iteration before had read; those
    /// that no iteration of the epoch sees are counted with its last one.
    pub mail_overwritten: u64,
    /// Mail of these that no update had absorbed.
    pub mail_lost: u64,
    /// Rows read, by how many updates of their own they lacked; the first lacked none. None where they
    /// are not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows_read: Vec<u64>,
    /// Rows of these that are written (one per node), likewise.
    pub rows_written: Vec<u64>,
}

impl StaleMemory {
    /// Adds the counts of other iterations.
    pub fn add(&mut self, other: &StaleMemory) {
        self.mail_overwritten += other.mail_overwritten;
        self.mail_lost += other.mail_lost;
        for (all, counts) in [
            (&mut self.rows_read, &other.rows_read),
            (&mut self.rows_written, &other.rows_written),
        ] {
            all.resize(all.len().max(counts.len()), 0);
            all.iter_mut()
                .zip(counts)
                .for_each(|(all, count)| *all += count);
        }
    }
}

/// Rows, and those of them that lack updates of their own.
pub fn stale_rows(by_lacking: &[u64]) -> (u64, u64) {
    let rows = by_lacking.iter().sum();
    (rows, rows - by_lacking.first().unwrap_or(&0))
}

/// A part of what was counted in per cent; of nothing, 0.
pub fn percent(part: u64, all: u64) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

/// Counts a row that lacks so many updates.
pub(crate) fn count(by_lacking: &mut Vec<u64>, lacks: u32) {
    let lacks = lacks as usize;
    if by_lacking.len() <= lacks {
        by_lacking.resize(lacks + 1, 0);
    }
    by_lacking[lacks] += 1;
}

/// Nodes of a batch.
#[derive(Debug, Clone, Copy)]
pub struct BatchNodes<'a> {
    /// The node of each row that is read.
    pub read: &'a [u32],
    /// Whose rows are written, each once.
    pub written: &'a [u32],
    /// Who gets mail, ascending, each once. All of `written`, or no others than these.
    pub mailed: &'a [u32],
}

/// A node's mail as the table of the applied updates has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct NodeMail {
    /// Pieces of it.
    kept: u32,
    /// The newest pieces, which no update has absorbed.
    unabsorbed: u32,
    /// Updates of the node that are not applied.
    lacking: u32,
}

/// An update that is not applied.
#[derive(Debug, Clone)]
struct Unapplied {
    mailed: Vec<u32>,
    /// Whose rows it writes though they get no mail.
    only_written: Vec<u32>,
}

/// Counts over the iterations of an epoch, given in their order.
#[derive(Debug, Clone, Default)]
pub struct StalenessCounter {
    slots: u32,
    nodes: Vec<NodeMail>,
    applied: usize,
    unapplied: VecDeque<Unapplied>,
    /// Mail overwritten and mail lost since the last iteration has read.
    mail: [u64; 2],
}

/// A counter in a pause, beside the updates that are not applied.
#[derive(Debug)]
pub struct SavedStaleness {
    /// Pieces of mail of each node, `[nodes]`.
    pub kept: Vec<u32>,
    /// Those that no update has absorbed, `[nodes]`.
    pub unabsorbed: Vec<u32>,
    /// Mail overwritten and mail lost since the last iteration has read.
    pub mail: [i64; 2],
}

impl StalenessCounter {
    /// At the start of an epoch, for `nodes` nodes that keep so many pieces of mail.
    pub fn new(nodes: usize, mail_slots: usize) -> StalenessCounter {
        StalenessCounter {
            slots: mail_slots as u32,
            nodes: vec![NodeMail::default(); nodes],
            ..StalenessCounter::default()
        }
    }

    /// The next iteration of the epoch, which sees `version` of its updates.
    ///
    /// # Panics
    /// If a node is beyond those that there are.
    pub fn read(&mut self, version: usize, batch: BatchNodes<'_>) -> StaleMemory {
        self.apply_until(version);
        let mut counts = StaleMemory::default();
        self.take_mail(&mut counts);
        for &node in batch.read {
            count(&mut counts.rows_read, self.nodes[node as usize].lacking);
        }
        for &node in batch.written {
            let mail = &mut self.nodes[node as usize];
            count(&mut counts.rows_written, mail.lacking);
            mail.unabsorbed = 0;
        }
        self.leave(batch.written, batch.mailed);
        counts
    }

    /// How many updates of its own the row of each of `nodes` lacks for the next iteration, which sees `version`
    /// updates of the epoch.
    ///
    /// # Panics
    /// As [`read`](Self::read).
    pub(crate) fn lacking(&mut self, version: usize, nodes: &[u32]) -> Vec<u32> {
        self.apply_until(version);
        let lacking = |&node: &u32| self.nodes[node as usize].lacking;
        nodes.iter().map(lacking).collect()
    }

    /// The epoch is over: all its updates get applied, which is counted into `counts`.
    pub fn end(&mut self, counts: &mut StaleMemory) {
        self.apply_until(usize::MAX);
        self.take_mail(counts);
    }

    fn take_mail(&mut self, counts: &mut StaleMemory) {
        let [overwritten, lost] = std::mem::take(&mut self.mail);
        counts.mail_overwritten += overwritten;
        counts.mail_lost += lost;
    }

    /// Takes note of an update that is to be applied later.
    fn leave(&mut self, written: &[u32], mailed: &[u32]) {
        let no_mail = |node: &&u32| mailed.binary_search(node).is_err();
        let only_written = match written.len() > mailed.len() {
            true => written.iter().filter(no_mail).copied().collect(),
            false => Vec::new(),
        };
        for &node in mailed.iter().chain(&only_written) {
            self.nodes[node as usize].lacking += 1;
        }
        self.unapplied.push_back(Unapplied {
            mailed: mailed.to_vec(),
            only_written,
        });
    }

    /// Applies so many updates of the epoch, or as many as there are.
    fn apply_until(&mut self, version: usize) {
        while self.applied < version {
            let Some(update) = self.unapplied.pop_front() else {
                return;
            };
            self.applied += 1;
            self.apply(&update);
        }
    }

    fn apply(&mut self, update: &Unapplied) {
        for &node in &update.only_written {
            self.nodes[node as usize].lacking -= 1;
        }
        for &node in &update.mailed {
            let mail = &mut self.nodes[node as usize];
            mail.lacking -= 1;
            mail.unabsorbed += 1;
            if mail.kept < self.slots {
                mail.kept += 1;
                continue;
            }
            self.mail[0] += 1;
            if mail.unabsorbed > self.slots {
                self.mail[1] += 1;
                mail.unabsorbed = self.slots;
            }
        }
    }

    /// What is to be kept of it in a pause at which `applied` updates are applied.
    pub fn saved(&self, applied: usize) -> SavedStaleness {
        let mut then = self.clone();
        then.apply_until(applied);
        let nodes = || then.nodes.iter();
        SavedStaleness {
            kept: nodes().map(|mail| mail.kept).collect(),
            unabsorbed: nodes().map(|mail| mail.unabsorbed).collect(),
            mail: then.mail.map(|count| count as i64),
        }
    }

    /// The same counter after a pause at which `applied` updates were applied.
    pub fn resume(mail_slots: usize, applied: usize, saved: SavedStaleness) -> StalenessCounter {
        let slots = mail_slots as u32;
        let nodes = saved.kept.into_iter().zip(saved.unabsorbed);
        let nodes = nodes.map(|(kept, unabsorbed)| NodeMail {
            kept: kept.min(slots),
            unabsorbed: unabsorbed.min(slots),
            lacking: 0,
        });
        StalenessCounter {
            slots,
            nodes: nodes.collect(),
            applied,
            unapplied: VecDeque::new(),
            mail: saved.mail.map(|count| count.max(0) as u64),
        }
    }

    /// The pause left an update, the next one after those before, which writes and mails these.
    ///
    /// # Panics
    /// As [`read`](Self::read).
    pub fn resume_unapplied(&mut self, written: &[u32], mailed: &[u32]) {
        self.leave(written, mailed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each batch with the version that it reads; it writes and mails the nodes that it reads.
    fn counted(slots: usize, batches: &[(usize, &[u32])]) -> Vec<StaleMemory> {
        let mut counter = StalenessCounter::new(4, slots);
        let mut all: Vec<StaleMemory> = batches
            .iter()
            .map(|&(version, nodes)| {
                counter.read(
                    version,
                    BatchNodes {
                        read: nodes,
                        written: nodes,
                        mailed: nodes,
                    },
                )
            })
            .collect();
        counter.end(all.last_mut().unwrap());
        all
    }

    fn mail(counts: &[StaleMemory]) -> Vec<(u64, u64)> {
        let mail = |line: &StaleMemory| (line.mail_overwritten, line.mail_lost);
        counts.iter().map(mail).collect()
    }

    #[test]
    fn nothing_is_lost_where_every_update_is_seen() {
        let counts = counted(1, &[(0, &[0, 1]), (1, &[0]), (2, &[0, 1]), (3, &[1])]);
        // Each update is applied when the next one reads, the last one at the end.
        assert_eq!(mail(&counts), [(0, 0), (0, 0), (1, 0), (3, 0)]);
        assert!(counts.iter().all(|line| line.rows_read.len() == 1));
    }

    #[test]
    fn mail_that_is_overwritten_between_two_reads_is_lost() {
        // k = 2. Node 0 is in batches 0, 1 and 3: batch 1 does not see the mail of batch 0,
        // and batch 3 sees that of batch 1 in its place. Node 1 is in 0 and 2, which sees 0's.
        let batches: [(usize, &[u32]); 4] = [(0, &[0, 1]), (0, &[0]), (1, &[1]), (2, &[0])];
        let counts = counted(1, &batches);
        assert_eq!(mail(&counts), [(0, 0), (0, 0), (0, 0), (3, 1)]);
        assert_eq!(counts[1].rows_written, [0, 1]);
        assert_eq!(counts[3].rows_written, [1]);
        // With two slots nothing is lost, nor overwritten but by the third piece.
        assert_eq!(mail(&counted(2, &batches))[3], (1, 0));
    }

    #[test]
    fn a_node_in_every_batch_has_its_mail_absorbed_by_interleaved_rows() {
        // k = 2: batch 2 absorbs what batch 0 sent, batch 3 what batch 1 sent, and so on. What
        // batch 4 sent is overwritten by batch 5, and nobody comes after it.
        let batches: Vec<(usize, &[u32])> = (0..6usize)
            .map(|nth| (nth.saturating_sub(1), &[2u32][..]))
            .collect();
        let counts = counted(1, &batches);
        let lost: u64 = counts.iter().map(|line| line.mail_lost).sum();
        assert_eq!((lost, counts[5].mail_lost), (1, 1));
        assert!(counts[1..].iter().all(|line| line.rows_read == [0, 1]));
    }

    #[test]
    fn a_pause_changes_no_count() {
        let batches: Vec<[u32; 2]> = (0..12u32).map(|i| [i % 3, 3]).collect();
        let read = |counter: &mut StalenessCounter, nth: usize| {
            let nodes = &batches[nth];
            counter.read(
                nth.saturating_sub(2),
                BatchNodes {
                    read: nodes,
                    written: &nodes[..1],
                    mailed: nodes,
                },
            )
        };
        let mut whole = StalenessCounter::new(4, 2);
        let mut paused = whole.clone();
        for nth in 0..12 {
            assert_eq!(read(&mut whole, nth), read(&mut paused, nth), "{nth}");
            // One that the next iteration sees is applied in the pause.
            let applied = (nth + 1).saturating_sub(2);
            paused = StalenessCounter::resume(2, applied, paused.saved(applied));
            for nodes in &batches[applied..=nth] {
                paused.resume_unapplied(&nodes[..1], nodes);
            }
        }
    }
}
