//! The valid slots of one root.

use super::super::cosine::TimeColumns;
use super::super::row;
use super::super::vector::{LANES, prefetch};
use super::input::AttentionInput;

/// A slot that is not empty.
#[derive(Clone, Copy)]
pub(super) struct ValidSlot<'a> {
    /// Its number among the root's slots.
    pub(super) k: usize,
    /// Time since its event.
    pub(super) delta: f32,
    /// What it reads.
    pub(super) read: Read<'a>,
    /// Number of that among what the roots of the query row read.
    pub(super) number: usize,
}

/// What a slot reads: the part of its x that is not computed.
#[derive(Clone, Copy)]
pub(super) struct Read<'a> {
    /// Node row.
    pub(super) node: &'a [f32],
    /// Edge feature row.
    pub(super) edge: &'a [f32],
}

impl Read<'_> {
    /// Whether both are the same rows of their tables.
    #[inline(always)]
    fn is(&self, other: &Read<'_>) -> bool {
        std::ptr::eq(self.node, other.node) && std::ptr::eq(self.edge, other.edge)
    }
}

/// Slots of one root after the other. Of each x it holds what is computed, `[encoding | 1]`, with
/// columns that nothing comes of up to a multiple of the vector width; node and edge feature rows
/// are read where they are.
///
/// Roots with the same query are one node at several times, and read much the same: what they read
/// is numbered, so that what depends on it and on the query alone is computed once.
pub(super) struct Slots<'a> {
    pub(super) input: &'a AttentionInput<'a>,
    /// The root's.
    pub(super) valid: Vec<ValidSlot<'a>>,
    /// Those of the root before, if it has the same query.
    before: Vec<ValidSlot<'a>>,
    /// What the roots of the query row have read so far.
    pub(super) reads: Vec<Read<'a>>,
    /// Frequencies, and 0 for the 1.
    columns: TimeColumns,
    /// Width of a row of `tail`.
    pub(super) stride: usize,
    /// Encodings and 1, `[fanout, stride]`.
    tail: Vec<f32>,
    /// Sine beside the cosine in `tail`, `[fanout, stride]`.
    sine: Vec<f32>,
}

impl<'a> Slots<'a> {
    pub(super) fn new(input: &'a AttentionInput<'a>) -> Slots<'a> {
        let fanout = input.shape.fanout;
        let stride = (input.shape.time + 1).next_multiple_of(LANES);
        Slots {
            input,
            valid: Vec::with_capacity(fanout),
            before: Vec::with_capacity(fanout),
            reads: Vec::new(),
            columns: TimeColumns::new(input.time, stride),
            stride,
            tail: vec![0.0; fanout * stride],
            sine: vec![0.0; fanout * stride],
        }
    }

    /// Asks for the rows of the next root's slots, which `root` leaves time to fetch. Roots with the
    /// same query read much the same, which is in the cache by now.
    #[inline(always)]
    pub(super) fn prefetch(&self, root: usize, next: usize) {
        let input = self.input;
        if input.query_row(next) == input.query_row(root) {
            return;
        }
        for k in 0..input.shape.fanout {
            if let Some((node, edge, _)) = input.slot(next, k) {
                prefetch(row(input.node, node, input.shape.node));
                prefetch(row(input.edge, edge, input.shape.edge));
            }
        }
    }

    /// Begins with the roots of another query row.
    #[inline(always)]
    pub(super) fn begin_query_row(&mut self) {
        self.valid.clear();
        self.reads.clear();
    }

    /// Finds the valid slots of the next root of a query row and encodes their times, with the sines
    /// if gradients will ask for them.
    #[inline(always)]
    pub(super) fn find<const SINES: bool>(&mut self, root: usize) {
        let (input, stride) = (self.input, self.stride);
        let shape = &input.shape;
        std::mem::swap(&mut self.valid, &mut self.before);
        self.valid.clear();
        // A later root has newer events first, then those of the root before in the same order.
        let mut before = self.before.iter().peekable();
        for k in 0..shape.fanout {
            let Some((node, edge, delta)) = input.slot(root, k) else {
                continue;
            };
            let i = self.valid.len();
            let of_slot = i * stride..(i + 1) * stride;
            let tail = &mut self.tail[of_slot.clone()];
            match SINES {
                true => self.columns.encode(delta, tail, &mut self.sine[of_slot]),
                false => self.columns.encode_cosine(delta, tail),
            }
            let read = Read {
                node: row(input.node, node, shape.node),
                edge: row(input.edge, edge, shape.edge),
            };
            let number = match before.next_if(|slot| slot.read.is(&read)) {
                Some(slot) => slot.number,
                None => {
                    self.reads.push(read);
                    self.reads.len() - 1
                }
            };
            self.valid.push(ValidSlot {
                k,
                delta,
                read,
                number,
            });
        }
    }

    /// What is computed of the x of each valid slot.
    #[inline(always)]
    pub(super) fn tails(&self) -> impl Iterator<Item = &[f32]> + Clone {
        self.tail.chunks_exact(self.stride).take(self.valid.len())
    }

    /// The same of one.
    #[inline(always)]
    pub(super) fn tail(&self, slot: usize) -> &[f32] {
        row(&self.tail, slot, self.stride)
    }

    /// Sines beside the cosines of a slot's encoding.
    #[inline(always)]
    pub(super) fn sine(&self, slot: usize) -> &[f32] {
        row(&self.sine, slot, self.stride)
    }
}
