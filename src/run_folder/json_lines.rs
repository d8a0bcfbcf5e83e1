//! A file of JSON lines that grows during a run.
//!
//! Invariant: lines are handed to the system whole, in one piece, so that a program that is
//! killed leaves no half line but where the disk was full. A resumed run cuts off what was
//! written after its checkpoint.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::error::{RunFolderError, failed};
use super::place::refuse_foreign;

/// An open file of JSON lines.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
}

impl JsonLines {
    pub(super) fn create(path: &Path) -> Result<JsonLines, RunFolderError> {
        let file = File::create_new(path).map_err(|error| failed(path, error))?;
        Ok(JsonLines {
            path: path.to_owned(),
            file,
        })
    }

    /// Continues after the first `bytes` of the file.
    pub(super) fn reopen(path: &Path, bytes: u64) -> Result<JsonLines, RunFolderError> {
        // Not opened for appending: Windows lets no such file be cut.
        refuse_foreign(path)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let open = || -> io::Result<(File, u64)> {
            let file = options.open(path)?;
            let found = file.metadata()?.len();
            Ok((file, found))
        };
        let (mut file, found) = open().map_err(|error| failed(path, error))?;
        if found < bytes {
            return Err(RunFolderError::Shorter {
                path: path.to_owned(),
                found,
                expected: bytes,
            });
        }
        file.set_len(bytes)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|error| failed(path, error))?;
        Ok(JsonLines {
            path: path.to_owned(),
            file,
        })
    }

    /// Adds whole lines.
    ///
    /// # Errors
    /// When they can't be written; the message names the file.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file
            .write_all(lines)
            .map_err(|error| named(&self.path, &error))
    }

    /// Waits until all is on disk, and says how many bytes that is.
    ///
    /// # Errors
    /// When it does not get there; the message names the file.
    pub(crate) fn sync(&mut self) -> io::Result<u64> {
        let synced = self.file.sync_data().and_then(|()| self.file.metadata());
        synced
            .map(|metadata| metadata.len())
            .map_err(|error| named(&self.path, &error))
    }
}

/// The same error with the file in its message.
fn named(path: &Path, error: &io::Error) -> io::Error {
    let message = format!("{}: can't be written: {error}", path.display());
    io::Error::new(error.kind(), message)
}
