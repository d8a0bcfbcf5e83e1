//! What can go wrong with data, and what to do about it.
//!
//! Every message says where (`file:line` where there is one), what was found,
//! what was expected and what to do next. The cause reported by the operating
//! system is the error's source, so print the whole chain (`{:#}` with anyhow).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::stop::Stopped;

/// Where an event stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line of a text file, counted from 1.
    Line(u64),
    /// A row of a Parquet file, or of a table in memory; all are counted from 0.
    Row {
        /// Row group; a table in memory has none.
        group: Option<u32>,
        /// Row within the group.
        row: u64,
    },
}

impl Place {
    /// As written behind a path: `:7`, or `: row group 0, row 7`.
    fn after_path(self) -> String {
        match self {
            Place::Line(line) => format!(":{line}"),
            Place::Row { .. } => format!(": {self}"),
        }
    }

    /// What to do about events out of order.
    fn how_to_sort(self) -> &'static str {
        match self {
            Place::Row { group: None, .. } => {
                "sort the table, or have it sorted (`sort`: stable, features follow their events)"
            }
            _ => {
                "sort the file, or import it with `mspipe data import --sort` (stable, features follow their events)"
            }
        }
    }
}

/// The row group that a row is in, if it is in one.
fn group_before(group: &Option<u32>) -> String {
    group.map_or_else(String::new, |group| format!("row group {group}, "))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(line) => write!(f, "line {line}"),
            Place::Row { group, row } => write!(f, "{}row {row}", group_before(group)),
        }
    }
}

/// An error of reading, converting, checking or opening an event stream.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused something.
    #[error("{}: cannot {action}: {error}{}", path.display(), io_advice(action, error))]
    Io {
        /// What was being done, as the words after "cannot".
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The operating system's answer.
        error: io::Error,
    },
    /// A line of a text file, or a row of a table, is not what its format requires.
    #[error("{}{}: {found}; expected {expected}", path.display(), place.after_path())]
    Line {
        /// The file; one inside a zip archive is `archive.zip/name`.
        path: PathBuf,
        /// Where in the file.
        place: Place,
        /// What the line holds.
        found: String,
        /// What it should hold, and what to do.
        expected: String,
    },
    /// A value of a Parquet file, or of a table in memory, is not what its column must hold.
    #[error(
        "{}: column '{column}', {}row {row}: {found}; expected {expected}",
        path.display(),
        group_before(group)
    )]
    Cell {
        /// The file.
        path: PathBuf,
        /// The column's dotted path.
        column: String,
        /// Row group, counted from 0; a table in memory has none.
        group: Option<u32>,
        /// Row within the group, counted from 0.
        row: u64,
        /// What the value is.
        found: String,
        /// What it should be, and what to do.
        expected: String,
    },
    /// Events are not in time order.
    #[error(
        "{}{}: time {time} precedes {earlier} ({earlier_place}); events must be sorted by time; \
         {}",
        path.display(),
        place.after_path(),
        place.how_to_sort()
    )]
    Unsorted {
        /// The file.
        path: PathBuf,
        /// Place of the event that comes too late.
        place: Place,
        /// Its time as written.
        time: String,
        /// Place of the event before it, with its file if that is another one.
        earlier_place: String,
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
    /// An array of features (`.npy`, `.npz`, `.pt`) is damaged, unsupported, or does not fit the events.
    #[error("{}: {problem}", path.display())]
    Array {
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
    /// Work ended early because it was asked to (see [`crate::stop`]).
    #[error(transparent)]
    Stopped(#[from] Stopped),
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
        move |error| DataError::Io {
            action,
            path,
            error,
        }
    }

    pub(crate) fn line(
        path: &Path,
        place: Place,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> DataError {
        DataError::Line {
            path: path.to_path_buf(),
            place,
            found: found.into(),
            expected: expected.into(),
        }
    }

    pub(crate) fn format(
        path: &Path,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> DataError {
        DataError::Format {
            path: path.to_path_buf(),
            found: found.into(),
            remedy: remedy.into(),
        }
    }

    pub(crate) fn array(path: &Path, problem: impl Into<String>) -> DataError {
        DataError::Array {
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

    /// A store that is not as it was written.
    pub(crate) fn damaged_store(path: &Path, what: impl fmt::Display) -> DataError {
        DataError::store(
            path,
            format!("{what}; the store is damaged: delete it and import the stream again"),
        )
    }

    /// Whether it is about a store that can't be used as it is.
    pub(crate) fn is_of_store(&self) -> bool {
        match self {
            DataError::Store { .. } => true,
            DataError::Io { error, .. } => error.kind() == io::ErrorKind::NotFound,
            _ => false,
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
fn io_advice(action: &str, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
            if action.starts_with("create ") =>
        {
            " (converted streams go to MSPIPE_CACHE_DIR or --cache-dir, which can be any folder that can be written to)"
        }
        io::ErrorKind::StorageFull => {
            " (free some space, or set MSPIPE_CACHE_DIR to a folder on a larger disk)"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            " (check the permissions; converted streams go to MSPIPE_CACHE_DIR, which can be any writable folder)"
        }
        io::ErrorKind::NotFound => " (check the path)",
        io::ErrorKind::InvalidFilename => " (choose a shorter name, or one of plain letters)",
        _ => "",
    }
}

/// Text quoted in a message: at most 60 characters, control characters escaped.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = shortened(&text, 60)
        .chars()
        .flat_map(char::escape_debug)
        .collect();
    format!("`{text}`")
}

/// The first `most` characters of a text from outside, so that a message can be read.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
