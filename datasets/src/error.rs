//! What can go wrong with data, and what to do about it.
//!
//! Every message says where (`file:line` where there is one), what was found,
//! what was expected and what to do next. The cause reported by the operating
//! system is the error's source, so print the whole chain (`{:#}` with anyhow).

use std::io;
use std::path::{Path, PathBuf};

/// An error of reading, converting, checking or opening an event stream.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused something.
    #[error("{}: cannot {action}{}", path.display(), io_advice(source))]
    Io {
        /// What was being done, as the words after "cannot".
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A line of a text file is not what its format requires.
    #[error("{}:{line}: {found}; expected {expected}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, counted from 1.
        line: u64,
        /// What the line holds.
        found: String,
        /// What it should hold, and what to do.
        expected: String,
    },
    /// Events are not in time order.
    #[error(
        "{}:{line}: time {time} precedes {earlier} (line {earlier_line}); events must be sorted by time; \
         sort the file, or import it with `mspipe data import --sort` (stable, features follow their events)",
        path.display()
    )]
    Unsorted {
        /// The file.
        path: PathBuf,
        /// Line of the event that comes too late.
        line: u64,
        /// Its time as written.
        time: String,
        /// Line of the event before it.
        earlier_line: u64,
        /// The time of that event as written.
        earlier: String,
    },
    /// A file's format cannot be told from its content, or cannot be read.
    #[error("{}: {found}; {remedy}", path.display())]
    Format {
        /// The file or folder.
        path: PathBuf,
        /// What its content looks like.
        found: String,
        /// What is readable, and what to do.
        remedy: String,
    },
    /// A NumPy array is damaged, unsupported, or does not fit the events.
    #[error("{}: {problem}", path.display())]
    Npy {
        /// The file.
        path: PathBuf,
        /// Found, expected, remedy.
        problem: String,
    },
    /// A converted store is damaged, too new, or incomplete.
    #[error("{}: {problem}", path.display())]
    Store {
        /// The store's folder.
        path: PathBuf,
        /// Found, expected, remedy.
        problem: String,
    },
    /// A name that is neither a file, nor a store, nor a known data set.
    #[error("{spec}: {problem}")]
    Source {
        /// The name as it was given.
        spec: String,
        /// Why it leads nowhere, and what to do.
        problem: String,
    },
    /// Options that contradict each other or the source.
    #[error("{0}")]
    Option(String),
    /// An event log that breaks an invariant (see [`crate::EventLog`]).
    #[error("event log {name}: {problem}")]
    Invalid {
        /// The log's name.
        name: String,
        /// Which invariant, where.
        problem: String,
    },
}

impl DataError {
    /// Turns an [`io::Error`] into a [`DataError`]; for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataError {
        let path = path.to_path_buf();
        move |source| DataError::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn line(
        path: &Path,
        line: u64,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> DataError {
        DataError::Line {
            path: path.to_path_buf(),
            line,
            found: found.into(),
            expected: expected.into(),
        }
    }

    pub(crate) fn npy(path: &Path, problem: impl Into<String>) -> DataError {
        DataError::Npy {
            path: path.to_path_buf(),
            problem: problem.into(),
        }
    }

    pub(crate) fn store(path: &Path, problem: impl Into<String>) -> DataError {
        DataError::Store {
            path: path.to_path_buf(),
            problem: problem.into(),
        }
    }

    pub(crate) fn source(spec: &str, problem: impl Into<String>) -> DataError {
        DataError::Source {
            spec: spec.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn invalid(name: &str, problem: impl Into<String>) -> DataError {
        DataError::Invalid {
            name: name.to_owned(),
            problem: problem.into(),
        }
    }
}

/// What a user can do about the commonest refusals.
fn io_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => {
            " (free some space, or set MSPIPE_CACHE_DIR to a folder on a larger disk)"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            " (check the permissions; converted streams go to MSPIPE_CACHE_DIR, which can be any writable folder)"
        }
        io::ErrorKind::NotFound => " (check the path)",
        _ => "",
    }
}

/// Text quoted in a message: at most 60 characters, control characters escaped.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().count() > 60 {
        short.push('…');
    }
    format!("`{short}`")
}
