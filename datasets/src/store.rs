//! The store: a converted stream as a folder of bare column files, mapped into memory.
//!
//! Layout of `NAME.mspipe/` (all little-endian, no headers):
//!
//! | file | content |
//! |---|---|
//! | `meta.json` | counts, types, hash, origin, length and checksum of every other file and of itself; written last |
//! | `src.u32`, `dst.u32` | node ids `[events]` |
//! | `time.i64` | ticks `[events]` |
//! | `labels.i32`, `roll.u8` | `[events]`, optional |
//! | `edge_features.f32`/`.f16`/`.bits` | `[events, width]`, optional |
//! | `node_features.…` | `[nodes, width]`, optional |
//! | `id_map.u64` | original id of each node, optional |
//! | `names.json` | names of nodes and feature columns, optional; see [`crate::Names`] |
//!
//! A store is written in a temporary folder beside its final place and renamed
//! at the end, so it is there completely or not at all; it is never changed.
//! Opening checks the version, the checksum of every file (all are read once, see
//! `checksum`) and every invariant of [`EventLog`]. So the hash that was computed
//! when the store was written is that of what is read now.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{DataError, shortened};
use crate::files::checksum;
use crate::progress::Progress;
use crate::schema::reading::Reading;
use crate::stop::Stop;
use crate::stream::column::Column;
use crate::stream::event_log::{Columns, EventLog, IdSpaces};
use crate::stream::features::{FeatureTable, FeatureType};
use crate::stream::names;

pub mod cache;
mod writer;

pub(crate) use writer::{FeatureFile, StoreWriter, Stream};

/// Ending of a store's folder name.
pub(crate) const STORE_EXTENSION: &str = "mspipe";

const FORMAT: &str = "mspipe-store";
/// 2: checksums. Rises when the layout changes.
pub(crate) const VERSION: u32 = 2;
const META: &str = "meta.json";

/// The content of `meta.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meta {
    format: String,
    version: u32,
    pub(crate) name: String,
    pub(crate) origin: String,
    pub(crate) synthetic: bool,
    pub(crate) events: usize,
    pub(crate) nodes: usize,
    pub(crate) ticks_per_unit: i64,
    pub(crate) bipartite: bool,
    pub(crate) labels: bool,
    pub(crate) roll: bool,
    pub(crate) edge_features: Option<FeatureShape>,
    pub(crate) node_features: Option<FeatureShape>,
    pub(crate) id_map: bool,
    pub(crate) id_spaces: IdSpaces,
    /// Absent in stores without names, which older versions can read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) names: bool,
    /// How its file or table was said to be read; absent if nothing was.
    #[serde(default, skip_serializing_if = "Reading::is_default")]
    pub(crate) reading: Reading,
    /// What the conversion had to say; absent if it was nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    pub(crate) hash: String,
    /// Every other file of the store.
    pub(crate) files: BTreeMap<String, FileSum>,
    /// Checksum of all this, without the seal itself.
    pub(crate) seal: String,
}

/// What a file was like when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSum {
    bytes: u64,
    /// See [`checksum`].
    checksum: String,
}

impl Meta {
    /// Names of the other files.
    fn file_names(&self) -> Vec<String> {
        let mut names: Vec<String> = ["src.u32", "dst.u32", "time.i64"].map(str::to_owned).into();
        for (there, name) in [
            (self.labels, "labels.i32"),
            (self.roll, "roll.u8"),
            (self.id_map, "id_map.u64"),
            (self.names, names::FILE),
        ] {
            names.extend(there.then(|| name.to_owned()));
        }
        let tables = [
            (self.edge_features, "edge_features"),
            (self.node_features, "node_features"),
        ];
        names.extend(
            tables
                .iter()
                .filter_map(|(shape, table)| Some((*shape)?.file(table))),
        );
        names
    }

    /// What the seal must be.
    fn own_checksum(&self) -> String {
        let open = Meta {
            seal: String::new(),
            ..self.clone()
        };
        // A struct of texts and numbers always has a form in JSON.
        checksum::of_bytes(&serde_json::to_vec(&open).unwrap_or_default())
    }
}

/// Type and width of a feature file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeatureShape {
    #[serde(rename = "type")]
    pub(crate) feature_type: FeatureType,
    pub(crate) width: usize,
}

impl FeatureShape {
    pub(crate) fn row_bytes(self) -> usize {
        self.feature_type.row_bytes(self.width)
    }

    fn file(self, table: &str) -> String {
        format!("{table}.{}", self.feature_type.name())
    }
}

/// True if `path` looks like a store: a folder that holds a `meta.json`.
pub(crate) fn is_store(path: &Path) -> bool {
    path.join(META).is_file()
}

