//! SNAP's temporal networks: `src dst time`, separated by white space.
//!
//! One event a line; lines that start with `#` and empty lines are skipped. One
//! id space. Three fields are required, no more: further ones would be weights or
//! signs, which this format does not define.
//! Source: <https://snap.stanford.edu/data/CollegeMsg.html>, "Data format".

use crate::error::DataError;
use crate::lines::Lines;
use crate::packed::TextFile;
use crate::raw_event::{Described, EventSink, FeatureRow, RawEvent};

/// Reads `file` into `sink`.
pub(crate) fn read(file: &TextFile, sink: &mut dyn EventSink) -> Result<Described, DataError> {
    let mut lines = Lines::open(file)?;
    while lines.advance()? {
        if lines.line().starts_with(b"#") {
            continue;
        }
        let at = lines.position();
        let mut words = lines.words();
        let (Some(src), Some(dst), Some(time), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(at.error(
                format!("{} fields", lines.words().count()),
                "three: `src dst time`",
            ));
        };
        sink.event(RawEvent {
            at,
            src: at.id(src, "src")?,
            dst: at.id(dst, "dst")?,
            time: at.time(time)?,
            label: None,
            roll: None,
            edge_id: None,
            features: FeatureRow::NONE,
        })?;
    }
    Ok(Described::default())
}
