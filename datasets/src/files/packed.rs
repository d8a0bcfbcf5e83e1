//! Text that may be packed: a plain file, one compressed with gzip, or one inside a zip archive.
//!
//! Everything is streamed; nothing is unpacked onto the disk. Checksums of gzip
//! and zip are verified at the end of the stream. Zip entries are stored or
//! deflated; encrypted and otherwise compressed ones are refused, and so are
//! archives in which two entries share bytes. A text that unpacks to many times its
//! packed size is refused where it exceeds that ([`Unpacking`]).

use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use flate2::Crc;
use flate2::read::{DeflateDecoder, MultiGzDecoder};
use zip::{CompressionMethod, ZipArchive};

use crate::error::DataError;
use crate::files::input_file::{Bytes, InputFile};
use crate::progress::{Progress, ProgressReader};

/// A text file wherever it is.
#[derive(Debug, Clone)]
pub(crate) struct TextFile {
    pub(crate) file: InputFile,
    /// How messages name it: the path, or `archive.zip/entry`.
    pub(crate) shown: PathBuf,
    packing: Packing,
    unpacking: Unpacking,
}

/// How much more a packed text may become than it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unpacking {
    /// Times its packed size.
    pub(crate) ratio: u64,
}

impl Default for Unpacking {
    /// Events are packed to a tenth or so, rows of constant features to a hundredth; gzip reaches a
    /// thousandth with bytes that are all equal.
    fn default() -> Unpacking {
        Unpacking { ratio: 300 }
    }
}

impl Unpacking {
    /// A text of up to this many bytes does no harm.
    const HARMLESS: u64 = 1 << 26;

    fn limit(self, packed: u64) -> u64 {
        packed.saturating_mul(self.ratio).max(Unpacking::HARMLESS)
    }
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
    /// Where its header stands in the archive, and where its data.
    header: u64,
    start: u64,
    stored: u64,
    /// 0 where the archive was written without checksums.
    crc: u32,
    method: CompressionMethod,
    encrypted: bool,
}

impl TextFile {
    /// The text in `path`: of a zip archive its only file.
    pub(crate) fn one(file: &InputFile, unpacking: Unpacking) -> Result<TextFile, DataError> {
        let mut all = TextFile::all(file, unpacking)?;
        if all.len() != 1 {
            let mut names: Vec<String> = all.iter().take(4).map(TextFile::file_name).collect();
            if all.len() > names.len() {
                names.push("…".to_owned());
            }
            return Err(DataError::format(
                file.shown(),
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
    pub(crate) fn all(file: &InputFile, unpacking: Unpacking) -> Result<Vec<TextFile>, DataError> {
        let text = |shown: PathBuf, packing| TextFile {
            file: file.clone(),
            shown,
            packing,
            unpacking,
        };
        let path = file.shown().to_path_buf();
        let start = magic(file)?;
        if start.starts_with(&[0x1f, 0x8b]) {
            return Ok(vec![text(path, Packing::Gzip)]);
        }
        if !is_zip(&start) {
            return Ok(vec![text(path, Packing::Plain)]);
        }
        let mut entries = entries(file)?;
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
        let name = self.shown.file_name().unwrap_or_default().to_string_lossy();
        let label = format!("reading {name}");
        let size = self.file.bytes()?;
        Ok(match &self.packing {
            Packing::Plain => Box::new(ProgressReader::new(
                self.file.open()?,
                Progress::bytes(label, size),
            )),
            Packing::Gzip => Box::new(Limited {
                inner: MultiGzDecoder::new(ProgressReader::new(
                    io::BufReader::with_capacity(1 << 17, self.file.open()?),
                    Progress::bytes(label, size),
                )),
                left: self.unpacking.limit(size),
            }),
            Packing::Zip(entry) => Box::new(Limited {
                inner: ProgressReader::new(
                    entry.open(&self.file)?,
                    Progress::bytes(label, entry.size),
                ),
                left: self.unpacking.limit(entry.stored),
            }),
        })
    }

    /// What it means that the text could not be read on after line `line`.
    pub(crate) fn unreadable(&self, error: io::Error, line: u64) -> DataError {
        if error.kind() == io::ErrorKind::FileTooLarge {
            let ratio = self.unpacking.ratio;
            return DataError::format(
                &self.shown,
                format!(
                    "the text unpacks to more than {ratio} times its packed size, as files do that are made to \
                     exhaust a machine (up to line {line} it was read)"
                ),
                format!(
                    "if it is what you expect, allow more with `mspipe data import --unpack-ratio {}`, or unpack it yourself",
                    10 * ratio
                ),
            );
        }
        if !self.is_packed() || !is_damage(&error) {
            return DataError::io("read", &self.shown)(error);
        }
        let place = match line {
            0 => "at their beginning".to_owned(),
            line => format!("after line {line}"),
        };
        DataError::format(
            &self.shown,
            format!("the compressed data are damaged or cut off {place} ({error})"),
            "copy or download the file again",
        )
    }
}

impl Entry {
    /// Opens the entry of `archive`.
    pub(crate) fn open(&self, archive: &InputFile) -> Result<Bytes, DataError> {
        let path = archive.shown();
        if self.encrypted {
            return Err(DataError::format(
                &path.join(&self.name),
                "encrypted",
                "unpack the archive with its password first",
            ));
        }
        let mut file = archive.open()?;
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
pub(crate) fn entries(archive_file: &InputFile) -> Result<Vec<Entry>, DataError> {
    let path = archive_file.shown();
    let damaged = |error: zip::result::ZipError| {
        DataError::format(
            path,
            format!("a zip archive that cannot be read ({error})"),
            "it is damaged or incomplete: copy or download it again",
        )
    };
    let file = archive_file.open()?;
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
            header: entry.header_start(),
            start,
            stored: entry.compressed_size(),
            crc: entry.crc32(),
            method: entry.compression(),
            encrypted: entry.encrypted(),
            name,
        });
    }
    refuse_shared_bytes(archive_file, &entries)?;
    Ok(entries)
}

/// Entries that share bytes of their archive would be read once for each.
fn refuse_shared_bytes(archive: &InputFile, entries: &[Entry]) -> Result<(), DataError> {
    let mut by_place: Vec<&Entry> = entries.iter().collect();
    by_place.sort_by_key(|entry| entry.header);
    for pair in by_place.windows(2) {
        if pair[0].start.saturating_add(pair[0].stored) > pair[1].header {
            return Err(DataError::format(
                archive.shown(),
                format!(
                    "a zip archive in which {} and {} share bytes, as archives do that are made to exhaust a machine",
                    pair[0].name, pair[1].name
                ),
                "it is damaged or forged: have it packed again",
            ));
        }
    }
    Ok(())
}

/// The first bytes of a file, at most eight.
pub(crate) fn magic(file: &InputFile) -> Result<Vec<u8>, DataError> {
    let mut start = Vec::new();
    file.open()?
        .take(8)
        .read_to_end(&mut start)
        .map_err(DataError::io("read", file.shown()))?;
    Ok(start)
}

/// Whether a file that starts like this is a zip archive (the second is that of an empty one).
pub(crate) fn is_zip(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06")
}

/// Whether an entry is the description of what PyTorch saved.
pub(crate) fn is_torch_pickle(entry: &str) -> bool {
    entry == "data.pkl" || entry.ends_with("/data.pkl")
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

/// Ends with an error of the kind `FileTooLarge` where more than a limit comes.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(count)
    }
}
