//! CPU kernels that move rows: `memory_gather.wgsl`, `memory_update.wgsl`,
//! `mail_update.wgsl`, `gather_rows.wgsl`, `segment_sum.wgsl`, `unpack_bits.wgsl`,
//! `feature_rows.wgsl`, `place_rows.wgsl`.

use multiversion::multiversion;

use super::vector::add;
use super::{Unwritten, room, row, zeroed};
use crate::batch::{LastWriter, Mail, MailList};
use crate::kernels::costs;
use crate::parallel;

/// Rows that one task takes.
const CHUNK: usize = 64;

/// `table[index[i]]`, row by row.
pub(crate) fn gather_rows(table: &[f32], index: &[i32], width: usize) -> Vec<f32> {
    let mut out = Vec::new();
    if width == 0 {
        return out;
    }
    let rows = room(&mut out, index.len() * width).chunks_mut(CHUNK * width);
    parallel::for_each(rows.zip(index.chunks(CHUNK)).collect(), |(out, index)| {
        parallel::task(|| costs::gather(index.len(), width).one());
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
    let rows = out.chunks_mut(CHUNK * words.max(1));
    parallel::for_each(rows.zip(index.chunks(CHUNK)).collect(), |(out, index)| {
        for (out, &i) in out.chunks_exact_mut(words).zip(index) {
            out.copy_from_slice(&table[i as usize * words..][..words]);
        }
    });
    out
}

/// CPU kernel of `place_rows.wgsl`: writes `rows`, of `words` words each, to their slots, which are distinct.
pub(crate) fn place_rows(table: &mut [i32], rows: &[i32], slot: &[i32], words: usize) {
    for (row, &slot) in rows.chunks_exact(words).zip(slot) {
        table[slot as usize * words..][..words].copy_from_slice(row);
    }
}

/// CPU kernel of `unpack_bits.wgsl`: rows of `width` booleans, `ceil(width / 32)` words each with the
/// lowest bit first, as 0 and 1.
pub(crate) fn unpack_bits(words: &[i32], width: usize) -> Vec<f32> {
    let row_words = width.div_ceil(32);
    if row_words == 0 {
        return Vec::new();
    }
    let mut out = Vec::new();
    let len = words.len() / row_words * width;
    let rows = room(&mut out, len).chunks_mut(CHUNK * width);
    let rows = rows.zip(words.chunks(CHUNK * row_words)).collect();
    parallel::for_each(rows, |(out, words)| {
        unpack_chunk(words, row_words, width, out)
    });
    // SAFETY: the chunks cover all rows, and each has been written.
    unsafe { out.set_len(len) };
    out
}

/// Unpacks some rows.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn unpack_chunk(words: &[i32], row_words: usize, width: usize, out: &mut Unwritten) {
    let rows = words.chunks_exact(row_words);
    for (out, words) in out.chunks_exact_mut(width).zip(rows) {
        for (out, word) in out.chunks_mut(32).zip(words) {
            for (bit, out) in (0..).zip(out) {
                out.write(((word >> bit) & 1) as f32);
            }
        }
    }
}

/// Backward of [`gather_rows`]: for each row the sum of the rows of `value` named by its
/// `items`, in ascending order.
pub(crate) fn segment_sum(value: &[f32], offsets: &[i32], items: &[i32], width: usize) -> Vec<f32> {
    let rows = offsets.len().saturating_sub(1);
    let mut out = Vec::new();
    let chunks = room(&mut out, rows * width).chunks_mut(CHUNK * width.max(1));
    parallel::for_each(chunks.enumerate().collect(), |(chunk, out)| {
        let lists = &offsets[chunk * CHUNK..];
        parallel::task(|| {
            let rows = out.len() / width;
            let uses = (lists[rows] - lists[0]) as usize;
            costs::segment_sum(uses, rows, width).one()
        });
        sum_chunk(value, lists, items, width, zeroed(out));
    });
    // SAFETY: the chunks cover all rows, and each has been written.
    unsafe { out.set_len(rows * width) };
    out
}

/// Adds to the rows `out` those of `value` that are named by their lists, which begin and end where `offsets` says.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn sum_chunk(value: &[f32], offsets: &[i32], items: &[i32], width: usize, out: &mut [f32]) {
    for (out, ends) in out.chunks_exact_mut(width).zip(offsets.windows(2)) {
        for &item in &items[ends[0] as usize..ends[1] as usize] {
            add(out, row(value, item as usize, width));
        }
    }
}

