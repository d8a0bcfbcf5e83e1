//! The files that fetching keeps beside a data set's own: opened only where they are its own
//! ([`crate::own_file`]), since a data folder may be shared.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::error::FetchError;
use crate::own_file::is_own;

/// Opens `path` for reading and writing, as it is or new.
///
/// # Errors
/// What is there is a link, or no plain file: [`FetchError::NotPlain`].
pub(super) fn open(path: &Path) -> Result<File, FetchError> {
    let failed = || FetchError::io(path, "open the file");
    let not_plain = || FetchError::NotPlain {
        path: path.to_owned(),
    };
    match fs::symlink_metadata(path) {
        Ok(before) if !is_own(&before) => Err(not_plain()),
        Ok(before) => {
            let file = open_options().open(path).map_err(failed())?;
            // Between the two calls somebody may have put a link there.
            let opened = file.metadata().map_err(failed())?;
            match is_same(&before, &opened) {
                true => Ok(file),
                false => Err(not_plain()),
            }
        }
        // New: the system refuses links.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            open_options().create_new(true).open(path).map_err(failed())
        }
        Err(error) => Err(failed()(error)),
    }
}

/// Replaces the content of `path`.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), FetchError> {
    let mut file = open(path)?;
    file.set_len(0)
        .and_then(|()| file.write_all(content))
        .map_err(FetchError::io(path, "write the file"))
}

/// The content of `path`; None where there is no such file or no plain one.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    fs::symlink_metadata(path)
        .ok()
        .filter(is_own)
        .and_then(|_| fs::read(path).ok())
}

fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

/// Whether both are one file of our own.
#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino()) && is_own(other)
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, other: &Metadata) -> bool {
    is_own(other)
}
