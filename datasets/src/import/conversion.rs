//! Converts files of events and features into a store.
//!
//! Runs the reader of a source into an [`Intake`], adds features that come in
//! files of their own and finishes the store. Nothing is left behind when it
//! fails. Everything is streamed: memory holds a few MiB of buffers, 16 bytes or
//! so and the name of each node, and, if events must be sorted, 6 bytes per event.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use half::f16;

use crate::arrays::{ArrayFile, ArrayReader};
use crate::error::DataError;
use crate::fields::raw_event::{Described, NodeBits};
use crate::files::packed::TextFile;
use crate::files::scratch::Scratch;
use crate::formats::detect::text_head;
use crate::formats::format::Format;
use crate::formats::gdelt;
use crate::formats::parquet_events::ParquetEvents;
use crate::formats::table::{EventTable, Outcome};
use crate::import::intake::{Defects, Ids, Intake, Observed, Taken, copy_rows};
use crate::import::source::RawSource;
use crate::progress::Progress;
use crate::schema::reading::{Missing, Reading};
use crate::stop::Stop;
use crate::store::{FeatureShape, Stream};
use crate::stream::event_log::{EventLog, IdSpaces};
use crate::stream::features::FeatureType;
use crate::stream::names::Names;

/// Names of the arrays that are taken of several in an `.npz` file.
const EDGE_FEATURES: &str = "edge_features";
const NODE_FEATURES: &str = "node_features";

/// A store made from files.
pub(crate) struct Converted {
    pub(crate) log: EventLog,
    pub(crate) observed: Observed,
    /// How columns were read, as `--columns` would say it.
    pub(crate) columns: Option<String>,
}

impl RawSource {
    /// Reads everything into a new store at `target`.
    pub(crate) fn convert(&self, defects: Defects, target: &Path) -> Result<Converted, DataError> {
        // Before anything is created, so that it is dropped after everything is removed.
        let _unfinished = self.stop.unfinished();
        let (staging, _) = Scratch::beside(target)?;
        let state = self.state()?;
        let mut edge_features = open_table(self.edge_features.as_ref(), EDGE_FEATURES)?;
        let mut node_features = open_table(self.node_features.as_ref(), NODE_FEATURES)?;

        let path = self.event_path();
        let take = |two_spaces: bool| {
            let ids = self.ids(node_features.as_ref(), two_spaces);
            let separate = edge_features.is_some();
            Intake::new(
                path,
                defects,
                ids,
                separate,
                staging.path(),
                self.stop.clone(),
            )
        };
        let mut notes: Vec<String> = (self.events.iter().chain(&self.labels))
            .filter_map(|text| text.note.clone())
            .collect();
        let (intake, mut described) = self.read(take, edge_features.is_some(), &mut notes)?;
        notes.append(&mut described.notes);
        let named = described.node_names.is_some();
        if let (true, Some(table)) = (named, &node_features) {
            return Err(nodes_without_numbers(table, path));
        }
        let mut taken = intake.finish(target, named)?;
        if defects == Defects::Sort && taken.observed.unsorted > 0 {
            notes.push(format!(
                "events that came after a later one: {}; all events were sorted by time",
                taken.observed.unsorted
            ));
        }
        if let Some(table) = &mut edge_features {
            self.add_edge_features(table, &described, staging.path(), &mut taken, defects)?;
        }
        if let Some(table) = &mut node_features {
            self.add_node_features(table, &mut taken, defects)?;
        }
        notes.append(&mut taken.observed.filled);
        let columns = described.columns.take();
        let names = add_described(&mut taken, described, edge_features.is_some())?;
        if !names.is_empty() {
            taken.writer.names(&names)?;
        }
        self.refuse_changes_since(&state)?;
        let log = taken.writer.finish(
            Stream {
                name: self.name.clone(),
                origin: self.path.display().to_string(),
                synthetic: false,
                nodes: taken.nodes,
                ticks_per_unit: taken.ticks_per_unit,
                id_spaces: taken.id_spaces,
                reading: Reading {
                    like: None,
                    ..self.reading.clone()
                },
                notes,
            },
            &self.stop,
        )?;
        Ok(Converted {
            log,
            observed: taken.observed,
            columns,
        })
    }

