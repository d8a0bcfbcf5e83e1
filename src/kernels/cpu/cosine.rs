//! Cosine and sine of any f32, CPU kernel of `shaders/shared/cosine.wgsl`.
//!
//! The shader reduces the argument with Payne and Hanek's method because WGSL has no f64. Here
//! the size of the arguments decides, of 16 columns at once: those of slow frequencies need
//! no reduction, others one in f32, and only those beyond `LARGEST_F32` one in f64. All give the
//! angle to 6e-8. Columns with arguments beyond `LARGEST_F64` (times in nanoseconds) take those of
//! `large`, which round what f64 gives.

mod large;

use std::ops::Range;

use super::vector::LANES;
use large::Multiples;

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
    let cosine = r2.mul_add(2.443_315_7e-5, -1.388_731_6e-3);
    let cosine = r2.mul_add(r2.mul_add(cosine, 4.166_664_6e-2), -0.5);
    let sine = r2.mul_add(-1.951_529_6e-4, 8.332_161e-3);
    let sine = r2 * r2.mul_add(sine, -1.666_665_5e-1);
    (r2.mul_add(cosine, 1.0), r.mul_add(sine, r))
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
    let shifted = x.mul_add(std::f32::consts::FRAC_2_PI, 12_582_912.0);
    let q = shifted - 12_582_912.0;
    let [high, middle, low] = HALF_PI.map(|part| -part);
    let r = q.mul_add(low, q.mul_add(middle, q.mul_add(high, x)));
    turned(r, shifted.to_bits())
}

/// (cos x, sin x) for |x| up to `LARGEST_F64`.
#[inline(always)]
fn reduced_in_f64(x: f32) -> (f32, f32) {
    let x = f64::from(x);
    let shifted = x.mul_add(std::f64::consts::FRAC_2_PI, 6_755_399_441_055_744.0);
    let q = shifted - 6_755_399_441_055_744.0;
    let r = q.mul_add(-HALF_PI_LOW, q.mul_add(-HALF_PI_HIGH, x));
    turned(r as f32, shifted.to_bits() as u32)
}

/// Columns of a time encoding, and how large their arguments may become.
pub(crate) struct TimeColumns {
    omega: Vec<f32>,
    phi: Vec<f32>,
    /// Largest |omega| and largest |phi| of each [`LANES`] columns.
    bounds: Vec<(f32, f32)>,
    multiples: &'static Multiples,
}

impl TimeColumns {
    /// Of `time`, which is omega followed by phi, with columns of zeros up to `columns`: their
    /// cosine is 1 and their sine 0.
    pub(crate) fn new(time: &[f32], columns: usize) -> TimeColumns {
        let (omega, phi) = time.split_at(time.len() / 2);
        let [omega, phi] = [omega, phi].map(|of| {
            let mut of = of.to_vec();
            of.resize(columns, 0.0);
            of
        });
        let largest = |of: &[f32]| of.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        let groups = omega.chunks(LANES).zip(phi.chunks(LANES));
        let bounds = groups.map(|(w, p)| (largest(w), largest(p))).collect();
        TimeColumns {
            omega,
            phi,
            bounds,
            multiples: large::multiples(),
        }
    }

    /// Writes cos and sin of `delta * omega[c] + phi[c]`, both operations rounded to f32.
    ///
    /// Both slices have the width of the encoding.
    #[inline(always)]
    pub(crate) fn encode(&self, delta: f32, cosine: &mut [f32], sine: &mut [f32]) {
        self.arguments(delta, cosine);
        let mut group = 0;
        while let Some((columns, size)) = self.next_of_one_size(delta, &mut group) {
            let (cosine, sine) = (&mut cosine[columns.clone()], &mut sine[columns]);
            match size {
                Size::NearZero => replace(cosine, sine, near_zero),
                Size::F32 => replace(cosine, sine, reduced_in_f32),
                Size::F64 => replace(cosine, sine, reduced_in_f64),
                Size::Any => replace(cosine, sine, |x| large::reduced(self.multiples, x)),
            }
        }
    }

