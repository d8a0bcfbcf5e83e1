//! Takes events from a reader, checks them, and brings them into a store's shape.
//!
//! Ids and the resolution of the times are known only after the last line, so
//! events are first staged in a file of fixed-size records beside the store and
//! then rewritten; memory grows with the number of nodes, not of events (except
//! when events must be sorted: then 6 bytes per event). Features are written once,
//! in file order, and once more only if they must follow sorted events.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{DataError, Place};
use crate::fields::decimal::Decimal;
use crate::fields::raw_event::{EventSink, Position, RawEvent};
use crate::stop::Stop;
use crate::store::{FeatureFile, StoreWriter};
use crate::stream::column::Column;
use crate::stream::event_log::{IdSpaces, MAX_TIME};

mod feature_stage;
mod ids;
mod staged_events;

use feature_stage::FeatureStage;
pub(crate) use ids::Ids;
use ids::Interner;
use staged_events::{Staged, StagedEvents};

/// Few enough that nobody waits for them, enough that checking costs nothing.
const EVENTS_BETWEEN_CHECKS: usize = 1 << 12;

/// What to do about times out of order and features that are no numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defects {
    /// Both are errors.
    Refuse,
    /// Sort by time (stable); features that are no numbers are errors.
    Sort,
    /// Count both and continue, sorting by time.
    Record,
}

/// Defects that were met, with the message of the first one.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) unsorted: u64,
    pub(crate) first_unsorted: Option<String>,
    pub(crate) not_finite: u64,
    pub(crate) first_not_finite: Option<String>,
    /// What missing values of arrays were replaced by.
    pub(crate) filled: Vec<String>,
}

/// Collects the events of one file.
pub(crate) struct Intake {
    /// What messages about the whole stream name.
    path: PathBuf,
    defects: Defects,
    ids: Ids,
    folder: PathBuf,
    staged: BufWriter<File>,
    /// None if features come from a file of their own, matched by position.
    features: Option<FeatureStage>,
    sources: Interner,
    destinations: Interner,
    count: usize,
    scale: u8,
    previous: Option<(Decimal, Place)>,
    /// File of the previous event.
    previous_path: PathBuf,
    has_labels: bool,
    has_roll: bool,
    observed: Observed,
    stop: Stop,
}

/// The result: a store that lacks only separate features and its description.
pub(crate) struct Taken {
    pub(crate) writer: StoreWriter,
    pub(crate) nodes: usize,
    pub(crate) ticks_per_unit: i64,
    pub(crate) id_spaces: IdSpaces,
    /// New order of the events, if they were not sorted.
    pub(crate) order: Option<Vec<u32>>,
    pub(crate) observed: Observed,
}

impl Intake {
    /// `folder` takes the staged files and is the caller's to remove.
    pub(crate) fn new(
        path: &Path,
        defects: Defects,
        ids: Ids,
        separate_features: bool,
        folder: &Path,
        stop: Stop,
    ) -> Result<Intake, DataError> {
        Ok(Intake {
            path: path.to_path_buf(),
            defects,
            ids,
            folder: folder.to_path_buf(),
            staged: create(&folder.join("events"))?,
            features: (!separate_features).then(|| FeatureStage::new(folder.join("features"))),
            sources: Interner::default(),
            destinations: Interner::default(),
            count: 0,
            scale: 0,
            previous: None,
            previous_path: PathBuf::new(),
            has_labels: false,
            has_roll: false,
            observed: Observed::default(),
            stop,
        })
    }

    fn check_order(&mut self, event: &RawEvent<'_>) -> Result<(), DataError> {
        let same_file = self.previous_path.as_os_str() == event.at.path.as_os_str();
        if let Some((earlier, earlier_place)) = self.previous
            && event.time.precedes(earlier)
        {
            let error = DataError::Unsorted {
                path: event.at.path.to_path_buf(),
                place: event.at.place,
                time: event.time.to_string(),
                earlier_place: if same_file {
                    earlier_place.to_string()
                } else {
                    format!("{}, {earlier_place}", self.previous_path.display())
                },
                earlier: earlier.to_string(),
            };
            if self.defects == Defects::Refuse {
                return Err(error);
            }
            self.observed.unsorted += 1;
            self.observed
                .first_unsorted
                .get_or_insert_with(|| error.to_string());
        }
        self.previous = Some((event.time, event.at.place));
        if !same_file {
            self.previous_path = event.at.path.to_path_buf();
        }
        Ok(())
    }

