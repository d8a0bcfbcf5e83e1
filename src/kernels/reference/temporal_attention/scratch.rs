//! The valid slots of one root, gathered and padded, and the loops over them.

use super::super::activation::exp;
use super::super::vector::LANES;
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

    /// `product = vector[head] . x` of each valid slot and head.
    ///
    /// Two slots and two heads at a time: a number that is loaded takes part in two products,
    /// and there are enough sums to hide how long an addition takes.
    #[inline(always)]
    pub(super) fn multiply(&mut self, heads: usize) {
        let slots = self.valid.len();
        for i in (0..slots).step_by(2) {
            for head in (0..heads).step_by(2) {
                match (i + 1 < slots, head + 1 < heads) {
                    (true, true) => self.products::<2, 2>(i, head, heads),
                    (true, false) => self.products::<2, 1>(i, head, heads),
                    (false, true) => self.products::<1, 2>(i, head, heads),
                    (false, false) => self.products::<1, 1>(i, head, heads),
                }
            }
        }
    }

    #[inline(always)]
    fn products<const SLOTS: usize, const HEADS: usize>(
        &mut self,
        slot: usize,
        head: usize,
        heads: usize,
    ) {
        let stride = self.stride;
        let x: [&[f32]; SLOTS] =
            std::array::from_fn(|i| &self.x[(slot + i) * stride..(slot + i + 1) * stride]);
        let vector: [&[f32]; HEADS] =
            std::array::from_fn(|h| &self.vector[(head + h) * stride..(head + h + 1) * stride]);
        let mut sum = [[[0.0f32; LANES]; HEADS]; SLOTS];
        for at in (0..stride).step_by(LANES) {
            let x: [&[f32]; SLOTS] = std::array::from_fn(|i| &x[i][at..at + LANES]);
            let vector: [&[f32]; HEADS] = std::array::from_fn(|h| &vector[h][at..at + LANES]);
            for i in 0..SLOTS {
                for h in 0..HEADS {
                    for lane in 0..LANES {
                        sum[i][h][lane] += vector[h][lane] * x[i][lane];
                    }
                }
            }
        }
        for (i, of_slot) in sum.iter_mut().enumerate() {
            for (h, lanes) in of_slot.iter_mut().enumerate() {
                let mut half = LANES / 2;
                while half > 0 {
                    for lane in 0..half {
                        lanes[lane] += lanes[lane + half];
                    }
                    half /= 2;
                }
                self.product[(slot + i) * heads + head + h] = lanes[0];
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

    /// `sum[head] = sum of coefficient[slot, head] * x` over the valid slots, or added to it.
    #[inline(always)]
    pub(super) fn weighted_sums(&mut self, heads: usize, add: bool) {
        for head in (0..heads).step_by(2) {
            if head + 1 < heads {
                self.sums::<2>(head, heads, add);
            } else {
                self.sums::<1>(head, heads, add);
            }
        }
    }

    #[inline(always)]
    fn sums<const HEADS: usize>(&mut self, head: usize, heads: usize, add: bool) {
        let stride = self.stride;
        for at in (0..stride).step_by(LANES) {
            let mut sum = [[0.0f32; LANES]; HEADS];
            if add {
                for (h, lanes) in sum.iter_mut().enumerate() {
                    lanes.copy_from_slice(&self.sum[(head + h) * stride + at..][..LANES]);
                }
            }
            let slots = self
                .x
                .chunks_exact(stride)
                .zip(self.coefficient.chunks_exact(heads));
            for (x, coefficient) in slots.take(self.valid.len()) {
                let (x, coefficient) = (&x[at..at + LANES], &coefficient[head..head + HEADS]);
                for h in 0..HEADS {
                    for lane in 0..LANES {
                        sum[h][lane] += coefficient[h] * x[lane];
                    }
                }
            }
            for (h, lanes) in sum.iter().enumerate() {
                self.sum[(head + h) * stride + at..][..LANES].copy_from_slice(lanes);
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
