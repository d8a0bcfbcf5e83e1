//! Mail that rows have not absorbed beside their newest piece: with `--mitigation catch-up` the updater
//! absorbs it first, in the order in which it came.
//!
//! An *entry* is a node of the batch with such mail; all rows of the node begin with what the
//! entry has absorbed. Entries with more mail come first and begin earlier: all end with the last
//! step, so that each step takes the first entries, the ones of the step before among them.
//!
//! Invariant: what an entry absorbs depends on its node alone, not on the other entries.

use std::cmp::Reverse;

use crate::graph::NodeId;

/// The mail of one batch's rows that is absorbed before their newest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Backlog {
    /// `[entries]`: a row with the memory that each entry begins with.
    pub row: Vec<i32>,
    /// Entries of each step; they never become fewer.
    pub steps: Vec<usize>,
    /// `[mail]`: place of each piece in the table of mail, step by step.
    pub place: Vec<i32>,
    /// `[mail]`: the time difference that the updater gets with it, in the stream's unit.
    pub delta_t: Vec<f32>,
    /// `[rows]`: where each row's memory is among the entries and, behind them, the rows; empty if
    /// there are no entries.
    pub source: Vec<i32>,
}

impl Backlog {
    /// That of rows of these nodes, given how many pieces of a node's mail its row has not absorbed, and
    /// the piece that so many are newer than.
    pub(super) fn of(
        rows: &[NodeId],
        unabsorbed: impl Fn(NodeId) -> usize,
        piece: impl Fn(NodeId, usize) -> Piece,
    ) -> Backlog {
        let mut entries: Vec<(Reverse<usize>, NodeId, i32)> = (0..)
            .zip(rows)
            .map(|(row, &node)| (Reverse(unabsorbed(node)), node, row))
            .filter(|(Reverse(unabsorbed), ..)| *unabsorbed > 1)
            .collect();
        entries.sort_unstable();
        entries.dedup_by_key(|(_, node, _)| *node);
        let Some(&(Reverse(most), ..)) = entries.first() else {
            return Backlog::default();
        };
        let mut backlog = Backlog {
            row: entries.iter().map(|(.., row)| *row).collect(),
            ..Backlog::default()
        };
        // The newest is the row's own.
        for newer in (1..most).rev() {
            let begun =
                |(Reverse(unabsorbed), ..): &(Reverse<usize>, NodeId, i32)| *unabsorbed > newer;
            let of_step = entries.partition_point(begun);
            for (_, node, _) in &entries[..of_step] {
                let piece = piece(*node, newer);
                backlog.place.push(piece.place);
                backlog.delta_t.push(piece.delta_t);
            }
            backlog.steps.push(of_step);
        }
        let mut entry_of: Vec<(NodeId, i32)> = (0..)
            .zip(&entries)
            .map(|(at, (_, node, _))| (*node, at))
            .collect();
        entry_of.sort_unstable();
        let source = |(row, node): (i32, &NodeId)| {
            let found = entry_of.binary_search_by_key(node, |(node, _)| *node);
            found.map_or(entries.len() as i32 + row, |at| entry_of[at].1)
        };
        backlog.source = (0..).zip(rows).map(source).collect();
        backlog
    }

    /// Pieces of mail.
    pub fn mail(&self) -> usize {
        self.place.len()
    }

    /// A row of each entry, and the pieces of mail that it absorbs.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, u32)> {
        let pieces = |entry| {
            self.steps
                .iter()
                .filter(|&&of_step| of_step > entry)
                .count()
        };
        let rows = self.row.iter().enumerate();
        rows.map(move |(entry, &row)| (row as usize, pieces(entry) as u32))
    }
}

/// A piece of a node's mail.
pub(super) struct Piece {
    /// Place in the table of mail.
    pub(super) place: i32,
    /// Time difference that the updater gets with it, in the stream's unit.
    pub(super) delta_t: f32,
}
