//! Twins of the three `temporal_attention` shaders.

use multiversion::multiversion;
use rayon::prelude::*;

use super::counter_hash::Dropout;
use super::vector::{LANES, add_scaled, add_two_scaled, dot};
use super::{cosine, row};

/// Slope of the leaky ReLU on negative scores.
pub const SLOPE: f32 = 0.2;

/// Roots that one task takes; partial sums over roots are made for each chunk.
const CHUNK: usize = 16;

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
pub struct AttentionInput<'a> {
    /// Projected queries, `[heads, roots, width]`.
    pub query: &'a [f32],
    /// Node rows, `[rows, node]`.
    pub node: &'a [f32],
    /// Edge feature rows, `[event rows, edge]`.
    pub edge: &'a [f32],
    /// omega, then phi, `[2, time]`.
    pub time: &'a [f32],
    /// `[roots, fanout, (row, event row, f32 bits of delta t)]`, row -1 where empty.
    pub slot: &'a [i32],
    /// Widths.
    pub shape: AttentionShape,
    /// Dropout of the attention weights.
    pub dropout: Dropout,
}

impl AttentionInput<'_> {
    fn roots(&self) -> usize {
        self.slot.len() / (self.shape.fanout * 3)
    }

    /// Rows of a root's slot and the time since its event; `None` where it is empty.
    #[inline(always)]
    fn slot(&self, root: usize, k: usize) -> Option<(&[f32], &[f32], f32)> {
        let at = (root * self.shape.fanout + k) * 3;
        let slot = &self.slot[at..at + 3];
        (slot[0] >= 0).then(|| {
            (
                row(self.node, slot[0] as usize, self.shape.node),
                row(self.edge, slot[1] as usize, self.shape.edge),
                f32::from_bits(slot[2] as u32),
            )
        })
    }

    #[inline(always)]
    fn dropout_factor(&self, root: usize, k: usize, head: usize) -> f32 {
        let element = (root * self.shape.fanout + k) * self.shape.heads + head;
        self.dropout.factor(element as u32)
    }
}

/// Scratch space of one task: the valid slots of one root, gathered.
///
/// Rows are padded with zeros to a multiple of the vector width, so that the inner loops
/// have no remainders.
struct Scratch {
    stride: usize,
    /// Slot numbers of the valid slots, and the time since each.
    valid: Vec<(usize, f32)>,
    /// `x` of each valid slot, `[fanout, stride]`.
    x: Vec<f32>,
    /// Sine beside the cosine in `x`, `[fanout, time]`.
    sine: Vec<f32>,
    /// One row of the query or of the gradient for each head, `[heads, stride]`.
    vector: Vec<f32>,
    /// A padded result row.
    sum: Vec<f32>,
    /// `[fanout]`, of one head.
    weight: Vec<f32>,
    d_weight: Vec<f32>,
    d_encoding: Vec<f32>,
}

impl Scratch {
    fn new(shape: &AttentionShape) -> Scratch {
        let stride = shape.width().next_multiple_of(LANES);
        Scratch {
            stride,
            valid: Vec::with_capacity(shape.fanout),
            x: vec![0.0; shape.fanout * stride],
            sine: vec![0.0; shape.fanout * shape.time],
            vector: vec![0.0; shape.heads * stride],
            sum: vec![0.0; stride],
            weight: vec![0.0; shape.fanout],
            d_weight: vec![0.0; shape.fanout],
            d_encoding: vec![0.0; shape.time],
        }
    }

    /// Gathers the valid slots of a root.
    #[inline(always)]
    fn gather(&mut self, input: &AttentionInput<'_>, root: usize) {
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

    /// Copies a root's row of each head of a `[heads, roots, width]` table.
    #[inline(always)]
    fn load(&mut self, input: &AttentionInput<'_>, table: &[f32], root: usize) {
        let (width, roots) = (input.shape.width(), input.roots());
        for (head, vector) in self.vector.chunks_exact_mut(self.stride).enumerate() {
            vector[..width].copy_from_slice(row(table, head * roots + root, width));
        }
    }

    /// `vector[head] . x` of the `i`-th valid slot.
    #[inline(always)]
    fn dot(&self, head: usize, i: usize) -> f32 {
        let vector = &self.vector[head * self.stride..(head + 1) * self.stride];
        dot(vector, &self.x[i * self.stride..(i + 1) * self.stride])
    }

    /// Softmax of one head's scores over the valid slots, into `weight`.
    #[inline(always)]
    fn softmax(&mut self, score: &[f32], heads: usize, head: usize) {
        let mut largest = f32::MIN;
        for &(k, _) in &self.valid {
            largest = largest.max(score[k * heads + head]);
        }
        let mut total = 0.0;
        for (weight, &(k, _)) in self.weight.iter_mut().zip(&self.valid) {
            *weight = (score[k * heads + head] - largest).exp();
            total += *weight;
        }
        for weight in &mut self.weight[..self.valid.len()] {
            *weight /= total;
        }
    }

    /// `out = sum of coefficient[i] * x` over the valid slots.
    #[inline(always)]
    fn weighted_sum(&mut self, coefficient: Coefficient, out: &mut [f32]) {
        let coefficient = match coefficient {
            Coefficient::Weight => &self.weight,
            Coefficient::DWeight => &self.d_weight,
        };
        let coefficient = &coefficient[..self.valid.len()];
        for (chunk, sum) in self.sum.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut lanes = [0.0f32; LANES];
            for (coefficient, x) in coefficient.iter().zip(self.x.chunks_exact(self.stride)) {
                if let Some(x) = x.as_chunks::<LANES>().0.get(chunk) {
                    for lane in 0..LANES {
                        lanes[lane] += coefficient * x[lane];
                    }
                }
            }
            *sum = lanes;
        }
        let width = out.len();
        out.copy_from_slice(&self.sum[..width]);
    }
}

