//! Twins of `rnn_gates.wgsl` and `rnn_gates_backward.wgsl`.

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
    out.par_chunks_mut(CHUNK * width.max(1))
        .enumerate()
        .for_each(|(chunk, out)| {
            forward_chunk(
                from_input,
                from_memory,
                hidden,
                active,
                (chunk * CHUNK, width),
                out,
            );
        });
    out
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn forward_chunk(
    from_input: &[f32],
    from_memory: &[f32],
    hidden: &[f32],
    active: &[i32],
    (first, width): (usize, usize),
    out: &mut [f32],
) {
    for (i, out) in out.chunks_exact_mut(width).enumerate() {
        let r = first + i;
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
    d.par_chunks_mut(CHUNK * width.max(1))
        .zip(out.par_chunks(CHUNK * width.max(1)))
        .zip(grad.par_chunks(CHUNK * width.max(1)))
        .zip(active.par_chunks(CHUNK))
        .for_each(|(((d, out), grad), active)| {
            for (r, _) in active
                .iter()
                .enumerate()
                .filter(|(_, active)| **active != 0)
            {
                let of_row = row(out, r, width).iter().zip(row(grad, r, width));
                for (d, (h, g)) in d[r * width..(r + 1) * width].iter_mut().zip(of_row) {
                    *d = g * (1.0 - h * h);
                }
            }
        });
    d
}
