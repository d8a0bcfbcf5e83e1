//! A text file of rows and columns: commas, semicolons, tabs or white space between them.
//!
//! Quotes are those of RFC 4180, and are split by the csv crate's core. Every row has as many
//! fields as the header, or as the first row where the header ends in a list of features. Rows
//! are held one at a time. What the columns mean is the schema's business.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::error::DataError;
use crate::fields::lines::Lines;
use crate::fields::raw_event::Position;
use crate::files::packed::TextFile;
use crate::schema::{Header, rest_of};

mod dialect;
mod events;
mod kinds;
mod labels;

pub(crate) use dialect::{Dialect, Separator};
pub(crate) use events::{
    ANOTHER_DATE, EventTable, NUMBER_OR_DATE, Outcome, coarse_times, in_seconds, number_time,
    refuse_missing_id, time_hint,
};
pub(crate) use kinds::{any_id, plain_id};

/// A table at one of its rows.
pub(crate) struct Table<'a> {
    lines: Lines<'a>,
    dialect: Dialect,
    header: Header,
    /// Fields of a row.
    width: usize,
    /// Where the header's last name stands for any number of columns.
    rest: Option<usize>,
    /// The first row, which was read to count its fields.
    pending: bool,
    /// Where each field of the row is, in the line or in `unquoted`.
    fields: Vec<(u32, u32)>,
    unquoted: Vec<u8>,
    /// Whether the row has quotes.
    quoted: bool,
    core: Reader,
    /// Where fields end in `unquoted`.
    ends: Vec<usize>,
}

impl<'a> Table<'a> {
    /// Opens a file and reads its header, and the first row.
    pub(crate) fn open(file: &'a TextFile, dialect: Dialect) -> Result<Table<'a>, DataError> {
        let mut table = Table {
            lines: Lines::open(file)?,
            dialect,
            header: Header {
                names: Vec::new(),
                named: dialect.header,
                row_names: false,
            },
            width: 0,
            rest: None,
            pending: false,
            fields: Vec::new(),
            unquoted: Vec::new(),
            quoted: false,
            core: ReaderBuilder::new()
                .delimiter(dialect.separator.byte().unwrap_or(b','))
                .build(),
            ends: Vec::new(),
        };
        if dialect.header && table.record(true)? {
            table.header.names = (table.fields())
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect();
        }
        table.pending = table.record(!dialect.header)?;
        table.settle_width();
        Ok(table)
    }

    /// Compares the first row with the header.
    fn settle_width(&mut self) {
        let found = if self.pending { self.fields.len() } else { 0 };
        // Spreadsheets may end every row with a separator too many.
        let blank = self.dialect.separator != Separator::Space
            && self.fields().last().is_some_and(<[u8]>::is_empty);
        let filled = found - usize::from(self.pending && blank);
        let names = &mut self.header.names;
        if !self.dialect.header {
            *names = (1..=filled).map(|number| number.to_string()).collect();
        } else if let Some(rest) = rest_of(names, found) {
            self.rest = Some(rest);
            names.truncate(rest);
            names.resize(filled.max(rest), String::new());
        } else if found == names.len() + 1 && !blank {
            // R's write.table: the column of row names has no name.
            names.insert(0, String::new());
            self.header.row_names = true;
        }
        self.width = self.header.names.len();
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The first column that is one of many features, if the header names them as one.
    pub(crate) fn rest(&self) -> Option<usize> {
        self.rest
    }

    /// Whether numbers are written as `0,5`: commas are then no separators.
    pub(crate) fn decimal_commas(&self) -> bool {
        self.dialect.separator == Separator::Semicolon
    }

    /// Moves to the next row; false at the end.
    pub(crate) fn next(&mut self) -> Result<bool, DataError> {
        if !std::mem::take(&mut self.pending) && !self.record(false)? {
            return Ok(false);
        }
        let mut found = self.fields.len();
        if found == self.width + 1 && self.fields().last().is_some_and(<[u8]>::is_empty) {
            self.fields.pop();
            found -= 1;
        }
        if found != self.width {
            let expected = match (self.dialect.header, self.rest) {
                (true, None) => format!("{}, as in the header", self.width),
                _ => format!("{}, as in the first event", self.width),
            };
            let hint = "; a cut-off line means that the file is incomplete, and fields that hold \
                        separators need quotes";
            return Err(self
                .position()
                .error(format!("{found} fields"), expected + hint));
        }
        Ok(true)
    }

    /// Reads a record and finds its fields.
    fn record(&mut self, top: bool) -> Result<bool, DataError> {
        self.fields.clear();
        loop {
            if !self.lines.advance()? {
                return Ok(false);
            }
            let comments = top || self.dialect.comments_anywhere();
            if !(comments && dialect::is_comment(self.lines.line())) {
                break;
            }
        }
        let text = self.lines.raw();
        self.quoted = false;
        match self.dialect.separator.byte() {
            None => words(text, &mut self.fields),
            Some(separator) if memchr::memchr(b'"', text).is_some() => {
                self.quoted = true;
                while !self.split_quoted() {
                    if !self.lines.append()? {
                        return Err(self.lines.position().error(
                            "a quote that is not closed before the end of the file",
                            "a second `\"` behind the field, as RFC 4180 has it",
                        ));
                    }
                }
                if self.dialect.strict_quotes && goes_on_behind_quotes(self.lines.raw(), separator)
                {
                    return Err(self.lines.position().error(
                        "text behind a closing quote",
                        "quotes around the whole field, and each one within it twice, as RFC 4180 has it",
                    ));
                }
            }
            Some(separator) => {
                // Fields are short: searching for separators with vectors takes longer.
                let mut start = 0;
                for field in text.split(|&byte| byte == separator) {
                    let end = start + field.len();
                    self.fields.push(trimmed(text, start, end));
                    start = end + 1;
                }
            }
        }
        Ok(true)
    }

    /// Splits a record with quotes; false if one is still open at its end.
    fn split_quoted(&mut self) -> bool {
        let text = self.lines.raw();
        self.unquoted.resize(text.len() + 1, 0);
        self.ends.resize(text.len() + 2, 0);
        self.core.reset();
        let (mut result, _, wrote, mut count) =
            (self.core).read_record(text, &mut self.unquoted, &mut self.ends);
        if result == ReadRecordResult::InputEmpty && text.last() != Some(&b'\n') {
            // The file's last line may lack its line break.
            let (next, _, _, more) =
                self.core
                    .read_record(b"\n", &mut self.unquoted[wrote..], &mut self.ends[count..]);
            (result, count) = (next, count + more);
        }
        let mut start = 0;
        self.fields.clear();
        for &end in &self.ends[..count] {
            self.fields.push(trimmed(&self.unquoted, start, end));
            start = end;
        }
        result == ReadRecordResult::Record
    }

    /// Field of a column; empty if there is none.
    pub(crate) fn field(&self, column: usize) -> &[u8] {
        (self.fields.get(column)).map_or(b"", |&range| self.slice(range))
    }

    fn slice(&self, (start, end): (u32, u32)) -> &[u8] {
        let text = if self.quoted {
            &self.unquoted
        } else {
            self.lines.raw()
        };
        &text[start as usize..end as usize]
    }

    /// All fields of the row.
    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().map(|&range| self.slice(range))
    }

    pub(crate) fn position(&self) -> Position<'a> {
        self.lines.position()
    }
}