    /// Writes the cosines alone, the same bits, in three quarters of the time.
    #[inline(always)]
    pub(crate) fn encode_cosine(&self, delta: f32, cosine: &mut [f32]) {
        self.arguments(delta, cosine);
        let mut group = 0;
        while let Some((columns, size)) = self.next_of_one_size(delta, &mut group) {
            let cosine = &mut cosine[columns];
            match size {
                Size::NearZero => replace_by_cosine(cosine, near_zero),
                Size::F32 => replace_by_cosine(cosine, reduced_in_f32),
                Size::F64 => replace_by_cosine(cosine, reduced_in_f64),
                Size::Any => replace_by_cosine(cosine, |x| large::reduced(self.multiples, x)),
            }
        }
    }

    #[inline(always)]
    fn arguments(&self, delta: f32, arguments: &mut [f32]) {
        let width = self.omega.len();
        let (omega, phi) = (&self.omega[..width], &self.phi[..width]);
        let arguments = &mut arguments[..width];
        for c in 0..width {
            arguments[c] = delta * omega[c] + phi[c];
        }
    }

    /// Neighbouring columns of one size from those of `group` on, which becomes the next: long loops
    /// vectorise. (Not with a closure for each: it would not be inlined.)
    #[inline(always)]
    fn next_of_one_size(&self, delta: f32, group: &mut usize) -> Option<(Range<usize>, Size)> {
        let begin = *group * LANES;
        let size = Size::of(delta, *self.bounds.get(*group)?);
        *group += 1;
        while *group < self.bounds.len() && Size::of(delta, self.bounds[*group]) == size {
            *group += 1;
        }
        Some((begin..(*group * LANES).min(self.omega.len()), size))
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
    /// Of columns whose |omega| and |phi| are at most these. Rounding keeps the order of numbers,
    /// so no argument is larger than what is made of the two. NaN is beyond all bounds.
    #[inline(always)]
    fn of(delta: f32, (omega, phi): (f32, f32)) -> Size {
        let largest = delta.abs() * omega + phi;
        if largest <= std::f32::consts::FRAC_PI_4 {
            Size::NearZero
        } else if largest <= LARGEST_F32 {
            Size::F32
        } else if largest <= LARGEST_F64 {
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

/// Replaces arguments by their cosines.
#[inline(always)]
fn replace_by_cosine(cosine: &mut [f32], of: impl Fn(f32) -> (f32, f32)) {
    for cosine in cosine {
        *cosine = of(*cosine).0;
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
            TimeColumns::new(&[1.0, 0.0], 1).encode(x, &mut c, &mut s);
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
        fn cosines_alone_are_the_same_bits(
            delta in prop_oneof![-2.0f32..2.0, -1e9f32..1e9, Just(f32::NAN), Just(f32::INFINITY)],
            columns in 1..70usize,
        ) {
            let omega = (0..columns).map(|c| 10f32.powf(c as f32 * -0.2));
            let phi = (0..columns).map(|c| (c as f32).sin());
            let time: Vec<f32> = omega.chain(phi).collect();
            let encoding = TimeColumns::new(&time, columns.next_multiple_of(LANES));
            let mut rows = vec![vec![0.0f32; columns.next_multiple_of(LANES)]; 3];
            let [both, sine, alone] = &mut rows[..] else { unreachable!() };
            encoding.encode(delta, both, sine);
            encoding.encode_cosine(delta, alone);
            let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(both), bits(alone));
        }

        #[test]
        fn agrees_with_f64_where_f32_is_enough(x in -8192.0f32..8192.0) {
            let (mut c, mut s) = ([0.0f32], [0.0f32]);
            TimeColumns::new(&[1.0, 0.0], 1).encode(x, &mut c, &mut s);
            prop_assert!((f64::from(c[0]) - f64::from(x).cos()).abs() < 1.2e-7);
            prop_assert!((f64::from(s[0]) - f64::from(x).sin()).abs() < 1.2e-7);
        }

        #[test]
        fn agrees_with_f64_everywhere(x in -4e8f32..4e8, w in 0.0f32..1.0, b in -1.0f32..1.0) {
            let (mut c, mut s) = ([0.0f32], [0.0f32]);
            TimeColumns::new(&[w, b], 1).encode(x, &mut c, &mut s);
            let argument = f64::from(x * w + b);
            prop_assert!((f64::from(c[0]) - argument.cos()).abs() < 1.2e-7);
            prop_assert!((f64::from(s[0]) - argument.sin()).abs() < 1.2e-7);
        }
    }
}
