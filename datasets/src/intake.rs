//! Takes events from a reader, checks them, and brings them into a store's shape.
//!
//! Ids and the resolution of the times are known only after the last line, so
//! events are first staged in a file of fixed-size records beside the store and
//! then rewritten; memory grows with the number of nodes, not of events (except
//! when events must be sorted: then 12 bytes an event). Features are written
//! once, in file order, and once more only if they must follow sorted events.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};

use crate::column::Column;
use crate::decimal::Decimal;
use crate::error::DataError;
use crate::event_log::IdSpaces;
use crate::features::FeatureType;
use crate::raw_event::{EventSink, RawEvent};
use crate::store::{FeatureFile, FeatureShape, StoreWriter};

/// What to do about times out of order and features that are no numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defects {
    /// Both are errors.
    Refuse,
    /// Sort by time (stable); features that are no numbers are errors.
    Sort,
    /// Count both and go on, sorting by time.
    Record,
}

/// Defects that were met, with the message of the first one.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) unsorted: u64,
    pub(crate) first_unsorted: Option<String>,
    pub(crate) not_finite: u64,
    pub(crate) first_not_finite: Option<String>,
}

/// How ids of the file become dense.
pub(crate) enum Ids {
    /// One space: ascending order of the original ids.
    One,
    /// Sources first, then destinations, each in ascending order.
    Two,
    /// Ids are row numbers of a node feature table of so many rows.
    Rows(usize),
}

/// An event as staged; `time` is the mantissa of a decimal with `scale`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Staged {
    mantissa: i64,
    src: u32,
    dst: u32,
    label: i32,
    scale: u8,
    roll: u8,
    unused: [u8; 2],
}

impl Staged {
    fn time(&self) -> Decimal {
        Decimal {
            mantissa: self.mantissa,
            scale: self.scale,
        }
    }
}

/// Original ids in order of appearance, and back.
#[derive(Default)]
struct Interner {
    index: HashMap<u64, u32>,
    originals: Vec<u64>,
}

impl Interner {
    fn intern(&mut self, original: u64) -> u32 {
        *self.index.entry(original).or_insert_with(|| {
            self.originals.push(original);
            self.originals.len() as u32 - 1
        })
    }

    /// The dense id of each interned one, from `base` on in ascending order of the originals, and these.
    fn ranks(&self, base: u32) -> (Vec<u32>, Vec<u64>) {
        let mut order: Vec<u32> = (0..self.originals.len() as u32).collect();
        order.sort_unstable_by_key(|&i| self.originals[i as usize]);
        let mut ranks = vec![0; order.len()];
        for (rank, &i) in order.iter().enumerate() {
            ranks[i as usize] = base + rank as u32;
        }
        (
            ranks,
            order.iter().map(|&i| self.originals[i as usize]).collect(),
        )
    }
}

/// Collects the events of one file.
pub(crate) struct Intake<'a> {
    path: &'a Path,
    defects: Defects,
    ids: Ids,
    /// True if features come from a file of their own, matched by position.
    separate_features: bool,
    folder: PathBuf,
    staged: BufWriter<File>,
    features: Option<BufWriter<File>>,
    width: usize,
    first_line: u64,
    sources: Interner,
    destinations: Interner,
    count: usize,
    scale: u8,
    previous: Option<(Decimal, u64)>,
    has_labels: bool,
    has_roll: bool,
    observed: Observed,
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

