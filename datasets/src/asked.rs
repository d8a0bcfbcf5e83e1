//! What is asked of a model in a stream's own words: ids of nodes, and exact times.
//!
//! Ids are the caller's: numbers or text, as the stream's file has them. A time is exact: it is
//! taken as a decimal, or a date, and never passes through a binary number.

mod table;
mod written;

use std::fmt;

pub use table::{Asked, AskedOptions};
pub use written::{Cells, ColumnKind, TableFormat, TableWriter};

use crate::fields::calendar::parse_date;
use crate::fields::decimal::Decimal;
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

/// An exact time in ticks.
pub(crate) fn in_ticks(time: Decimal, ticks_per_unit: i64) -> Result<i64, String> {
    let scale = scale(ticks_per_unit);
    if time.scale > scale {
        return Err(format!(
            "a time with at most {scale} decimals, as the model's stream has them; round it"
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
    fn times_are_exact_or_refused() {
        assert_eq!(ticks("36.5", 10), Ok(365));
        assert_eq!(ticks(" 36 ", 10), Ok(360));
        assert_eq!(ticks("1970-01-02", 1), Ok(86_400));
        assert!(
            ticks("36.55", 10)
                .unwrap_err()
                .contains("at most 1 decimals")
        );
        assert!(ticks("soon", 10).unwrap_err().contains("a decimal number"));
        assert!(ticks("1e18", 10).unwrap_err().contains("ticks"));
        assert_eq!(time_text(365, 10), "36.5");
        assert_eq!(time_text(360, 10), "36");
    }
}
