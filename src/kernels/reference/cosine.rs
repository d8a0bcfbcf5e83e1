//! Cosine and sine of any f32, twin of `shaders/shared/cosine.wgsl`.
//!
//! The shader reduces the argument with Payne and Hanek's method because WGSL has no f64. Here
//! the size of the arguments decides, of 16 columns at once: those of slow frequencies need
//! no reduction, others one in f32, and only those beyond `LARGEST_F32` one in f64. All give the
//! angle to 6e-8. Arguments beyond `LARGEST_F64` take the standard library's f64 functions.

use super::vector::LANES;

/// pi/2 in 8, in 11 more and in the bits that are left: products of the first two with whole
/// numbers up to 2^13 are exact.
const HALF_PI: [f32; 3] = [1.570_312_5, 4.837_513e-4, 7.549_79e-8];
const LARGEST_F32: f32 = 8192.0;

/// pi/2 in 25 bits, and what is left of it: `q * HIGH` is exact for q below 2^28.
const HALF_PI_HIGH: f64 = 1.570_796_310_901_641_8;
const HALF_PI_LOW: f64 = 1.589_325_477_352_819_6e-8;
const LARGEST_F64: f32 = 2.0e8;

/// (cos r, sin r) for |r| up to pi/4: the polynomials of Cephes' `cosf` and `sinf`.
#[inline(always)]
fn near_zero(r: f32) -> (f32, f32) {
    let r2 = r * r;
    let cosine = r2 * (-1.388_731_6e-3 + r2 * 2.443_315_7e-5);
    let cosine = 1.0 + r2 * (-0.5 + r2 * (4.166_664_6e-2 + cosine));
    let sine = r2 * (-1.666_665_5e-1 + r2 * (8.332_161e-3 - r2 * 1.951_529_6e-4));
    (cosine, r + r * sine)
}

/// (cos x, sin x) for x = r + quadrant pi/2: odd quadrants swap the two; quadrants 1, 2 negate the
/// cosine and 2, 3 the sine.
#[inline(always)]
fn turned(r: f32, quadrant: u32) -> (f32, f32) {
    let (c, s) = near_zero(r);
    let odd = quadrant & 1 != 0;
    let (cosine, sine) = if odd { (s, c) } else { (c, s) };
    let flip_cosine = (quadrant.wrapping_add(1) & 2) << 30;
    let flip_sine = (quadrant & 2) << 30;
    (
        f32::from_bits(cosine.to_bits() ^ flip_cosine),
        f32::from_bits(sine.to_bits() ^ flip_sine),
    )
}

/// (cos x, sin x) for |x| up to `LARGEST_F32`.
#[inline(always)]
fn reduced_in_f32(x: f32) -> (f32, f32) {
    // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
    let shifted = x * std::f32::consts::FRAC_2_PI + 12_582_912.0;
    let q = shifted - 12_582_912.0;
    let r = ((x - q * HALF_PI[0]) - q * HALF_PI[1]) - q * HALF_PI[2];
    turned(r, shifted.to_bits())
}

/// (cos x, sin x) for |x| up to `LARGEST_F64`.
#[inline(always)]
fn reduced_in_f64(x: f32) -> (f32, f32) {
    let x = f64::from(x);
    let shifted = x * std::f64::consts::FRAC_2_PI + 6_755_399_441_055_744.0;
    let q = shifted - 6_755_399_441_055_744.0;
    let r = (x - q * HALF_PI_HIGH) - q * HALF_PI_LOW;
    turned(r as f32, shifted.to_bits() as u32)
}

