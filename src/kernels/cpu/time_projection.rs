//! CPU kernels of the projection in `root_norm.wgsl` and `root_norm_backward.wgsl`.

use multiversion::multiversion;

use super::vector::add;
use super::{Unwritten, room, row};
use crate::kernels::costs;
use crate::parallel;

/// Rows that one task takes, and one partial sum of the backward.
const CHUNK: usize = 64;

/// What the projection reads; all tables row-major.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProjectionInput<'a> {
    /// `[rows, width]`.
    pub(crate) x: &'a [f32],
    /// `[rows]`.
    pub(crate) recency: &'a [f32],
    /// `[width]`.
    pub(crate) weight: &'a [f32],
    /// `[width]`.
    pub(crate) bias: &'a [f32],
}

/// `x (1 + recency w + b)`, `[rows, width]`.
pub(crate) fn time_projection(input: &ProjectionInput<'_>) -> Vec<f32> {
    let mut out = Vec::new();
    let rows = room(&mut out, input.x.len());
    let chunks = rows.chunks_mut(CHUNK * input.weight.len()).enumerate();
    parallel::for_each(chunks.collect(), |(chunk, out)| {
        forward_chunk(input, chunk * CHUNK, out);
    });
    // SAFETY: the chunks cover all rows, and each has been written.
    unsafe { out.set_len(input.x.len()) };
    out
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn forward_chunk(input: &ProjectionInput<'_>, first: usize, out: &mut Unwritten) {
    let width = input.weight.len();
    parallel::task(|| costs::time_projection(out.len() / width, width, false).one());
    for (r, out) in (first..).zip(out.chunks_exact_mut(width)) {
        let (x, recency) = (row(input.x, r, width), input.recency[r]);
        let drift = input.weight.iter().zip(input.bias);
        for (out, (x, (w, b))) in out.iter_mut().zip(x.iter().zip(drift)) {
            out.write(x + x * (recency * w + b));
        }
    }
}

/// Gradients of x, `[rows, width]`, and of w, then b, `[2 width]`.
pub(crate) fn time_projection_backward(
    input: &ProjectionInput<'_>,
    grad: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let mut d_x = Vec::new();
    let rows = room(&mut d_x, input.x.len());
    let chunks = rows.chunks_mut(CHUNK * input.weight.len()).enumerate();
    let partial = parallel::map(chunks.collect(), |(chunk, d_x)| {
        backward_chunk(input, grad, chunk * CHUNK, d_x)
    });
    // SAFETY: the chunks cover all rows, and each has been written.
    unsafe { d_x.set_len(input.x.len()) };
    let mut sum = vec![0.0; 2 * input.weight.len()];
    for chunk in partial {
        add(&mut sum, &chunk);
    }
    (d_x, sum)
}

/// Writes the gradient of a chunk of rows; returns its share of those of w and b.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn backward_chunk(
    input: &ProjectionInput<'_>,
    grad: &[f32],
    first: usize,
    d_x: &mut Unwritten,
) -> Vec<f32> {
    let width = input.weight.len();
    parallel::task(|| costs::time_projection(d_x.len() / width, width, true).one());
    let mut sum = vec![0.0; 2 * width];
    let (d_weight, d_bias) = sum.split_at_mut(width);
    let (weight, bias) = (&input.weight[..width], &input.bias[..width]);
    for (r, d_x) in (first..).zip(d_x.chunks_exact_mut(width)) {
        let (x, grad, recency) = (
            row(input.x, r, width),
            row(grad, r, width),
            input.recency[r],
        );
        for c in 0..width {
            let drift = grad[c] * x[c];
            d_x[c].write(grad[c] + grad[c] * (recency * weight[c] + bias[c]));
            d_weight[c] += drift * recency;
            d_bias[c] += drift;
        }
    }
    sum
}