/// Whether a quoted field of the record is followed by anything but white space before it ends.
fn goes_on_behind_quotes(record: &[u8], separator: u8) -> bool {
    let mut rest = record;
    loop {
        let end = match rest.split_first() {
            Some((b'"', quoted)) => {
                let mut quoted = quoted;
                // Two quotes are one within the field.
                while let Some(at) = memchr::memchr(b'"', quoted) {
                    quoted = &quoted[at + 1..];
                    match quoted.split_first() {
                        Some((b'"', behind)) => quoted = behind,
                        _ => break,
                    }
                }
                let end = memchr::memchr(separator, quoted);
                if !quoted[..end.unwrap_or(quoted.len())]
                    .trim_ascii()
                    .is_empty()
                {
                    return true;
                }
                end.map(|end| &quoted[end + 1..])
            }
            _ => memchr::memchr(separator, rest).map(|end| &rest[end + 1..]),
        };
        match end {
            Some(next) => rest = next,
            None => return false,
        }
    }
}

/// The range without white space around it.
fn trimmed(text: &[u8], mut start: usize, mut end: usize) -> (u32, u32) {
    while start < end && text[start].is_ascii_whitespace() {
        start += 1;
    }
    while end > start && text[end - 1].is_ascii_whitespace() {
        end -= 1;
    }
    (start as u32, end as u32)
}

/// What stands between white space, without quotes around it.
fn words(text: &[u8], fields: &mut Vec<(u32, u32)>) {
    let mut word = |from: usize, to: usize| {
        let quoted = to - from > 1 && text[from] == b'"' && text[to - 1] == b'"';
        let inset = usize::from(quoted);
        fields.push(((from + inset) as u32, (to - inset) as u32));
    };
    let mut start = None;
    for (at, byte) in text.iter().enumerate() {
        match (byte.is_ascii_whitespace(), start) {
            (true, Some(from)) => {
                word(from, at);
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    if let Some(from) = start {
        word(from, text.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_behind_a_closing_quote_is_found() {
        for (record, goes_on) in [
            ("a,b\n", false),
            ("\"a\",b\r\n", false),
            ("\"a,b\" ,\"c \"\"d\"\"\"\n", false),
            ("a \"b\" c,\"\"\n", false),
            ("\"shop1\"x,b\n", true),
            ("a,\"b\"\"c\" d\n", true),
        ] {
            assert_eq!(
                goes_on_behind_quotes(record.as_bytes(), b','),
                goes_on,
                "{record}"
            );
        }
    }
}
