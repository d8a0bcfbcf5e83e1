//! The event log: one stream of timestamped interactions, read-only.
//!
//! Invariants, checked whenever a log is made or opened: times never decrease
//! (equal times keep file order) and lie within [`MAX_TIME`] of 0, so that the difference
//! of any two is an i64; every id is below `nodes`; every column has
//! one value an event; `roll` is 0, then 1, then 2; there are at most `u32::MAX`
//! events and nodes. A log never changes and never builds a graph.

use std::fmt;
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::DataError;
use crate::fields::decimal::MAX_SCALE;
use crate::files::checksum::hex;
use crate::stop::{Stop, Stopped};
use crate::stream::column::Column;
use crate::stream::features::FeatureTable;
use crate::stream::names::Names;
use crate::stream::split::{Split, SplitRule};

/// The largest time, and the largest negated one, in ticks: differences of times fit an i64.
/// 146 years in nanoseconds.
pub const MAX_TIME: i64 = (1 << 62) - 1;

/// In place of the label of an event that has none.
pub const NO_LABEL: i32 = i32::MIN;

/// Whether the ids of the original file name nodes of one kind or of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdSpaces {
    /// Sources and destinations share one id space.
    One,
    /// Sources are the dense ids below `sources`, destinations those from there on; an original id
    /// can occur in both spaces and then names two nodes.
    Two {
        /// Number of source nodes.
        sources: usize,
    },
}

/// One event stream, usually mapped from a store. See the module for what always holds.
pub struct EventLog {
    pub(crate) name: String,
    pub(crate) origin: String,
    pub(crate) nodes: usize,
    pub(crate) ticks_per_unit: i64,
    pub(crate) synthetic: bool,
    pub(crate) bipartite: bool,
    pub(crate) hash: String,
    pub(crate) id_spaces: IdSpaces,
    pub(crate) store: Option<PathBuf>,
    /// Whether the store has a file of names.
    pub(crate) named: bool,
    pub(crate) notes: Vec<String>,
    /// How the events are divided, if not as the stream itself says.
    pub(crate) split_rule: Option<SplitRule>,
    pub(crate) columns: Columns,
}

/// The arrays of a log.
pub(crate) struct Columns {
    pub(crate) src: Column<u32>,
    pub(crate) dst: Column<u32>,
    pub(crate) time: Column<i64>,
    pub(crate) labels: Option<Column<i32>>,
    pub(crate) roll: Option<Column<u8>>,
    pub(crate) edge_features: Option<FeatureTable>,
    pub(crate) node_features: Option<FeatureTable>,
    pub(crate) id_map: Option<Column<u64>>,
}

/// What [`EventLog::from_parts`] takes; use `..Default::default()` for the rest.
#[derive(Debug, Default)]
pub struct EventLogParts {
    /// Name shown in reports.
    pub name: String,
    /// Number of nodes; every id is below it.
    pub nodes: usize,
    /// Source node of each event.
    pub src: Vec<u32>,
    /// Destination node of each event.
    pub dst: Vec<u32>,
    /// Time of each event in ticks, never decreasing.
    pub time: Vec<i64>,
    /// Ticks in one unit of the stream, a power of ten; 0 stands for 1.
    pub ticks_per_unit: i64,
    /// State label of the source at each event, or label of the event; [`NO_LABEL`] where there is none.
    pub labels: Option<Vec<i32>>,
    /// 0 train, 1 validation, 2 test; never decreasing.
    pub roll: Option<Vec<u8>>,
    /// One row per event.
    pub edge_features: Option<FeatureTable>,
    /// One row per node.
    pub node_features: Option<FeatureTable>,
    /// Whether the stream was generated.
    pub synthetic: bool,
}

