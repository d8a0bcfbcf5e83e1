//! Counter-based random bits and the dropout that draws from them.

use multiversion::multiversion;

use super::activation::{behind_relu, relu};
use super::{Unwritten, room};
use crate::parallel;

/// Elements that one task takes.
const CHUNK: usize = 4096;

/// 32 random bits for a counter: pcg4d (Jarzynski and Olano, JCGT 9(3), 2020).
/// CPU kernel of `shaders/shared/counter_hash.wgsl`.
#[inline]
pub fn counter_hash(counter: [u32; 4]) -> u32 {
    let [mut x, mut y, mut z, mut w] =
        counter.map(|v| v.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    x = x.wrapping_add(y.wrapping_mul(w));
    y = y.wrapping_add(z.wrapping_mul(x));
    z = z.wrapping_add(x.wrapping_mul(y));
    w = w.wrapping_add(y.wrapping_mul(z));
    (x, y, w) = (x ^ (x >> 16), y ^ (y >> 16), w ^ (w >> 16));
    x.wrapping_add(y.wrapping_mul(w))
}

/// A dropout: its probability and the key of its draws. Element `i` is dropped when
/// `counter_hash([key, i]) < drop_below`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Draws below this drop: the probability times 2^32.
    pub drop_below: u32,
    /// What kept elements are multiplied by: 1 / (1 - probability).
    pub scale: f32,
    /// Key of the draws: seed (two words) and a number that no other dropout of this
    /// run uses.
    pub key: [u32; 3],
    /// Whether rows are drawn by other numbers than their own, which an operation is given with them.
    pub by_rows: bool,
}

impl Dropout {
    /// No dropout.
    pub const OFF: Dropout = Dropout {
        drop_below: 0,
        scale: 1.0,
        key: [0; 3],
        by_rows: false,
    };

    /// A dropout with `probability` in [0, 1), drawn from (`seed`, `stream`, `iteration`).
    ///
    /// `stream` tells the dropouts of one iteration apart (at most 16 of them).
    pub fn new(probability: f32, seed: u64, stream: u32, iteration: u32) -> Dropout {
        if probability <= 0.0 {
            return Dropout::OFF;
        }
        Dropout {
            drop_below: (f64::from(probability) * 4_294_967_296.0) as u32,
            scale: 1.0 / (1.0 - probability),
            key: [
                seed as u32,
                (seed >> 32) as u32,
                iteration.wrapping_mul(16).wrapping_add(stream),
            ],
            by_rows: false,
        }
    }

    /// What element `i` is multiplied by: the scale, or 0 where it is dropped.
    #[inline]
    pub fn factor(&self, i: u32) -> f32 {
        if self.drop_below == 0 {
            return self.scale;
        }
        let [a, b, c] = self.key;
        if counter_hash([a, b, c, i]) >= self.drop_below {
            self.scale
        } else {
            0.0
        }
    }
}

/// CPU kernel of `dropout.wgsl`.
pub(crate) fn dropout(x: &[f32], dropout: Dropout) -> Vec<f32> {
    chunks(x, |first, x, out| drop_chunk(x, first, dropout, out))
}

/// [`dropout`], then the relu of each element.
pub(crate) fn dropout_relu(x: &[f32], dropout: Dropout) -> Vec<f32> {
    chunks(x, |first, x, out| drop_relu_chunk(x, first, dropout, out))
}

/// Gradient of the input of [`dropout_relu`], which has made `made`, given that of its output.
pub(crate) fn dropout_relu_backward(made: &[f32], grad: &[f32], dropout: Dropout) -> Vec<f32> {
    chunks(made, |first, made, out| {
        let grad = &grad[first as usize..][..made.len()];
        behind_relu_chunk(made, grad, first, dropout, out);
    })
}

/// What `kernel` makes of the elements of `x`: it is given the first number of a chunk, its elements and
/// where to write as many.
fn chunks(x: &[f32], kernel: impl Fn(u32, &[f32], &mut Unwritten) + Sync) -> Vec<f32> {
    let mut out = Vec::new();
    let pieces = room(&mut out, x.len())
        .chunks_mut(CHUNK)
        .zip(x.chunks(CHUNK));
    parallel::for_each(pieces.enumerate().collect(), |(chunk, (out, x))| {
        // Read and written; a draw is nothing beside it (not by `kernels::costs`, which needs the attention's
        // sizes, and that the draws).
        parallel::task(|| 2 * size_of_val(x) as u64);
        kernel((chunk * CHUNK) as u32, x, out);
    });
    // SAFETY: the chunks cover all elements, and each kernel writes all of its own.
    unsafe { out.set_len(x.len()) };
    out
}

/// Elements `first..`. Measured on two Zen 4 cores, 180,000 elements: 55 µs, and 1,160 µs without
/// wide vectors, for the integer products of the draws.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn drop_chunk(x: &[f32], first: u32, dropout: Dropout, out: &mut Unwritten) {
    for (i, (out, &value)) in (first..).zip(out.iter_mut().zip(x)) {
        out.write(value * dropout.factor(i));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn drop_relu_chunk(x: &[f32], first: u32, dropout: Dropout, out: &mut Unwritten) {
    for (i, (out, &value)) in (first..).zip(out.iter_mut().zip(x)) {
        out.write(relu(value * dropout.factor(i)));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn behind_relu_chunk(
    made: &[f32],
    grad: &[f32],
    first: u32,
    dropout: Dropout,
    out: &mut Unwritten,
) {
    for (i, (out, (&made, &grad))) in (first..).zip(out.iter_mut().zip(made.iter().zip(grad))) {
        out.write(behind_relu(made, grad) * dropout.factor(i));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_keeps_the_expected_share_and_scales_it() {
        let x = vec![1.0f32; 200_000];
        let out = dropout(&x, Dropout::new(0.1, 7, 3, 11));
        let kept = out.iter().filter(|&&v| v != 0.0).count() as f64 / 200_000.0;
        assert!((kept - 0.9).abs() < 0.005, "kept {kept}");
        assert!(out.iter().all(|&v| v == 0.0 || v == 1.0 / 0.9));
        assert_ne!(out, dropout(&x, Dropout::new(0.1, 7, 3, 12)));
        assert_ne!(out, dropout(&x, Dropout::new(0.1, 7, 2, 11)));
        assert_ne!(out, dropout(&x, Dropout::new(0.1, 7 << 32, 3, 11)));
    }
}
