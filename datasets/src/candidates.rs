//! Recorded candidates: the destinations that each event's own is ranked among.
//!
//! | file | content |
//! |---|---|
//! | text (also packed) | one event a line: its position in the stream from 0, then its candidates, with commas or white space between (commas or tabs where ids are text); lists may differ in length; a first line that is no number is a header |
//! | `.npy`, `.npz` | integers `[events, 1 + candidates]`, the same in columns |
//! | `NAME_test_ns.npy` | TGB-Seq's own: integers `[test events, candidates]`, a row for each test event in turn; so are other arrays whose name ends in `_test_ns` or in `_test_ns_v` and a number |
//! | `.pkl` | TGB's own: a pickled dictionary {(source, destination, time): array}, see `tgb` |
//! | `.zip` | TGB's archive: the `…_val_ns….pkl` and `…_test_ns….pkl` in it |
//!
//! In text and arrays, candidates are ids as the stream's own file has them, in text names too; where sources and
//! destinations have separate ids, those of destinations. Of several lists for one event the last counts. Nothing is
//! drawn here, and no list is checked for the event's own destination.

mod list;
mod pickle;
mod tgb;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::arrays::ArrayFile;
use crate::error::{DataError, quoted};
use crate::fields::lines::Lines;
use crate::fields::raw_event::Position;
use crate::files::input_file::InputFile;
use crate::files::packed::{self, TextFile, Unpacking, is_zip};
use crate::import::options::OpenOptions;
use crate::manifest::Manifest;
use crate::stop::Stop;
use crate::stream::event_log::{EventLog, IdSpaces};
use crate::whole_file;

pub use list::CandidateList;

/// The candidates of `path` for events of `log`, in file order.
///
/// # Errors
/// [`DataError`] if the file can't be read, or names an event or a destination that the stream
/// does not have.
pub fn read_candidates(path: &Path, log: &EventLog) -> Result<Vec<CandidateList>, DataError> {
    let ids = Ids::of(log)?;
    // A copy of what can be read only once goes where there was room for the stream.
    let room = log.store().map_or(std::env::temp_dir(), |store| {
        whole_file::parent(store).to_path_buf()
    });
    let array = ArrayFile::of(path, &room, &Stop::default())?;
    let start = packed::magic(&array.file)?;
    if is_of_test_events(path) && start.starts_with(b"\x93NUMPY") {
        read_test_events(&array, &ids, log.split().test)
    } else if start.starts_with(b"\x93NUMPY") || path.extension().is_some_and(|e| e == "npz") {
        read_array(&array, &ids)
    } else if start.starts_with(b"\x80") {
        let file = &array.file;
        tgb::read(file.shown(), Box::new(file.open()?), file.bytes()?, log)
    } else if is_zip(&start) {
        read_archive(&array.file, &ids, log)
    } else {
        read_text(&array.file, &ids)
    }
}

/// The file of the candidates that were recorded with the data set called `data`, if it is one that has
/// some and they are here.
///
/// # Errors
/// As [`OpenOptions::data_folder`].
pub fn recorded_candidates(
    data: &str,
    options: &OpenOptions,
) -> Result<Option<PathBuf>, DataError> {
    let Some(manifest) = Manifest::find(data) else {
        return Ok(None);
    };
    let Some(file) = &manifest.candidates else {
        return Ok(None);
    };
    let path = manifest.folder(&options.data_folder()?).join(file);
    Ok(path.is_file().then_some(path))
}

/// Whether an array's rows are of test events alone, without the events' positions.
fn is_of_test_events(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let (start, version) = stem.rsplit_once("_v").unwrap_or((&stem, "0"));
    let plain = match version.parse::<u32>() {
        Ok(_) => start,
        Err(_) => &*stem,
    };
    plain.ends_with("_test_ns")
}

/// Those of TGB in its archive.
fn read_archive(
    file: &InputFile,
    ids: &Ids,
    log: &EventLog,
) -> Result<Vec<CandidateList>, DataError> {
    let entries = packed::entries(file)?;
    let is_recorded = |name: &str| {
        let name = name.rsplit('/').next().unwrap_or(name);
        name.ends_with(".pkl") && (name.contains("_val_ns") || name.contains("_test_ns"))
    };
    let recorded: Vec<_> = entries
        .iter()
        .filter(|entry| is_recorded(&entry.name))
        .collect();
    if recorded.is_empty() {
        return read_text(file, ids);
    }
    let mut lists = Vec::new();
    for entry in recorded {
        let shown = file.shown().join(&entry.name);
        lists.extend(tgb::read(&shown, entry.open(file)?, entry.size, log)?);
    }
    Ok(lists)
}

