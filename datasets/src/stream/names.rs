//! What nodes and feature columns are called, where the file says so.
//!
//! Kept beside the columns of a store (`names.json`), read only when asked for.
//! Names are for people: nothing in a stream's content or hash depends on them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::schema::names::plain;

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

/// Names that do not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// Those that were wanted and are not there.
    pub missing: Vec<String>,
    /// Those that are there and were not wanted.
    pub surplus: Vec<String>,
}

/// Where each of the names `wanted` stands among those `found`: by its very letters, else as names of columns
/// are compared everywhere (case, `_`, `-`, `.` and spaces don't count).
///
/// # Errors
/// Unless each name stands for one of the others.
pub fn places_of(wanted: &[String], found: &[String]) -> Result<Vec<usize>, Unmatched> {
    if wanted == found {
        return Ok((0..found.len()).collect());
    }
    let mut open: Vec<bool> = vec![true; found.len()];
    let mut places = vec![None; wanted.len()];
    for by in [
        |a: &str, b: &str| a == b,
        |a: &str, b: &str| plain(a) == plain(b),
    ] {
        for (place, name) in places.iter_mut().zip(wanted) {
            if place.is_none() {
                *place = (0..found.len()).find(|&at| open[at] && by(name, &found[at]));
                place.iter().for_each(|&at| open[at] = false);
            }
        }
    }
    let missing = places
        .iter()
        .zip(wanted)
        .filter(|(place, _)| place.is_none());
    let missing: Vec<String> = missing.map(|(_, name)| name.clone()).collect();
    let surplus = open.iter().zip(found).filter(|(open, _)| **open);
    let surplus: Vec<String> = surplus.map(|(_, name)| name.clone()).collect();
    match missing.is_empty() && surplus.is_empty() {
        true => Ok(places.into_iter().flatten().collect()),
        false => Err(Unmatched { missing, surplus }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_wherever_they_stand() {
        let names = |text: &str| -> Vec<String> { text.split(',').map(str::to_owned).collect() };
        let places = |wanted: &str, found: &str| places_of(&names(wanted), &names(found));
        assert_eq!(places("amount,country", "country,amount"), Ok(vec![1, 0]));
        assert_eq!(places("a,A", "A,a"), Ok(vec![1, 0]));
        assert_eq!(places("Unit Price,b", "b,unit_price"), Ok(vec![1, 0]));
        assert_eq!(places("a,a", "a,a"), Ok(vec![0, 1]));
        let unmatched = places("amount,country", "amt,country,fee").unwrap_err();
        assert_eq!(
            (unmatched.missing, unmatched.surplus),
            (names("amount"), names("amt,fee"))
        );
    }
}
