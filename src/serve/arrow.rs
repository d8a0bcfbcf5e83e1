//! Events in Arrow's IPC format, a stream or a file: columns `src`, `dst`, `time` and, where events have some,
//! `features`.
//!
//! Ids are whole numbers or text; times whole numbers in the stream's unit, or text as in JSON; features are lists of
//! floats, of one length or not. Nulls, compressed buffers, dictionaries and other columns are refused.
//! What is made is bounded by the size of the body. The format: <https://arrow.apache.org/docs/format/Columnar.html>,
//! "Serialization and Interprocess Communication", and `Message.fbs` and `Schema.fbs` beside it.
//!
//! Read here and not by the arrow crates: they turn on `std` in num-complex, which burn is built with too, so that
//! all of it would be built once more for these columns.

mod flatbuffer;

use mspipe_datasets::asked;
use serde_json::Value;

use self::flatbuffer::{Damaged, Table, number};
use super::shared::Server;
use crate::session::predict::NewEvent;

/// What an Arrow file begins with; a stream follows.
const FILE: &[u8; 8] = b"ARROW1\0\0";

/// Columns of events, at most: those of one that is refused are not all looked at.
const COLUMNS: usize = 64;

/// How a column's values lie.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Whole { bytes: usize, signed: bool },
    Text { offset_bytes: usize },
    Floats { bytes: usize, lists: Lists },
}

/// Where lists end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lists {
    Fixed(usize),
    Offsets { bytes: usize },
}

/// The values of a column of a batch.
enum Values<'a> {
    Whole(Vec<i128>),
    Text(Vec<&'a str>),
    Floats(Vec<Vec<f32>>),
}

/// A schema's columns.
type Columns<'a> = Vec<(&'a str, Kind)>;

/// A batch's columns.
type Batch<'a> = Vec<(&'a str, Values<'a>)>;

/// The batches of a stream or file.
fn batches(bytes: &[u8]) -> Result<Vec<Batch<'_>>, String> {
    let mut rest = bytes.strip_prefix(FILE).unwrap_or(bytes);
    let (mut columns, mut batches) = (None, Vec::new());
    while let Some(message) = Message::next(&mut rest)? {
        match (message.kind, &columns) {
            (SCHEMA, None) => columns = Some(schema(message.header)?),
            (BATCH, Some(columns)) => batches.push(batch(message.header, message.body, columns)?),
            (DICTIONARY, _) => {
                return Err("found a column with a dictionary; write plain values".to_owned());
            }
            _ => return Err(Damaged.into()),
        }
    }
    match columns {
        Some(_) => Ok(batches),
        None => Err("expected an Arrow IPC stream or file; found no schema".to_owned()),
    }
}

impl Server {
    /// The events of a body.
    pub(super) fn arrow_events(&self, bytes: &[u8]) -> Result<Vec<NewEvent>, String> {
        let mut events = Vec::new();
        for batch in batches(bytes)? {
            self.rows(batch, &mut events)?;
        }
        Ok(events)
    }

    /// Adds the events of a batch.
    fn rows(&self, mut values: Batch<'_>, events: &mut Vec<NewEvent>) -> Result<(), String> {
        let mut take = |name: &str| {
            let at = values.iter().position(|(of, _)| *of == name)?;
            Some(values.swap_remove(at).1)
        };
        let mut column = |name: &str| take(name).ok_or_else(|| format!("no column {name:?}"));
        let (src, dst, time) = (column("src")?, column("dst")?, column("time")?);
        let mut features = match take("features") {
            Some(Values::Floats(features)) => features,
            Some(_) => return Err("features: expected lists of floats".to_owned()),
            None => Vec::new(),
        };
        if let Some((name, _)) = values.first() {
            return Err(format!(
                "found the column {name:?}; expected src, dst, time, features"
            ));
        }
        for row in 0..src.len() {
            let place = events.len();
            let named = |name: &str, error: String| format!("row {place}: {name}: {error}");
            let id = |values: &Values<'_>, name| {
                let key = values.id(row).and_then(|id| self.key(&id));
                key.map_err(|error| named(name, error))
            };
            events.push(NewEvent {
                src: id(&src, "src")?,
                dst: id(&dst, "dst")?,
                time: time
                    .ticks(row, self.ticks_per_unit)
                    .map_err(|error| named("time", error))?,
                features: features
                    .get_mut(row)
                    .map(std::mem::take)
                    .unwrap_or_default(),
            });
        }
        Ok(())
    }
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Values::Whole(all) => all.len(),
            Values::Text(all) => all.len(),
            Values::Floats(all) => all.len(),
        }
    }

    /// An id, as JSON would have it.
    fn id(&self, row: usize) -> Result<Value, String> {
        match self {
            Values::Whole(all) => match u64::try_from(all[row]) {
                Ok(number) => Ok(number.into()),
                Err(_) => Err(format!("found the id {}; expected one from 0 on", all[row])),
            },
            Values::Text(all) => Ok(all[row].into()),
            Values::Floats(_) => Err("expected whole numbers or text".to_owned()),
        }
    }

    fn ticks(&self, row: usize, per_unit: i64) -> Result<i64, String> {
        match self {
            Values::Whole(all) => all[row]
                .checked_mul(per_unit.into())
                .and_then(|ticks| i64::try_from(ticks).ok())
                .ok_or_else(|| format!("found {}, which is out of range", all[row])),
            Values::Text(all) => asked::ticks(all[row], per_unit)
                .map_err(|expected| format!("found {:.64}; expected {expected}", all[row])),
            Values::Floats(_) => Err("expected whole numbers or text".to_owned()),
        }
    }
}