/// TGB-Seq's: a row for each event of `test`.
fn read_test_events(
    file: &ArrayFile,
    ids: &Ids,
    test: Range<usize>,
) -> Result<Vec<CandidateList>, DataError> {
    let path = file.file.shown();
    let mut array = file.open("candidates")?;
    let (rows, width) = (array.rows(), array.width());
    if rows != test.len() || width == 0 {
        let problem = format!(
            "{rows} rows of {width} found, {} expected, one for each test event in turn, as the file is called so; \
             give the split of the data set, or call the file otherwise if its first column is the event",
            test.len()
        );
        return Err(DataError::array(path, problem));
    }
    let values = array.read_integers()?;
    (values.chunks_exact(width).zip(test))
        .map(|(values, event)| {
            let node = |&value: &i64| {
                let known = u64::try_from(value).map_err(|_| format!("the negative number {value}"));
                known.and_then(|id| ids.destination(id)).map_err(|found| {
                    let problem = format!("row of event {event}: {found} found; expected ids of destinations as the stream's own file has them");
                    DataError::array(path, problem)
                })
            };
            Ok((event, values.iter().map(node).collect::<Result<_, _>>()?))
        })
        .collect()
}

/// What the stream's file calls the destinations.
struct Ids {
    events: usize,
    destinations: Range<u32>,
    /// Dense id of each original one; none where both are the same.
    dense: Option<HashMap<u64, u32>>,
    /// Dense id of each name, where the file's ids are text.
    named: Option<HashMap<String, u32>>,
}

impl Ids {
    fn of(log: &EventLog) -> Result<Ids, DataError> {
        let first = match log.id_spaces() {
            IdSpaces::One => 0,
            IdSpaces::Two { sources } => sources,
        };
        let destinations = first as u32..log.nodes() as u32;
        let dense = log.original_ids().map(|originals| {
            let nodes = destinations.clone();
            nodes.map(|node| (originals[node as usize], node)).collect()
        });
        let named = log.names()?.nodes.map(|names| {
            let named = (0..).zip(names).map(|(node, name)| (name, node));
            named
                .filter(|(_, node)| destinations.contains(node))
                .collect()
        });
        Ok(Ids {
            events: log.events(),
            destinations,
            dense,
            named,
        })
    }

    /// Whether `byte` stands between ids in a line of text: names may have spaces.
    fn is_separator(&self, byte: u8) -> bool {
        match self.named {
            None => byte == b',' || byte.is_ascii_whitespace(),
            Some(_) => matches!(byte, b',' | b'\t' | b'\r'),
        }
    }

    /// The dense id of the candidate that a line of text has as `field`.
    fn written(&self, position: Position<'_>, field: &[u8]) -> Result<u32, DataError> {
        let wrong = |found: String| position.error(found, EXPECTED);
        let Some(named) = &self.named else {
            let original = position.id(field, "a candidate")?;
            return self.destination(original).map_err(wrong);
        };
        let node = std::str::from_utf8(field)
            .ok()
            .and_then(|name| named.get(name));
        let unknown = || {
            format!(
                "candidate {}, which is not a destination of the stream",
                quoted(field)
            )
        };
        node.copied().ok_or_else(|| wrong(unknown()))
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
        let mut fields = lines
            .line()
            .split(|byte| ids.is_separator(*byte))
            .map(<[u8]>::trim_ascii)
            .filter(|field| !field.is_empty());
        let position = lines.position();
        let wrong = |found: String| position.error(found, EXPECTED);
        let start = fields.next().unwrap_or_default();
        if std::mem::take(&mut first) && !start.iter().all(u8::is_ascii_digit) {
            continue;
        }
        let event = ids.event(position.id(start, "the event")?).map_err(wrong)?;
        let nodes: Result<Vec<u32>, DataError> =
            fields.map(|field| ids.written(position, field)).collect();
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
