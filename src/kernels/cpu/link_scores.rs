//! CPU kernels of `link_scores.wgsl`, `link_loss.wgsl` and the two `link_scores_backward` shaders.

use multiversion::multiversion;
use rayon::prelude::*;

use super::activation::{behind_relu, exp, relu, sigmoid};
use super::vector::{LANES, add, add_weighted_rows, dot};
use super::{room, row, zeroed};
use crate::kernels::costs;
use crate::parallel;

/// Events of a task, and of a partial sum of the backward.
pub(super) const CHUNK: usize = 16;

/// Logits whose losses a task computes.
const LOSSES: usize = 256;

/// Pairs of a task of the forward.
const PAIRS: usize = 2 * CHUNK;

/// What the link predictor reads besides the products of the destinations; all row-major.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkInput<'a> {
    /// Products of the sources, `[events, width]`, or a table of such rows.
    pub(crate) source: &'a [f32],
    /// `[width]`.
    pub(crate) bias: &'a [f32],
    /// Output weights, `[width]`.
    pub(crate) output: &'a [f32],
    /// Output bias.
    pub(crate) output_bias: f32,
    /// Pair history, if any is read.
    pub(crate) history: HistoryInput<'a>,
}

/// Statistics of each pair and what they are multiplied by; both empty where none is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HistoryInput<'a> {
    /// `[pairs, statistics]`.
    pub(crate) statistics: &'a [f32],
    /// `[statistics, width]`.
    pub(crate) weight: &'a [f32],
}

impl LinkInput<'_> {
    pub(super) fn width(&self) -> usize {
        self.bias.len()
    }

    /// Statistics of a pair.
    pub(super) fn statistics(&self) -> usize {
        self.history.weight.len() / self.width()
    }

    pub(super) fn events(&self) -> usize {
        self.source.len() / self.width()
    }
}

/// Pairs that are taken together: weights that are loaded take part in as many sums.
pub(super) const TOGETHER: usize = 4;

/// Rows as wide as `width` out of as many together.
#[inline(always)]
pub(super) fn apart(rows: &mut [f32], width: usize) -> [&mut [f32]; TOGETHER] {
    let (a, rows) = rows.split_at_mut(width);
    let (b, rows) = rows.split_at_mut(width);
    let (c, d) = rows.split_at_mut(width);
    [a, b, c, d]
}

/// Adds the products of the histories of some pairs, from `first` on, to their `rows`.
#[inline(always)]
fn add_histories(input: &LinkInput<'_>, first: usize, rows: &mut [f32]) {
    let (width, statistics) = (input.width(), input.statistics());
    let of_pair = |pair| row(input.history.statistics, pair, statistics);
    let weights = || input.history.weight.chunks_exact(width).enumerate();
    let mut pair = first;
    let mut fours = rows.chunks_exact_mut(TOGETHER * width);
    for four in &mut fours {
        // One by one: an array's `map` would not be inlined.
        let (a, b) = (of_pair(pair), of_pair(pair + 1));
        let (c, d) = (of_pair(pair + 2), of_pair(pair + 3));
        let terms = weights().map(|(k, weight)| (weight, [a[k], b[k], c[k], d[k]]));
        add_weighted_rows(apart(four, width), terms);
        pair += TOGETHER;
    }
    for one in fours.into_remainder().chunks_exact_mut(width) {
        let of_pair = of_pair(pair);
        let terms = weights().map(|(k, weight)| (weight, [of_pair[k]]));
        add_weighted_rows([one], terms);
        pair += 1;
    }
}

/// Logits of (src, dst), then of (src, neg), `[2 events]`. `destination` `[2 events, width]` has the
/// products of both; those of the histories are added.
pub(crate) fn batch_scores(input: &LinkInput<'_>, destination: &mut [f32]) -> Vec<f32> {
    let (width, events) = (input.width(), input.events());
    let mut logits = vec![0.0; destination.len() / width];
    let pairs = logits
        .chunks_mut(PAIRS)
        .zip(destination.chunks_mut(PAIRS * width));
    parallel::for_each(pairs.enumerate().collect(), |(chunk, (logits, rows))| {
        let first = chunk * PAIRS;
        let source: [i32; PAIRS] = std::array::from_fn(|i| ((first + i) % events) as i32);
        score_chunk(input, first, &source, rows, logits);
    });
    logits
}