impl EventLog {
    /// Makes a log in memory.
    ///
    /// # Errors
    /// [`DataError::Invalid`] if an invariant of the module does not hold.
    pub fn from_parts(parts: EventLogParts) -> Result<EventLog, DataError> {
        let columns = Columns {
            src: Column::Owned(parts.src),
            dst: Column::Owned(parts.dst),
            time: Column::Owned(parts.time),
            labels: parts.labels.map(Column::Owned),
            roll: parts.roll.map(Column::Owned),
            edge_features: parts.edge_features,
            node_features: parts.node_features,
            id_map: None,
        };
        let mut log = EventLog {
            name: parts.name,
            origin: "memory".to_owned(),
            nodes: parts.nodes,
            ticks_per_unit: if parts.ticks_per_unit == 0 {
                1
            } else {
                parts.ticks_per_unit
            },
            synthetic: parts.synthetic,
            bipartite: false,
            hash: String::new(),
            id_spaces: IdSpaces::One,
            store: None,
            named: false,
            notes: Vec::new(),
            split_rule: None,
            columns,
        };
        log.validate()?;
        log.bipartite = log.find_bipartite();
        log.hash = log.content_hash(&Stop::default())?;
        Ok(log)
    }

    /// Name of the stream: a data set, a file's stem, or `synthetic:…`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the stream came from: a path, `memory`, or `synthetic:…`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Folder of the store that the log is mapped from.
    pub fn store(&self) -> Option<&Path> {
        self.store.as_deref()
    }

    /// Number of events.
    pub fn events(&self) -> usize {
        self.src().len()
    }

    /// Number of nodes; ids are `0..nodes`.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Source node of each event.
    pub fn src(&self) -> &[u32] {
        self.columns.src.as_slice()
    }

    /// Destination node of each event.
    pub fn dst(&self) -> &[u32] {
        self.columns.dst.as_slice()
    }

    /// Time of each event in ticks.
    pub fn time(&self) -> &[i64] {
        self.columns.time.as_slice()
    }

    /// 10^k: a time difference in the stream's unit is `(t1 - t0) as f64 / ticks_per_unit as f64`.
    pub fn ticks_per_unit(&self) -> i64 {
        self.ticks_per_unit
    }

    /// State label of the source at each event, or label of the event; [`NO_LABEL`] where there is none.
    pub fn labels(&self) -> Option<&[i32]> {
        self.columns.labels.as_ref().map(Column::as_slice)
    }

    /// TGL's `ext_roll` of each event: 0 train, 1 validation, 2 test.
    pub fn roll(&self) -> Option<&[u8]> {
        self.columns.roll.as_ref().map(Column::as_slice)
    }

    /// Edge features `[events, width]`.
    pub fn edge_features(&self) -> Option<&FeatureTable> {
        self.columns.edge_features.as_ref()
    }

    /// Node features `[nodes, width]`.
    pub fn node_features(&self) -> Option<&FeatureTable> {
        self.columns.node_features.as_ref()
    }

    /// Original id of each node, if the stream came from a file; see [`EventLog::id_spaces`].
    pub fn original_ids(&self) -> Option<&[u64]> {
        self.columns.id_map.as_ref().map(Column::as_slice)
    }

    /// Names of nodes and feature columns, as far as the file had them; read from the store each time.
    ///
    /// # Errors
    /// [`DataError`] if the store's file of names is missing or damaged.
    pub fn names(&self) -> Result<Names, DataError> {
        let width = |table: Option<&FeatureTable>| table.map_or(0, FeatureTable::width);
        let counts = [
            self.nodes(),
            width(self.edge_features()),
            width(self.node_features()),
        ];
        match self.store() {
            Some(folder) if self.named => Names::read(folder, counts),
            _ => Ok(Names::default()),
        }
    }

    /// What a user should know of the stream: what was done in the cache when it was opened, then
    /// how it was read (columns left out, values filled in, events sorted), which its store keeps.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether original ids are one space or two.
    pub fn id_spaces(&self) -> IdSpaces {
        self.id_spaces
    }

    /// True if no node occurs both as a source and as a destination.
    pub fn bipartite(&self) -> bool {
        self.bipartite
    }

