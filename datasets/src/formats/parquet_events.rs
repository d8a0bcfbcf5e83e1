//! Parquet files: one row per event, columns found by their names as in every table (`schema`).
//!
//! | column | types |
//! |---|---|
//! | source, destination | integers, text, fixed bytes; floats and decimals without fractions |
//! | time | integers, floats, decimals; timestamps (INT96 too), dates; text of these |
//! | state label, split mark | integers, truth values, floats without fractions; the mark also text |
//! | features | truth values, integers, floats (of 16 bits too), decimals; lists of these of one length |
//!
//! Timestamps and dates become Unix seconds, exactly; floats are taken as the shortest decimal
//! that stands for them. Features that are all truth values are bit-packed, others become f32.
//! Null is a missing value: an error among ids and times, what `--missing` says among features.
//! Several files are one stream, in the order of their names. Memory: one page of each column
//! that is read (a MiB as most writers have it), and 4,096 rows.
//! Source: <https://parquet.apache.org/docs/file-format/>.

use std::fs::File;
use std::path::Path;

use parquet::basic::{Compression, Type};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use crate::error::{DataError, Place, quoted};
use crate::fields::decimal::Decimal;
use crate::fields::node_names::NodeNames;
use crate::fields::raw_event::{Described, EventSink, FeatureRow, Position, RawEvent, pack};
use crate::files::input_file::InputFile;
use crate::files::packed::TextFile;
use crate::formats::table::{Outcome, coarse_times, refuse_missing_id, time_hint};
use crate::progress::Progress;
use crate::schema::names::of_list;
use crate::schema::reading::{Missing, Reading, TimeUnit};
use crate::stop::Stop;

mod asked;
mod cursor;
mod guard;
mod layout;
mod values;

pub(crate) use asked::read_asked;
use cursor::{Cursor, Id};
use guard::{damaged, guarded};
use layout::Layout;

/// Rows that are decoded at a time.
const BATCH: usize = 4096;

/// Files of events, and how they are read.
pub(crate) struct ParquetEvents<'a> {
    files: &'a [TextFile],
    reading: &'a Reading,
    layout: Layout,
    /// Bits of a time, if times are floats.
    time_bits: Option<u8>,
    /// What stands for missing values of each column of features, if their means do.
    means: Option<Vec<Vec<f32>>>,
    events: u64,
}

