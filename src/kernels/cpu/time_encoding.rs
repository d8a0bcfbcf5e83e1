//! CPU kernels of `time_encoding.wgsl` and `time_encoding_backward.wgsl`.

use multiversion::multiversion;

use super::cosine::TimeColumns;
use crate::kernels::costs;
use crate::parallel;

/// Rows that one partial sum of the backward covers.
const CHUNK: usize = 64;

/// `cos(delta[i] * omega + phi)`, `[n, width]`; `time` is omega followed by phi.
pub(crate) fn time_encoding(time: &[f32], delta: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; delta.len() * width];
    let chunks = out.chunks_mut(CHUNK * width).zip(delta.chunks(CHUNK));
    parallel::for_each(chunks.collect(), |(out, delta)| {
        parallel::task(|| costs::time_encoding(delta.len(), width, false).one());
        encode_chunk(time, delta, width, out);
    });
    out
}

/// Encodings of a chunk, `[n, width]`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn encode_chunk(time: &[f32], delta: &[f32], width: usize, out: &mut [f32]) {
    let columns = TimeColumns::new(time, width);
    let mut sine = vec![0.0; width];
    for (delta, out) in delta.iter().zip(out.chunks_exact_mut(width)) {
        columns.encode(*delta, out, &mut sine);
    }
}

/// Gradient of `time`, `[2, width]`, from the gradient of the encodings `[n, width]`.
pub(crate) fn time_encoding_backward(
    time: &[f32],
    delta: &[f32],
    grad: &[f32],
    width: usize,
) -> Vec<f32> {
    let chunks = delta.chunks(CHUNK).zip(grad.chunks(CHUNK * width));
    let partial = parallel::map(chunks.collect(), |(delta, grad)| {
        parallel::task(|| costs::time_encoding(delta.len(), width, true).one());
        backward_chunk(time, delta, grad, width)
    });
    let mut sum = vec![0.0; 2 * width];
    for chunk in partial {
        super::vector::add(&mut sum, &chunk);
    }
    sum
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn backward_chunk(time: &[f32], delta: &[f32], grad: &[f32], width: usize) -> Vec<f32> {
    let columns = TimeColumns::new(time, width);
    let (mut cosine, mut sine) = (vec![0.0; width], vec![0.0; width]);
    let mut sum = vec![0.0; 2 * width];
    let (d_omega, d_phi) = sum.split_at_mut(width);
    for (&delta, grad) in delta.iter().zip(grad.chunks_exact(width)) {
        columns.encode(delta, &mut cosine, &mut sine);
        for c in 0..width {
            let d_argument = -sine[c] * grad[c];
            d_omega[c] += d_argument * delta;
            d_phi[c] += d_argument;
        }
    }
    sum
}
