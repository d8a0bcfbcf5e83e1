//! Cosine and sine of any f32, twin of `shaders/shared/cosine.wgsl`.
//!
//! The shader reduces the argument with Payne and Hanek's method because WGSL has no
//! f64. Here two-part reduction in f64 gives the same angle to 1e-10 up to 2^28 and
//! vectorises; larger arguments take the standard library's f64 functions.

/// pi/2 in 25 bits, and what is left of it: `q * HIGH` is exact for q below 2^28.
const HALF_PI_HIGH: f64 = 1.570_796_310_901_641_8;
const HALF_PI_LOW: f64 = 1.589_325_477_352_819_6e-8;
const LARGEST: f32 = 2.0e8;

/// (cos x, sin x) for |x| up to [`LARGEST`]. Only the reduction needs f64: the rest takes half
/// as many vectors in f32. The polynomials are those of Cephes' `sinf` and `cosf`.
#[inline(always)]
fn cos_sin_reduced(x: f32) -> (f32, f32) {
    let x = f64::from(x);
    // Adding 1.5 * 2^52 rounds to the nearest integer and leaves it in the low bits.
    let shifted = x * std::f64::consts::FRAC_2_PI + 6_755_399_441_055_744.0;
    let quadrant = shifted.to_bits() as u32;
    let q = shifted - 6_755_399_441_055_744.0;
    let r = ((x - q * HALF_PI_HIGH) - q * HALF_PI_LOW) as f32;
    let r2 = r * r;
    let c =
        1.0 + r2 * (-0.5 + r2 * (4.166_664_6e-2 + r2 * (-1.388_731_6e-3 + r2 * 2.443_315_7e-5)));
    let s = r + r * (r2 * (-1.666_665_5e-1 + r2 * (8.332_161e-3 - r2 * 1.951_529_6e-4)));
    // Odd quadrants swap the two; quadrants 1, 2 negate the cosine and 2, 3 the sine.
    let odd = quadrant & 1 != 0;
    let (cosine, sine) = if odd { (s, c) } else { (c, s) };
    let flip_cosine = (quadrant.wrapping_add(1) & 2) << 30;
    let flip_sine = (quadrant & 2) << 30;
    (
        f32::from_bits(cosine.to_bits() ^ flip_cosine),
        f32::from_bits(sine.to_bits() ^ flip_sine),
    )
}

/// Writes cos and sin of `delta * omega[c] + phi[c]`, both operations rounded to f32.
///
/// All four slices have the width of the encoding.
#[inline(always)]
pub fn encode_time(delta: f32, omega: &[f32], phi: &[f32], cosine: &mut [f32], sine: &mut [f32]) {
    let width = omega.len();
    let (phi, cosine, sine) = (&phi[..width], &mut cosine[..width], &mut sine[..width]);
    // The size is compared as bits: a maximum of floats would keep the loop from being
    // vectorised. A NaN's bits are larger than any number's.
    let mut largest = 0;
    for c in 0..width {
        let argument = delta * omega[c] + phi[c];
        largest = largest.max(argument.abs().to_bits());
        let (cos, sin) = cos_sin_reduced(argument);
        cosine[c] = cos;
        sine[c] = sin;
    }
    if largest > LARGEST.to_bits() {
        for c in 0..width {
            let argument = f64::from(delta * omega[c] + phi[c]);
            (cosine[c], sine[c]) = (argument.cos() as f32, argument.sin() as f32);
        }
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
        fn agrees_with_f64_everywhere(x in -4e8f32..4e8, w in 0.0f32..1.0, b in -1.0f32..1.0) {
            let (mut c, mut s) = ([0.0f32], [0.0f32]);
            encode_time(x, &[w], &[b], &mut c, &mut s);
            let argument = f64::from(x * w + b);
            prop_assert!((f64::from(c[0]) - argument.cos()).abs() < 1.2e-7);
            prop_assert!((f64::from(s[0]) - argument.sin()).abs() < 1.2e-7);
        }
    }
}
