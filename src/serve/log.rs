//! The log of events that were acknowledged: append-only files, synced for each group of requests.
//!
//! A file is named after how many events had been given when it was begun. When a state is taken, a new one
//! is begun; once that state is on disk, those before it are removed. A file begins with the last request
//! number of each source, as requests without events, so that nothing is asked of those before it.
//!
//! ```text
//! header   "mspipe events 1\n", 64 bytes of the stream's SHA-256 in hex, events given before the file began: u64
//! record   length of the content: u32, first 8 bytes of the content's SHA-256, content
//! content  requests: u32, then of each request
//!          events given before it: u64, late events are taken: u8, source: text, its number: u64,
//!          events: u32, then of each event src, dst: key, time: i64, features: u32, f32 each
//! key      0 and a u64, or 1 and a text; text: length u32, UTF-8
//! ```
//! All numbers are little-endian. A group is one record, written and synced at once, so that whatever a
//! crash leaves unfinished is the last record of the last file, which nobody was told of: it is cut off. Any
//! other damage is refused.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use mspipe_datasets::NodeKey;
use mspipe_datasets::whole_file::{self, Existing};
use sha2::{Digest, Sha256};

use super::error::ServeError;
use crate::session::predict::{Late, NewEvent};

const MAGIC: &[u8; 16] = b"mspipe events 1\n";

/// Bytes of the header.
const HEADER: u64 = 16 + 64 + 8;

/// Bytes of a record before its content.
const FRAME: usize = 12;

/// A request whose events memory follows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// Events that had been given before it, refused ones too.
    pub(super) before: u64,
    pub(super) late: Late,
    /// Who sent it, and which of its requests it is; no text for one without a number.
    pub(super) source: String,
    pub(super) seq: u64,
    pub(super) events: Vec<NewEvent>,
}

/// The log, open at its end.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    hash: String,
    file: File,
    path: PathBuf,
    /// Events given before the last file began.
    given: u64,
    /// Bytes of its whole records, and of its header.
    length: u64,
    /// The files before it.
    older: Vec<Older>,
}

/// A file of the log that is not written to any more.
#[derive(Debug)]
struct Older {
    path: PathBuf,
    bytes: u64,
    /// Events given before the next one began.
    end: u64,
}

/// A log as it was found.
pub(super) struct Found {
    pub(super) log: Log,
    /// Bytes of an unfinished record that were cut off.
    pub(super) cut: u64,
    /// Events given before its first file began.
    pub(super) begins: u64,
}

/// What the names of its files begin and end with.
const NAME: [&str; 2] = ["events-", ".log"];

/// The file that begins after `given` events; names are in the order of numbers.
fn file_after(folder: &Path, given: u64) -> PathBuf {
    let [first, last] = NAME;
    folder.join(format!("{first}{given:020}{last}"))
}