    /// Compares the files with what they were like before they were read.
    fn refuse_changes_since(&self, state: &[(PathBuf, String)]) -> Result<(), DataError> {
        match (state.iter().zip(self.state()?)).find(|(then, now)| *then != now) {
            None => Ok(()),
            Some((then, _)) => Err(DataError::format(
                &then.0,
                "it was changed while it was read",
                "convert it when nothing writes into it any more, or a copy of it",
            )),
        }
    }

    /// How ids become dense.
    fn ids(&self, node_features: Option<&ArrayReader>, two_spaces: bool) -> Ids {
        match node_features {
            _ if two_spaces => Ids::Two,
            // Row 0 is padding: ids start at 1.
            Some(table) if self.format == Format::DgbCsv => Ids::Rows {
                rows: table.rows().saturating_sub(1),
                first: 1,
            },
            Some(table) => Ids::Rows {
                rows: table.rows(),
                first: 0,
            },
            None => Ids::One,
        }
    }

    /// Reads the events into an intake that `take` makes, knowing whether ids are two spaces.
    fn read(
        &self,
        take: impl Fn(bool) -> Result<Intake, DataError>,
        separate_features: bool,
        notes: &mut Vec<String>,
    ) -> Result<(Intake, Described), DataError> {
        let Some(events) = self.events.first() else {
            return Err(DataError::format(
                &self.path,
                "no event file",
                "name the event file itself",
            ));
        };
        match self.format {
            Format::Parquet => {
                let mut parquet =
                    ParquetEvents::of(&self.events, &self.reading, separate_features, &self.stop)?;
                loop {
                    let mut intake = take(parquet.two_spaces())?;
                    if let Outcome::Read(described) = parquet.read(&mut intake)? {
                        return Ok((intake, described));
                    }
                }
            }
            Format::Gdelt => {
                let mut intake = take(false)?;
                let described = gdelt::read(&self.events, &mut intake)?;
                Ok((intake, described))
            }
            format => {
                let head = text_head(events)?;
                let mut table =
                    EventTable::of(events, &head, format, &self.reading, separate_features)?;
                let labels = self.fitting_labels(&table, notes)?;
                loop {
                    let mut intake = take(table.schema.two_spaces)?;
                    match table.read(labels, &mut intake)? {
                        Outcome::Read(described) => return Ok((intake, described)),
                        Outcome::Again => table.look_through(&self.stop)?,
                    }
                }
            }
        }
    }

