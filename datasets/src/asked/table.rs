//! Tables of what is asked for: pairs with or without times, or nodes. Text or Parquet, through the
//! readers of event files; rows stay in the order of the file.

use std::path::{Path, PathBuf};

use super::{AskedRow, End, NodeKey, end, in_ticks};
use crate::error::{DataError, Place, quoted};
use crate::fields::calendar::parse_date;
use crate::fields::decimal::Decimal;
use crate::fields::raw_event::Position;
use crate::files::input_file::{InputFile, STDIN};
use crate::files::packed::{TextFile, Unpacking, magic};
use crate::formats::parquet_events;
use crate::formats::table::{Dialect, Table, any_id, number_time, refuse_missing_id};
use crate::schema::reading::Reading;
use crate::schema::{self, AskedColumns, Header};
use crate::stop::Stop;

/// How ids and times are read.
#[derive(Debug, Clone)]
pub struct AskedOptions {
    /// Whether ids are text.
    pub text_ids: bool,
    /// Ticks in the unit of the stream that they belong to.
    pub ticks_per_unit: i64,
    /// Columns, header, unit of times.
    pub reading: Reading,
    /// Ends it early.
    pub stop: Stop,
}

/// What a table asks for, row by row.
#[derive(Debug, Default)]
pub struct Asked {
    /// The file, as messages name it.
    pub path: PathBuf,
    /// The sources, or the nodes.
    pub src: Vec<NodeKey>,
    /// The destinations; none in a table of nodes.
    pub dst: Vec<NodeKey>,
    /// Times in ticks, if there is a column of them.
    pub time: Option<Vec<i64>>,
    /// Which end of events the nodes of a table are, if their column's name says so.
    pub end: Option<End>,
    /// The same of each node, if there is a column `side`.
    pub ends: Option<Vec<End>>,
    /// Names in the first line of a text that were taken for those of the columns, where nobody has said which
    /// columns they are.
    pub header: Vec<String>,
    places: Vec<Place>,
}

impl Asked {
    /// Where a row stands: `pairs.csv:7`.
    pub fn place(&self, row: usize) -> String {
        match self.places.get(row) {
            Some(Place::Line(line)) => format!("{}:{line}", self.path.display()),
            Some(place) => format!("{}: {place}", self.path.display()),
            None => self.path.display().to_string(),
        }
    }

    /// Adds a row.
    fn push(&mut self, at: Place, row: AskedRow, time: Option<i64>) {
        let [src, dst] = row.keys;
        self.src.extend(src);
        self.dst.extend(dst);
        if let (Some(ends), Some(end)) = (&mut self.ends, row.end) {
            ends.push(end);
        }
        if let (Some(times), Some(time)) = (&mut self.time, time) {
            times.push(time);
        }
        self.places.push(at);
    }
}

/// What a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pairs,
    /// Of an end of events, if it matters.
    Nodes(Option<End>),
}

impl AskedOptions {
    /// The pairs in `path`, or on standard input for `-`: columns for source and destination, and one
    /// for the time if there is one.
    ///
    /// # Errors
    /// What can't be read, with its line: a missing column, an id of another kind, a time that is none.
    pub fn pairs(&self, path: &Path) -> Result<Asked, DataError> {
        self.read(path, Kind::Pairs)
    }

    /// The nodes in `path`, or on standard input for `-`, of the end `wanted` if it matters: in the column
    /// that is called so, or the only one. A first line that is a column's name is no node.
    ///
    /// # Errors
    /// As [`AskedOptions::pairs`]; columns of which several may be meant.
    pub fn nodes(&self, path: &Path, wanted: Option<End>) -> Result<Asked, DataError> {
        self.read(path, Kind::Nodes(wanted))
    }

    fn read(&self, path: &Path, kind: Kind) -> Result<Asked, DataError> {
        let file = InputFile::of(path, &std::env::temp_dir(), &self.stop)?;
        let mut asked = Asked {
            path: match path == Path::new(STDIN) {
                true => PathBuf::from("stdin"),
                false => path.to_owned(),
            },
            ..Asked::default()
        };
        if magic(&file)?.starts_with(b"PAR1") {
            let columns = |header: &Header| self.columns(path, header, kind);
            let unit = self.reading.time_unit;
            let mut times = Vec::new();
            let mut ends = Vec::new();
            let text = self.text_ids;
            let columns = parquet_events::read_asked(&file, columns, text, unit, |at, row| {
                times.extend(row.time.map(|time| self.time(at, time)).transpose()?);
                ends.extend(row.end);
                for key in row.keys.iter().flatten() {
                    let NodeKey::Text(text) = key else { continue };
                    refuse_missing_id(at, text.as_bytes(), "an id", &self.reading)?;
                }
                asked.push(at.place, row, None);
                self.check_stop(&asked)
            })?;
            asked.end = columns.end;
            asked.ends = columns.side.map(|_| ends);
            asked.time = columns.time.map(|_| times);
            return Ok(asked);
        }
        self.read_text(&TextFile::one(&file, Unpacking::default())?, kind, asked)
    }

