//! CPU kernels of `gru_gates.wgsl` and `gru_gates_backward.wgsl`, on one thread: a task of
//! `recurrent_cell` calls them.

use multiversion::multiversion;

use super::activation::{sigmoid, tanh};

/// New rows `[rows, width]` of some rows, from the products `from_input` and `from_hidden`,
/// `[rows, 3 width]` (gates r, z, n), and the old rows `hidden`, which those keep whose `active` is 0.
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

/// Gradients of the two products of some rows; those of rows that are not active are left alone.
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
