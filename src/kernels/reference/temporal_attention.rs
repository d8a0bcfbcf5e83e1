//! Twins of the three `temporal_attention` shaders.

mod scratch;

use multiversion::multiversion;
use rayon::prelude::*;

use super::counter_hash::Dropout;
use super::vector::{add_scaled, add_two_scaled};
use super::{Unwritten, room, row};
use scratch::Scratch;

/// Slope of the leaky ReLU on negative scores.
pub const SLOPE: f32 = 0.2;

/// Roots that one task takes.
const CHUNK: usize = 16;

/// Numbers of a slot: row, event row, bits of the f32 time since, query row.
pub const SLOT: usize = 4;

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
    /// Projected queries, `[heads, queries, width]`.
    pub query: &'a [f32],
    /// Node rows, `[rows, node]`.
    pub node: &'a [f32],
    /// Edge feature rows, `[event rows, edge]`.
    pub edge: &'a [f32],
    /// omega, then phi, `[2, time]`.
    pub time: &'a [f32],
    /// `[roots, fanout, (row, event row, f32 bits of delta t, query row)]`, row -1 where empty;
    /// the query row is the same in all slots of a root.
    pub slot: &'a [i32],
    /// Widths.
    pub shape: AttentionShape,
    /// Dropout of the attention weights.
    pub dropout: Dropout,
}

/// Places that read each row of a table: `items[offsets[r]..offsets[r + 1]]`, ascending.
#[derive(Debug, Clone, Copy)]
pub struct Uses<'a> {
    /// `[rows + 1]`.
    pub offsets: &'a [i32],
    /// One entry a use.
    pub items: &'a [i32],
}

