//! Downloads the files of a data set, so that a file under its final name is always complete and right.
//!
//! Bytes are collected in `FILE.part` (its origin in `FILE.part.json`), continued after a break with Range and
//! If-Range, checked against size and SHA-256, flushed, and only then renamed. Where no SHA-256 is published, the
//! computed one is recorded in `FILE.sha256` (the format of `sha256sum`), so that later damage is found. A lock in
//! the folder keeps two processes from writing the same part.
//!
//! It deliberately fetches one file after the other over one connection: the publishers' servers are shared.
//! Nothing is trusted more than its checksum: without a published one, a `http` address proves nothing.
//!
//! Source: RFC 9110 (HTTP semantics); addresses and checksums from [`crate::manifest`].

mod error;
mod part;
mod transfer;
mod unpack;

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use ureq::Agent;

use crate::manifest::{Manifest, RemoteFile};
pub use error::{ByHand, FetchError};
use part::{PartFile, digest_of, move_into_place, with_suffix};
use transfer::{Effort, Transfer};

/// How to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOptions {
    /// The data folder; files come to lie in `data_dir/NAME/`.
    pub data_dir: PathBuf,
    /// Attempts in a row that may fail without a new byte before it is given up.
    pub retries: u32,
    /// Pause after the first failure; it doubles with every further one.
    pub backoff: Duration,
    /// Longest pause.
    pub max_backoff: Duration,
    /// Longest wait for name resolution and for a connection.
    pub connect_timeout: Duration,
    /// Longest silence of a connected server.
    pub read_timeout: Duration,
}

impl FetchOptions {
    /// Into `data_dir`; 5 retries after 1, 2, 4, 8, 16 s, 15 s to connect, 60 s of silence.
    pub fn new(data_dir: impl Into<PathBuf>) -> FetchOptions {
        FetchOptions {
            data_dir: data_dir.into(),
            retries: 5,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(60),
        }
    }

    fn agent(&self) -> Agent {
        Agent::config_builder()
            .user_agent(concat!("mspipe/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .timeout_resolve(Some(self.connect_timeout))
            .timeout_connect(Some(self.connect_timeout))
            .timeout_recv_response(Some(self.read_timeout))
            .timeout_per_read(Some(self.read_timeout))
            .build()
            .new_agent()
    }
}

/// What fetching a data set did; its text is one line a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FetchReport {
    /// Name of the data set.
    pub name: String,
    /// In the order of the manifest.
    pub files: Vec<FetchedFile>,
}

/// One complete file under its final name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FetchedFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its address.
    pub url: String,
    /// Bytes of the file as it lies there.
    pub bytes: u64,
    /// SHA-256 of the file as it lies there, lower-case hex.
    pub sha256: String,
    /// What that digest could be compared with.
    pub check: DigestCheck,
    /// How it came there; `None` if it was already there.
    pub download: Option<Download>,
}

/// What the digest of a file could be compared with. A digest that differs is an error, not a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DigestCheck {
    /// It is (for a packed file: the archive's is) the published one.
    Published,
    /// None is published; it is the one recorded when the file was downloaded.
    Recorded,
    /// None is published and none was recorded before.
    NotComparable,
}

/// How a file was downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Download {
    /// Requests made.
    pub attempts: u32,
    /// Bytes of an earlier run that were kept.
    pub resumed_from: u64,
    /// Why bytes that had come were thrown away, if they were.
    pub restarted: Option<Restart>,
}

/// Why a download began anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// The server sends only whole files, or nothing by which to tell that a file is still the same.
    NoRangeSupport,
    /// The file at the address is another one than before.
    FileChanged,
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Restart::NoRangeSupport => "started over, as the server can't continue a download",
            Restart::FileChanged => "started over, as the file at the address has changed",
        })
    }
}

