//! What fetching did, in words.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::proof::Proof;

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
    /// What reading it showed.
    pub proof: Proof,
    /// How it came there; `None` if it was already there.
    pub download: Option<Download>,
}

/// What the digest of a file could be compared with. A digest that differs is an error, not a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DigestCheck {
    /// It is (for a packed file: the archive's is) the published one.
    Published,
    /// None is published; it is the one recorded when the file was downloaded, which shows later
    /// damage only.
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

/// Why a download started over.
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
            proof,
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
        write!(f, "{proof}; ")?;
        match (check, download) {
            (DigestCheck::Published, _) => f.write_str("sha256 agrees with the published one"),
            (DigestCheck::Recorded, _) => f.write_str(
                "unchanged since its download; no sha256 is published, so the download itself is not verified",
            ),
            (DigestCheck::NotComparable, Some(_)) => write!(
                f,
                "no sha256 is published, so it is not verified; as downloaded it is {sha256}, recorded in {}.sha256",
                path.display()
            ),
            (DigestCheck::NotComparable, None) => write!(
                f,
                "no sha256 is published and none was recorded, so it is not verified; it is {sha256}"
            ),
        }
    }
}
