//! Two heads at a time: a number that is loaded takes part in two sums.

use super::super::activation::exp;
use super::super::vector::{Dots, LANES, add_weighted_rows};
use super::input::{AttentionInput, HeadRows, SLOPE};
use super::slots::{Read, Slots};

/// Numbers of a root's slots that are taken together, so that all of them fill whole vectors: those
/// of four slots.
const TOGETHER: usize = 8;

/// Two heads, and scratch space for one root of theirs, or the roots of one query row. Of an odd
/// number of heads the last is there twice, and its second results are not used.
pub(super) struct HeadPair {
    /// Their numbers.
    heads: [usize; 2],
    /// `vector . x` of each slot.
    product: Vec<[f32; 2]>,
    /// Softmax before the dropout, of each slot.
    weight: Vec<[f32; 2]>,
    /// What the dropout multiplies it by.
    factor: Vec<[f32; 2]>,
    /// What it leaves of the softmax.
    kept: Vec<[f32; 2]>,
    /// Gradient of the score, of each slot.
    d_score: Vec<[f32; 2]>,
    /// Numbers of the draws of its dropout, of each slot.
    element: Vec<[u32; 2]>,
    /// Computed part of the query, then zeros, `[2, stride]`.
    query_tail: Vec<f32>,
    /// The same part of the vectors of the last [`HeadPair::multiply`].
    vector_tail: Vec<f32>,
    /// Partial sums of `query . x` over what is read, of each read of the query row.
    read_product: Vec<[[f32; LANES]; 2]>,
    /// Sum of the coefficients of each read of the query row.
    read_coefficient: Vec<[f32; 2]>,
    /// Weighted sums, `[2, node + edge + stride]`.
    sum: Vec<f32>,
}

impl HeadPair {
    /// All heads of an attention.
    pub(super) fn all(slots: &Slots<'_>) -> Vec<HeadPair> {
        let (shape, stride) = (&slots.input.shape, slots.stride);
        let places = shape.fanout.next_multiple_of(TOGETHER / 2);
        let pairs = (0..shape.heads).step_by(2).map(|head| HeadPair {
            heads: [head, (head + 1).min(shape.heads - 1)],
            product: vec![[0.0; 2]; places],
            weight: vec![[0.0; 2]; places],
            factor: vec![[0.0; 2]; places],
            kept: vec![[0.0; 2]; places],
            d_score: vec![[0.0; 2]; places],
            element: vec![[0; 2]; places],
            query_tail: vec![0.0; 2 * stride],
            vector_tail: vec![0.0; 2 * stride],
            read_product: Vec::new(),
            read_coefficient: Vec::new(),
            sum: vec![0.0; 2 * (shape.node + shape.edge + stride)],
        });
        pairs.collect()
    }

    /// Begins with the roots of another query row.
    #[inline(always)]
    pub(super) fn begin_query_row(&mut self, slots: &Slots<'_>, query: HeadRows<'_>) {
        copy_tails(
            self.heads.map(|head| query.of(head)),
            slots,
            &mut self.query_tail,
        );
        self.read_product.clear();
        self.read_coefficient.clear();
    }

    /// Forgets the sums.
    #[inline(always)]
    pub(super) fn clear_sums(&mut self) {
        self.sum.fill(0.0);
    }

    /// `product = query . x` of each valid slot.
    #[inline(always)]
    pub(super) fn multiply_query(&mut self, slots: &Slots<'_>, query: HeadRows<'_>) {
        let known = self.read_product.len();
        let parts = self.parts(query, slots.input);
        for new in slots.reads[known..].chunks(2) {
            let mut dots = Dots::default();
            add_reads(&mut dots, [new[0], new[new.len() - 1]], parts);
            self.read_product
                .extend_from_slice(&dots.partial()[..new.len()]);
        }
        let tails = halves(&self.query_tail);
        for (i, two) in slots.valid.chunks(2).enumerate() {
            let number = [two[0].number, two[two.len() - 1].number];
            let of_reads = [self.read_product[number[0]], self.read_product[number[1]]];
            let product = &mut self.product[2 * i..][..two.len()];
            finish(Dots::begun(of_reads), slots, 2 * i, tails, product);
        }
    }