impl fmt::Display for FetchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.files.iter().map(FetchedFile::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for FetchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FetchedFile {
            path,
            bytes,
            sha256,
            check,
            download,
            ..
        } = self;
        match download {
            None => write!(f, "{}: already there, {bytes} bytes; ", path.display())?,
            Some(Download {
                resumed_from,
                restarted,
                ..
            }) => {
                write!(f, "{}: downloaded, {bytes} bytes", path.display())?;
                if *resumed_from > 0 {
                    write!(
                        f,
                        " (continued after {resumed_from} bytes of an earlier run)"
                    )?;
                }
                if let Some(why) = restarted {
                    write!(f, " ({why})")?;
                }
                f.write_str("; ")?;
            }
        }
        match (check, download) {
            (DigestCheck::Published, _) => f.write_str("sha256 agrees with the published one"),
            (DigestCheck::Recorded, _) => {
                f.write_str("sha256 agrees with the one recorded at its download")
            }
            (DigestCheck::NotComparable, Some(_)) => {
                write!(
                    f,
                    "none is published to compare its sha256 with; recorded {sha256} in {}.sha256",
                    path.display()
                )
            }
            (DigestCheck::NotComparable, None) => {
                write!(
                    f,
                    "neither a published nor a recorded sha256 to compare {sha256} with"
                )
            }
        }
    }
}

/// Makes sure that all files of `manifest` lie in `options.data_dir`, downloading what is missing.
///
/// # Errors
/// The first [`FetchError`]; files that are complete stay, and a later call continues the one that broke off.
pub fn fetch(manifest: &Manifest, options: &FetchOptions) -> Result<FetchReport, FetchError> {
    let agent = options.agent();
    let folder = manifest.folder(&options.data_dir);
    let mut lock = None;
    let mut files = Vec::new();
    for remote in &manifest.files {
        let target = folder.join(&remote.file);
        // Asked before anything is created, so that a read-only folder with complete files is fine.
        let mut there = already_there(remote, &target)?;
        if there.is_none() && lock.is_none() {
            lock = Some(lock_folder(&folder)?);
            // Another process may have finished it while we were looking.
            there = already_there(remote, &target)?;
        }
        files.push(match there {
            Some(file) => file,
            None => download(remote, &target, &agent, options)?,
        });
    }
    Ok(FetchReport {
        name: manifest.name.clone(),
        files,
    })
}

/// The lock is held as long as the file is open; the empty file stays, since removing it would race.
fn lock_folder(folder: &Path) -> Result<File, FetchError> {
    fs::create_dir_all(folder).map_err(FetchError::io(folder, "create the folder"))?;
    let path = folder.join(".fetch.lock");
    let file = File::create(&path).map_err(FetchError::io(&path, "create the lock file"))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(FetchError::Busy { lock: path }),
        // Some network file systems have no locks; fetching alone there is still safe.
        Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
            Err(FetchError::io(&path, "lock the file")(error))
        }
        _ => Ok(file),
    }
}

/// The file under its final name, verified as far as it can be, or `None` if there is none.
fn already_there(remote: &RemoteFile, target: &Path) -> Result<Option<FetchedFile>, FetchError> {
    let bytes = match fs::metadata(target) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FetchError::io(target, "read the file")(error)),
    };
    // What is published of a packed file says nothing of the unpacked one.
    let published = remote.sha256.as_ref().filter(|_| remote.packed.is_none());
    let differs = |quantity, found: String, expected: &str, origin: String| {
        let (path, expected) = (target.to_owned(), expected.to_owned());
        Err(FetchError::ExistingDiffers {
            path,
            quantity,
            found,
            expected,
            origin,
        })
    };
    if let Some(size) = remote
        .size
        .filter(|size| remote.packed.is_none() && *size != bytes)
    {
        return differs(
            "size",
            bytes.to_string(),
            &size.to_string(),
            "published".to_owned(),
        );
    }
    let sha256 = digest_of(target)?;
    let record = with_suffix(target, ".sha256");
    let check = if let Some(expected) = published {
        if *expected != sha256 {
            return differs("sha256", sha256, expected, "published".to_owned());
        }
        DigestCheck::Published
    } else if let Some(expected) = read_record(&record) {
        if expected != sha256 {
            return differs(
                "sha256",
                sha256,
                &expected,
                format!("recorded in {}", record.display()),
            );
        }
        DigestCheck::Recorded
    } else {
        DigestCheck::NotComparable
    };
    let (path, url) = (target.to_owned(), remote.url.clone());
    Ok(Some(FetchedFile {
        path,
        url,
        bytes,
        sha256,
        check,
        download: None,
    }))
}

