//! Text that may be packed: a plain file, one compressed with gzip, bzip2, xz or Zstandard, or one
//! inside a zip archive.
//!
//! Everything is streamed; nothing is unpacked onto the disk, and a decoder has a bounded memory.
//! Checksums are verified at the end of the stream, where there are some. Zip entries are stored or
//! deflated; encrypted and otherwise compressed ones are refused, and so are
//! archives in which two entries share bytes. A text that unpacks to many times its
//! packed size is refused where it exceeds that ([`Unpacking`]).

use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::path::PathBuf;

use bzip2::bufread::MultiBzDecoder;
use flate2::Crc;
use flate2::bufread::MultiGzDecoder;
use flate2::read::DeflateDecoder;
use lzma_rust2::XzReader;
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
    /// What was chosen of an archive of several files.
    pub(crate) note: Option<String>,
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
    /// The whole file.
    Compressed(Compression),
    Zip(Entry),
}

/// How a file is compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    Gzip,
    Bzip2,
    Xz,
    Zstandard,
}

impl Compression {
    const ALL: [Compression; 4] = [
        Compression::Gzip,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Zstandard,
    ];
    /// What an xz file may ask for: `xz -9` takes 65 MiB. Zstandard's own bound is 128 MiB, as much as
    /// `zstd --ultra -22` needs.
    const XZ_KIB: u32 = 1 << 18;

    /// The one that a file which starts like this has.
    fn of(start: &[u8]) -> Option<Compression> {
        let magic = |of: &Compression| -> &[u8] {
            match of {
                Compression::Gzip => &[0x1f, 0x8b],
                Compression::Bzip2 => b"BZh",
                Compression::Xz => b"\xfd7zXZ\0",
                Compression::Zstandard => &[0x28, 0xb5, 0x2f, 0xfd],
            }
        };
        Compression::ALL
            .into_iter()
            .find(|of| start.starts_with(magic(of)))
    }

    fn ending(self) -> &'static str {
        match self {
            Compression::Gzip => ".gz",
            Compression::Bzip2 => ".bz2",
            Compression::Xz => ".xz",
            Compression::Zstandard => ".zst",
        }
    }

    fn decoder(self, packed: impl BufRead + Send + 'static) -> io::Result<Bytes> {
        Ok(match self {
            Compression::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Compression::Bzip2 => Box::new(MultiBzDecoder::new(packed)),
            Compression::Xz => Box::new(XzReader::new_mem_limit(packed, true, Compression::XZ_KIB)),
            Compression::Zstandard => Box::new(zstd::Decoder::with_buffer(packed)?),
        })
    }
}

/// The name of a file without the ending that says how it is packed.
pub(crate) fn without_packing(name: &str) -> &str {
    let endings = Compression::ALL.map(Compression::ending);
    (endings.into_iter().chain([".zip"]))
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name)
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
    /// The text in `path`: of a zip archive its only file, or its only table, which is then noted.
    pub(crate) fn one(file: &InputFile, unpacking: Unpacking) -> Result<TextFile, DataError> {
        let mut all = TextFile::all(file, unpacking)?;
        if all.len() == 1 {
            return Ok(all.remove(0));
        }
        let names: Vec<String> = all.iter().map(TextFile::file_name).collect();
        let list = |names: &[&String]| {
            let mut shown: Vec<&str> = names.iter().take(4).map(|name| name.as_str()).collect();
            if names.len() > shown.len() {
                shown.push("…");
            }
            shown.join(", ")
        };
        let Some(at) = only_table(&names) else {
            return Err(DataError::format(
                file.shown(),
                format!(
                    "a zip archive of {} files ({})",
                    all.len(),
                    list(&names.iter().collect::<Vec<_>>())
                ),
                "one event file is expected in an archive (or one that is called *_edgelist*.csv, as TGB's are, or only \
                 GDELT's *.export.CSV): unpack it and name the file",
            ));
        };
        let others: Vec<&String> = (names.iter().enumerate())
            .filter(|(other, _)| *other != at)
            .map(|(_, name)| name)
            .collect();
        let mut one = all.remove(at);
        one.note = Some(format!(
            "of the archive's {} files {} was read (beside it: {})",
            names.len(),
            names[at],
            list(&others)
        ));
        Ok(one)
    }

    /// Every text in `path`: of a zip archive all files, in the order of their names.
    pub(crate) fn all(file: &InputFile, unpacking: Unpacking) -> Result<Vec<TextFile>, DataError> {
        let text = |shown: PathBuf, packing| TextFile {
            file: file.clone(),
            shown,
            packing,
            unpacking,
            note: None,
        };
        let path = file.shown().to_path_buf();
        let start = magic(file)?;
        if let Some(compression) = Compression::of(&start) {
            return Ok(vec![text(path, Packing::Compressed(compression))]);
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

    /// Name of the text itself, without folder, archive and `.gz` or the like.
    pub(crate) fn file_name(&self) -> String {
        let name = self
            .shown
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        match self.packing {
            Packing::Compressed(of) => name.strip_suffix(of.ending()).unwrap_or(&name).to_owned(),
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
            Packing::Compressed(compression) => {
                let packed = ProgressReader::new(self.file.open()?, Progress::bytes(label, size));
                let packed = io::BufReader::with_capacity(1 << 17, packed);
                Box::new(Limited {
                    inner: compression
                        .decoder(packed)
                        .map_err(|error| self.unreadable(error, 0))?,
                    left: self.unpacking.limit(size),
                })
            }
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

/// Whether a file that starts like this is packed in a way that is read.
pub(crate) fn is_packed(start: &[u8]) -> bool {
    Compression::of(start).is_some() || is_zip(start)
}

/// Whether a file that starts like this is a zip archive (the second is that of an empty one).
pub(crate) fn is_zip(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06")
}

/// The only edge list of an archive's files (TGB's stand beside their candidates), else their only table.
fn only_table(names: &[String]) -> Option<usize> {
    let plain: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let is_table = |name: &str| {
        [".csv", ".tsv", ".txt", ".edges"]
            .iter()
            .any(|ending| name.ends_with(ending))
            && !["readme", "license", "licence"]
                .iter()
                .any(|start| name.starts_with(start))
    };
    let only = |fits: &dyn Fn(&str) -> bool| {
        let mut found = (0..plain.len()).filter(|&at| fits(&plain[at]));
        found.next().filter(|_| found.next().is_none())
    };
    only(&|name| is_table(name) && name.contains("_edgelist")).or_else(|| only(&is_table))
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
