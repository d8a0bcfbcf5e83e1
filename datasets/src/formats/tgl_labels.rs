//! TGL's `labels.csv`: `,node,time,label,ext_roll` beside `edges.csv`.
//!
//! It is used if its rows are the events in order, row for row the same node as the event's
//! source and the same time, as in TGL's WIKI and REDDIT; otherwise the labels are left out with
//! a note.
//! Source: <https://github.com/amazon-science/tgl>, README, "Dataset".

use crate::error::{DataError, Place};
use crate::fields::calendar::parse_date;
use crate::fields::decimal::Decimal;
use crate::files::packed::TextFile;
use crate::formats::table::{Dialect, EventTable, Separator, Table};
use crate::stop::Stop;

/// Whether `labels` has one row for each event, with its source and time; else why not.
pub(crate) fn labels_fit(
    events: &EventTable<'_>,
    labels: &TextFile,
    stop: &Stop,
) -> Result<Result<(), String>, DataError> {
    if let Some(column) = events.schema.label {
        let own = events.schema.title(column);
        return Ok(Err(format!(
            "the events have labels of their own, in {own}"
        )));
    }
    let mut table = events.open()?;
    let mut rows = match LabelRows::open(labels) {
        Ok(rows) => rows,
        Err(error @ DataError::Line { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    while table.next()? {
        stop.check()?;
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
        let (src, time) = (events.schema.src, events.schema.time);
        if row.node.as_bytes() != table.field(src) || Some(row.time) != moment(table.field(time)) {
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

fn moment(field: &[u8]) -> Option<Decimal> {
    Decimal::parse(field).ok().or_else(|| parse_date(field))
}

pub(crate) struct LabelRow {
    place: Place,
    node: String,
    time: Decimal,
    pub(crate) label: i32,
}

pub(crate) struct LabelRows<'a> {
    table: Table<'a>,
    columns: [usize; 3],
}

impl<'a> LabelRows<'a> {
    pub(crate) fn open(file: &'a TextFile) -> Result<LabelRows<'a>, DataError> {
        let table = Table::open(file, Dialect::header_of(Separator::Comma))?;
        let column = |name: &str| {
            let found = table.header().names.iter().position(|n| n == name);
            found.ok_or_else(|| {
                let names = table.header().names.join(",");
                let expected = "the columns node, time, label among those of the header";
                let found = format!("the header `{names}` has no column `{name}`");
                DataError::line(&file.shown, Place::Line(1), found, expected)
            })
        };
        let columns = [column("node")?, column("time")?, column("label")?];
        Ok(LabelRows { table, columns })
    }

    pub(crate) fn next(&mut self) -> Result<Option<LabelRow>, DataError> {
        if !self.table.next()? {
            return Ok(None);
        }
        let at = self.table.position();
        let field = |c: usize| self.table.field(self.columns[c]);
        Ok(Some(LabelRow {
            place: at.place,
            node: at.name(field(0), "node")?.to_owned(),
            time: moment(field(1)).ok_or_else(|| at.error("no time", "the time of the event"))?,
            label: at.integer(field(2), "label", "a whole number")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::input_file::InputFile;
    use crate::files::packed::Unpacking;
    use crate::formats::detect::{Format, text_head};
    use crate::schema::reading::Reading;

    /// Those that pass nothing on to an intake, which would look for a stop.
    #[test]
    fn every_pass_over_a_file_heeds_a_stop() {
        let folder = tempfile::tempdir().unwrap();
        let text = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            TextFile::one(&InputFile::on_disk(&path), Unpacking::default()).unwrap()
        };
        let row = |event: usize| format!("{event},1,2,{event}\n");
        let rows: String = (0..3_000).map(row).collect();
        let events = text("edges.csv", &format!(",src,dst,time\n{rows}"));
        let labels = text("labels.csv", ",node,time,label\n0,1,0,1\n");
        let (head, reading) = (text_head(&events).unwrap(), Reading::default());
        let mut table = EventTable::of(&events, &head, Format::TglCsv, &reading, false).unwrap();
        let stop = Stop::default();
        assert!(labels_fit(&table, &labels, &stop).unwrap().is_err());
        stop.request();
        let stopped = |result| matches!(result, Err(DataError::Stopped(_)));
        assert!(stopped(labels_fit(&table, &labels, &stop).map(drop)));
        assert!(stopped(table.look_through(&stop)));
    }
}