/// Parts of a table for entries that write the rows at their places, some entries to a part: the first row
/// of the part, its rows, and the entries. Places ascend.
fn parts<'t, 'e, T>(
    table: &'t mut [f32],
    width: usize,
    entries: &'e [T],
    place: impl Fn(&T) -> usize,
) -> Vec<(usize, &'t mut [f32], &'e [T])> {
    let mut parts = Vec::with_capacity(entries.len().div_ceil(CHUNK));
    let (mut rest, mut begin) = (table, 0);
    for chunk in entries.chunks(CHUNK) {
        let (first, end) = (place(&chunk[0]), place(&chunk[chunk.len() - 1]) + 1);
        let (_, behind) = rest.split_at_mut((first - begin) * width);
        let (own, behind) = behind.split_at_mut((end - first) * width);
        parts.push((first, own, chunk));
        (rest, begin) = (behind, end);
    }
    parts
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
    // All of a batch's last writers ascend. Rows that are kept beside them are in the order of the batch.
    let write = |(first, rows, written): (usize, &mut [f32], &[LastWriter])| {
        parallel::task(|| costs::gather(written.len(), width).one());
        for last_writer in written {
            let place = (last_writer.node.index() - first) * width;
            let updated = row(hidden, last_writer.row as usize, width);
            rows[place..place + width].copy_from_slice(updated);
        }
    };
    for ascending in written.chunk_by(|a, b| a.node < b.node) {
        let parts = parts(memory, width, ascending, |entry| entry.node.index());
        parallel::for_each(parts, write);
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
/// Places are distinct. Returns whether all that was written of memory rows, and of edge features, is finite.
pub(crate) fn mail_update(
    mailbox: &mut [f32],
    of: MailParts<'_>,
    lists: &[MailList],
    mail: &[Mail],
) -> [bool; 2] {
    let width = 2 * of.width + of.edge_width;
    let larger = |a: [u32; 2], b: [u32; 2]| [a[0].max(b[0]), a[1].max(b[1])];
    // All lists of a batch ascend.
    let ascending = lists.chunk_by(|a, b| a.place < b.place);
    let largest = ascending.map(|lists| {
        let parts = parts(mailbox, width, lists, |list| list.place as usize);
        let largest = parallel::map(parts, |(first, rows, lists)| {
            mail_chunk(rows, first, of, lists, mail)
        });
        largest.into_iter().fold([0; 2], larger)
    });
    let largest = largest.fold([0; 2], larger);
    largest.map(|bits| bits < f32::INFINITY.to_bits())
}

/// Writes the mail of some lists to `rows`, the table from row `first` on; returns the largest sizes of numbers of
/// memory rows and of edge features that it has written, as bits, which order as these do, NaN and infinity last.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn mail_chunk(
    rows: &mut [f32],
    first: usize,
    of: MailParts<'_>,
    lists: &[MailList],
    mail: &[Mail],
) -> [u32; 2] {
    let MailParts {
        hidden,
        width,
        edge,
        edge_width,
    } = of;
    let mail_width = 2 * width + edge_width;
    parallel::task(|| {
        let mails = lists.iter().map(|list| list.end - list.first).sum::<i32>();
        costs::mail_update(mails as usize, lists.len(), mail_width).one()
    });
    let mut largest = [0; 2];
    for list in lists {
        let target = &mut rows[(list.place as usize - first) * mail_width..][..mail_width];
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
    largest
}