    /// SHA-256 (hex) of the content: node count, resolution, and every column with its type and
    /// shape. Independent of names, of the file format and of original ids.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// True if the stream was generated rather than recorded.
    pub fn synthetic(&self) -> bool {
        self.synthetic
    }

    /// What [`crate::OpenOptions::split`] said when the log was opened; else the `roll` column's
    /// split if there is one, else chronological 70/15/15.
    pub fn split(&self) -> Split {
        match (self.split_rule, self.roll()) {
            (None, Some(roll)) => Split::at(
                roll.partition_point(|&r| r < 1),
                roll.partition_point(|&r| r < 2),
                self.events(),
            ),
            _ => self.split_of(self.events()),
        }
    }

    /// The split of the first `events` alone: as [`EventLog::split`] without the `roll` column.
    pub fn split_of(&self, events: usize) -> Split {
        match self.split_rule {
            Some(rule) => rule.of(self.time(), self.ticks_per_unit(), events),
            None => Split::chronological(events, 0.70, 0.15),
        }
    }

    /// See [`EventLog::bipartite`].
    pub(crate) fn find_bipartite(&self) -> bool {
        let mut is_source = vec![false; self.nodes];
        for (_, ids) in self.columns.src.pieces() {
            ids.iter().for_each(|&node| is_source[node as usize] = true);
        }
        self.columns
            .dst
            .pieces()
            .all(|(_, ids)| ids.par_iter().all(|&node| !is_source[node as usize]))
    }

    /// See [`EventLog::hash`].
    pub(crate) fn content_hash(&self, stop: &Stop) -> Result<String, Stopped> {
        let mut sha = Sha256::new();
        sha.update(format!(
            "mspipe event log 1 {} {}\n",
            self.nodes, self.ticks_per_unit
        ));
        let events = self.events();
        let columns = &self.columns;
        feed(&mut sha, "src u32", events, &columns.src, stop)?;
        feed(&mut sha, "dst u32", events, &columns.dst, stop)?;
        feed(&mut sha, "time i64", events, &columns.time, stop)?;
        if let Some(labels) = &columns.labels {
            feed(&mut sha, "labels i32", events, labels, stop)?;
        }
        if let Some(roll) = &columns.roll {
            feed(&mut sha, "roll u8", events, roll, stop)?;
        }
        for (name, table) in [
            ("edge_features", self.edge_features()),
            ("node_features", self.node_features()),
        ] {
            if let Some(t) = table {
                let kind = t.feature_type().name();
                sha.update(format!("{name} {kind} {} {}\n", t.rows(), t.width()));
                for piece in t.pieces() {
                    stop.check()?;
                    sha.update(piece);
                }
            }
        }
        Ok(hex(&sha.finalize()))
    }
}

/// The checks of the invariants; each message names the first offence.
impl EventLog {
    /// Checks every invariant of the module; large columns are looked through in parallel.
    pub(crate) fn validate(&self) -> Result<(), DataError> {
        self.check_sizes()?;
        self.check_ids()?;
        self.check_times()?;
        self.check_roll()
    }

    fn invalid(&self, problem: String) -> Result<(), DataError> {
        Err(DataError::invalid(&self.name, problem))
    }

    fn check_sizes(&self) -> Result<(), DataError> {
        let events = self.events();
        if events > u32::MAX as usize || self.nodes > u32::MAX as usize {
            return self.invalid(format!(
                "{events} events and {} nodes found, at most {} of each supported",
                self.nodes,
                u32::MAX
            ));
        }
        if !is_power_of_ten(self.ticks_per_unit) {
            return self.invalid(format!(
                "{} ticks per unit found, a power of ten from 1 to 10^9 expected",
                self.ticks_per_unit
            ));
        }
        let lengths = [
            ("dst", Some(self.dst().len()), events),
            ("time", Some(self.time().len()), events),
            ("labels", self.labels().map(<[_]>::len), events),
            ("roll", self.roll().map(<[_]>::len), events),
            (
                "edge_features",
                self.edge_features().map(FeatureTable::rows),
                events,
            ),
            (
                "node_features",
                self.node_features().map(FeatureTable::rows),
                self.nodes,
            ),
            ("id_map", self.original_ids().map(<[_]>::len), self.nodes),
        ];
        for (column, found, expected) in lengths {
            if let Some(found) = found.filter(|&found| found != expected) {
                return self.invalid(format!("{column} has {found} rows, {expected} expected"));
            }
        }
        match self.id_spaces {
            IdSpaces::Two { sources } if sources > self.nodes => self.invalid(format!(
                "{sources} source nodes found among {} nodes",
                self.nodes
            )),
            _ => Ok(()),
        }
    }

