//! What a server's folder goes on from: `origin.json`.
//!
//! Once the folder has a state of its own, that one answers, and what the server is started with is not read any
//! more. So the folder keeps what it began with, and a server that is started with anything else is refused: a
//! run that was trained anew, a state that has followed events elsewhere.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use mspipe_datasets::whole_file::{self, Existing};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::ServeError;
use crate::session::predict::FILE_NAME;
use crate::weights;

/// Name of the file.
const ORIGIN: &str = "origin.json";

/// Bytes that a state ends with: the SHA-256 of all before them.
const SEAL: u64 = 32;

/// What a folder began with.
#[derive(Debug, Serialize, Deserialize)]
struct Origin {
    /// As it was given.
    path: PathBuf,
    /// SHA-256 of the state, or of the weights where the run had none.
    sha256: String,
}

/// Refuses to serve `path` from `folder`, whose state answers, if it began with something else; keeps what it
/// begins with. `tell` is told where nobody knows.
///
/// # Errors
/// Another origin; files that can't be read or written.
pub(super) fn check(path: &Path, folder: &Path, tell: &dyn Fn(&str)) -> Result<(), ServeError> {
    let failed = |error| ServeError::Folder {
        path: folder.to_owned(),
        error,
    };
    let state = folder.join(FILE_NAME);
    if is_same(path, &state) || is_same(path, folder) {
        return Ok(());
    }
    let Some(given) = origin(path).map_err(failed)? else {
        // Whoever loads it says what is wrong.
        return Ok(());
    };
    let file = folder.join(ORIGIN);
    match fs::read(&file) {
        Ok(bytes) => {
            let kept: Origin = serde_json::from_slice(&bytes)
                .map_err(|error| failed(io::Error::other(format!("{ORIGIN}: {error}"))))?;
            if kept.sha256 != given.sha256 {
                return Err(ServeError::Origin {
                    folder: folder.to_owned(),
                    path: path.to_owned(),
                    kept: kept.path,
                });
            }
            return Ok(());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    if state.is_file() {
        tell(&format!(
            "{}: its state answers, and nothing says whether it began with {}",
            folder.display(),
            path.display()
        ));
    }
    let text = serde_json::to_string_pretty(&given).map_err(|error| failed(error.into()))?;
    whole_file::write(&file, Existing::Replace, |out| {
        out.write_all(text.as_bytes())
    })
    .map_err(|error| failed(error.into()))
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// What `path`, a run or a state, is; `None` where it is neither.
fn origin(path: &Path) -> io::Result<Option<Origin>> {
    let of = |file: PathBuf, hash: fn(&Path) -> io::Result<String>| {
        let sha256 = hash(&file)?;
        Ok(Some(Origin {
            path: path.to_owned(),
            sha256,
        }))
    };
    let inside = |name: &str| Some(path.join(name)).filter(|file| file.is_file());
    match (
        path.is_file(),
        inside(FILE_NAME),
        inside(weights::FILE_NAME),
    ) {
        (true, ..) => of(path.to_owned(), sealed),
        (_, Some(state), _) => of(state, sealed),
        (_, None, Some(weights)) => of(weights, hashed),
        _ => Ok(None),
    }
}

/// The SHA-256 that a state ends with, in hex.
fn sealed(state: &Path) -> io::Result<String> {
    let mut file = File::open(state)?;
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(SEAL)))?;
    let mut seal = Vec::new();
    file.read_to_end(&mut seal)?;
    Ok(hex(&seal))
}

/// The SHA-256 of weights, in hex.
fn hashed(weights: &Path) -> io::Result<String> {
    Ok(hex(&Sha256::digest(fs::read(weights)?)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
