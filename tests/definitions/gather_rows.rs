//! Rows of a table by index.

/// `table[index[i]]` for each i.
pub(crate) fn gather_rows(table: &[f64], index: &[i32], width: usize) -> Vec<f64> {
    let mut out = Vec::new();
    for &row in index {
        out.extend(&table[row as usize * width..][..width]);
    }
    out
}

/// Gradient of a table of `rows` rows: what came back for each of its uses, added.
pub(crate) fn table_gradient(grad: &[f64], index: &[i32], rows: usize, width: usize) -> Vec<f64> {
    let mut d_table = vec![0.0; rows * width];
    for (i, &row) in index.iter().enumerate() {
        for c in 0..width {
            d_table[row as usize * width + c] += grad[i * width + c];
        }
    }
    d_table
}
