//! CPU kernels of the three `temporal_attention` shaders.

mod heads;
mod input;
mod slots;

use std::sync::{Mutex, PoisonError};

use multiversion::multiversion;

use super::vector::{add, add_weighted_rows, prefetch};
use super::{Unwritten, room, row, zeroed};
use crate::kernels::costs;
use crate::parallel;
use heads::HeadPair;
use slots::Slots;

pub use input::AttentionShape;
use input::HeadRows;
pub(crate) use input::{AttentionInput, Uses};

/// Roots that one task takes.
const CHUNK: usize = 16;

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

/// Where the tasks of the forward pass write; each root's rows belong to one task.
#[derive(Clone, Copy)]
struct Written {
    /// `[heads, roots, width]`.
    out: *mut f32,
    /// `[roots, fanout, heads]`.
    score: *mut f32,
}

// SAFETY: tasks write the rows of different roots, and nobody reads before all are done.
unsafe impl Send for Written {}
// SAFETY: as above.
unsafe impl Sync for Written {}

impl Written {
    /// Takes over what was made of a root.
    ///
    /// # Safety
    /// No other task may write the root's rows, which must lie within the tables.
    unsafe fn take(
        self,
        input: &AttentionInput<'_>,
        root: usize,
        score: &[f32],
        pairs: &[HeadPair],
    ) {
        let (width, roots) = (input.shape.width(), input.roots());
        // SAFETY: as the caller promises.
        unsafe {
            let to = self.score.add(root * score.len());
            to.copy_from_nonoverlapping(score.as_ptr(), score.len());
            for (head, sum) in pairs.iter().flat_map(|pair| pair.sums(width)) {
                let to = self.out.add((head * roots + root) * width);
                to.copy_from_nonoverlapping(sum.as_ptr(), width);
            }
        }
    }
}

/// Weighted sums `[heads, roots, width]` and scores `[roots, fanout, heads]` (before the
/// softmax, for the backward). `query_uses` are the roots of each query row, each root in one.
///
/// Roots with the same query follow each other: they are one node at several times, and what
/// they attend to is much the same.
pub(crate) fn temporal_attention(
    input: &AttentionInput<'_>,
    query_uses: Uses<'_>,
) -> (Vec<f32>, Vec<f32>) {
    let AttentionShape { heads, fanout, .. } = input.shape;
    let (width, roots) = (input.shape.width(), input.roots());
    place_of_roots(query_uses, roots);
    let (mut out, mut score) = (Vec::new(), Vec::new());
    let written = Written {
        out: room(&mut out, heads * roots * width).as_mut_ptr().cast(),
        score: room(&mut score, roots * fanout * heads).as_mut_ptr().cast(),
    };
    let ends = task_ends(query_uses);
    let begins = std::iter::once(0).chain(ends.iter().copied());
    let tasks: Vec<_> = begins.zip(ends.iter().copied()).collect();
    let scratch = Spare::default();
    parallel::for_each(tasks, |(begin, end)| {
        scratch.with(input, |scratch| {
            forward_task(query_uses, begin..end, written, scratch);
        });
    });
    // SAFETY: every root is in one list, so that all of its rows have been written.
    unsafe {
        out.set_len(heads * roots * width);
        score.set_len(roots * fanout * heads);
    }
    (out, score)
}

/// Place of each root among the roots in the order of their query rows.
///
/// # Panics
/// Unless every root is there once.
fn place_of_roots(query_uses: Uses<'_>, roots: usize) -> Vec<usize> {
    let mut place = vec![usize::MAX; roots];
    for (at, &root) in query_uses.items.iter().enumerate() {
        assert!(
            place[root as usize] == usize::MAX,
            "a root with two queries"
        );
        place[root as usize] = at;
    }
    assert_eq!(query_uses.items.len(), roots, "roots without a query");
    place
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn forward_task(
    uses: Uses<'_>,
    rows: std::ops::Range<usize>,
    written: Written,
    scratch: &mut Scratch<'_>,
) {
    let Scratch { slots, pairs, .. } = scratch;
    let input = slots.input;
    parallel::task(|| uses.attention(rows.clone(), &input.shape));
    let mut score = vec![0.0; input.shape.fanout * input.shape.heads];
    let mut place = uses.offsets[rows.start] as usize;
    for query_row in rows {
        let query = input.query(query_row);
        slots.begin_query_row();
        for pair in &mut *pairs {
            pair.begin_query_row(slots, query);
        }
        for &root in uses.of(query_row) {
            let root = root as usize;
            place += 1;
            if let Some(&next) = uses.items.get(place) {
                slots.prefetch(root, next as usize);
            }
            slots.find::<false>(root);
            score.fill(0.0);
            for pair in &mut *pairs {
                pair.multiply_query(slots, query);
                pair.score(slots, &mut score);
                pair.weigh(slots, root, &score);
                pair.clear_sums();
                pair.sum_slots(slots);
            }
            // SAFETY: each root is in one task (checked by the caller), and within the tables.
            unsafe { written.take(input, root, &score, pairs) };
        }
    }
}

/// Scratch space of one task.
struct Scratch<'a> {
    slots: Slots<'a>,
    pairs: Vec<HeadPair>,
    /// Gradients of omega and of phi, `[2, stride]`.
    d_time: Vec<f32>,
}