    /// `product = vector . x` of each valid slot.
    #[inline(always)]
    pub(super) fn multiply(&mut self, slots: &Slots<'_>, vectors: HeadRows<'_>) {
        copy_tails(
            self.heads.map(|head| vectors.of(head)),
            slots,
            &mut self.vector_tail,
        );
        let parts = self.parts(vectors, slots.input);
        let tails = halves(&self.vector_tail);
        for (i, two) in slots.valid.chunks(2).enumerate() {
            let mut dots = Dots::default();
            add_reads(&mut dots, [two[0].read, two[two.len() - 1].read], parts);
            let product = &mut self.product[2 * i..][..two.len()];
            finish(dots, slots, 2 * i, tails, product);
        }
    }

    /// Parts of the heads' vectors that belong to node rows and to edge feature rows.
    #[inline(always)]
    fn parts<'v>(&self, vectors: HeadRows<'v>, input: &AttentionInput<'_>) -> ReadParts<'v> {
        let (node, edge) = (input.shape.node, input.shape.edge);
        let [first, second] = [vectors.of(self.heads[0]), vectors.of(self.heads[1])];
        (
            [&first[..node], &second[..node]],
            [&first[node..node + edge], &second[node..node + edge]],
        )
    }

    /// Scores of the products, into `score` `[fanout, heads]`.
    #[inline(always)]
    pub(super) fn score(&self, slots: &Slots<'_>, score: &mut [f32]) {
        let heads = slots.input.shape.heads;
        for (slot, product) in slots.valid.iter().zip(&self.product) {
            for (head, &s) in self.heads.iter().zip(product) {
                score[slot.k * heads + head] = if s > 0.0 { s } else { SLOPE * s };
            }
        }
    }

    /// Softmax of `score`, `[fanout, heads]`, over the valid slots of `root`, and the factors of
    /// its dropout: `weight`, `factor`, and `kept`, their product.
    #[inline(always)]
    pub(super) fn weigh(&mut self, slots: &Slots<'_>, root: usize, score: &[f32]) {
        let AttentionInput { dropout, shape, .. } = *slots.input;
        let valid = slots.valid.len();
        let first_pair = slots.input.draw_row(root) * shape.fanout * shape.heads;
        let mut largest = [f32::MIN; 2];
        let places = self.weight.iter_mut().zip(&mut self.element);
        for (slot, (weight, element)) in slots.valid.iter().zip(places) {
            for (i, &head) in self.heads.iter().enumerate() {
                let pair = slot.k * shape.heads + head;
                weight[i] = score[pair];
                element[i] = (first_pair + pair) as u32;
                largest[i] = largest[i].max(weight[i]);
            }
        }
        let some = valid.next_multiple_of(TOGETHER / 2);
        let weights = together_mut(&mut self.weight[..some]);
        let factors = together_mut(&mut self.factor[..some]);
        let elements = self.element.as_flattened().as_chunks::<TOGETHER>().0;
        let largest: [f32; TOGETHER] = std::array::from_fn(|i| largest[i % 2]);
        for weight in weights {
            for i in 0..TOGETHER {
                let below = weight[i] - largest[i];
                // Not `max`, which would make e^-80 of NaN.
                weight[i] = exp(if below < -80.0 { -80.0 } else { below });
            }
        }
        for (factor, element) in factors.iter_mut().zip(elements) {
            for i in 0..TOGETHER {
                factor[i] = dropout.factor(element[i]);
            }
        }
        let mut total = [0.0f32; 2];
        for weight in &self.weight[..valid] {
            for (total, weight) in total.iter_mut().zip(weight) {
                *total += weight;
            }
        }
        let total: [f32; TOGETHER] = std::array::from_fn(|i| total[i % 2]);
        let weights = together_mut(&mut self.weight[..some]).iter_mut();
        let factors = together_mut(&mut self.factor[..some]);
        let kept = together_mut(&mut self.kept[..some]);
        for ((weight, factor), kept) in weights.zip(factors).zip(kept) {
            for i in 0..TOGETHER {
                weight[i] /= total[i];
                kept[i] = weight[i] * factor[i];
            }
        }
    }

