//! What nodes and feature columns are called, where the file says so.
//!
//! Kept beside the columns of a store (`names.json`), read only when asked for.
//! Names are for people: nothing in a stream's content or hash depends on them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// Their file in a store.
pub(crate) const FILE: &str = "names.json";

/// Names of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// Name of each node, such as GDELT's actor code, if the file's ids are text.
    pub nodes: Option<Vec<String>>,
    /// Name of each edge feature.
    pub edge_features: Option<Vec<String>>,
    /// Name of each node feature.
    pub node_features: Option<Vec<String>>,
}

impl Names {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Names::default()
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), DataError> {
        let path = folder.join(FILE);
        // Streamed: names can take much of the memory.
        let file = File::create(&path).map_err(DataError::io("create", &path))?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        serde_json::to_writer(&mut file, self)
            .map_err(|error| DataError::io("write", &path)(error.into()))?;
        file.flush().map_err(DataError::io("write", &path))
    }

    /// Reads the names in the store `folder`, of as many nodes, edge features and node features.
    pub(crate) fn read(folder: &Path, expected: [usize; 3]) -> Result<Names, DataError> {
        let path = folder.join(FILE);
        let text = fs::read(&path).map_err(DataError::io("read", &path))?;
        let damaged = |what: String| DataError::damaged_store(&path, what);
        let names: Names =
            serde_json::from_slice(&text).map_err(|e| damaged(format!("not readable ({e})")))?;
        let found = [&names.nodes, &names.edge_features, &names.node_features];
        let what = ["nodes", "edge features", "node features"];
        for ((found, expected), what) in found.into_iter().zip(expected).zip(what) {
            if let Some(found) = found.as_ref().filter(|found| found.len() != expected) {
                let count = found.len();
                return Err(damaged(format!(
                    "{count} names of {what} found, {expected} expected"
                )));
            }
        }
        Ok(names)
    }
}
