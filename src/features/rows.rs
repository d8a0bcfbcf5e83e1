//! Feature rows that were gathered on the host.

use super::scale::FeatureScale;
use crate::kernels::cpu::rows::unpack_bits;
use crate::kernels::unpack_bits::words_of;

/// Gathered rows on the host, as they cross the bus.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureRows {
    /// Number of rows.
    pub rows: usize,
    /// Values of a row.
    pub width: usize,
    /// The values.
    pub values: RowValues,
}

/// Values of gathered rows.
#[derive(Debug, Clone, PartialEq)]
pub enum RowValues {
    /// `[rows, width]`.
    Floats(Vec<f32>),
    /// Booleans, `[rows, ceil(width / 32)]`; see [`mod@crate::kernels::unpack_bits`].
    Words(Vec<i32>),
}

impl FeatureRows {
    pub(super) fn scaled(self, scale: &FeatureScale) -> FeatureRows {
        let mut values = self.first(self.rows);
        scale.apply(&mut values);
        FeatureRows {
            values: RowValues::Floats(values),
            ..self
        }
    }

    /// Bytes that an upload moves.
    pub(crate) fn bytes(&self) -> u64 {
        let numbers = match &self.values {
            RowValues::Floats(values) => values.len(),
            RowValues::Words(words) => words.len(),
        };
        4 * numbers as u64
    }

    /// The first `rows` rows as numbers, `[rows, width]`.
    pub fn first(&self, rows: usize) -> Vec<f32> {
        match &self.values {
            RowValues::Floats(values) => values[..rows * self.width].to_vec(),
            RowValues::Words(words) => {
                unpack_bits(&words[..rows * words_of(self.width)], self.width)
            }
        }
    }
}