/// Kinds of messages, `MessageHeader` in Message.fbs.
const SCHEMA: u8 = 1;
const DICTIONARY: u8 = 2;
const BATCH: u8 = 3;

struct Message<'a> {
    kind: u8,
    header: Table<'a>,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The next message of `rest`, if there is one.
    fn next(rest: &mut &'a [u8]) -> Result<Option<Message<'a>>, Damaged> {
        let all = *rest;
        if all.is_empty() {
            return Ok(None);
        }
        if number::<4>(all, 0)? != [0xff; 4] {
            return Err(Damaged);
        }
        let length = u32::from_le_bytes(number(all, 4)?) as usize;
        if length == 0 {
            // What follows in a file says where the batches are.
            return Ok(None);
        }
        let (head, after) = all[8..].split_at_checked(length).ok_or(Damaged)?;
        let message = Table::root(head)?;
        let bytes = message.number(3)?.map_or(0, i64::from_le_bytes);
        let bytes = usize::try_from(bytes).map_err(|_| Damaged)?;
        let (body, after) = after.split_at_checked(bytes).ok_or(Damaged)?;
        *rest = after;
        Ok(Some(Message {
            kind: message.number(1)?.map_or(0, u8::from_le_bytes),
            header: message.table(2)?.ok_or(Damaged)?,
            body,
        }))
    }
}

/// The columns of a schema.
fn schema(schema: Table<'_>) -> Result<Columns<'_>, String> {
    if schema.number(0)?.map_or(0, i16::from_le_bytes) != 0 {
        return Err("found big-endian numbers; write little-endian ones".to_owned());
    }
    let fields = schema.tables(1)?;
    if fields.len() > COLUMNS {
        return Err(format!(
            "found {} columns; expected src, dst, time, features",
            fields.len()
        ));
    }
    let column = |field: Table<'_>| {
        let kind = kind(field)?;
        kind.ok_or_else(|| "expected whole numbers or text, as features lists of floats".to_owned())
    };
    let mut columns = Columns::new();
    for field in fields {
        let name = field.text(0)?.unwrap_or_default();
        if columns.iter().any(|(of, _)| *of == name) {
            return Err(format!("found two columns {name:?}"));
        }
        columns.push((
            name,
            column(field).map_err(|error| format!("column {name:?}: {error}"))?,
        ));
    }
    Ok(columns)
}

