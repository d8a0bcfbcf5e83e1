//! Dot product and scaled addition, the inner loops of the CPU kernels.
//!
//! Inlined into functions that [`multiversion`] compiles for several vector widths. The
//! dot product keeps 16 partial sums whatever the width, so its bits do not depend on it. Products
//! are added with one rounding (`mul_add`): one instruction on all processors that matter, the same
//! bits but slow on x86 from before 2013.

/// Partial sums of a dot product: the numbers of the widest vector.
pub(crate) const LANES: usize = 16;

/// Sum of `a[i] * b[i]`; both lengths are the same multiple of [`LANES`].
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (x, y) in a
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(b.as_chunks::<LANES>().0)
    {
        for lane in 0..LANES {
            lanes[lane] = x[lane].mul_add(y[lane], lanes[lane]);
        }
    }
    total(lanes)
}

/// Sums of `a[i] * b[i]` for each of two vectors `a` and two vectors `b`, which may come in parts.
///
/// In half the time of four [`dot`]s: a number that is loaded takes part in two products, and
/// there are enough sums to hide how long an addition takes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Dots([[[f32; LANES]; 2]; 2]);

impl Dots {
    /// Adds the products of a part; all four slices have the same length.
    #[inline(always)]
    pub(crate) fn add(&mut self, a: [&[f32]; 2], b: [&[f32]; 2]) {
        let [[mut s00, mut s01], [mut s10, mut s11]] = self.0;
        let mut add =
            |x0: &[f32; LANES], x1: &[f32; LANES], y0: &[f32; LANES], y1: &[f32; LANES]| {
                for lane in 0..LANES {
                    s00[lane] = x0[lane].mul_add(y0[lane], s00[lane]);
                    s01[lane] = x0[lane].mul_add(y1[lane], s01[lane]);
                    s10[lane] = x1[lane].mul_add(y0[lane], s10[lane]);
                    s11[lane] = x1[lane].mul_add(y1[lane], s11[lane]);
                }
            };
        // One by one: an array's `map` would not be inlined.
        let ((a0, end_a0), (a1, end_a1)) = (a[0].as_chunks::<LANES>(), a[1].as_chunks::<LANES>());
        let ((b0, end_b0), (b1, end_b1)) = (b[0].as_chunks::<LANES>(), b[1].as_chunks::<LANES>());
        for ((x0, x1), (y0, y1)) in a0.iter().zip(a1).zip(b0.iter().zip(b1)) {
            add(x0, x1, y0, y1);
        }
        // What is left of a width: most are multiples of 4.
        let ((a0, end_a0), (a1, end_a1)) = (end_a0.as_chunks::<4>(), end_a1.as_chunks::<4>());
        let ((b0, end_b0), (b1, end_b1)) = (end_b0.as_chunks::<4>(), end_b1.as_chunks::<4>());
        for ((x0, x1), (y0, y1)) in a0.iter().zip(a1).zip(b0.iter().zip(b1)) {
            for lane in 0..4 {
                s00[lane] = x0[lane].mul_add(y0[lane], s00[lane]);
                s01[lane] = x0[lane].mul_add(y1[lane], s01[lane]);
                s10[lane] = x1[lane].mul_add(y0[lane], s10[lane]);
                s11[lane] = x1[lane].mul_add(y1[lane], s11[lane]);
            }
        }
        for ((x0, x1), (y0, y1)) in end_a0.iter().zip(end_a1).zip(end_b0.iter().zip(end_b1)) {
            s00[0] = x0.mul_add(*y0, s00[0]);
            s01[0] = x0.mul_add(*y1, s01[0]);
            s10[0] = x1.mul_add(*y0, s10[0]);
            s11[0] = x1.mul_add(*y1, s11[0]);
        }
        self.0 = [[s00, s01], [s10, s11]];
    }

    /// Sums that [`Dots::partial`] left unfinished, `[of a][of b]`.
    #[inline(always)]
    pub(crate) fn begun(partial: [[[f32; LANES]; 2]; 2]) -> Dots {
        Dots(partial)
    }

    /// The sums as far as they are, `[of a][of b]`.
    #[inline(always)]
    pub(crate) fn partial(&self) -> [[[f32; LANES]; 2]; 2] {
        self.0
    }

    /// The four sums, `[of a][of b]`.
    #[inline(always)]
    pub(crate) fn totals(&self) -> [[f32; 2]; 2] {
        let [[s00, s01], [s10, s11]] = self.0;
        [[total(s00), total(s01)], [total(s10), total(s11)]]
    }
}

/// Asks for numbers that will be read soon, where the processor can be asked.
#[inline(always)]
pub(crate) fn prefetch(numbers: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..numbers.len()).step_by(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, on an address within the numbers.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(numbers.as_ptr().add(line).cast()) };
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

/// `out[i] += x[i]`.
#[inline(always)]
pub(crate) fn add(out: &mut [f32], x: &[f32]) {
    for (o, v) in out.iter_mut().zip(x) {
        *o += v;
    }
}

/// Adds weighted sums of rows to `sums`: `sums[h][c]` gets `scale[h] * row[c]` of each of `terms`,
/// rows as wide as the sums with their scales.
///
/// Some columns after the other, so that their sums stay in registers from the first row to the
/// last.
#[inline(always)]
pub(crate) fn add_weighted_rows<'a, const H: usize>(
    mut sums: [&mut [f32]; H],
    terms: impl Iterator<Item = (&'a [f32], [f32; H])> + Clone,
) {
    let at = add_columns::<32, H>(&mut sums, 0, &terms);
    let at = add_columns::<16, H>(&mut sums, at, &terms);
    let at = add_columns::<4, H>(&mut sums, at, &terms);
    add_columns::<1, H>(&mut sums, at, &terms);
}

/// Does what [`add_weighted_rows`] says for `N` columns from `at` on, and the next, as long as there
/// are so many; returns the first column that is left.
#[inline(always)]
fn add_columns<'a, const N: usize, const H: usize>(
    sums: &mut [&mut [f32]; H],
    mut at: usize,
    terms: &(impl Iterator<Item = (&'a [f32], [f32; H])> + Clone),
) -> usize {
    while sums[0].len() >= at + N {
        let mut sum = [[0.0f32; N]; H];
        for (sum, of) in sum.iter_mut().zip(sums.iter()) {
            sum.copy_from_slice(&of[at..at + N]);
        }
        for (row, scale) in terms.clone() {
            let x = row[at..].first_chunk::<N>().expect("as wide");
            for lane in 0..N {
                for h in 0..H {
                    sum[h][lane] = scale[h].mul_add(x[lane], sum[h][lane]);
                }
            }
        }
        for (sum, of) in sum.iter().zip(sums.iter_mut()) {
            of[at..at + N].copy_from_slice(sum);
        }
        at += N;
    }
    at
}
