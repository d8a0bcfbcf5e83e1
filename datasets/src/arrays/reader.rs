//! An open array of any kind: its type and shape, and its rows from first to last.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::files::input_file::Bytes;
use crate::files::packed::is_damage;
use crate::stream::features::FeatureType;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F16,
    F32,
    F64,
    Bool,
    U8,
    I32,
    I64,
}

impl Element {
    /// Bytes of one element in the file.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Element::Bool | Element::U8 => 1,
            Element::F16 => 2,
            Element::F32 | Element::I32 => 4,
            Element::F64 | Element::I64 => 8,
        }
    }

    pub(crate) fn feature_type(self) -> FeatureType {
        match self {
            Element::F16 => FeatureType::F16,
            Element::Bool => FeatureType::Bits,
            _ => FeatureType::F32,
        }
    }
}

/// Values that a row may have: features have hundreds. More are a file that is damaged, or an array
/// that lies on its side, and a row is held in memory as a whole.
const MAX_WIDTH: usize = 1 << 20;

/// An open array, positioned at a row.
pub struct ArrayReader {
    path: PathBuf,
    file: Bytes,
    element: Element,
    rows: usize,
    width: usize,
    next_row: usize,
}

/// Element type and shape as a file states them.
pub(crate) struct Header {
    pub(crate) element: Element,
    pub(crate) rows: usize,
    pub(crate) width: usize,
}

impl Header {
    /// Bytes of all values; an error if no file can hold that many, or a row is too wide.
    pub(crate) fn bytes(&self, path: &Path) -> Result<u64, DataError> {
        if self.width > MAX_WIDTH {
            let problem = format!(
                "{} rows of {} values found, at most {MAX_WIDTH} per row expected; should the array be transposed? \
                 One row per event or node: numpy.save(file, numpy.ascontiguousarray(a.T))",
                self.rows, self.width
            );
            return Err(DataError::array(path, problem));
        }
        self.rows
            .checked_mul(self.width)
            .and_then(|count| count.checked_mul(self.element.bytes()))
            .map(|bytes| bytes as u64)
            .ok_or_else(|| {
                DataError::array(
                    path,
                    format!(
                        "an array of {} x {} found, which no file can hold; the file is damaged",
                        self.rows, self.width
                    ),
                )
            })
    }
}

impl ArrayReader {
    pub(crate) fn new(path: PathBuf, file: Bytes, header: Header) -> ArrayReader {
        ArrayReader {
            path,
            file,
            element: header.element,
            rows: header.rows,
            width: header.width,
            next_row: 0,
        }
    }

    /// The file, with the name of the array where it has one.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Rows of the array that are left to read.
    pub fn rows(&self) -> usize {
        self.rows - self.next_row
    }

    /// Columns of the array.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How the rows are stored once read.
    pub fn feature_type(&self) -> FeatureType {
        self.element.feature_type()
    }

    /// Number of the next row.
    pub(crate) fn next_row(&self) -> usize {
        self.next_row
    }

    /// Appends up to `count` further rows to `out`, as a store holds them; returns how many.
    ///
    /// # Errors
    /// [`DataError::Io`] if the file cannot be read, [`DataError::Array`] if it is damaged.
    pub fn read_rows(&mut self, count: usize, out: &mut Vec<u8>) -> Result<usize, DataError> {
        let (count, raw) = self.read_raw(count)?;
        let mut push = |value: f32| out.extend_from_slice(&value.to_le_bytes());
        match self.element {
            Element::F16 | Element::F32 => out.extend_from_slice(&raw),
            Element::F64 => raw
                .as_chunks::<8>()
                .0
                .iter()
                .for_each(|&b| push(f64::from_le_bytes(b) as f32)),
            Element::U8 => raw.iter().for_each(|&b| push(f32::from(b))),
            Element::I32 => raw
                .as_chunks::<4>()
                .0
                .iter()
                .for_each(|&b| push(i32::from_le_bytes(b) as f32)),
            Element::I64 => raw
                .as_chunks::<8>()
                .0
                .iter()
                .for_each(|&b| push(i64::from_le_bytes(b) as f32)),
            Element::Bool if self.width > 0 => {
                for row in raw.chunks_exact(self.width) {
                    out.extend(row.chunks(8).map(|bits| {
                        bits.iter()
                            .enumerate()
                            .fold(0u8, |byte, (i, &bit)| byte | (u8::from(bit != 0) << i))
                    }));
                }
            }
            Element::Bool => {}
        }
        Ok(count)
    }

    /// All rows that are left as whole numbers, exactly; other types than integers are refused.
    pub(crate) fn read_integers(&mut self) -> Result<Vec<i64>, DataError> {
        let (_, raw) = self.read_raw(self.rows())?;
        match self.element {
            Element::U8 => Ok(raw.iter().map(|&b| i64::from(b)).collect()),
            Element::I32 => {
                let values = raw.as_chunks::<4>().0;
                Ok(values
                    .iter()
                    .map(|&b| i32::from_le_bytes(b).into())
                    .collect())
            }
            Element::I64 => {
                let values = raw.as_chunks::<8>().0;
                Ok(values.iter().map(|&b| i64::from_le_bytes(b)).collect())
            }
            other => Err(DataError::array(
                &self.path,
                format!(
                    "values of type {other:?} found, integers expected; save it with .astype('int64')"
                ),
            )),
        }
    }

    /// The bytes of up to `count` further rows, and how many rows they are.
    fn read_raw(&mut self, count: usize) -> Result<(usize, Vec<u8>), DataError> {
        let count = count.min(self.rows - self.next_row);
        let wanted = count * self.width * self.element.bytes();
        // Grows with what is there: an archive may promise more than it has.
        let mut raw = Vec::with_capacity(wanted.min(1 << 22));
        (&mut self.file)
            .take(wanted as u64)
            .read_to_end(&mut raw)
            .map_err(|error| self.unreadable(error))?;
        if raw.len() < wanted {
            return Err(self.unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
        self.next_row += count;
        Ok((count, raw))
    }

    fn unreadable(&self, error: io::Error) -> DataError {
        if is_damage(&error) {
            let problem = format!(
                "damaged or cut off from row {} on ({error}); copy or save the file again",
                self.next_row
            );
            return DataError::array(&self.path, problem);
        }
        DataError::io("read", &self.path)(error)
    }
}
