//! What every reader produces: events as the file has them, one after another.
//!
//! Readers check the layout of a line and the form of its numbers. Order in
//! time, finite features and dense ids are the business of whoever receives the
//! events ([`EventSink`]). Readers hold one line in memory at a time.

use std::path::Path;

use crate::error::{DataError, Place, quoted};
use crate::fields::decimal::Decimal;

/// One event of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawEvent<'a> {
    pub(crate) at: Position<'a>,
    pub(crate) src: u64,
    pub(crate) dst: u64,
    pub(crate) time: Decimal,
    pub(crate) label: Option<i32>,
    pub(crate) roll: Option<u8>,
    /// The file's own number of this event, counted from 0.
    pub(crate) edge_id: Option<u64>,
    pub(crate) features: FeatureRow<'a>,
    /// What the features are called, for messages; empty where they have no names.
    pub(crate) titles: &'a [String],
}

/// The features that stand with an event, all rows of one stream in the same form and width.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FeatureRow<'a> {
    Floats(&'a [f32]),
    /// `ceil(width / 8)` bytes, lowest bit first, unused bits zero.
    Bits {
        width: usize,
        bytes: &'a [u8],
    },
}

/// What a reader learns of the stream beside its events.
#[derive(Debug, Default)]
pub(crate) struct Described {
    /// Names of the nodes, if ids in the file are text: `src` and `dst` are then positions here.
    pub(crate) node_names: Option<Vec<String>>,
    /// What the columns of the events' features mean.
    pub(crate) edge_feature_names: Option<Vec<String>>,
    /// How columns were read, as `--columns` would say it.
    pub(crate) columns: Option<String>,
    /// Node features that stand in the events: bit-packed rows in the order of `node_names`.
    pub(crate) node_features: Option<NodeBits>,
    /// True if row 0 of separate feature files belongs to no event and no node.
    pub(crate) padding_row: bool,
    /// What a user should know.
    pub(crate) notes: Vec<String>,
}

/// Boolean node features `[nodes, names.len()]`, bit-packed.
#[derive(Debug)]
pub(crate) struct NodeBits {
    pub(crate) names: Vec<String>,
    pub(crate) bytes: Vec<u8>,
}

/// Receives events in file order.
pub(crate) trait EventSink {
    /// Ends a reading that passes no events on for long.
    fn check_stop(&self) -> Result<(), DataError>;

    fn event(&mut self, event: RawEvent<'_>) -> Result<(), DataError>;
}

/// Where a field stands, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position<'a> {
    pub(crate) path: &'a Path,
    pub(crate) place: Place,
}

impl Position<'_> {
    pub(crate) fn error(self, found: impl Into<String>, expected: impl Into<String>) -> DataError {
        DataError::line(self.path, self.place, found, expected)
    }

    /// A node id: digits only.
    pub(crate) fn id(self, field: &[u8], what: &str) -> Result<u64, DataError> {
        let digits_only = !field.is_empty() && field.iter().all(u8::is_ascii_digit);
        parse_text::<u64>(field)
            .filter(|_| digits_only)
            .ok_or_else(|| {
                self.error(
                    format!("{what} is {}", quoted(field)),
                    "a whole number from 0 to 2^64 - 1, written with digits only",
                )
            })
    }

    /// A small whole number; `1.0` counts as one, because pandas writes it so.
    pub(crate) fn integer<T: TryFrom<i64>>(
        self,
        field: &[u8],
        what: &str,
        expected: &str,
    ) -> Result<T, DataError> {
        Decimal::parse(field)
            .ok()
            .and_then(Decimal::integer)
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| self.error(format!("{what} is {}", quoted(field)), expected))
    }

    /// A node's name: any text that is not empty.
    pub(crate) fn name<'f>(self, field: &'f [u8], what: &str) -> Result<&'f str, DataError> {
        std::str::from_utf8(field)
            .ok()
            .filter(|name| !name.is_empty())
            .ok_or_else(|| {
                self.error(
                    format!("{what} is {}", quoted(field)),
                    match field {
                        [] => "the name of a node",
                        _ => "the name of a node in UTF-8 (is the file Latin-1? iconv -f latin1 -t utf-8 converts it)",
                    },
                )
            })
    }

    /// A mark of the split.
    pub(crate) fn mark(self, field: &[u8], what: &str) -> Result<u8, DataError> {
        parse_mark(field).ok_or_else(|| {
            self.error(
                format!("{what} is {}", quoted(field)),
                "0 (train), 1 (validation) or 2 (test), or these words; if the column marks no split: --columns ignore=…",
            )
        })
    }
}

/// A mark of the split: 0, 1 or 2, or a word.
pub(crate) fn parse_mark(field: &[u8]) -> Option<u8> {
    match &field.to_ascii_lowercase()[..] {
        b"train" | b"training" => Some(0),
        b"val" | b"valid" | b"validation" | b"dev" => Some(1),
        b"test" => Some(2),
        _ => (Decimal::parse(field).ok().and_then(Decimal::integer))
            .and_then(|mark| u8::try_from(mark).ok())
            .filter(|mark| *mark <= 2),
    }
}

/// Packs truth values, lowest bit first.
pub(crate) fn pack(bytes: &mut Vec<u8>, values: impl Iterator<Item = bool>) {
    bytes.clear();
    for (at, value) in values.enumerate() {
        if at % 8 == 0 {
            bytes.push(0);
        }
        if let Some(last) = bytes.last_mut() {
            *last |= u8::from(value) << (at % 8);
        }
    }
}

/// `true` and `false`, however they are written.
pub(crate) fn parse_bool(field: &[u8]) -> Option<bool> {
    match field {
        _ if field.eq_ignore_ascii_case(b"true") => Some(true),
        _ if field.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

fn parse_text<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}
