//! Downloads the files of a data set, so that a file under its final name is always complete and right.
//!
//! Bytes are collected in `FILE.part` (its origin in `FILE.part.json`), continued after a break with Range and
//! If-Range, checked against size and SHA-256, flushed, read as the events that they should be and compared with
//! the manifest's figures (`proof`), and only then renamed. Where the server does not say how long the file is,
//! only a published checksum, a packed file's own or a verified number of events shows that all of it came. Where
//! no SHA-256 is published, the computed one is recorded in `FILE.sha256` (the format of `sha256sum`), so that
//! later damage is found; that says nothing of the download. A lock in the folder keeps two processes from writing
//! the same part, and none of these names is followed if it is a link (`own_file`).
//!
//! It deliberately fetches one file after the other over one connection: the publishers' servers are shared.
//!
//! Source: RFC 9110 (HTTP semantics); addresses and checksums from [`crate::manifest`].

mod error;
mod options;
mod own_file;
mod part;
mod proof;
mod report;
mod transfer;
mod unpack;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use ureq::Agent;

use crate::error::DataError;
use crate::manifest::{Manifest, RemoteFile};
pub use error::{ByHand, FetchError};
pub use options::FetchOptions;
use part::{PartFile, digest_of, move_into_place, with_suffix};
pub use proof::Proof;
use proof::{Doubt, prove};
pub use report::{DigestCheck, Download, FetchReport, FetchedFile, Restart};
use transfer::{Effort, Transfer};

