//! CPU kernels of `output_norm.wgsl` and the two `output_norm_backward` shaders.

use multiversion::multiversion;

use super::activation::{behind_relu, relu};
use super::counter_hash::Dropout;
use super::vector::{LANES, add, dot};
use super::{Unwritten, room, row};
use crate::kernels::costs;
use crate::parallel;

/// Added to the variance: PyTorch's default.
pub(crate) const EPSILON: f32 = 1e-5;

/// Rows that one task takes, and one partial sum of the backward.
const CHUNK: usize = 64;

/// What is done to a row before it is normalised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeforeNorm {
    /// First a dropout.
    pub dropout: Dropout,
    /// Then a relu.
    pub relu: bool,
}

impl BeforeNorm {
    /// Nothing.
    pub(crate) const NOTHING: BeforeNorm = BeforeNorm {
        dropout: Dropout::OFF,
        relu: false,
    };
}

/// One row on its way, padded with zeros to whole vectors.
struct Scratch {
    ones: Vec<f32>,
    factor: Vec<f32>,
    /// The row before it is normalised.
    kept: Vec<f32>,
    /// The same minus its mean, over its deviation.
    normalised: Vec<f32>,
    /// Gradient of the normalised row.
    grad: Vec<f32>,
}

impl Scratch {
    fn new(width: usize) -> Scratch {
        let padded = vec![0.0; width.next_multiple_of(LANES)];
        let mut ones = padded.clone();
        ones[..width].fill(1.0);
        Scratch {
            ones,
            factor: padded.clone(),
            kept: padded.clone(),
            normalised: padded.clone(),
            grad: padded,
        }
    }

    /// Fills all but the gradient for the row that begins with element `first`; returns what
    /// the distances from the mean are multiplied by.
    #[inline(always)]
    fn normalise(&mut self, x: &[f32], first: u32, before: BeforeNorm) -> f32 {
        let width = x.len();
        for (i, factor) in (first..).zip(&mut self.factor[..width]) {
            *factor = before.dropout.factor(i);
        }
        for (kept, (x, factor)) in self.kept.iter_mut().zip(x.iter().zip(&self.factor)) {
            let y = x * factor;
            *kept = if before.relu { relu(y) } else { y };
        }
        let mean = dot(&self.kept, &self.ones) / width as f32;
        for (n, kept) in self.normalised[..width].iter_mut().zip(&self.kept) {
            *n = kept - mean;
        }
        let variance = dot(&self.normalised, &self.normalised) / width as f32;
        let scale = 1.0 / (variance + EPSILON).sqrt();
        for n in &mut self.normalised {
            *n *= scale;
        }
        scale
    }
}

/// Layer norm of each row of `x`, `[rows, width]`; `gamma` and `beta` are
/// `[width]`.
pub(crate) fn output_norm(x: &[f32], gamma: &[f32], beta: &[f32], before: BeforeNorm) -> Vec<f32> {
    let mut out = Vec::new();
    let width = gamma.len();
    let chunks = room(&mut out, x.len())
        .chunks_mut(CHUNK * width)
        .enumerate();
    parallel::for_each(chunks.collect(), |(chunk, out)| {
        forward_chunk(x, gamma, beta, before, chunk * CHUNK, out);
    });
    // SAFETY: the chunks cover all rows, and each has been written.
    unsafe { out.set_len(x.len()) };
    out
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn forward_chunk(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    before: BeforeNorm,
    first: usize,
    out: &mut Unwritten,
) {
    let width = gamma.len();
    parallel::task(|| costs::output_norm(out.len() / width, width).one());
    let mut scratch = Scratch::new(width);
    for (r, out) in (first..).zip(out.chunks_exact_mut(width)) {
        scratch.normalise(row(x, r, width), (r * width) as u32, before);
        let affine = gamma.iter().zip(beta);
        for (out, (n, (gamma, beta))) in out.iter_mut().zip(scratch.normalised.iter().zip(affine)) {
            out.write(n * gamma + beta);
        }
    }
}

/// Gradients of x, `[rows, width]`, and of gamma, then beta, `[2 width]`.
pub(crate) fn output_norm_backward(
    x: &[f32],
    gamma: &[f32],
    grad: &[f32],
    before: BeforeNorm,
) -> (Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    let mut d_x = Vec::new();
    let chunks = room(&mut d_x, x.len())
        .chunks_mut(CHUNK * width)
        .enumerate();
    let partial = parallel::map(chunks.collect(), |(chunk, d_x)| {
        backward_chunk(x, gamma, grad, before, chunk * CHUNK, d_x)
    });
    // SAFETY: the chunks cover all rows, and each has been written.
    unsafe { d_x.set_len(x.len()) };
    let mut sum = vec![0.0; 2 * width];
    for chunk in partial {
        add(&mut sum, &chunk);
    }
    (d_x, sum)
}

/// Writes the gradient of a chunk of rows; returns its share of those of gamma and beta.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn backward_chunk(
    x: &[f32],
    gamma: &[f32],
    grad: &[f32],
    before: BeforeNorm,
    first: usize,
    d_x: &mut Unwritten,
) -> Vec<f32> {
    let width = gamma.len();
    parallel::task(|| costs::output_norm_backward(d_x.len() / width, width).one());
    let mut scratch = Scratch::new(width);
    let mut sum = vec![0.0; 2 * width];
    let (d_gamma, d_beta) = sum.split_at_mut(width);
    for (r, d_x) in (first..).zip(d_x.chunks_exact_mut(width)) {
        let scale = scratch.normalise(row(x, r, width), (r * width) as u32, before);
        let grad = row(grad, r, width);
        for (g, (grad, gamma)) in scratch.grad.iter_mut().zip(grad.iter().zip(gamma)) {
            *g = grad * gamma;
        }
        let mean_g = dot(&scratch.grad, &scratch.ones) / width as f32;
        let mean_g_n = dot(&scratch.grad, &scratch.normalised) / width as f32;
        // Slices of one known length, so that the loop vectorises.
        let (normalised, g) = (&scratch.normalised[..width], &scratch.grad[..width]);
        let (kept, factor) = (&scratch.kept[..width], &scratch.factor[..width]);
        for c in 0..width {
            let n = normalised[c];
            let d_y = scale * (g[c] - mean_g - n * mean_g_n);
            let d_kept = d_y * factor[c];
            d_x[c].write(if before.relu {
                behind_relu(kept[c], d_kept)
            } else {
                d_kept
            });
            d_gamma[c] += grad[c] * n;
            d_beta[c] += grad[c];
        }
    }
    sum
}