impl<'a> Scratch<'a> {
    fn new(input: &'a AttentionInput<'a>) -> Scratch<'a> {
        let slots = Slots::new(input);
        Scratch {
            pairs: HeadPair::all(&slots),
            d_time: vec![0.0; 2 * slots.stride],
            slots,
        }
    }
}

/// Scratch spaces that no task uses at the moment.
#[derive(Default)]
struct Spare<'a>(Mutex<Vec<Scratch<'a>>>);

impl<'a> Spare<'a> {
    /// Does `work` with one of them, or a new one.
    fn with<T>(
        &self,
        input: &'a AttentionInput<'a>,
        work: impl FnOnce(&mut Scratch<'a>) -> T,
    ) -> T {
        let spare = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = spare().pop();
        let mut scratch = unused.unwrap_or_else(|| Scratch::new(input));
        let done = work(&mut scratch);
        spare().push(scratch);
        done
    }
}

/// Gradients of a temporal attention.
#[derive(Debug)]
pub(crate) struct AttentionGradients {
    /// Of the projected queries, `[heads, queries, width]`.
    pub(crate) query: Vec<f32>,
    /// Of the node rows, `[rows, node]`.
    pub(crate) node: Vec<f32>,
    /// Of omega and phi, `[2, time]`.
    pub(crate) time: Vec<f32>,
}

/// Some roots in the order of their query rows, as a task of the backward takes them.
struct QueryRows<'a> {
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
pub(crate) fn temporal_attention_backward(
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
    let place = place_of_roots(query_uses, roots);
    // (weight, d_score) of each slot and head, roots in the order of their query rows.
    let mut coefficient = Vec::new();
    let ends = task_ends(query_uses);
    let mut begin = 0;
    let mut rest = room(&mut coefficient, roots * pairs * 2);
    let mut tasks = Vec::with_capacity(ends.len());
    for &end in &ends {
        let [first, last] = [begin, end].map(|row| query_uses.offsets[row] as usize);
        let (own, others) = rest.split_at_mut((last - first) * pairs * 2);
        tasks.push((begin..end, own));
        (begin, rest) = (end, others);
    }
    let mut d_query = Vec::new();
    let table = room(&mut d_query, heads * queries * width);
    let pieces = head_pieces(table, queries, width, ends.iter().copied());
    let scratch = Spare::default();
    let tasks = pieces.into_iter().zip(tasks).collect();
    let partial = parallel::map(tasks, |(mut d_query, (rows, coefficient)): (Vec<_>, _)| {
        let task = QueryRows {
            score,
            grad,
            uses: query_uses,
            rows,
        };
        scratch.with(input, |scratch| {
            backward_task(&task, zeroed(coefficient), &mut d_query, scratch)
        })
    });
    // SAFETY: the pieces cover both tables (the last end is the number of queries, and each root is in
    // one list), and each task has written all of its rows.
    unsafe {
        d_query.set_len(heads * queries * width);
        coefficient.set_len(roots * pairs * 2);
    }
    let mut d_time = vec![0.0; 2 * time];
    for of_task in partial {
        add(&mut d_time, &of_task);
    }
    AttentionGradients {
        query: d_query,
        node: backward_rows(input, grad, &coefficient, &place, uses),
        time: d_time,
    }
}

impl Uses<'_> {
    /// What the forward pass does with the roots of some query rows.
    fn attention(&self, rows: std::ops::Range<usize>, shape: &AttentionShape) -> u64 {
        let roots = (self.offsets[rows.end] - self.offsets[rows.start]) as usize;
        costs::temporal_attention(shape, [roots, rows.len(), 0, usize::MAX], false).one()
    }
}