/// Makes sure that all files of `manifest` lie in `options.data_dir`, downloading what is missing.
///
/// # Errors
/// The first [`FetchError`]; files that are complete stay, and a later call continues the one that broke off.
pub fn fetch(manifest: &Manifest, options: &FetchOptions) -> Result<FetchReport, FetchError> {
    let agent = options.agent();
    let folder = manifest.folder(&options.data_dir);
    let mut lock = None;
    let mut files = Vec::new();
    for (index, remote) in manifest.files.iter().enumerate() {
        let wanted = Wanted {
            manifest,
            index,
            remote,
            target: folder.join(&remote.file),
            options,
        };
        // Asked before anything is created, so that a read-only folder with complete files is fine.
        let mut there = wanted.already_there()?;
        if there.is_none() && lock.is_none() {
            lock = Some(lock_folder(&folder)?);
            // Another process may have finished it while we were looking.
            there = wanted.already_there()?;
        }
        files.push(match there {
            Some(file) => file,
            None => wanted.download(&agent)?,
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
    let file = own_file::open(&path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(FetchError::Busy { lock: path }),
        // Some network file systems have no locks; fetching alone there is still safe.
        Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
            Err(FetchError::io(&path, "lock the file")(error))
        }
        _ => Ok(file),
    }
}

/// A file of a data set.
struct Wanted<'a> {
    manifest: &'a Manifest,
    index: usize,
    remote: &'a RemoteFile,
    target: PathBuf,
    options: &'a FetchOptions,
}

impl Wanted<'_> {
    /// The file under its final name, verified as far as it can be, or `None` if there is none.
    fn already_there(&self) -> Result<Option<FetchedFile>, FetchError> {
        let (remote, target) = (self.remote, self.target.as_path());
        let bytes = match fs::metadata(target) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A link that leads nowhere may be somebody's disk that is not mounted.
                return match fs::symlink_metadata(target) {
                    Ok(_) => Err(FetchError::NotPlain {
                        path: target.to_owned(),
                    }),
                    Err(_) => Ok(None),
                };
            }
            Err(error) => return Err(FetchError::io(target, "read the file")(error)),
        };
        // What is published of a packed file says nothing of the unpacked one.
        let published = |known: bool| known && remote.packed.is_none();
        let differs = |quantity, found: String, expected: String, origin: String| {
            Err(FetchError::ExistingDiffers {
                path: target.to_owned(),
                quantity,
                found,
                expected,
                origin,
            })
        };
        if let Some(size) = remote.size
            && published(size != bytes)
        {
            return differs(
                "size",
                bytes.to_string(),
                size.to_string(),
                "published".to_owned(),
            );
        }
        let sha256 = digest_of(target)?;
        let record = with_suffix(target, ".sha256");
        let check = match (&remote.sha256, read_record(&record)) {
            (Some(expected), _) if published(*expected != sha256) => {
                return differs("sha256", sha256, expected.clone(), "published".to_owned());
            }
            (Some(_), _) if published(true) => DigestCheck::Published,
            (_, Some(expected)) if expected != sha256 => {
                let origin = format!("recorded in {}", record.display());
                return differs("sha256", sha256, expected, origin);
            }
            (_, Some(_)) => DigestCheck::Recorded,
            (_, None) => DigestCheck::NotComparable,
        };
        let unsound = |found| FetchError::ExistingUnsound {
            path: target.to_owned(),
            found,
        };
        let proof = self.prove(target).map_err(|doubt| match doubt {
            Doubt::Other(found) => unsound(found),
            Doubt::Figures(mismatches) => unsound(error::listed(&mismatches)),
            Doubt::Unread(source) => self.unread(source, target),
        })?;
        Ok(Some(FetchedFile {
            path: target.to_owned(),
            url: remote.url.clone(),
            bytes,
            sha256,
            check,
            proof,
            download: None,
        }))
    }

    fn download(&self, agent: &Agent) -> Result<FetchedFile, FetchError> {
        let packed = self.remote.packed.is_some();
        let part_path = with_suffix(&self.target, if packed { ".gz.part" } else { ".part" });
        let mut part = PartFile::open(part_path, &self.remote.url)?;
        let by_hand = self.by_hand();
        let title = &self.remote.file;
        let transfer = Transfer::new(agent, self.options, &by_hand, self.remote.size, title);
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
        let published = match self.published(&mut part) {
            Ok(published) => published,
            Err(error) => {
                part.discard()?;
                return Err(error);
            }
        };
        // Without a length it may have been unpacked on its way (see transfer.rs).
        let unpack = packed && (part.state().total.is_some() || unpack::is_gzip(part.path())?);
        let mut file = match unpack {
            true => self.place_unpacked(part)?,
            false => self.place(part, published)?,
        };
        let Effort {
            attempts,
            resumed_from,
            restarted,
        } = effort;
        file.download = Some(Download {
            attempts,
            resumed_from,
            restarted,
        });
        Ok(file)
    }

    /// SHA-256 of what came, compared with what is published of it.
    fn published(&self, part: &mut PartFile) -> Result<String, FetchError> {
        let (url, bytes) = (self.remote.url.clone(), part.len());
        if let Some(expected) = self.remote.size.filter(|size| *size != bytes) {
            return Err(FetchError::WrongSize {
                url,
                expected,
                found: bytes,
                what: "received",
            });
        }
        let found = part.finish()?;
        match &self.remote.sha256 {
            Some(expected) if *expected != found => Err(FetchError::WrongDigest {
                url,
                expected: expected.clone(),
                found,
                bytes,
            }),
            _ => Ok(found),
        }
    }

    /// Gives the part its final name, once it is proven.
    fn place(&self, part: PartFile, sha256: String) -> Result<FetchedFile, FetchError> {
        // A length, a checksum, or as many events as were counted: else it may be cut off.
        let whole = part.state().total.is_some() || self.remote.sha256.is_some();
        let proof = match self.prove(part.path()) {
            Ok(proof) if whole || proof.is_whole() => proof,
            doubtful => {
                let bytes = part.len();
                return Err(self.doubtful(doubtful, bytes, part)?);
            }
        };
        let packed = self.remote.packed.is_some();
        if self.remote.sha256.is_none() || packed {
            self.write_record(&sha256)?;
        }
        let bytes = part.len();
        part.rename(&self.target)?;
        Ok(self.placed(bytes, sha256, proof))
    }

    /// Unpacks the part, whose end its checksum proves, and gives that its final name.
    fn place_unpacked(&self, part: PartFile) -> Result<FetchedFile, FetchError> {
        let unpacked = with_suffix(&self.target, ".unpacking");
        let stop = &self.options.stop;
        let bytes = match unpack::gunzip(part.path(), &unpacked, &self.by_hand(), stop) {
            Ok(bytes) => bytes,
            Err(error) => {
                if matches!(error, FetchError::Damaged { .. }) {
                    part.discard()?;
                }
                return Err(error);
            }
        };
        let proof = match self.prove(&unpacked) {
            Ok(proof) => proof,
            doubtful => {
                fs::remove_file(&unpacked).map_err(FetchError::io(&unpacked, "remove the file"))?;
                return Err(self.doubtful(doubtful, bytes, part)?);
            }
        };
        let sha256 = digest_of(&unpacked)?;
        self.write_record(&sha256)?;
        move_into_place(&unpacked, &self.target)?;
        part.discard()?;
        Ok(self.placed(bytes, sha256, proof))
    }

    /// Why `part` gets no name; it is removed unless it could not be read.
    fn doubtful(
        &self,
        doubtful: Result<Proof, Doubt>,
        bytes: u64,
        part: PartFile,
    ) -> Result<FetchError, FetchError> {
        let by_hand = self.by_hand();
        let error = match doubtful {
            Err(Doubt::Unread(source)) => return Ok(self.unread(source, part.path())),
            Err(Doubt::Other(found)) => FetchError::NotTheFile {
                bytes,
                found,
                by_hand,
            },
            Err(Doubt::Figures(mismatches)) => FetchError::OtherFigures {
                bytes,
                mismatches,
                by_hand,
            },
            Ok(_) => FetchError::Unproven { bytes, by_hand },
        };
        part.discard()?;
        Ok(error)
    }

    fn unread(&self, source: DataError, path: &Path) -> FetchError {
        match source {
            DataError::Stopped(_) => FetchError::Stopped {
                url: self.remote.url.clone(),
                part: Some(path.to_owned()),
                bytes: path.metadata().map_or(0, |metadata| metadata.len()),
            },
            error => FetchError::Unread {
                path: path.to_owned(),
                error: Box::new(error),
            },
        }
    }

    fn prove(&self, path: &Path) -> Result<Proof, Doubt> {
        prove(self.manifest, self.index, path, self.options)
    }

    fn placed(&self, bytes: u64, sha256: String, proof: Proof) -> FetchedFile {
        FetchedFile {
            path: self.target.clone(),
            url: self.remote.url.clone(),
            bytes,
            sha256,
            check: match self.remote.sha256 {
                Some(_) => DigestCheck::Published,
                None => DigestCheck::NotComparable,
            },
            proof,
            download: None,
        }
    }

    fn by_hand(&self) -> ByHand {
        ByHand {
            url: self.remote.url.clone(),
            path: self.target.clone(),
            packed: self.remote.packed.is_some(),
        }
    }

    /// `FILE.sha256` in the format of `sha256sum`, so that `sha256sum -c` can check it too.
    fn write_record(&self, sha256: &str) -> Result<(), FetchError> {
        let path = with_suffix(&self.target, ".sha256");
        let name = &self.remote.file;
        own_file::write(&path, format!("{sha256}  {name}\n").as_bytes())
    }
}

fn read_record(path: &Path) -> Option<String> {
    let text = String::from_utf8(own_file::read(path)?).ok()?;
    let digest = text.split_whitespace().next()?.to_ascii_lowercase();
    (digest.len() == 64 && digest.bytes().all(|c| c.is_ascii_hexdigit())).then_some(digest)
}
