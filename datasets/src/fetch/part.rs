//! `FILE.part`: the bytes of a download that have come so far, and `FILE.part.json`: which file they belong to.
//!
//! Invariants: the hasher has seen exactly the bytes of the part file; bytes are only ever added to a part whose
//! state names the same address and a validator (ETag or Last-Modified), so that two versions can't be mixed.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::FetchError;
use super::own_file;
use crate::files::checksum::hex;
use crate::whole_file;

/// What the server said of the file when the download began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartState {
    pub(super) url: String,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    /// Bytes of the complete file.
    pub(super) total: Option<u64>,
}

impl PartState {
    /// The header value for If-Range. Weak ETags are not allowed there (RFC 9110, 13.1.5).
    pub(super) fn validator(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        strong.or(self.last_modified.as_deref())
    }
}

/// An incomplete download, open for writing.
pub(super) struct PartFile {
    path: PathBuf,
    state_path: PathBuf,
    file: File,
    hasher: Sha256,
    len: u64,
    state: PartState,
}

impl PartFile {
    /// Opens `path`, keeping its bytes only if they can be continued from `url`.
    pub(super) fn open(path: PathBuf, url: &str) -> Result<PartFile, FetchError> {
        let state_path = with_suffix(&path, ".json");
        let file = own_file::open(&path)?;
        // A state that is missing or unreadable only costs the bytes that have come so far.
        let state: PartState = own_file::read(&state_path)
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let mut hasher = Sha256::new();
        let mut len = 0;
        if state.url == url && state.validator().is_some() {
            len = hash_into(&mut hasher, &file, &path)?;
        }
        let mut part = PartFile {
            path,
            state_path,
            file,
            hasher,
            len,
            state,
        };
        if part.len == 0 || part.state.total.is_some_and(|total| part.len > total) {
            part.begin(PartState {
                url: url.to_owned(),
                ..PartState::default()
            })?;
        }
        Ok(part)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether a later run can use the bytes.
    pub(super) fn can_be_continued(&self) -> bool {
        self.len > 0 && self.state.validator().is_some()
    }

    pub(super) fn state(&self) -> &PartState {
        &self.state
    }

    /// Forgets all bytes and remembers what the server now says of the file.
    pub(super) fn begin(&mut self, state: PartState) -> Result<(), FetchError> {
        let text = serde_json::to_vec_pretty(&state).map_err(|error| FetchError::Io {
            path: self.state_path.clone(),
            action: "write the file",
            error: error.into(),
        })?;
        // First the bytes, then the state: a state must never describe bytes of another version.
        self.file
            .set_len(0)
            .map_err(FetchError::io(&self.path, "truncate the file"))?;
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(FetchError::io(&self.path, "truncate the file"))?;
        own_file::write(&self.state_path, &text)?;
        self.hasher = Sha256::new();
        self.len = 0;
        self.state = state;
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file
            .write_all(bytes)
            .map_err(FetchError::io(&self.path, "write the file"))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Flushes the bytes to the disk and returns their SHA-256 in hex.
    pub(super) fn finish(&mut self) -> Result<String, FetchError> {
        self.file
            .sync_all()
            .map_err(FetchError::io(&self.path, "write the file"))?;
        Ok(hex(&self.hasher.finalize_reset()))
    }

    /// Gives the part its final name.
    pub(super) fn rename(self, target: &Path) -> Result<(), FetchError> {
        // Closed first: some systems don't rename open files.
        drop(self.file);
        move_into_place(&self.path, target)?;
        remove_if_there(&self.state_path)
    }

    /// Removes the bytes and the state.
    pub(super) fn discard(self) -> Result<(), FetchError> {
        drop(self.file);
        remove_if_there(&self.path)?;
        remove_if_there(&self.state_path)
    }
}

/// Atomic rename that survives a power cut where the system can promise that.
pub(super) fn move_into_place(from: &Path, to: &Path) -> Result<(), FetchError> {
    fs::rename(from, to).map_err(FetchError::io(to, "rename the complete file"))?;
    whole_file::sync_folder(whole_file::parent(to));
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<(), FetchError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(FetchError::io(path, "remove the file")(error))
        }
        _ => Ok(()),
    }
}

/// `path` with `suffix` added to its file name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// SHA-256 of a file in hex.
pub(super) fn digest_of(path: &Path) -> Result<String, FetchError> {
    let file = File::open(path).map_err(FetchError::io(path, "read the file"))?;
    let mut hasher = Sha256::new();
    hash_into(&mut hasher, &file, path)?;
    Ok(hex(&hasher.finalize()))
}

/// Hashes the rest of `file`, which is at `path`, with a bar on a terminal; returns the number of bytes.
fn hash_into(hasher: &mut Sha256, file: &File, path: &Path) -> Result<u64, FetchError> {
    let expected = file
        .metadata()
        .map_err(FetchError::io(path, "read the file"))?
        .len();
    let bar = ProgressBar::new(expected);
    if let Ok(style) =
        ProgressStyle::with_template("checking {wide_bar} {bytes}/{total_bytes} ETA {eta}")
    {
        bar.set_style(style);
    }
    let mut reader = bar.wrap_read(file);
    let mut buffer = vec![0; 1 << 16];
    let mut len = 0;
    loop {
        let read = reader
            .read(&mut buffer)
            .map_err(FetchError::io(path, "read the file"))?;
        if read == 0 {
            bar.finish_and_clear();
            return Ok(len);
        }
        hasher.update(&buffer[..read]);
        len += read as u64;
    }
}