/// The files of the log in `folder`, by how many events had been given, ascending.
fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_prefix(NAME[0])?.strip_suffix(NAME[1]));
        if let Some(given) = number.and_then(|number| number.parse().ok()) {
            files.push((given, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

impl Log {
    /// The log in `folder`, begun if there is none, of a stream with the SHA-256 `hash` after `given`
    /// events; each group of requests that it holds is told to `each`.
    ///
    /// # Errors
    /// A log of another stream, damage before its end, a disk that fails; what `each` returns.
    pub(super) fn open(
        folder: &Path,
        hash: &str,
        given: u64,
        mut each: impl FnMut(Vec<Entry>) -> Result<(), ServeError>,
    ) -> Result<Found, ServeError> {
        let failed = |error| ServeError::Log {
            path: folder.to_owned(),
            error,
        };
        let files = files(folder).map_err(failed)?;
        let ends: Vec<u64> = files.iter().skip(1).map(|(given, _)| *given).collect();
        let begins = files.first().map_or(given, |(given, _)| *given);
        let Some(((given, path), before)) = files.split_last() else {
            let log = Log::begin(folder, hash, given, &[]).map_err(failed)?;
            return Ok(Found {
                log,
                cut: 0,
                begins,
            });
        };
        let mut older = Vec::new();
        for ((_, path), end) in before.iter().zip(ends) {
            let (length, size) = read(path, hash, &mut each)?;
            if length < size {
                return Err(damaged(
                    path,
                    length,
                    "a record is not whole, and there are later files",
                ));
            }
            older.push(Older {
                path: path.clone(),
                bytes: size,
                end,
            });
        }
        let failed = |error| ServeError::Log {
            path: path.clone(),
            error,
        };
        let (length, size) = read(path, hash, &mut each)?;
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        if length < size {
            file.set_len(length).map_err(failed)?;
            file.sync_all().map_err(failed)?;
        }
        file.seek(SeekFrom::Start(length)).map_err(failed)?;
        let log = Log {
            folder: folder.to_owned(),
            hash: hash.to_owned(),
            file,
            path: path.clone(),
            given: *given,
            length,
            older,
        };
        Ok(Found {
            log,
            cut: size - length,
            begins,
        })
    }

    /// A log of one file that begins after `given` events, with requests of which it is to know the numbers.
    fn begin(folder: &Path, hash: &str, given: u64, sources: &[Entry]) -> io::Result<Log> {
        let path = file_after(folder, given);
        let mut content = MAGIC.to_vec();
        content.extend_from_slice(&hash.as_bytes()[..64]);
        content.extend_from_slice(&given.to_le_bytes());
        if !sources.is_empty() {
            content.extend_from_slice(&framed(sources)?);
        }
        whole_file::write(&path, Existing::Keep, |out| out.write_all(&content))?;
        let mut file = OpenOptions::new().write(true).open(&path)?;
        let length = content.len() as u64;
        file.seek(SeekFrom::Start(length))?;
        Ok(Log {
            folder: folder.to_owned(),
            hash: hash.to_owned(),
            file,
            path,
            given,
            length,
            older: Vec::new(),
        })
    }

    /// Begins a new file after `given` events, which a state covers once it is on disk; `sources` are the
    /// last requests of all sources.
    ///
    /// # Errors
    /// When the disk refuses; what comes goes into the file that there is then.
    pub(super) fn rotate(&mut self, given: u64, sources: &[Entry]) -> io::Result<()> {
        if given == self.given {
            return Ok(());
        }
        let next = Log::begin(&self.folder, &self.hash, given, sources)?;
        let mut last = std::mem::replace(self, next);
        self.older = std::mem::take(&mut last.older);
        self.older.push(Older {
            path: last.path,
            bytes: last.length,
            end: given,
        });
        Ok(())
    }

    /// Removes the files whose events a state covers that is on disk and stands after `given` events.
    ///
    /// # Errors
    /// When one can't be removed; it may be later.
    pub(super) fn remove_covered(&mut self, given: u64) -> io::Result<()> {
        let (covered, left) = (self.older.drain(..)).partition(|file| file.end <= given);
        self.older = left;
        let covered: Vec<Older> = covered;
        for file in covered {
            match fs::remove_file(&file.path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.older.push(file);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Adds requests, which are on disk when it returns.
    ///
    /// # Errors
    /// When the disk refuses; the log is as it was then, if the disk allows that at least.
    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let bytes = framed(entries)?;
        let written = self
            .file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
            self.file.sync_all()?;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Bytes on disk.
    pub(super) fn length(&self) -> u64 {
        self.length + self.older.iter().map(|file| file.bytes).sum::<u64>()
    }
}

fn damaged(path: &Path, at: u64, reason: &'static str) -> ServeError {
    ServeError::DamagedLog {
        path: path.to_owned(),
        at,
        reason,
    }
}

/// Tells `each` the groups of the file `path`; returns the bytes of its header and whole records, and all.
fn read(
    path: &Path,
    hash: &str,
    each: &mut impl FnMut(Vec<Entry>) -> Result<(), ServeError>,
) -> Result<(u64, u64), ServeError> {
    let failed = |error| ServeError::Log {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size < HEADER {
        return Err(damaged(path, 0, "it is shorter than its header"));
    }
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; HEADER as usize];
    reader.read_exact(&mut header).map_err(failed)?;
    if header[..16] != *MAGIC {
        return Err(damaged(path, 0, "it is no log of events of this version"));
    }
    if header[16..80] != *hash.as_bytes() {
        return Err(damaged(path, 16, "it belongs to a run on another stream"));
    }
    let mut length = HEADER;
    loop {
        match record(&mut reader, size - length).map_err(failed)? {
            Record::End | Record::Unfinished => return Ok((length, size)),
            Record::Whole(content) => {
                let entries = entries(&content)
                    .ok_or_else(|| damaged(path, length, "a record can't be read"))?;
                each(entries)?;
                length += (FRAME + content.len()) as u64;
            }
            Record::Damaged => {
                let reason = "a record has another SHA-256 than it should";
                return Err(damaged(path, length, reason));
            }
        }
    }
}

/// A record of requests.
fn framed(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let content = content(entries);
    let length = u32::try_from(content.len());
    let length = length.map_err(|_| io::Error::other("a record of more than 4 GiB"))?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&Sha256::digest(&content)[..8]);
    bytes.extend_from_slice(&content);
    Ok(bytes)
}

/// What comes next in a log.
enum Record {
    End,
    Whole(Vec<u8>),
    /// The last one, which was not written to its end.
    Unfinished,
    Damaged,
}

fn record(reader: &mut impl Read, left: u64) -> io::Result<Record> {
    if left == 0 {
        return Ok(Record::End);
    }
    if left < FRAME as u64 {
        return Ok(Record::Unfinished);
    }
    let mut frame = [0; FRAME];
    reader.read_exact(&mut frame)?;
    let (length, sha) = frame.split_at(4);
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
    let left = left - FRAME as u64;
    if u64::from(length) > left {
        return Ok(Record::Unfinished);
    }
    let mut content = vec![0; length as usize];
    reader.read_exact(&mut content)?;
    Ok(match Sha256::digest(&content)[..8] == *sha {
        true => Record::Whole(content),
        // After a loss of power the last record may have its length and lack its bytes.
        false if u64::from(length) == left => Record::Unfinished,
        false => Record::Damaged,
    })
}

fn content(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    put_length(&mut out, entries.len());
    for entry in entries {
        out.extend_from_slice(&entry.before.to_le_bytes());
        out.push(u8::from(entry.late == Late::Accept));
        put_text(&mut out, &entry.source);
        out.extend_from_slice(&entry.seq.to_le_bytes());
        put_length(&mut out, entry.events.len());
        for event in &entry.events {
            for key in [&event.src, &event.dst] {
                match key {
                    NodeKey::Number(number) => {
                        out.push(0);
                        out.extend_from_slice(&number.to_le_bytes());
                    }
                    NodeKey::Text(text) => {
                        out.push(1);
                        put_text(&mut out, text);
                    }
                }
            }
            out.extend_from_slice(&event.time.to_le_bytes());
            put_length(&mut out, event.features.len());
            for value in &event.features {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
    out
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    // What a request may hold is bounded by the size of its body.
    out.extend_from_slice(&(length as u32).to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// What is left to read of a record's content.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn length(&mut self) -> Option<usize> {
        Some(u32::from_le_bytes(self.array()?) as usize)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.length()?;
        String::from_utf8(self.bytes(length)?.to_vec()).ok()
    }

    fn key(&mut self) -> Option<NodeKey> {
        match self.array::<1>()? {
            [0] => Some(NodeKey::Number(u64::from_le_bytes(self.array()?))),
            [1] => Some(NodeKey::Text(self.text()?)),
            _ => None,
        }
    }

    fn event(&mut self) -> Option<NewEvent> {
        let (src, dst) = (self.key()?, self.key()?);
        let time = i64::from_le_bytes(self.array()?);
        let count = self.length()?;
        let values = self.bytes(count.checked_mul(4)?)?.chunks_exact(4);
        Some(NewEvent {
            src,
            dst,
            time,
            features: values
                .map(|value| f32::from_le_bytes([value[0], value[1], value[2], value[3]]))
                .collect(),
        })
    }

    fn entry(&mut self) -> Option<Entry> {
        let before = u64::from_le_bytes(self.array()?);
        let late = match self.array::<1>()? {
            [0] => Late::Refuse,
            [1] => Late::Accept,
            _ => return None,
        };
        let (source, seq) = (self.text()?, u64::from_le_bytes(self.array()?));
        let count = self.length()?;
        let events: Option<Vec<NewEvent>> = (0..count).map(|_| self.event()).collect();
        Some(Entry {
            before,
            late,
            source,
            seq,
            events: events?,
        })
    }
}

fn entries(content: &[u8]) -> Option<Vec<Entry>> {
    let mut rest = Rest(content);
    let count = rest.length()?;
    let entries: Option<Vec<Entry>> = (0..count).map(|_| rest.entry()).collect();
    entries.filter(|_| rest.0.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(nth: u64) -> Entry {
        let event = |time| NewEvent {
            src: NodeKey::from(nth),
            dst: NodeKey::from("a page"),
            time,
            features: vec![0.5, -3.25],
        };
        Entry {
            before: nth * 2,
            late: if nth.is_multiple_of(2) {
                Late::Refuse
            } else {
                Late::Accept
            },
            source: "one".to_owned(),
            seq: nth,
            events: vec![event(-7), event(9)],
        }
    }

    fn opened(folder: &Path, hash: &str) -> Result<(Found, Vec<Entry>), ServeError> {
        let mut all = Vec::new();
        let found = Log::open(folder, hash, 5, |group| {
            all.extend(group);
            Ok(())
        })?;
        Ok((found, all))
    }

    /// Wherever a crash cuts the file, what was synced before is there, and more can be added.
    #[test]
    fn a_log_that_is_cut_anywhere_loses_nothing_that_was_synced() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, hash) = (folder.path(), "a".repeat(64));
        let mut ends = vec![HEADER];
        let (mut found, none) = opened(folder, &hash).unwrap();
        assert!(none.is_empty());
        for group in [vec![entry(0)], vec![entry(1), entry(2)], vec![entry(3)]] {
            found.log.append(&group).unwrap();
            ends.push(found.log.length());
        }
        drop(found);
        let path = file_after(folder, 5);
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(ends[3], whole.len() as u64);
        let entries_of = [0, 1, 3, 4];
        for length in HEADER..=whole.len() as u64 {
            std::fs::write(&path, &whole[..length as usize]).unwrap();
            let groups = ends.iter().filter(|&&end| end <= length).count() - 1;
            let (mut found, all) = opened(folder, &hash).unwrap();
            let expected: Vec<Entry> = (0..entries_of[groups]).map(entry).collect();
            assert_eq!(all, expected, "{length}");
            assert_eq!(found.cut, length - ends[groups]);
            found.log.append(&[entry(9)]).unwrap();
            drop(found);
            let (found, all) = opened(folder, &hash).unwrap();
            assert_eq!((found.cut, all.last()), (0, Some(&entry(9))));
        }
    }

    /// Files that a state covers go, and not before; the numbers of sources outlive them.
    #[test]
    fn a_log_is_as_long_as_what_no_state_covers() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, hash) = (folder.path(), "a".repeat(64));
        let (mut found, _) = opened(folder, &hash).unwrap();
        let log = &mut found.log;
        let number = |seq| Entry {
            events: Vec::new(),
            ..entry(seq)
        };
        log.append(&[entry(0), entry(1)]).unwrap();
        log.rotate(9, &[number(1)]).unwrap();
        log.append(&[entry(2)]).unwrap();
        log.rotate(11, &[number(2)]).unwrap();
        // Nothing has come since.
        log.rotate(11, &[number(2)]).unwrap();
        log.append(&[entry(3)]).unwrap();
        assert_eq!(files(folder).unwrap().len(), 3);
        // The state after 10 events lacks what came then.
        log.remove_covered(10).unwrap();
        let length = log.length();
        drop(found);
        let (mut found, all) = opened(folder, &hash).unwrap();
        assert_eq!(all, [number(1), entry(2), number(2), entry(3)]);
        assert_eq!((found.begins, found.log.length()), (9, length));
        found.log.remove_covered(11).unwrap();
        drop(found);
        let (found, all) = opened(folder, &hash).unwrap();
        assert_eq!((found.begins, all), (11, vec![number(2), entry(3)]));
        // A file before the last one is whole, or there is a hole.
        let mut log = found.log;
        log.rotate(13, &[number(3)]).unwrap();
        let older = file_after(folder, 11);
        let bytes = std::fs::read(&older).unwrap();
        std::fs::write(&older, &bytes[..bytes.len() - 1]).unwrap();
        let error = opened(folder, &hash).err().unwrap().to_string();
        assert!(error.contains("is not whole"), "{error}");
    }

    #[test]
    fn damage_and_other_streams_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, hash) = (folder.path(), "a".repeat(64));
        let (mut found, _) = opened(folder, &hash).unwrap();
        found.log.append(&[entry(0)]).unwrap();
        found.log.append(&[entry(1)]).unwrap();
        drop(found);
        let error = |hash: &str| opened(folder, hash).err().unwrap().to_string();
        assert!(error(&"b".repeat(64)).contains("another stream"));
        let path = file_after(folder, 5);
        // A file has its name when its header is on disk: one without was emptied by somebody.
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, b"").unwrap();
        assert!(error(&hash).contains("shorter than its header"));
        std::fs::write(&path, whole).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEADER as usize + FRAME + 3] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(error(&hash).contains("SHA-256"));
    }
}
