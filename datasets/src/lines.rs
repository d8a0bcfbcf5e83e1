//! Lines of a text file with their true numbers, one at a time, in bounded memory.
//!
//! The formats read here know no quoting, so a record is a line and fields are
//! what stands between separators. (The csv crate reports the line of the blank
//! lines before a record instead of the record's, and reads a file without line
//! breaks into memory whole.) Blank lines are skipped but counted; `\r\n`, a
//! missing last line break and a UTF-8 byte order mark are accepted.

use std::io::{BufRead, BufReader, Read};

use crate::error::{DataError, Place};
use crate::packed::{Bytes, TextFile};
use crate::raw_event::Position;

/// Longer lines are no events (a feature of 172 takes some 2 KB; this allows 100,000 features).
const LONGEST_LINE: u64 = 1 << 20;

pub(crate) struct Lines<'a> {
    text_file: &'a TextFile,
    reader: BufReader<Bytes>,
    text: Vec<u8>,
    number: u64,
}

impl<'a> Lines<'a> {
    /// Opens a file, showing progress while it is read.
    pub(crate) fn open(text_file: &'a TextFile) -> Result<Lines<'a>, DataError> {
        Ok(Lines {
            text_file,
            reader: BufReader::with_capacity(1 << 17, text_file.open()?),
            text: Vec::new(),
            number: 0,
        })
    }

    /// Moves to the next line that is not blank; false at the end of the file.
    pub(crate) fn advance(&mut self) -> Result<bool, DataError> {
        loop {
            self.text.clear();
            let count = (&mut self.reader)
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut self.text)
                .map_err(|error| self.text_file.unreadable(error, self.number))?
                as u64;
            if count == 0 {
                return Ok(false);
            }
            self.number += 1;
            if count == LONGEST_LINE && self.text.last() != Some(&b'\n') {
                return Err(self.position().error(
                    format!("a line of over {LONGEST_LINE} bytes"),
                    "one event a line; is this the right file?",
                ));
            }
            if self.number == 1 && self.text.starts_with(b"\xEF\xBB\xBF") {
                self.text.drain(..3);
            }
            if !self.line().is_empty() {
                return Ok(true);
            }
        }
    }

    /// The line without white space around it.
    pub(crate) fn line(&self) -> &[u8] {
        self.text.trim_ascii()
    }

    /// What stands between the line's commas.
    pub(crate) fn comma_fields(&self) -> impl Iterator<Item = &[u8]> {
        self.line().split(|&byte| byte == b',')
    }

    /// What stands between the line's tabs; fields at its ends may be empty.
    pub(crate) fn tab_fields(&self) -> impl Iterator<Item = &[u8]> {
        let line = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.split(|&byte| byte == b'\t')
    }

    /// What stands between the line's white space.
    pub(crate) fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.line()
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
    }

    pub(crate) fn position(&self) -> Position<'a> {
        Position {
            path: &self.text_file.shown,
            place: Place::Line(self.number),
        }
    }
}