impl Uses<'_> {
    /// Number of rows.
    fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Places that read a row.
    fn of(&self, row: usize) -> &[i32] {
        &self.items[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

impl AttentionInput<'_> {
    fn roots(&self) -> usize {
        self.slot.len() / (self.shape.fanout * SLOT)
    }

    fn queries(&self) -> usize {
        self.query.len() / (self.shape.heads * self.shape.width())
    }

    /// Row of a root's query.
    #[inline(always)]
    fn query_row(&self, root: usize) -> usize {
        self.slot[root * self.shape.fanout * SLOT + 3] as usize
    }

    /// Rows of a root's slot and the time since its event; `None` where it is empty.
    #[inline(always)]
    fn slot(&self, root: usize, k: usize) -> Option<(&[f32], &[f32], f32)> {
        let at = (root * self.shape.fanout + k) * SLOT;
        let slot = &self.slot[at..at + SLOT];
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

/// Splits a `[heads, rows, width]` table into pieces of rows that end before each of `ends`:
/// `[piece][head]`.
fn head_pieces(
    table: &mut Unwritten,
    rows: usize,
    width: usize,
    ends: impl Iterator<Item = usize> + Clone,
) -> Vec<Vec<&mut Unwritten>> {
    let mut pieces: Vec<Vec<&mut Unwritten>> = ends.clone().map(|_| Vec::new()).collect();
    for mut head in table.chunks_mut((rows * width).max(1)) {
        let mut begin = 0;
        for (piece, end) in pieces.iter_mut().zip(ends.clone()) {
            let (own, rest) = head.split_at_mut((end - begin) * width);
            piece.push(own);
            (head, begin) = (rest, end);
        }
    }
    pieces
}

/// Weighted sums `[heads, roots, width]` and scores `[roots, fanout, heads]` (before the
/// softmax, for the backward; any number where a slot is empty).
pub fn temporal_attention(input: &AttentionInput<'_>) -> (Vec<f32>, Vec<f32>) {
    let AttentionShape { heads, fanout, .. } = input.shape;
    let (width, roots) = (input.shape.width(), input.roots());
    let mut score = vec![0.0; roots * fanout * heads];
    let ends = (0..roots)
        .step_by(CHUNK)
        .map(|begin| (begin + CHUNK).min(roots));
    let mut out = Vec::new();
    head_pieces(room(&mut out, heads * roots * width), roots, width, ends)
        .into_par_iter()
        .zip(score.par_chunks_mut(CHUNK * fanout * heads))
        .enumerate()
        .for_each_init(
            || Scratch::new(&input.shape),
            |scratch, (chunk, (mut out, score))| {
                forward_chunk(input, chunk * CHUNK, score, &mut out, scratch);
            },
        );
    // SAFETY: the pieces cover the table, and each task has written the rows of its roots.
    unsafe { out.set_len(heads * roots * width) };
    (out, score)
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn forward_chunk(
    input: &AttentionInput<'_>,
    first: usize,
    score: &mut [f32],
    out: &mut [&mut Unwritten],
    scratch: &mut Scratch,
) {
    let AttentionShape { heads, fanout, .. } = input.shape;
    let (width, queries) = (input.shape.width(), input.queries());
    for (i, score) in score.chunks_exact_mut(fanout * heads).enumerate() {
        let root = first + i;
        scratch.gather(input, root);
        scratch.load(input.query, [queries, width], input.query_row(root));
        scratch.multiply(heads);
        for (slot, &(k, _)) in scratch.valid.iter().enumerate() {
            for head in 0..heads {
                let s = scratch.product[slot * heads + head];
                score[k * heads + head] = if s > 0.0 { s } else { SLOPE * s };
            }
        }
        for head in 0..heads {
            scratch.softmax(score, heads, head);
            for (slot, &(k, _)) in scratch.valid.iter().enumerate() {
                let factor = input.dropout_factor(root, k, head);
                scratch.coefficient[slot * heads + head] = scratch.weight[slot] * factor;
            }
        }
        scratch.weighted_sums(heads, false);
        for (head, out) in out.iter_mut().enumerate() {
            out[i * width..(i + 1) * width].write_copy_of_slice(scratch.sum(head, width));
        }
    }
}

/// Gradients of a temporal attention.
#[derive(Debug)]
pub struct AttentionGradients {
    /// Of the projected queries, `[heads, queries, width]`.
    pub query: Vec<f32>,
    /// Of the node rows, `[rows, node]`.
    pub node: Vec<f32>,
    /// Of omega and phi, `[2, time]`.
    pub time: Vec<f32>,
}

/// Some roots in the order of their query rows, as a task of the backward takes them.
struct QueryRows<'a> {
    input: &'a AttentionInput<'a>,
    score: &'a [f32],
    grad: &'a [f32],
    uses: Uses<'a>,
    /// Query rows of the task.
    rows: std::ops::Range<usize>,
}

/// Backward of [`temporal_attention`].
///
/// `grad` is the gradient of its output, `score` its second result, `query_uses` are the roots
/// of each query row, `uses` the slots that read each node row.
pub fn temporal_attention_backward(
    input: &AttentionInput<'_>,
    score: &[f32],
    grad: &[f32],
    query_uses: Uses<'_>,
    uses: Uses<'_>,
) -> AttentionGradients {
    let AttentionShape {
        heads,
        fanout,
        time,
        ..
    } = input.shape;
    let (width, queries, roots) = (input.shape.width(), input.queries(), input.roots());
    let pairs = fanout * heads;
    // (weight, d_score) of each slot and head, roots in the order of their query rows.
    let mut coefficient = vec![0.0; roots * pairs * 2];
    let ends = task_ends(query_uses);
    let mut begin = 0;
    let mut rest = &mut coefficient[..];
    let mut tasks = Vec::with_capacity(ends.len());
    for &end in &ends {
        let [first, last] = [begin, end].map(|row| query_uses.offsets[row] as usize);
        let (own, others) = rest.split_at_mut((last - first) * pairs * 2);
        tasks.push((begin..end, own));
        (begin, rest) = (end, others);
    }
    let mut d_query = Vec::new();
    let table = room(&mut d_query, heads * queries * width);
    let partial: Vec<Vec<f32>> = head_pieces(table, queries, width, ends.iter().copied())
        .into_par_iter()
        .zip(tasks)
        .map_init(
            || Scratch::new(&input.shape),
            |scratch, (mut d_query, (rows, coefficient))| {
                let task = QueryRows {
                    input,
                    score,
                    grad,
                    uses: query_uses,
                    rows,
                };
                backward_task(&task, coefficient, &mut d_query, scratch)
            },
        )
        .collect();
    // SAFETY: the pieces cover the table (the last end is the number of queries), and each task
    // has written all of its rows.
    unsafe { d_query.set_len(heads * queries * width) };
    let mut d_time = vec![0.0; 2 * time];
    for of_task in partial {
        add_scaled(&mut d_time, 1.0, &of_task);
    }
    let mut place = vec![0; roots];
    for (at, &root) in query_uses.items.iter().enumerate() {
        place[root as usize] = at;
    }
    AttentionGradients {
        query: d_query,
        node: backward_rows(input, grad, &coefficient, &place, uses),
        time: d_time,
    }
}

/// Where the tasks of the backward end: whole query rows with about [`CHUNK`] roots together.
fn task_ends(uses: Uses<'_>) -> Vec<usize> {
    let (mut ends, mut begin) = (Vec::new(), 0);
    for row in 0..uses.rows() {
        let last = row + 1 == uses.rows();
        if last || uses.offsets[row + 1] - uses.offsets[begin] >= CHUNK as i32 {
            ends.push(row + 1);
            begin = row + 1;
        }
    }
    ends
}

/// Writes coefficients and query gradients of some query rows; returns their share of the
/// gradients of omega and phi.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn backward_task(
    task: &QueryRows<'_>,
    coefficient: &mut [f32],
    d_query: &mut [&mut Unwritten],
    scratch: &mut Scratch,
) -> Vec<f32> {
    let QueryRows {
        input, score, grad, ..
    } = *task;
    let AttentionShape {
        heads,
        fanout,
        time,
        ..
    } = input.shape;
    let (width, queries, roots) = (input.shape.width(), input.queries(), input.roots());
    let time_start = input.shape.node + input.shape.edge;
    let pairs = fanout * heads;
    let mut d_time = vec![0.0; 2 * time];
    let (d_omega, d_phi) = d_time.split_at_mut(time);
    let mut coefficients = coefficient.chunks_exact_mut(2 * pairs);
    for (i, query_row) in task.rows.clone().enumerate() {
        scratch.clear_sums();
        let of_row = task.uses.of(query_row);
        for (&root, coefficient) in of_row.iter().zip(&mut coefficients) {
            let root = root as usize;
            let score = row(score, root, pairs);
            scratch.gather(input, root);
            scratch.load(grad, [roots, width], root);
            scratch.multiply(heads);
            for head in 0..heads {
                scratch.softmax(score, heads, head);
                let mut mean = 0.0;
                for (slot, &(k, _)) in scratch.valid.iter().enumerate() {
                    let factor = input.dropout_factor(root, k, head);
                    let d_weight = &mut scratch.product[slot * heads + head];
                    *d_weight *= factor;
                    mean += scratch.weight[slot] * *d_weight;
                    coefficient[2 * (k * heads + head)] = scratch.weight[slot] * factor;
                }
                for (slot, &(k, _)) in scratch.valid.iter().enumerate() {
                    let pair = k * heads + head;
                    let d = scratch.weight[slot] * (scratch.product[slot * heads + head] - mean);
                    let d = if score[pair] > 0.0 { d } else { SLOPE * d };
                    scratch.coefficient[slot * heads + head] = d;
                    coefficient[2 * pair + 1] = d;
                }
            }
            scratch.weighted_sums(heads, true);
            for slot in 0..scratch.valid.len() {
                let (k, delta) = scratch.valid[slot];
                scratch.d_encoding.fill(0.0);
                for head in 0..heads {
                    let pair = 2 * (k * heads + head);
                    let grad = row(grad, head * roots + root, width);
                    let query = row(input.query, head * queries + query_row, width);
                    add_two_scaled(
                        &mut scratch.d_encoding,
                        coefficient[pair],
                        &grad[time_start..time_start + time],
                        coefficient[pair + 1],
                        &query[time_start..time_start + time],
                    );
                }
                let sine = &scratch.sine[slot * time..(slot + 1) * time];
                for c in 0..time {
                    let d_argument = -sine[c] * scratch.d_encoding[c];
                    d_omega[c] += d_argument * delta;
                    d_phi[c] += d_argument;
                }
            }
        }
        for (head, d_query) in d_query.iter_mut().enumerate() {
            d_query[i * width..(i + 1) * width].write_copy_of_slice(scratch.sum(head, width));
        }
    }
    d_time
}

/// Gradient of the node rows: for each row the sum over the slots that read it. Coefficients of
/// root `r` are at `place[r]`.
fn backward_rows(
    input: &AttentionInput<'_>,
    grad: &[f32],
    coefficient: &[f32],
    place: &[usize],
    uses: Uses<'_>,
) -> Vec<f32> {
    let node = input.shape.node;
    let mut d_node = vec![0.0; uses.rows() * node];
    d_node
        .par_chunks_mut(node.max(1))
        .with_min_len(CHUNK)
        .enumerate()
        .for_each(|(r, d_node)| backward_row(input, grad, coefficient, place, uses.of(r), d_node));
    d_node
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn backward_row(
    input: &AttentionInput<'_>,
    grad: &[f32],
    coefficient: &[f32],
    place: &[usize],
    slots: &[i32],
    d_node: &mut [f32],
) {
    let AttentionShape {
        heads,
        fanout,
        node,
        ..
    } = input.shape;
    let (width, queries, roots) = (input.shape.width(), input.queries(), input.roots());
    for &flat in slots {
        let (root, k) = (flat as usize / fanout, flat as usize % fanout);
        let query_row = input.query_row(root);
        for head in 0..heads {
            let pair = 2 * ((place[root] * fanout + k) * heads + head);
            let grad = row(grad, head * roots + root, width);
            let query = row(input.query, head * queries + query_row, width);
            add_two_scaled(
                d_node,
                coefficient[pair],
                &grad[..node],
                coefficient[pair + 1],
                &query[..node],
            );
        }
    }
}
