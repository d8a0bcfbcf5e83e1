//! Feature tables: one row of numbers for every event or node.
//!
//! Rows are f32, f16 or bit-packed booleans; readers always receive f32. The
//! data are owned or mapped from a store. A bit-packed row takes
//! `ceil(width / 8)` bytes, column c is bit `c % 8` of byte `c / 8`, unused bits
//! are zero. Tables are read-only and say nothing about what their columns mean.

use half::f16;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::random::{Words, normal_quantile, open_unit};
use crate::stream::column::Column;

/// How the values of a table are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureType {
    /// 32-bit floats.
    F32,
    /// 16-bit IEEE 754 floats.
    F16,
    /// Booleans, eight to a byte, lowest bit first, rows padded to whole bytes.
    Bits,
}

impl FeatureType {
    /// Bytes of one row of `width` values.
    pub fn row_bytes(self, width: usize) -> usize {
        match self {
            FeatureType::F32 => width * 4,
            FeatureType::F16 => width * 2,
            FeatureType::Bits => width.div_ceil(8),
        }
    }

    /// Name and file extension: `f32`, `f16` or `bits`.
    pub fn name(self) -> &'static str {
        match self {
            FeatureType::F32 => "f32",
            FeatureType::F16 => "f16",
            FeatureType::Bits => "bits",
        }
    }
}

/// Where a table's values live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureSource {
    /// In this process's memory.
    Memory,
    /// In a file mapped into memory; the operating system keeps what is in use.
    File,
}

/// A read-only table `[rows, width]`.
#[derive(Debug)]
pub struct FeatureTable {
    rows: usize,
    width: usize,
    values: Values,
}

#[derive(Debug)]
enum Values {
    F32(Column<f32>),
    F16(Column<f16>),
    Bits(Column<u8>),
}

/// Below this many values a copy is faster on one thread than handed to several.
const PARALLEL_VALUES: usize = 1 << 17;

/// For every byte its eight bits as floats, lowest first.
const BIT_FLOATS: [[f32; 8]; 256] = {
    let mut table = [[0.0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            table[byte][bit] = ((byte >> bit) & 1) as f32;
            bit += 1;
        }
        byte += 1;
    }
    table
};

impl FeatureTable {
    /// A table of f32 values, row-major `[rows, width]`.
    ///
    /// # Errors
    /// When `values.len()` is not `rows * width`.
    pub fn from_f32(
        rows: usize,
        width: usize,
        values: Vec<f32>,
    ) -> Result<FeatureTable, DataError> {
        FeatureTable::new(
            rows,
            width,
            FeatureType::F32,
            values.len(),
            Values::F32(Column::Owned(values)),
        )
    }

    /// A table of f16 values, row-major `[rows, width]`.
    ///
    /// # Errors
    /// When `values.len()` is not `rows * width`.
    pub fn from_f16(
        rows: usize,
        width: usize,
        values: Vec<f16>,
    ) -> Result<FeatureTable, DataError> {
        FeatureTable::new(
            rows,
            width,
            FeatureType::F16,
            values.len(),
            Values::F16(Column::Owned(values)),
        )
    }

    /// A table of packed booleans; a row takes `ceil(width / 8)` bytes.
    ///
    /// # Errors
    /// When `bytes.len()` is not `rows * ceil(width / 8)`.
    pub fn from_bits(rows: usize, width: usize, bytes: Vec<u8>) -> Result<FeatureTable, DataError> {
        FeatureTable::new(
            rows,
            width,
            FeatureType::Bits,
            bytes.len(),
            Values::Bits(Column::Owned(bytes)),
        )
    }

    /// Standard-normal features `[rows, width]` as f32: a pure function of the arguments.
    ///
    /// Filled in parallel; the bits depend neither on the number of threads nor on the platform.
    pub fn random_normal(rows: usize, width: usize, seed: u64) -> FeatureTable {
        let mut values = vec![0.0f32; rows * width];
        values
            .par_chunks_mut(1 << 14)
            .enumerate()
            .for_each(|(chunk, out)| draw_normals(seed, (chunk as u64) << 14, out));
        FeatureTable {
            rows,
            width,
            values: Values::F32(Column::Owned(values)),
        }
    }

