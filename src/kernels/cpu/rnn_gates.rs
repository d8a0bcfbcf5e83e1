//! CPU kernels of `rnn_gates.wgsl` and `rnn_gates_backward.wgsl`, on one thread: a task of
//! `recurrent_cell` calls them.

use multiversion::multiversion;

use super::activation::tanh;
use super::row;

/// `tanh(from_input + from_memory)` of some rows, `[rows, width]`; rows whose `active` is 0 keep
/// `hidden`.
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

/// Gradient of either product of some rows, which are the same, from the new rows `out` and their
/// gradient; those of rows that are not active are left alone.
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
