//! A csv file whose header names its columns.
//!
//! No quoting (see `lines`); every row has as many fields as the header. Which
//! columns are needed, and what they mean, is the caller's business.

use crate::error::{DataError, quoted};
use crate::lines::Lines;
use crate::packed::TextFile;
use crate::raw_event::Position;

/// A csv file with named columns, at one of its rows.
pub(crate) struct Table<'a> {
    lines: Lines<'a>,
    names: Vec<String>,
}

impl<'a> Table<'a> {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &'a TextFile) -> Result<Table<'a>, DataError> {
        let mut lines = Lines::open(path)?;
        lines.advance()?;
        let names = lines
            .comma_fields()
            .map(|name| String::from_utf8_lossy(name).trim().to_owned())
            .collect();
        Ok(Table { lines, names })
    }

    /// Column of a name; the last one if it is repeated.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().rposition(|n| n == name)
    }

    pub(crate) fn required<const N: usize>(
        &self,
        names: [&str; N],
    ) -> Result<[usize; N], DataError> {
        let mut columns = [0; N];
        for (column, name) in columns.iter_mut().zip(names) {
            *column = self.column(name).ok_or_else(|| {
                self.position().error(
                    format!(
                        "the header {} has no column `{name}`",
                        quoted(self.lines.line())
                    ),
                    format!("the columns {} among those of the header", names.join(", ")),
                )
            })?;
        }
        Ok(columns)
    }

    /// pandas leaves the name of its index empty, or writes `Unnamed: 0` when it saves a second time.
    pub(crate) fn first_unnamed(&self) -> Option<usize> {
        self.names
            .first()
            .filter(|n| n.is_empty() || n.starts_with("Unnamed"))
            .map(|_| 0)
    }

    /// Moves to the next row, which must have as many fields as the header; false at the end.
    pub(crate) fn next(&mut self) -> Result<bool, DataError> {
        if !self.lines.advance()? {
            return Ok(false);
        }
        let found = self.lines.comma_fields().count();
        if found != self.names.len() {
            let expected = format!(
                "{}, as in the header (fields in quotes that hold commas are not supported)",
                self.names.len()
            );
            return Err(self.position().error(format!("{found} fields"), expected));
        }
        Ok(true)
    }

    /// Field of a column of the header; empty if there is none.
    pub(crate) fn field(&self, column: usize) -> &[u8] {
        self.fields().nth(column).unwrap_or_default()
    }

    /// Names of the columns, as in the header.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// All fields of the row.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.comma_fields().map(<[u8]>::trim_ascii)
    }

    pub(crate) fn position(&self) -> Position<'a> {
        self.lines.position()
    }
}