/// Which of the scratch space's coefficients a weighted sum takes.
#[derive(Clone, Copy)]
enum Coefficient {
    Weight,
    DWeight,
}

/// Splits a `[heads, roots, width]` table into chunks of roots: `[chunk][head]`.
fn head_chunks(table: &mut [f32], roots: usize, width: usize) -> Vec<Vec<&mut [f32]>> {
    let mut chunks: Vec<Vec<&mut [f32]>> = Vec::new();
    chunks.resize_with(roots.div_ceil(CHUNK), Vec::new);
    for head in table.chunks_mut(roots.max(1) * width) {
        for (chunk, rows) in chunks.iter_mut().zip(head.chunks_mut(CHUNK * width)) {
            chunk.push(rows);
        }
    }
    chunks
}

/// Weighted sums `[heads, roots, width]` and scores `[roots, fanout, heads]` (before the
/// softmax, for the backward).
pub fn temporal_attention(input: &AttentionInput<'_>) -> (Vec<f32>, Vec<f32>) {
    let AttentionShape { heads, fanout, .. } = input.shape;
    let (width, roots) = (input.shape.width(), input.roots());
    let mut out = vec![0.0; heads * roots * width];
    let mut score = vec![0.0; roots * fanout * heads];
    head_chunks(&mut out, roots, width)
        .into_par_iter()
        .zip(score.par_chunks_mut(CHUNK * fanout * heads))
        .enumerate()
        .for_each_init(
            || Scratch::new(&input.shape),
            |scratch, (chunk, (mut out, score))| {
                forward_chunk(input, chunk * CHUNK, score, &mut out, scratch);
            },
        );
    (out, score)
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn forward_chunk(
    input: &AttentionInput<'_>,
    first: usize,
    score: &mut [f32],
    out: &mut [&mut [f32]],
    scratch: &mut Scratch,
) {
    let AttentionShape { heads, fanout, .. } = input.shape;
    let width = input.shape.width();
    for (i, score) in score.chunks_exact_mut(fanout * heads).enumerate() {
        let root = first + i;
        scratch.gather(input, root);
        scratch.load(input, input.query, root);
        for head in 0..heads {
            for (slot, &(k, _)) in scratch.valid.iter().enumerate() {
                let s = scratch.dot(head, slot);
                score[k * heads + head] = if s > 0.0 { s } else { SLOPE * s };
            }
            scratch.softmax(score, heads, head);
            for (slot, &(k, _)) in scratch.valid.iter().enumerate() {
                scratch.weight[slot] *= input.dropout_factor(root, k, head);
            }
            let out = &mut out[head][i * width..(i + 1) * width];
            scratch.weighted_sum(Coefficient::Weight, out);
        }
    }
}

/// Gradients of a temporal attention.
#[derive(Debug)]
pub struct AttentionGradients {
    /// Of the projected queries, `[heads, roots, width]`.
    pub query: Vec<f32>,
    /// Of the node rows, `[rows, node]`.
    pub node: Vec<f32>,
    /// Of omega and phi, `[2, time]`.
    pub time: Vec<f32>,
}

/// Backward of [`temporal_attention`].
///
/// `grad` is the gradient of its output, `score` its second result, `offsets` and
/// `items` the slots that read each node row.
pub fn temporal_attention_backward(
    input: &AttentionInput<'_>,
    score: &[f32],
    grad: &[f32],
    offsets: &[i32],
    items: &[i32],
) -> AttentionGradients {
    let AttentionShape {
        heads,
        fanout,
        time,
        ..
    } = input.shape;
    let (width, roots) = (input.shape.width(), input.roots());
    let pairs = fanout * heads;
    let mut d_query = vec![0.0; heads * roots * width];
    // (weight, d_score) of each slot and head.
    let mut coefficient = vec![0.0; roots * pairs * 2];
    let partial: Vec<Vec<f32>> = head_chunks(&mut d_query, roots, width)
        .into_par_iter()
        .zip(coefficient.par_chunks_mut(CHUNK * pairs * 2))
        .enumerate()
        .map_init(
            || Scratch::new(&input.shape),
            |scratch, (chunk, (mut d_query, coefficient))| {
                let first = chunk * CHUNK;
                backward_chunk(
                    input,
                    first,
                    score,
                    grad,
                    coefficient,
                    &mut d_query,
                    scratch,
                )
            },
        )
        .collect();
    let mut d_time = vec![0.0; 2 * time];
    for chunk in partial {
        add_scaled(&mut d_time, 1.0, &chunk);
    }
    AttentionGradients {
        query: d_query,
        node: backward_rows(input, grad, &coefficient, offsets, items),
        time: d_time,
    }
}

/// Writes coefficients and query gradients of a chunk of roots; returns its share of the
/// gradients of omega and phi.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn backward_chunk(
    input: &AttentionInput<'_>,
    first: usize,
    score: &[f32],
    grad: &[f32],
    coefficient: &mut [f32],
    d_query: &mut [&mut [f32]],
    scratch: &mut Scratch,
) -> Vec<f32> {
    let AttentionShape {
        heads,
        fanout,
        time,
        ..
    } = input.shape;
    let (width, roots) = (input.shape.width(), input.roots());
    let time_start = input.shape.node + input.shape.edge;
    let pairs = fanout * heads;
    let mut d_time = vec![0.0; 2 * time];
    let (d_omega, d_phi) = d_time.split_at_mut(time);
    for (i, coefficient) in coefficient.chunks_exact_mut(2 * pairs).enumerate() {
        let root = first + i;
        let score = row(score, root, pairs);
        scratch.gather(input, root);
        scratch.load(input, grad, root);
        for head in 0..heads {
            scratch.softmax(score, heads, head);
            let mut mean = 0.0;
            for slot in 0..scratch.valid.len() {
                let (k, _) = scratch.valid[slot];
                let d = scratch.dot(head, slot) * input.dropout_factor(root, k, head);
                scratch.d_weight[slot] = d;
                mean += scratch.weight[slot] * d;
            }
            for (slot, &(k, _)) in scratch.valid.iter().enumerate() {
                let pair = k * heads + head;
                let d = scratch.weight[slot] * (scratch.d_weight[slot] - mean);
                scratch.d_weight[slot] = if score[pair] > 0.0 { d } else { SLOPE * d };
                coefficient[2 * pair] = scratch.weight[slot] * input.dropout_factor(root, k, head);
                coefficient[2 * pair + 1] = scratch.d_weight[slot];
            }
            let d_query = &mut d_query[head][i * width..(i + 1) * width];
            scratch.weighted_sum(Coefficient::DWeight, d_query);
        }
        for (slot, &(k, delta)) in scratch.valid.iter().enumerate() {
            scratch.d_encoding.fill(0.0);
            for head in 0..heads {
                let pair = 2 * (k * heads + head);
                let at = (head * roots + root) * width + time_start;
                let (grad, query) = (&grad[at..at + time], &input.query[at..at + time]);
                let (weight, d_score) = (coefficient[pair], coefficient[pair + 1]);
                add_two_scaled(&mut scratch.d_encoding, weight, grad, d_score, query);
            }
            let sine = &scratch.sine[slot * time..(slot + 1) * time];
            for c in 0..time {
                let d_argument = -sine[c] * scratch.d_encoding[c];
                d_omega[c] += d_argument * delta;
                d_phi[c] += d_argument;
            }
        }
    }
    d_time
}

