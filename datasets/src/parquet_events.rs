//! Parquet files: a row an event, columns found by their names.
//!
//! | column | names | types |
//! |---|---|---|
//! | source, destination, time | see `column_names` | ids: integers or text; times: integers, timestamps, dates, floats |
//! | state label, split mark | `label`, `state_label`; `ext_roll`, `roll` | integers, booleans |
//! | features | `feature_0`, `feat_1`, `f2`, …, or one list `features`, `feat`, `msg` | booleans, integers, floats |
//!
//! Timestamps and dates become Unix seconds, exactly; floats are taken as the
//! shortest decimal that stands for them. Features that are all booleans are
//! bit-packed, others become f32. Ids are one space of numbers or of text. Other
//! columns are left out with a note. Null is an error. Memory: one page of each
//! column that is read (a MiB as most writers have it), and 4,096 rows.
//! Source: <https://parquet.apache.org/docs/file-format/>.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use crate::error::{DataError, Place};
use crate::input_file::InputFile;
use crate::node_names::NodeNames;
use crate::progress::Progress;
use crate::raw_event::{Described, EventSink, FeatureRow, Position, RawEvent};

mod cursor;
mod layout;

use cursor::{Cursor, Id};
use layout::{Features, Layout};

/// Rows that are decoded at a time.
const BATCH: usize = 4096;

/// Reads `file` into `sink`.
pub(crate) fn read(file: &InputFile, sink: &mut dyn EventSink) -> Result<Described, DataError> {
    let (path, file) = (file.shown(), file.open()?);
    let reader =
        guarded(|| SerializedFileReader::new(file)).map_err(|error| damaged(path, None, &error))?;
    let metadata = reader.metadata();
    let layout = Layout::of(path, metadata.file_metadata().schema_descr())?;
    let events = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut progress = Progress::events(format!("reading {name}"), events);
    let mut names = layout.named.then(NodeNames::default);
    let mut rounded = 0;
    for group in 0..metadata.num_row_groups() {
        let rows = guarded(|| reader.get_row_group(group))
            .map_err(|error| damaged(path, Some(group), &error))?;
        rounded += read_group(
            path,
            group,
            &*rows,
            &layout,
            &mut names,
            sink,
            &mut progress,
        )?;
    }
    let mut notes = layout.notes();
    if rounded > 0 {
        notes.push(format!(
            "times with more than nine decimals, as arithmetic leaves them (0.30000000000000004): {rounded}; \
             they were rounded to nine, which changes none by more than a part in 10^12"
        ));
    }
    Ok(Described {
        node_names: names.map(NodeNames::into_names),
        edge_feature_names: layout.feature_names(),
        notes,
        ..Described::default()
    })
}

/// Returns how many times were rounded.
fn read_group(
    path: &Path,
    group: usize,
    reader: &dyn RowGroupReader,
    layout: &Layout,
    names: &mut Option<NodeNames>,
    sink: &mut dyn EventSink,
    progress: &mut Progress,
) -> Result<u64, DataError> {
    let rows = u64::try_from(reader.metadata().num_rows()).unwrap_or(0);
    let open = |column: usize| {
        let descriptor = reader.metadata().schema_descr().column(column);
        guarded(|| reader.get_column_reader(column))
            .map_err(|error| damaged(path, Some(group), &error))
            .map(|reader| Cursor::new(path, group, descriptor, reader))
    };
    let mut src = open(layout.src)?;
    let mut dst = open(layout.dst)?;
    let mut time = open(layout.time)?;
    let mut label = layout.label.map(open).transpose()?;
    let mut roll = layout.roll.map(open).transpose()?;
    let mut features = layout
        .features
        .columns()
        .iter()
        .map(|&column| open(column))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut floats, mut bits) = (Vec::new(), Vec::new());
    let mut first = 0;
    while first < rows {
        let batch = BATCH.min(usize::try_from(rows - first).unwrap_or(BATCH));
        for cursor in [&mut src, &mut dst, &mut time]
            .into_iter()
            .chain(&mut label)
            .chain(&mut roll)
            .chain(&mut features)
        {
            cursor.fill(first, batch)?;
        }
        for row in 0..batch {
            let place = Place::Row {
                group,
                row: first + row as u64,
            };
            let features = match &layout.features {
                Features::None => FeatureRow::NONE,
                Features::Columns { bools: true, .. } => {
                    pack(&mut bits, features.iter().map(|c| c.float(row) != 0.0));
                    FeatureRow::Bits {
                        width: features.len(),
                        bytes: &bits,
                    }
                }
                Features::Columns { .. } => {
                    floats.clear();
                    floats.extend(features.iter().map(|cursor| cursor.float(row)));
                    FeatureRow::Floats(&floats)
                }
                Features::List { bools, .. } => {
                    floats.clear();
                    floats.extend(features.iter().flat_map(|cursor| cursor.list(row)));
                    if *bools {
                        pack(&mut bits, floats.iter().map(|&value| value != 0.0));
                        FeatureRow::Bits {
                            width: floats.len(),
                            bytes: &bits,
                        }
                    } else {
                        FeatureRow::Floats(&floats)
                    }
                }
            };
            let at = Position { path, place };
            sink.event(RawEvent {
                at,
                src: id(&src, at, row, names)?,
                dst: id(&dst, at, row, names)?,
                time: time.time(row)?,
                label: label.as_ref().map(|c| c.integer(row)).transpose()?,
                roll: roll.as_ref().map(|c| c.mark(row)).transpose()?,
                edge_id: None,
                features,
            })?;
        }
        first += batch as u64;
        progress.advance(batch as u64);
    }
    Ok(time.rounded_times())
}

fn id(
    cursor: &Cursor<'_>,
    at: Position<'_>,
    row: usize,
    names: &mut Option<NodeNames>,
) -> Result<u64, DataError> {
    match (cursor.id(row)?, names) {
        (Id::Number(number), None) => Ok(number),
        // One column is text: then numbers are names too.
        (Id::Number(number), Some(names)) => names.number(at, &number.to_string()),
        (Id::Text(text), Some(names)) => names.number(at, text),
        (Id::Text(text), None) => Err(cursor.error(
            row,
            format!("the id is {}", crate::error::quoted(text.as_bytes())),
            "a whole number, as the column's type says",
        )),
    }
}

fn pack(bytes: &mut Vec<u8>, values: impl Iterator<Item = bool>) {
    bytes.clear();
    for (at, value) in values.enumerate() {
        if at % 8 == 0 {
            bytes.push(0);
        }
        if let Some(last) = bytes.last_mut() {
            *last |= u8::from(value) << (at % 8);
        }
    }
}

/// Runs the Parquet library, which panics on some damaged files instead of returning an error
/// (60.1.0: a negative offset in the metadata, a page that needs a dictionary that is not there).
/// What it worked on is dropped afterwards. To be removed when it no longer panics.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        Err(ParquetError::General(
            message.unwrap_or("the reader gave up").to_owned(),
        ))
    })
}

fn damaged(path: &Path, group: Option<usize>, error: &ParquetError) -> DataError {
    let place = group.map_or(String::new(), |group| format!(" in row group {group}"));
    DataError::format(
        path,
        format!("a Parquet file that cannot be read{place} ({error})"),
        "it is damaged, incomplete, or compressed with something else than snappy, gzip or zstd: copy or write it again",
    )
}
