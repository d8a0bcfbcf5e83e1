//! The table as Parquet, compressed with snappy.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::columns::{Columns, scale};
use crate::error::DataError;
use crate::fields::decimal::Decimal;
use crate::stream::event_log::{EventLog, NO_LABEL};
use crate::stream::features::FeatureType;
use crate::whole_file::WholeFile;

/// Values of features in a row group, at most.
const VALUES: usize = 1 << 22;

/// Writes the table; `to` is for messages.
pub(super) fn write(
    columns: &Columns<'_>,
    file: &mut WholeFile,
    to: &Path,
) -> Result<(), DataError> {
    let failed = |error: ParquetError| {
        DataError::format(
            to,
            format!("cannot be written ({error})"),
            "free some space, or choose another place",
        )
    };
    let table = Table::of(columns).map_err(failed)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer =
        SerializedFileWriter::new(file, Arc::clone(&table.schema), Arc::new(properties))
            .map_err(failed)?;
    let log = columns.log;
    let rows = (VALUES / columns.features.len().max(1)).clamp(1 << 10, 1 << 16);
    for first in (0..log.events()).step_by(rows) {
        let group = first..log.events().min(first + rows);
        let mut out = writer.next_row_group().map_err(failed)?;
        table.group(columns, group, &mut out).map_err(failed)?;
        out.close().map_err(failed)?;
    }
    writer.close().map(drop).map_err(failed)
}

/// The columns' types.
struct Table {
    schema: Arc<Type>,
    time: Time,
    bools: bool,
}

/// As what times are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Time {
    Whole,
    /// Each stands for its time when read as the shortest decimal.
    Doubles,
    Decimals,
}

impl Table {
    fn of(columns: &Columns<'_>) -> Result<Table, ParquetError> {
        let log = columns.log;
        let time = Time::of(log);
        let bools = log.edge_features().map(|t| t.feature_type()) == Some(FeatureType::Bits);
        let mut fields = Vec::new();
        let mut add = |name: &str, physical: Physical, logical: Option<LogicalType>| {
            let field = Type::primitive_type_builder(name, physical)
                .with_repetition(match name == "label" && has_gaps(log) {
                    true => Repetition::OPTIONAL,
                    false => Repetition::REQUIRED,
                })
                .with_logical_type(logical);
            // A decimal says how many digits it has.
            let field = match physical == Physical::INT64
                && name == columns.titles[2]
                && time == Time::Decimals
            {
                true => field.with_precision(18).with_scale(i32::from(scale(log))),
                false => field,
            };
            field.build().map(|field| fields.push(Arc::new(field)))
        };
        for title in &columns.titles[..2] {
            match &columns.names {
                Some(_) => add(title, Physical::BYTE_ARRAY, Some(LogicalType::String))?,
                None => add(
                    title,
                    Physical::INT64,
                    Some(LogicalType::integer(64, false)),
                )?,
            }
        }
        match time {
            Time::Whole => add(columns.titles[2], Physical::INT64, None)?,
            Time::Doubles => add(columns.titles[2], Physical::DOUBLE, None)?,
            Time::Decimals => {
                let logical = LogicalType::decimal(i32::from(scale(log)), 18);
                add(columns.titles[2], Physical::INT64, Some(logical))?;
            }
        }
        if log.labels().is_some() {
            add("label", Physical::INT32, None)?;
        }
        if log.roll().is_some() {
            add("ext_roll", Physical::INT32, None)?;
        }
        for name in &columns.features {
            let physical = if bools {
                Physical::BOOLEAN
            } else {
                Physical::FLOAT
            };
            add(name, physical, None)?;
        }
        let schema = Type::group_type_builder("events")
            .with_fields(fields)
            .build()?;
        Ok(Table {
            schema: Arc::new(schema),
            time,
            bools,
        })
    }

