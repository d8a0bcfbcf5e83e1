//! SNAP's temporal networks: `src dst time`, separated by white space.
//!
//! One event a line; lines that start with `#` and empty lines are skipped. One
//! id space. Three fields are required, no more: further ones would be weights or
//! signs, which this format does not define.
//! Source: <https://snap.stanford.edu/data/CollegeMsg.html>, "Data format".

use std::path::Path;

use crate::error::DataError;
use crate::lines::Lines;
use crate::raw_event::{EventSink, RawEvent};

/// Reads `path` into `sink`.
pub(crate) fn read(path: &Path, sink: &mut dyn EventSink) -> Result<(), DataError> {
    let mut lines = Lines::open(path)?;
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
            line: at.line,
            src: at.id(src, "src")?,
            dst: at.id(dst, "dst")?,
            time: at.time(time)?,
            label: None,
            roll: None,
            edge_id: None,
            features: &[],
        })?;
    }
    Ok(())
}
