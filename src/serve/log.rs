//! The log of events that were acknowledged: an append-only file, synced for each group of requests.
//!
//! ```text
//! header   "mspipe events 1\n", 64 bytes of the stream's SHA-256 in hex, events given before the log began: u64
//! record   length of the content: u32, first 8 bytes of the content's SHA-256, content
//! content  requests: u32, then of each request
//!          events given before it: u64, late events are taken: u8, source: text, its number: u64,
//!          events: u32, then of each event src, dst: key, time: i64, features: u32, f32 each
//! key      0 and a u64, or 1 and a text; text: length u32, UTF-8
//! ```
//! All numbers are little-endian. A group is one record, written and synced at once, so that whatever a
//! crash leaves unfinished is the last record, which nobody was told of: it is cut off. Any other damage
//! is refused.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use mspipe_datasets::{NodeKey, whole_file};
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
    file: File,
    path: PathBuf,
    /// Bytes of whole records, and of the header.
    length: u64,
}

/// A log as it was found.
pub(super) struct Found {
    pub(super) log: Log,
    /// Bytes of an unfinished record that were cut off.
    pub(super) cut: u64,
}

impl Log {
    /// The log in the file `path`, made if there is none, of a stream with the SHA-256 `hash` after `given`
    /// events; each group of requests that it holds is told to `each`.
    ///
    /// # Errors
    /// A log of another stream, damage before its end, a disk that fails; what `each` returns.
    pub(super) fn open(
        path: &Path,
        hash: &str,
        given: u64,
        mut each: impl FnMut(Vec<Entry>) -> Result<(), ServeError>,
    ) -> Result<Found, ServeError> {
        let failed = |error| ServeError::Log {
            path: path.to_owned(),
            error,
        };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let file = file.open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut log = Log {
            file,
            path: path.to_owned(),
            length: HEADER,
        };
        if size < HEADER {
            // Nothing can have been acknowledged.
            log.begin(hash, given).map_err(failed)?;
            return Ok(Found { log, cut: 0 });
        }
        let mut reader = BufReader::with_capacity(1 << 20, &log.file);
        let mut header = [0; HEADER as usize];
        reader.read_exact(&mut header).map_err(failed)?;
        if header[..16] != *MAGIC {
            return Err(log.damaged(0, "it is no log of events of this version"));
        }
        if header[16..80] != *hash.as_bytes() {
            return Err(log.damaged(16, "it belongs to a run on another stream"));
        }
        let mut length = HEADER;
        loop {
            let left = size - length;
            match record(&mut reader, left).map_err(failed)? {
                Record::End => break,
                Record::Whole(content) => {
                    let entries = entries(&content)
                        .ok_or_else(|| log.damaged(length, "a record can't be read"))?;
                    each(entries)?;
                    length += (FRAME + content.len()) as u64;
                }
                Record::Unfinished => break,
                Record::Damaged => {
                    return Err(log.damaged(length, "a record has another SHA-256 than it should"));
                }
            }
        }
        let cut = size - length;
        drop(reader);
        log.length = length;
        if cut > 0 {
            log.file.set_len(length).map_err(failed)?;
            log.file.sync_all().map_err(failed)?;
        }
        log.file.seek(SeekFrom::Start(length)).map_err(failed)?;
        Ok(Found { log, cut })
    }

    fn begin(&mut self, hash: &str, given: u64) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&hash.as_bytes()[..64]);
        header.extend_from_slice(&given.to_le_bytes());
        self.file.write_all(&header)?;
        self.file.sync_all()?;
        // The name is on disk too.
        if let Some(folder) = self.path.parent() {
            whole_file::sync_folder(folder);
        }
        Ok(())
    }

    fn damaged(&self, at: u64, reason: &'static str) -> ServeError {
        ServeError::DamagedLog {
            path: self.path.clone(),
            at,
            reason,
        }
    }

    /// Adds requests, which are on disk when it returns.
    ///
    /// # Errors
    /// When the disk refuses; the log is as it was then, if the disk allows that at least.
    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let content = content(entries);
        let length = u32::try_from(content.len());
        let length = length.map_err(|_| io::Error::other("a record of more than 4 GiB"))?;
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(&Sha256::digest(&content)[..8]);
        bytes.extend_from_slice(&content);
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
        self.length
    }
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

    fn opened(path: &Path, hash: &str) -> Result<(Found, Vec<Entry>), ServeError> {
        let mut all = Vec::new();
        let found = Log::open(path, hash, 5, |group| {
            all.extend(group);
            Ok(())
        })?;
        Ok((found, all))
    }

    /// Wherever a crash cuts the file, what was synced before is there, and more can be added.
    #[test]
    fn a_log_that_is_cut_anywhere_loses_nothing_that_was_synced() {
        let folder = tempfile::tempdir().unwrap();
        let (path, hash) = (folder.path().join("events.log"), "a".repeat(64));
        let mut ends = vec![HEADER];
        let (mut found, none) = opened(&path, &hash).unwrap();
        assert!(none.is_empty());
        for group in [vec![entry(0)], vec![entry(1), entry(2)], vec![entry(3)]] {
            found.log.append(&group).unwrap();
            ends.push(found.log.length());
        }
        drop(found);
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(ends[3], whole.len() as u64);
        let entries_of = [0, 1, 3, 4];
        for length in HEADER..=whole.len() as u64 {
            std::fs::write(&path, &whole[..length as usize]).unwrap();
            let groups = ends.iter().filter(|&&end| end <= length).count() - 1;
            let (mut found, all) = opened(&path, &hash).unwrap();
            let expected: Vec<Entry> = (0..entries_of[groups]).map(entry).collect();
            assert_eq!(all, expected, "{length}");
            assert_eq!(found.cut, length - ends[groups]);
            found.log.append(&[entry(9)]).unwrap();
            drop(found);
            let (found, all) = opened(&path, &hash).unwrap();
            assert_eq!((found.cut, all.last()), (0, Some(&entry(9))));
        }
    }

    #[test]
    fn damage_and_other_streams_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, hash) = (folder.path().join("events.log"), "a".repeat(64));
        let (mut found, _) = opened(&path, &hash).unwrap();
        found.log.append(&[entry(0)]).unwrap();
        found.log.append(&[entry(1)]).unwrap();
        drop(found);
        let error = |hash: &str| opened(&path, hash).err().unwrap().to_string();
        assert!(error(&"b".repeat(64)).contains("another stream"));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEADER as usize + FRAME + 3] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(error(&hash).contains("SHA-256"));
    }
}