impl<'a> Intake<'a> {
    /// `folder` takes the staged files and is the caller's to remove.
    pub(crate) fn new(
        path: &'a Path,
        defects: Defects,
        ids: Ids,
        separate_features: bool,
        folder: &Path,
    ) -> Result<Intake<'a>, DataError> {
        Ok(Intake {
            path,
            defects,
            ids,
            separate_features,
            folder: folder.to_path_buf(),
            staged: create(&folder.join("events"))?,
            features: None,
            width: 0,
            first_line: 0,
            sources: Interner::default(),
            destinations: Interner::default(),
            count: 0,
            scale: 0,
            previous: None,
            has_labels: false,
            has_roll: false,
            observed: Observed::default(),
        })
    }

    fn check_order(&mut self, event: &RawEvent<'_>) -> Result<(), DataError> {
        if let Some((earlier, earlier_line)) = self.previous
            && event.time.precedes(earlier)
        {
            let error = DataError::Unsorted {
                path: self.path.to_path_buf(),
                line: event.line,
                time: event.time.to_string(),
                earlier_line,
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
        self.previous = Some((event.time, event.line));
        Ok(())
    }

    fn write_features(&mut self, event: &RawEvent<'_>) -> Result<(), DataError> {
        let features = event.features;
        if self.count == 0 {
            self.width = features.len();
            self.first_line = event.line;
            if !features.is_empty() {
                self.features = Some(create(&self.folder.join("features"))?);
            }
        }
        if features.len() != self.width {
            return Err(DataError::line(
                self.path,
                event.line,
                format!("{} features", features.len()),
                format!(
                    "{}, as on line {}; a cut-off line means that the file is incomplete",
                    self.width, self.first_line
                ),
            ));
        }
        if let Some(column) = features.iter().position(|x| !x.is_finite()) {
            let error = DataError::line(
                self.path,
                event.line,
                format!("feature {column} is {}", features[column]),
                "a finite number within the range of f32; correct the value or remove the event",
            );
            if self.defects != Defects::Record {
                return Err(error);
            }
            self.observed.not_finite += 1;
            self.observed
                .first_not_finite
                .get_or_insert_with(|| error.to_string());
        }
        match &mut self.features {
            Some(file) => file
                .write_all(bytemuck::cast_slice(features))
                .map_err(DataError::io("write into", &self.folder)),
            None => Ok(()),
        }
    }

    fn dense_id(&mut self, id: u64, destination: bool, line: u64) -> Result<u32, DataError> {
        match self.ids {
            Ids::Rows(rows) if id >= rows as u64 => Err(DataError::line(
                self.path,
                line,
                format!("node {id}"),
                format!("an id below {rows}, the number of rows of the node features"),
            )),
            Ids::Rows(_) => Ok(id as u32),
            Ids::Two if destination => Ok(self.destinations.intern(id)),
            Ids::One | Ids::Two => Ok(self.sources.intern(id)),
        }
    }

    /// Rewrites the staged events into a store at `target`.
    pub(crate) fn finish(mut self, target: &Path) -> Result<Taken, DataError> {
        let nodes = self.sources.originals.len() + self.destinations.originals.len();
        if self.count == 0 {
            return Err(DataError::Format {
                path: self.path.to_path_buf(),
                found: "it holds no events".to_owned(),
                remedy: "check that it is the right file and complete".to_owned(),
            });
        }
        if self.count > u32::MAX as usize || nodes > u32::MAX as usize {
            return Err(DataError::Format {
                path: self.path.to_path_buf(),
                found: format!("{} events and {nodes} nodes", self.count),
                remedy: format!(
                    "at most {} of each are supported: divide the stream",
                    u32::MAX
                ),
            });
        }
        self.staged
            .flush()
            .map_err(DataError::io("write into", &self.folder))?;
        if let Some(features) = &mut self.features {
            features
                .flush()
                .map_err(DataError::io("write into", &self.folder))?;
        }
        let staged: Column<Staged> = Column::map(&self.folder.join("events"), self.count)?;
        let staged = staged.as_slice();
        let order = (self.observed.unsorted > 0).then(|| time_order(staged));

        let (source_ids, mut originals) = self.sources.ranks(0);
        let (destination_ids, destination_originals) =
            self.destinations.ranks(originals.len() as u32);
        let id_spaces = match self.ids {
            Ids::Two => IdSpaces::Two {
                sources: originals.len(),
            },
            Ids::One | Ids::Rows(_) => IdSpaces::One,
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
            Ids::Rows(_) => (event.src, event.dst),
        };

        let mut writer = StoreWriter::create(target, self.has_labels, self.has_roll)?;
        let at = |i: usize| &staged[order.as_ref().map_or(i, |order| order[i] as usize)];
        for first in (0..self.count).step_by(1 << 14) {
            let piece = first..self.count.min(first + (1 << 14));
            let (src, dst): (Vec<u32>, Vec<u32>) = piece.clone().map(|i| dense(at(i))).unzip();
            let mut time = Vec::with_capacity(piece.len());
            for i in piece.clone() {
                time.push(
                    at(i)
                        .time()
                        .ticks(self.scale)
                        .ok_or_else(|| self.too_large(at(i).time()))?,
                );
            }
            writer.events(&src, &dst, &time)?;
            writer.labels(&piece.clone().map(|i| at(i).label).collect::<Vec<_>>())?;
            writer.roll(&piece.map(|i| at(i).roll).collect::<Vec<_>>())?;
        }
        if self.features.is_some() && !self.separate_features {
            let shape = FeatureShape {
                feature_type: FeatureType::F32,
                width: self.width,
            };
            let file = writer.edge_features(shape)?;
            copy_rows(
                &self.folder.join("features"),
                self.count,
                file,
                order.as_deref(),
            )?;
        }
        let nodes = match self.ids {
            Ids::Rows(rows) => rows,
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

    fn too_large(&self, time: Decimal) -> DataError {
        DataError::Format {
            path: self.path.to_path_buf(),
            found: format!(
                "time {time} does not fit 64 bits together with the finest time, which has {} decimals",
                self.scale
            ),
            remedy: "subtract an origin from the times, or round them to fewer decimals".to_owned(),
        }
    }
}

impl EventSink for Intake<'_> {
    fn event(&mut self, event: RawEvent<'_>) -> Result<(), DataError> {
        self.check_order(&event)?;
        if !self.separate_features {
            self.write_features(&event)?;
        } else if let Some(id) = event.edge_id.filter(|&id| id != self.count as u64) {
            return Err(DataError::line(
                self.path,
                event.line,
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
            src: self.dense_id(event.src, false, event.line)?,
            dst: self.dense_id(event.dst, true, event.line)?,
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

/// Indices of the events in time order; equal times keep file order.
fn time_order(staged: &[Staged]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..staged.len() as u32).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (staged[a as usize].time(), staged[b as usize].time());
        if a.precedes(b) {
            std::cmp::Ordering::Less
        } else if b.precedes(a) {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Equal
        }
    });
    order
}

/// Moves the rows of a staged file into a feature table, in `order` if there is one.
pub(crate) fn copy_rows(
    from: &Path,
    rows: usize,
    mut to: FeatureFile,
    order: Option<&[u32]>,
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
    for &row in order {
        to.write_rows(&staged[row as usize * row_bytes..][..row_bytes])?;
    }
    to.close().map(drop)
}

fn create(path: &Path) -> Result<BufWriter<File>, DataError> {
    Ok(BufWriter::with_capacity(
        1 << 18,
        File::create(path).map_err(DataError::io("create", path))?,
    ))
}