    /// Gradients of the scores of a root, given the products with the gradient of its output;
    /// writes them with the kept weights to `coefficient`, `[fanout, heads, (weight, d_score)]`.
    #[inline(always)]
    pub(super) fn differentiate(
        &mut self,
        slots: &Slots<'_>,
        score: &[f32],
        coefficient: &mut [f32],
    ) {
        // A softmax does not feel what is added to all gradients: without the first slot's, those
        // that are equal leave no rounding behind.
        let (mut mean, mut base) = ([0.0f32; 2], None);
        for (i, product) in self.product[..slots.valid.len()].iter_mut().enumerate() {
            for (d_weight, factor) in product.iter_mut().zip(self.factor[i]) {
                *d_weight *= factor;
            }
            let base = *base.get_or_insert(*product);
            for h in 0..2 {
                product[h] -= base[h];
                mean[h] += self.weight[i][h] * product[h];
            }
        }
        for (i, slot) in slots.valid.iter().enumerate() {
            for (h, head) in self.heads.into_iter().enumerate() {
                let pair = slot.k * slots.input.shape.heads + head;
                let d = self.weight[i][h] * (self.product[i][h] - mean[h]);
                let d = if score[pair] > 0.0 { d } else { SLOPE * d };
                self.d_score[i][h] = d;
                coefficient[2 * pair] = self.kept[i][h];
                coefficient[2 * pair + 1] = d;
            }
        }
    }

    /// Adds `kept * x` of the valid slots to the sums.
    #[inline(always)]
    pub(super) fn sum_slots(&mut self, slots: &Slots<'_>) {
        let [of_node, of_edge, of_tail] = sums(&mut self.sum, slots);
        let reads = || slots.valid.iter().map(|slot| slot.read);
        let scale = || self.kept.iter().copied();
        add_weighted_rows(of_node, reads().map(|read| read.node).zip(scale()));
        add_weighted_rows(of_edge, reads().map(|read| read.edge).zip(scale()));
        add_weighted_rows(of_tail, slots.tails().zip(scale()));
    }

    /// Adds `d_score * x` of the valid slots to the sums of the query row: what is computed now,
    /// what is read when [`HeadPair::sum_query_row`] asks for it.
    #[inline(always)]
    pub(super) fn add_slots(&mut self, slots: &Slots<'_>) {
        self.read_coefficient.resize(slots.reads.len(), [0.0; 2]);
        for (slot, coefficient) in slots.valid.iter().zip(&self.d_score) {
            let sum = &mut self.read_coefficient[slot.number];
            *sum = [sum[0] + coefficient[0], sum[1] + coefficient[1]];
        }
        let [_, _, of_tail] = sums(&mut self.sum, slots);
        add_weighted_rows(of_tail, slots.tails().zip(self.d_score.iter().copied()));
    }

    /// Makes the sums those over all slots of the query row's roots.
    #[inline(always)]
    pub(super) fn sum_query_row(&mut self, slots: &Slots<'_>) {
        let [of_node, of_edge, _] = sums(&mut self.sum, slots);
        let scale = || self.read_coefficient.iter().copied();
        let reads = || slots.reads.iter();
        add_weighted_rows(of_node, reads().map(|read| read.node).zip(scale()));
        add_weighted_rows(of_edge, reads().map(|read| read.edge).zip(scale()));
    }

    /// Each head with its sum, `[width]`.
    #[inline(always)]
    pub(super) fn sums(&self, width: usize) -> impl Iterator<Item = (usize, &[f32])> {
        let sums = halves(&self.sum).into_iter().map(move |sum| &sum[..width]);
        // A head that is there twice is one.
        (self.heads[0]..=self.heads[1]).zip(sums)
    }

