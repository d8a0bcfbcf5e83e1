//! TGL's csv: `,src,dst,time,int_roll,ext_roll`, alone or as `edges.csv` in a folder.
//!
//! One event a line, sorted by time; columns are found by their names. `src`,
//! `dst` and `time` are required (TGLite's files have only these). The first,
//! unnamed column is the event's number. `ext_roll` marks the split (0 train,
//! 1 validation, 2 test); `int_roll` belongs to the inductive setting and is not
//! read. One id space.
//!
//! `labels.csv` (`,node,time,label,ext_roll`) is used if its rows are the events
//! in order, row for row the same node as the event's source and the same time,
//! as in TGL's WIKI and REDDIT; otherwise the labels are left out with a note.
//! Source: <https://github.com/amazon-science/tgl>, README, "Dataset".

use std::path::Path;

use crate::error::{DataError, quoted};
use crate::lines::Lines;
use crate::raw_event::{EventSink, Position, RawEvent};

/// Reads `edges` into `sink`, each event with its label from `labels`, which must fit ([`labels_fit`]).
pub(crate) fn read(
    edges: &Path,
    labels: Option<&Path>,
    sink: &mut dyn EventSink,
) -> Result<(), DataError> {
    let mut table = Table::open(edges)?;
    let [src, dst, time] = table.required(["src", "dst", "time"])?;
    let roll = table.column("ext_roll");
    let edge_id = table.first_unnamed();
    let mut labels = labels.map(LabelRows::open).transpose()?;
    while table.next()? {
        let at = table.position();
        let label = match &mut labels {
            Some(rows) => rows.next()?.map(|row| row.label),
            None => None,
        };
        sink.event(RawEvent {
            line: at.line,
            src: at.id(table.field(src), "src")?,
            dst: at.id(table.field(dst), "dst")?,
            time: at.time(table.field(time))?,
            label,
            roll: roll
                .map(|c| {
                    let expected = "0 (train), 1 (validation) or 2 (test)";
                    at.integer::<u8>(table.field(c), "ext_roll", expected)
                        .and_then(|mark| {
                            if mark > 2 {
                                Err(at.error(format!("ext_roll is {mark}"), expected))
                            } else {
                                Ok(mark)
                            }
                        })
                })
                .transpose()?,
            edge_id: edge_id
                .map(|c| at.id(table.field(c), "the event's number"))
                .transpose()?,
            features: &[],
        })?;
    }
    Ok(())
}

/// Whether `labels` has one row for each event of `edges`, with its source and time; else why not.
pub(crate) fn labels_fit(edges: &Path, labels: &Path) -> Result<Result<(), String>, DataError> {
    let mut table = Table::open(edges)?;
    let [src, time] = table.required(["src", "time"])?;
    let mut rows = match LabelRows::open(labels) {
        Ok(rows) => rows,
        Err(error @ DataError::Line { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    while table.next()? {
        let at = table.position();
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => {
                return Ok(Err(format!(
                    "it has no row for the event of {}:{}",
                    edges.display(),
                    at.line
                )));
            }
            Err(error @ DataError::Line { .. }) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        if row.node != at.id(table.field(src), "src")? || row.time != at.time(table.field(time))? {
            return Ok(Err(format!(
                "its line {} is about node {} at time {}, which is not the source and time of the event at {}:{}",
                row.line,
                row.node,
                row.time,
                edges.display(),
                at.line
            )));
        }
    }
    Ok(match rows.next() {
        Ok(None) => Ok(()),
        Ok(Some(row)) => Err(format!("its line {} belongs to no event", row.line)),
        Err(error) => Err(error.to_string()),
    })
}

struct LabelRow {
    line: u64,
    node: u64,
    time: crate::decimal::Decimal,
    label: i32,
}

struct LabelRows<'a> {
    table: Table<'a>,
    columns: [usize; 3],
}

impl<'a> LabelRows<'a> {
    fn open(path: &'a Path) -> Result<LabelRows<'a>, DataError> {
        let table = Table::open(path)?;
        let columns = table.required(["node", "time", "label"])?;
        Ok(LabelRows { table, columns })
    }

    fn next(&mut self) -> Result<Option<LabelRow>, DataError> {
        if !self.table.next()? {
            return Ok(None);
        }
        let at = self.table.position();
        let field = |c: usize| self.table.field(self.columns[c]);
        Ok(Some(LabelRow {
            line: at.line,
            node: at.id(field(0), "node")?,
            time: at.time(field(1))?,
            label: at.integer(field(2), "label", "a whole number")?,
        }))
    }
}

/// A csv file with named columns, at one of its rows.
struct Table<'a> {
    lines: Lines<'a>,
    names: Vec<String>,
}

impl<'a> Table<'a> {
    fn open(path: &'a Path) -> Result<Table<'a>, DataError> {
        let mut lines = Lines::open(path)?;
        lines.advance()?;
        let names = lines
            .comma_fields()
            .map(|name| String::from_utf8_lossy(name).trim().to_owned())
            .collect();
        Ok(Table { lines, names })
    }

    /// Column of a name; the last one if it is repeated.
    fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().rposition(|n| n == name)
    }

    fn required<const N: usize>(&self, names: [&str; N]) -> Result<[usize; N], DataError> {
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
    fn first_unnamed(&self) -> Option<usize> {
        self.names
            .first()
            .filter(|n| n.is_empty() || n.starts_with("Unnamed"))
            .map(|_| 0)
    }

    /// Moves to the next row, which must have as many fields as the header; false at the end.
    fn next(&mut self) -> Result<bool, DataError> {
        if !self.lines.advance()? {
            return Ok(false);
        }
        let found = self.lines.comma_fields().count();
        if found != self.names.len() {
            let expected = format!("{}, as in the header", self.names.len());
            return Err(self.position().error(format!("{found} fields"), expected));
        }
        Ok(true)
    }

    /// Field of a column of the header; empty if there is none.
    fn field(&self, column: usize) -> &[u8] {
        self.lines.comma_fields().nth(column).unwrap_or_default()
    }

    fn position(&self) -> Position<'a> {
        self.lines.position()
    }
}
