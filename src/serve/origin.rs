//! What a server's folder goes on from: `origin.json`.
//!
//! Once the folder has a state of its own, that one answers, and what the server is started with is not read any
//! more. So the folder keeps what it began with, and a server that is started with anything else is refused: a
//! run that was trained anew, a state that has followed events elsewhere.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use mspipe_datasets::whole_file::{self, Existing};
use serde::{Deserialize, Serialize};

use super::error::ServeError;
use crate::session::predict::{FILE_NAME, identity};

/// Name of the file.
const ORIGIN: &str = "origin.json";

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
    if whole_file::is_same(path, &state) || whole_file::is_same(path, folder) {
        return Ok(());
    }
    let Some(sha256) = identity(path).map_err(failed)? else {
        // Whoever loads it says what is wrong.
        return Ok(());
    };
    let given = Origin {
        path: path.to_owned(),
        sha256,
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
