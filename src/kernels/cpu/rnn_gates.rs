//! CPU kernels of `rnn_gates.wgsl` and `rnn_gates_backward.wgsl`.

use multiversion::multiversion;
use rayon::prelude::*;

use super::activation::tanh;
use super::row;

/// Rows that one task takes.
const CHUNK: usize = 64;

/// `tanh(from_input + from_memory)`, `[rows, width]`; rows whose `active` is 0 keep `hidden`.
pub fn rnn_gates(
    from_input: &[f32],
    from_memory: &[f32],
    hidden: &[f32],
    active: &[i32],
    width: usize,
) -> Vec<f32> {
    let mut out = vec![0.0; hidden.len()];
    out.par_chunks_mut(CHUNK * width)
        .zip(from_input.par_chunks(CHUNK * width))
        .zip(from_memory.par_chunks(CHUNK * width))
        .zip(hidden.par_chunks(CHUNK * width))
        .zip(active.par_chunks(CHUNK))
        .for_each(|((((out, a), b), hidden), active)| {
            forward_chunk(a, b, hidden, active, width, out);
        });
    out
}

/// New rows of a chunk.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn forward_chunk(
    from_input: &[f32],
    from_memory: &[f32],
    hidden: &[f32],
    active: &[i32],
    width: usize,
    out: &mut [f32],
) {
    for (r, out) in out.chunks_exact_mut(width).enumerate() {
        if active[r] == 0 {
            out.copy_from_slice(row(hidden, r, width));
            continue;
        }
        let sum = row(from_input, r, width)
            .iter()
            .zip(row(from_memory, r, width));
        for (out, (a, b)) in out.iter_mut().zip(sum) {
            *out = tanh(a + b);
        }
    }
}

/// Gradient of `from_input`, which is that of `from_memory` too, `[rows, width]`, from the
/// result `out` of the forward pass and its gradient.
pub fn rnn_gates_backward(out: &[f32], active: &[i32], grad: &[f32], width: usize) -> Vec<f32> {
    let mut d = vec![0.0; out.len()];
    d.par_chunks_mut(CHUNK * width)
        .zip(out.par_chunks(CHUNK * width))
        .zip(grad.par_chunks(CHUNK * width))
        .zip(active.par_chunks(CHUNK))
        .for_each(|(((d, out), grad), active)| backward_chunk(out, active, grad, width, d));
    d
}

/// Gradients of a chunk; those of rows that are not active are left alone.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn backward_chunk(
    out: &[f32],
    active: &[i32],
    grad: &[f32],
    width: usize,
    d: &mut [f32],
) {
    for (r, d) in d.chunks_exact_mut(width).enumerate() {
        if active[r] == 0 {
            continue;
        }
        let of_row = row(out, r, width).iter().zip(row(grad, r, width));
        for (d, (h, g)) in d.iter_mut().zip(of_row) {
            *d = g * (1.0 - h * h);
        }
    }
}
