//! A table that lies in memory, as another program has it: a data frame, arrays.
//!
//! It is written as Parquet and read as any Parquet file is, so that columns get their roles, ids and times
//! their values, and errors their words, by the same code. What tells it from others is its content
//! ([`InputFile::written`]): the same table is converted once, whoever has it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray,
    FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use crate::error::DataError;
use crate::files::input_file::InputFile;
use crate::import::open::open_raw;
use crate::import::options::OpenOptions;
use crate::import::source::RawSource;
use crate::stream::event_log::EventLog;

/// Digits of a decimal of 128 bits.
const DIGITS: i32 = 38;

/// A column of a table in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct TableColumn {
    /// What it is called.
    pub name: String,
    /// A value per row, whatever it is where there is none.
    pub values: TableValues,
    /// Whether a row has a value, if some have none.
    pub present: Option<Vec<bool>>,
}

/// Values of a column, one per row.
#[derive(Debug, Clone, PartialEq)]
pub enum TableValues {
    /// Truth values.
    Bools(Vec<bool>),
    /// Whole numbers.
    Integers(Vec<i64>),
    /// Whole numbers that are not negative.
    Unsigned(Vec<u64>),
    /// Floats of 32 bits, or of fewer.
    Floats(Vec<f32>),
    /// Floats of 64 bits.
    Doubles(Vec<f64>),
    /// Whole numbers that stand for themselves divided by 10^`scale`.
    Decimals {
        /// Each within 38 digits.
        values: Vec<i128>,
        /// From 0 to 38.
        scale: u8,
    },
    /// Moments since 1970.
    Moments {
        /// In the unit.
        values: Vec<i64>,
        /// What they count.
        unit: MomentUnit,
    },
    /// Days since 1970.
    Dates(Vec<i32>),
    /// Text.
    Texts(Vec<String>),
    /// Rows of equally many numbers, NaN for a missing one.
    Rows {
        /// Numbers of a row, at least 1.
        width: usize,
        /// `[rows, width]`.
        values: Vec<f32>,
    },
}

/// What moments count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MomentUnit {
    /// Thousandths of a second.
    Milliseconds,
    /// Millionths.
    Microseconds,
    /// Billionths.
    Nanoseconds,
}

impl TableValues {
    /// How many there are.
    fn rows(&self) -> usize {
        match self {
            TableValues::Bools(values) => values.len(),
            TableValues::Integers(values) | TableValues::Moments { values, .. } => values.len(),
            TableValues::Unsigned(values) => values.len(),
            TableValues::Floats(values) => values.len(),
            TableValues::Doubles(values) => values.len(),
            TableValues::Decimals { values, .. } => values.len(),
            TableValues::Dates(values) => values.len(),
            TableValues::Texts(values) => values.len(),
            TableValues::Rows { width, values } => values.len() / (*width).max(1),
        }
    }
}

impl EventLog {
    /// Opens a table in memory as [`EventLog::open`] opens a file: converted into the cache once, and mapped
    /// afterwards. Messages and the stream call it `name`; rows are counted from 0.
    ///
    /// # Errors
    /// Any [`DataError`]: columns of different lengths, and what is wrong in a file too.
    pub fn open_table(
        name: &str,
        table: &[TableColumn],
        options: &OpenOptions,
    ) -> Result<EventLog, DataError> {
        let shown = Path::new(name);
        check(shown, table)?;
        let room = options.cache_folder()?;
        let failed = |error: ParquetError| {
            let found = format!("it can't be written into {} ({error})", room.display());
            DataError::format(shown, found, "free some space, or set MSPIPE_CACHE_DIR")
        };
        let file = InputFile::written(shown, &room, |file| write(table, file).map_err(failed))?;
        open_raw(&RawSource::of_table(name, &file, options)?, options)
    }
}

/// Refuses what is no table.
fn check(shown: &Path, table: &[TableColumn]) -> Result<(), DataError> {
    let Some(first) = table.first() else {
        let expected = "columns for source, destination and time are expected";
        return Err(DataError::format(
            shown,
            "a table without columns",
            expected,
        ));
    };
    let rows = first.values.rows();
    for column in table {
        let (name, found) = (&column.name, column.values.rows());
        if found != rows {
            return Err(DataError::format(
                shown,
                format!("the column '{name}' has {found} rows"),
                format!("{rows} are expected, as the column '{}' has", first.name),
            ));
        }
        if matches!(column.values, TableValues::Rows { width: 0, .. }) {
            return Err(DataError::format(
                shown,
                format!("the column '{name}' has rows without a number"),
                "leave it out",
            ));
        }
    }
    Ok(())
}

