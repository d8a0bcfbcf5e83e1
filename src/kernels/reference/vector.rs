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

/// Sums of `a[i] * b[i]` for each of two vectors `a` and two vectors `b`, which may come in parts.
///
/// In half the time of four [`dot`]s: a number that is loaded takes part in two products, and
/// there are enough sums to hide how long an addition takes.
#[derive(Clone, Copy, Default)]
pub struct Dots([[[f32; LANES]; 2]; 2]);

impl Dots {
    /// Adds the products of a part; all four slices have the same length.
    #[inline(always)]
    pub fn add(&mut self, a: [&[f32]; 2], b: [&[f32]; 2]) {
        let [[mut s00, mut s01], [mut s10, mut s11]] = self.0;
        let mut add =
            |x0: &[f32; LANES], x1: &[f32; LANES], y0: &[f32; LANES], y1: &[f32; LANES]| {
                for lane in 0..LANES {
                    s00[lane] += x0[lane] * y0[lane];
                    s01[lane] += x0[lane] * y1[lane];
                    s10[lane] += x1[lane] * y0[lane];
                    s11[lane] += x1[lane] * y1[lane];
                }
            };
        let [(a0, end_a0), (a1, end_a1)] = a.map(|v| v.as_chunks::<LANES>());
        let [(b0, end_b0), (b1, end_b1)] = b.map(|v| v.as_chunks::<LANES>());
        for ((x0, x1), (y0, y1)) in a0.iter().zip(a1).zip(b0.iter().zip(b1)) {
            add(x0, x1, y0, y1);
        }
        if !end_a0.is_empty() {
            let [x0, x1, y0, y1] = [end_a0, end_a1, end_b0, end_b1].map(padded);
            add(&x0, &x1, &y0, &y1);
        }
        self.0 = [[s00, s01], [s10, s11]];
    }

    /// The four sums, `[of a][of b]`.
    #[inline(always)]
    pub fn totals(&self) -> [[f32; 2]; 2] {
        self.0.map(|of_a| of_a.map(total))
    }
}

/// Up to [`LANES`] numbers, then zeros.
#[inline(always)]
fn padded(numbers: &[f32]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    lanes[..numbers.len()].copy_from_slice(numbers);
    lanes
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

/// `a[i] += scale[0] * x[i]` and `b[i] += scale[1] * x[i]`.
#[inline(always)]
pub fn add_scaled_to_both(a: &mut [f32], b: &mut [f32], scale: [f32; 2], x: &[f32]) {
    for ((a, b), v) in a.iter_mut().zip(b).zip(x) {
        *a += scale[0] * v;
        *b += scale[1] * v;
    }
}
