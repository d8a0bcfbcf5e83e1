
// What becomes of NaN and infinity. WGSL lets an implementation assume that there are none:
// comparisons, max, min and clamp may do anything with them, and x != x may be folded to false.
// So bits are looked at as integers.

// NaN has all bits of the exponent and some of the mantissa.
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// Whether x > 0 or NaN of either sign: what relu lets pass.
fn passes_relu(x: f32) -> bool {
    let bits = bitcast<u32>(x);
    return (bits - 1u) < 0x7fffffffu || bits > 0xff800000u;
}

// max(x, 0), and NaN for NaN.
fn relu(x: f32) -> f32 {
    return select(0.0, x, passes_relu(x));
}

// y, a function of x, and NaN for NaN.
fn unless_nan(x: f32, y: f32) -> f32 {
    return select(y, x, is_nan(x));
}
