//! A file that is read: the one place where what a user names is opened.
//!
//! Readers look at a file several times: at its first bytes, at the list of an archive, at all of it
//! once or twice. A pipe, a terminal or another process's output gives its bytes once. What can't be
//! opened again is therefore copied into a file of our own first ([`InputFile::of`]), whose room only
//! the disk bounds, and which is removed with the last use; messages keep naming what the user named.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::DataError;
use crate::files::checksum::{self, hex};
use crate::files::scratch::Scratch;
use crate::progress::Progress;
use crate::stop::Stop;

/// Bytes that pass from a pipe at a time, and how many such pieces may wait.
const PIECE: usize = 1 << 20;
const WAITING: usize = 4;
/// How often somebody who waits for a pipe looks whether to keep waiting.
const PATIENCE: Duration = Duration::from_millis(100);
/// Bytes at each end of a file that [`InputFile::identity`] looks at.
const ENDS: u64 = 1 << 16;

/// A stream of bytes.
pub(crate) type Bytes = Box<dyn Read + Send>;

/// What stands for standard input where a file is expected.
pub(crate) const STDIN: &str = "-";

/// A file that can be opened as often as it is needed.
#[derive(Debug, Clone)]
pub(crate) struct InputFile {
    disk: PathBuf,
    shown: PathBuf,
    copy: Option<Arc<Copy>>,
    /// Whether this program wrote it, of what somebody has in memory.
    written: bool,
}

/// The bytes of something that can be read only once.
#[derive(Debug)]
struct Copy {
    sha256: String,
    _folder: Scratch,
}

impl InputFile {
    /// `path`, or standard input for [`STDIN`]: copied into a temporary folder in `room` if it can't
    /// be opened twice.
    pub(crate) fn of(path: &Path, room: &Path, stop: &Stop) -> Result<InputFile, DataError> {
        if path == Path::new(STDIN) {
            if io::stdin().is_terminal() {
                return Err(DataError::source(
                    STDIN,
                    "it stands for standard input, which is a terminal; pipe the file into it (zcat FILE | \
                     mspipe …), or name the file (one called so is ./-)",
                ));
            }
            let open = || Ok(Box::new(io::stdin()) as Bytes);
            return InputFile::copied(Path::new("stdin"), open, room, stop);
        }
        let metadata = path.metadata().map_err(DataError::io("open", path))?;
        if !is_read_once(path, &metadata) {
            return Ok(InputFile::on_disk(path));
        }
        let source = path.to_path_buf();
        let open = || Ok(Box::new(File::open(source)?) as Bytes);
        InputFile::copied(path, open, room, stop)
    }

    /// What `open` gives, in a copy in `room`; messages call it `shown`.
    fn copied(
        shown: &Path,
        open: impl FnOnce() -> io::Result<Bytes> + Send + 'static,
        room: &Path,
        stop: &Stop,
    ) -> Result<InputFile, DataError> {
        let folder = Scratch::create_in(room)?;
        let disk = folder.path().join("copy");
        let sha256 = copy(shown, open, &disk, stop)?;
        Ok(InputFile {
            disk,
            shown: shown.to_path_buf(),
            copy: Some(Arc::new(Copy {
                sha256,
                _folder: folder,
            })),
            written: false,
        })
    }

    /// What `write` writes into a file in `room` that is removed with the last use; messages call it
    /// `shown`.
    pub(crate) fn written(
        shown: &Path,
        room: &Path,
        write: impl FnOnce(&mut File) -> Result<(), DataError>,
    ) -> Result<InputFile, DataError> {
        let folder = Scratch::create_in(room)?;
        let disk = folder.path().join("copy");
        let mut file = File::create(&disk).map_err(DataError::io("create", &disk))?;
        write(&mut file)?;
        drop(file);
        let mut sha256 = Sha256::new();
        let mut file = File::open(&disk).map_err(DataError::io("open", &disk))?;
        let mut piece = vec![0; PIECE];
        loop {
            let read = file.read(&mut piece);
            match read.map_err(DataError::io("read", &disk))? {
                0 => break,
                length => sha256.update(&piece[..length]),
            }
        }
        Ok(InputFile {
            disk,
            shown: shown.to_path_buf(),
            copy: Some(Arc::new(Copy {
                sha256: hex(&sha256.finalize()),
                _folder: folder,
            })),
            written: true,
        })
    }

    /// Row group `group` as messages have it: a file that nobody else has written has none.
    pub(crate) fn row_group(&self, group: usize) -> Option<u32> {
        u32::try_from(group).ok().filter(|_| !self.written)
    }