impl<'a> ParquetEvents<'a> {
    /// Looks at the columns. With `separate_features`, those of the events are not read.
    pub(crate) fn of(
        files: &'a [TextFile],
        reading: &'a Reading,
        separate_features: bool,
        stop: &Stop,
    ) -> Result<ParquetEvents<'a>, DataError> {
        let mut found: Option<Layout> = None;
        let (mut events, mut time_bits) = (0, None);
        for file in files {
            let reader = open(&file.file)?;
            let metadata = reader.metadata().file_metadata();
            events += u64::try_from(metadata.num_rows()).unwrap_or(0);
            let columns = metadata.schema_descr();
            let layout = Layout::of(&file.shown, columns, reading, separate_features)?;
            check_codecs(&file.shown, reader.metadata(), &layout)?;
            time_bits = match columns.column(layout.schema.time).physical_type() {
                Type::FLOAT => Some(32),
                Type::DOUBLE => Some(64),
                _ => None,
            };
            match &found {
                None => found = Some(layout),
                Some(first) if *first == layout => {}
                Some(first) => {
                    return Err(DataError::format(
                        &file.shown,
                        format!(
                            "its columns ({}) are not those of {} ({}), or of other types",
                            layout.schema.names.join(", "),
                            files[0].shown.display(),
                            first.schema.names.join(", ")
                        ),
                        "parts of one stream have the same columns: write them alike, or name the file itself",
                    ));
                }
            }
        }
        let layout =
            found.ok_or_else(|| DataError::Option("no Parquet file was named".to_owned()))?;
        let mut all = ParquetEvents {
            files,
            reading,
            layout,
            time_bits,
            means: None,
            events,
        };
        if reading.missing == Missing::Mean {
            all.means = Some(all.find_means(stop)?);
        }
        Ok(all)
    }

    pub(crate) fn two_spaces(&self) -> bool {
        self.layout.schema.two_spaces
    }

    /// Reads everything into `sink`; again, after the column of labels proved to be none.
    pub(crate) fn read(&mut self, sink: &mut dyn EventSink) -> Result<Outcome, DataError> {
        let name = self.files[0]
            .shown
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let mut rows = Rows {
            of: self,
            sources: NodeNames::default(),
            destinations: NodeNames::default(),
            progress: Progress::events(format!("reading {name}"), self.events),
            first_time: None,
            last_time: None,
            missing: vec![0; self.layout.features.len()],
            dates: None,
            widths: Vec::new(),
            names: Vec::new(),
            titles: Vec::new(),
            no_label: None,
            rounded: 0,
        };
        for file in self.files {
            let reader = open(&file.file)?;
            for group in 0..reader.metadata().num_row_groups() {
                let (group, one) = row_group(&file.file, &reader, group)?;
                rows.group(&file.shown, group, &*one, sink)?;
                if let Some(why) = rows.no_label.take() {
                    self.layout.left_out.push(why);
                    self.layout.label = None;
                    return Ok(Outcome::Again);
                }
            }
        }
        Ok(Outcome::Read(rows.described()))
    }

    /// The mean of the values of each number of a row, by columns of features, over all files.
    fn find_means(&self, stop: &Stop) -> Result<Vec<Vec<f32>>, DataError> {
        let mut sums = vec![Vec::<(f64, u64)>::new(); self.layout.features.len()];
        for file in self.files {
            let reader = open(&file.file)?;
            for group in 0..reader.metadata().num_row_groups() {
                let (group, rows) = row_group(&file.file, &reader, group)?;
                for (sums, &column) in sums.iter_mut().zip(&self.layout.features) {
                    let mut cursor = cursor(&file.shown, group, &*rows, column)?;
                    each_batch(&*rows, |first, batch| {
                        stop.check()?;
                        cursor.fill(first, batch)?;
                        for row in 0..batch {
                            for (at, value) in cursor.floats(row).enumerate() {
                                if at == sums.len() {
                                    sums.push((0.0, 0));
                                }
                                if !value.is_nan() {
                                    sums[at].0 += f64::from(value);
                                    sums[at].1 += 1;
                                }
                            }
                        }
                        Ok(())
                    })?;
                }
            }
        }
        let titles = self.layout.features.iter();
        let titles = titles.map(|&at| self.layout.schema.title(at));
        let of_column = |(sums, title): (Vec<(f64, u64)>, String)| -> Result<Vec<f32>, DataError> {
            if sums.iter().any(|&(_, count)| count == 0) {
                let found = format!("{title} has no value that a mean could be taken of");
                let remedy =
                    "leave it out of the features, or have what is missing be 0 (--missing zero)";
                return Err(DataError::format(&self.files[0].shown, found, remedy));
            }
            let mean = |(sum, count)| (sum / count as f64) as f32;
            Ok(sums.into_iter().map(mean).collect())
        };
        sums.into_iter().zip(titles).map(of_column).collect()
    }
}

/// What is kept from row to row.
struct Rows<'a> {
    of: &'a ParquetEvents<'a>,
    sources: NodeNames,
    /// Used where destinations have ids of their own.
    destinations: NodeNames,
    progress: Progress,
    first_time: Option<Decimal>,
    last_time: Option<Decimal>,
    /// Values that were missing, a count for each column of features.
    missing: Vec<u64>,
    /// Whether times are dates; the first one decides.
    dates: Option<bool>,
    /// Numbers in a row of each column of features, of those met so far.
    widths: Vec<usize>,
    /// What the features of these are called, and the same for messages.
    names: Vec<String>,
    titles: Vec<String>,
    /// Why the column of labels holds none.
    no_label: Option<String>,
    /// Times that had more decimals than count, as arithmetic leaves them, and were rounded.
    rounded: u64,
}

