//! Folders for work in progress, beside the place that its result gets.
//!
//! A folder is removed when its [`Scratch`] is dropped. A program that was killed drops nothing: each
//! folder therefore holds a file that its owner keeps locked, and [`sweep`] removes the folders whose
//! lock nobody holds, which the operating system sees to whatever became of the owner. Where the file
//! system knows no locks nothing is swept. What carries no such file is removed only if it is a day
//! old and holds nothing but what conversions write (those of earlier versions had no lock).

use std::fs::{self, DirEntry, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use indicatif::HumanBytes;
use tempfile::TempDir;

use crate::error::DataError;
use crate::whole_file::parent;

/// Beginning of the names of all such folders; the others are those of earlier versions.
const PREFIX: &str = ".importing-";
const PREFIXES: [&str; 3] = [PREFIX, ".staging-", ".checking-"];
/// The file that its owner locks, and how it begins.
const OWNER: &str = "owner.lock";
const OWNER_TEXT: &[u8] = b"mspipe works in this folder while it holds a lock on this file\n";
/// What conversions write, apart from columns and folders of the prefixes.
const KNOWN: [&str; 6] = [
    "events",
    "features",
    "separate-features",
    "names.json",
    "meta.json",
    "checked",
];
const KNOWN_ENDINGS: [&str; 7] = ["u32", "i64", "i32", "u8", "f32", "f16", "bits"];
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A folder of this process; see the module.
#[derive(Debug)]
pub(crate) struct Scratch {
    // In this order: an open file can keep a folder from being removed.
    _lock: Option<File>,
    folder: TempDir,
}

impl Scratch {
    /// A new folder in `parent`, which is created if it is not there.
    pub(crate) fn create_in(parent: &Path) -> Result<Scratch, DataError> {
        fs::create_dir_all(parent).map_err(DataError::io("create the folder", parent))?;
        let failed = || DataError::io("create a temporary folder in", parent);
        loop {
            let folder = tempfile::Builder::new()
                .prefix(PREFIX)
                .tempdir_in(parent)
                .map_err(failed())?;
            let path = folder.path().join(OWNER);
            let mut file = File::create(&path).map_err(failed())?;
            file.write_all(OWNER_TEXT).map_err(failed())?;
            let _lock = match file.try_lock() {
                Ok(()) if path.exists() => Some(file),
                // Another process swept it before it was locked.
                Ok(()) | Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(_)) => None,
            };
            return Ok(Scratch { _lock, folder });
        }
    }

    /// A new folder beside `target`, and in it an empty one with `target`'s own name, which becomes
    /// `target` in the end. Finds out at once whether there can be one of that name.
    pub(crate) fn beside(target: &Path) -> Result<(Scratch, PathBuf), DataError> {
        if target.symlink_metadata().is_ok() {
            return Err(already_there(target));
        }
        let scratch = Scratch::create_in(parent(target))?;
        let name = target.file_name().unwrap_or(target.as_os_str());
        let inner = scratch.path().join(name);
        fs::create_dir(&inner).map_err(DataError::io("create a folder of the name", target))?;
        Ok((scratch, inner))
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

pub(crate) fn already_there(target: &Path) -> DataError {
    DataError::store(
        target,
        "already exists; delete it first, or choose another place for the store",
    )
}

/// Removes `folder` as a whole or not at all, as far as others can see.
pub(crate) fn remove(folder: &Path) -> Result<(), DataError> {
    let scratch = Scratch::create_in(parent(folder))?;
    match fs::rename(folder, scratch.path().join("removed")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DataError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Bytes of all files below `folder`, as far as they can be read.
pub(crate) fn bytes_below(folder: &Path) -> u64 {
    entries(folder)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Folders of work in progress in `parent`, and whether their owners are gone.
pub(crate) fn left_in(parent: &Path) -> Vec<(PathBuf, bool)> {
    entries(parent)
        .filter(|entry| has_prefix(&entry.file_name().to_string_lossy()))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| Some((entry.path(), Owner::of(&entry.path())?.is_gone())))
        .collect()
}

/// Removes the folders of work in progress in `parent` whose owners are gone; says how many.
pub(crate) fn sweep(parent: &Path) -> Option<String> {
    let (mut folders, mut bytes) = (0, 0);
    for (folder, gone) in left_in(parent) {
        let size = bytes_below(&folder);
        if gone && remove_left(&folder) {
            folders += 1;
            bytes += size;
        }
    }
    (folders > 0).then(|| {
        format!(
            "removed what interrupted conversions had left in {}: {folders} {}, {}",
            parent.display(),
            if folders == 1 { "folder" } else { "folders" },
            HumanBytes(bytes)
        )
    })
}

/// Removes a folder whose owner is gone, if it still is.
fn remove_left(folder: &Path) -> bool {
    // The lock is held until all is gone, so that two sweeps don't meet.
    match Owner::of(folder) {
        Some(Owner::Gone(_lock)) => fs::remove_dir_all(folder).is_ok(),
        _ => false,
    }
}

/// Who works in a folder of one of the prefixes.
enum Owner {
    /// Nobody any more; the lock keeps it so.
    Gone(Option<File>),
    /// Somebody, or it can't be known.
    Alive,
}

impl Owner {
    /// None if the folder is not of mspipe.
    fn of(folder: &Path) -> Option<Owner> {
        let path = folder.join(OWNER);
        let Ok(mut file) = File::options().read(true).write(true).open(&path) else {
            return without_lock(folder).then_some(Owner::Gone(None));
        };
        match file.try_lock() {
            Ok(()) => {
                let mut text = Vec::new();
                let read = (&mut file)
                    .take(OWNER_TEXT.len() as u64)
                    .read_to_end(&mut text);
                (read.is_ok() && text == OWNER_TEXT).then_some(Owner::Gone(Some(file)))
            }
            Err(_) => Some(Owner::Alive),
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, Owner::Gone(_))
    }
}

/// Whether a folder without a lock is of a conversion that ended long ago.
fn without_lock(folder: &Path) -> bool {
    let old = |path: &Path| {
        let modified = path.metadata().and_then(|metadata| metadata.modified());
        modified.is_ok_and(|time| {
            SystemTime::now()
                .duration_since(time)
                .is_ok_and(|age| age > A_DAY)
        })
    };
    old(folder)
        && entries(folder).all(|entry| {
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            let known = KNOWN.contains(&&*name) || has_prefix(&name);
            let column = name
                .rsplit_once('.')
                .is_some_and(|(_, ending)| KNOWN_ENDINGS.contains(&ending));
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => known && without_lock(&path),
                Ok(kind) if kind.is_file() => (known || column) && old(&path),
                _ => false,
            }
        })
}

fn has_prefix(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = entries(folder)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn make_old(path: &Path) {
        let time = SystemTime::now() - 2 * A_DAY;
        File::open(path).unwrap().set_modified(time).unwrap();
    }

    /// What a killed program leaves: a folder whose lock nobody holds.
    fn killed(parent: &Path, name: &str) -> PathBuf {
        let folder = parent.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(OWNER), OWNER_TEXT).unwrap();
        fs::write(folder.join("events"), [0; 100]).unwrap();
        folder
    }

    #[test]
    fn what_nobody_owns_is_swept_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let (alive, inner) = Scratch::beside(&place.path().join("x.mspipe")).unwrap();
        fs::write(inner.join("src.u32"), "1234").unwrap();
        killed(place.path(), ".importing-a");
        killed(place.path(), ".staging-b");
        // Not ours: other names, other files, another text, a file.
        killed(place.path(), "importing-c");
        let foreign = place.path().join(".staging-mine");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("thesis.txt"), "my own").unwrap();
        make_old(&foreign.join("thesis.txt"));
        fs::write(place.path().join(".staging-file"), "").unwrap();
        fs::write(killed(place.path(), ".staging-d").join(OWNER), "mine").unwrap();
        let said = sweep(place.path()).unwrap();
        assert!(said.contains(": 2 folders, "), "{said}");
        let own = alive
            .path()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let mut left = vec![
            own.as_str(),
            ".staging-d",
            ".staging-file",
            ".staging-mine",
            "importing-c",
        ];
        left.sort_unstable();
        assert_eq!(names(place.path()), left);
        assert!(inner.join("src.u32").exists());
        assert_eq!(sweep(place.path()), None);
        drop(alive);
        assert_eq!(names(place.path()).len(), left.len() - 1);
    }

    #[test]
    #[cfg(unix)]
    fn what_earlier_versions_left_is_swept_after_a_day() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join(".staging-old");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("features"), [0; 10]).unwrap();
        assert_eq!(sweep(place.path()), None, "it may be under way");
        make_old(&folder.join("features"));
        make_old(&folder);
        assert!(sweep(place.path()).is_some());
        assert_eq!(names(place.path()), [""; 0]);
    }

    #[test]
    fn a_name_that_cannot_be_is_refused_before_the_work() {
        let place = tempfile::tempdir().unwrap();
        let long = place.path().join("x".repeat(300));
        let message = Scratch::beside(&long).unwrap_err().to_string();
        assert!(
            message.contains("cannot create a folder of the name"),
            "{message}"
        );
        assert_eq!(names(place.path()), [""; 0]);
    }
}
