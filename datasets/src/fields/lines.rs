//! Lines of a text file with their true numbers, one at a time, in bounded memory.
//!
//! A record is a line, or several where quotes hold line breaks: `table` splits them into
//! fields. (The csv crate's own reader reports the line of the blank lines before a record
//! instead of the record's, and reads a file without line breaks into memory whole.) Blank
//! lines are skipped but counted; `\r\n`, a missing last line break and a UTF-8 byte order mark
//! are accepted.

use std::io::{BufRead, BufReader, Read};

use crate::error::{DataError, Place};
use crate::fields::raw_event::Position;
use crate::files::input_file::Bytes;
use crate::files::packed::TextFile;

/// Longer lines are no events (a feature of 172 takes some 2 KB; this allows 100,000 features).
const LONGEST_LINE: u64 = 1 << 20;

pub(crate) struct Lines<'a> {
    text_file: &'a TextFile,
    reader: BufReader<Bytes>,
    text: Vec<u8>,
    /// Number of the record's first line.
    number: u64,
    /// Lines of the record behind its first.
    further: u64,
}

impl<'a> Lines<'a> {
    /// Opens a file, showing progress while it is read.
    pub(crate) fn open(text_file: &'a TextFile) -> Result<Lines<'a>, DataError> {
        Ok(Lines {
            text_file,
            reader: BufReader::with_capacity(1 << 17, text_file.open()?),
            text: Vec::new(),
            number: 0,
            further: 0,
        })
    }

    /// Moves to the next line that is not blank; false at the end of the file.
    pub(crate) fn advance(&mut self) -> Result<bool, DataError> {
        loop {
            self.text.clear();
            self.number += 1 + std::mem::take(&mut self.further);
            if !self.read_line()? {
                self.number -= 1;
                return Ok(false);
            }
            if self.number == 1 && self.text.starts_with(b"\xEF\xBB\xBF") {
                self.text.drain(..3);
            }
            if !self.line().is_empty() {
                return Ok(true);
            }
        }
    }

    /// Adds the next line to the record, which continues there; false at the end of the file.
    pub(crate) fn append(&mut self) -> Result<bool, DataError> {
        self.further += 1;
        self.read_line()
    }

    /// Reads a line behind what there is of the record.
    fn read_line(&mut self) -> Result<bool, DataError> {
        let before = self.text.len() as u64;
        let count = (&mut self.reader)
            .take(LONGEST_LINE.saturating_sub(before))
            .read_until(b'\n', &mut self.text)
            .map_err(|error| {
                let before = (self.number + self.further).saturating_sub(1);
                self.text_file.unreadable(error, before)
            })? as u64;
        if before + count == LONGEST_LINE && self.text.last() != Some(&b'\n') {
            let (found, expected) = match self.further {
                0 => (
                    "a line of over",
                    "one event a line; is this the right file?",
                ),
                _ => (
                    "a quote that is not closed within",
                    "a second `\"` behind the field, as RFC 4180 has it",
                ),
            };
            return Err(self
                .position()
                .error(format!("{found} {LONGEST_LINE} bytes"), expected));
        }
        Ok(count > 0)
    }

    /// The line without white space around it.
    pub(crate) fn line(&self) -> &[u8] {
        self.text.trim_ascii()
    }

    /// The record with its white space and line breaks.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.text
    }

    /// What stands between the line's tabs; fields at its ends may be empty.
    pub(crate) fn tab_fields(&self) -> impl Iterator<Item = &[u8]> {
        let line = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.split(|&byte| byte == b'\t')
    }

    pub(crate) fn position(&self) -> Position<'a> {
        Position {
            path: &self.text_file.shown,
            place: Place::Line(self.number),
        }
    }
}