    /// Row `row` of [`FeatureTable::random_normal`] with rows of this width, however many it has.
    pub fn random_normal_row(row: usize, width: usize, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; width];
        draw_normals(seed, row as u64 * width as u64, &mut values);
        values
    }

    /// Maps a store's file; `rows * width` is checked against its size.
    pub(crate) fn map(
        path: &std::path::Path,
        rows: usize,
        width: usize,
        feature_type: FeatureType,
    ) -> Result<FeatureTable, DataError> {
        let too_large = || {
            DataError::store(
                path,
                "meta.json gives an impossible size; import the stream again",
            )
        };
        let per_row = if feature_type == FeatureType::Bits {
            width.div_ceil(8)
        } else {
            width
        };
        let stored = rows.checked_mul(per_row).ok_or_else(too_large)?;
        let values = match feature_type {
            FeatureType::F32 => Values::F32(Column::map(path, stored)?),
            FeatureType::F16 => Values::F16(Column::map(path, stored)?),
            FeatureType::Bits => Values::Bits(Column::map(path, stored)?),
        };
        Ok(FeatureTable {
            rows,
            width,
            values,
        })
    }

    fn new(
        rows: usize,
        width: usize,
        feature_type: FeatureType,
        found: usize,
        values: Values,
    ) -> Result<FeatureTable, DataError> {
        let per_row = if feature_type == FeatureType::Bits {
            width.div_ceil(8)
        } else {
            width
        };
        if rows.checked_mul(per_row) != Some(found) {
            return Err(DataError::invalid(
                "feature table",
                format!(
                    "{found} {} elements found, {rows} rows of {per_row} expected",
                    feature_type.name()
                ),
            ));
        }
        Ok(FeatureTable {
            rows,
            width,
            values,
        })
    }

    /// Number of rows (events or nodes).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How the values are stored.
    pub fn feature_type(&self) -> FeatureType {
        match &self.values {
            Values::F32(_) => FeatureType::F32,
            Values::F16(_) => FeatureType::F16,
            Values::Bits(_) => FeatureType::Bits,
        }
    }

    /// Where the values live.
    pub fn source(&self) -> FeatureSource {
        let mapped = match &self.values {
            Values::F32(c) => c.is_mapped(),
            Values::F16(c) => c.is_mapped(),
            Values::Bits(c) => c.is_mapped(),
        };
        if mapped {
            FeatureSource::File
        } else {
            FeatureSource::Memory
        }
    }

    /// The stored bytes: the values row by row, little-endian.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.values {
            Values::F32(c) => c.as_bytes(),
            Values::F16(c) => c.as_bytes(),
            Values::Bits(c) => c.as_bytes(),
        }
    }

    /// All values as f32, row-major, if that is how they are stored.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.values {
            Values::F32(c) => Some(c.as_slice()),
            _ => None,
        }
    }

    /// Copies the rows `ids` as f32 into `out`, row-major `[ids.len(), width]`.
    ///
    /// # Panics
    /// When an id is not below `rows`, or `out` is not `ids.len() * width` long.
    pub fn gather_into(&self, ids: &[u32], out: &mut [f32]) {
        assert_eq!(
            out.len(),
            ids.len() * self.width,
            "gather_into: output length is not ids * width"
        );
        if self.width == 0 {
            return;
        }
        if out.len() < PARALLEL_VALUES {
            for (&id, row) in ids.iter().zip(out.chunks_exact_mut(self.width)) {
                self.row_into(id as usize, row);
            }
        } else {
            ids.par_iter()
                .zip(out.par_chunks_exact_mut(self.width))
                .with_min_len(128)
                .for_each(|(&id, row)| self.row_into(id as usize, row));
        }
    }

    /// The rows `ids` of packed booleans, each padded with zeros to whole words of 32 bits, lowest
    /// bit first: `[ids.len(), ceil(width / 32)]`. None if the values are stored otherwise.
    ///
    /// # Panics
    /// When an id is not below `rows`.
    pub fn gather_words(&self, ids: &[u32]) -> Option<Vec<u32>> {
        let Values::Bits(column) = &self.values else {
            return None;
        };
        let (packed, bytes) = (column.as_slice(), self.width.div_ceil(8));
        let row_words = self.width.div_ceil(32);
        let mut words = vec![0; ids.len() * row_words];
        if row_words == 0 {
            return Some(words);
        }
        ids.par_iter()
            .zip(words.par_chunks_exact_mut(row_words))
            .with_min_len(128)
            .for_each(|(&id, words)| {
                let row = &packed[id as usize * bytes..][..bytes];
                for (word, bytes) in words.iter_mut().zip(row.chunks(4)) {
                    let mut padded = [0; 4];
                    padded[..bytes.len()].copy_from_slice(bytes);
                    *word = u32::from_le_bytes(padded);
                }
            });
        Some(words)
    }

    /// Copies row `row` as f32 into `out` (`width` values).
    ///
    /// # Panics
    /// When `row` is not below `rows`, or `out` is not `width` long.
    pub fn row_into(&self, row: usize, out: &mut [f32]) {
        let range = row * self.width..(row + 1) * self.width;
        match &self.values {
            Values::F32(c) => out.copy_from_slice(&c.as_slice()[range]),
            Values::F16(c) => {
                use half::slice::HalfFloatSliceExt;
                c.as_slice()[range].convert_to_f32_slice(out);
            }
            Values::Bits(c) => {
                assert_eq!(
                    out.len(),
                    self.width,
                    "row_into: output length is not the width"
                );
                let bytes = self.width.div_ceil(8);
                let packed = &c.as_slice()[row * bytes..(row + 1) * bytes];
                for (&byte, out) in packed.iter().zip(out.chunks_mut(8)) {
                    out.copy_from_slice(&BIT_FLOATS[usize::from(byte)][..out.len()]);
                }
            }
        }
    }

    /// The stored bytes in pieces, each of whole values; see [`Column::pieces`].
    pub(crate) fn pieces(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match &self.values {
            Values::F32(c) => Box::new(c.pieces().map(|(_, piece)| bytemuck::cast_slice(piece))),
            Values::F16(c) => Box::new(c.pieces().map(|(_, piece)| bytemuck::cast_slice(piece))),
            Values::Bits(c) => Box::new(c.pieces().map(|(_, piece)| piece)),
        }
    }

    /// True if every value is zero (an empty table is). Published streams without features often
    /// carry a column of zeros in their place.
    pub fn all_zero(&self) -> bool {
        match &self.values {
            Values::F32(c) => c.pieces().all(|(_, x)| x.par_iter().all(|&x| x == 0.0)),
            Values::F16(c) => c
                .pieces()
                .all(|(_, x)| x.par_iter().all(|x| x.to_f32() == 0.0)),
            Values::Bits(c) => c.pieces().all(|(_, x)| x.par_iter().all(|&x| x == 0)),
        }
    }
}