    /// The file of labels, if there is one and it is of these events.
    fn fitting_labels(
        &self,
        table: &EventTable<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Option<&TextFile>, DataError> {
        let Some(labels) = &self.labels else {
            return Ok(None);
        };
        Ok(match table.labels_fit(labels, &self.stop)? {
            Ok(()) => Some(labels),
            Err(why) => {
                notes.push(format!("{} was left out: {why}", labels.shown.display()));
                None
            }
        })
    }

    /// What stands for missing values of the array `file`, for each column, which `table` reads from
    /// its next row on; None where they are refused.
    fn fills(
        &self,
        file: Option<&ArrayFile>,
        preferred: &str,
        table: &ArrayReader,
    ) -> Result<Option<Vec<f32>>, DataError> {
        let (width, mut sums) = (table.width(), vec![(0.0f64, 0u64); table.width()]);
        match (self.reading.missing, file) {
            (Missing::Zero, _) => return Ok(Some(vec![0.0; width])),
            (Missing::Mean, Some(file)) if table.feature_type() != FeatureType::Bits => {
                let mut again = file.open(preferred)?;
                again.read_rows(table.next_row(), &mut Vec::new())?;
                let mut bytes = Vec::new();
                while again.read_rows(piece_rows(table), &mut bytes)? > 0 {
                    self.stop.check()?;
                    for (at, value) in floats(table.feature_type(), &bytes).enumerate() {
                        if !value.is_nan() {
                            let (sum, count) = &mut sums[at % width];
                            (*sum, *count) = (*sum + f64::from(value), *count + 1);
                        }
                    }
                    bytes.clear();
                }
            }
            _ => return Ok(None),
        }
        let mean = |(sum, count): (f64, u64)| (sum / count as f64) as f32;
        Ok(Some(sums.into_iter().map(mean).collect()))
    }

    fn add_node_features(
        &self,
        table: &mut ArrayReader,
        taken: &mut Taken,
        defects: Defects,
    ) -> Result<(), DataError> {
        if self.format == Format::DgbCsv {
            skip_row(table)?;
        }
        check_node_rows(table, &taken.id_spaces, taken.nodes)?;
        let fills = self.fills(self.node_features.as_ref(), NODE_FEATURES, table)?;
        let mut file = taken.writer.node_features(shape(table))?;
        let observed = &mut taken.observed;
        copy_table(
            table,
            fills.as_deref(),
            defects,
            observed,
            &self.stop,
            |bytes| file.write_rows(bytes),
        )?;
        file.close().map(drop)
    }

    fn add_edge_features(
        &self,
        table: &mut ArrayReader,
        described: &Described,
        staging: &Path,
        taken: &mut Taken,
        defects: Defects,
    ) -> Result<(), DataError> {
        let events = taken.writer.count();
        if described.padding_row && table.rows() == events + 1 {
            skip_row(table)?;
        }
        if table.rows() != events {
            return Err(DataError::array(
                table.path(),
                format!(
                    "{} rows found, {events} expected, one for each event of {}{}; give the features of this very file",
                    table.rows(),
                    self.event_path().display(),
                    if described.padding_row {
                        ", or one more with padding in row 0"
                    } else {
                        ""
                    }
                ),
            ));
        }
        let fills = self.fills(self.edge_features.as_ref(), EDGE_FEATURES, table)?;
        let mut file = taken.writer.edge_features(shape(table))?;
        let observed = &mut taken.observed;
        let Some(order) = taken.order.as_deref() else {
            copy_table(
                table,
                fills.as_deref(),
                defects,
                observed,
                &self.stop,
                |bytes| file.write_rows(bytes),
            )?;
            return file.close().map(drop);
        };
        let staged = staging.join("separate-features");
        let mut out = File::create(&staged).map_err(DataError::io("create", &staged))?;
        copy_table(
            table,
            fills.as_deref(),
            defects,
            observed,
            &self.stop,
            |bytes| {
                out.write_all(bytes)
                    .map_err(DataError::io("write", &staged))
            },
        )?;
        drop(out);
        copy_rows(&staged, events, file, Some(order), &self.stop)
    }
}

fn open_table(file: Option<&ArrayFile>, name: &str) -> Result<Option<ArrayReader>, DataError> {
    let table = file.map(|file| file.open(name)).transpose()?;
    if let Some(table) = table.as_ref().filter(|table| table.width() == 0) {
        return Err(DataError::array(
            table.path(),
            "rows without values; leave the file out",
        ));
    }
    Ok(table)
}

fn nodes_without_numbers(table: &ArrayReader, events: &Path) -> DataError {
    DataError::array(
        table.path(),
        format!(
            "rows of node features belong to ids that are numbers, but those of {} are text; number the nodes first",
            events.display()
        ),
    )
}

fn skip_row(table: &mut ArrayReader) -> Result<(), DataError> {
    table.read_rows(1, &mut Vec::new()).map(drop)
}

/// Whether no two names are the same: else none says which column is meant.
fn tell_apart(names: &[String]) -> bool {
    let mut known = HashSet::new();
    names.iter().all(|name| known.insert(name))
}

/// Adds what the reader found beside the events; returns all names.
fn add_described(
    taken: &mut Taken,
    described: Described,
    separate_features: bool,
) -> Result<Names, DataError> {
    let mut names = Names {
        nodes: described.node_names,
        edge_features: (described.edge_feature_names)
            .filter(|names| !separate_features && tell_apart(names)),
        node_features: None,
    };
    if let Some(NodeBits {
        names: columns,
        bytes,
    }) = described.node_features
    {
        let mut file = taken.writer.node_features(FeatureShape {
            feature_type: FeatureType::Bits,
            width: columns.len(),
        })?;
        file.write_rows(&bytes)?;
        file.close()?;
        names.node_features = Some(columns);
    }
    Ok(names)
}

fn shape(table: &ArrayReader) -> FeatureShape {
    FeatureShape {
        feature_type: table.feature_type(),
        width: table.width(),
    }
}

/// Node features of a stream with two id spaces belong to users, then items.
fn check_node_rows(
    table: &ArrayReader,
    id_spaces: &IdSpaces,
    nodes: usize,
) -> Result<(), DataError> {
    if table.rows() == nodes {
        return Ok(());
    }
    let whose = match id_spaces {
        IdSpaces::Two { sources } => format!(
            "{sources} users, then {} items, each in ascending order of their ids",
            nodes - sources
        ),
        IdSpaces::One => "one for each node".to_owned(),
    };
    Err(DataError::array(
        table.path(),
        format!("{} rows found, {nodes} expected: {whose}", table.rows()),
    ))
}

/// Rows of some 4 MiB.
fn piece_rows(table: &ArrayReader) -> usize {
    (1 << 22) / shape(table).row_bytes().max(1) + 1
}

/// The values of stored rows.
fn floats(feature_type: FeatureType, bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (whole, half): (&[[u8; 4]], &[[u8; 2]]) = match feature_type {
        FeatureType::F32 => (bytes.as_chunks().0, &[]),
        FeatureType::F16 => (&[], bytes.as_chunks().0),
        FeatureType::Bits => (&[], &[]),
    };
    let half = half.iter().map(|&value| f16::from_le_bytes(value).to_f32());
    whole
        .iter()
        .map(|&value| f32::from_le_bytes(value))
        .chain(half)
}

/// Puts what stands for missing values, one for each column, into stored rows; how many there were.
fn fill_in(feature_type: FeatureType, bytes: &mut [u8], fills: &[f32]) -> u64 {
    let missing: Vec<usize> = (floats(feature_type, bytes).enumerate())
        .filter(|(_, value)| value.is_nan())
        .map(|(at, _)| at)
        .collect();
    for &at in &missing {
        let fill = fills[at % fills.len()];
        match feature_type {
            FeatureType::F32 => bytes.as_chunks_mut().0[at] = fill.to_le_bytes(),
            FeatureType::F16 => bytes.as_chunks_mut().0[at] = f16::from_f32(fill).to_le_bytes(),
            FeatureType::Bits => {}
        }
    }
    missing.len() as u64
}

/// Passes all rows on as stored bytes until `stop`, with `fills` for missing values, looking for
/// values that are not finite.
fn copy_table(
    table: &mut ArrayReader,
    fills: Option<&[f32]>,
    defects: Defects,
    observed: &mut Observed,
    stop: &Stop,
    mut write: impl FnMut(&[u8]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let width = table.width();
    let row_bytes = shape(table).row_bytes().max(1);
    let piece_rows = piece_rows(table);
    let path = table.path().to_path_buf();
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let mut progress =
        Progress::bytes(format!("reading {name}"), (table.rows() * row_bytes) as u64);
    let (mut bytes, mut filled) = (Vec::new(), 0);
    loop {
        bytes.clear();
        let first_row = table.next_row();
        let rows = table.read_rows(piece_rows, &mut bytes)?;
        if rows == 0 {
            break;
        }
        if let Some(fills) = fills {
            filled += fill_in(table.feature_type(), &mut bytes, fills);
        }
        for at in not_finite(table.feature_type(), &bytes) {
            let problem = format!(
                "row {}, column {} is not finite (NaN or infinite, or too large for f32); correct the value, or fill in NaN with --missing zero or --missing mean",
                first_row + at / width,
                at % width
            );
            if defects != Defects::Record {
                return Err(DataError::array(&path, problem));
            }
            observed.not_finite += 1;
            observed
                .first_not_finite
                .get_or_insert_with(|| format!("{}: {problem}", path.display()));
        }
        stop.check()?;
        write(&bytes)?;
        progress.advance(bytes.len() as u64);
    }
    if filled > 0 {
        let by = match fills.is_some_and(|fills| fills.iter().all(|fill| *fill == 0.0)) {
            true => "0",
            false => "the mean of its column",
        };
        let note = format!(
            "values of {} that are missing: {filled}; each is {by}",
            path.display()
        );
        observed.filled.push(note);
    }
    Ok(())
}

/// Positions of values that are not finite: all exponent bits set.
fn not_finite(feature_type: FeatureType, bytes: &[u8]) -> Vec<usize> {
    let positions =
        |bad: &dyn Fn(usize) -> bool, count: usize| (0..count).filter(|&i| bad(i)).collect();
    match feature_type {
        FeatureType::Bits => Vec::new(),
        FeatureType::F32 => {
            let values = bytes.as_chunks::<4>().0;
            positions(
                &|i| !f32::from_le_bytes(values[i]).is_finite(),
                values.len(),
            )
        }
        FeatureType::F16 => {
            let values = bytes.as_chunks::<2>().0;
            positions(
                &|i| !half::f16::from_le_bytes(values[i]).is_finite(),
                values.len(),
            )
        }
    }
}
