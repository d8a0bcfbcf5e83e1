//! The folder that `accept` writes to, for as long as it runs: a second one with the same folder is refused when it
//! begins, not after its ten minutes.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use mspipe_datasets::whole_file::{self, Existing};

/// Its lock is held while the folder is taken; the system releases that of a program that was killed.
const LOCK: &str = ".accept.lock";

/// A folder that no other `accept` writes to until this is dropped.
pub(super) struct Claim {
    /// `accept.json` and `accept.html`.
    pub(super) files: [PathBuf; 2],
    /// Whether one of them is there, of another day.
    pub(super) replaces: bool,
    folder: PathBuf,
    lock: Option<File>,
    /// Whether the folder was not there before.
    made: bool,
}

impl Claim {
    /// Takes `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// It is a file; it can't be written to; it is taken; there is a report in it and nobody said `force`.
    pub(super) fn of(folder: &Path, force: bool) -> Result<Claim> {
        let named = || format!("--out {}", folder.display());
        ensure!(
            !folder.exists() || folder.is_dir(),
            "{}: is a file; give the name of a folder",
            named()
        );
        let made = !folder.exists();
        fs::create_dir_all(folder).with_context(named)?;
        let lock = File::create(folder.join(LOCK)).with_context(named)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "{}: another 'accept' is writing to it; wait until it has ended, or choose another folder",
                named()
            ),
            Err(TryLockError::Error(error)) => {
                return Err(anyhow!(error).context(format!("{}: can't be locked", named())));
            }
        }
        let files = ["accept.json", "accept.html"].map(|name| folder.join(name));
        let claim = Claim {
            replaces: files.iter().any(|file| file.exists()),
            files,
            folder: folder.to_owned(),
            lock: Some(lock),
            made,
        };
        for file in &claim.files {
            whole_file::check(file, Existing::forced(force))?;
        }
        Ok(claim)
    }

    /// Removes a report of before that nothing can be written in place of, so that it is not taken for one of now.
    /// Says what became of it.
    pub(super) fn outdated(&self) -> &'static str {
        let left = |file: &PathBuf| fs::remove_file(file).is_err() && file.exists();
        match self.files.iter().filter(|file| left(file)).count() {
            0 => "the report of before is removed, and no other can be written",
            _ => "the report that is there is the one of before, and no other can be written",
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Closed first: Windows removes no open file. What can't be removed is an empty file.
        drop(self.lock.take());
        let _ = fs::remove_file(self.folder.join(LOCK));
        if self.made {
            // Refused where something was written.
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(folder: &Path, force: bool) -> String {
        let claim = Claim::of(folder, force);
        claim.err().map(|error| format!("{error:#}")).unwrap()
    }

    #[test]
    fn a_folder_is_one_accept_s_until_it_has_ended() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("accept");
        let first = Claim::of(&folder, false).unwrap();
        for force in [false, true] {
            let why = refused(&folder, force);
            assert!(why.contains("another 'accept' is writing to it"), "{why}");
        }
        drop(first);
        assert!(!folder.exists(), "nothing was written");

        let second = Claim::of(&folder, false).unwrap();
        fs::write(&second.files[0], "{}").unwrap();
        drop(second);
        let names: Vec<_> = fs::read_dir(&folder).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        let why = refused(&folder, false);
        assert!(why.contains("exists already"), "{why}");
        assert!(Claim::of(&folder, true).is_ok());
    }

    #[test]
    fn a_file_is_no_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let why = refused(file.path(), false);
        assert!(
            why.contains("is a file; give the name of a folder"),
            "{why}"
        );
    }
}
