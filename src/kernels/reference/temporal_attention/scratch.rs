//! The valid slots of one root, and the loops over them.

use super::super::activation::exp;
use super::super::cosine::TimeColumns;
use super::super::row;
use super::super::vector::{Dots, LANES, add_weighted_rows, prefetch};
use super::input::HeadRows;
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

/// Scratch space of one task. Of each slot's x it holds what is computed, `[encoding | 1]`, with
/// columns that nothing comes of up to a multiple of the vector width; node and edge feature rows
/// are read where they are.
pub(super) struct Scratch {
    pub(super) valid: Vec<ValidSlot>,
    /// Frequencies, and 0 for the 1.
    columns: TimeColumns,
    /// Width of a row of `tail`.
    stride: usize,
    /// `[fanout, stride]`.
    tail: Vec<f32>,
    /// Sine beside the cosine in `tail`, `[fanout, stride]`.
    sine: Vec<f32>,
    /// The same part of the vectors that the slots were multiplied with, then zeros,
    /// `[heads, stride]`.
    vector_tail: Vec<f32>,
    /// The same part of the root's query, `[heads, stride]`.
    query_tail: Vec<f32>,
    /// `vector[head] . x`, `[fanout, heads]`.
    pub(super) product: Vec<f32>,
    /// Coefficients of weighted sums, `[fanout, heads]`.
    pub(super) coefficient: Vec<f32>,
    /// Softmax, `[fanout, heads]`, before the dropout.
    pub(super) weight: Vec<f32>,
    /// What the dropout multiplies it by, `[fanout, heads]`.
    pub(super) factor: Vec<f32>,
    /// The same for all slots, valid or not.
    drawn: Vec<f32>,
    /// Largest score of each head, then the sum of its exponentials, `[heads]`.
    largest: Vec<f32>,
    /// Weighted sums, `[heads, node + edge + stride]`.
    sum: Vec<f32>,
    /// Gradients of omega and of phi, `[2, stride]`.
    d_time: Vec<f32>,
}

impl Scratch {
    pub(super) fn new(input: &AttentionInput<'_>) -> Scratch {
        let shape = &input.shape;
        let stride = (shape.time + 1).next_multiple_of(LANES);
        Scratch {
            valid: Vec::with_capacity(shape.fanout),
            columns: TimeColumns::new(input.time, stride),
            stride,
            tail: vec![0.0; shape.fanout * stride],
            sine: vec![0.0; shape.fanout * stride],
            vector_tail: vec![0.0; shape.heads * stride],
            query_tail: vec![0.0; shape.heads * stride],
            product: vec![0.0; shape.fanout * shape.heads],
            coefficient: vec![0.0; shape.fanout * shape.heads],
            weight: vec![0.0; shape.fanout * shape.heads],
            factor: vec![0.0; shape.fanout * shape.heads],
            drawn: vec![0.0; shape.fanout * shape.heads],
            largest: vec![0.0; shape.heads],
            sum: vec![0.0; shape.heads * (shape.node + shape.edge + stride)],
            d_time: vec![0.0; 2 * stride],
        }
    }