/// Where the tasks of either pass end: whole query rows with about [`CHUNK`] roots together.
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
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn backward_task(
    task: &QueryRows<'_>,
    coefficient: &mut [f32],
    d_query: &mut [&mut Unwritten],
    scratch: &mut Scratch<'_>,
) -> Vec<f32> {
    let Scratch {
        slots,
        pairs,
        d_time,
    } = scratch;
    let input = slots.input;
    let AttentionShape {
        heads,
        fanout,
        time,
        ..
    } = input.shape;
    let (width, numbers) = (input.shape.width(), fanout * heads);
    let of_root = |root: usize| HeadRows {
        table: task.grad,
        rows: input.roots(),
        width,
        index: root,
    };
    // About twice the forward's: the gradient of the node rows is tasks of its own.
    parallel::task(|| 2 * task.uses.attention(task.rows.clone(), &input.shape));
    d_time.fill(0.0);
    let mut coefficients = coefficient.chunks_exact_mut(2 * numbers);
    let mut place = task.uses.offsets[task.rows.start] as usize;
    for (i, query_row) in task.rows.clone().enumerate() {
        slots.begin_query_row();
        for pair in &mut *pairs {
            pair.begin_query_row(slots, input.query(query_row));
            pair.clear_sums();
        }
        let of_row = task.uses.of(query_row);
        for (&root, coefficient) in of_row.iter().zip(&mut coefficients) {
            let root = root as usize;
            place += 1;
            if let Some(&next) = task.uses.items.get(place) {
                slots.prefetch(root, next as usize);
                (0..heads).for_each(|head| prefetch(of_root(next as usize).of(head)));
            }
            slots.find::<true>(root);
            for pair in &mut *pairs {
                pair.multiply(slots, of_root(root));
                pair.weigh(slots, root, row(task.score, root, numbers));
                pair.differentiate(slots, row(task.score, root, numbers), coefficient);
                pair.add_slots(slots);
                pair.add_time_gradients(slots, d_time);
            }
        }
        for pair in &mut *pairs {
            pair.sum_query_row(slots);
            for (head, sum) in pair.sums(width) {
                d_query[head][i * width..(i + 1) * width].write_copy_of_slice(sum);
            }
        }
    }
    let of_parameters = d_time.chunks_exact(slots.stride);
    of_parameters
        .flat_map(|row| &row[..time])
        .copied()
        .collect()
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
    let AttentionShape {
        heads,
        fanout,
        node,
        ..
    } = input.shape;
    let (width, queries, roots) = (input.shape.width(), input.queries(), input.roots());
    let mut d_node = Vec::new();
    let table = room(&mut d_node, uses.rows() * node);
    let chunks = table.chunks_mut(CHUNK * node.max(1)).enumerate();
    parallel::for_each(chunks.collect(), |(chunk, table)| {
        let mut terms = Vec::new();
        for (r, d_node) in (chunk * CHUNK..).zip(table.chunks_exact_mut(node)) {
            terms.clear();
            for &flat in uses.of(r) {
                let (root, k) = (flat as usize / fanout, flat as usize % fanout);
                let query_row = input.query_row(root);
                for head in 0..heads {
                    let pair = 2 * ((place[root] * fanout + k) * heads + head);
                    let grad = row(grad, head * roots + root, width);
                    let query = row(input.query, head * queries + query_row, width);
                    terms.push((&grad[..node], coefficient[pair]));
                    terms.push((&query[..node], coefficient[pair + 1]));
                }
            }
            parallel::task(|| costs::segment_sum(terms.len(), 1, node).one());
            weighted_sum(&terms, zeroed(d_node));
        }
    });
    // SAFETY: each row has been written.
    unsafe { d_node.set_len(uses.rows() * node) };
    d_node
}

/// Adds rows with their factors to `sum`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn weighted_sum(terms: &[(&[f32], f32)], sum: &mut [f32]) {
    add_weighted_rows([sum], terms.iter().map(|&(row, scale)| (row, [scale])));
}
