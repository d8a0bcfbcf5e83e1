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
