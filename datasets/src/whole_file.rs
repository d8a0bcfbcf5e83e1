//! Files that appear under their name only when they are whole.
//!
//! Content goes into a temporary file beside the final name, is synchronised, and renamed. Until
//! then nothing of what had the name is touched; on every way out but success the temporary file
//! is removed. What exists already is replaced only where the caller says so.
//!
//! A name that is a device or a pipe (`/dev/stdout`) is written to directly.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;
use thiserror::Error;

/// With what the names of temporary files begin.
const PREFIX: &str = ".mspipe-";

/// With what they end.
const SUFFIX: &str = ".tmp";

/// What to do with a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse, and leave it as it is.
    Keep,
    /// Replace it.
    Replace,
}

impl Existing {
    /// What `--force` says.
    pub fn forced(force: bool) -> Existing {
        if force {
            Existing::Replace
        } else {
            Existing::Keep
        }
    }
}

/// Why a file was not written. What had its name is as it was.
#[derive(Debug, Error)]
pub enum WholeFileError {
    /// The name is taken.
    #[error("{}: exists already; choose another name, or replace it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The name is that of a folder.
    #[error("{}: is a folder; give the name of a file", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// Its folder is not there.
    #[error("{}: there is no folder {}; create it, or choose another", path.display(), parent.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// The folder.
        parent: PathBuf,
    },
    /// The system refuses.
    #[error("{}: can't be written: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl WholeFileError {
    /// The system's reason alone, for messages that name the file themselves.
    pub fn reason(self) -> io::Error {
        match self {
            WholeFileError::Write { error, .. } => error,
            other => io::Error::other(other.to_string()),
        }
    }
}

impl From<WholeFileError> for io::Error {
    /// The same message.
    fn from(error: WholeFileError) -> io::Error {
        let kind = match &error {
            WholeFileError::Write { error, .. } => error.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error.to_string())
    }
}

/// A file that is being written. Dropped before [`WholeFile::commit`], it leaves nothing.
#[derive(Debug)]
pub struct WholeFile {
    /// The name that was asked for.
    path: PathBuf,
    existing: Existing,
    out: Out,
}

#[derive(Debug)]
enum Out {
    /// A regular file, its name until it is whole, and the one that it will have, links followed.
    /// Written to by itself: what wraps both would put the temporary name into each error.
    Temporary(BufWriter<File>, TempPath, PathBuf),
    /// A device or a pipe.
    Direct(BufWriter<File>),
}

impl WholeFile {
    /// Begins to write `path`.
    ///
    /// # Errors
    /// As [`check`], and when no file can be created beside it.
    pub fn create(path: &Path, existing: Existing) -> Result<WholeFile, WholeFileError> {
        check(path, existing)?;
        let failed = |error| WholeFileError::Write {
            path: path.to_owned(),
            error,
        };
        let out = match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => {
                let file = File::options().write(true).open(path).map_err(failed)?;
                Out::Direct(BufWriter::new(file))
            }
            found => {
                // A link stays a link: what it points to is replaced.
                let target = match found {
                    Ok(_) => fs::canonicalize(path).map_err(failed)?,
                    Err(_) => path.to_owned(),
                };
                let (file, name) = temporary(parent(&target)).map_err(failed)?;
                Out::Temporary(BufWriter::new(file), name, target)
            }
        };
        Ok(WholeFile {
            path: path.to_owned(),
            existing,
            out,
        })
    }

    /// Writes out what is buffered, and waits until it is on disk.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn sync(&mut self) -> Result<(), WholeFileError> {
        let written = match &mut self.out {
            Out::Direct(out) => out.flush(),
            Out::Temporary(out, ..) => out.flush().and_then(|()| out.get_ref().sync_all()),
        };
        written.map_err(|error| self.failed(error))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When not all of it gets to the disk, or the name was taken meanwhile.
    pub fn commit(mut self) -> Result<(), WholeFileError> {
        self.sync()?;
        let WholeFile {
            path,
            existing,
            out,
        } = self;
        // The file stays open until it has its name: nothing is buffered any more.
        let Out::Temporary(_out, name, target) = out else {
            return Ok(());
        };
        let named = match existing {
            Existing::Replace => name.persist(&target),
            Existing::Keep => name.persist_noclobber(&target),
        };
        match named {
            Ok(_) => {
                sync_folder(parent(&target));
                Ok(())
            }
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(WholeFileError::Exists { path })
            }
            Err(error) => Err(WholeFileError::Write {
                path,
                error: error.error,
            }),
        }
    }

    fn failed(&self, error: io::Error) -> WholeFileError {
        WholeFileError::Write {
            path: self.path.clone(),
            error,
        }
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Out::Temporary(out, ..) => out.write(bytes),
            Out::Direct(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Temporary(out, ..) => out.flush(),
            Out::Direct(out) => out.flush(),
        }
    }
}

/// Writes `path` in one go.
///
/// # Errors
/// As [`WholeFile::create`] and [`WholeFile::commit`]; what `content` gives, with the file's name.
pub fn write(
    path: &Path,
    existing: Existing,
    content: impl FnOnce(&mut WholeFile) -> io::Result<()>,
) -> Result<(), WholeFileError> {
    let mut file = WholeFile::create(path, existing)?;
    content(&mut file).map_err(|error| file.failed(error))?;
    file.commit()
}

