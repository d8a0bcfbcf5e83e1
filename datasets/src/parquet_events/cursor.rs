//! One column of a row group, decoded a batch of rows at a time.
//!
//! After [`Cursor::fill`] every row of the batch has a value (no nulls), and rows
//! of lists have one length throughout the row group.

use std::cell::Cell;
use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::{damaged, guarded};
use crate::decimal::{Decimal, DecimalError};
use crate::error::{DataError, quoted};

/// A column at a batch of rows.
pub(super) struct Cursor<'a> {
    path: &'a Path,
    group: usize,
    descriptor: ColumnDescPtr,
    reader: ColumnReader,
    first_row: u64,
    /// Values in a row; 1 unless the column holds lists.
    width: Option<usize>,
    values: Values,
    /// Times so far that were rounded.
    rounded: Cell<u64>,
}

enum Values {
    Bools(Vec<bool>),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    Texts(Vec<ByteArray>),
}

/// An id as the column has it.
pub(super) enum Id<'a> {
    Number(u64),
    Text(&'a str),
}

impl<'a> Cursor<'a> {
    pub(super) fn new(
        path: &'a Path,
        group: usize,
        descriptor: ColumnDescPtr,
        reader: ColumnReader,
    ) -> Cursor<'a> {
        Cursor {
            path,
            group,
            width: (descriptor.max_rep_level() == 0).then_some(1),
            descriptor,
            reader,
            first_row: 0,
            values: Values::Bools(Vec::new()),
            rounded: Cell::new(0),
        }
    }

    /// Times that had more decimals than count, as arithmetic leaves them, and were rounded.
    pub(super) fn rounded_times(&self) -> u64 {
        self.rounded.get()
    }

    /// Decodes the `count` rows from `first_row` on, which are the next ones.
    pub(super) fn fill(&mut self, first_row: u64, count: usize) -> Result<(), DataError> {
        self.first_row = first_row;
        let (mut def, mut rep) = (Vec::new(), Vec::new());
        let records = guarded(|| self.decode(count, &mut def, &mut rep))
            .map_err(|error| damaged(self.path, Some(self.group), &error))?;
        if records != count {
            return Err(self.error(
                records,
                "the column ends here",
                format!(
                    "{} rows in the row group; the file is damaged",
                    first_row + count as u64
                ),
            ));
        }
        let most = self.descriptor.max_def_level();
        if let Some(at) = def.iter().position(|&level| level != most) {
            let row = match self.descriptor.max_rep_level() {
                0 => at,
                _ => rep[..=at].iter().filter(|&&level| level == 0).count() - 1,
            };
            return Err(self.error(
                row,
                "null or an empty list",
                "a value in every row; fill in or drop the row",
            ));
        }
        self.check_lists(&rep, count)
    }

    /// Rows of lists must have one length.
    fn check_lists(&mut self, rep: &[i16], count: usize) -> Result<(), DataError> {
        if self.descriptor.max_rep_level() == 0 {
            return Ok(());
        }
        let starts = (rep.iter().enumerate()).filter(|(_, level)| **level == 0);
        let starts: Vec<usize> = starts.map(|(at, _)| at).chain([rep.len()]).collect();
        if starts.len() != count + 1 {
            return Err(self.error(
                0,
                "lists that do not fit the rows",
                "one list a row; the file is damaged",
            ));
        }
        for (row, ends) in starts.windows(2).enumerate() {
            let length = ends[1] - ends[0];
            let width = *self.width.get_or_insert(length);
            if length != width {
                return Err(self.error(
                    row,
                    format!("a list of {length} values"),
                    format!("{width}, as in the rows before"),
                ));
            }
        }
        Ok(())
    }

    fn decode(
        &mut self,
        count: usize,
        def: &mut Vec<i16>,
        rep: &mut Vec<i16>,
    ) -> Result<usize, ParquetError> {
        let (def, rep) = (Some(def), Some(rep));
        let records;
        self.values = match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => {
                let mut values = Vec::new();
                records = reader.read_records(count, def, rep, &mut values)?.0;
                Values::Bools(values)
            }
            ColumnReader::Int32ColumnReader(reader) => {
                let mut values = Vec::new();
                records = reader.read_records(count, def, rep, &mut values)?.0;
                let unsigned = is_unsigned(&self.descriptor);
                let wide = |v: i32| {
                    if unsigned {
                        i64::from(v as u32)
                    } else {
                        i64::from(v)
                    }
                };
                Values::Integers(values.into_iter().map(wide).collect())
            }
            ColumnReader::Int64ColumnReader(reader) => {
                let mut values = Vec::new();
                records = reader.read_records(count, def, rep, &mut values)?.0;
                Values::Integers(values)
            }
            ColumnReader::FloatColumnReader(reader) => {
                let mut values = Vec::new();
                records = reader.read_records(count, def, rep, &mut values)?.0;
                Values::Floats(values)
            }
            ColumnReader::DoubleColumnReader(reader) => {
                let mut values = Vec::new();
                records = reader.read_records(count, def, rep, &mut values)?.0;
                Values::Doubles(values)
            }
            ColumnReader::ByteArrayColumnReader(reader) => {
                let mut values = Vec::new();
                records = reader.read_records(count, def, rep, &mut values)?.0;
                Values::Texts(values)
            }
            ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                return Err(ParquetError::General(format!(
                    "column {} is {}, which is not read",
                    self.descriptor.path().string(),
                    self.descriptor.physical_type()
                )));
            }
        };
        Ok(records)
    }

    /// A feature's value.
    pub(super) fn float(&self, at: usize) -> f32 {
        match &self.values {
            Values::Bools(values) => f32::from(values[at]),
            Values::Integers(values) => values[at] as f32,
            Values::Floats(values) => values[at],
            Values::Doubles(values) => values[at] as f32,
            Values::Texts(_) => f32::NAN,
        }
    }

    /// The values of a row's list.
    pub(super) fn list(&self, row: usize) -> impl Iterator<Item = f32> {
        let width = self.width.unwrap_or(0);
        (row * width..(row + 1) * width).map(|at| self.float(at))
    }

    pub(super) fn id(&self, row: usize) -> Result<Id<'_>, DataError> {
        match &self.values {
            Values::Integers(values) => {
                let value = values[row];
                if value < 0 && !is_unsigned(&self.descriptor) {
                    return Err(self.error(
                        row,
                        format!("the id is {value}"),
                        "a number that is not negative",
                    ));
                }
                Ok(Id::Number(value as u64))
            }
            Values::Texts(values) => (values[row].as_utf8().ok())
                .filter(|text| !text.is_empty())
                .map(Id::Text)
                .ok_or_else(|| {
                    self.error(
                        row,
                        format!("the id is {}", quoted(values[row].data())),
                        "the name of a node, in UTF-8",
                    )
                }),
            _ => Err(self.error(row, "no id", "integers or text")),
        }
    }

    pub(super) fn time(&self, row: usize) -> Result<Decimal, DataError> {
        let parsed = match &self.values {
            Values::Integers(values) => decimal(values[row], &self.descriptor),
            Values::Floats(values) => self.of_float(&values[row].to_string(), values[row].into()),
            Values::Doubles(values) => self.of_float(&values[row].to_string(), values[row]),
            _ => Err(DecimalError::NotANumber),
        };
        parsed.map_err(|error| {
            let found = match &self.values {
                Values::Integers(values) => values[row].to_string(),
                Values::Doubles(values) => values[row].to_string(),
                _ => self.float(row).to_string(),
            };
            self.error(row, format!("the time is {found}"), error.expected())
        })
    }

    fn of_float(&self, text: &str, value: f64) -> Result<Decimal, DecimalError> {
        let float = Decimal::of_float(text, value)?;
        self.rounded
            .set(self.rounded.get() + u64::from(float.rounded));
        Ok(float.time)
    }

    /// A whole number of 32 bits.
    pub(super) fn integer(&self, row: usize) -> Result<i32, DataError> {
        let value = self.whole(row);
        i32::try_from(value)
            .map_err(|_| self.error(row, format!("the label is {value}"), "a number of 32 bits"))
    }

    /// A mark of the split.
    pub(super) fn mark(&self, row: usize) -> Result<u8, DataError> {
        let value = self.whole(row);
        u8::try_from(value)
            .ok()
            .filter(|mark| *mark <= 2)
            .ok_or_else(|| {
                self.error(
                    row,
                    format!("the mark is {value}"),
                    "0 (train), 1 (validation) or 2 (test)",
                )
            })
    }

    fn whole(&self, row: usize) -> i64 {
        match &self.values {
            Values::Integers(values) => values[row],
            _ => i64::from(self.float(row) != 0.0),
        }
    }

    /// An error about a row of the batch.
    pub(super) fn error(
        &self,
        row: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> DataError {
        DataError::Cell {
            path: self.path.to_path_buf(),
            column: self.descriptor.path().string(),
            group: self.group,
            row: self.first_row + row as u64,
            found: found.into(),
            expected: expected.into(),
        }
    }
}

fn is_unsigned(descriptor: &ColumnDescPtr) -> bool {
    match descriptor.logical_type_ref() {
        Some(LogicalType::Integer(kind)) => !kind.is_signed,
        _ => matches!(
            descriptor.converted_type(),
            ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64
        ),
    }
}

/// A time of integers in the unit that its type gives.
fn decimal(value: i64, descriptor: &ColumnDescPtr) -> Result<Decimal, DecimalError> {
    let exponent = match descriptor.logical_type_ref() {
        Some(LogicalType::Date) => {
            let seconds = value.checked_mul(86_400).ok_or(DecimalError::TooLarge)?;
            return Ok(Decimal {
                mantissa: seconds,
                scale: 0,
            });
        }
        Some(LogicalType::Timestamp(kind)) => match kind.unit {
            TimeUnit::MILLIS => 3,
            TimeUnit::MICROS => 6,
            TimeUnit::NANOS => 9,
        },
        _ => 0,
    };
    Ok(Decimal::of_ticks(value, exponent))
}
