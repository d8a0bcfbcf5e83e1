//! What the attention reads.

use super::super::counter_hash::Dropout;
use super::super::row;
use crate::batch::Slot;

/// Slope of the leaky ReLU on negative scores.
pub(crate) const SLOPE: f32 = 0.2;

/// Widths of an attention over sampled past events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Attention heads.
    pub heads: usize,
    /// Slots of a root.
    pub fanout: usize,
    /// Width of a node row.
    pub node: usize,
    /// Width of an edge feature row, 0 for none.
    pub edge: usize,
    /// Width of the time encoding.
    pub time: usize,
}

impl AttentionShape {
    /// Width of `x = [node row | edge features | time encoding | 1]`.
    pub fn width(&self) -> usize {
        self.node + self.edge + self.time + 1
    }
}

/// What the attention reads; all tables row-major.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionInput<'a> {
    /// Projected queries, `[heads, queries, width]`.
    pub(crate) query: &'a [f32],
    /// Node rows, `[rows, node]`.
    pub(crate) node: &'a [f32],
    /// Edge feature rows, `[event rows, edge]`.
    pub(crate) edge: &'a [f32],
    /// omega, then phi, `[2, time]`.
    pub(crate) time: &'a [f32],
    /// `[roots, fanout]`; the query row is the same in all slots of a root.
    pub(crate) slot: &'a [Slot],
    /// `[roots]`: rows by which dropouts are drawn, if not by the roots' own numbers.
    pub(crate) draw_row: Option<&'a [i32]>,
    /// Widths.
    pub(crate) shape: AttentionShape,
    /// Dropout of the attention weights.
    pub(crate) dropout: Dropout,
}

/// One row of a `[heads, rows, width]` table for each head.
#[derive(Clone, Copy)]
pub(super) struct HeadRows<'a> {
    /// The table.
    pub(super) table: &'a [f32],
    /// Its rows for each head.
    pub(super) rows: usize,
    /// Their width.
    pub(super) width: usize,
    /// The row.
    pub(super) index: usize,
}

impl<'a> HeadRows<'a> {
    #[inline(always)]
    pub(super) fn of(&self, head: usize) -> &'a [f32] {
        row(self.table, head * self.rows + self.index, self.width)
    }
}

/// Places that read each row of a table: `items[offsets[r]..offsets[r + 1]]`, ascending.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Uses<'a> {
    /// `[rows + 1]`.
    pub(crate) offsets: &'a [i32],
    /// One entry a use.
    pub(crate) items: &'a [i32],
}

impl<'a> Uses<'a> {
    /// Of lists whose items may be followed by something else.
    pub(crate) fn new(offsets: &'a [i32], items: &'a [i32]) -> Uses<'a> {
        let uses = offsets.last().map_or(0, |&end| end as usize);
        Uses {
            offsets,
            items: &items[..uses],
        }
    }
}

impl Uses<'_> {
    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Places that read a row.
    pub(super) fn of(&self, row: usize) -> &[i32] {
        &self.items[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

impl AttentionInput<'_> {
    pub(super) fn roots(&self) -> usize {
        self.slot.len() / self.shape.fanout
    }

    pub(super) fn queries(&self) -> usize {
        self.query.len() / (self.shape.heads * self.shape.width())
    }

    /// Row of a root's query.
    #[inline(always)]
    pub(super) fn query_row(&self, root: usize) -> usize {
        self.slot[root * self.shape.fanout].query as usize
    }

    /// Row by which a root's dropouts are drawn.
    #[inline(always)]
    pub(super) fn draw_row(&self, root: usize) -> usize {
        self.draw_row.map_or(root, |rows| rows[root] as usize)
    }

    /// The query of a query row.
    #[inline(always)]
    pub(super) fn query(&self, query_row: usize) -> HeadRows<'_> {
        HeadRows {
            table: self.query,
            rows: self.queries(),
            width: self.shape.width(),
            index: query_row,
        }
    }

    /// Row and event row of a root's slot and the time since its event; `None` where it is empty.
    #[inline(always)]
    pub(super) fn slot(&self, root: usize, k: usize) -> Option<(usize, usize, f32)> {
        let slot = self.slot[root * self.shape.fanout + k];
        (slot.row >= 0).then_some((slot.row as usize, slot.event as usize, slot.delta_t))
    }
}
