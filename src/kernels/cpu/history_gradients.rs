//! Gradients of the weights that statistics of pairs have in the link predictor, on the CPU.
//!
//! Those of a chunk of events are summed before they are added, as all gradients of
//! [`super::link_scores`] are, but by columns: no task hands a sum of each chunk to the thread that
//! adds them up, and the tasks fill what the products beside them leave of the cores.

use std::ops::Range;

use multiversion::multiversion;

use super::link_scores::{CHUNK, LinkInput, TOGETHER, apart};
use super::row;
use super::vector::{add, add_weighted_rows};
use crate::kernels::costs;
use crate::parallel;

/// Columns of a task.
const COLUMNS: usize = 32;

/// Statistics that are summed together: of five there are enough sums to hide how long an addition
/// takes, and fifteen are three times five.
const SUMMED: usize = 5;

/// The gradients, in parts that tasks sum.
pub(super) struct HistoryGradients {
    parts: Vec<Part>,
    /// Statistics and columns.
    sizes: [usize; 2],
}

/// Some columns of the gradients.
pub(super) struct Part {
    columns: Range<usize>,
    /// `[statistics, columns]`.
    sums: Vec<f32>,
}

impl HistoryGradients {
    /// Of the weights of `input`, not summed yet; without parts where no statistics are read.
    pub(super) fn new(input: &LinkInput<'_>) -> HistoryGradients {
        let (width, statistics) = (input.width(), input.statistics());
        let firsts = (0..width).step_by(COLUMNS).filter(|_| statistics > 0);
        let parts = firsts.map(|first| {
            let columns = first..width.min(first + COLUMNS);
            Part {
                sums: vec![0.0; statistics * columns.len()],
                columns,
            }
        });
        HistoryGradients {
            parts: parts.collect(),
            sizes: [statistics, width],
        }
    }

    /// What is to be summed.
    pub(super) fn parts(&mut self) -> Vec<&mut Part> {
        self.parts.iter_mut().collect()
    }

    /// All of them, `[statistics, width]`.
    pub(super) fn joined(self) -> Vec<f32> {
        let [statistics, width] = self.sizes;
        let mut all = Vec::with_capacity(statistics * width);
        for statistic in 0..statistics {
            for Part { columns, sums } in &self.parts {
                all.extend_from_slice(row(sums, statistic, columns.len()));
            }
        }
        all
    }
}

impl Part {
    /// Sums them, given the gradients of the destinations' products, `[2 events, width]`.
    pub(super) fn sum(&mut self, input: &LinkInput<'_>, d_destination: &[f32]) {
        let statistics = input.statistics();
        let sizes = [statistics, 2 * input.events(), self.columns.len()];
        parallel::task(|| costs::product(sizes, 0).one());
        sum_columns(input, d_destination, self);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn sum_columns(input: &LinkInput<'_>, d_destination: &[f32], part: &mut Part) {
    let events = input.events();
    let mut of_chunk = vec![0.0; part.sums.len()];
    for first in (0..events).step_by(CHUNK) {
        let end = events.min(first + CHUNK);
        of_chunk.fill(0.0);
        for pairs in [first..end, events + first..events + end] {
            add_pairs(input, d_destination, pairs, &part.columns, &mut of_chunk);
        }
        add(&mut part.sums, &of_chunk);
    }
}

/// Adds what some pairs make of some columns of the gradients, `[statistics, columns]`.
#[inline(always)]
fn add_pairs(
    input: &LinkInput<'_>,
    d_destination: &[f32],
    pairs: Range<usize>,
    columns: &Range<usize>,
    sums: &mut [f32],
) {
    let (width, statistics) = (input.width(), input.statistics());
    let d_rows = || {
        pairs
            .clone()
            .map(|pair| &row(d_destination, pair, width)[columns.clone()])
    };
    let of_pairs = || {
        pairs
            .clone()
            .map(|pair| row(input.history.statistics, pair, statistics))
    };
    let mut k = 0;
    let mut fives = sums.chunks_exact_mut(SUMMED * columns.len());
    for five in &mut fives {
        let scales = of_pairs().map(|of_pair| *of_pair[k..].first_chunk().expect("as many"));
        let (four, e) = five.split_at_mut(TOGETHER * columns.len());
        let [a, b, c, d] = apart(four, columns.len());
        add_weighted_rows::<SUMMED>([a, b, c, d, e], d_rows().zip(scales));
        k += SUMMED;
    }
    for one in fives.into_remainder().chunks_exact_mut(columns.len()) {
        let scales = of_pairs().map(|of_pair| [of_pair[k]]);
        add_weighted_rows([one], d_rows().zip(scales));
        k += 1;
    }
}