/// Logits of any pairs, `[pairs]`: `places` are their rows among the products of the sources and of
/// the destinations.
pub(crate) fn pair_scores(
    input: &LinkInput<'_>,
    destination: &[f32],
    places: [&[i32]; 2],
) -> Vec<f32> {
    let width = input.width();
    let [source, of_destination] = places;
    let mut logits = vec![0.0; source.len()];
    logits
        .par_chunks_mut(PAIRS)
        .zip(source.par_chunks(PAIRS))
        .zip(of_destination.par_chunks(PAIRS))
        .enumerate()
        .for_each_init(
            || vec![0.0; PAIRS * width],
            |rows, (chunk, ((logits, source), of_destination))| {
                let rows = &mut rows[..logits.len() * width];
                for (to, &place) in rows.chunks_exact_mut(width).zip(of_destination) {
                    to.copy_from_slice(row(destination, place as usize, width));
                }
                score_chunk(input, chunk * PAIRS, source, rows, logits);
            },
        );
    logits
}

/// Adds the histories of pairs from `first` on to the products of their destinations, `rows`, and
/// writes their logits; `source` are their rows among the products of the sources.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn score_chunk(
    input: &LinkInput<'_>,
    first: usize,
    source: &[i32],
    rows: &mut [f32],
    logits: &mut [f32],
) {
    let width = input.width();
    parallel::task(|| costs::link_scores([logits.len(), width, input.statistics()]).one());
    add_histories(input, first, rows);
    let padded = width.next_multiple_of(LANES);
    let mut output = vec![0.0; padded];
    output[..width].copy_from_slice(input.output);
    let mut hidden = vec![0.0; padded];
    let pairs = rows.chunks_exact(width).zip(source);
    for ((destination, &source), logit) in pairs.zip(logits) {
        let source = row(input.source, source as usize, width);
        let terms = source.iter().zip(destination).zip(input.bias);
        for (hidden, ((s, d), b)) in hidden.iter_mut().zip(terms) {
            *hidden = relu(s + d + b);
        }
        *logit = dot(&hidden, &output) + input.output_bias;
    }
}

/// log(1 + e^x), NaN for NaN.
fn softplus(x: f32) -> f32 {
    relu(x) + exp(-x.abs().min(80.0)).ln_1p()
}

/// What a mean over the events is multiplied by; 1 where there are none.
pub(crate) fn mean_scale(events: usize) -> f32 {
    1.0 / events.max(1) as f32
}

/// Mean cross-entropy of the events' logits against 1 plus that of the negatives' against 0.
pub(crate) fn link_loss(logits: &[f32]) -> f32 {
    let (positive, negative) = logits.split_at(logits.len() / 2);
    let positive_chunks = positive.chunks(LOSSES).map(|x| (x, -1.0));
    let chunks = positive_chunks.chain(negative.chunks(LOSSES).map(|x| (x, 1.0)));
    let losses = parallel::map(chunks.collect(), |(logits, sign): (&[f32], f32)| {
        logits
            .iter()
            .map(|x| softplus(sign * x))
            .collect::<Vec<f32>>()
    });
    // In f64, so that the order of the additions does not show.
    let sum: f64 = losses.into_iter().flatten().map(f64::from).sum();
    sum as f32 * mean_scale(positive.len())
}

/// Gradients of the loss.
#[derive(Debug)]
pub(crate) struct LinkGradients {
    /// `[events, width]`.
    pub(crate) source: Vec<f32>,
    /// `[2 events, width]`.
    pub(crate) destination: Vec<f32>,
    /// `[width]`.
    pub(crate) bias: Vec<f32>,
    /// `[width]`.
    pub(crate) output: Vec<f32>,
    /// Of the output's bias.
    pub(crate) output_bias: f32,
}

