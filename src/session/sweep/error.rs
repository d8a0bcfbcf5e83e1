//! Why there is no sweep, or nothing came of it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::config::ConfigError;

/// Why there is no sweep.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The file can't be read.
    #[error("{}: can't be read as a sweep: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Something in it is wrong.
    #[error("{place}: {reason}")]
    At {
        /// `sweep.toml:3`.
        place: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A setting.
    #[error(transparent)]
    Setting(#[from] ConfigError),
    /// The folder can't be made.
    #[error("{}: can't be made or read: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The folder is of another sweep.
    #[error(
        "{}: holds runs of another sweep (its sweep.toml differs); give another 'out', or that file",
        path.display()
    )]
    Other {
        /// The folder.
        path: PathBuf,
    },
    /// A run was begun with other settings.
    #[error(
        "{}: was begun with other settings ({}); give another 'out', or the settings as they were then",
        path.display(), changed.join(", ")
    )]
    Changed {
        /// The folder of the run.
        path: PathBuf,
        /// Settings, as `name was then and is now`.
        changed: Vec<String>,
    },
    /// The folder is of something else.
    #[error("{}: is not empty and holds no sweep; give another 'out'", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing came of it.
    #[error("{}: no run of the sweep has given a number: all diverged. The first: {first}", path.display())]
    NoResult {
        /// The folder.
        path: PathBuf,
        /// What became of the first.
        first: String,
    },
}
