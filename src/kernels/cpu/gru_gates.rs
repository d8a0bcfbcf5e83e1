//! CPU kernels of `gru_gates.wgsl` and `gru_gates_backward.wgsl`.

use multiversion::multiversion;
use rayon::prelude::*;

use super::activation::{sigmoid, tanh};

/// Rows that one task takes.
const CHUNK: usize = 32;

/// Output of the gates, `[rows, width]`.
///
/// `from_input`, `from_hidden` are `[rows, 3 width]` (gates r, z, n), `hidden` is
/// `[rows, width]`; rows whose `active` is 0 keep `hidden`.
pub fn gru_gates(
    from_input: &[f32],
    from_hidden: &[f32],
    hidden: &[f32],
    active: &[i32],
    width: usize,
) -> Vec<f32> {
    let mut out = vec![0.0; hidden.len()];
    out.par_chunks_mut(CHUNK * width)
        .zip(from_input.par_chunks(CHUNK * 3 * width))
        .zip(from_hidden.par_chunks(CHUNK * 3 * width))
        .zip(hidden.par_chunks(CHUNK * width))
        .zip(active.par_chunks(CHUNK))
        .for_each(|((((out, gi), gh), h), active)| forward_chunk(gi, gh, h, active, width, out));
    out
}

/// New rows of a chunk.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn forward_chunk(
    from_input: &[f32],
    from_hidden: &[f32],
    hidden: &[f32],
    active: &[i32],
    width: usize,
    out: &mut [f32],
) {
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        let h = super::row(hidden, row, width);
        if active[row] == 0 {
            out.copy_from_slice(h);
            continue;
        }
        let (i_r, i_z, i_n) = gates(super::row(from_input, row, 3 * width), width);
        let (h_r, h_z, h_n) = gates(super::row(from_hidden, row, 3 * width), width);
        for c in 0..width {
            let r = sigmoid(i_r[c] + h_r[c]);
            let z = sigmoid(i_z[c] + h_z[c]);
            let n = tanh(i_n[c] + r * h_n[c]);
            out[c] = (1.0 - z) * n + z * h[c];
        }
    }
}

#[inline(always)]
fn gates(row: &[f32], width: usize) -> (&[f32], &[f32], &[f32]) {
    let (r, rest) = row.split_at(width);
    let (z, n) = rest.split_at(width);
    (r, z, &n[..width])
}

/// The three gates of a row of a table `[rows, 3 width]`.
#[inline(always)]
fn gates_mut(table: &mut [f32], row: usize, width: usize) -> (&mut [f32], &mut [f32], &mut [f32]) {
    let (r, rest) = table[row * 3 * width..].split_at_mut(width);
    let (z, n) = rest.split_at_mut(width);
    (r, z, &mut n[..width])
}

/// Gradients of `from_input` and `from_hidden`, each `[rows, 3 width]`.
pub fn gru_gates_backward(
    from_input: &[f32],
    from_hidden: &[f32],
    hidden: &[f32],
    active: &[i32],
    grad: &[f32],
    width: usize,
) -> (Vec<f32>, Vec<f32>) {
    let mut d_input = vec![0.0; from_input.len()];
    let mut d_hidden = vec![0.0; from_input.len()];
    d_input
        .par_chunks_mut(CHUNK * 3 * width)
        .zip(d_hidden.par_chunks_mut(CHUNK * 3 * width))
        .enumerate()
        .for_each(|(chunk, (d_input, d_hidden))| {
            let rows = chunk * CHUNK..(chunk * CHUNK + d_input.len() / (3 * width));
            backward_chunk(
                &from_input[rows.start * 3 * width..rows.end * 3 * width],
                &from_hidden[rows.start * 3 * width..rows.end * 3 * width],
                &hidden[rows.start * width..rows.end * width],
                &active[rows.clone()],
                &grad[rows.start * width..rows.end * width],
                width,
                d_input,
                d_hidden,
            );
        });
    (d_input, d_hidden)
}

/// Gradients of a chunk; those of rows that are not active are left alone.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
#[allow(
    clippy::too_many_arguments,
    reason = "one argument for each binding of the shader"
)]
pub(super) fn backward_chunk(
    from_input: &[f32],
    from_hidden: &[f32],
    hidden: &[f32],
    active: &[i32],
    grad: &[f32],
    width: usize,
    d_input: &mut [f32],
    d_hidden: &mut [f32],
) {
    for (row, &active) in active.iter().enumerate() {
        if active == 0 {
            continue;
        }
        let h = super::row(hidden, row, width);
        let g = super::row(grad, row, width);
        let (i_r, i_z, i_n) = gates(super::row(from_input, row, 3 * width), width);
        let (h_r, h_z, h_n) = gates(super::row(from_hidden, row, 3 * width), width);
        let (di_r, di_z, di_n) = gates_mut(d_input, row, width);
        let (dh_r, dh_z, dh_n) = gates_mut(d_hidden, row, width);
        for c in 0..width {
            let r = sigmoid(i_r[c] + h_r[c]);
            let z = sigmoid(i_z[c] + h_z[c]);
            let n = tanh(i_n[c] + r * h_n[c]);
            let d_n = g[c] * (1.0 - z) * (1.0 - n * n);
            let d_z = g[c] * (h[c] - n) * z * (1.0 - z);
            let d_r = d_n * h_n[c] * r * (1.0 - r);
            di_r[c] = d_r;
            di_z[c] = d_z;
            di_n[c] = d_n;
            dh_r[c] = d_r;
            dh_z[c] = d_z;
            dh_n[c] = d_n * r;
        }
    }
}