/// Backward of [`link_loss`] of [`batch_scores`], which left `destination` as it is; `grad` is the
/// gradient of the loss. Those of the history's weights follow from the destinations'
/// ([`super::history_gradients`]).
pub(crate) fn link_scores_backward(
    input: &LinkInput<'_>,
    destination: &[f32],
    logits: &[f32],
    grad: f32,
) -> LinkGradients {
    let (width, events) = (input.width(), input.events());
    let (mut d_source, mut d_destination) = (Vec::new(), Vec::new());
    let numbers = events * width;
    let (d_positive, d_negative) = room(&mut d_destination, 2 * numbers).split_at_mut(numbers);
    let of_sources = room(&mut d_source, numbers).chunks_mut(CHUNK * width);
    let of_pairs = (d_positive.chunks_mut(CHUNK * width)).zip(d_negative.chunks_mut(CHUNK * width));
    let chunks = of_sources.zip(of_pairs).enumerate().collect();
    let partial = parallel::map(chunks, |(chunk, (d_source, (d_positive, d_negative)))| {
        let rows = DRows {
            d_source: zeroed(d_source),
            d_positive: zeroed(d_positive),
            d_negative: zeroed(d_negative),
        };
        backward_chunk(input, (destination, logits), grad, chunk * CHUNK, rows)
    });
    // SAFETY: the chunks cover both tables, and each has been written.
    unsafe {
        d_source.set_len(numbers);
        d_destination.set_len(2 * numbers);
    }
    let mut sum = vec![0.0; columns(input)];
    add_all(&mut sum, &partial);
    LinkGradients {
        source: d_source,
        destination: d_destination,
        output: sum[width..2 * width].to_vec(),
        output_bias: sum[2 * width],
        bias: {
            sum.truncate(width);
            sum
        },
    }
}

/// Adds partial sums in their order.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn add_all(sum: &mut [f32], partial: &[Vec<f32>]) {
    for chunk in partial {
        add(sum, chunk);
    }
}

/// Numbers of a partial sum: of bias, output and output bias.
fn columns(input: &LinkInput<'_>) -> usize {
    2 * input.width() + 1
}

/// Rows of the gradients that one task writes.
struct DRows<'a> {
    d_source: &'a mut [f32],
    d_positive: &'a mut [f32],
    d_negative: &'a mut [f32],
}

/// Writes the rows of a chunk of events; returns its share of the gradients of bias, output and
/// output bias, one after the other.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn backward_chunk(
    input: &LinkInput<'_>,
    (destinations, logits): (&[f32], &[f32]),
    grad: f32,
    first: usize,
    rows: DRows<'_>,
) -> Vec<f32> {
    let (width, events) = (input.width(), input.events());
    let scale = grad * mean_scale(events);
    // Of both pairs of each event.
    parallel::task(|| {
        let pairs = 2 * rows.d_source.len() / width;
        2 * costs::link_scores([pairs, width, 0]).one()
    });
    let mut sum = vec![0.0; columns(input)];
    let (d_bias, rest) = sum.split_at_mut(width);
    let (d_output, d_output_bias) = rest.split_at_mut(width);
    let d_rows = rows
        .d_source
        .chunks_exact_mut(width)
        .zip(rows.d_positive.chunks_exact_mut(width))
        .zip(rows.d_negative.chunks_exact_mut(width));
    for (event, ((d_source, d_positive), d_negative)) in (first..).zip(d_rows) {
        let of_positive = (sigmoid(logits[event]) - 1.0) * scale;
        let of_negative = sigmoid(logits[events + event]) * scale;
        d_output_bias[0] += of_positive + of_negative;
        let source = row(input.source, event, width);
        let destination = row(destinations, event, width);
        let other = row(destinations, events + event, width);
        for c in 0..width {
            let hidden = source[c] + input.bias[c];
            let (positive, negative) = (hidden + destination[c], hidden + other[c]);
            let output = input.output[c];
            d_positive[c] = behind_relu(positive, of_positive * output);
            d_negative[c] = behind_relu(negative, of_negative * output);
            d_source[c] = d_positive[c] + d_negative[c];
            d_bias[c] += d_source[c];
            d_output[c] += of_positive * relu(positive) + of_negative * relu(negative);
        }
    }
    sum
}