    /// Asks for the rows of the next root's slots, which `root` leaves time to fetch. Roots with the
    /// same query attend to much the same rows, which are in the cache by now.
    #[inline(always)]
    pub(super) fn prefetch(&self, input: &AttentionInput<'_>, root: usize, next: usize) {
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

    /// Finds the valid slots of a root and encodes their times.
    #[inline(always)]
    pub(super) fn find(&mut self, input: &AttentionInput<'_>, root: usize) {
        let (shape, stride) = (&input.shape, self.stride);
        self.valid.clear();
        for k in 0..shape.fanout {
            let Some((node, edge, delta)) = input.slot(root, k) else {
                continue;
            };
            let i = self.valid.len();
            let of_slot = i * stride..(i + 1) * stride;
            let (tail, sine) = (&mut self.tail[of_slot.clone()], &mut self.sine[of_slot]);
            self.columns.encode(delta, tail, sine);
            self.valid.push(ValidSlot {
                k,
                delta,
                node: node * shape.node,
                edge: edge * shape.edge,
            });
        }
    }

    /// `product = vector[head] . x` of each valid slot and head, two of each at a time. Of an odd
    /// number the last is taken twice.
    #[inline(always)]
    pub(super) fn multiply(&mut self, input: &AttentionInput<'_>, vectors: HeadRows<'_>) {
        let AttentionShape {
            heads, node, edge, ..
        } = input.shape;
        let (stride, slots) = (self.stride, self.valid.len());
        let vector = |head: usize| vectors.of(head);
        copy_tails(vectors, node + edge, stride, &mut self.vector_tail);
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

    /// Softmax of each head's `score`, `[fanout, heads]`, over the valid slots of `root`, and the
    /// factors of its dropout: `weight` and `factor`.
    #[inline(always)]
    pub(super) fn weigh(&mut self, input: &AttentionInput<'_>, root: usize, score: &[f32]) {
        let heads = input.shape.heads;
        let drawn = &mut self.drawn[..];
        for (element, drawn) in ((root * drawn.len()) as u32..).zip(drawn.iter_mut()) {
            *drawn = input.dropout.factor(element);
        }
        // All pairs one after the other, so that the exponentials are taken several at a time.
        let pairs = self.valid.len() * heads;
        let (weight, factor) = (&mut self.weight[..pairs], &mut self.factor[..pairs]);
        self.largest.fill(f32::MIN);
        for (slot, &ValidSlot { k, .. }) in self.valid.iter().enumerate() {
            for head in 0..heads {
                let (pair, score) = (slot * heads + head, score[k * heads + head]);
                weight[pair] = score;
                factor[pair] = drawn[k * heads + head];
                self.largest[head] = self.largest[head].max(score);
            }
        }
        for of_slot in weight.chunks_exact_mut(heads) {
            for (weight, largest) in of_slot.iter_mut().zip(&self.largest) {
                *weight -= largest;
            }
        }
        for weight in &mut *weight {
            *weight = exp(weight.max(-80.0));
        }
        let total = &mut self.largest;
        total.fill(0.0);
        for of_slot in weight.chunks_exact(heads) {
            for (total, weight) in total.iter_mut().zip(of_slot) {
                *total += weight;
            }
        }
        for of_slot in weight.chunks_exact_mut(heads) {
            for (weight, total) in of_slot.iter_mut().zip(&*total) {
                *weight /= total;
            }
        }
    }

    /// Adds to `sum[head]` the sum of `coefficient[slot, head] * x` over the valid slots, two heads
    /// at a time. Of an odd number the last is alone.
    #[inline(always)]
    pub(super) fn add_weighted_sums(&mut self, input: &AttentionInput<'_>) {
        let (heads, padded) = (input.shape.heads, self.padded_width(input));
        let (slots, tail, coefficient) = (&self.valid, &self.tail, &self.coefficient);
        for (pair, sums) in self.sum.chunks_mut(2 * padded).enumerate() {
            let of = |slot: usize, i: usize| coefficient[slot * heads + 2 * pair + i];
            match sums.split_at_mut(padded) {
                (sum, []) => add_slots(input, slots, tail, [sum], |slot| [of(slot, 0)]),
                (first, second) => add_slots(input, slots, tail, [first, second], |slot| {
                    [of(slot, 0), of(slot, 1)]
                }),
            }
        }
    }

    /// Adds to the gradients of omega and phi what the gradient of each encoding makes of them:
    /// `weight * grad + d_score * query` over all heads, with the vectors of the last
    /// [`Scratch::multiply`] for `grad`. `coefficient` is `[fanout, heads, (weight, d_score)]`.
    #[inline(always)]
    pub(super) fn add_time_gradients(&mut self, heads: usize, coefficient: &[f32]) {
        let stride = self.stride;
        let (d_omega, d_phi) = self.d_time.split_at_mut(stride);
        let (d_omega, d_phi) = (
            d_omega.as_chunks_mut::<LANES>().0,
            d_phi.as_chunks_mut::<LANES>().0,
        );
        for (group, (d_omega, d_phi)) in d_omega.iter_mut().zip(d_phi).enumerate() {
            let columns = |rows: &'_ [f32], row: usize| {
                let columns = rows[row * stride + group * LANES..].first_chunk::<LANES>();
                *columns.expect("rows are a multiple of LANES wide")
            };
            // Sums in registers from the first slot to the last.
            let (mut of_omega, mut of_phi) = (*d_omega, *d_phi);
            for (slot, &ValidSlot { k, delta, .. }) in self.valid.iter().enumerate() {
                let mut d_encoding = [0.0f32; LANES];
                for head in 0..heads {
                    let pair = 2 * (k * heads + head);
                    let (weight, d_score) = (coefficient[pair], coefficient[pair + 1]);
                    let grad = columns(&self.vector_tail, head);
                    let query = columns(&self.query_tail, head);
                    for lane in 0..LANES {
                        let of_query = d_score.mul_add(query[lane], d_encoding[lane]);
                        d_encoding[lane] = weight.mul_add(grad[lane], of_query);
                    }
                }
                let sine = columns(&self.sine, slot);
                for lane in 0..LANES {
                    let d_argument = -sine[lane] * d_encoding[lane];
                    of_omega[lane] = d_argument.mul_add(delta, of_omega[lane]);
                    of_phi[lane] += d_argument;
                }
            }
            (*d_omega, *d_phi) = (of_omega, of_phi);
        }
    }

    /// Keeps the part of a query that [`Scratch::add_time_gradients`] reads.
    #[inline(always)]
    pub(super) fn keep_query(&mut self, input: &AttentionInput<'_>, query: HeadRows<'_>) {
        let computed = input.shape.node + input.shape.edge;
        copy_tails(query, computed, self.stride, &mut self.query_tail);
    }

    /// Gradients of omega and phi, `[2, time]`, which begin anew.
    pub(super) fn take_time_gradients(&mut self, time: usize) -> Vec<f32> {
        let rows = self.d_time.chunks_exact(self.stride);
        let taken = rows.flat_map(|row| &row[..time]).copied().collect();
        self.d_time.fill(0.0);
        taken
    }

    /// Forgets the sums.
    #[inline(always)]
    pub(super) fn clear_sums(&mut self) {
        self.sum.fill(0.0);
    }

    /// The weighted sum of a head, `[width]`.
    #[inline(always)]
    pub(super) fn sum(&self, input: &AttentionInput<'_>, head: usize) -> &[f32] {
        &row(&self.sum, head, self.padded_width(input))[..input.shape.width()]
    }

    fn padded_width(&self, input: &AttentionInput<'_>) -> usize {
        input.shape.node + input.shape.edge + self.stride
    }
}

/// `sums[h] += scale(slot)[h] * x` over the slots.
#[inline(always)]
fn add_slots<const H: usize>(
    input: &AttentionInput<'_>,
    slots: &[ValidSlot],
    tail: &[f32],
    mut sums: [&mut [f32]; H],
    scale: impl Fn(usize) -> [f32; H],
) {
    let AttentionShape { node, edge, .. } = input.shape;
    let mut next = |width: usize| {
        sums.each_mut()
            .map(|sums| sums.split_off_mut(..width).expect("as wide as x"))
    };
    let (of_node, of_edge) = (next(node), next(edge));
    let (rows, stride) = (slots.len(), sums[0].len());
    add_weighted_rows(of_node, rows, |i| slots[i].node(input), &scale);
    add_weighted_rows(of_edge, rows, |i| slots[i].edge(input), &scale);
    add_weighted_rows(sums, rows, |i| row(tail, i, stride), &scale);
}

/// Copies what is multiplied with the computed part of x to the rows of `tails`, which are `stride`
/// wide.
#[inline(always)]
fn copy_tails(vectors: HeadRows<'_>, computed: usize, stride: usize, tails: &mut [f32]) {
    for (head, tail) in tails.chunks_exact_mut(stride).enumerate() {
        let of_head = &vectors.of(head)[computed..];
        tail[..of_head.len()].copy_from_slice(of_head);
    }
}
