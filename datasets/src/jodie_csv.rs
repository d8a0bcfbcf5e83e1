//! JODIE's csv: `user_id,item_id,timestamp,state_label,comma_separated_list_of_features`.
//!
//! One event a line, sorted by time. The header names five columns, but a row
//! has four fields and then any number of features, the same in every row
//! (wikipedia 172; lastfm two zeros in place of features). Users and items are
//! two id spaces. A missing header is accepted when the format is given by hand.
//! Source: <https://snap.stanford.edu/jodie/>, "dataset format".

use crate::error::DataError;
use crate::lines::Lines;
use crate::packed::TextFile;
use crate::raw_event::{Described, EventSink, FeatureRow, RawEvent};

/// Reads `file` into `sink`.
pub(crate) fn read(file: &TextFile, sink: &mut dyn EventSink) -> Result<Described, DataError> {
    let mut lines = Lines::open(file)?;
    let mut features = Vec::new();
    let mut first = true;
    while lines.advance()? {
        let header = std::mem::take(&mut first) && lines.line().starts_with(b"user_id");
        if header {
            continue;
        }
        let at = lines.position();
        let mut fields = lines.comma_fields();
        let (Some(user), Some(item), Some(time), Some(label)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            let expected =
                "at least four: user_id,item_id,timestamp,state_label and any number of features";
            return Err(at.error(format!("{} fields", lines.comma_fields().count()), expected));
        };
        features.clear();
        for (column, field) in fields.enumerate() {
            features.push(at.feature(field, column)?);
        }
        sink.event(RawEvent {
            at,
            src: at.id(user, "user_id")?,
            dst: at.id(item, "item_id")?,
            time: at.time(time)?,
            label: Some(at.integer(label, "state_label", "a whole number, usually 0 or 1")?),
            roll: None,
            edge_id: None,
            features: FeatureRow::Floats(&features),
        })?;
    }
    Ok(Described::default())
}
