//! The valid slots of one root, and the loops over them.

use super::super::activation::exp;
use super::super::vector::{Dots, LANES, add_scaled, add_scaled_to_both, prefetch};
use super::super::{cosine, row};
use super::{AttentionInput, AttentionShape};

/// A slot that is not empty.
#[derive(Clone, Copy)]
pub(super) struct ValidSlot {
    /// Its number among the root's slots.
    pub(super) k: usize,
    /// Time since its event.
    pub(super) delta: f32,
    /// Where the node row begins in its table.
    node: usize,
    /// Where the edge feature row begins in its table.
    edge: usize,
}

impl ValidSlot {
    #[inline(always)]
    fn node<'a>(&self, input: &AttentionInput<'a>) -> &'a [f32] {
        &input.node[self.node..][..input.shape.node]
    }

    #[inline(always)]
    fn edge<'a>(&self, input: &AttentionInput<'a>) -> &'a [f32] {
        &input.edge[self.edge..][..input.shape.edge]
    }
}

/// Scratch space of one task. Of each slot's x it holds what is computed, `[encoding | 1]`, padded
/// with zeros to a multiple of the vector width; node and edge feature rows are read where they
/// are.
pub(super) struct Scratch {
    pub(super) valid: Vec<ValidSlot>,
    /// Width of a row of `tail`.
    stride: usize,
    /// `[fanout, stride]`.
    tail: Vec<f32>,
    /// Sine beside the cosine in `tail`, `[fanout, time]`.
    pub(super) sine: Vec<f32>,
    /// The same part of one row of the query or of the gradient for each head, `[heads, stride]`.
    vector_tail: Vec<f32>,
    /// `vector[head] . x`, `[fanout, heads]`.
    pub(super) product: Vec<f32>,
    /// Coefficients of weighted sums, `[fanout, heads]`.
    pub(super) coefficient: Vec<f32>,
    /// Softmax of one head, `[fanout]`.
    pub(super) weight: Vec<f32>,
    /// Weighted sums, `[heads, width]`.
    sum: Vec<f32>,
    pub(super) d_encoding: Vec<f32>,
}

impl Scratch {
    pub(super) fn new(shape: &AttentionShape) -> Scratch {
        let stride = (shape.time + 1).next_multiple_of(LANES);
        Scratch {
            valid: Vec::with_capacity(shape.fanout),
            stride,
            tail: vec![0.0; shape.fanout * stride],
            sine: vec![0.0; shape.fanout * shape.time],
            vector_tail: vec![0.0; shape.heads * stride],
            product: vec![0.0; shape.fanout * shape.heads],
            coefficient: vec![0.0; shape.fanout * shape.heads],
            weight: vec![0.0; shape.fanout],
            sum: vec![0.0; shape.heads * shape.width()],
            d_encoding: vec![0.0; shape.time],
        }
    }

    /// Asks for the rows of a root's slots, which the root before it leaves time to fetch.
    #[inline(always)]
    pub(super) fn prefetch(&self, input: &AttentionInput<'_>, root: usize) {
        for k in 0..input.shape.fanout {
            if let Some((node, edge, _)) = input.slot(root, k) {
                prefetch(row(input.node, node, input.shape.node));
                prefetch(row(input.edge, edge, input.shape.edge));
            }
        }
    }

    /// Finds the valid slots of a root and encodes their times.
    #[inline(always)]
    pub(super) fn find(&mut self, input: &AttentionInput<'_>, root: usize) {
        let shape = &input.shape;
        let (omega, phi) = input.time.split_at(shape.time);
        self.valid.clear();
        for k in 0..shape.fanout {
            let Some((node, edge, delta)) = input.slot(root, k) else {
                continue;
            };
            let i = self.valid.len();
            let tail = &mut self.tail[i * self.stride..][..shape.time + 1];
            let (encoding, one) = tail.split_at_mut(shape.time);
            let sine = &mut self.sine[i * shape.time..(i + 1) * shape.time];
            cosine::encode_time(delta, omega, phi, encoding, sine);
            one[0] = 1.0;
            self.valid.push(ValidSlot {
                k,
                delta,
                node: node * shape.node,
                edge: edge * shape.edge,
            });
        }
    }