fn download(
    remote: &RemoteFile,
    target: &Path,
    agent: &Agent,
    options: &FetchOptions,
) -> Result<FetchedFile, FetchError> {
    let packed = remote.packed.is_some();
    let by_hand = ByHand {
        url: remote.url.clone(),
        path: target.to_owned(),
        packed,
    };
    let part_path = with_suffix(target, if packed { ".gz.part" } else { ".part" });
    let mut part = PartFile::open(part_path, &remote.url)?;
    let transfer = Transfer::new(agent, options, &by_hand, remote.size, &remote.file);
    let effort = match transfer.run(&mut part) {
        Ok(effort) => effort,
        Err(error) => {
            // Nothing to continue from: leave nothing behind. The first error is the one to report.
            if !part.can_be_continued() {
                part.discard().ok();
            }
            return Err(error);
        }
    };
    let mut bytes = part.len();
    if let Some(expected) = remote.size.filter(|size| *size != bytes) {
        part.discard()?;
        return Err(FetchError::WrongSize {
            url: remote.url.clone(),
            expected,
            found: bytes,
            what: "received",
        });
    }
    let mut sha256 = part.finish()?;
    if let Some(expected) = remote
        .sha256
        .as_ref()
        .filter(|expected| **expected != sha256)
    {
        part.discard()?;
        let (url, expected) = (remote.url.clone(), expected.clone());
        return Err(FetchError::WrongDigest {
            url,
            expected,
            found: sha256,
            bytes,
        });
    }
    // Without a length it may have been unpacked on its way (see transfer.rs).
    if packed && (part.state().total.is_some() || unpack::is_gzip(part.path())?) {
        let unpacked = with_suffix(target, ".unpacking");
        match unpack::gunzip(part.path(), &unpacked, &by_hand) {
            Ok(unpacked) => bytes = unpacked,
            Err(error) => {
                if matches!(error, FetchError::Damaged { .. }) {
                    part.discard()?;
                }
                return Err(error);
            }
        }
        sha256 = digest_of(&unpacked)?;
        write_record(target, &sha256)?;
        move_into_place(&unpacked, target)?;
        part.discard()?;
    } else {
        if remote.sha256.is_none() || packed {
            write_record(target, &sha256)?;
        }
        part.rename(target)?;
    }
    let check = if remote.sha256.is_some() {
        DigestCheck::Published
    } else {
        DigestCheck::NotComparable
    };
    let Effort {
        attempts,
        resumed_from,
        restarted,
    } = effort;
    let download = Some(Download {
        attempts,
        resumed_from,
        restarted,
    });
    Ok(FetchedFile {
        path: target.to_owned(),
        url: remote.url.clone(),
        bytes,
        sha256,
        check,
        download,
    })
}

/// `FILE.sha256` in the format of `sha256sum`, so that `sha256sum -c` can check it too.
fn write_record(target: &Path, sha256: &str) -> Result<(), FetchError> {
    let path = with_suffix(target, ".sha256");
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    fs::write(&path, format!("{sha256}  {name}\n")).map_err(FetchError::io(&path, "write the file"))
}

fn read_record(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let digest = text.split_whitespace().next()?.to_ascii_lowercase();
    (digest.len() == 64 && digest.bytes().all(|c| c.is_ascii_hexdigit())).then_some(digest)
}
