//! The checkpoints of a run: the last one, and the one before it.
//!
//! Invariant: at every moment at least one whole checkpoint has a final name, once one was
//! written, and whatever has a final name is whole.

use std::fs;
use std::path::{Path, PathBuf};

use mspipe_datasets::whole_file::{Existing, WholeFile, WholeFileError};

use super::file;
use super::{Arrays, Checkpoint, CheckpointError, Header};

/// Name of the last checkpoint of a run.
pub const LAST: &str = "checkpoint.safetensors";

/// Name of the one before it.
pub const PREVIOUS: &str = "checkpoint-previous.safetensors";

/// Name under which a damaged one is put aside.
pub const DAMAGED: &str = "checkpoint-damaged.safetensors";

/// The checkpoints in a folder.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// A checkpoint to resume from.
#[derive(Debug)]
pub struct Loaded {
    /// Its content.
    pub checkpoint: Checkpoint,
    /// Its file.
    pub path: PathBuf,
    /// Why it is not the last one: that is damaged. [`Checkpoints::load`] puts it aside as
    /// [`DAMAGED`].
    pub passed_over: Option<CheckpointError>,
}

impl Loaded {
    /// Its epoch and iteration.
    pub(crate) fn place(&self) -> (usize, usize) {
        let header = &self.checkpoint.header;
        (header.epoch, header.iteration)
    }
}

impl Checkpoints {
    /// Those in `folder`, the folder of a run.
    pub fn of(folder: &Path) -> Checkpoints {
        Checkpoints {
            folder: folder.to_owned(),
        }
    }

    /// Writes a checkpoint; the last one becomes the one before.
    ///
    /// # Errors
    /// When it can't be written; the last one stays then.
    pub fn save(&self, header: &Header, arrays: &Arrays<'_>) -> Result<(), CheckpointError> {
        let (last, previous) = (self.folder.join(LAST), self.folder.join(PREVIOUS));
        let failed = |source| CheckpointError::unwritable(&last, source);
        let unwritten = |error: WholeFileError| failed(error.reason());
        let mut out = WholeFile::create(&last, Existing::Replace).map_err(unwritten)?;
        file::write_to(&mut out, header, arrays).map_err(failed)?;
        // The last one keeps its name until the new one is whole.
        out.sync().map_err(unwritten)?;
        if last.exists() {
            fs::rename(&last, &previous).map_err(failed)?;
        }
        out.commit().map_err(unwritten)
    }

    /// The last checkpoint, or where that is damaged the one before it; nothing if there is
    /// none yet.
    ///
    /// # Errors
    /// When none is whole, one is of another version, or the folder can't be read.
    pub(crate) fn find(&self) -> Result<Option<Loaded>, CheckpointError> {
        let mut damaged: Option<CheckpointError> = None;
        for name in [LAST, PREVIOUS] {
            let path = self.folder.join(name);
            match path.try_exists() {
                Ok(false) => continue,
                Ok(true) => {}
                Err(error) => return Err(CheckpointError::unreadable(&path, error)),
            }
            match (file::read(&path), damaged.take()) {
                (Ok(checkpoint), passed_over) => {
                    return Ok(Some(Loaded {
                        checkpoint,
                        path,
                        passed_over,
                    }));
                }
                (Err(error), None) if error.is_damage() => damaged = Some(error),
                (Err(error), Some(last)) if error.is_damage() => {
                    return Err(CheckpointError::NoneWhole {
                        last: Box::new(last),
                        previous: Box::new(error),
                    });
                }
                (Err(error), _) => return Err(error),
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    /// As [`Checkpoints::find`], to continue from it: a last one that is damaged is renamed, so that
    /// the next one does not push the whole one out.
    ///
    /// # Errors
    /// Also when it can't be renamed.
    pub(crate) fn load(&self) -> Result<Option<Loaded>, CheckpointError> {
        let found = self.find()?;
        if found
            .as_ref()
            .is_some_and(|found| found.passed_over.is_some())
        {
            let last = self.folder.join(LAST);
            fs::rename(&last, self.folder.join(DAMAGED))
                .map_err(|error| CheckpointError::unwritable(&last, error))?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