    /// Adds to the gradients of omega and phi, `d_time` `[2, stride]`, what the gradient of each
    /// encoding makes of them: `kept * grad + d_score * query` of both heads, with the vectors of
    /// the last [`HeadPair::multiply`] for `grad`.
    #[inline(always)]
    pub(super) fn add_time_gradients(&self, slots: &Slots<'_>, d_time: &mut [f32]) {
        let (d_omega, d_phi) = d_time.split_at_mut(slots.stride);
        let d_omega = d_omega.as_chunks_mut::<LANES>().0;
        let d_phi = d_phi.as_chunks_mut::<LANES>().0;
        for (group, (d_omega, d_phi)) in d_omega.iter_mut().zip(d_phi).enumerate() {
            let columns = |rows: &[f32]| rows.as_chunks::<LANES>().0[group];
            let [grad, query] = [halves(&self.vector_tail), halves(&self.query_tail)];
            let [grad, query] = [
                [columns(grad[0]), columns(grad[1])],
                [columns(query[0]), columns(query[1])],
            ];
            // Sums in registers from the first slot to the last.
            let (mut of_omega, mut of_phi) = (*d_omega, *d_phi);
            for (i, slot) in slots.valid.iter().enumerate() {
                let (mut weight, mut d_score) = (self.kept[i], self.d_score[i]);
                if self.heads[0] == self.heads[1] {
                    (weight[1], d_score[1]) = (0.0, 0.0);
                }
                let sine = columns(slots.sine(i));
                for lane in 0..LANES {
                    let mut d_encoding = d_score[0] * query[0][lane];
                    d_encoding = weight[0].mul_add(grad[0][lane], d_encoding);
                    d_encoding = d_score[1].mul_add(query[1][lane], d_encoding);
                    d_encoding = weight[1].mul_add(grad[1][lane], d_encoding);
                    let d_argument = -sine[lane] * d_encoding;
                    of_omega[lane] = d_argument.mul_add(slot.delta, of_omega[lane]);
                    of_phi[lane] += d_argument;
                }
            }
            (*d_omega, *d_phi) = (of_omega, of_phi);
        }
    }
}

/// Parts of two vectors: those of node rows, those of edge feature rows.
type ReadParts<'v> = ([&'v [f32]; 2], [&'v [f32]; 2]);

/// Adds the products of two reads and two vectors.
#[inline(always)]
fn add_reads(dots: &mut Dots, of: [Read<'_>; 2], (nodes, edges): ReadParts<'_>) {
    if !nodes[0].is_empty() {
        dots.add([of[0].node, of[1].node], nodes);
    }
    if !edges[0].is_empty() {
        dots.add([of[0].edge, of[1].edge], edges);
    }
}

/// Adds the products of what is computed of one or two slots from `first` on, and writes the sums to
/// their places in `product`.
#[inline(always)]
fn finish(
    mut dots: Dots,
    slots: &Slots<'_>,
    first: usize,
    tails: [&[f32]; 2],
    product: &mut [[f32; 2]],
) {
    let last = first + product.len() - 1;
    dots.add([slots.tail(first), slots.tail(last)], tails);
    product.copy_from_slice(&dots.totals()[..product.len()]);
}

/// Both halves of `[2, width]`.
#[inline(always)]
fn halves(rows: &[f32]) -> [&[f32]; 2] {
    let (first, second) = rows.split_at(rows.len() / 2);
    [first, second]
}

/// The numbers of some slots, [`TOGETHER`] at a time.
#[inline(always)]
fn together_mut(pairs: &mut [[f32; 2]]) -> &mut [[f32; TOGETHER]] {
    pairs.as_flattened_mut().as_chunks_mut::<TOGETHER>().0
}

/// The sums of two heads, in parts: of node rows, of edge feature rows, and of what is computed.
#[inline(always)]
fn sums<'s>(sum: &'s mut [f32], slots: &Slots<'_>) -> [[&'s mut [f32]; 2]; 3] {
    let (node, edge) = (slots.input.shape.node, slots.input.shape.edge);
    let (first, second) = sum.split_at_mut(sum.len() / 2);
    let (first_node, first) = first.split_at_mut(node);
    let (second_node, second) = second.split_at_mut(node);
    let (first_edge, first_tail) = first.split_at_mut(edge);
    let (second_edge, second_tail) = second.split_at_mut(edge);
    [
        [first_node, second_node],
        [first_edge, second_edge],
        [first_tail, second_tail],
    ]
}

/// Copies the computed part of two vectors to `tails`, `[2, stride]`.
#[inline(always)]
fn copy_tails(vectors: [&[f32]; 2], slots: &Slots<'_>, tails: &mut [f32]) {
    let shape = &slots.input.shape;
    for (vector, tail) in vectors.iter().zip(tails.chunks_exact_mut(slots.stride)) {
        let computed = &vector[shape.node + shape.edge..];
        tail[..computed.len()].copy_from_slice(computed);
    }
}
