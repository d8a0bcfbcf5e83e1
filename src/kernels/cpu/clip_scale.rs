//! CPU kernels of `gradient_squares.wgsl` and `clip_scale.wgsl`.

use multiversion::multiversion;

use super::vector::{LANES, dot};
use crate::kernels::costs;
use crate::parallel;

/// Numbers of a gradient that a sum of squares has, as in the shader.
pub(crate) const CHUNK: usize = 4096;

/// Sums of squares of each [`CHUNK`] numbers of each of `gradients`, one after the other; there is a place in
/// `sums` for each.
pub(crate) fn gradient_squares(gradients: &[&[f32]], sums: &mut [f32]) {
    let chunks = gradients.iter().flat_map(|of| of.chunks(CHUNK));
    let sums = sums.iter_mut().zip(chunks).collect();
    parallel::for_each(sums, |(sum, chunk)| *sum = squares_of(chunk));
}

/// In the same order whatever the vector's width.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn squares_of(chunk: &[f32]) -> f32 {
    parallel::task(|| costs::clip_scale(chunk.len()).one());
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