/// How the values of `field` lie, if they can be read here; `Type` in Schema.fbs.
fn kind(field: Table<'_>) -> Result<Option<Kind>, Damaged> {
    let (of, children) = (field.table(3)?, field.tables(5)?);
    let (Some(of), None) = (of, field.table(4)?) else {
        return Ok(None);
    };
    let child = match children[..] {
        [child] => floats(child)?,
        _ => None,
    };
    let lists = |lists| child.map(|bytes| Kind::Floats { bytes, lists });
    Ok(match field.number(2)?.map_or(0, u8::from_le_bytes) {
        2 => {
            let bits = of.number(0)?.map_or(0, i32::from_le_bytes);
            let signed = of.number(1)?.map_or(0, u8::from_le_bytes) != 0;
            let bytes = bits as usize / 8;
            matches!(bits, 8 | 16 | 32 | 64).then_some(Kind::Whole { bytes, signed })
        }
        5 => Some(Kind::Text { offset_bytes: 4 }),
        20 => Some(Kind::Text { offset_bytes: 8 }),
        12 => lists(Lists::Offsets { bytes: 4 }),
        21 => lists(Lists::Offsets { bytes: 8 }),
        16 => {
            let length = of.number(0)?.map_or(0, i32::from_le_bytes);
            lists(Lists::Fixed(usize::try_from(length).map_err(|_| Damaged)?))
        }
        _ => None,
    })
}

/// Bytes of the values of a column of floats.
fn floats(field: Table<'_>) -> Result<Option<usize>, Damaged> {
    let (3, Some(of)) = (
        field.number(2)?.map_or(0, u8::from_le_bytes),
        field.table(3)?,
    ) else {
        return Ok(None);
    };
    Ok(match of.number(0)?.map_or(0, i16::from_le_bytes) {
        1 => Some(4),
        2 => Some(8),
        _ => None,
    })
}

/// What is left of a batch's nodes and buffers; a column has some of each, in order.
struct Parts<'a> {
    nodes: std::slice::ChunksExact<'a, u8>,
    buffers: std::slice::ChunksExact<'a, u8>,
    body: &'a [u8],
}

/// The values of a batch, column by column.
fn batch<'a>(
    header: Table<'a>,
    body: &'a [u8],
    columns: &Columns<'a>,
) -> Result<Batch<'a>, String> {
    if header.table(3)?.is_some() {
        return Err("found compressed buffers; write uncompressed ones".to_owned());
    }
    let rows = header.number(0)?.map_or(0, i64::from_le_bytes);
    let rows = usize::try_from(rows).map_err(|_| Damaged)?;
    let mut parts = Parts {
        nodes: header.structs(1, 16)?.chunks_exact(16),
        buffers: header.structs(2, 16)?.chunks_exact(16),
        body,
    };
    let mut all = Vec::new();
    for &(name, kind) in columns {
        let values = parts.values(kind, rows);
        all.push((
            name,
            values.map_err(|error| format!("column {name:?}: {error}"))?,
        ));
    }
    Ok(all)
}

impl<'a> Parts<'a> {
    /// A column of `rows` values, or of any number.
    fn column(&mut self, rows: Option<usize>) -> Result<usize, String> {
        let node = self.nodes.next().ok_or(Damaged)?;
        let [length, nulls] = [0, 8].map(|at| number(node, at).map(i64::from_le_bytes));
        let length = usize::try_from(length?).map_err(|_| Damaged)?;
        if nulls? != 0 {
            return Err("found nulls; expected a value in each row".to_owned());
        }
        // Which are null: none.
        self.buffer()?;
        match rows.is_none_or(|rows| rows == length) {
            true => Ok(length),
            false => Err(Damaged.into()),
        }
    }

