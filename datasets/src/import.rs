//! Explicit conversion into a store of one's choice (`mspipe data import`).

pub(crate) mod conversion;
pub(crate) mod intake;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod source;
pub(crate) mod table;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::DataError;
use crate::import::open::convert_to;
use crate::import::options::OpenOptions;
use crate::info::Info;
use crate::manifest::Manifest;

/// What an import did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The store's folder.
    pub store: PathBuf,
    /// Figures of the stream.
    pub info: Info,
    /// What a user should know: sorted events, labels left out, figures that differ from the manifest's.
    pub notes: Vec<String>,
}

/// Converts `source` (see [`crate::EventLog::open`]) into a new store at `to`.
///
/// # Errors
/// Any [`DataError`]; nothing is left at `to` then. A store that exists already is not replaced.
pub fn import(source: &str, options: &OpenOptions, to: &Path) -> Result<Report, DataError> {
    let mut log = convert_to(source, options, to)?;
    log.split_rule = options.split;
    let mut notes = log.notes().to_vec();
    let info = Info::of(&log);
    if let Some(manifest) = Manifest::find(source) {
        notes.extend(info.mismatches(manifest).iter().map(|mismatch| {
            info.without_features(mismatch)
                .unwrap_or_else(|| mismatch.to_string())
        }));
    }
    Ok(Report {
        store: to.to_path_buf(),
        info,
        notes,
    })
}
