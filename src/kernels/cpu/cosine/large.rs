//! Cosine and sine of any f32, as f64 has them, rounded to f32.
//!
//! A finite x is m 2^e with a whole number m below 2^24. For each exponent a table has 2^e 2/pi
//! without the multiples of 4, in three parts: m times the first and m times the second are exact
//! in f64, and so is their sum where it is small, so that the angle has all bits of an f64 however
//! close x is to a multiple of pi/2. The polynomials are those of fdlibm. No branch depends on x:
//! loops vectorise, where the standard library takes one number after the other.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};
use std::sync::OnceLock;

/// For each exponent field of an f32, the parts of what its mantissa is multiplied by.
pub(super) type Multiples = [[f64; 256]; 3];

/// The binary expansion of 2/pi.
const TWO_OVER_PI: [u128; 2] = [
    0xa2f9_836e_4e44_1529_fc27_57d1_f534_ddc0,
    0xdb62_9599_3c43_9041_fe51_63ab_debb_c561,
];

/// Bits of the first and of the second part: with the 24 of a mantissa those of an f64.
const PART: u32 = 29;

/// Below this exponent field (of 2^-10) there is no multiple of pi/2 to take off, and one part
/// has all that matters.
const SMALL: usize = 117;

/// The table; made when it is first asked for.
pub(super) fn multiples() -> &'static Multiples {
    static TABLE: OnceLock<Multiples> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = [[0.0; 256]; 3];
        for (number, column) in table.iter_mut().enumerate() {
            *column = std::array::from_fn(|exponent| parts(exponent)[number]);
        }
        table
    })
}

/// The parts for one exponent field.
fn parts(exponent: usize) -> [f64; 3] {
    // Subnormal numbers have the scale of the smallest normal ones; 255 are infinity and NaN.
    let scale = exponent.max(1) as i32 - 150;
    if exponent == 255 {
        return [f64::NAN; 3];
    }
    if exponent < SMALL {
        return [0.0, 0.0, FRAC_2_PI * 2f64.powi(scale)];
    }
    // 128 bits, of which the first counts 2^1.
    let window = match scale - 2 {
        begin @ ..0 => TWO_OVER_PI[0] >> -begin,
        0 => TWO_OVER_PI[0],
        begin => (TWO_OVER_PI[0] << begin) | (TWO_OVER_PI[1] >> (128 - begin)),
    };
    let (first, rest) = (window >> (128 - PART), window << PART);
    let (second, rest) = (rest >> (128 - PART), rest << PART);
    let unit = 2f64.powi(2 - PART as i32);
    [
        first as f64 * unit,
        second as f64 * (unit * 2f64.powi(-(PART as i32))),
        rest as f64 * 2f64.powi(2 - 2 * PART as i32 - 128),
    ]
}

/// (cos x, sin x).
#[inline(always)]
pub(super) fn reduced(multiples: &Multiples, x: f32) -> (f32, f32) {
    let bits = x.to_bits();
    let exponent = ((bits >> 23) & 0xff) as usize;
    let leading = u32::from(exponent != 0) << 23;
    let mantissa = f64::from(((bits & 0x7f_ffff) | leading) as i32).copysign(f64::from(x));
    let [first, second, third] = [0, 1, 2].map(|part| mantissa * multiples[part][exponent]);
    // Adding 1.5 * 2^52 rounds to the nearest integer and leaves it in the low bits.
    let shifted = (first + second) + 6_755_399_441_055_744.0;
    let turns = ((first - (shifted - 6_755_399_441_055_744.0)) + second) + third;
    let (cosine, sine) = near_zero(turns * FRAC_PI_2);
    let quadrant = shifted.to_bits() as u32;
    let odd = quadrant & 1 != 0;
    let (c, s) = if odd { (sine, cosine) } else { (cosine, sine) };
    let flip_cosine = (quadrant.wrapping_add(1) & 2) << 30;
    let flip_sine = (quadrant & 2) << 30;
    (
        f32::from_bits((c as f32).to_bits() ^ flip_cosine),
        f32::from_bits((s as f32).to_bits() ^ flip_sine),
    )
}

/// (cos r, sin r) for |r| up to pi/4 and a little more: fdlibm's `__kernel_cos` and `__kernel_sin`.
#[inline(always)]
fn near_zero(r: f64) -> (f64, f64) {
    let z = r * r;
    let w = z * z;
    let half = 0.5 * z;
    let head = 1.0 - half;
    let cosine = z
        * (0.041_666_666_666_666_6
            + z * (-0.001_388_888_888_887_411 + z * 2.480_158_728_947_673e-5))
        + w * w
            * (-2.755_731_435_139_066_3e-7
                + z * (2.087_572_321_298_175e-9 + z * -1.135_964_755_778_819_5e-11));
    let cosine = head + (((1.0 - head) - half) + z * cosine);
    let sine = 0.008_333_333_333_322_49
        + z * (-0.000_198_412_698_298_579_5 + z * 2.755_731_370_707_006_8e-6)
        + z * w * (-2.505_076_025_340_686_3e-8 + z * 1.589_690_995_211_55e-10);
    let sine = r + z * r * (-0.166_666_666_666_666_32 + z * sine);
    let sine = sine.copysign(r); // of -0 too
    (cosine, sine)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks every `step`-th f32 from `first` on against the standard library's f64 functions;
    /// returns how many numbers were compared, and how many have other bits.
    fn compare(first: u32, step: usize) -> (usize, usize) {
        let (table, mut compared, mut others) = (multiples(), 0, 0);
        for bits in (first..=u32::MAX).step_by(step) {
            let x = f32::from_bits(bits);
            let (cosine, sine) = reduced(table, x);
            if !x.is_finite() {
                assert!(cosine.is_nan() && sine.is_nan(), "{x}");
                continue;
            }
            let (c, s) = (f64::from(x).cos() as f32, f64::from(x).sin() as f32);
            compared += 2;
            for (ours, theirs) in [(cosine, c), (sine, s)] {
                if ours.to_bits() != theirs.to_bits() {
                    others += 1;
                    // Where f64 is between two f32, either of them is as close.
                    assert!(ours.to_bits().abs_diff(theirs.to_bits()) == 1, "{x}");
                }
            }
        }
        (compared, others)
    }

    /// Of about four million arguments of all sizes and both signs; all 2^32 were compared once.
    #[test]
    fn bits_are_those_of_f64() {
        let (compared, others) = compare(7, 1021);
        assert!(
            compared > 8_000_000 && others < 10,
            "{others} of {compared}"
        );
    }

    #[test]
    fn the_closest_multiples_of_a_quarter_turn_are_reduced() {
        // The f32 closest to a multiple of pi/2, and other hard cases of argument reduction.
        for x in [
            16_367_173.0 * 2f32.powi(72),
            5.567_184e19,
            9.424_778,
            2.0e8,
            3.0e38,
        ] {
            let (cosine, sine) = reduced(multiples(), x);
            let x = f64::from(x);
            assert_eq!([cosine, sine], [x.cos() as f32, x.sin() as f32], "{x}");
        }
    }

    #[test]
    fn zeros_keep_their_sign() {
        for zero in [0.0f32, -0.0] {
            let (cosine, sine) = reduced(multiples(), zero);
            assert_eq!(cosine.to_bits(), 1.0f32.to_bits());
            assert_eq!(sine.to_bits(), zero.to_bits());
        }
    }
}