/// Gradient of the node rows: for each row the sum over the slots that read it.
fn backward_rows(
    input: &AttentionInput<'_>,
    grad: &[f32],
    coefficient: &[f32],
    offsets: &[i32],
    items: &[i32],
) -> Vec<f32> {
    let node = input.shape.node;
    let rows = offsets.len().saturating_sub(1);
    let mut d_node = vec![0.0; rows * node];
    d_node
        .par_chunks_mut(node.max(1))
        .with_min_len(CHUNK)
        .enumerate()
        .for_each(|(r, d_node)| {
            let items = &items[offsets[r] as usize..offsets[r + 1] as usize];
            backward_row(input, grad, coefficient, items, d_node);
        });
    d_node
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn backward_row(
    input: &AttentionInput<'_>,
    grad: &[f32],
    coefficient: &[f32],
    items: &[i32],
    d_node: &mut [f32],
) {
    let AttentionShape {
        heads,
        fanout,
        node,
        ..
    } = input.shape;
    let width = input.shape.width();
    let roots = input.roots();
    for &flat in items {
        let flat = flat as usize;
        let root = flat / fanout;
        for head in 0..heads {
            let pair = 2 * (flat * heads + head);
            let at = (head * roots + root) * width;
            let (weight, d_score) = (coefficient[pair], coefficient[pair + 1]);
            let (grad, query) = (&grad[at..at + node], &input.query[at..at + node]);
            add_two_scaled(d_node, weight, grad, d_score, query);
        }
    }
}