/// Writes cos and sin of `delta * omega[c] + phi[c]`, both operations rounded to f32.
///
/// All four slices have the width of the encoding.
#[inline(always)]
pub fn encode_time(delta: f32, omega: &[f32], phi: &[f32], cosine: &mut [f32], sine: &mut [f32]) {
    let width = omega.len();
    let (phi, cosine, sine) = (&phi[..width], &mut cosine[..width], &mut sine[..width]);
    for c in 0..width {
        cosine[c] = delta * omega[c] + phi[c];
    }
    // Neighbouring columns of one size together: long loops vectorise.
    let mut begin = 0;
    while begin < width {
        let size = Size::of(cosine, begin);
        let mut end = (begin + LANES).min(width);
        while end < width && Size::of(cosine, end) == size {
            end = (end + LANES).min(width);
        }
        let (cosine, sine) = (&mut cosine[begin..end], &mut sine[begin..end]);
        match size {
            Size::NearZero => replace(cosine, sine, near_zero),
            Size::F32 => replace(cosine, sine, reduced_in_f32),
            Size::F64 => replace(cosine, sine, reduced_in_f64),
            Size::Any => replace(cosine, sine, |x| {
                let x = f64::from(x);
                (x.cos() as f32, x.sin() as f32)
            }),
        }
        begin = end;
    }
}

/// How large the arguments of some columns are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    NearZero,
    F32,
    F64,
    Any,
}

impl Size {
    /// Of the [`LANES`] arguments from `begin` on.
    #[inline(always)]
    fn of(argument: &[f32], begin: usize) -> Size {
        // Compared as bits: a maximum of floats would keep the loop from being vectorised. A
        // NaN's bits are larger than any number's.
        let mut largest = 0;
        for x in &argument[begin..(begin + LANES).min(argument.len())] {
            largest = largest.max(x.abs().to_bits());
        }
        if largest <= std::f32::consts::FRAC_PI_4.to_bits() {
            Size::NearZero
        } else if largest <= LARGEST_F32.to_bits() {
            Size::F32
        } else if largest <= LARGEST_F64.to_bits() {
            Size::F64
        } else {
            Size::Any
        }
    }
}

/// Replaces arguments by their cosines, and writes their sines.
#[inline(always)]
fn replace(cosine: &mut [f32], sine: &mut [f32], of: impl Fn(f32) -> (f32, f32)) {
    for (cosine, sine) in cosine.iter_mut().zip(sine) {
        (*cosine, *sine) = of(*cosine);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn agrees_with_f64_for_small_and_large_arguments() {
        let quarter = std::f32::consts::FRAC_PI_4;
        let mut arguments = vec![0.0f32, -0.0, 0.5, -quarter, quarter, 1e30];
        for k in 0..4000 {
            arguments.push((k as f32 - 2000.0) * 0.001);
            arguments.push((k as f32 * 1.37).exp2().min(1.9e8) * 1.013);
            arguments.push(k as f32 * std::f32::consts::FRAC_PI_2);
            arguments.push((k as f32 - 2000.0) * 4.096);
            arguments.push(-2_678_373.0 + k as f32 * 17.0);
        }
        let (mut c, mut s) = ([0.0f32], [0.0f32]);
        for x in arguments {
            encode_time(x, &[1.0], &[0.0], &mut c, &mut s);
            assert!(
                (f64::from(c[0]) - f64::from(x).cos()).abs() < 1.2e-7,
                "cos {x}"
            );
            assert!(
                (f64::from(s[0]) - f64::from(x).sin()).abs() < 1.2e-7,
                "sin {x}"
            );
        }
    }

    proptest! {
        #[test]
        fn agrees_with_f64_where_f32_is_enough(x in -8192.0f32..8192.0) {
            let (mut c, mut s) = ([0.0f32], [0.0f32]);
            encode_time(x, &[1.0], &[0.0], &mut c, &mut s);
            prop_assert!((f64::from(c[0]) - f64::from(x).cos()).abs() < 1.2e-7);
            prop_assert!((f64::from(s[0]) - f64::from(x).sin()).abs() < 1.2e-7);
        }

        #[test]
        fn agrees_with_f64_everywhere(x in -4e8f32..4e8, w in 0.0f32..1.0, b in -1.0f32..1.0) {
            let (mut c, mut s) = ([0.0f32], [0.0f32]);
            encode_time(x, &[w], &[b], &mut c, &mut s);
            let argument = f64::from(x * w + b);
            prop_assert!((f64::from(c[0]) - argument.cos()).abs() < 1.2e-7);
            prop_assert!((f64::from(s[0]) - argument.sin()).abs() < 1.2e-7);
        }
    }
}