    fn check_ids(&self) -> Result<(), DataError> {
        for (column, ids) in [("src", &self.columns.src), ("dst", &self.columns.dst)] {
            for (first, ids) in ids.pieces() {
                let beyond = |&id: &u32| id as usize >= self.nodes;
                if let Some(at) = ids.par_iter().position_first(beyond) {
                    return self.invalid(format!(
                        "{column} of event {} is node {}, but there are only {} nodes",
                        first + at,
                        ids[at],
                        self.nodes
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), DataError> {
        let mut earlier = None;
        for (first, time) in self.columns.time.pieces() {
            let falls = |pair: &[i64]| pair[1] < pair[0];
            let (at, pair) = match (earlier, time.par_windows(2).position_first(falls)) {
                (Some(last), _) if last > time[0] => (first, [last, time[0]]),
                (_, Some(at)) => (first + at + 1, [time[at], time[at + 1]]),
                _ => {
                    earlier = time.last().copied();
                    continue;
                }
            };
            return self.invalid(format!(
                "time {} of event {at} precedes {} of event {}; events must be sorted by time",
                pair[1],
                pair[0],
                at - 1
            ));
        }
        // In order by now: the first and the last are the farthest from 0.
        for event in [0, self.events().saturating_sub(1)] {
            let time = self.time().get(event).copied().unwrap_or(0);
            if time.unsigned_abs() > MAX_TIME.unsigned_abs() {
                return self.invalid(format!(
                    "time {time} of event {event} found, times from -{MAX_TIME} to {MAX_TIME} expected"
                ));
            }
        }
        Ok(())
    }

    fn check_roll(&self) -> Result<(), DataError> {
        let Some(roll) = self.roll() else {
            return Ok(());
        };
        if let Some(at) = roll.iter().position(|&r| r > 2) {
            return self.invalid(format!(
                "roll of event {at} is {}, 0, 1 or 2 expected",
                roll[at]
            ));
        }
        if let Some(at) = roll.windows(2).position(|pair| pair[1] < pair[0]) {
            return self.invalid(format!(
                "roll falls from {} to {} at event {}; training events must come before validation and test",
                roll[at],
                roll[at + 1],
                at + 1
            ));
        }
        Ok(())
    }
}

fn is_power_of_ten(ticks: i64) -> bool {
    (0..=u32::from(MAX_SCALE)).any(|k| 10i64.pow(k) == ticks)
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog")
            .field("name", &self.name)
            .field("events", &self.events())
            .field("nodes", &self.nodes)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// Hashes a column of one value a row, after a line that says what it is.
fn feed<T: Pod>(
    sha: &mut Sha256,
    what: &str,
    rows: usize,
    column: &Column<T>,
    stop: &Stop,
) -> Result<(), Stopped> {
    sha.update(format!("{what} {rows} 1\n"));
    for (_, values) in column.pieces() {
        stop.check()?;
        sha.update(bytemuck::cast_slice(values));
    }
    Ok(())
}

/// For every node whether it occurs in `ids`.
pub(crate) fn occurrence(ids: &[u32], nodes: usize) -> Vec<bool> {
    let mut occurs = vec![false; nodes];
    for &id in ids {
        occurs[id as usize] = true;
    }
    occurs
}

#[cfg(test)]
mod tests {
    use super::*;

    // 0 → 2 at t=0, 1 → 2 at t=5, 0 → 3 at t=5, 1 → 3 at t=9
    fn parts() -> EventLogParts {
        EventLogParts {
            name: "drawn".into(),
            nodes: 4,
            src: vec![0, 1, 0, 1],
            dst: vec![2, 2, 3, 3],
            time: vec![0, 5, 5, 9],
            ..EventLogParts::default()
        }
    }

    fn refusal(change: impl FnOnce(&mut EventLogParts)) -> String {
        let mut parts = parts();
        change(&mut parts);
        EventLog::from_parts(parts).unwrap_err().to_string()
    }

    #[test]
    fn keeps_what_it_is_given() {
        let log = EventLog::from_parts(parts()).unwrap();
        assert_eq!((log.events(), log.nodes(), log.ticks_per_unit()), (4, 4, 1));
        assert!(log.bipartite() && !log.synthetic());
        assert_eq!(
            log.split(),
            Split {
                train: 0..3,
                val: 3..3,
                test: 3..4
            }
        );
        assert_eq!(log.hash().len(), 64);
    }

    #[test]
    fn roll_decides_the_split() {
        let log = EventLog::from_parts(EventLogParts {
            roll: Some(vec![0, 1, 1, 2]),
            ..parts()
        })
        .unwrap();
        assert_eq!(
            log.split(),
            Split {
                train: 0..1,
                val: 1..3,
                test: 3..4
            }
        );
        let log = EventLog::from_parts(EventLogParts {
            roll: Some(vec![0, 0, 0, 0]),
            ..parts()
        })
        .unwrap();
        assert_eq!(
            log.split(),
            Split {
                train: 0..4,
                val: 4..4,
                test: 4..4
            }
        );
    }

    #[test]
    fn hash_is_of_content_only() {
        let hash = |p: EventLogParts| EventLog::from_parts(p).unwrap().hash().to_owned();
        let base = hash(parts());
        assert_eq!(
            hash(EventLogParts {
                name: "other".into(),
                ..parts()
            }),
            base
        );
        assert_ne!(
            hash(EventLogParts {
                time: vec![0, 5, 6, 9],
                ..parts()
            }),
            base
        );
        assert_ne!(
            hash(EventLogParts {
                nodes: 5,
                ..parts()
            }),
            base
        );
        assert_ne!(
            hash(EventLogParts {
                ticks_per_unit: 10,
                ..parts()
            }),
            base
        );
        assert_ne!(
            hash(EventLogParts {
                labels: Some(vec![0; 4]),
                ..parts()
            }),
            base
        );
    }

    #[test]
    fn refuses_broken_invariants() {
        assert!(
            refusal(|p| p.dst[2] = 4)
                .contains("dst of event 2 is node 4, but there are only 4 nodes")
        );
        assert!(refusal(|p| p.time[3] = 4).contains("time 4 of event 3 precedes 5 of event 2"));
        assert!(
            refusal(|p| p.time[3] = MAX_TIME + 1).contains("time 4611686018427387904 of event 3")
        );
        assert!(
            refusal(|p| p.time[0] = i64::MIN)
                .contains("time -9223372036854775808 of event 0 found")
        );
        assert!(refusal(|p| p.labels = Some(vec![0])).contains("labels has 1 rows, 4 expected"));
        assert!(
            refusal(|p| p.roll = Some(vec![0, 1, 0, 2]))
                .contains("roll falls from 1 to 0 at event 2")
        );
        assert!(refusal(|p| p.roll = Some(vec![0, 0, 0, 3])).contains("is 3, 0, 1 or 2 expected"));
        assert!(refusal(|p| p.ticks_per_unit = 60).contains("60 ticks per unit"));
        assert!(refusal(|p| p.dst.truncate(3)).contains("dst has 3 rows"));
    }

    #[test]
    fn a_node_on_both_sides_is_not_bipartite() {
        let log = EventLog::from_parts(EventLogParts {
            dst: vec![2, 2, 3, 0],
            ..parts()
        })
        .unwrap();
        assert!(!log.bipartite());
    }
}
