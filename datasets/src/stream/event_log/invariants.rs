//! The checks behind [`EventLog`]'s invariants; large columns are looked through in parallel.

use rayon::prelude::*;

use super::{EventLog, IdSpaces, MAX_TIME};
use crate::error::DataError;
use crate::stream::features::FeatureTable;

impl EventLog {
    /// Checks every invariant of the module; the message names the first offence.
    pub(crate) fn validate(&self) -> Result<(), DataError> {
        let invalid = |problem: String| Err(DataError::invalid(&self.name, problem));
        let events = self.events();
        if events > u32::MAX as usize || self.nodes > u32::MAX as usize {
            return invalid(format!(
                "{events} events and {} nodes found, at most {} of each supported",
                self.nodes,
                u32::MAX
            ));
        }
        if !is_power_of_ten(self.ticks_per_unit) {
            return invalid(format!(
                "{} ticks a unit found, a power of ten from 1 to 10^9 expected",
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
                return invalid(format!("{column} has {found} rows, {expected} expected"));
            }
        }
        for (column, ids) in [("src", &self.columns.src), ("dst", &self.columns.dst)] {
            for (first, ids) in ids.pieces() {
                let beyond = |&id: &u32| id as usize >= self.nodes;
                if let Some(at) = ids.par_iter().position_first(beyond) {
                    return invalid(format!(
                        "{column} of event {} is node {}, but there are only {} nodes",
                        first + at,
                        ids[at],
                        self.nodes
                    ));
                }
            }
        }
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
            return invalid(format!(
                "time {} of event {at} precedes {} of event {}; events must be sorted by time",
                pair[1],
                pair[0],
                at - 1
            ));
        }
        // In order by now: the first and the last are the farthest from 0.
        for event in [0, events.saturating_sub(1)] {
            let time = self.time().get(event).copied().unwrap_or(0);
            if time.unsigned_abs() > MAX_TIME.unsigned_abs() {
                return invalid(format!(
                    "time {time} of event {event} found, times from -{MAX_TIME} to {MAX_TIME} expected"
                ));
            }
        }
        if let Some(roll) = self.roll() {
            if let Some(at) = roll.iter().position(|&r| r > 2) {
                return invalid(format!(
                    "roll of event {at} is {}, 0, 1 or 2 expected",
                    roll[at]
                ));
            }
            if let Some(at) = roll.windows(2).position(|pair| pair[1] < pair[0]) {
                return invalid(format!(
                    "roll falls from {} to {} at event {}; training events must come before validation and test",
                    roll[at],
                    roll[at + 1],
                    at + 1
                ));
            }
        }
        if let IdSpaces::Two { sources } = self.id_spaces
            && sources > self.nodes
        {
            return invalid(format!(
                "{sources} source nodes found among {} nodes",
                self.nodes
            ));
        }
        Ok(())
    }
}

fn is_power_of_ten(ticks: i64) -> bool {
    (0..=u32::from(crate::fields::decimal::MAX_SCALE)).any(|k| 10i64.pow(k) == ticks)
}
