//! How a source is opened: what is said of its files, and where conversions and data sets are.

use std::env;
use std::path::PathBuf;

use crate::error::DataError;
use crate::formats::format::Format;
use crate::import::intake::Defects;
use crate::schema::reading::Reading;
use crate::stop::Stop;
use crate::stream::split::SplitRule;

/// The options that name files of features, as every command has them.
pub(crate) const EDGE_FEATURE_FILE: &str = "--edge-feature-file";
pub(crate) const NODE_FEATURE_FILE: &str = "--node-feature-file";

/// How to read a source, and where things are kept.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Layout of the event file; None detects it from the content.
    pub format: Option<Format>,
    /// Sort events by time if they are not sorted (stable; features and labels follow).
    pub sort: bool,
    /// How columns and values of a table are read.
    pub reading: Reading,
    /// How the stream is divided; None: as it says itself. Changes no conversion.
    pub split: Option<SplitRule>,
    /// An array with one row per event: `.npy`, `.npz` (`FILE.npz:NAME` if it holds several) or
    /// `.pt`; replaces features of the event file.
    pub edge_features: Option<PathBuf>,
    /// An array with one row per node, as above. Ids of a stream with one id space are then row numbers.
    pub node_features: Option<PathBuf>,
    /// Where data sets are; None: `MSPIPE_DATA_DIR`, else `data` in the cache folder.
    pub data_dir: Option<PathBuf>,
    /// Where conversions go; None: `MSPIPE_CACHE_DIR`, else `mspipe` in the platform's cache folder.
    pub cache_dir: Option<PathBuf>,
    /// How many times its packed size a packed text may have; None: 300 times.
    pub unpack_ratio: Option<u64>,
    /// Ends a conversion early; nothing is left of it then.
    pub stop: Stop,
}

impl OpenOptions {
    /// The folder of conversions and generated streams; it may not exist yet.
    ///
    /// # Errors
    /// [`DataError::Option`] if the platform names no cache folder and none is given.
    pub fn cache_folder(&self) -> Result<PathBuf, DataError> {
        if let Some(folder) = self
            .cache_dir
            .clone()
            .or_else(|| folder_from_env("MSPIPE_CACHE_DIR"))
        {
            return Ok(folder);
        }
        dirs::cache_dir().map(|folder| folder.join("mspipe")).ok_or_else(|| {
            DataError::Option("there is no cache folder on this system; set MSPIPE_CACHE_DIR to a writable folder".to_owned())
        })
    }

    /// The folder below which data sets are looked for, as `NAME/FILE`; it may not exist.
    ///
    /// # Errors
    /// As [`OpenOptions::cache_folder`].
    pub fn data_folder(&self) -> Result<PathBuf, DataError> {
        match self
            .data_dir
            .clone()
            .or_else(|| folder_from_env("MSPIPE_DATA_DIR"))
        {
            Some(folder) => Ok(folder),
            None => Ok(self.cache_folder()?.join("data")),
        }
    }

    pub(super) fn defects(&self) -> Defects {
        if self.sort {
            Defects::Sort
        } else {
            Defects::Refuse
        }
    }

    /// Options for raw files mean nothing to a source that has been converted already.
    pub(super) fn refuse_raw_options(&self, spec: &str, what: &str) -> Result<(), DataError> {
        let given = [
            (self.format.is_some(), "--format"),
            (self.sort, "--sort"),
            (self.edge_features.is_some(), EDGE_FEATURE_FILE),
            (self.node_features.is_some(), NODE_FEATURE_FILE),
            (self.unpack_ratio.is_some(), "--unpack-ratio"),
        ];
        let given = given
            .into_iter()
            .find_map(|(given, option)| given.then_some(option));
        match given.or(self.reading.given()) {
            None => Ok(()),
            Some(option) => Err(DataError::Option(format!(
                "{option} applies to files of events, but {spec} is {what}; leave it out"
            ))),
        }
    }
}

fn folder_from_env(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}
