//! TGB's own candidates (`tgbl-…_val_ns.pkl`, `…_test_ns.pkl`): lists by (source, destination, time).
//!
//! The ids in them are TGB's, which are not those of the stream's file. How TGB numbers nodes
//! depends on the data set; each way that it knows is tried, and the one counts under which every
//! key of the file is an event of the stream.

use std::collections::HashMap;
use std::io::BufReader;
use std::path::Path;

use super::list::CandidateList;
use super::pickle;
use crate::error::DataError;
use crate::files::input_file::Bytes;
use crate::pickle::PickleError;
use crate::stream::event_log::{EventLog, IdSpaces};

/// What TGB calls a node: of sources, and of destinations.
type Numbering = [HashMap<i64, u32>; 2];

/// See the module.
///
/// # Errors
/// A file of another kind or of another stream.
pub(super) fn read(
    path: &Path,
    file: Bytes,
    size: u64,
    log: &EventLog,
) -> Result<Vec<CandidateList>, DataError> {
    let failed = |found: String| {
        let remedy = "a dictionary {(source, destination, time): candidates} as TGB's \
                      negative_samples are is expected; no other pickle is read, and none is run";
        DataError::format(path, found, remedy)
    };
    let input = BufReader::with_capacity(1 << 17, file);
    let entries = pickle::entries(input, size).map_err(|error| match error {
        PickleError::Read(error) => DataError::io("read", path)(error),
        wrong => failed(wrong.to_string()),
    })?;
    let events = events_by_key(log);
    let units = |time: i64| time.checked_mul(log.ticks_per_unit());
    let event_of = |ids: &Numbering, [src, dst, time]: [i64; 3]| -> Option<&Vec<usize>> {
        let key = (*ids[0].get(&src)?, *ids[1].get(&dst)?, units(time)?);
        events.get(&key)
    };
    let found = |ids: &Numbering| {
        let known = |entry: &&pickle::Entry| event_of(ids, entry.0).is_some();
        entries.iter().filter(known).count()
    };
    let ways = numberings(log);
    let Some(ids) = ways.iter().max_by_key(|ids| found(ids)) else {
        return Ok(Vec::new());
    };
    let mut lists = Vec::with_capacity(entries.len());
    for (key, candidates) in &entries {
        let [src, dst, time] = key;
        let Some(own) = event_of(ids, *key) else {
            return Err(failed(format!(
                "candidates of the event ({src}, {dst}, {time}), which the stream {} does not have \
                 ({} of the file's {} events are in it); is it the same version of the data set?",
                log.name(),
                found(ids),
                entries.len()
            )));
        };
        let nodes: Option<Vec<u32>> = candidates
            .iter()
            .map(|id| ids[1].get(id).copied())
            .collect();
        let nodes = nodes.ok_or_else(|| {
            failed(format!(
                "a candidate of the event ({src}, {dst}, {time}) is not a destination of the stream"
            ))
        })?;
        lists.extend(own.iter().map(|&event| (event, nodes.clone())));
    }
    Ok(lists)
}

/// Events of each (source, destination, time).
fn events_by_key(log: &EventLog) -> HashMap<(u32, u32, i64), Vec<usize>> {
    let mut events: HashMap<_, Vec<usize>> = HashMap::new();
    for event in 0..log.events() {
        let key = (log.src()[event], log.dst()[event], log.time()[event]);
        events.entry(key).or_default().push(event);
    }
    events
}

/// The ways in which TGB numbers nodes.
fn numberings(log: &EventLog) -> Vec<Numbering> {
    let nodes = log.nodes() as u32;
    let original = |node: u32| match log.original_ids() {
        Some(originals) => originals[node as usize] as i64,
        None => i64::from(node),
    };
    let by = |name: &dyn Fn(u32) -> i64, of: std::ops::Range<u32>| -> HashMap<i64, u32> {
        of.map(|node| (name(node), node)).collect()
    };
    let sources = match log.id_spaces() {
        IdSpaces::Two { sources } => sources as u32,
        IdSpaces::One => 0,
    };
    let mut ways = Vec::new();
    if sources > 0 {
        // Destinations follow the sources, which may begin with 1.
        let last = (0..sources).map(original).max().unwrap_or(0);
        for first in [0, 1] {
            let moved = |node: u32| original(node) + first;
            let behind = |node: u32| original(node) + first + last + 1;
            ways.push([by(&moved, 0..sources), by(&behind, sources..nodes)]);
        }
    } else {
        ways.push([by(&original, 0..nodes), by(&original, 0..nodes)]);
    }
    // In order of appearance, an event's source before its destination.
    let mut appearance = HashMap::new();
    for (&src, &dst) in log.src().iter().zip(log.dst()) {
        for node in [src, dst] {
            let next = appearance.len() as i64;
            appearance.entry(node).or_insert(next);
        }
    }
    let by_appearance: HashMap<i64, u32> = appearance
        .into_iter()
        .map(|(node, id)| (id, node))
        .collect();
    ways.push([by_appearance.clone(), by_appearance]);
    ways
}