    /// A file that is known to be an ordinary one.
    pub(crate) fn on_disk(path: &Path) -> InputFile {
        InputFile {
            disk: path.to_path_buf(),
            shown: path.to_path_buf(),
            copy: None,
            written: false,
        }
    }

    /// Whether it came through a pipe, and is read from a copy.
    pub(crate) fn is_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// How messages name it.
    pub(crate) fn shown(&self) -> &Path {
        &self.shown
    }

    pub(crate) fn open(&self) -> Result<File, DataError> {
        File::open(&self.disk).map_err(DataError::io("open", &self.shown))
    }

    pub(crate) fn bytes(&self) -> Result<u64, DataError> {
        Ok(self.metadata()?.len())
    }

    /// Length and time of the last change, to notice a change while it is read.
    pub(crate) fn state(&self) -> Result<String, DataError> {
        let metadata = self.metadata()?;
        let modified = metadata
            .modified()
            .map_err(DataError::io("read the modification time of", &self.shown))?;
        Ok(format!("{} {modified:?}", metadata.len()))
    }

    /// What tells this file from others and from itself with another content. A copy is its content.
    /// A file is its place, length, times, number in the file system where there is one (with the
    /// time of its last change, which nobody can set back), and what stands at its ends.
    pub(crate) fn identity(&self) -> Result<String, DataError> {
        if let Some(copy) = &self.copy {
            return Ok(format!("content {}", copy.sha256));
        }
        let place = self
            .disk
            .canonicalize()
            .map_err(DataError::io("find", &self.disk))?;
        let number = file_number(&self.metadata()?);
        let ends = checksum::of_ends(&self.disk, ENDS)?;
        Ok(format!("{place:?} {} {number} {ends}", self.state()?))
    }

    fn metadata(&self) -> Result<Metadata, DataError> {
        let metadata = self.disk.metadata();
        metadata.map_err(DataError::io("read the size of", &self.shown))
    }
}

/// Whether `path` gives its bytes once only. The number of an open file may stand for an ordinary
/// file, and yet share its position with whoever opened it.
fn is_read_once(path: &Path, metadata: &Metadata) -> bool {
    let numbers = ["/dev/stdin", "/dev/fd", "/proc"];
    !metadata.is_file() || numbers.iter().any(|place| path.starts_with(place))
}

#[cfg(unix)]
fn file_number(metadata: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!(
        "{} {} {} {}",
        metadata.dev(),
        metadata.ino(),
        metadata.ctime(),
        metadata.ctime_nsec()
    )
}

#[cfg(not(unix))]
fn file_number(_: &Metadata) -> String {
    String::new()
}

/// Copies all that `from` gives and returns its SHA-256. It is read on a thread of its own: a pipe
/// into which nobody writes can't be left otherwise when the work is to stop.
fn copy(
    from: &Path,
    open: impl FnOnce() -> io::Result<Bytes> + Send + 'static,
    to: &Path,
    stop: &Stop,
) -> Result<String, DataError> {
    let _unfinished = stop.unfinished();
    let (sender, pieces) = sync_channel::<io::Result<Vec<u8>>>(WAITING);
    thread::spawn(move || {
        let mut file = match open() {
            Ok(file) => file,
            // The receiver is gone when the work was stopped; then nobody asks any more.
            Err(error) => return drop(sender.send(Err(error))),
        };
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece);
            let ended = !matches!(read, Ok(1..));
            if sender.send(read.map(|_| piece)).is_err() || ended {
                return;
            }
        }
    });
    let mut file = File::create(to).map_err(DataError::io("create", to))?;
    let mut progress = Progress::unbounded(format!("copying {}", from.display()));
    let mut sha256 = Sha256::new();
    loop {
        stop.check()?;
        let piece = match pieces.recv_timeout(PATIENCE) {
            Ok(piece) => piece.map_err(DataError::io("read", from))?,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        sha256.update(&piece);
        file.write_all(&piece).map_err(DataError::io("write", to))?;
        progress.advance(piece.len() as u64);
    }
    Ok(hex(&sha256.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn an_open_file_s_number_is_read_once_and_can_be_opened_again() {
        use std::os::fd::AsRawFd;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("events");
        std::fs::write(&path, "1 2 3\n").unwrap();
        let open = File::open(&path).unwrap();
        let number = PathBuf::from(format!("/dev/fd/{}", open.as_raw_fd()));
        let file = InputFile::of(&number, place.path(), &Stop::default()).unwrap();
        for _ in 0..2 {
            let mut text = String::new();
            file.open().unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "1 2 3\n");
        }
        assert_eq!(file.shown(), number);
        assert!(file.identity().unwrap().starts_with("content "));
        drop(file);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
