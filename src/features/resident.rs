//! A table of features that lies on the device whole, so that a batch says which rows it wants of it and
//! no feature crosses the bus twice.
//!
//! Invariant: the rows have the bits of those that the host would gather.

use burn::tensor::{Device, Int, Shape, Tensor, TensorData};

use super::rows::{FeatureRows, RowValues};
use crate::kernels::feature_rows::{Stored, feature_rows};

/// Words that are uploaded at once while a table is filled: RAM that it takes meanwhile.
const WORDS_AT_ONCE: usize = 4 << 20;

/// Bytes of RAM that filling a table takes at most: what is gathered, and its copy on the way.
pub(crate) const FILLING_BYTES: u64 = 2 * 4 * WORDS_AT_ONCE as u64;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct ResidentTable {
    /// `[rows, words of a row]`.
    words: Tensor<2, Int>,
    width: usize,
    stored: Stored,
}

impl ResidentTable {
    /// The first `rows` rows of a table, which `gather` reads from the host's by their ids, on `device`
    /// (without autodiff); none of a table without columns or rows.
    pub(super) fn new(
        rows: usize,
        gather: impl Fn(&[u32]) -> FeatureRows,
        device: &Device,
    ) -> Option<ResidentTable> {
        let FeatureRows { width, values, .. } = gather(&[]);
        if width == 0 || rows == 0 {
            return None;
        }
        let stored = match values {
            RowValues::Floats(_) => Stored::Numbers,
            RowValues::Words(_) => Stored::Booleans,
        };
        let columns = stored.words_of(width);
        let mut words = Tensor::<2, Int>::empty([rows, columns], device);
        let step = (WORDS_AT_ONCE / columns).max(1);
        for begin in (0..rows).step_by(step) {
            let part = begin..(begin + step).min(rows);
            let ids: Vec<u32> = (part.start as u32..part.end as u32).collect();
            let values = match gather(&ids).values {
                RowValues::Floats(values) => bytemuck::allocation::cast_vec(values),
                RowValues::Words(words) => words,
            };
            let shape = Shape::new([part.len(), columns]);
            let values = Tensor::from_data(TensorData::new::<i32, _>(values, shape), device);
            words = words.slice_assign([part, 0..columns], values);
        }
        Some(ResidentTable {
            words,
            width,
            stored,
        })
    }

    /// Values of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The rows of these ids, `[ids, width]`; `index` has them on the device, `[ids]`.
    pub(crate) fn rows(&self, index: Tensor<1, Int>) -> Tensor<2> {
        feature_rows(self.words.clone(), index, self.width, self.stored)
    }

    /// Whether there are rows of all these ids.
    pub(super) fn has(&self, ids: &[u32]) -> bool {
        let rows = self.words.dims()[0];
        ids.iter().all(|id| (*id as usize) < rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a host gathers rows of `width`, numbers or booleans.
    fn gathered(ids: &[u32], width: usize, stored: Stored) -> FeatureRows {
        let columns = stored.words_of(width) as u32;
        let words = ids
            .iter()
            .flat_map(|id| (0..columns).map(move |c| id * 77_777 + 3 * c));
        FeatureRows {
            rows: ids.len(),
            width,
            values: match stored {
                Stored::Numbers => RowValues::Floats(words.map(|word| word as f32).collect()),
                Stored::Booleans => RowValues::Words(words.map(|word| word as i32).collect()),
            },
        }
    }

    fn has_the_rows_of_the_host(rows: usize, width: usize, stored: Stored) {
        let device = Device::flex();
        let table = ResidentTable::new(rows, |ids| gathered(ids, width, stored), &device).unwrap();
        let ids = [rows as u32 - 1, 0, 1, 1];
        assert!(table.has(&ids) && !table.has(&[rows as u32]));
        let index = Tensor::<1, Int>::from_data(
            TensorData::new::<i32, _>(ids.map(|id| id as i32).to_vec(), [4]),
            &device,
        );
        let found: Vec<f32> = table.rows(index).into_data().try_into_vec().unwrap();
        assert!(
            found == gathered(&ids, width, stored).first(4),
            "{stored:?}"
        );
    }

    #[test]
    fn a_table_has_the_rows_of_the_host() {
        has_the_rows_of_the_host(7, 5, Stored::Numbers);
        has_the_rows_of_the_host(7, 70, Stored::Booleans);
        // Filled in three parts.
        has_the_rows_of_the_host(3, WORDS_AT_ONCE / 2 + 1, Stored::Numbers);
    }

    #[test]
    fn there_is_no_table_without_columns_or_rows() {
        let none = |rows, width| {
            let gather = |ids: &[u32]| gathered(ids, width, Stored::Numbers);
            ResidentTable::new(rows, gather, &Device::flex()).is_none()
        };
        assert!(none(0, 5) && none(5, 0) && !none(5, 5));
    }
}
