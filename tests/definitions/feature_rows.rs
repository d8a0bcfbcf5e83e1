//! Rows of a table of features by index.

use super::unpack_bits::unpack_bits;

/// Bits of the rows `index` of a table of numbers whose bits are `words`, rows of `width`.
pub(crate) fn numbers(words: &[i32], index: &[i32], width: usize) -> Vec<u32> {
    let mut out = Vec::new();
    for row in index {
        for c in 0..width {
            out.push(words[*row as usize * width + c].cast_unsigned());
        }
    }
    out
}

/// The rows `index` of a table of booleans, `width` of them a row.
pub(crate) fn booleans(words: &[i32], index: &[i32], width: usize) -> Vec<f32> {
    let all = unpack_bits(words, width);
    let rows = index
        .iter()
        .map(|row| &all[*row as usize * width..][..width]);
    rows.flatten().copied().collect()
}
