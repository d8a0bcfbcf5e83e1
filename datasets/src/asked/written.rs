//! Tables of answers: text or Parquet, rows in the order in which they come.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::{NodeKey, time_text};
use crate::export::field;
use crate::export::parquet_table::column;

/// As what a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Comma separated text with a header.
    Csv,
    /// Parquet.
    Parquet,
}

impl TableFormat {
    /// By a file's ending; none for others than `.csv` and `.parquet`.
    pub fn of(path: &Path) -> Option<TableFormat> {
        let ending = path.extension()?.to_ascii_lowercase();
        match ending.to_str()? {
            "csv" => Some(TableFormat::Csv),
            "parquet" => Some(TableFormat::Parquet),
            _ => None,
        }
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Ids of nodes, numbers or text.
    Keys {
        /// Whether they are text.
        text: bool,
    },
    /// Times in ticks, of which so many are one unit.
    Times {
        /// Ticks in a unit.
        ticks_per_unit: i64,
    },
    /// Numbers.
    Floats,
    /// Whole numbers.
    Counts,
    /// Words.
    Words,
}

/// Some rows of a column, as its kind says.
#[derive(Debug, Clone, Copy)]
pub enum Cells<'a> {
    /// Of [`ColumnKind::Keys`].
    Keys(&'a [NodeKey]),
    /// Of [`ColumnKind::Times`].
    Times(&'a [i64]),
    /// Of [`ColumnKind::Floats`].
    Floats(&'a [f32]),
    /// Of [`ColumnKind::Counts`].
    Counts(&'a [u32]),
    /// Of [`ColumnKind::Words`].
    Words(&'a [&'static str]),
}

impl Cells<'_> {
    fn len(&self) -> usize {
        match self {
            Cells::Keys(cells) => cells.len(),
            Cells::Times(cells) => cells.len(),
            Cells::Floats(cells) => cells.len(),
            Cells::Counts(cells) => cells.len(),
            Cells::Words(cells) => cells.len(),
        }
    }
}

/// A table that is being written.
pub struct TableWriter<W: Write + Send> {
    columns: Vec<(String, ColumnKind)>,
    out: Out<W>,
}

enum Out<W: Write + Send> {
    Csv(W),
    Parquet(Box<SerializedFileWriter<W>>),
}

impl<W: Write + Send> TableWriter<W> {
    /// Begins a table with these columns.
    ///
    /// # Errors
    /// When `to` can't be written.
    pub fn new(
        mut to: W,
        format: TableFormat,
        columns: Vec<(String, ColumnKind)>,
    ) -> io::Result<TableWriter<W>> {
        let out = match format {
            TableFormat::Csv => {
                let names: Vec<String> = columns.iter().map(|(name, _)| field(name)).collect();
                writeln!(to, "{}", names.join(","))?;
                Out::Csv(to)
            }
            TableFormat::Parquet => {
                let schema = schema(&columns).map_err(io::Error::other)?;
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .build();
                let writer = SerializedFileWriter::new(to, schema, Arc::new(properties))
                    .map_err(io::Error::other)?;
                Out::Parquet(Box::new(writer))
            }
        };
        Ok(TableWriter { columns, out })
    }

    /// Adds rows; a Parquet file gets a row group of them.
    ///
    /// # Errors
    /// When they can't be written.
    ///
    /// # Panics
    /// When columns are missing, of another kind or of different lengths.
    pub fn rows(&mut self, cells: &[Cells<'_>]) -> io::Result<()> {
        assert_eq!(cells.len(), self.columns.len(), "columns of the table");
        let rows = cells.first().map_or(0, Cells::len);
        assert!(
            cells.iter().all(|cells| cells.len() == rows),
            "rows of the table"
        );
        match &mut self.out {
            Out::Csv(to) => (0..rows).try_for_each(|row| csv_row(to, &self.columns, cells, row)),
            Out::Parquet(to) if rows > 0 => {
                let mut group = to.next_row_group().map_err(io::Error::other)?;
                for ((_, kind), cells) in self.columns.iter().zip(cells) {
                    parquet_column(&mut group, *kind, *cells).map_err(io::Error::other)?;
                }
                group.close().map(drop).map_err(io::Error::other)
            }
            Out::Parquet(_) => Ok(()),
        }
    }

    /// Ends the table and returns what it was written to.
    ///
    /// # Errors
    /// When the end can't be written.
    pub fn finish(self) -> io::Result<W> {
        match self.out {
            Out::Csv(to) => Ok(to),
            Out::Parquet(to) => to.into_inner().map_err(io::Error::other),
        }
    }
}

fn csv_row(
    to: &mut impl Write,
    columns: &[(String, ColumnKind)],
    cells: &[Cells<'_>],
    row: usize,
) -> io::Result<()> {
    for (place, ((_, kind), cells)) in columns.iter().zip(cells).enumerate() {
        if place > 0 {
            write!(to, ",")?;
        }
        match (cells, kind) {
            (Cells::Keys(cells), _) => write!(to, "{}", field(&cells[row].to_string()))?,
            (Cells::Times(cells), ColumnKind::Times { ticks_per_unit }) => {
                write!(to, "{}", time_text(cells[row], *ticks_per_unit))?;
            }
            (Cells::Floats(cells), _) => write!(to, "{}", cells[row])?,
            (Cells::Counts(cells), _) => write!(to, "{}", cells[row])?,
            (Cells::Words(cells), _) => write!(to, "{}", cells[row])?,
            (Cells::Times(_), _) => panic!("times in a column of another kind"),
        }
    }
    writeln!(to)
}

fn schema(columns: &[(String, ColumnKind)]) -> Result<Arc<Type>, ParquetError> {
    let field = |(name, kind): &(String, ColumnKind)| {
        let (physical, logical) = match kind {
            ColumnKind::Keys { text: true } | ColumnKind::Words => {
                (Physical::BYTE_ARRAY, Some(LogicalType::String))
            }
            ColumnKind::Keys { text: false } => {
                (Physical::INT64, Some(LogicalType::integer(64, false)))
            }
            ColumnKind::Times { ticks_per_unit: 1 } => (Physical::INT64, None),
            ColumnKind::Times { .. } => (Physical::DOUBLE, None),
            ColumnKind::Floats => (Physical::FLOAT, None),
            ColumnKind::Counts => (Physical::INT32, Some(LogicalType::integer(32, false))),
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let fields: Result<Vec<_>, _> = columns.iter().map(field).collect();
    Type::group_type_builder("answers")
        .with_fields(fields?)
        .build()
        .map(Arc::new)
}

fn parquet_column<W: Write + Send>(
    out: &mut SerializedRowGroupWriter<'_, W>,
    kind: ColumnKind,
    cells: Cells<'_>,
) -> Result<(), ParquetError> {
    let texts = |texts: Vec<String>| -> Vec<ByteArray> {
        texts
            .iter()
            .map(|text| ByteArray::from(text.as_str()))
            .collect()
    };
    match (cells, kind) {
        (Cells::Keys(keys), ColumnKind::Keys { text: true }) => {
            let names = keys.iter().map(NodeKey::to_string).collect();
            column::<ByteArrayType>(out, &texts(names))
        }
        (Cells::Keys(keys), _) => {
            let numbers = keys.iter().map(|key| match key {
                NodeKey::Number(number) => *number as i64,
                NodeKey::Text(_) => 0,
            });
            column::<Int64Type>(out, &numbers.collect::<Vec<_>>())
        }
        (Cells::Times(times), ColumnKind::Times { ticks_per_unit }) if ticks_per_unit > 1 => {
            let times = times
                .iter()
                .map(|&ticks| ticks as f64 / ticks_per_unit as f64);
            column::<DoubleType>(out, &times.collect::<Vec<_>>())
        }
        (Cells::Times(times), _) => column::<Int64Type>(out, times),
        (Cells::Floats(floats), _) => column::<FloatType>(out, floats),
        (Cells::Counts(counts), _) => column::<Int32Type>(
            out,
            &counts.iter().map(|&count| count as i32).collect::<Vec<_>>(),
        ),
        (Cells::Words(words), _) => {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            column::<ByteArrayType>(out, &texts(words))
        }
    }
}
