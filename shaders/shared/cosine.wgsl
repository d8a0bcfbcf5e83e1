
// Cosine and sine of any finite f32, to about 1e-7.
//
// WGSL defines cos only for arguments within [-pi, pi], and time differences times
// frequencies reach 1e6 and more. The argument is reduced exactly: its 24-bit mantissa
// times the fitting 96 bits of 2/pi in u32 arithmetic (Payne and Hanek). CPU kernel:
// kernels/cpu/cosine.rs.

struct WideProduct {
    low: u32,
    high: u32,
}

fn wide_product(a: u32, b: u32) -> WideProduct {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let low = a_low * b_low;
    let middle = a_high * b_low + (low >> 16u);
    let middle2 = a_low * b_high + (middle & 0xffffu);
    return WideProduct(a * b, a_high * b_high + (middle >> 16u) + (middle2 >> 16u));
}

// Words of the binary expansion of 2/pi divided by 4, most significant first, after one
// word of zeros. Divided by 4 so that the product below holds the quadrant in its top bits.
fn two_over_pi(word: u32) -> u32 {
    switch word {
        case 0u: { return 0x00000000u; }
        case 1u: { return 0x28be60dbu; }
        case 2u: { return 0x9391054au; }
        case 3u: { return 0x7f09d5f4u; }
        case 4u: { return 0x7d4d3770u; }
        case 5u: { return 0x36d8a566u; }
        default: { return 0x4f10e410u; }
    }
}

struct ReducedAngle {
    angle: f32,    // within [-pi/4, pi/4]
    quadrant: u32, // multiples of pi/2 that were taken off, modulo 4
}

fn reduce_angle(x: f32) -> ReducedAngle {
    if (abs(x) < 0.78539816) {
        return ReducedAngle(x, 0u);
    }
    let bits = bitcast<u32>(x);
    let exponent = ((bits >> 23u) & 0xffu) - 126u;
    let mantissa = (bits << 8u) | 0x80000000u;
    let word = exponent >> 5u;
    let shift = exponent & 31u;
    var high = two_over_pi(word);
    var middle = two_over_pi(word + 1u);
    var low = two_over_pi(word + 2u);
    if (shift != 0u) {
        let back = 32u - shift;
        high = (high << shift) | (middle >> back);
        middle = (middle << shift) | (low >> back);
        low = (low << shift) | (two_over_pi(word + 3u) >> back);
    }
    // Bits 32..95 of mantissa * (high, middle, low): the two top bits are the quadrant.
    let p_low = wide_product(mantissa, low);
    let p_middle = wide_product(mantissa, middle);
    let p_high = mantissa * high;
    var fraction_low = p_low.high + p_middle.low;
    let carry = select(0u, 1u, fraction_low < p_low.high);
    var fraction_high = p_middle.high + p_high + carry;

    var quadrant = fraction_high >> 30u;
    fraction_high = fraction_high & 0x3fffffffu;
    var negative = false;
    if ((fraction_high & 0x20000000u) != 0u) {
        quadrant = quadrant + 1u;
        negative = true;
        // Take one quadrant off, then the absolute value of the 62-bit fraction.
        fraction_high = 0x40000000u - fraction_high - select(0u, 1u, fraction_low != 0u);
        fraction_low = 0u - fraction_low;
    }
    // pi/2 * 2^-62 and 2^32 times it.
    var angle = f32(fraction_high) * 1.4629180792671596e-9 + f32(fraction_low) * 3.4061215800304e-19;
    if (negative) {
        angle = -angle;
    }
    if ((bits & 0x80000000u) != 0u) {
        angle = -angle;
        quadrant = 4u - (quadrant & 3u);
    }
    return ReducedAngle(angle, quadrant & 3u);
}

// (cos x, sin x); NaN for what is not finite.
fn cos_sin(x: f32) -> vec2<f32> {
    if (!is_finite(x)) {
        // The bits of a quiet NaN, whatever a driver makes of an operation on x.
        return vec2<f32>(bitcast<f32>(bitcast<u32>(x) | 0x7fc00000u));
    }
    let reduced = reduce_angle(x);
    let r = reduced.angle;
    let r2 = r * r;
    // Taylor series; the first term left out is below 2e-9 at pi/4.
    let c = 1.0 + r2 * (-0.5 + r2 * (4.1666667e-2 + r2 * (-1.3888889e-3 + r2 * (2.4801587e-5 - r2 * 2.7557319e-7))));
    let s = r + r * r2 * (-1.6666667e-1 + r2 * (8.3333333e-3 + r2 * (-1.9841270e-4 + r2 * 2.7557319e-6)));
    switch reduced.quadrant {
        case 0u: { return vec2<f32>(c, s); }
        case 1u: { return vec2<f32>(-s, c); }
        case 2u: { return vec2<f32>(-c, -s); }
        default: { return vec2<f32>(s, -c); }
    }
}

// (cos, sin) of delta * omega + phi with both operations rounded to f32, as the CPU and
// PyTorch round them. `zero` is 0 and unknown to the compiler: the detour through
// integers keeps a driver from fusing the two into one operation, whose result differs
// by radians when the product is large.
fn encode_time(delta: f32, omega: f32, phi: f32, zero: u32) -> vec2<f32> {
    let product = bitcast<f32>(bitcast<u32>(delta * omega) ^ zero);
    return cos_sin(product + phi);
}
