//! 32 random bits for a counter: pcg4d of Jarzynski and Olano, "Hash Functions for GPU Rendering",
//! JCGT 9(3), 2020; the first of its four words.

/// All arithmetic is modulo 2^32.
pub(crate) fn counter_hash(counter: [u32; 4]) -> u32 {
    let modulo = |value: u64| value & 0xffff_ffff;
    let [mut x, mut y, mut z, mut w] =
        counter.map(|v| modulo(u64::from(v) * 1_664_525 + 1_013_904_223));
    x = modulo(x + modulo(y * w));
    y = modulo(y + modulo(z * x));
    z = modulo(z + modulo(x * y));
    w = modulo(w + modulo(y * z));
    x ^= x >> 16;
    y ^= y >> 16;
    w ^= w >> 16;
    modulo(x + modulo(y * w)) as u32
}
