//! Rows that are written to their slots of a table.

/// `table` with the rows, of so many words, at their slots.
pub(crate) fn place_rows(table: &[i32], rows: &[i32], slot: &[i32], words: usize) -> Vec<i32> {
    let mut out = table.to_vec();
    for (row, slot) in slot.iter().enumerate() {
        for c in 0..words {
            out[*slot as usize * words + c] = rows[row * words + c];
        }
    }
    out
}
