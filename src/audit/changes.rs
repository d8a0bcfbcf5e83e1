//! Changes of a stream: each touches only what its name says, and keeps times in order.

use std::collections::BTreeSet;
use std::ops::Range;

use mspipe_datasets::{MAX_TIME, NO_LABEL};

use super::AuditStream;
use crate::graph::Timestamp;

impl AuditStream {
    /// Gives each of `events` another label, of those that the stream has: the next larger one, or after
    /// the largest the smallest. An event without a label stays one.
    pub(super) fn change_labels(&mut self, events: impl IntoIterator<Item = usize>) {
        let there: BTreeSet<i32> = self.labels.iter().copied().collect();
        let labels: Vec<i32> = there
            .into_iter()
            .filter(|label| *label != NO_LABEL)
            .collect();
        for event in events {
            let label = &mut self.labels[event];
            *label = match labels.binary_search(label) {
                Ok(place) if labels.len() > 1 => labels[(place + 1) % labels.len()],
                // A stream of one label, or none.
                Ok(_) => 1 - (*label).clamp(0, 1),
                Err(_) => NO_LABEL,
            };
        }
    }

    /// Gives each of `events` other features and another label.
    pub(super) fn change_features(&mut self, events: impl IntoIterator<Item = usize>) {
        let events: Vec<usize> = events.into_iter().collect();
        self.change_labels(events.iter().copied());
        let width = self.edge_width;
        for event in events {
            for value in &mut self.edge[event * width..(event + 1) * width] {
                // Nothing that is usual for a feature stays what it was.
                *value += 1.0;
            }
        }
    }

    /// Gives `events` each other's endpoints: sources move on by one event, destinations by three,
    /// so that the sets of both stay the same (negatives are drawn from destinations).
    pub(super) fn change_endpoints(&mut self, events: Range<usize>) {
        if !events.is_empty() {
            let count = events.len();
            self.src[events.clone()].rotate_left(1 % count);
            self.dst[events].rotate_left(3 % count);
        }
    }

    /// The same with all events that are later than `event` changed in all that they have, and which these are.
    pub(super) fn with_changes_after(&self, event: usize) -> (AuditStream, Range<usize>) {
        let time = self.time[event];
        let later = self.later_than(time)..self.events();
        let mut changed = self.clone();
        changed.change_endpoints(later.clone());
        changed.change_features(later.clone());
        changed.stretch(later.clone(), time);
        (changed, later)
    }

    /// Puts `events`, which come after `time`, twice as far from it, or as far as times go.
    fn stretch(&mut self, events: Range<usize>, time: Timestamp) {
        for event in events {
            let own = self.time[event];
            self.time[event] = own.saturating_add(own - time).min(MAX_TIME);
        }
    }

    /// Makes each of `events` a repeat of `of`.
    pub(super) fn repeat(&mut self, of: usize, events: impl IntoIterator<Item = usize>) {
        for event in events {
            (self.src[event], self.dst[event]) = (self.src[of], self.dst[of]);
        }
    }

    /// The first event later than `time`; all from there on are later too.
    pub(super) fn later_than(&self, time: Timestamp) -> usize {
        self.time.partition_point(|&other| other <= time)
    }
}