    fn buffer(&mut self) -> Result<&'a [u8], Damaged> {
        let buffer = self.buffers.next().ok_or(Damaged)?;
        let [start, bytes] = [0, 8].map(|at| number(buffer, at).map(i64::from_le_bytes));
        let (start, bytes) = (usize::try_from(start?), usize::try_from(bytes?));
        let (Ok(start), Ok(bytes)) = (start, bytes) else {
            return Err(Damaged);
        };
        let end = start.checked_add(bytes).ok_or(Damaged)?;
        self.body.get(start..end).ok_or(Damaged)
    }

    /// The first `count` numbers of a buffer.
    fn numbers(&mut self, count: usize, bytes: usize) -> Result<&'a [u8], Damaged> {
        let all = self.buffer()?;
        all.get(..count.checked_mul(bytes).ok_or(Damaged)?)
            .ok_or(Damaged)
    }

    fn values(&mut self, kind: Kind, rows: usize) -> Result<Values<'a>, String> {
        self.column(Some(rows))?;
        Ok(match kind {
            Kind::Whole { bytes, signed } => {
                let values = self.numbers(rows, bytes)?.chunks_exact(bytes);
                Values::Whole(values.map(|value| whole(value, signed)).collect())
            }
            Kind::Text { offset_bytes } => {
                let ends = self.offsets(rows, offset_bytes)?;
                let text = self.buffer()?;
                let piece = |ends: &[usize]| text.get(ends[0]..ends[1]).ok_or(Damaged);
                let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Damaged);
                let pieces: Result<_, Damaged> =
                    ends.windows(2).map(|ends| text(piece(ends)?)).collect();
                Values::Text(pieces?)
            }
            Kind::Floats { bytes, lists } => Values::Floats(self.lists(rows, bytes, lists)?),
        })
    }

    /// Where each of `rows` pieces begins, and the last one ends.
    fn offsets(&mut self, rows: usize, bytes: usize) -> Result<Vec<usize>, Damaged> {
        if rows == 0 {
            self.buffer()?;
            return Ok(vec![0]);
        }
        let count = rows.checked_add(1).ok_or(Damaged)?;
        let offsets = self.numbers(count, bytes)?.chunks_exact(bytes);
        let offset = |value| usize::try_from(whole(value, true)).map_err(|_| Damaged);
        let offsets: Vec<usize> = offsets.map(offset).collect::<Result<_, _>>()?;
        // So that what is made of them is no more than there is.
        match offsets.is_sorted() {
            true => Ok(offsets),
            false => Err(Damaged),
        }
    }

    fn lists(&mut self, rows: usize, bytes: usize, lists: Lists) -> Result<Vec<Vec<f32>>, String> {
        let offsets = match lists {
            Lists::Offsets { bytes } => Some(self.offsets(rows, bytes)?),
            Lists::Fixed(_) => None,
        };
        let count = self.column(None)?;
        let all: Vec<f32> = (self.numbers(count, bytes)?.chunks_exact(bytes))
            .map(float)
            .collect();
        let list = |range: std::ops::Range<usize>| -> Result<Vec<f32>, String> {
            Ok(all.get(range).ok_or(Damaged)?.to_vec())
        };
        match (offsets, lists) {
            (Some(ends), _) => ends.windows(2).map(|ends| list(ends[0]..ends[1])).collect(),
            (None, Lists::Fixed(width)) if rows.checked_mul(width) == Some(count) => (0..rows)
                .map(|row| list(row * width..(row + 1) * width))
                .collect(),
            _ => Err(Damaged.into()),
        }
    }
}

/// A whole number of up to eight bytes.
fn whole(value: &[u8], signed: bool) -> i128 {
    let negative = signed && value.last().is_some_and(|byte| byte >> 7 == 1);
    let mut bytes = [if negative { 0xff } else { 0 }; 16];
    bytes[..value.len()].copy_from_slice(value);
    i128::from_le_bytes(bytes)
}

/// A float of four or eight bytes.
fn float(value: &[u8]) -> f32 {
    match *value {
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
        _ => unreachable!("floats have four or eight bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two batches of events with text ids and two features; `tests/serve.rs` says how it was made.
    const EVENTS: &[u8] = include_bytes!("../../tests/serve/events.arrows");

    #[test]
    fn columns_are_what_pyarrow_wrote() {
        let batches = batches(EVENTS).unwrap();
        let lengths: Vec<usize> = batches.iter().map(|batch| batch[0].1.len()).collect();
        assert_eq!(lengths, [30, 20]);
        let names: Vec<&str> = batches[1].iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["src", "dst", "time"]);
        let Values::Text(src) = &batches[1][0].1 else {
            panic!("text");
        };
        assert_eq!(src[0], "u17");
        let Values::Whole(time) = &batches[1][2].1 else {
            panic!("numbers");
        };
        assert_eq!(time[19], 649 * 60);
    }

    /// Whatever is damaged is refused or read as something else, and never a panic.
    #[test]
    fn damage_is_no_panic() {
        for length in 0..EVENTS.len() {
            let _ = batches(&EVENTS[..length]);
        }
        let mut bytes = EVENTS.to_vec();
        let mut refused = 0;
        for at in 0..bytes.len() {
            for flipped in [0x01, 0x80, 0xff] {
                bytes[at] ^= flipped;
                refused += usize::from(batches(&bytes).is_err());
                bytes[at] ^= flipped;
            }
        }
        assert!(refused > 500, "{refused}");
        assert!(batches(b"{\"src\": 1}").is_err());
        assert!(batches(&[]).is_err());
    }
}
