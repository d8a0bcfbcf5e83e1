//! What can go wrong while fetching, in words that say what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::manifest::Mismatch;

/// Where to get a file and where to put it when `mspipe` can't fetch it itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByHand {
    /// Address of the published file.
    pub url: String,
    /// Where the (unpacked) file is looked for.
    pub path: PathBuf,
    /// Whether the published file must be unpacked first.
    pub packed: bool,
}

impl fmt::Display for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ByHand { url, path, packed } = self;
        let unpack = if *packed {
            ", unpack it with gunzip,"
        } else {
            ""
        };
        write!(
            f,
            "by hand: download {url} elsewhere{unpack} and put the file at {}",
            path.display()
        )
    }
}

/// Why a data set could not be fetched. Nothing lies under a final name that was not complete and right.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The host name can't be resolved or no route leads to it.
    #[error("{}: no network: {reason}; check the connection (and HTTPS_PROXY, if you need a proxy), or {by_hand}", by_hand.url)]
    NoNetwork {
        /// What the system said.
        reason: String,
        /// The way round it.
        by_hand: ByHand,
    },
    /// The server refuses the request for good.
    #[error("{}: the server answered {status}, expected 200; the file may have moved; {by_hand}", by_hand.url)]
    Status {
        /// HTTP status with its name, such as `404 Not Found`.
        status: String,
        /// The way round it.
        by_hand: ByHand,
    },
    /// A page for people or programs came instead of the file.
    #[error(
        "{}: the server sent a page ({kind}), expected the file; does this network want a login? \
         fetch again after it, or {by_hand}",
        by_hand.url
    )]
    Page {
        /// Its content type.
        kind: String,
        /// The way round it.
        by_hand: ByHand,
    },
    /// What came can't be read as the file that it should be.
    #[error(
        "{}: the {bytes} bytes that came are not the file: {found}; they were removed; fetch again later, or {by_hand}",
        by_hand.url
    )]
    NotTheFile {
        /// How much came.
        bytes: u64,
        /// What was found instead.
        found: String,
        /// The way round it.
        by_hand: ByHand,
    },
    /// What came is such a file, but not this one.
    #[error(
        "{}: the {bytes} bytes that came are not this data set: {}; they were removed; fetch again later, or {by_hand}",
        by_hand.url,
        listed(mismatches)
    )]
    OtherFigures {
        /// How much came.
        bytes: u64,
        /// Figures that it does not have.
        mismatches: Vec<Mismatch>,
        /// The way round it.
        by_hand: ByHand,
    },
    /// Nothing says whether all of the file came.
    #[error(
        "{}: the server does not say how long the file is, and its size, its sha256 and its number of events are \
         not known: nothing shows that the {bytes} bytes that came are all of it; they were removed; fetch again \
         later, or {by_hand}",
        by_hand.url
    )]
    Unproven {
        /// How much came.
        bytes: u64,
        /// The way round it.
        by_hand: ByHand,
    },
    /// A file of that name is there, but it is not the data set's.
    #[error(
        "{}: this is not the data set's file: {found}; move it away and fetch again",
        path.display()
    )]
    ExistingUnsound {
        /// The file that is there.
        path: PathBuf,
        /// What was found instead.
        found: String,
    },
    /// Under a name that fetching uses lies something that it did not put there.
    #[error(
        "{}: a link, or no plain file, where fetching keeps its own; whoever can write in this folder may have put \
         it there: remove it and fetch again",
        path.display()
    )]
    NotPlain {
        /// The link.
        path: PathBuf,
    },
    /// Reading the file failed for another reason than its content.
    #[error("{}: it could not be read to see whether it is the file: {error}", path.display())]
    Unread {
        /// The file; the downloaded one is kept under this name.
        path: PathBuf,
        /// Why.
        error: Box<DataError>,
    },
    /// It was asked to stop.
    #[error(
        "{url}: interrupted after {bytes} bytes; {}",
        part.as_ref().map_or(
            "nothing was kept: run the same command again to start over".to_owned(),
            |part| format!("they are kept in {}: run the same command again to continue", part.display()),
        )
    )]
    Stopped {
        /// Address of the file.
        url: String,
        /// The incomplete file, if it is kept.
        part: Option<PathBuf>,
        /// Bytes that came.
        bytes: u64,
    },
    /// No byte came, however often it was tried.
    #[error("{}: no answer after {attempts} attempts, the last one: {reason}; try again later, or {by_hand}", by_hand.url)]
    Unavailable {
        /// Requests made.
        attempts: u32,
        /// Why the last one failed.
        reason: String,
        /// The way round it.
        by_hand: ByHand,
    },
    /// The transfer broke off and could not be continued; what has come is kept if it can be continued later.
    #[error(
        "{url}: broke off after {bytes} of {} bytes ({attempts} attempts, the last one: {reason}); {}",
        total.map_or("an unknown number of".to_owned(), |total| total.to_string()),
        part.as_ref().map_or(
            "this server can't continue a download: run the same command again to start over".to_owned(),
            |part| format!("they are kept in {}: run the same command again to continue", part.display()),
        )
    )]
    Interrupted {
        /// Address of the file.
        url: String,
        /// The incomplete file, if it is kept.
        part: Option<PathBuf>,
        /// Bytes that came.
        bytes: u64,
        /// Bytes of the complete file, if announced.
        total: Option<u64>,
        /// Requests made.
        attempts: u32,
        /// Why the last one failed.
        reason: String,
    },
    /// The downloaded bytes are not the published ones.
    #[error(
        "{url}: sha256 is {found}, expected {expected}; the {bytes} downloaded bytes were removed; \
         fetch again, and if it happens again, the file at the address has changed: don't use it unchecked"
    )]
    WrongDigest {
        /// Address of the file.
        url: String,
        /// Published digest.
        expected: String,
        /// Digest of what came.
        found: String,
        /// How much came.
        bytes: u64,
    },
    /// The server announces or sends another number of bytes than it should.
    #[error(
        "{url}: {found} bytes ({what}), expected {expected}; nothing was kept; fetch again later"
    )]
    WrongSize {
        /// Address of the file.
        url: String,
        /// Published or announced number of bytes.
        expected: u64,
        /// Number found.
        found: u64,
        /// Who said so: `announced by the server` or `received`.
        what: &'static str,
    },
    /// The downloaded bytes can't be unpacked.
    #[error("{url}: can't be unpacked: {reason}; the downloaded bytes were removed; fetch again, or {by_hand}", url = by_hand.url)]
    Damaged {
        /// What is wrong with the archive.
        reason: String,
        /// The way round it.
        by_hand: ByHand,
    },
    /// A file of that name is there, but it is another one.
    #[error(
        "{}: {quantity} is {found}, expected {expected} ({origin}); move the file away and fetch again",
        path.display()
    )]
    ExistingDiffers {
        /// The file that is there.
        path: PathBuf,
        /// `sha256` or `size`.
        quantity: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: String,
        /// Who says so.
        origin: String,
    },
    /// Another process is fetching the same data set.
    #[error("{}: another process is fetching this data set; wait for it to finish", lock.display())]
    Busy {
        /// The lock file that it holds.
        lock: PathBuf,
    },
    /// The disk or the quota is full.
    #[error(
        "{}: the disk is full; free some space, or choose another place with MSPIPE_DATA_DIR, and run the \
         same command again to continue ({error})",
        path.display()
    )]
    DiskFull {
        /// The file that could not be written.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The data folder is not ours to write.
    #[error(
        "{}: not allowed to {action}; make the folder writable, or choose another place with MSPIPE_DATA_DIR ({error})",
        path.display()
    )]
    NotAllowed {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// Any other failure of the file system.
    #[error("{}: can't {action}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

pub(super) fn listed(mismatches: &[Mismatch]) -> String {
    let lines: Vec<String> = mismatches.iter().map(Mismatch::to_string).collect();
    lines.join(", ")
}

impl FetchError {
    /// Sorts a file system error into the variants that tell people what to do. For `map_err`.
    pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> FetchError {
        let path = path.to_owned();
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                FetchError::DiskFull { path, error }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                FetchError::NotAllowed {
                    path,
                    action,
                    error,
                }
            }
            _ => FetchError::Io {
                path,
                action,
                error,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_system_errors_say_what_to_do() {
        let message = |kind: io::ErrorKind| {
            FetchError::io(Path::new("d/f"), "write")(kind.into()).to_string()
        };
        assert!(
            message(io::ErrorKind::StorageFull)
                .starts_with("d/f: the disk is full; free some space")
        );
        assert!(message(io::ErrorKind::QuotaExceeded).contains("MSPIPE_DATA_DIR"));
        assert!(
            message(io::ErrorKind::ReadOnlyFilesystem)
                .starts_with("d/f: not allowed to write; make the folder")
        );
        assert!(message(io::ErrorKind::NotADirectory).starts_with("d/f: can't write: "));
    }
}