    fn dense_id(&mut self, id: u64, destination: bool, at: Position<'_>) -> Result<u32, DataError> {
        match self.ids {
            Ids::Rows { rows, first } => id
                .checked_sub(first)
                .filter(|row| *row < rows as u64)
                .map(|row| row as u32)
                .ok_or_else(|| {
                    at.error(
                        format!("node {id}"),
                        match first {
                            0 => format!("an id below {rows}, the number of rows of the node features"),
                            _ => format!("an id from {first} to {rows}, the rows of the node features without the padding in row 0"),
                        },
                    )
                }),
            Ids::Two if destination => full(at, self.destinations.intern(id)),
            Ids::One | Ids::Two => full(at, self.sources.intern(id)),
        }
    }

    /// Rewrites the staged events into a store at `target`. If the nodes are `named`, their
    /// numbers in the file mean nothing and are not kept.
    pub(crate) fn finish(mut self, target: &Path, named: bool) -> Result<Taken, DataError> {
        let nodes = self.sources.originals.len() + self.destinations.originals.len();
        self.check_counts(nodes)?;
        self.staged
            .flush()
            .map_err(DataError::io("write into", &self.folder))?;
        let unsorted = self.observed.unsorted > 0;
        let mut staged = StagedEvents::open(
            &self.folder.join("events"),
            self.count,
            unsorted,
            &self.path,
        )?;

        let (source_ids, mut originals) = self.sources.ranks(0);
        let (destination_ids, destination_originals) =
            self.destinations.ranks(originals.len() as u32);
        let id_spaces = match self.ids {
            Ids::Two => IdSpaces::Two {
                sources: originals.len(),
            },
            Ids::One | Ids::Rows { .. } => IdSpaces::One,
        };
        originals.extend(destination_originals);
        let dense = |event: &Staged| match self.ids {
            Ids::One => (
                source_ids[event.src as usize],
                source_ids[event.dst as usize],
            ),
            Ids::Two => (
                source_ids[event.src as usize],
                destination_ids[event.dst as usize],
            ),
            Ids::Rows { .. } => (event.src, event.dst),
        };

        let mut writer = StoreWriter::create(target, self.has_labels, self.has_roll)?;
        self.write_events(&mut staged, &mut writer, dense)?;
        let order = staged.into_order();
        if let Some((from, shape)) = self
            .features
            .take()
            .map(FeatureStage::close)
            .transpose()?
            .flatten()
        {
            let file = writer.edge_features(shape)?;
            copy_rows(&from, self.count, file, order.as_deref(), &self.stop)?;
        }
        let nodes = match self.ids {
            Ids::Rows { rows, .. } => rows,
            _ if named => nodes,
            _ => {
                writer.id_map(&originals)?;
                nodes
            }
        };
        Ok(Taken {
            writer,
            nodes,
            ticks_per_unit: 10i64.pow(u32::from(self.scale)),
            id_spaces,
            order,
            observed: self.observed,
        })
    }

    fn check_counts(&self, nodes: usize) -> Result<(), DataError> {
        if self.count == 0 {
            return Err(DataError::format(
                &self.path,
                "it holds no events",
                "check that it is the right file and complete",
            ));
        }
        let most = u32::MAX as usize;
        if self.count > most || nodes > most {
            return Err(DataError::format(
                &self.path,
                format!("{} events and {nodes} nodes", self.count),
                format!("at most {most} of each are supported: divide the stream"),
            ));
        }
        Ok(())
    }