/// Whether `path` can be a file to write, before the work for it is done.
///
/// # Errors
/// When the name is taken and must not be replaced, is a folder's, or its folder is missing.
pub fn check(path: &Path, existing: Existing) -> Result<(), WholeFileError> {
    let own = || path.to_owned();
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(WholeFileError::Folder { path: own() }),
        Ok(metadata) if !metadata.is_file() => return Ok(()),
        _ => {}
    }
    // A link to nothing is something, too.
    if existing == Existing::Keep && fs::symlink_metadata(path).is_ok() {
        return Err(WholeFileError::Exists { path: own() });
    }
    let parent = parent(path);
    if !parent.is_dir() {
        return Err(WholeFileError::NoFolder {
            path: own(),
            parent: parent.to_owned(),
        });
    }
    Ok(())
}

/// Whether both names are of one file, links followed. Of a file that is not there yet, its folder
/// tells.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| match fs::canonicalize(path) {
        Ok(place) => Some(place),
        Err(_) => Some(fs::canonicalize(parent(path)).ok()?.join(path.file_name()?)),
    };
    place(one).is_some_and(|one| place(other) == Some(one))
}

/// Removes what programs that were killed while they wrote left in `folder`. The caller must be the
/// only one that writes there.
pub fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(is_temporary);
        if ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            // What can't be removed is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a temporary file has such a name.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// Makes renames in `folder` last through a power cut, where the system lets a folder be synchronised.
/// Where it does not, files are whole all the same, and a cut may bring the ones before back.
pub fn sync_folder(folder: &Path) {
    if cfg!(unix) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

fn temporary(folder: &Path) -> io::Result<(File, TempPath)> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    if let Some(permissions) = permissions() {
        builder.permissions(permissions);
    }
    let file = builder.tempfile_in(folder).map_err(plain)?;
    Ok(file.into_parts())
}

/// The system's reason alone. `tempfile` wraps it with the temporary name, and gives it out only as
/// a part of its message.
fn plain(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((reason, _)) => io::Error::new(error.kind(), reason),
        None => error,
    }
}

/// Those of any new file, which the user's mask cuts; temporary files would be their owner's alone.
#[cfg(unix)]
fn permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn permissions() -> Option<Permissions> {
    None
}

/// The folder of `path`; of a bare name the current one.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_has_the_name_before_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut file = WholeFile::create(&path, Existing::Keep).unwrap();
        file.write_all(b"half").unwrap();
        file.sync().unwrap();
        assert!(!path.exists());
        file.write_all(b" and half").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "half and half");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn an_error_or_a_panic_leaves_what_was_there_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "mine").unwrap();
        let full = |_: &mut WholeFile| Err(io::Error::from(io::ErrorKind::StorageFull));
        let error = write(&path, Existing::Replace, full).unwrap_err();
        let message = format!("{}: can't be written: no storage space", path.display());
        assert_eq!(error.to_string(), message);
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(error.to_string(), message);
        std::panic::catch_unwind(|| {
            let _ = write(&path, Existing::Replace, |_| panic!("while writing"));
        })
        .unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn what_exists_is_replaced_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "mine").unwrap();
        let error = write(&path, Existing::Keep, |out| out.write_all(b"new")).unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        write(&path, Existing::Replace, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_name_that_is_taken_while_it_is_written_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let error = write(&path, Existing::Keep, |out| {
            fs::write(&path, "somebody else's")?;
            out.write_all(b"new")
        });
        assert!(matches!(error, Err(WholeFileError::Exists { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else's");
    }

    #[test]
    fn folders_and_missing_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| check(path, Existing::Replace).unwrap_err().to_string();
        assert!(refused(folder.path()).contains("is a folder"));
        let nowhere = folder.path().join("no/a");
        assert!(refused(&nowhere).contains("there is no folder"));
        check(Path::new("bare-name"), Existing::Keep).unwrap();
    }

    #[test]
    fn one_file_has_many_names() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("a"), folder.path().join("./a"));
        assert!(is_same(&here, &there), "before it is there");
        fs::write(&here, "").unwrap();
        assert!(is_same(&here, &there));
        assert!(!is_same(&here, &folder.path().join("b")));
        assert!(!is_same(
            &folder.path().join("no/a"),
            &folder.path().join("no/a")
        ));
    }

    /// The temporary name is no help to anybody: it is gone when the message is read.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_error_names_the_file_that_was_asked_for_and_no_other() {
        let error = WholeFile::create(Path::new("/proc/a"), Existing::Keep).unwrap_err();
        assert!(matches!(error, WholeFileError::Write { .. }), "{error:?}");
        let message = error.to_string();
        assert!(
            message.starts_with("/proc/a: can't be written: "),
            "{message}"
        );
        assert!(!message.contains(PREFIX), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_devices_are_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "mine").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, Existing::Replace, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let dangling = folder.path().join("dangling");
        std::os::unix::fs::symlink(folder.path().join("nothing"), &dangling).unwrap();
        let refused = check(&dangling, Existing::Keep);
        assert!(matches!(refused, Err(WholeFileError::Exists { .. })));
        write(Path::new("/dev/null"), Existing::Keep, |out| {
            out.write_all(b"gone")
        })
        .unwrap();
    }

    #[test]
    fn what_a_killed_program_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".mspipe-abc.tmp", "mine.tmp", ".mspipe-abc"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        sweep(folder.path());
        assert_eq!(names(folder.path()), [".mspipe-abc", "mine.tmp"]);
    }
}