/// Draws the normals from number `first` on.
fn draw_normals(seed: u64, first: u64, out: &mut [f32]) {
    let words = Words::new(seed, u64::from_le_bytes(*b"normals\0"));
    for (number, value) in (first..).zip(out) {
        *value = normal_quantile(open_unit(words.at(number))) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_every_type() {
        let f32s = FeatureTable::from_f32(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let f16s =
            FeatureTable::from_f16(2, 1, vec![f16::from_f32(0.5), f16::from_f32(-2.0)]).unwrap();
        // width 10: bits 0 and 9 of row 0; bit 8 of row 1
        let bits = FeatureTable::from_bits(2, 10, vec![1, 2, 0, 1]).unwrap();
        let gather = |t: &FeatureTable, ids: &[u32]| {
            let mut out = vec![9.0; ids.len() * t.width()];
            t.gather_into(ids, &mut out);
            out
        };
        assert_eq!(
            gather(&f32s, &[1, 0, 1]),
            [4.0, 5.0, 6.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        );
        assert_eq!(gather(&f16s, &[1, 0]), [-2.0, 0.5]);
        assert_eq!(
            gather(&bits, &[0]),
            [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
        );
        assert_eq!(gather(&bits, &[1])[8..], [1.0, 0.0]);
        assert!(!bits.all_zero());
    }

    #[test]
    fn packed_rows_become_whole_words() {
        // width 35: five bytes per row, two words.
        let bytes = vec![1, 2, 3, 0x84, 5, 0xff, 0, 0, 0, 7];
        let bits = FeatureTable::from_bits(2, 35, bytes).unwrap();
        assert_eq!(
            bits.gather_words(&[1, 0, 1]).unwrap(),
            [0xff, 7, 0x8403_0201, 5, 0xff, 7]
        );
        assert_eq!(bits.gather_words(&[]).unwrap(), [0u32; 0]);
        assert_eq!(
            FeatureTable::random_normal(2, 3, 1).gather_words(&[0]),
            None
        );
    }

    #[test]
    fn parallel_gather_equals_serial() {
        let table = FeatureTable::random_normal(500, 300, 3);
        let ids: Vec<u32> = (0..2000u32).map(|i| i * 7 % 500).collect();
        let mut all = vec![0.0; ids.len() * 300];
        table.gather_into(&ids, &mut all);
        let mut row = vec![0.0; 300];
        for (i, &id) in ids.iter().enumerate() {
            table.gather_into(&[id], &mut row);
            assert_eq!(row, all[i * 300..(i + 1) * 300]);
        }
    }

    #[test]
    fn random_normal_is_normal_seeded_and_thread_independent() {
        let make = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| FeatureTable::random_normal(1000, 172, 42))
        };
        let (one, three) = (make(1), make(3));
        assert_eq!(one.as_bytes(), three.as_bytes());
        assert_ne!(
            one.as_bytes(),
            FeatureTable::random_normal(1000, 172, 43).as_bytes()
        );
        let values = one.as_f32().unwrap();
        assert_eq!(
            values[172 * 123..172 * 124],
            FeatureTable::random_normal_row(123, 172, 42)
        );
        let n = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let var = values
            .iter()
            .map(|&x| (f64::from(x) - mean).powi(2))
            .sum::<f64>()
            / n;
        let beyond = values.iter().filter(|x| x.abs() > 1.959_964).count() as f64 / n;
        assert!(
            mean.abs() < 0.01 && (var - 1.0).abs() < 0.02 && (beyond - 0.05).abs() < 0.003,
            "{mean} {var} {beyond}"
        );
    }

    #[test]
    fn wrong_length_is_refused() {
        let message = FeatureTable::from_bits(2, 10, vec![0; 3])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("3 bits elements found, 2 rows of 2 expected"),
            "{message}"
        );
    }
}