impl Rows<'_> {
    fn group(
        &mut self,
        path: &Path,
        group: Option<u32>,
        reader: &dyn RowGroupReader,
        sink: &mut dyn EventSink,
    ) -> Result<(), DataError> {
        let of = self.of;
        let layout = &of.layout;
        let open = |column: usize| cursor(path, group, reader, column);
        let mut src = open(layout.schema.src)?;
        let mut dst = open(layout.schema.dst)?;
        let mut time = open(layout.schema.time)?;
        let mut label = layout.label.map(open).transpose()?;
        let mut roll = layout.schema.split.map(open).transpose()?;
        let mut features = (layout.features.iter())
            .map(|&column| open(column))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut floats, mut bits) = (Vec::new(), Vec::new());
        each_batch(reader, |first, batch| {
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
                let moment = time.event_time(row, of.reading, &mut self.dates)?;
                self.first_time.get_or_insert(moment);
                self.last_time = Some(moment);
                if let Some(cursor) = &label
                    && cursor.label(row).is_none()
                {
                    self.refuse_label(cursor, row, place)?;
                    return Ok(());
                }
                self.features(&features, row, &mut floats)?;
                let at = Position { path, place };
                sink.event(RawEvent {
                    at,
                    src: self.id(&src, at, row, false)?,
                    dst: self.id(&dst, at, row, true)?,
                    time: moment,
                    label: label.as_ref().and_then(|cursor| cursor.label(row)),
                    roll: roll.as_ref().map(|cursor| cursor.mark(row)).transpose()?,
                    edge_id: None,
                    features: match layout.bools {
                        true => {
                            pack(&mut bits, floats.iter().map(|&value| value != 0.0));
                            FeatureRow::Bits {
                                width: floats.len(),
                                bytes: &bits,
                            }
                        }
                        false => FeatureRow::Floats(&floats),
                    },
                    titles: &self.titles,
                })?;
            }
            self.progress.advance(batch as u64);
            Ok(())
        })?;
        self.rounded += time.rounded_times();
        Ok(())
    }

    /// Notes that the column of labels holds none, or refuses it if it was chosen by hand.
    fn refuse_label(
        &mut self,
        cursor: &Cursor<'_>,
        row: usize,
        place: Place,
    ) -> Result<(), DataError> {
        let layout = &self.of.layout;
        let value = cursor.no_label(row);
        if layout.schema.chosen_label {
            return Err(cursor.error(
                row,
                format!("the label is {value}"),
                "a whole number of 32 bits",
            ));
        }
        let title = layout
            .label
            .map_or(String::new(), |at| layout.schema.title(at));
        self.no_label.get_or_insert(format!(
            "{title} (labels are whole numbers of 32 bits, and {place} has {value}; link prediction needs none)"
        ));
        Ok(())
    }

    /// The row's features, with what stands for missing ones.
    fn features(
        &mut self,
        cursors: &[Cursor<'_>],
        row: usize,
        floats: &mut Vec<f32>,
    ) -> Result<(), DataError> {
        floats.clear();
        for (at, cursor) in cursors.iter().enumerate() {
            let refused = self.of.reading.missing == Missing::Error;
            let before = floats.len();
            floats.extend(cursor.floats(row));
            self.name_features(at, floats.len() - before, cursor, row)?;
            let numbers = floats[before..].iter_mut().enumerate();
            for (number, value) in numbers.filter(|(_, value)| value.is_nan()) {
                self.missing[at] += 1;
                if !refused {
                    let means = self.of.means.as_ref();
                    *value = means.map_or(0.0, |means| means[at][number]);
                }
            }
            if self.of.layout.bools
                && refused
                && floats[before..].iter().any(|value| value.is_nan())
            {
                return Err(cursor.error(row, "null", "true or false; or --missing zero"));
            }
        }
        Ok(())
    }

    /// Names the features of a column at its first row: a list's by their places in it. Later rows are as wide.
    fn name_features(
        &mut self,
        at: usize,
        width: usize,
        cursor: &Cursor<'_>,
        row: usize,
    ) -> Result<(), DataError> {
        match self.widths.get(at) {
            Some(&expected) if width == expected => return Ok(()),
            Some(expected) => {
                let found = format!("a list of {width} numbers");
                return Err(cursor.error(row, found, format!("{expected}, as in the rows before")));
            }
            None => self.widths.push(width),
        }
        let layout = &self.of.layout;
        let name = &layout.schema.names[layout.features[at]];
        let names: Vec<String> = match cursor.is_list() {
            true => (0..width).map(|place| of_list(name, place)).collect(),
            false => vec![name.clone()],
        };
        let titles = names.iter().map(|name| quoted(name.as_bytes()));
        self.titles.extend(titles);
        self.names.extend(names);
        Ok(())
    }

    fn id(
        &mut self,
        cursor: &Cursor<'_>,
        at: Position<'_>,
        row: usize,
        destination: bool,
    ) -> Result<u64, DataError> {
        let layout = &self.of.layout;
        let cell = cursor.id(row)?;
        if !layout.text_ids {
            return match cell {
                Id::Number(number) => Ok(number),
                Id::Text(text) => cursor.number_of(row, text),
            };
        }
        let names = match destination && layout.schema.two_spaces {
            true => &mut self.destinations,
            false => &mut self.sources,
        };
        match cell {
            // One column is text: then numbers are names too.
            Id::Number(number) => names.number(at, &number.to_string()),
            Id::Text(text) => {
                let what = ["the source", "the destination"][usize::from(destination)];
                refuse_missing_id(at, text.as_bytes(), what, self.of.reading)?;
                names.number(at, text)
            }
        }
    }

    fn described(self) -> Described {
        let ParquetEvents {
            layout, reading, ..
        } = self.of;
        let mut notes: Vec<String> = layout.mixed_ids.iter().cloned().collect();
        let missing: u64 = self.missing.iter().sum();
        if missing > 0 && reading.missing != Missing::Error {
            let columns: Vec<String> = (layout.features.iter().zip(&self.missing))
                .filter(|(_, count)| **count > 0)
                .map(|(at, count)| format!("{count} in {}", layout.schema.title(*at)))
                .take(12)
                .collect();
            let by = match reading.missing {
                Missing::Mean => "the mean of their column",
                _ => "0",
            };
            notes.push(format!(
                "values of features that are missing: {missing} ({}); each is {by}",
                columns.join(", ")
            ));
        }
        if reading.time_unit == TimeUnit::Auto && reading.like.is_none() {
            notes.extend(
                self.first_time
                    .and_then(|time| time_hint(time, reading.time_unit)),
            );
        }
        if let (Some(last), Some(bits)) = (self.last_time, self.of.time_bits) {
            let title = layout.schema.title(layout.schema.time);
            notes.extend(coarse_times(&title, last, reading.time_unit, bits));
        }
        if self.rounded > 0 {
            notes.push(format!(
                "times with more than nine decimals, as arithmetic leaves them (0.30000000000000004): {}; \
                 they were rounded to nine, which changes none by more than a part in 10^12",
                self.rounded
            ));
        }
        if !layout.left_out.is_empty() {
            notes.push(format!(
                "columns that are left out: {}",
                layout.left_out.join(", ")
            ));
        }
        Described {
            node_names: layout.text_ids.then(|| {
                let mut names = self.sources.into_names();
                names.extend(self.destinations.into_names());
                names
            }),
            edge_feature_names: (!self.names.is_empty()).then_some(self.names),
            notes,
            columns: Some(
                layout
                    .schema
                    .as_choice(&layout.features, layout.label.is_some()),
            ),
            ..Described::default()
        }
    }
}

