//! Twins of the three `temporal_attention` shaders.

use multiversion::multiversion;
use rayon::prelude::*;

use super::counter_hash::Dropout;
use super::vector::{add_scaled, add_two_scaled, dot};
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

/// One root's slots with what they refer to.
struct Root<'a> {
    input: &'a AttentionInput<'a>,
    roots: usize,
    index: usize,
}

impl<'a> Root<'a> {
    #[inline(always)]
    fn slot(&self, k: usize) -> Option<(&'a [f32], &'a [f32], f32)> {
        let shape = &self.input.shape;
        let at = (self.index * shape.fanout + k) * 3;
        let slot = &self.input.slot[at..at + 3];
        (slot[0] >= 0).then(|| {
            (
                row(self.input.node, slot[0] as usize, shape.node),
                row(self.input.edge, slot[1] as usize, shape.edge),
                f32::from_bits(slot[2] as u32),
            )
        })
    }

    /// This root's row of a `[heads, roots, width]` table.
    #[inline(always)]
    fn of(&self, table: &'a [f32], head: usize) -> &'a [f32] {
        row(table, head * self.roots + self.index, self.input.shape.width())
    }

    /// `vector . x_k`, part by part.
    #[inline(always)]
    fn dot(&self, vector: &[f32], node: &[f32], edge: &[f32], encoding: &[f32]) -> f32 {
        let shape = &self.input.shape;
        let (for_node, rest) = vector.split_at(shape.node);
        let (for_edge, rest) = rest.split_at(shape.edge);
        let (for_time, one) = rest.split_at(shape.time);
        dot(for_node, node) + dot(for_edge, edge) + dot(for_time, encoding) + one[0]
    }

    /// `out += weight * x_k`, part by part.
    #[inline(always)]
    fn add(&self, out: &mut [f32], weight: f32, node: &[f32], edge: &[f32], encoding: &[f32]) {
        let shape = &self.input.shape;
        let (for_node, rest) = out.split_at_mut(shape.node);
        let (for_edge, rest) = rest.split_at_mut(shape.edge);
        let (for_time, one) = rest.split_at_mut(shape.time);
        add_scaled(for_node, weight, node);
        add_scaled(for_edge, weight, edge);
        add_scaled(for_time, weight, encoding);
        one[0] += weight;
    }

    /// Softmax over the valid slots of one head; `score` is this root's `[fanout, heads]`.
    #[inline(always)]
    fn softmax(&self, score: &[f32], head: usize, weight: &mut [f32]) {
        let AttentionShape { heads, fanout, .. } = self.input.shape;
        let valid = |k: usize| self.input.slot[(self.index * fanout + k) * 3] >= 0;
        let mut largest = f32::MIN;
        for k in (0..fanout).filter(|&k| valid(k)) {
            largest = largest.max(score[k * heads + head]);
        }
        let mut total = 0.0;
        for k in 0..fanout {
            let e = if valid(k) { (score[k * heads + head] - largest).exp() } else { 0.0 };
            weight[k * heads + head] = e;
            total += e;
        }
        if total > 0.0 {
            for k in 0..fanout {
                weight[k * heads + head] /= total;
            }
        }
    }

    #[inline(always)]
    fn dropout_factor(&self, k: usize, head: usize) -> f32 {
        let AttentionShape { heads, fanout, .. } = self.input.shape;
        let element = (self.index * fanout + k) * heads + head;
        self.input.dropout.factor(element as u32)
    }
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

/// Scratch space of one task.
struct Scratch {
    cosine: Vec<f32>,
    sine: Vec<f32>,
    weight: Vec<f32>,
    d_score: Vec<f32>,
}

impl Scratch {
    fn new(shape: &AttentionShape) -> Scratch {
        Scratch {
            cosine: vec![0.0; shape.fanout * shape.time],
            sine: vec![0.0; shape.fanout * shape.time],
            weight: vec![0.0; shape.fanout * shape.heads],
            d_score: vec![0.0; shape.fanout * shape.heads],
        }
    }
}

/// Weighted sums `[heads, roots, width]` and scores `[roots, fanout, heads]` (before the
/// softmax, for the backward).
pub fn temporal_attention(input: &AttentionInput<'_>) -> (Vec<f32>, Vec<f32>) {
    let AttentionShape { heads, fanout, .. } = input.shape;
    let width = input.shape.width();
    let roots = input.slot.len() / (fanout * 3);
    let mut out = vec![0.0; heads * roots * width];
    let mut score = vec![0.0; roots * fanout * heads];
    head_chunks(&mut out, roots, width)
        .into_par_iter()
        .zip(score.par_chunks_mut(CHUNK * fanout * heads))
        .enumerate()
        .for_each_init(
            || Scratch::new(&input.shape),
            |scratch, (chunk, (mut out, score))| {
                for (i, score) in score.chunks_exact_mut(fanout * heads).enumerate() {
                    let index = chunk * CHUNK + i;
                    forward_root(&Root { input, roots, index }, i, score, &mut out, scratch);
                }
            },
        );
    (out, score)
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn forward_root(
    root: &Root<'_>,
    i: usize,
    score: &mut [f32],
    out: &mut [&mut [f32]],
    scratch: &mut Scratch,
) {
    let shape = &root.input.shape;
    let (width, heads) = (shape.width(), shape.heads);
    let (omega, phi) = root.input.time.split_at(shape.time);
    for k in 0..shape.fanout {
        let Some((node, edge, delta)) = root.slot(k) else {
            continue;
        };
        let span = k * shape.time..(k + 1) * shape.time;
        let sine = &mut scratch.sine[span.clone()];
        cosine::encode_time(delta, omega, phi, &mut scratch.cosine[span.clone()], sine);
        for head in 0..heads {
            let query = root.of(root.input.query, head);
            let s = root.dot(query, node, edge, &scratch.cosine[span.clone()]);
            score[k * heads + head] = if s > 0.0 { s } else { SLOPE * s };
        }
    }
    for head in 0..heads {
        root.softmax(score, head, &mut scratch.weight);
        let out = &mut out[head][i * width..(i + 1) * width];
        for k in 0..shape.fanout {
            if let Some((node, edge, _)) = root.slot(k) {
                let weight = scratch.weight[k * heads + head] * root.dropout_factor(k, head);
                let encoding = &scratch.cosine[k * shape.time..(k + 1) * shape.time];
                root.add(out, weight, node, edge, encoding);
            }
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
    let AttentionShape { heads, fanout, time, .. } = input.shape;
    let width = input.shape.width();
    let roots = input.slot.len() / (fanout * 3);
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
                let mut d_time = vec![0.0; 2 * time];
                for (i, coefficient) in coefficient.chunks_exact_mut(pairs * 2).enumerate() {
                    let index = chunk * CHUNK + i;
                    let root = Root { input, roots, index };
                    let score = row(score, index, pairs);
                    backward_root(&root, i, score, grad, &mut d_query, &mut d_time, scratch);
                    for pair in 0..pairs {
                        coefficient[2 * pair] = scratch.weight[pair];
                        coefficient[2 * pair + 1] = scratch.d_score[pair];
                    }
                }
                d_time
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

/// Leaves this root's attention weights (after dropout) and score gradients in `scratch`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn backward_root(
    root: &Root<'_>,
    i: usize,
    score: &[f32],
    grad: &[f32],
    d_query: &mut [&mut [f32]],
    d_time: &mut [f32],
    scratch: &mut Scratch,
) {
    let shape = &root.input.shape;
    let (width, heads) = (shape.width(), shape.heads);
    let (omega, phi) = root.input.time.split_at(shape.time);
    scratch.d_score.fill(0.0);
    for k in 0..shape.fanout {
        let Some((node, edge, delta)) = root.slot(k) else {
            continue;
        };
        let span = k * shape.time..(k + 1) * shape.time;
        let (cosine, sine) = (&mut scratch.cosine[span.clone()], &mut scratch.sine[span]);
        cosine::encode_time(delta, omega, phi, cosine, sine);
        for head in 0..heads {
            let grad = root.of(grad, head);
            let d_weight = root.dot(grad, node, edge, cosine);
            scratch.d_score[k * heads + head] = d_weight * root.dropout_factor(k, head);
        }
    }
    for head in 0..heads {
        root.softmax(score, head, &mut scratch.weight);
        let mut mean = 0.0;
        for k in 0..shape.fanout {
            let pair = k * heads + head;
            mean += scratch.weight[pair] * scratch.d_score[pair];
        }
        let d_query = &mut d_query[head][i * width..(i + 1) * width];
        for k in 0..shape.fanout {
            let pair = k * heads + head;
            let Some((node, edge, _)) = root.slot(k) else {
                scratch.weight[pair] = 0.0;
                scratch.d_score[pair] = 0.0;
                continue;
            };
            let d = scratch.weight[pair] * (scratch.d_score[pair] - mean);
            let d = if score[pair] > 0.0 { d } else { SLOPE * d };
            scratch.d_score[pair] = d;
            scratch.weight[pair] *= root.dropout_factor(k, head);
            let encoding = &scratch.cosine[k * shape.time..(k + 1) * shape.time];
            root.add(d_query, d, node, edge, encoding);
        }
    }
    let (d_omega, d_phi) = d_time.split_at_mut(shape.time);
    let first = shape.node + shape.edge;
    for k in 0..shape.fanout {
        let Some((_, _, delta)) = root.slot(k) else {
            continue;
        };
        // The gradient of the encoding replaces its cosine, which is used no more.
        let span = k * shape.time..(k + 1) * shape.time;
        let (d_encoding, sine) = (&mut scratch.cosine[span.clone()], &scratch.sine[span]);
        d_encoding.fill(0.0);
        for head in 0..heads {
            let pair = k * heads + head;
            let grad = &root.of(grad, head)[first..first + shape.time];
            let query = &root.of(root.input.query, head)[first..first + shape.time];
            add_two_scaled(d_encoding, scratch.weight[pair], grad, scratch.d_score[pair], query);
        }
        for c in 0..shape.time {
            let d_argument = -sine[c] * d_encoding[c];
            d_omega[c] += d_argument * delta;
            d_phi[c] += d_argument;
        }
    }
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
    let AttentionShape { heads, fanout, node, .. } = input.shape;
    let width = input.shape.width();
    let roots = input.slot.len() / (fanout * 3);
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
