//! Dot product and scaled addition, the inner loops of the twins.
//!
//! Inlined into functions that [`multiversion`] compiles for several vector widths. The
//! dot product keeps 16 partial sums whatever the width, so its bits do not depend on it.

/// Partial sums of a dot product: the numbers of the widest vector.
pub const LANES: usize = 16;

/// Sum of `a[i] * b[i]`; both lengths are the same multiple of [`LANES`].
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (x, y) in a
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(b.as_chunks::<LANES>().0)
    {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    total(lanes)
}

/// Sum of `a[i] * b[i]` for each of two vectors `a` and two vectors `b`; as [`dot`] of each pair,
/// in half the time: a number that is loaded takes part in two products, and there are enough
/// sums to hide how long an addition takes.
#[inline(always)]
pub fn dots(a: [&[f32]; 2], b: [&[f32]; 2]) -> [[f32; 2]; 2] {
    let zero = [0.0f32; LANES];
    let (mut s00, mut s01, mut s10, mut s11) = (zero, zero, zero, zero);
    let [a0, a1] = a.map(|v| v.as_chunks::<LANES>().0);
    let [b0, b1] = b.map(|v| v.as_chunks::<LANES>().0);
    for ((x0, x1), (y0, y1)) in a0.iter().zip(a1).zip(b0.iter().zip(b1)) {
        for lane in 0..LANES {
            s00[lane] += x0[lane] * y0[lane];
            s01[lane] += x0[lane] * y1[lane];
            s10[lane] += x1[lane] * y0[lane];
            s11[lane] += x1[lane] * y1[lane];
        }
    }
    [[total(s00), total(s01)], [total(s10), total(s11)]]
}

/// Asks for numbers that will be read soon, where the processor can be asked.
#[inline(always)]
pub fn prefetch(numbers: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, on a valid address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}

/// Sum of partial sums, halves added to halves.
#[inline(always)]
fn total(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `out += sum over rows of coefficient * row`, for `x` with rows of the length of `out`, a
/// multiple of [`LANES`].
#[inline(always)]
pub fn add_weighted(out: &mut [f32], x: &[f32], coefficient: impl Iterator<Item = f32> + Clone) {
    let stride = out.len();
    for (chunk, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut sum = *out;
        let at = chunk * LANES;
        for (row, coefficient) in x.chunks_exact(stride).zip(coefficient.clone()) {
            let Some(x) = row[at..].first_chunk::<LANES>() else {
                break;
            };
            for lane in 0..LANES {
                sum[lane] += coefficient * x[lane];
            }
        }
        *out = sum;
    }
}

/// [`add_weighted`] to two rows at once.
#[inline(always)]
pub fn add_weighted_twice(
    first: &mut [f32],
    second: &mut [f32],
    x: &[f32],
    coefficients: impl Iterator<Item = [f32; 2]> + Clone,
) {
    let stride = first.len();
    let chunks = first.as_chunks_mut::<LANES>().0.iter_mut();
    let chunks = chunks.zip(second.as_chunks_mut::<LANES>().0);
    for (chunk, (first, second)) in chunks.enumerate() {
        let (mut a, mut b) = (*first, *second);
        let at = chunk * LANES;
        for (row, coefficient) in x.chunks_exact(stride).zip(coefficients.clone()) {
            let Some(x) = row[at..].first_chunk::<LANES>() else {
                break;
            };
            for lane in 0..LANES {
                a[lane] += coefficient[0] * x[lane];
                b[lane] += coefficient[1] * x[lane];
            }
        }
        (*first, *second) = (a, b);
    }
}

/// `out[i] += scale * x[i]`.
#[inline(always)]
pub fn add_scaled(out: &mut [f32], scale: f32, x: &[f32]) {
    for (o, v) in out.iter_mut().zip(x) {
        *o += scale * v;
    }
}

/// `out[i] += a * x[i] + b * y[i]`.
#[inline(always)]
pub fn add_two_scaled(out: &mut [f32], a: f32, x: &[f32], b: f32, y: &[f32]) {
    for (o, (v, w)) in out.iter_mut().zip(x.iter().zip(y)) {
        *o += a * v + b * w;
    }
}
