//! DyGLib's and TGN's csv: `ml_NAME.csv` with the columns `,u,i,ts,label,idx`.
//!
//! One event a line, sorted by time; columns are found by their names. Ids start
//! at 1 (items follow users where there are both) and are one id space. `idx` is
//! the event's row in `ml_NAME.npy`; where it starts at 1, row 0 of that file and
//! of `ml_NAME_node.npy` is padding that belongs to no event and no node, and is
//! left out.
//! Source: <https://github.com/yule-BUAA/DyGLib>, `preprocess_data/preprocess_data.py`;
//! <https://github.com/twitter-research/tgn>, `utils/preprocess_data.py`.

use crate::csv_table::Table;
use crate::error::DataError;
use crate::packed::TextFile;
use crate::raw_event::{Described, EventSink, FeatureRow, RawEvent};

/// Reads `file` into `sink`.
pub(crate) fn read(file: &TextFile, sink: &mut dyn EventSink) -> Result<Described, DataError> {
    let mut table = Table::open(file)?;
    let [src, dst, time] = table.required(["u", "i", "ts"])?;
    let (label, number) = (table.column("label"), table.column("idx"));
    let mut base = None;
    while table.next()? {
        let at = table.position();
        let number = number
            .map(|column| at.id(table.field(column), "idx"))
            .transpose()?;
        let base = *base.get_or_insert(number.unwrap_or(0));
        if base > 1 {
            return Err(at.error(
                format!("idx of the first event is {base}"),
                "0 or 1; give the whole file, not a part of it",
            ));
        }
        sink.event(RawEvent {
            at,
            src: at.id(table.field(src), "u")?,
            dst: at.id(table.field(dst), "i")?,
            time: at.time(table.field(time))?,
            label: label
                .map(|c| at.integer(table.field(c), "label", "a whole number, usually 0 or 1"))
                .transpose()?,
            roll: None,
            edge_id: match number {
                Some(n) => {
                    Some(n.checked_sub(base).ok_or_else(|| {
                        at.error("idx is 0", "numbers that go on from those before")
                    })?)
                }
                None => None,
            },
            features: FeatureRow::NONE,
        })?;
    }
    Ok(Described {
        padding_row: base == Some(1),
        ..Described::default()
    })
}
