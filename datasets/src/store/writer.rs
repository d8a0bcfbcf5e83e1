//! Writes a store: columns are appended as they come, memory stays bounded.
//!
//! Everything goes into a temporary folder beside the final place; `finish`
//! checks the invariants, hashes the content and each file, writes `meta.json`
//! and renames. A writer that is dropped removes its folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use bytemuck::Pod;

use super::{FORMAT, FeatureShape, META, Meta, VERSION};
use crate::error::DataError;
use crate::files::scratch::{Scratch, already_there};
use crate::schema::reading::Reading;
use crate::stop::Stop;
use crate::stream::event_log::{EventLog, IdSpaces};
use crate::stream::names::Names;

/// What a store says about its stream beside the columns.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) origin: String,
    pub(crate) synthetic: bool,
    pub(crate) nodes: usize,
    pub(crate) ticks_per_unit: i64,
    pub(crate) id_spaces: IdSpaces,
    /// How its file or table was said to be read.
    pub(crate) reading: Reading,
    /// What a user should know of the conversion.
    pub(crate) notes: Vec<String>,
}

/// A store that is being written.
pub(crate) struct StoreWriter {
    target: PathBuf,
    /// Where the columns are written, in `scratch`.
    folder: PathBuf,
    scratch: Scratch,
    src: ColumnFile,
    dst: ColumnFile,
    time: ColumnFile,
    labels: Option<ColumnFile>,
    roll: Option<ColumnFile>,
    events: usize,
    edge_features: Option<FeatureShape>,
    node_features: Option<FeatureShape>,
    id_map: bool,
    names: bool,
}

/// A column that is being written.
struct ColumnFile {
    path: PathBuf,
    file: BufWriter<File>,
}

/// A feature table that is being written, row by row.
pub(crate) struct FeatureFile {
    column: ColumnFile,
    pub(crate) shape: FeatureShape,
}

impl ColumnFile {
    fn create(path: PathBuf) -> Result<ColumnFile, DataError> {
        let file = File::create(&path).map_err(DataError::io("create", &path))?;
        Ok(ColumnFile {
            path,
            file: BufWriter::with_capacity(1 << 18, file),
        })
    }

    fn write<T: Pod>(&mut self, values: &[T]) -> Result<(), DataError> {
        self.file
            .write_all(bytemuck::cast_slice(values))
            .map_err(DataError::io("write", &self.path))
    }

    fn close(mut self) -> Result<(), DataError> {
        self.file
            .flush()
            .map_err(DataError::io("write", &self.path))
    }
}

impl FeatureFile {
    /// Appends whole rows, as stored bytes.
    pub(crate) fn write_rows(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        self.column.write(bytes)
    }

    /// Flushes, and returns where the rows are.
    pub(crate) fn close(self) -> Result<PathBuf, DataError> {
        let path = self.column.path.clone();
        self.column.close()?;
        Ok(path)
    }
}

impl StoreWriter {
    /// Starts a store that will be at `target`, which must not exist yet.
    pub(crate) fn create(
        target: &Path,
        labels: bool,
        roll: bool,
    ) -> Result<StoreWriter, DataError> {
        let (scratch, folder) = Scratch::beside(target)?;
        let column = |name: &str| ColumnFile::create(folder.join(name));
        Ok(StoreWriter {
            src: column("src.u32")?,
            dst: column("dst.u32")?,
            time: column("time.i64")?,
            labels: labels.then(|| column("labels.i32")).transpose()?,
            roll: roll.then(|| column("roll.u8")).transpose()?,
            events: 0,
            edge_features: None,
            node_features: None,
            id_map: false,
            names: false,
            target: target.to_path_buf(),
            folder,
            scratch,
        })
    }

    /// Events appended so far.
    pub(crate) fn count(&self) -> usize {
        self.events
    }

    /// Appends events: dense ids and ticks.
    pub(crate) fn events(
        &mut self,
        src: &[u32],
        dst: &[u32],
        time: &[i64],
    ) -> Result<(), DataError> {
        self.events += src.len();
        self.src.write(src)?;
        self.dst.write(dst)?;
        self.time.write(time)
    }

