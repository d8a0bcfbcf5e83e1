//! What is asked of a model in a stream's own words: ids of nodes, and exact times.
//!
//! Ids are the caller's: numbers or text, as the stream's file has them. A time is exact: it is
//! taken as a decimal, or a date, and never passes through a binary number.

mod table;
mod written;

use std::fmt;

pub use crate::schema::End;
pub use table::{Asked, AskedOptions};
pub use written::{Cells, ColumnKind, TableFormat, TableWriter};

use crate::error::{DataError, quoted};
use crate::fields::calendar::parse_date;
use crate::fields::decimal::Decimal;
use crate::fields::raw_event::Position;
use crate::formats::table::any_id;
use crate::stream::event_log::MAX_TIME;

/// A node as the stream's file names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeKey {
    /// A number.
    Number(u64),
    /// A name.
    Text(String),
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeKey::Number(number) => write!(f, "{number}"),
            NodeKey::Text(text) => f.write_str(text),
        }
    }
}

impl From<u64> for NodeKey {
    fn from(number: u64) -> NodeKey {
        NodeKey::Number(number)
    }
}

impl From<u32> for NodeKey {
    fn from(number: u32) -> NodeKey {
        NodeKey::Number(number.into())
    }
}

impl From<&str> for NodeKey {
    fn from(text: &str) -> NodeKey {
        NodeKey::Text(text.to_owned())
    }
}

impl From<String> for NodeKey {
    fn from(text: String) -> NodeKey {
        NodeKey::Text(text)
    }
}

/// A row of a table: its ids, its time, and which end of events it says that its node is.
#[derive(Debug, Default)]
pub(crate) struct AskedRow {
    pub(crate) keys: [Option<NodeKey>; 2],
    pub(crate) time: Option<Decimal>,
    pub(crate) end: Option<End>,
}

/// The end of events that `field` names.
pub(crate) fn end(at: Position<'_>, field: &[u8]) -> Result<End, DataError> {
    let named = End::named(field);
    named.ok_or_else(|| {
        at.error(
            format!("side is {}", quoted(field)),
            "source or destination",
        )
    })
}

/// The node that is called `text`, where ids are text or numbers (`3.0` is 3, as where a library made floats of
/// them); None if it is no number then.
pub fn key(text: &str, text_ids: bool) -> Option<NodeKey> {
    match text_ids {
        true => Some(NodeKey::from(text)),
        false => any_id(text.as_bytes()).map(NodeKey::Number),
    }
}

/// The time `text`, a decimal number or a date, in ticks of a stream that has so many in its unit; an
/// error says what was expected.
///
/// # Errors
/// When it is no time, or finer than a tick.
pub fn ticks(text: &str, ticks_per_unit: i64) -> Result<i64, String> {
    let text = text.trim();
    let time = match parse_date(text.as_bytes()) {
        Some(date) => date,
        None => Decimal::parse(text.as_bytes())
            .map_err(|error| format!("{}, or a date", error.expected()))?,
    };
    in_ticks(time, ticks_per_unit)
}

/// A time in ticks of another stream, of which so many are in `theirs` unit, in ticks of one that has `own`; an
/// error says what was expected.
///
/// # Errors
/// When it is finer than a tick.
pub fn in_units(ticks: i64, theirs: i64, own: i64) -> Result<i64, String> {
    in_ticks(Decimal::of_ticks(ticks, scale(theirs)), own)
}

/// An exact time in ticks.
pub(crate) fn in_ticks(time: Decimal, ticks_per_unit: i64) -> Result<i64, String> {
    let scale = scale(ticks_per_unit);
    if time.scale > scale {
        let decimals = match scale {
            0 => "without decimals".to_owned(),
            1 => "with at most 1 decimal".to_owned(),
            more => format!("with at most {more} decimals"),
        };
        return Err(format!(
            "a time {decimals}, as the model's stream has them; round it"
        ));
    }
    let ticks = time.ticks(scale);
    let ticks = ticks.filter(|ticks| (-MAX_TIME..=MAX_TIME).contains(ticks));
    ticks.ok_or_else(|| format!("a time from -{MAX_TIME} to {MAX_TIME} ticks"))
}

/// The time of `ticks`, as the stream's file would write it.
pub fn time_text(ticks: i64, ticks_per_unit: i64) -> String {
    Decimal::of_ticks(ticks, scale(ticks_per_unit)).to_string()
}

/// The decimals of a stream's times.
fn scale(ticks_per_unit: i64) -> u8 {
    ticks_per_unit.max(1).ilog10() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_files_have() {
        assert_eq!(key("3.0", false), Some(NodeKey::Number(3)));
        assert_eq!(
            key("18446744073709551615", false),
            Some(NodeKey::Number(u64::MAX))
        );
        assert_eq!(key("3.5", false), None);
        assert_eq!(key("3.0", true), Some(NodeKey::from("3.0")));
    }

    #[test]
    fn times_are_exact_or_refused() {
        assert_eq!(ticks("36.5", 10), Ok(365));
        assert_eq!(ticks(" 36 ", 10), Ok(360));
        assert_eq!(ticks("1970-01-02", 1), Ok(86_400));
        assert!(
            ticks("36.55", 10)
                .unwrap_err()
                .contains("at most 1 decimal,")
        );
        // As pandas writes whole seconds.
        assert_eq!(ticks("1970-01-02T00:00:01.000000", 1), Ok(86_401));
        assert!(
            ticks("1970-01-02T00:00:01.5", 1)
                .unwrap_err()
                .contains("without decimals")
        );
        assert!(ticks("soon", 10).unwrap_err().contains("a decimal number"));
        assert!(ticks("1e18", 10).unwrap_err().contains("ticks"));
        assert_eq!(time_text(365, 10), "36.5");
        assert_eq!(time_text(360, 10), "36");
    }
}
