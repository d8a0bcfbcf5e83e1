//! Twins of the kernels that move rows: `memory_gather.wgsl`, `memory_update.wgsl`,
//! `gather_rows.wgsl`, `segment_sum.wgsl`.

use rayon::prelude::*;

use super::row;
use super::vector::add_scaled;

/// Rows that one task takes.
const CHUNK: usize = 64;

/// `table[index[i]]`, row by row.
pub fn gather_rows(table: &[f32], index: &[i32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; index.len() * width];
    if width == 0 {
        return out;
    }
    out.par_chunks_mut(CHUNK * width)
        .zip(index.par_chunks(CHUNK))
        .for_each(|(out, index)| {
            for (out, &i) in out.chunks_exact_mut(width).zip(index) {
                out.copy_from_slice(row(table, i as usize, width));
            }
        });
    out
}

/// Backward of [`gather_rows`]: for each row the sum of the rows of `value` named by its
/// `items`, in ascending order.
pub fn segment_sum(value: &[f32], offsets: &[i32], items: &[i32], width: usize) -> Vec<f32> {
    let rows = offsets.len().saturating_sub(1);
    let mut out = vec![0.0; rows * width];
    out.par_chunks_mut(width.max(1))
        .with_min_len(CHUNK)
        .enumerate()
        .for_each(|(r, out)| {
            for &item in &items[offsets[r] as usize..offsets[r + 1] as usize] {
                add_scaled(out, 1.0, row(value, item as usize, width));
            }
        });
    out
}

/// Twin of `memory_update.wgsl`: writes the memory row and the mail
/// `[own row | peer's row | edge features]` of each winner in place.
///
/// `hidden` is `[rows, width]`, `edge` `[event rows, edge_width]`, `winner`
/// `[winners, (node, row, peer row, event row)]` with distinct nodes; where the event row is
/// -1, memory alone is written.
pub fn memory_update(
    memory: &mut [f32],
    mailbox: &mut [f32],
    hidden: &[f32],
    edge: &[f32],
    winner: &[i32],
    width: usize,
    edge_width: usize,
) {
    let mail_width = 2 * width + edge_width;
    for winner in winner.chunks_exact(4) {
        let [node, own, peer, event] = [0, 1, 2, 3].map(|field| winner[field] as usize);
        let own = row(hidden, own, width);
        memory[node * width..(node + 1) * width].copy_from_slice(own);
        if winner[3] < 0 {
            continue;
        }
        let mail = &mut mailbox[node * mail_width..(node + 1) * mail_width];
        mail[..width].copy_from_slice(own);
        mail[width..2 * width].copy_from_slice(row(hidden, peer, width));
        mail[2 * width..].copy_from_slice(row(edge, event, edge_width));
    }
}
