//! CPU kernels of `link_scores.wgsl`, `link_loss.wgsl` and the two `link_scores_backward` shaders.

use multiversion::multiversion;
use rayon::prelude::*;

use super::activation::{behind_relu, exp, relu, sigmoid};
use super::row;
use super::vector::{LANES, add, add_weighted_rows, dot};

/// Events of a task, and of a partial sum of the backward.
pub(crate) const CHUNK: usize = 16;

/// What the link predictor reads after its two products; all row-major.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkInput<'a> {
    /// Products of the sources, `[events, width]`, or one of each pair.
    pub(crate) source: &'a [f32],
    /// Products of the destinations, then of the negatives, `[2 events, width]`, or of those of
    /// any pairs.
    pub(crate) destination: &'a [f32],
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
    /// `[2 events, statistics]`.
    pub(crate) statistics: &'a [f32],
    /// `[statistics, width]`.
    pub(crate) weight: &'a [f32],
}

impl LinkInput<'_> {
    fn width(&self) -> usize {
        self.bias.len()
    }

    /// Statistics of a pair.
    fn statistics(&self) -> usize {
        self.history.weight.len() / self.width()
    }

    fn events(&self) -> usize {
        self.source.len() / self.width()
    }
}

/// Product of a pair's destination, with that of its history added in `sum`.
#[inline(always)]
fn with_history<'a>(input: &'a LinkInput<'_>, pair: usize, sum: &'a mut [f32]) -> &'a [f32] {
    let destination = row(input.destination, pair, input.width());
    let statistics = input.statistics();
    if statistics == 0 {
        return destination;
    }
    sum.copy_from_slice(destination);
    let of_pair = row(input.history.statistics, pair, statistics);
    let weights = input.history.weight.chunks_exact(input.width());
    add_weighted_rows([sum], weights.zip(of_pair.iter().map(|&h| [h])));
    sum
}

/// Logits of (src, dst), then of (src, neg), `[2 events]`, or of any pairs.
pub(crate) fn link_scores(input: &LinkInput<'_>) -> Vec<f32> {
    let mut logits = vec![0.0; input.destination.len() / input.width()];
    logits
        .par_chunks_mut(2 * CHUNK)
        .enumerate()
        .for_each(|(chunk, logits)| score_chunk(input, chunk * 2 * CHUNK, logits));
    logits
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn score_chunk(input: &LinkInput<'_>, first: usize, logits: &mut [f32]) {
    let (width, events) = (input.width(), input.events());
    let padded = width.next_multiple_of(LANES);
    let mut output = vec![0.0; padded];
    output[..width].copy_from_slice(input.output);
    let mut hidden = vec![0.0; padded];
    let mut sum = vec![0.0; width];
    for (pair, logit) in (first..).zip(logits) {
        let source = row(input.source, pair % events, width);
        let destination = with_history(input, pair, &mut sum);
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
    // In f64, so that the order of the additions does not show.
    let terms = positive.iter().map(|x| softplus(-x));
    let sum: f64 = terms
        .chain(negative.iter().map(|x| softplus(*x)))
        .map(f64::from)
        .sum();
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
    /// Of the history's weights, `[statistics, width]`.
    pub(crate) history: Vec<f32>,
}

/// Backward of [`link_loss`] of [`link_scores`]; `grad` is the gradient of the loss.
pub(crate) fn link_scores_backward(
    input: &LinkInput<'_>,
    logits: &[f32],
    grad: f32,
) -> LinkGradients {
    let (width, events) = (input.width(), input.events());
    let mut d_source = vec![0.0; events * width];
    let mut d_destination = vec![0.0; 2 * events * width];
    let (d_positive, d_negative) = d_destination.split_at_mut(events * width);
    let partial: Vec<Vec<f32>> = d_source
        .par_chunks_mut(CHUNK * width)
        .zip(d_positive.par_chunks_mut(CHUNK * width))
        .zip(d_negative.par_chunks_mut(CHUNK * width))
        .enumerate()
        .map(|(chunk, ((d_source, d_positive), d_negative))| {
            let rows = DRows {
                d_source,
                d_positive,
                d_negative,
            };
            backward_chunk(input, logits, grad, chunk * CHUNK, rows)
        })
        .collect();
    let mut sum = vec![0.0; columns(input)];
    for chunk in partial {
        add(&mut sum, &chunk);
    }
    LinkGradients {
        source: d_source,
        destination: d_destination,
        output: sum[width..2 * width].to_vec(),
        output_bias: sum[2 * width],
        history: sum[2 * width + 1..].to_vec(),
        bias: {
            sum.truncate(width);
            sum
        },
    }
}

/// Numbers of a partial sum: of bias, output, output bias and history.
fn columns(input: &LinkInput<'_>) -> usize {
    2 * input.width() + 1 + input.history.weight.len()
}

/// Rows of the gradients that one task writes.
struct DRows<'a> {
    d_source: &'a mut [f32],
    d_positive: &'a mut [f32],
    d_negative: &'a mut [f32],
}

/// Writes the rows of a chunk of events; returns its share of the gradients of bias, output,
/// output bias and history, one after the other.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn backward_chunk(
    input: &LinkInput<'_>,
    logits: &[f32],
    grad: f32,
    first: usize,
    rows: DRows<'_>,
) -> Vec<f32> {
    let (width, events) = (input.width(), input.events());
    let scale = grad * mean_scale(events);
    let mut sum = vec![0.0; columns(input)];
    let (d_bias, rest) = sum.split_at_mut(width);
    let (d_output, rest) = rest.split_at_mut(width);
    let (d_output_bias, d_history) = rest.split_at_mut(1);
    let mut sums = vec![0.0; 2 * width];
    let (positive_sum, negative_sum) = sums.split_at_mut(width);
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
        let destination = with_history(input, event, positive_sum);
        let other = with_history(input, events + event, negative_sum);
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
    let (positives, negatives) = (first, events + first);
    for (k, d_history) in d_history.chunks_exact_mut(width).enumerate() {
        for (first, d_rows) in [
            (positives, &*rows.d_positive),
            (negatives, &*rows.d_negative),
        ] {
            let of_pair = |pair| [row(input.history.statistics, pair, input.statistics())[k]];
            let d_rows = d_rows.chunks_exact(width);
            let terms = d_rows.zip(first..).map(|(d, pair)| (d, of_pair(pair)));
            add_weighted_rows([&mut *d_history], terms);
        }
    }
    sum
}