fn open(file: &InputFile) -> Result<SerializedFileReader<File>, DataError> {
    let (path, file) = (file.shown(), file.open()?);
    guarded(|| SerializedFileReader::new(file)).map_err(|error| damaged(path, None, &error))
}

/// Row group `number` of a file, and what messages call it.
fn row_group<'r>(
    file: &InputFile,
    reader: &'r SerializedFileReader<File>,
    number: usize,
) -> Result<(Option<u32>, Box<dyn RowGroupReader + 'r>), DataError> {
    let shown = file.row_group(number);
    guarded(|| reader.get_row_group(number))
        .map(|rows| (shown, rows))
        .map_err(|error| damaged(file.shown(), shown, &error))
}

fn cursor<'a>(
    path: &'a Path,
    group: Option<u32>,
    reader: &dyn RowGroupReader,
    column: usize,
) -> Result<Cursor<'a>, DataError> {
    let descriptor = reader.metadata().schema_descr().column(column);
    guarded(|| reader.get_column_reader(column))
        .map_err(|error| damaged(path, group, &error))
        .map(|reader| Cursor::new(path, group, descriptor, reader))
}

/// Calls `work` with the first row and the length of each batch of a row group.
fn each_batch(
    reader: &dyn RowGroupReader,
    mut work: impl FnMut(u64, usize) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let rows = u64::try_from(reader.metadata().num_rows()).unwrap_or(0);
    let mut first = 0;
    while first < rows {
        let batch = BATCH.min(usize::try_from(rows - first).unwrap_or(BATCH));
        work(first, batch)?;
        first += batch as u64;
    }
    Ok(())
}

/// Refuses what is compressed in a way that this build does not unpack, with the way out.
fn check_codecs(path: &Path, file: &ParquetMetaData, layout: &Layout) -> Result<(), DataError> {
    let schema = &layout.schema;
    let columns = [schema.src, schema.dst, schema.time].into_iter();
    let columns = columns.chain(layout.label).chain(schema.split);
    let columns: Vec<usize> = columns.chain(layout.features.iter().copied()).collect();
    for group in file.row_groups() {
        for &column in &columns {
            let codec = group.column(column).compression();
            let read = matches!(
                codec,
                Compression::UNCOMPRESSED
                    | Compression::SNAPPY
                    | Compression::GZIP(_)
                    | Compression::ZSTD(_)
            );
            if !read {
                let name = format!("{codec:?}").to_lowercase();
                let name = name.split('(').next().unwrap_or_default();
                return Err(DataError::format(
                    path,
                    format!(
                        "the column {} is compressed with {name}",
                        schema.title(column)
                    ),
                    "snappy, gzip, zstd or none are read: write it again, with pandas \
                     df.to_parquet(FILE, compression='zstd'), with polars df.write_parquet(FILE, compression='zstd')",
                ));
            }
        }
    }
    Ok(())
}
