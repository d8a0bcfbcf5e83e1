//! Whether bytes are the file that a manifest describes: read as what they should be, and compared
//! with every figure that is known.
//!
//! A length and a checksum say that all bytes came, if somebody published them. That they are
//! events, and as many as there should be, only reading them says.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use super::options::FetchOptions;
use crate::arrays::ArrayFile;
use crate::check;
use crate::error::{DataError, quoted};
use crate::formats::format::Format;
use crate::import::options::OpenOptions;
use crate::manifest::{Manifest, Measured, Mismatch};

/// What reading a file showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// It is the event stream.
    Events {
        /// Its events.
        events: i64,
        /// Figures of the manifest that it was compared with, and has.
        agreed: Vec<&'static str>,
        /// Whether the number of events is among those that were counted in a real file.
        verified: bool,
    },
    /// It is an array.
    Array {
        /// Its rows.
        rows: usize,
        /// Values of a row.
        width: usize,
    },
    /// It is a text of another kind, of which only the beginning was looked at.
    Beginning,
}

impl Proof {
    /// Whether reading it showed that it is complete.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Proof::Events { verified, .. } => *verified,
            Proof::Array { .. } => true,
            Proof::Beginning => false,
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proof::Events { events, agreed, .. } if agreed.is_empty() => {
                write!(f, "{events} events read, with nothing to compare them with")
            }
            Proof::Events { events, agreed, .. } => {
                write!(
                    f,
                    "{events} events read; as expected: {}",
                    agreed.join(", ")
                )
            }
            Proof::Array { rows, width } => write!(f, "an array of {rows} x {width}"),
            Proof::Beginning => f.write_str("only its beginning was looked at"),
        }
    }
}

/// Why bytes are not the file.
#[derive(Debug)]
pub(super) enum Doubt {
    /// They are something else, or damaged.
    Other(String),
    /// They are such a file, but not this one.
    Figures(Vec<Mismatch>),
    /// They could not be read, or reading was stopped.
    Unread(DataError),
}

/// Reads `path` as the file `index` of `manifest`.
pub(super) fn prove(
    manifest: &Manifest,
    index: usize,
    path: &Path,
    options: &FetchOptions,
) -> Result<Proof, Doubt> {
    if let Some(page) = page(path).map_err(Doubt::Unread)? {
        return Err(Doubt::Other(page));
    }
    let name = manifest.files[index].file.as_str();
    if index == 0 {
        return events(manifest, path, options);
    }
    if [".pt", ".npy", ".npz"]
        .iter()
        .any(|ending| name.ends_with(ending))
    {
        return array(manifest, name, path);
    }
    Ok(Proof::Beginning)
}

/// What bytes are that a server sends instead of a file; None for anything else.
fn page(path: &Path) -> Result<Option<String>, DataError> {
    let mut start = Vec::new();
    File::open(path)
        .map_err(DataError::io("open", path))?
        .take(512)
        .read_to_end(&mut start)
        .map_err(DataError::io("read", path))?;
    let text = start.trim_ascii_start();
    Ok(match text.first() {
        None => Some("it is empty".to_owned()),
        Some(b'<') => Some(format!("a web page that begins with {}", quoted(text))),
        Some(b'{' | b'[') => Some(format!("JSON that begins with {}", quoted(text))),
        Some(_) => None,
    })
}

fn events(manifest: &Manifest, path: &Path, options: &FetchOptions) -> Result<Proof, Doubt> {
    let open = OpenOptions {
        format: Format::ALL
            .into_iter()
            .find(|format| format.name() == manifest.format),
        cache_dir: options.cache_dir.clone(),
        stop: options.stop.clone(),
        ..OpenOptions::default()
    };
    let info = check::measure(&path.to_string_lossy(), &open).map_err(|error| match error {
        DataError::Io { .. } | DataError::Stopped(_) => Doubt::Unread(error),
        error => Doubt::Other(named(&error, path, &manifest.files[0].file)),
    })?;
    if info.events == 0 {
        return Err(Doubt::Other("it has no events".to_owned()));
    }
    let measured = match manifest.files.len() {
        1 => info.measured(),
        // Other files bring the features and the nodes without events.
        _ => Measured {
            events: info.measured().events,
            first_time: info.measured().first_time,
            last_time: info.measured().last_time,
            ..Measured::default()
        },
    };
    let mismatches = manifest.verify(&measured);
    if !mismatches.is_empty() {
        return Err(Doubt::Figures(mismatches));
    }
    let expected = &manifest.statistics.events;
    Ok(Proof::Events {
        events: measured.events.unwrap_or_default(),
        agreed: manifest.comparable(&measured),
        verified: expected.verified && expected.value.is_some(),
    })
}

/// An error about the file at `path` under the name that it should get: the other one is about to
/// be removed.
fn named(error: &DataError, path: &Path, name: &str) -> String {
    error.to_string().replace(&path.display().to_string(), name)
}

fn array(manifest: &Manifest, name: &str, path: &Path) -> Result<Proof, Doubt> {
    let table = ArrayFile::on_disk(path)
        .open(name)
        .map_err(|error| match error {
            DataError::Io { .. } => Doubt::Unread(error),
            error => Doubt::Other(named(&error, path, name)),
        })?;
    let (rows, width) = (table.rows(), table.width());
    let mut measured = Measured::default();
    let width_of = i64::try_from(width).ok();
    match name.starts_with("node") {
        true => measured.node_feature_width = width_of,
        false => measured.edge_feature_width = width_of,
    }
    match manifest.verify(&measured) {
        mismatches if mismatches.is_empty() => Ok(Proof::Array { rows, width }),
        mismatches => Err(Doubt::Figures(mismatches)),
    }
}
