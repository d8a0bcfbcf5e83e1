//! CPU kernels of `gradient_squares.wgsl` and `clip_scale.wgsl`.

use multiversion::multiversion;
use rayon::prelude::*;

use super::vector::{LANES, dot};

/// Numbers of a gradient that a sum of squares has, as in the shader.
pub(crate) const CHUNK: usize = 4096;

/// Sums of squares of each [`CHUNK`] numbers; there is a place in `sums` for each.
pub(crate) fn gradient_squares(gradient: &[f32], sums: &mut [f32]) {
    sums.par_iter_mut()
        .zip(gradient.par_chunks(CHUNK))
        .for_each(|(sum, chunk)| *sum = squares_of(chunk));
}

/// In the same order whatever the vector's width.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn squares_of(chunk: &[f32]) -> f32 {
    let (whole, rest) = chunk.split_at(chunk.len() / LANES * LANES);
    rest.iter().fold(dot(whole, whole), |sum, x| sum + x * x)
}

/// What gradients with these sums of squares are multiplied by so that their norm is at most
/// `largest`; not finite where they are not.
pub(crate) fn clip_scale(sums: &[f32], largest: f32) -> f32 {
    let squares: f32 = sums.iter().sum();
    match squares.is_finite() {
        true => (largest / (squares.sqrt() + 1e-6)).min(1.0),
        false => squares,
    }
}
