//! Rows of booleans, 32 to a word, the lowest bit first.

/// 0 and 1, rows of `width`.
pub(crate) fn unpack_bits(words: &[i32], width: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for row in words.chunks(width.div_ceil(32)) {
        for c in 0..width {
            out.push(if row[c / 32] >> (c % 32) & 1 == 1 {
                1.0
            } else {
                0.0
            });
        }
    }
    out
}
