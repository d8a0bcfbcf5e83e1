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
use crate::stream::event_log::NO_LABEL;

use super::kinds::is_missing;
use super::{Dialect, Separator, Table};

pub(super) fn moment(field: &[u8]) -> Option<Decimal> {
    Decimal::parse(field).ok().or_else(|| parse_date(field))
}

pub(crate) struct LabelRow {
    pub(super) place: Place,
    pub(super) node: String,
    pub(super) time: Decimal,
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
            label: match is_missing(field(2)) {
                true => NO_LABEL,
                false => at.integer(field(2), "label", "a whole number")?,
            },
        }))
    }
}