    /// Appends state labels, if the store has them.
    pub(crate) fn labels(&mut self, labels: &[i32]) -> Result<(), DataError> {
        self.labels
            .as_mut()
            .map_or(Ok(()), |column| column.write(labels))
    }

    /// Appends split marks, if the store has them.
    pub(crate) fn roll(&mut self, roll: &[u8]) -> Result<(), DataError> {
        self.roll
            .as_mut()
            .map_or(Ok(()), |column| column.write(roll))
    }

    /// Starts the edge feature table.
    pub(crate) fn edge_features(&mut self, shape: FeatureShape) -> Result<FeatureFile, DataError> {
        self.edge_features = Some(shape);
        self.feature_file("edge_features", shape)
    }

    /// Starts the node feature table.
    pub(crate) fn node_features(&mut self, shape: FeatureShape) -> Result<FeatureFile, DataError> {
        self.node_features = Some(shape);
        self.feature_file("node_features", shape)
    }

    fn feature_file(&self, table: &str, shape: FeatureShape) -> Result<FeatureFile, DataError> {
        let column = ColumnFile::create(self.folder.join(shape.file(table)))?;
        Ok(FeatureFile { column, shape })
    }

    /// Writes the original id of every node.
    pub(crate) fn id_map(&mut self, originals: &[u64]) -> Result<(), DataError> {
        let mut column = ColumnFile::create(self.folder.join("id_map.u64"))?;
        column.write(originals)?;
        self.id_map = true;
        column.close()
    }

    /// Writes what nodes and feature columns are called.
    pub(crate) fn names(&mut self, names: &Names) -> Result<(), DataError> {
        self.names = true;
        names.write(&self.folder)
    }

    /// Checks, hashes and renames the store, and returns it opened.
    ///
    /// If another process put an equal store at the target meanwhile, that one is opened.
    pub(crate) fn finish(self, stream: Stream, stop: &Stop) -> Result<EventLog, DataError> {
        let (labels, roll) = (self.labels.is_some(), self.roll.is_some());
        for column in [
            Some(self.src),
            Some(self.dst),
            Some(self.time),
            self.labels,
            self.roll,
        ]
        .into_iter()
        .flatten()
        {
            column.close()?;
        }
        let mut meta = Meta {
            format: FORMAT.to_owned(),
            version: VERSION,
            name: stream.name,
            origin: stream.origin,
            synthetic: stream.synthetic,
            events: self.events,
            nodes: stream.nodes,
            ticks_per_unit: stream.ticks_per_unit,
            bipartite: false,
            labels,
            roll,
            edge_features: self.edge_features,
            node_features: self.node_features,
            id_map: self.id_map,
            id_spaces: stream.id_spaces,
            names: self.names,
            reading: stream.reading,
            notes: stream.notes,
            hash: String::new(),
            files: BTreeMap::new(),
            seal: String::new(),
        };
        // The maps must be gone before the rename: Windows does not move mapped files.
        {
            let log = super::map(&self.folder, &meta)?;
            log.validate()?;
            meta.bipartite = log.find_bipartite();
            let (hash, files) = rayon::join(
                || log.content_hash(stop),
                || super::checksums(&self.folder, &meta, stop),
            );
            (meta.hash, meta.files) = (hash?, files?);
        }
        meta.seal = meta.own_checksum();
        let meta_path = self.folder.join(META);
        let mut text = serde_json::to_vec_pretty(&meta)
            .map_err(|e| DataError::store(&meta_path, format!("cannot be written ({e})")))?;
        text.push(b'\n');
        fs::write(&meta_path, text).map_err(DataError::io("write", &meta_path))?;
        match fs::rename(&self.folder, &self.target) {
            Ok(()) => drop(self.scratch),
            Err(_) if super::is_store(&self.target) => {
                let there = super::open(&self.target)?;
                return if there.hash() == meta.hash {
                    Ok(there)
                } else {
                    Err(already_there(&self.target))
                };
            }
            Err(error) => {
                return Err(DataError::io("rename the finished store to", &self.target)(
                    error,
                ));
            }
        }
        super::open(&self.target)
    }
}