/// What a store says of itself.
pub(crate) fn describe(folder: &Path) -> Result<Meta, DataError> {
    let path = folder.join(META);
    let text = fs::read(&path).map_err(DataError::io("read", &path))?;
    let meta: Meta = serde_json::from_slice(&text).map_err(|e| explain_meta(folder, &text, &e))?;
    if meta.format != FORMAT || meta.version != VERSION {
        return Err(wrong_version(folder, &meta.format, u64::from(meta.version)));
    }
    if meta.seal != meta.own_checksum() {
        return Err(DataError::damaged_store(&path, "is not as it was written"));
    }
    Ok(meta)
}

/// Opens a store.
pub(crate) fn open(folder: &Path) -> Result<EventLog, DataError> {
    let meta = describe(folder)?;
    let log = map(folder, &meta)?;
    verify(folder, &meta)?;
    log.validate()
        .map_err(|error| DataError::damaged_store(folder, error.to_string()))?;
    Ok(log)
}

/// Compares every file with what it was like when it was written.
fn verify(folder: &Path, meta: &Meta) -> Result<(), DataError> {
    for (name, now) in checksums(folder, meta, &Stop::default())? {
        let path = folder.join(&name);
        match meta.files.get(&name) {
            Some(then) if *then == now => {}
            Some(then) => {
                return Err(DataError::damaged_store(
                    &path,
                    format!(
                        "is not as it was written (checksum {} found, {} expected)",
                        now.checksum, then.checksum
                    ),
                ));
            }
            None => {
                return Err(DataError::damaged_store(
                    &path,
                    "is not listed in meta.json",
                ));
            }
        }
    }
    Ok(())
}

/// Length and checksum of each file that `meta` describes, reading all of them.
fn checksums(
    folder: &Path,
    meta: &Meta,
    stop: &Stop,
) -> Result<BTreeMap<String, FileSum>, DataError> {
    let names = meta.file_names();
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let lengths = paths.iter().filter_map(|path| path.metadata().ok());
    let total = lengths.map(|metadata| metadata.len()).sum();
    let progress = Progress::bytes(format!("checking {}", meta.name), total);
    let sums = checksum::of_files(&paths, progress, stop)?;
    Ok(names
        .into_iter()
        .zip(sums)
        .map(|(name, (checksum, bytes))| (name, FileSum { bytes, checksum }))
        .collect())
}

/// Maps the files that `meta` describes, without looking into them.
fn map(folder: &Path, meta: &Meta) -> Result<EventLog, DataError> {
    let file = |name: &str| folder.join(name);
    let features = |table: &str, shape: Option<FeatureShape>, rows: usize| {
        shape
            .map(|s| FeatureTable::map(&file(&s.file(table)), rows, s.width, s.feature_type))
            .transpose()
    };
    let events = meta.events;
    let columns = Columns {
        src: Column::map(&file("src.u32"), events)?,
        dst: Column::map(&file("dst.u32"), events)?,
        time: Column::map(&file("time.i64"), events)?,
        labels: meta
            .labels
            .then(|| Column::map(&file("labels.i32"), events))
            .transpose()?,
        roll: meta
            .roll
            .then(|| Column::map(&file("roll.u8"), events))
            .transpose()?,
        edge_features: features("edge_features", meta.edge_features, events)?,
        node_features: features("node_features", meta.node_features, meta.nodes)?,
        id_map: meta
            .id_map
            .then(|| Column::map(&file("id_map.u64"), meta.nodes))
            .transpose()?,
    };
    Ok(EventLog {
        name: meta.name.clone(),
        origin: meta.origin.clone(),
        nodes: meta.nodes,
        ticks_per_unit: meta.ticks_per_unit,
        synthetic: meta.synthetic,
        bipartite: meta.bipartite,
        hash: meta.hash.clone(),
        id_spaces: meta.id_spaces,
        store: Some(folder.to_path_buf()),
        named: meta.names,
        notes: meta.notes.clone(),
        split_rule: None,
        columns,
    })
}

fn wrong_version(folder: &Path, format: &str, version: u64) -> DataError {
    DataError::store(
        folder,
        format!(
            "{format} version {version} found, {FORMAT} version {VERSION} expected; \
             import the stream again with this mspipe, or use the mspipe that wrote it"
        ),
    )
}

/// A newer version has other fields, so look for the version before complaining about the fields.
fn explain_meta(folder: &Path, text: &[u8], error: &serde_json::Error) -> DataError {
    let loose: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    let field = |name: &str| loose.as_ref().and_then(|v| v.get(name));
    if let (Some(format), Some(version)) = (
        field("format").and_then(|v| v.as_str()),
        field("version").and_then(|v| v.as_u64()),
    ) && (format != FORMAT || version != u64::from(VERSION))
    {
        return wrong_version(folder, format, version);
    }
    let error = shortened(&error.to_string(), 300);
    DataError::damaged_store(folder, format!("{META} is not readable ({error})"))
}
