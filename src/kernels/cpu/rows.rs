//! CPU kernels that move rows: `memory_gather.wgsl`, `memory_update.wgsl`,
//! `mail_update.wgsl`, `gather_rows.wgsl`, `segment_sum.wgsl`, `unpack_bits.wgsl`,
//! `feature_rows.wgsl`.

use multiversion::multiversion;
use rayon::prelude::*;

use super::vector::add;
use super::{room, row};
use crate::batch::{LastWriter, Mail, MailList};

/// Rows that one task takes.
const CHUNK: usize = 64;

/// `table[index[i]]`, row by row.
pub(crate) fn gather_rows(table: &[f32], index: &[i32], width: usize) -> Vec<f32> {
    let mut out = Vec::new();
    if width == 0 {
        return out;
    }
    room(&mut out, index.len() * width)
        .par_chunks_mut(CHUNK * width)
        .zip(index.par_chunks(CHUNK))
        .for_each(|(out, index)| {
            for (out, &i) in out.chunks_exact_mut(width).zip(index) {
                out.write_copy_of_slice(row(table, i as usize, width));
            }
        });
    // SAFETY: the chunks cover all rows, and each has been written.
    unsafe { out.set_len(index.len() * width) };
    out
}

/// Rows of `words` words each by index: of the CPU kernel of `feature_rows.wgsl`, which then takes them as they
/// are or unpacks them.
pub(crate) fn gather_words(table: &[i32], index: &[i32], words: usize) -> Vec<i32> {
    let mut out = vec![0; index.len() * words];
    out.par_chunks_mut(CHUNK * words.max(1))
        .zip(index.par_chunks(CHUNK))
        .for_each(|(out, index)| {
            for (out, &i) in out.chunks_exact_mut(words).zip(index) {
                out.copy_from_slice(&table[i as usize * words..][..words]);
            }
        });
    out
}

/// CPU kernel of `unpack_bits.wgsl`: rows of `width` booleans, `ceil(width / 32)` words each with the
/// lowest bit first, as 0 and 1.
pub(crate) fn unpack_bits(words: &[i32], width: usize) -> Vec<f32> {
    let row_words = width.div_ceil(32);
    if row_words == 0 {
        return Vec::new();
    }
    let mut out = vec![0.0; words.len() / row_words * width];
    out.par_chunks_mut(CHUNK * width)
        .zip(words.par_chunks(CHUNK * row_words))
        .for_each(|(out, words)| unpack_chunk(words, row_words, width, out));
    out
}

/// Unpacks some rows.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn unpack_chunk(words: &[i32], row_words: usize, width: usize, out: &mut [f32]) {
    let rows = words.chunks_exact(row_words);
    for (out, words) in out.chunks_exact_mut(width).zip(rows) {
        for (out, word) in out.chunks_mut(32).zip(words) {
            for (bit, out) in (0..).zip(out) {
                *out = ((word >> bit) & 1) as f32;
            }
        }
    }
}

/// Backward of [`gather_rows`]: for each row the sum of the rows of `value` named by its
/// `items`, in ascending order.
pub(crate) fn segment_sum(value: &[f32], offsets: &[i32], items: &[i32], width: usize) -> Vec<f32> {
    let rows = offsets.len().saturating_sub(1);
    let mut out = vec![0.0; rows * width];
    out.par_chunks_mut(width.max(1))
        .with_min_len(CHUNK)
        .enumerate()
        .for_each(|(r, out)| {
            for &item in &items[offsets[r] as usize..offsets[r + 1] as usize] {
                add(out, row(value, item as usize, width));
            }
        });
    out
}

/// CPU kernel of `memory_update.wgsl`: writes the memory row of each last writer in place.
///
/// `hidden` is `[rows, width]`; the nodes of `written` are distinct.
pub(crate) fn memory_update(
    memory: &mut [f32],
    hidden: &[f32],
    written: &[LastWriter],
    width: usize,
) {
    for last_writer in written {
        let place = last_writer.node.index() * width;
        let updated = row(hidden, last_writer.row as usize, width);
        memory[place..place + width].copy_from_slice(updated);
    }
}

/// What mail is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MailParts<'a> {
    /// Updated memory rows, `[rows, width]`.
    pub(crate) hidden: &'a [f32],
    /// Width of a memory row.
    pub(crate) width: usize,
    /// Edge features, `[event rows, edge width]`.
    pub(crate) edge: &'a [f32],
    /// Width of an edge feature row.
    pub(crate) edge_width: usize,
}

/// CPU kernel of `mail_update.wgsl`: writes to each `place` the mean of its mail
/// `[own row | peer's row | edge features]`, in place.
///
/// Returns whether all that was written of memory rows, and of edge features, is finite.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(crate) fn mail_update(
    mailbox: &mut [f32],
    parts: MailParts<'_>,
    lists: &[MailList],
    mail: &[Mail],
) -> [bool; 2] {
    let MailParts {
        hidden,
        width,
        edge,
        edge_width,
    } = parts;
    let mail_width = 2 * width + edge_width;
    // As bits, which order as the sizes of the numbers do, NaN and infinity last.
    let mut largest = [0; 2];
    for list in lists {
        let target = &mut mailbox[list.place as usize * mail_width..][..mail_width];
        let (first, end) = (list.first as usize, list.end as usize);
        if first == end {
            target.fill(0.0);
        }
        for (i, mail) in mail[first..end].iter().enumerate() {
            let parts = [
                row(hidden, mail.own as usize, width),
                row(hidden, mail.peer as usize, width),
                row(edge, mail.event as usize, edge_width),
            ];
            let mut rest = &mut *target;
            for part in parts {
                let (of_part, after) = rest.split_at_mut(part.len());
                if i == 0 {
                    of_part.copy_from_slice(part);
                } else {
                    add(of_part, part);
                }
                rest = after;
            }
        }
        if end - first > 1 {
            target.iter_mut().for_each(|value| *value *= list.share);
        }
        let parts = target.split_at(2 * width);
        for (largest, part) in largest.iter_mut().zip([parts.0, parts.1]) {
            for value in part {
                *largest = value.abs().to_bits().max(*largest);
            }
        }
    }
    largest.map(|bits| bits < f32::INFINITY.to_bits())
}
