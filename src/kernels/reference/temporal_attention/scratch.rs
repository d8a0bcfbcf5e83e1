//! The valid slots of one root, gathered and padded, and the loops over them.

use super::super::activation::exp;
use super::super::vector::{LANES, add_weighted, add_weighted_twice, dots, prefetch};
use super::super::{cosine, row};
use super::{AttentionInput, AttentionShape};

/// Scratch space of one task.
///
/// Rows are padded with zeros to a multiple of the vector width, so that the inner loops
/// have no remainders.
pub(super) struct Scratch {
    stride: usize,
    /// Slot numbers of the valid slots, and the time since each.
    pub(super) valid: Vec<(usize, f32)>,
    /// `x` of each valid slot, `[fanout, stride]`.
    x: Vec<f32>,
    /// Sine beside the cosine in `x`, `[fanout, time]`.
    pub(super) sine: Vec<f32>,
    /// One row of the query or of the gradient for each head, `[heads, stride]`.
    vector: Vec<f32>,
    /// `vector[head] . x`, `[fanout, heads]`.
    pub(super) product: Vec<f32>,
    /// Coefficients of weighted sums, `[fanout, heads]`.
    pub(super) coefficient: Vec<f32>,
    /// Softmax of one head, `[fanout]`.
    pub(super) weight: Vec<f32>,
    /// Weighted sums, `[heads, stride]`.
    sum: Vec<f32>,
    pub(super) d_encoding: Vec<f32>,
}

impl Scratch {
    pub(super) fn new(shape: &AttentionShape) -> Scratch {
        let stride = shape.width().next_multiple_of(LANES);
        Scratch {
            stride,
            valid: Vec::with_capacity(shape.fanout),
            x: vec![0.0; shape.fanout * stride],
            sine: vec![0.0; shape.fanout * shape.time],
            vector: vec![0.0; shape.heads * stride],
            product: vec![0.0; shape.fanout * shape.heads],
            coefficient: vec![0.0; shape.fanout * shape.heads],
            weight: vec![0.0; shape.fanout],
            sum: vec![0.0; shape.heads * stride],
            d_encoding: vec![0.0; shape.time],
        }
    }

    /// Asks for the rows of a root's slots, which the root before it leaves time to fetch.
    #[inline(always)]
    pub(super) fn prefetch(&self, input: &AttentionInput<'_>, root: usize) {
        for k in 0..input.shape.fanout {
            if let Some((node, edge, _)) = input.slot(root, k) {
                prefetch(node);
                prefetch(edge);
            }
        }
    }

    /// Gathers the valid slots of a root.
    #[inline(always)]
    pub(super) fn gather(&mut self, input: &AttentionInput<'_>, root: usize) {
        let shape = &input.shape;
        let (omega, phi) = input.time.split_at(shape.time);
        self.valid.clear();
        for k in 0..shape.fanout {
            let Some((node, edge, delta)) = input.slot(root, k) else {
                continue;
            };
            let i = self.valid.len();
            let x = &mut self.x[i * self.stride..(i + 1) * self.stride];
            let (for_node, rest) = x.split_at_mut(shape.node);
            let (for_edge, rest) = rest.split_at_mut(shape.edge);
            let (for_time, rest) = rest.split_at_mut(shape.time);
            for_node.copy_from_slice(node);
            for_edge.copy_from_slice(edge);
            let sine = &mut self.sine[i * shape.time..(i + 1) * shape.time];
            cosine::encode_time(delta, omega, phi, for_time, sine);
            rest[0] = 1.0;
            self.valid.push((k, delta));
        }
    }

    /// Copies row `index` of each head of a `[heads, rows, width]` table.
    #[inline(always)]
    pub(super) fn load(&mut self, table: &[f32], [rows, width]: [usize; 2], index: usize) {
        for (head, vector) in self.vector.chunks_exact_mut(self.stride).enumerate() {
            vector[..width].copy_from_slice(row(table, head * rows + index, width));
        }
    }

    /// `product = vector[head] . x` of each valid slot and head, two of each at a time. Of an odd
    /// number the last is taken twice.
    #[inline(always)]
    pub(super) fn multiply(&mut self, heads: usize) {
        let (stride, slots) = (self.stride, self.valid.len());
        for i in (0..slots).step_by(2) {
            for head in (0..heads).step_by(2) {
                let (slot, head) = (
                    [i, (i + 1).min(slots - 1)],
                    [head, (head + 1).min(heads - 1)],
                );
                let products = dots(
                    slot.map(|i| &self.x[i * stride..(i + 1) * stride]),
                    head.map(|h| &self.vector[h * stride..(h + 1) * stride]),
                );
                for (slot, of_slot) in slot.iter().zip(products) {
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
        for &(k, _) in &self.valid {
            largest = largest.max(score[k * heads + head]);
        }
        let mut total = 0.0;
        for (weight, &(k, _)) in self.weight.iter_mut().zip(&self.valid) {
            *weight = exp((score[k * heads + head] - largest).max(-80.0));
            total += *weight;
        }
        for weight in &mut self.weight[..self.valid.len()] {
            *weight /= total;
        }
    }

    /// Adds to `sum[head]` the sum of `coefficient[slot, head] * x` over the valid slots, two heads
    /// at a time. Of an odd number the last is alone.
    #[inline(always)]
    pub(super) fn add_weighted_sums(&mut self, heads: usize) {
        let (stride, slots) = (self.stride, self.valid.len());
        for (pair, sums) in self.sum.chunks_mut(2 * stride).enumerate() {
            let (first, second) = sums.split_at_mut(stride);
            let coefficients = self.coefficient.chunks_exact(heads).take(slots);
            let coefficients = coefficients.map(|of_slot| &of_slot[2 * pair..]);
            if second.is_empty() {
                let one = coefficients.map(|of_slot| of_slot[0]);
                add_weighted(first, &self.x, one);
            } else {
                let two = coefficients.map(|of_slot| [of_slot[0], of_slot[1]]);
                add_weighted_twice(first, second, &self.x, two);
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
        row(&self.sum, head, self.stride).split_at(width).0
    }
}
