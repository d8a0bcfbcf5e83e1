//! TGB's edge lists: csv with a header, `time,src,dst` and then features or weights.
//!
//! One event a line, sorted by time. Time, source and destination are found by
//! their names (`column_names`); if the header names them otherwise, they are the
//! first three columns, as in TGB's own reader. Times are numbers or UTC dates
//! (`2019-01-01`, `2019-01-01 12:30:00`), which become Unix seconds. (TGB reads
//! dates in the local time zone of the machine.) Ids are one space of numbers or
//! of text. Further columns are features if the first event has a number there;
//! others are left out with a note. `label` is the state label.
//! Source: <https://github.com/shenyangHuang/TGB>, `tgb/utils/pre_process.py`.

use crate::calendar::parse_date;
use crate::column_names::{Role, role};
use crate::csv_table::Table;
use crate::decimal::{Decimal, DecimalError};
use crate::error::{DataError, quoted};
use crate::node_names::NodeNames;
use crate::packed::TextFile;
use crate::raw_event::{Described, EventSink, FeatureRow, Position, RawEvent};

/// Which column holds what.
struct Layout {
    time: usize,
    src: usize,
    dst: usize,
    label: Option<usize>,
}

/// What the first event showed.
struct Kinds {
    dates: bool,
    names: bool,
    features: Vec<usize>,
}

/// Reads `file` into `sink`.
pub(crate) fn read(file: &TextFile, sink: &mut dyn EventSink) -> Result<Described, DataError> {
    let mut table = Table::open(file)?;
    let layout = Layout::of(&table)?;
    let mut kinds: Option<Kinds> = None;
    let mut names = NodeNames::default();
    let mut features = Vec::new();
    while table.next()? {
        let at = table.position();
        let kinds = kinds.get_or_insert_with(|| layout.kinds(&table));
        features.clear();
        for (position, &column) in kinds.features.iter().enumerate() {
            features.push(at.feature(table.field(column), position)?);
        }
        let mut node = |column: usize, what: &str| {
            let field = table.field(column);
            if kinds.names {
                names.number(at, name(at, field, what)?)
            } else {
                at.id(field, what)
            }
        };
        sink.event(RawEvent {
            at,
            src: node(layout.src, "the source")?,
            dst: node(layout.dst, "the destination")?,
            time: time(at, table.field(layout.time), kinds.dates)?,
            label: layout
                .label
                .map(|c| at.integer(table.field(c), "label", "a whole number"))
                .transpose()?,
            roll: None,
            edge_id: None,
            features: FeatureRow::Floats(&features),
        })?;
    }
    let Some(kinds) = kinds else {
        return Ok(Described::default());
    };
    let title = |column: usize| table.names()[column].clone();
    let unread: Vec<String> = (0..table.names().len())
        .filter(|column| !kinds.features.contains(column) && !layout.uses(*column))
        .map(title)
        .collect();
    Ok(Described {
        node_names: kinds.names.then(|| names.into_names()),
        edge_feature_names: (!kinds.features.is_empty())
            .then(|| kinds.features.iter().map(|&column| title(column)).collect()),
        notes: (!unread.is_empty())
            .then(|| {
                format!(
                    "columns without numbers in the first event were left out: {}",
                    unread.join(", ")
                )
            })
            .into_iter()
            .collect(),
        ..Described::default()
    })
}

impl Layout {
    fn of(table: &Table<'_>) -> Result<Layout, DataError> {
        let names = table.names();
        if names.len() < 3 + usize::from(table.first_unnamed().is_some()) {
            return Err(table.position().error(
                format!("{} columns", names.len()),
                "at least three: time, source, destination",
            ));
        }
        let find = |wanted: Role| names.iter().position(|name| role(name) == Some(wanted));
        let (time, src, dst) = match (
            find(Role::Time),
            find(Role::Source),
            find(Role::Destination),
        ) {
            (Some(time), Some(src), Some(dst)) => (time, src, dst),
            _ => {
                let first = usize::from(table.first_unnamed().is_some());
                (first, first + 1, first + 2)
            }
        };
        let label = find(Role::Label).filter(|column| ![time, src, dst].contains(column));
        Ok(Layout {
            time,
            src,
            dst,
            label,
        })
    }

    fn uses(&self, column: usize) -> bool {
        [self.time, self.src, self.dst].contains(&column) || self.label == Some(column)
    }

    fn kinds(&self, table: &Table<'_>) -> Kinds {
        let digits = |column| {
            let field = table.field(column);
            !field.is_empty() && field.iter().all(u8::is_ascii_digit)
        };
        Kinds {
            dates: parse_date(table.field(self.time)).is_some(),
            names: !(digits(self.src) && digits(self.dst)),
            features: table
                .fields()
                .enumerate()
                .filter(|(column, field)| {
                    let index = table.first_unnamed() == Some(*column);
                    !index && !self.uses(*column) && Decimal::parse(field).is_ok()
                })
                .map(|(column, _)| column)
                .collect(),
        }
    }
}

fn time(at: Position<'_>, field: &[u8], dates: bool) -> Result<Decimal, DataError> {
    if !dates {
        return match Decimal::parse(field) {
            Err(DecimalError::NotANumber) => Err(at.error(
                format!("time is {}", quoted(field)),
                "a decimal number such as 36 or 36.5, or in all events a date such as 2019-01-31 or 2019-01-31 12:30:00",
            )),
            _ => at.time(field),
        };
    }
    parse_date(field)
        .map(|seconds| Decimal {
            mantissa: seconds,
            scale: 0,
        })
        .ok_or_else(|| {
            at.error(
                format!("time is {}", quoted(field)),
                "a date such as 2019-01-31 or 2019-01-31 12:30:00, as in the first event",
            )
        })
}

/// A node's name: any text that is not empty.
pub(crate) fn name<'a>(
    at: Position<'_>,
    field: &'a [u8],
    what: &str,
) -> Result<&'a str, DataError> {
    std::str::from_utf8(field)
        .ok()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| {
            at.error(
                format!("{what} is {}", quoted(field)),
                "the name of a node, in UTF-8",
            )
        })
}
