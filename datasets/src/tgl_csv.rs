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

use crate::csv_table::Table;
use crate::error::{DataError, Place};
use crate::packed::TextFile;
use crate::raw_event::{Described, EventSink, FeatureRow, RawEvent};

/// Reads `edges` into `sink`, each event with its label from `labels`, which must fit ([`labels_fit`]).
pub(crate) fn read(
    edges: &TextFile,
    labels: Option<&TextFile>,
    sink: &mut dyn EventSink,
) -> Result<Described, DataError> {
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
            at,
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
            features: FeatureRow::NONE,
        })?;
    }
    Ok(Described::default())
}

/// Whether `labels` has one row for each event of `edges`, with its source and time; else why not.
pub(crate) fn labels_fit(
    edges: &TextFile,
    labels: &TextFile,
) -> Result<Result<(), String>, DataError> {
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
                    "it has no row for the event of {}, {}",
                    at.path.display(),
                    at.place
                )));
            }
            Err(error @ DataError::Line { .. }) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        if row.node != at.id(table.field(src), "src")? || row.time != at.time(table.field(time))? {
            return Ok(Err(format!(
                "its {} is about node {} at time {}, which is not the source and time of the event of {}, {}",
                row.place,
                row.node,
                row.time,
                at.path.display(),
                at.place
            )));
        }
    }
    Ok(match rows.next() {
        Ok(None) => Ok(()),
        Ok(Some(row)) => Err(format!("its {} belongs to no event", row.place)),
        Err(error) => Err(error.to_string()),
    })
}

struct LabelRow {
    place: Place,
    node: u64,
    time: crate::decimal::Decimal,
    label: i32,
}

struct LabelRows<'a> {
    table: Table<'a>,
    columns: [usize; 3],
}

impl<'a> LabelRows<'a> {
    fn open(path: &'a TextFile) -> Result<LabelRows<'a>, DataError> {
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
            place: at.place,
            node: at.id(field(0), "node")?,
            time: at.time(field(1))?,
            label: at.integer(field(2), "label", "a whole number")?,
        }))
    }
}