/// All of it as one row group, so that a row's number is that of the table.
fn write(table: &[TableColumn], file: &mut File) -> Result<(), ParquetError> {
    let fields = table.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let schema = Type::group_type_builder("table").with_fields(fields);
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let mut writer =
        SerializedFileWriter::new(file, Arc::new(schema.build()?), Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for column in table {
        if let Some(mut out) = group.next_column()? {
            values(column, &mut out)?;
            out.close()?;
        }
    }
    group.close()?;
    writer.close().map(drop)
}

/// The type of a column.
fn field(column: &TableColumn) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match &column.values {
        TableValues::Rows { .. } => return rows_field(&column.name),
        TableValues::Bools(_) => (Physical::BOOLEAN, None),
        TableValues::Integers(_) => (Physical::INT64, None),
        TableValues::Unsigned(_) => (Physical::INT64, Some(LogicalType::integer(64, false))),
        TableValues::Floats(_) => (Physical::FLOAT, None),
        TableValues::Doubles(_) => (Physical::DOUBLE, None),
        TableValues::Decimals { scale, .. } => {
            let logical = LogicalType::decimal(i32::from(*scale), DIGITS);
            (Physical::FIXED_LEN_BYTE_ARRAY, Some(logical))
        }
        TableValues::Moments { unit, .. } => {
            let unit = match unit {
                MomentUnit::Milliseconds => TimeUnit::MILLIS,
                MomentUnit::Microseconds => TimeUnit::MICROS,
                MomentUnit::Nanoseconds => TimeUnit::NANOS,
            };
            (Physical::INT64, Some(LogicalType::timestamp(true, unit)))
        }
        TableValues::Dates(_) => (Physical::INT32, Some(LogicalType::Date)),
        TableValues::Texts(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let field = Type::primitive_type_builder(&column.name, physical)
        .with_repetition(match column.present {
            Some(_) => Repetition::OPTIONAL,
            None => Repetition::REQUIRED,
        })
        .with_logical_type(logical);
    let field = match &column.values {
        TableValues::Decimals { scale, .. } => field
            .with_length(16)
            .with_precision(DIGITS)
            .with_scale(i32::from(*scale)),
        _ => field,
    };
    field.build().map(Arc::new)
}

/// A list of numbers in each row.
fn rows_field(name: &str) -> Result<TypePtr, ParquetError> {
    let element = Type::primitive_type_builder("element", Physical::FLOAT)
        .with_repetition(Repetition::REQUIRED)
        .build()?;
    let list = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![Arc::new(element)])
        .build()?;
    let field = Type::group_type_builder(name)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(list)]);
    field.build().map(Arc::new)
}

/// Writes the values of a column.
fn values(column: &TableColumn, out: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
    let present = column.present.as_deref();
    match &column.values {
        TableValues::Bools(values) => put::<BoolType>(values, present, out),
        TableValues::Integers(values) | TableValues::Moments { values, .. } => {
            put::<Int64Type>(values, present, out)
        }
        TableValues::Unsigned(values) => {
            put::<Int64Type>(bytemuck::cast_slice(values), present, out)
        }
        TableValues::Floats(values) => put::<FloatType>(values, present, out),
        TableValues::Doubles(values) => put::<DoubleType>(values, present, out),
        TableValues::Decimals { values, .. } => {
            let bytes = |value: &i128| FixedLenByteArray::from(value.to_be_bytes().to_vec());
            let values: Vec<FixedLenByteArray> = values.iter().map(bytes).collect();
            put::<FixedLenByteArrayType>(&values, present, out)
        }
        TableValues::Dates(values) => put::<Int32Type>(values, present, out),
        TableValues::Texts(values) => {
            let values: Vec<ByteArray> = values.iter().map(|text| text.as_str().into()).collect();
            put::<ByteArrayType>(&values, present, out)
        }
        TableValues::Rows { width, values } => {
            let repeated = |at: usize| i16::from(!at.is_multiple_of(*width));
            let levels: Vec<i16> = (0..values.len()).map(repeated).collect();
            let defined = vec![1; values.len()];
            out.typed::<FloatType>()
                .write_batch(values, Some(&defined), Some(&levels))
                .map(drop)
        }
    }
}

/// Writes those of the values that are there.
fn put<T: DataType>(
    values: &[T::T],
    present: Option<&[bool]>,
    out: &mut SerializedColumnWriter<'_>,
) -> Result<(), ParquetError> {
    let out = out.typed::<T>();
    let Some(present) = present else {
        return out.write_batch(values, None, None).map(drop);
    };
    let levels: Vec<i16> = present.iter().map(|&there| i16::from(there)).collect();
    let there: Vec<T::T> = (values.iter().zip(present))
        .filter(|(_, there)| **there)
        .map(|(value, _)| value.clone())
        .collect();
    out.write_batch(&there, Some(&levels), None).map(drop)
}