    /// Moves the staged events into a store, their ids made `dense`.
    fn write_events(
        &self,
        staged: &mut StagedEvents,
        writer: &mut StoreWriter,
        dense: impl Fn(&Staged) -> (u32, u32),
    ) -> Result<(), DataError> {
        let mut events = Vec::new();
        for first in (0..self.count).step_by(1 << 14) {
            self.stop.check()?;
            let piece = first..self.count.min(first + (1 << 14));
            staged.read(piece, &mut events)?;
            let (src, dst): (Vec<u32>, Vec<u32>) = events.iter().map(&dense).unzip();
            let mut time = Vec::with_capacity(events.len());
            for event in &events {
                let ticks = event.time().ticks(self.scale);
                let ticks = ticks.filter(|time| (-MAX_TIME..=MAX_TIME).contains(time));
                time.push(ticks.ok_or_else(|| self.too_large(event.time()))?);
            }
            writer.events(&src, &dst, &time)?;
            writer.labels(&events.iter().map(|e| e.label).collect::<Vec<_>>())?;
            writer.roll(&events.iter().map(|e| e.roll).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    fn too_large(&self, time: Decimal) -> DataError {
        DataError::Format {
            path: self.path.clone(),
            found: format!(
                "time {time} is too large beside the finest time, which has {} decimals: in units of \
                 its last decimal times may be from -{MAX_TIME} to {MAX_TIME}, so that the \
                 difference of any two fits 64 bits",
                self.scale
            ),
            remedy: "subtract an origin from the times, or round them to fewer decimals".to_owned(),
        }
    }
}

impl EventSink for Intake {
    fn check_stop(&self) -> Result<(), DataError> {
        Ok(self.stop.check()?)
    }

    fn event(&mut self, event: RawEvent<'_>) -> Result<(), DataError> {
        if self.count.is_multiple_of(EVENTS_BETWEEN_CHECKS) {
            self.check_stop()?;
        }
        self.check_order(&event)?;
        if let Some(stage) = &mut self.features {
            if let Some(error) = stage.write(&event)? {
                if self.defects != Defects::Record {
                    return Err(error);
                }
                self.observed.not_finite += 1;
                self.observed
                    .first_not_finite
                    .get_or_insert_with(|| error.to_string());
            }
        } else if let Some(id) = event.edge_id.filter(|&id| id != self.count as u64) {
            return Err(event.at.error(
                format!("event number {id}"),
                format!(
                    "{}: rows of the edge features belong to events by position; renumber both in file order",
                    self.count
                ),
            ));
        }
        self.scale = self.scale.max(event.time.scale);
        self.has_labels |= event.label.is_some();
        self.has_roll |= event.roll.is_some();
        let record = Staged {
            mantissa: event.time.mantissa,
            src: self.dense_id(event.src, false, event.at)?,
            dst: self.dense_id(event.dst, true, event.at)?,
            label: event.label.unwrap_or(0),
            scale: event.time.scale,
            roll: event.roll.unwrap_or(0),
            unused: [0; 2],
        };
        self.count += 1;
        self.staged
            .write_all(bytemuck::bytes_of(&record))
            .map_err(DataError::io("write into", &self.folder))
    }
}

/// An id's number, or an error that says that there are too many.
fn full(at: Position<'_>, number: Result<u32, String>) -> Result<u32, DataError> {
    number.map_err(|problem| {
        at.error(
            format!("the ids of the nodes before it fill the memory: {problem}"),
            "ids that fit into RAM; convert a part of the stream, or on a machine with more",
        )
    })
}

/// Moves the rows of a staged file into a feature table, in `order` if there is one.
pub(crate) fn copy_rows(
    from: &Path,
    rows: usize,
    mut to: FeatureFile,
    order: Option<&[u32]>,
    stop: &Stop,
) -> Result<(), DataError> {
    let row_bytes = to.shape.row_bytes();
    let Some(order) = order.filter(|_| row_bytes > 0) else {
        let path = to.close()?;
        // Same file system: a rename, which replaces the empty file.
        return fs::rename(from, &path)
            .map_err(DataError::io("rename the staged features to", &path));
    };
    let staged: Column<u8> = Column::map(from, rows * row_bytes)?;
    let staged = staged.as_slice();
    for rows in order.chunks(EVENTS_BETWEEN_CHECKS) {
        stop.check()?;
        for &row in rows {
            to.write_rows(&staged[row as usize * row_bytes..][..row_bytes])?;
        }
    }
    to.close().map(drop)
}

fn create(path: &Path) -> Result<BufWriter<File>, DataError> {
    Ok(BufWriter::with_capacity(
        1 << 18,
        File::create(path).map_err(DataError::io("create", path))?,
    ))
}