    /// `product = vector[head] . x` of each valid slot and head, two of each at a time, for the rows
    /// `index` of a `[heads, rows, width]` table. Of an odd number the last is taken twice.
    #[inline(always)]
    pub(super) fn multiply(
        &mut self,
        input: &AttentionInput<'_>,
        table: &[f32],
        rows: usize,
        index: usize,
    ) {
        let AttentionShape {
            heads, node, edge, ..
        } = input.shape;
        let (stride, slots, width) = (self.stride, self.valid.len(), input.shape.width());
        let vector = |head: usize| row(table, head * rows + index, width);
        for (head, tail) in self.vector_tail.chunks_exact_mut(stride).enumerate() {
            let of_head = &vector(head)[node + edge..];
            tail[..of_head.len()].copy_from_slice(of_head);
        }
        for i in (0..slots).step_by(2) {
            for head in (0..heads).step_by(2) {
                let slot = [i, (i + 1).min(slots - 1)];
                let head = [head, (head + 1).min(heads - 1)];
                let (valid, vector) = (slot.map(|i| self.valid[i]), head.map(vector));
                let mut dots = Dots::default();
                if node > 0 {
                    dots.add(
                        valid.map(|slot| slot.node(input)),
                        vector.map(|v| &v[..node]),
                    );
                }
                if edge > 0 {
                    let of_edge = vector.map(|v| &v[node..node + edge]);
                    dots.add(valid.map(|slot| slot.edge(input)), of_edge);
                }
                dots.add(
                    slot.map(|i| &self.tail[i * stride..(i + 1) * stride]),
                    head.map(|h| &self.vector_tail[h * stride..(h + 1) * stride]),
                );
                for (slot, of_slot) in slot.iter().zip(dots.totals()) {
                    for (head, product) in head.iter().zip(of_slot) {
                        self.product[slot * heads + head] = product;
                    }
                }
            }
        }
    }

    /// Softmax of one head's scores `[fanout, heads]` over the valid slots, into `weight`.
    #[inline(always)]
    pub(super) fn softmax(&mut self, score: &[f32], heads: usize, head: usize) {
        let mut largest = f32::MIN;
        for slot in &self.valid {
            largest = largest.max(score[slot.k * heads + head]);
        }
        let mut total = 0.0;
        for (weight, slot) in self.weight.iter_mut().zip(&self.valid) {
            *weight = exp((score[slot.k * heads + head] - largest).max(-80.0));
            total += *weight;
        }
        for weight in &mut self.weight[..self.valid.len()] {
            *weight /= total;
        }
    }

    /// Adds to `sum[head]` the sum of `coefficient[slot, head] * x` over the valid slots, two heads
    /// at a time. Of an odd number the last is alone.
    #[inline(always)]
    pub(super) fn add_weighted_sums(&mut self, input: &AttentionInput<'_>) {
        let AttentionShape {
            heads, node, edge, ..
        } = input.shape;
        let width = input.shape.width();
        for (i, slot) in self.valid.iter().enumerate() {
            let tail = &self.tail[i * self.stride..][..width - node - edge];
            let x = [slot.node(input), slot.edge(input), tail];
            let coefficient = &self.coefficient[i * heads..][..heads];
            for (pair, sums) in self.sum.chunks_mut(2 * width).enumerate() {
                let (first, second) = sums.split_at_mut(width);
                let mut at = 0;
                for x in x {
                    let part = at..at + x.len();
                    at = part.end;
                    if second.is_empty() {
                        add_scaled(&mut first[part], coefficient[2 * pair], x);
                    } else {
                        let two = [coefficient[2 * pair], coefficient[2 * pair + 1]];
                        add_scaled_to_both(&mut first[part.clone()], &mut second[part], two, x);
                    }
                }
            }
        }
    }

    /// Forgets the sums.
    #[inline(always)]
    pub(super) fn clear_sums(&mut self) {
        self.sum.fill(0.0);
    }

    /// The weighted sum of a head, `[width]`.
    pub(super) fn sum(&self, head: usize, width: usize) -> &[f32] {
        row(&self.sum, head, width)
    }
}
