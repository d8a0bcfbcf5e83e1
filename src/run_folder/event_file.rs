//! Event files as TensorBoard reads them: numbers by step, and a text.
//!
//! A file is a row of TFRecords, each a serialised `Event` of TensorFlow's `event.proto` between masked
//! checksums (CRC-32C). Of the many fields of these messages five are written, so that they are encoded
//! here. Source: <https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details>,
//! `tensorboard/compat/proto/{event,summary,tensor}.proto`.
//!
//! Each record is handed to the system in one piece.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What TensorBoard knows its files by.
const PREFIX: &str = "events.out.tfevents";

/// An open event file.
#[derive(Debug)]
pub(crate) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a file in `folder`: beside those of a run's earlier parts, as TensorBoard wants it.
    ///
    /// # Errors
    /// When it can't be written; the message names the file.
    pub(crate) fn create(folder: &Path) -> io::Result<EventFile> {
        let seconds = now() as u64;
        for nth in 0.. {
            let path = folder.join(format!("{PREFIX}.{seconds:010}.mspipe.{nth}"));
            match File::create_new(&path) {
                Ok(file) => {
                    let mut events = EventFile { path, file };
                    events.record(&event(0, &bytes(3, b"brain.Event:2")))?;
                    return Ok(events);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(named(&path, &error)),
            }
        }
        unreachable!("a number is free")
    }

    /// Has TensorBoard forget what earlier files of the folder say from `step` on.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn forget_from(&mut self, step: u64) -> io::Result<()> {
        // SessionLog { status: START }.
        self.record(&event(step, &bytes(7, &number(1, 1))))
    }

    /// Adds numbers of a step.
    ///
    /// # Errors
    /// When they can't be written.
    pub(crate) fn scalars(
        &mut self,
        step: u64,
        values: &[(impl AsRef<str>, f64)],
    ) -> io::Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut one = bytes(1, tag.as_ref().as_bytes());
            one.push(2 << 3 | 5);
            one.extend((*value as f32).to_le_bytes());
            summary.extend(bytes(1, &one));
        }
        self.record(&event(step, &bytes(5, &summary)))
    }

    /// Adds a text, in Markdown.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn text(&mut self, tag: &str, text: &str) -> io::Result<()> {
        // TensorProto { dtype: DT_STRING, tensor_shape: { dim { size: 1 } }, string_val }.
        let shape = bytes(2, &bytes(2, &number(1, 1)));
        let tensor = [number(1, 7), shape, bytes(8, text.as_bytes())].concat();
        // SummaryMetadata { plugin_data { plugin_name } }.
        let metadata = bytes(1, &bytes(1, b"text"));
        let value = [
            bytes(1, tag.as_bytes()),
            bytes(8, &tensor),
            bytes(9, &metadata),
        ];
        self.record(&event(0, &bytes(5, &bytes(1, &value.concat()))))
    }

    fn record(&mut self, data: &[u8]) -> io::Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(data.len() + 16);
        record.extend(length);
        record.extend(masked(&length).to_le_bytes());
        record.extend(data);
        record.extend(masked(data).to_le_bytes());
        let written = self.file.write_all(&record);
        written.map_err(|error| named(&self.path, &error))
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    let message = format!("{}: can't be written: {error}", path.display());
    io::Error::new(error.kind(), message)
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// An `Event` of this moment with another field.
fn event(step: u64, field: &[u8]) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(now().to_le_bytes());
    event.extend(number(2, step));
    event.extend(field);
    event
}

/// A field that is a whole number.
fn number(field: u8, value: u64) -> Vec<u8> {
    let mut text = vec![field << 3];
    text.extend(varint(value));
    text
}

/// A field that is a text or a message.
fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    let mut text = vec![field << 3 | 2];
    text.extend(varint(value.len() as u64));
    text.extend(value);
    text
}

/// Seven bits a byte, the lowest first.
fn varint(mut value: u64) -> Vec<u8> {
    let mut text = Vec::new();
    while value > 0x7f {
        text.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    text.push(value as u8);
    text
}

/// The checksum of a record's part. TFRecords turn and shift it, so that checksums of what holds checksums
/// stay sound.
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// The records of a file, whose checksums must be right.
    fn records(bytes: &[u8]) -> Vec<&[u8]> {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let (mut at, mut all) = (0, Vec::new());
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            assert_eq!(word(at + 8), masked(&bytes[at..at + 8]));
            let data = &bytes[at + 12..at + 12 + length];
            assert_eq!(word(at + 12 + length), masked(data));
            all.push(data);
            at += length + 16;
        }
        all
    }

    #[test]
    fn checksums_are_castagnoli_s() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // The first bytes of every file that TensorFlow writes: the length 24, and its checksum.
        assert_eq!(
            masked(&24u64.to_le_bytes()).to_le_bytes(),
            [0xa3, 0x7f, 0x4b, 0x22]
        );
    }

    #[test]
    fn records_hold_what_was_given() {
        let folder = TempDir::new().unwrap();
        let mut events = EventFile::create(folder.path()).unwrap();
        events.scalars(300, &[("loss", 0.5), ("ap", 0.25)]).unwrap();
        events.text("settings", "a").unwrap();
        events.forget_from(7).unwrap();
        drop(EventFile::create(folder.path()).unwrap());
        let mut files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(files.len(), 2, "each part of a run has its own");
        files.sort_by_key(|file| file.as_ref().unwrap().path());
        let bytes = fs::read(&events.path).unwrap();
        let all = records(&bytes);
        // Wall time is the first field, nine bytes long.
        assert_eq!(&all[0][9..], b"\x10\x00\x1a\x0dbrain.Event:2");
        assert_eq!(
            &all[1][9..],
            [
                &b"\x10\xac\x02\x2a\x18"[..],
                b"\x0a\x0b\x0a\x04loss\x15\x00\x00\x00\x3f",
                b"\x0a\x09\x0a\x02ap\x15\x00\x00\x80\x3e",
            ]
            .concat()
        );
        assert_eq!(all[2].len(), 9 + 2 + 2 + 2 + 10 + 2 + 11 + 2 + 8);
        assert_eq!(&all[3][9..], b"\x10\x07\x3a\x02\x08\x01");
    }
}
