//! Recorded candidates: the destinations that each event's own is ranked among.
//!
//! | file | content |
//! |---|---|
//! | text (also packed) | one event a line: its position in the stream from 0, then its candidates, with commas or white space between; lists may differ in length; a first line that is no number is a header |
//! | `.npy`, `.npz` | integers `[events, 1 + candidates]`, the same in columns |
//! | `.pkl` | TGB's own: a pickled dictionary {(source, destination, time): array}, see `tgb` |
//!
//! In text and arrays, candidates are ids as the stream's own file has them; where sources and destinations have
//! separate ids, those of destinations. Of several lists for one event the last counts. Nothing is
//! drawn here, and no list is checked for the event's own destination.

mod pickle;
mod tgb;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use crate::arrays::ArrayFile;
use crate::error::{DataError, quoted};
use crate::fields::lines::Lines;
use crate::files::input_file::InputFile;
use crate::files::packed::{self, TextFile, Unpacking};
use crate::stop::Stop;
use crate::stream::event_log::{EventLog, IdSpaces};
use crate::whole_file;

/// An event and its candidates, as dense ids.
pub type CandidateList = (usize, Vec<u32>);

/// The candidates of `path` for events of `log`, in file order.
///
/// # Errors
/// [`DataError`] if the file can't be read, or names an event or a destination that the stream
/// does not have.
pub fn read_candidates(path: &Path, log: &EventLog) -> Result<Vec<CandidateList>, DataError> {
    let ids = Ids::of(log);
    // A copy of what can be read only once goes where there was room for the stream.
    let room = log.store().map_or(std::env::temp_dir(), |store| {
        whole_file::parent(store).to_path_buf()
    });
    let array = ArrayFile::of(path, &room, &Stop::default())?;
    let start = packed::magic(&array.file)?;
    if start.starts_with(b"\x93NUMPY") || path.extension().is_some_and(|e| e == "npz") {
        read_array(&array, &ids)
    } else if start.starts_with(b"\x80") {
        tgb::read(&array.file, log)
    } else {
        read_text(&array.file, &ids)
    }
}

/// What the stream's file calls the destinations.
struct Ids {
    events: usize,
    destinations: Range<u32>,
    /// Dense id of each original one; none where both are the same.
    dense: Option<HashMap<u64, u32>>,
}

impl Ids {
    fn of(log: &EventLog) -> Ids {
        let first = match log.id_spaces() {
            IdSpaces::One => 0,
            IdSpaces::Two { sources } => sources,
        };
        let destinations = first as u32..log.nodes() as u32;
        let dense = log.original_ids().map(|originals| {
            let nodes = destinations.clone();
            nodes.map(|node| (originals[node as usize], node)).collect()
        });
        Ids {
            events: log.events(),
            destinations,
            dense,
        }
    }

    /// The event of a position, or what is wrong with it.
    fn event(&self, position: u64) -> Result<usize, String> {
        match usize::try_from(position) {
            Ok(event) if event < self.events => Ok(event),
            _ => Err(format!(
                "event {position}, but the stream has events 0 to {}",
                self.events - 1
            )),
        }
    }

    /// The dense id of a candidate, or what is wrong with it.
    fn destination(&self, original: u64) -> Result<u32, String> {
        let dense = match &self.dense {
            Some(dense) => dense.get(&original).copied(),
            None => u32::try_from(original).ok(),
        };
        dense
            .filter(|node| self.destinations.contains(node))
            .ok_or_else(|| {
                format!("candidate {original}, which is not a destination of the stream")
            })
    }
}

/// What candidates look like, for messages.
const EXPECTED: &str = "the event's position in the stream, then ids of destinations as the \
                        stream's own file has them";

fn read_text(file: &InputFile, ids: &Ids) -> Result<Vec<CandidateList>, DataError> {
    let file = TextFile::one(file, Unpacking::default())?;
    let mut lines = Lines::open(&file)?;
    let mut lists = Vec::new();
    let mut first = true;
    while lines.advance()? {
        let separator = |byte: &u8| *byte == b',' || byte.is_ascii_whitespace();
        let mut fields = lines
            .line()
            .split(separator)
            .filter(|field| !field.is_empty());
        let position = lines.position();
        let wrong = |found: String| position.error(found, EXPECTED);
        let start = fields.next().unwrap_or_default();
        if std::mem::take(&mut first) && !start.iter().all(u8::is_ascii_digit) {
            continue;
        }
        let event = ids.event(position.id(start, "the event")?).map_err(wrong)?;
        let nodes: Result<Vec<u32>, DataError> = fields
            .map(|field| {
                let original = position.id(field, "a candidate")?;
                ids.destination(original).map_err(wrong)
            })
            .collect();
        let nodes = nodes?;
        if nodes.is_empty() {
            let found = format!("{} alone", quoted(start));
            return Err(position.error(found, EXPECTED));
        }
        lists.push((event, nodes));
    }
    Ok(lists)
}

fn read_array(file: &ArrayFile, ids: &Ids) -> Result<Vec<CandidateList>, DataError> {
    let path = file.file.shown();
    let mut array = file.open("candidates")?;
    let width = array.width();
    if width < 2 {
        let problem = format!("{width} columns found, at least 2 expected: {EXPECTED}");
        return Err(DataError::array(path, problem));
    }
    let values = array.read_integers()?;
    values
        .chunks_exact(width)
        .enumerate()
        .map(|(row, values)| {
            let wrong = |found: String| {
                let problem = format!("row {row}: {found} found; expected {EXPECTED}");
                DataError::array(path, problem)
            };
            let whole = |value: i64| {
                u64::try_from(value).map_err(|_| wrong(format!("the negative number {value}")))
            };
            let event = ids.event(whole(values[0])?).map_err(wrong)?;
            let nodes: Result<Vec<u32>, DataError> = values[1..]
                .iter()
                .map(|&value| ids.destination(whole(value)?).map_err(wrong))
                .collect();
            Ok((event, nodes?))
        })
        .collect()
}