    fn columns(&self, path: &Path, header: &Header, kind: Kind) -> Result<AskedColumns, DataError> {
        match kind {
            Kind::Pairs => schema::pairs(path, header, &self.reading),
            Kind::Nodes(wanted) => schema::nodes(path, header, &self.reading, wanted),
        }
    }

    /// How the text that begins with `head` writes its table.
    fn dialect(&self, head: &[u8], kind: Kind) -> Option<Dialect> {
        let (like, choice) = (self.reading.like.as_deref(), &self.reading.columns);
        let Kind::Nodes(_) = kind else {
            return Dialect::of_pairs(head, &self.reading);
        };
        // A name that stands for no column is a node.
        let is_name = |name: &String| schema::node_name(name, like).is_some();
        let by_hand = [&choice.src, &choice.dst];
        Dialect::of_nodes(head, &self.reading, |names| {
            by_hand.iter().any(|of| of.is_some()) || names.iter().any(is_name)
        })
    }

    fn read_text(&self, file: &TextFile, kind: Kind, mut asked: Asked) -> Result<Asked, DataError> {
        let head = crate::formats::detect::text_head(file)?;
        let Some(dialect) = self.dialect(&head, kind) else {
            return Err(DataError::format(
                &file.shown,
                "it is empty",
                match kind {
                    Kind::Pairs => "pairs are expected: src,dst or src,dst,time",
                    Kind::Nodes(_) => "nodes are expected, one in a line",
                },
            ));
        };
        let mut table = Table::open(file, dialect)?;
        let header = table.header();
        if header.row_names {
            let names = header.names.len();
            return Err(table.position().error(
                format!("{names} fields"),
                format!(
                    "{}, as in the header; fields that hold separators need quotes",
                    names - 1
                ),
            ));
        }
        let columns = self.columns(&file.shown, header, kind)?;
        let choice = &self.reading.columns;
        if header.named && choice.src.is_none() && choice.dst.is_none() {
            let used = [Some(columns.src), columns.dst].into_iter().flatten();
            asked.header = used.map(|at| header.names[at].clone()).collect();
        }
        asked.end = columns.end;
        asked.ends = columns.side.map(|_| Vec::new());
        asked.time = columns.time.map(|_| Vec::new());
        while table.next()? {
            let at = table.position();
            let key = |column: usize, what: &str| self.key(at, table.field(column), what);
            let time = columns.time.map(|time| {
                let field = table.field(time);
                match parse_date(field) {
                    Some(date) => Ok(date),
                    None => {
                        let unit = self.reading.time_unit;
                        number_time(at, field, table.decimal_commas(), unit)
                    }
                }
            });
            let dst = columns.dst.map(|dst| key(dst, "the destination"));
            let end = columns.side.map(|side| end(at, table.field(side)));
            let row = AskedRow {
                keys: [Some(key(columns.src, "the source")?), dst.transpose()?],
                time: time.transpose()?,
                end: end.transpose()?,
            };
            let time = row.time.map(|time| self.time(at, time)).transpose()?;
            asked.push(at.place, row, time);
            self.check_stop(&asked)?;
        }
        Ok(asked)
    }

    fn check_stop(&self, asked: &Asked) -> Result<(), DataError> {
        match asked.places.len().is_multiple_of(1 << 12) {
            true => Ok(self.stop.check()?),
            false => Ok(()),
        }
    }

    fn key(&self, at: Position<'_>, field: &[u8], what: &str) -> Result<NodeKey, DataError> {
        if self.text_ids {
            refuse_missing_id(at, field, what, &self.reading)?;
            return at.name(field, what).map(NodeKey::from);
        }
        any_id(field).map(NodeKey::Number).ok_or_else(|| {
            at.error(
                format!("{what} is {}", quoted(field)),
                "a whole number from 0 to 2^64 - 1, as all ids of the model's stream are",
            )
        })
    }

    /// An exact time in ticks.
    fn time(&self, at: Position<'_>, time: Decimal) -> Result<i64, DataError> {
        in_ticks(time, self.ticks_per_unit)
            .map_err(|expected| at.error(format!("the time is {time}"), expected))
    }
}
