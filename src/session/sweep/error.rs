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
        "{}: holds a sweep of another file (its sweep.toml differs); give another 'out', or that file",
        path.display()
    )]
    Other {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is of something else.
    #[error("{}: is not empty and holds no sweep; give another 'out'", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing came of it.
    #[error("{}: no run of the sweep has given a number: all diverged", path.display())]
    NoResult {
        /// The folder.
        path: PathBuf,
    },
}
