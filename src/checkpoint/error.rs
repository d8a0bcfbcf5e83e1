//! Why a checkpoint can't be read or written.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Version of the file's layout and of the arrays' meaning.
pub const FORMAT: u32 = 1;

/// Why a checkpoint can't be read or written.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The system can't read it.
    #[error("{}: can't be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is something else.
    #[error("{}: this is neither a checkpoint nor a state of mspipe: {found}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// It is not as it was written.
    #[error("{}: this file is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another version of this program wrote it.
    #[error(
        "{}: this file has format {found}, written by {producer}; this mspipe reads format \
         {}: {}",
        path.display(),
        FORMAT,
        if *found > FORMAT { "take a newer mspipe" } else {
            "end the run with the version that began it, or start it again"
        }
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Who wrote it.
        producer: String,
    },
    /// Neither the last one nor the one before it is whole.
    #[error("no checkpoint is intact:\n  {last}\n  {previous}\nstart the run again")]
    NoneWhole {
        /// What is wrong with the last one.
        last: Box<CheckpointError>,
        /// What is wrong with the one before.
        previous: Box<CheckpointError>,
    },
    /// It can't be written.
    #[error("{}: can't be written: {error}; {}", path.display(), remedy(error))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What to do about a file that can't be written.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on its disk",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "make its folder writable"
        }
        _ => "check its disk",
    }
}

impl CheckpointError {
    /// Whether the file is not what was once written there.
    pub(super) fn is_damage(&self) -> bool {
        matches!(
            self,
            CheckpointError::Foreign { .. } | CheckpointError::Damaged { .. }
        )
    }

    pub(super) fn unreadable(path: &Path, error: io::Error) -> CheckpointError {
        CheckpointError::Read {
            path: path.to_owned(),
            error,
        }
    }

    pub(super) fn unwritable(path: &Path, error: io::Error) -> CheckpointError {
        CheckpointError::Write {
            path: path.to_owned(),
            error,
        }
    }

    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::Damaged {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(super) fn foreign(path: &Path, found: impl Into<String>) -> CheckpointError {
        CheckpointError::Foreign {
            path: path.to_owned(),
            found: found.into(),
        }
    }
}

/// Arrays that are not those of the run that is to continue.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unfit {
    /// An array is not there.
    #[error("it has no array '{name}'")]
    Missing {
        /// Its name.
        name: String,
    },
    /// An array of other numbers.
    #[error("its array '{name}' has numbers of type {found}, expected {expected}")]
    NumberType {
        /// Its name.
        name: String,
        /// Their type.
        found: String,
        /// The type that was expected.
        expected: String,
    },
    /// An array of another shape.
    #[error("its array '{name}' has shape {found:?}, expected {expected:?}")]
    Misshapen {
        /// Its name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that was expected.
        expected: Vec<usize>,
    },
    /// An array that contradicts others, or the stream.
    #[error("its array '{name}' {reason}")]
    Contradiction {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}
