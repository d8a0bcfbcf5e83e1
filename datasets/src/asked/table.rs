//! Tables of what is asked for: pairs with or without times, or nodes. Text or Parquet, through the
//! readers of event files; rows stay in the order of the file.

use std::path::{Path, PathBuf};

use super::{NodeKey, in_ticks};
use crate::error::{DataError, Place, quoted};
use crate::fields::calendar::parse_date;
use crate::fields::decimal::Decimal;
use crate::fields::raw_event::Position;
use crate::files::input_file::{InputFile, STDIN};
use crate::files::packed::{TextFile, Unpacking, magic};
use crate::formats::parquet_events;
use crate::formats::table::{Dialect, Separator, Table, any_id, number_time};
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
    /// Whether a table of nodes says by its column's name that they are destinations.
    pub destinations: bool,
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
    pub(crate) fn push(&mut self, at: Place, keys: [Option<NodeKey>; 2], time: Option<i64>) {
        let [src, dst] = keys;
        self.src.extend(src);
        self.dst.extend(dst);
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
    Nodes,
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

    /// The nodes in the first column of `path`, or on standard input for `-`; a first line that is a
    /// column's name is none.
    ///
    /// # Errors
    /// As [`AskedOptions::pairs`].
    pub fn nodes(&self, path: &Path) -> Result<Asked, DataError> {
        self.read(path, Kind::Nodes)
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
            let text = self.text_ids;
            let columns = parquet_events::read_asked(&file, columns, text, unit, |row| {
                let (at, keys, time) = row;
                times.extend(time.map(|time| self.time(at, time)).transpose()?);
                asked.push(at.place, keys, None);
                self.check_stop(&asked)
            })?;
            asked.destinations = columns.destinations;
            asked.time = columns.time.map(|_| times);
            return Ok(asked);
        }
        self.read_text(&TextFile::one(&file, Unpacking::default())?, kind, asked)
    }

    fn columns(&self, path: &Path, header: &Header, kind: Kind) -> Result<AskedColumns, DataError> {
        match kind {
            Kind::Pairs => schema::pairs(path, header, &self.reading),
            Kind::Nodes => Ok(schema::nodes(header)),
        }
    }

    fn read_text(&self, file: &TextFile, kind: Kind, mut asked: Asked) -> Result<Asked, DataError> {
        let head = crate::formats::detect::text_head(file)?;
        let Some((mut dialect, line)) = Dialect::of(&head, &self.reading) else {
            return Err(DataError::format(
                &file.shown,
                "it is empty",
                match kind {
                    Kind::Pairs => "pairs are expected: src,dst or src,dst,time",
                    Kind::Nodes => "nodes are expected, one in a line",
                },
            ));
        };
        if kind == Kind::Nodes {
            // One column: white space is part of a name.
            if dialect.separator == Separator::Space {
                dialect.separator = Separator::Tab;
            }
            // A name that stands for no column is a node.
            let names = dialect.fields(line);
            dialect.header = dialect.header && names.first().is_some_and(|n| schema::is_node(n));
        }
        let mut table = Table::open(file, dialect)?;
        let columns = self.columns(&file.shown, table.header(), kind)?;
        asked.destinations = columns.destinations;
        asked.time = columns.time.map(|_| Vec::new());
        while table.next()? {
            let at = table.position();
            let key = |column: usize, what: &str| self.key(at, table.field(column), what);
            let src = key(columns.src, "the source")?;
            let dst = columns.dst.map(|dst| key(dst, "the destination"));
            let time = columns.time.map(|time| {
                let field = table.field(time);
                let time = match parse_date(field) {
                    Some(date) => date,
                    None => {
                        let unit = self.reading.time_unit;
                        number_time(at, field, table.decimal_commas(), unit)?
                    }
                };
                self.time(at, time)
            });
            asked.push(at.place, [Some(src), dst.transpose()?], time.transpose()?);
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
    pub(crate) fn time(&self, at: Position<'_>, time: Decimal) -> Result<i64, DataError> {
        in_ticks(time, self.ticks_per_unit)
            .map_err(|expected| at.error(format!("the time is {time}"), expected))
    }
}