    fn group(
        &self,
        columns: &Columns<'_>,
        events: std::ops::Range<usize>,
        out: &mut SerializedRowGroupWriter<'_, &mut WholeFile>,
    ) -> Result<(), ParquetError> {
        let log = columns.log;
        for side in [log.src(), log.dst()] {
            let nodes = &side[events.clone()];
            match &columns.names {
                Some(names) => {
                    let texts = nodes
                        .iter()
                        .map(|&node| ByteArray::from(names[node as usize].as_str()));
                    column::<ByteArrayType>(out, &texts.collect::<Vec<_>>())?;
                }
                None => {
                    let ids = nodes.iter().map(|&node| columns.id(node) as i64);
                    column::<Int64Type>(out, &ids.collect::<Vec<_>>())?;
                }
            }
        }
        let times = &log.time()[events.clone()];
        match self.time {
            Time::Doubles => {
                let times = times.iter().map(|&ticks| double(log, ticks));
                column::<DoubleType>(out, &times.collect::<Vec<_>>())?;
            }
            Time::Whole | Time::Decimals => column::<Int64Type>(out, times)?,
        }
        if let Some(labels) = log.labels() {
            let labels = &labels[events.clone()];
            match has_gaps(log) {
                true => labels_with_gaps(out, labels)?,
                false => column::<Int32Type>(out, labels)?,
            }
        }
        if let Some(roll) = log.roll() {
            let marks = roll[events.clone()].iter().map(|&mark| i32::from(mark));
            column::<Int32Type>(out, &marks.collect::<Vec<_>>())?;
        }
        let Some(table) = log.edge_features() else {
            return Ok(());
        };
        let width = table.width();
        let rows: Vec<u32> = events.map(|event| event as u32).collect();
        let mut values = vec![0.0f32; rows.len() * width];
        table.gather_into(&rows, &mut values);
        for at in 0..width {
            let values = values.iter().skip(at).step_by(width);
            match self.bools {
                true => {
                    column::<BoolType>(out, &values.map(|&value| value != 0.0).collect::<Vec<_>>())?
                }
                false => column::<FloatType>(out, &values.copied().collect::<Vec<_>>())?,
            }
        }
        Ok(())
    }
}

impl Time {
    fn of(log: &EventLog) -> Time {
        if log.ticks_per_unit() == 1 {
            return Time::Whole;
        }
        let exact = |&ticks: &i64| {
            let text = double(log, ticks).to_string();
            Decimal::parse(text.as_bytes()) == Ok(Decimal::of_ticks(ticks, scale(log)))
        };
        match log.time().iter().all(exact) {
            true => Time::Doubles,
            false => Time::Decimals,
        }
    }
}

fn double(log: &EventLog, ticks: i64) -> f64 {
    ticks as f64 / log.ticks_per_unit() as f64
}

/// Whether events have no label though the stream has some.
fn has_gaps(log: &EventLog) -> bool {
    log.labels()
        .is_some_and(|labels| labels.contains(&NO_LABEL))
}

/// Writes labels, and null for those that are missing.
fn labels_with_gaps(
    out: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    labels: &[i32],
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("fewer columns than the schema".to_owned());
    let mut to = out.next_column()?.ok_or_else(missing)?;
    let is_there: Vec<i16> = labels
        .iter()
        .map(|&label| i16::from(label != NO_LABEL))
        .collect();
    let labels: Vec<i32> = labels
        .iter()
        .copied()
        .filter(|&label| label != NO_LABEL)
        .collect();
    to.typed::<Int32Type>()
        .write_batch(&labels, Some(&is_there), None)?;
    to.close()
}

/// Writes `values` as the next column of a row group; a column without gaps has no levels.
pub(crate) fn column<T: DataType>(
    out: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("fewer columns than the schema".to_owned());
    let mut to = out.next_column()?.ok_or_else(missing)?;
    to.typed::<T>().write_batch(values, None, None)?;
    to.close()
}
