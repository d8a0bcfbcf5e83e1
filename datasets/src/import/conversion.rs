//! Converts files of events and features into a store.
//!
//! Runs the reader of a source into an [`Intake`], adds features that come in
//! files of their own and finishes the store. Nothing is left behind when it
//! fails. Everything is streamed: memory holds a few MiB of buffers, 16 bytes or
//! so and the name of each node, and, if events must be sorted, 6 bytes per event.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

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
use crate::store::{FeatureShape, Stream};
use crate::stream::event_log::{EventLog, IdSpaces};
use crate::stream::features::FeatureType;
use crate::stream::names::Names;

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
        let mut edge_features = open_table(self.edge_features.as_ref(), "edge_features")?;
        let mut node_features = open_table(self.node_features.as_ref(), "node_features")?;

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
        let mut notes = Vec::new();
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
        let mut file = taken.writer.node_features(shape(table))?;
        copy_table(table, defects, &mut taken.observed, |bytes| {
            self.stop.check()?;
            file.write_rows(bytes)
        })?;
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
        let mut file = taken.writer.edge_features(shape(table))?;
        let Some(order) = taken.order.as_deref() else {
            copy_table(table, defects, &mut taken.observed, |bytes| {
                self.stop.check()?;
                file.write_rows(bytes)
            })?;
            return file.close().map(drop);
        };
        let staged = staging.join("separate-features");
        let mut out = File::create(&staged).map_err(DataError::io("create", &staged))?;
        copy_table(table, defects, &mut taken.observed, |bytes| {
            self.stop.check()?;
            out.write_all(bytes)
                .map_err(DataError::io("write", &staged))
        })?;
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

/// Adds what the reader found beside the events; returns all names.
fn add_described(
    taken: &mut Taken,
    described: Described,
    separate_features: bool,
) -> Result<Names, DataError> {
    let mut names = Names {
        nodes: described.node_names,
        edge_features: described.edge_feature_names.filter(|_| !separate_features),
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

/// Passes all rows on as stored bytes, looking for values that are not finite.
fn copy_table(
    table: &mut ArrayReader,
    defects: Defects,
    observed: &mut Observed,
    mut write: impl FnMut(&[u8]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let width = table.width();
    let row_bytes = shape(table).row_bytes().max(1);
    let piece_rows = (1 << 22) / row_bytes + 1;
    let path = table.path().to_path_buf();
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let mut progress =
        Progress::bytes(format!("reading {name}"), (table.rows() * row_bytes) as u64);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let first_row = table.next_row();
        let rows = table.read_rows(piece_rows, &mut bytes)?;
        if rows == 0 {
            return Ok(());
        }
        for at in not_finite(table.feature_type(), &bytes) {
            let problem = format!(
                "row {}, column {} is not finite (NaN or infinite, or too large for f32); correct the value",
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
        write(&bytes)?;
        progress.advance(bytes.len() as u64);
    }
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
