//! Sums over rows in two launches: a kernel sums chunks of rows, `column_sums` the chunks.

/// Most chunks, which one pass adds: enough for a hundred workgroups where rows have a hundred columns.
const MOST: usize = 64;

/// Fewest rows of a chunk that are worth an invocation for each of its columns.
const FEWEST: usize = 8;

/// How rows are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks {
    /// Rows of each but the last.
    pub rows: usize,
    /// How many there are.
    pub count: usize,
}

impl Chunks {
    /// So many rows.
    pub(super) fn of(rows: usize) -> Chunks {
        let of_chunk = rows.div_ceil(MOST).max(FEWEST);
        Chunks {
            rows: of_chunk,
            count: rows.div_ceil(of_chunk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunks, FEWEST, MOST};

    /// No invocation adds more than a 64th of the rows, and no more than 64 sums are left.
    #[test]
    fn chunks_cover_all_rows_and_are_few() {
        for rows in (0..2_000).chain([8_000, 100_000]) {
            let Chunks {
                rows: of_chunk,
                count,
            } = Chunks::of(rows);
            assert!(count <= MOST, "{rows}");
            assert!(of_chunk <= FEWEST.max(rows.div_ceil(MOST)), "{rows}");
            assert!(count * of_chunk >= rows && rows + of_chunk > count * of_chunk);
        }
    }
}
