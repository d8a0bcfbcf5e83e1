//! Text that may be packed: a plain file, one compressed with gzip, or one inside a zip archive.
//!
//! Everything is streamed; nothing is unpacked onto the disk. Checksums of gzip
//! and zip are verified at the end of the stream. Zip entries are stored or
//! deflated; encrypted and otherwise compressed ones are refused.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::read::{DeflateDecoder, MultiGzDecoder};
use zip::{CompressionMethod, ZipArchive};

use crate::error::DataError;
use crate::progress::{Progress, ProgressReader};

/// A stream of bytes.
pub(crate) type Bytes = Box<dyn Read + Send>;

/// A text file wherever it is.
#[derive(Debug, Clone)]
pub(crate) struct TextFile {
    /// The file on disk.
    pub(crate) path: PathBuf,
    /// How messages name it: the path, or `archive.zip/entry`.
    pub(crate) shown: PathBuf,
    packing: Packing,
}

#[derive(Debug, Clone)]
enum Packing {
    Plain,
    Gzip,
    Zip(Entry),
}

/// An entry of a zip archive.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Bytes once unpacked.
    pub(crate) size: u64,
    start: u64,
    stored: u64,
    /// 0 where the archive was written without checksums.
    crc: u32,
    method: CompressionMethod,
    encrypted: bool,
}

impl TextFile {
    /// The text in `path`: of a zip archive its only file.
    pub(crate) fn one(path: &Path) -> Result<TextFile, DataError> {
        let mut all = TextFile::all(path)?;
        if all.len() != 1 {
            let mut names: Vec<String> = all.iter().take(4).map(TextFile::file_name).collect();
            if all.len() > names.len() {
                names.push("…".to_owned());
            }
            return Err(DataError::format(
                path,
                format!(
                    "a zip archive of {} files ({})",
                    all.len(),
                    names.join(", ")
                ),
                "one event file is expected in an archive (or only GDELT's *.export.CSV): unpack it and name the file",
            ));
        }
        Ok(all.remove(0))
    }

    /// Every text in `path`: of a zip archive all files, in the order of their names.
    pub(crate) fn all(path: &Path) -> Result<Vec<TextFile>, DataError> {
        let text = |shown: PathBuf, packing| TextFile {
            path: path.to_path_buf(),
            shown,
            packing,
        };
        let start = magic(path)?;
        if start.starts_with(&[0x1f, 0x8b]) {
            return Ok(vec![text(path.to_path_buf(), Packing::Gzip)]);
        }
        if !is_zip(&start) {
            return Ok(vec![text(path.to_path_buf(), Packing::Plain)]);
        }
        let mut entries = entries(path)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries
            .into_iter()
            .map(|entry| text(path.join(&entry.name), Packing::Zip(entry)))
            .collect())
    }

    /// Whether damage of the packing can look like an error of reading.
    pub(crate) fn is_packed(&self) -> bool {
        !matches!(self.packing, Packing::Plain)
    }

    /// Name of the text itself, without folder, archive and `.gz`.
    pub(crate) fn file_name(&self) -> String {
        let name = self
            .shown
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        match self.packing {
            Packing::Gzip => name.strip_suffix(".gz").unwrap_or(&name).to_owned(),
            _ => name,
        }
    }

    /// Opens the text, showing progress while it is read.
    pub(crate) fn open(&self) -> Result<Bytes, DataError> {
        let size = |path: &Path| {
            path.metadata()
                .map_err(DataError::io("read the size of", path))
        };
        let name = self.shown.file_name().unwrap_or_default().to_string_lossy();
        let label = format!("reading {name}");
        let file = || File::open(&self.path).map_err(DataError::io("open", &self.path));
        Ok(match &self.packing {
            Packing::Plain => Box::new(ProgressReader::new(
                file()?,
                Progress::bytes(label, size(&self.path)?.len()),
            )),
            Packing::Gzip => Box::new(MultiGzDecoder::new(ProgressReader::new(
                io::BufReader::with_capacity(1 << 17, file()?),
                Progress::bytes(label, size(&self.path)?.len()),
            ))),
            Packing::Zip(entry) => Box::new(ProgressReader::new(
                entry.open(&self.path)?,
                Progress::bytes(label, entry.size),
            )),
        })
    }
}

impl Entry {
    /// Opens the entry of the archive at `path`.
    pub(crate) fn open(&self, path: &Path) -> Result<Bytes, DataError> {
        if self.encrypted {
            return Err(DataError::format(
                &path.join(&self.name),
                "encrypted",
                "unpack the archive with its password first",
            ));
        }
        let mut file = File::open(path).map_err(DataError::io("open", path))?;
        file.seek(SeekFrom::Start(self.start))
            .map_err(DataError::io("read", path))?;
        let stored = io::BufReader::with_capacity(1 << 17, file).take(self.stored);
        let inner: Bytes = match self.method {
            CompressionMethod::Stored => Box::new(stored),
            CompressionMethod::Deflated => Box::new(DeflateDecoder::new(stored)),
            other => {
                return Err(DataError::format(
                    &path.join(&self.name),
                    format!("compressed with {other}"),
                    "entries are read if they are stored or deflated: pack the archive again, or unpack it",
                ));
            }
        };
        Ok(Box::new(Checked {
            inner,
            crc: Crc::new(),
            left: self.size,
            expected: self.crc,
        }))
    }
}

/// The files of a zip archive in its own order, without folders and macOS's shadows.
pub(crate) fn entries(path: &Path) -> Result<Vec<Entry>, DataError> {
    let damaged = |error: zip::result::ZipError| {
        DataError::format(
            path,
            format!("a zip archive that cannot be read ({error})"),
            "it is damaged or incomplete: copy or download it again",
        )
    };
    let file = File::open(path).map_err(DataError::io("open", path))?;
    let mut archive = ZipArchive::new(io::BufReader::new(file)).map_err(damaged)?;
    let mut entries = Vec::new();
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).map_err(damaged)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if entry.is_dir() || name.starts_with("__MACOSX/") {
            continue;
        }
        let start = entry.data_start().ok_or_else(|| {
            DataError::format(path, format!("entry {name} has no data"), "copy it again")
        })?;
        entries.push(Entry {
            size: entry.size(),
            start,
            stored: entry.compressed_size(),
            crc: entry.crc32(),
            method: entry.compression(),
            encrypted: entry.encrypted(),
            name,
        });
    }
    Ok(entries)
}

/// The first bytes of a file, at most eight.
pub(crate) fn magic(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut start = Vec::new();
    File::open(path)
        .map_err(DataError::io("open", path))?
        .take(8)
        .read_to_end(&mut start)
        .map_err(DataError::io("read", path))?;
    Ok(start)
}

/// Whether a file that starts like this is a zip archive (the second is that of an empty one).
pub(crate) fn is_zip(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06")
}

/// Whether an error of reading says that the bytes are wrong, not that they cannot be had.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
    )
}

/// Compares length and checksum of an entry once all of it was read.
struct Checked {
    inner: Bytes,
    crc: Crc,
    left: u64,
    expected: u32,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{} bytes are missing at its end", self.left),
            ));
        }
        self.left -= count as u64;
        if self.expected != 0 {
            self.crc.update(&buffer[..count]);
            if self.left == 0 && self.crc.sum() != self.expected {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "its CRC-32 is {:08x}, {:08x} expected",
                        self.crc.sum(),
                        self.expected
                    ),
                ));
            }
        }
        Ok(count)
    }
}
