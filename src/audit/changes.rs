//! Changes of a stream: each touches only what its name says, and keeps times in order.

use std::ops::Range;

use mspipe_datasets::MAX_TIME;

use super::AuditStream;
use crate::graph::Timestamp;

impl AuditStream {
    /// Gives each of `events` other features and another label.
    pub(super) fn change_features(&mut self, events: impl IntoIterator<Item = usize>) {
        let width = self.edge_width;
        for event in events {
            self.labels[event] = 1 - self.labels[event].clamp(0, 1);
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

    /// Puts `events`, which come after `time`, twice as far from it, or as far as times go.
    pub(super) fn stretch(&mut self, events: Range<usize>, time: Timestamp) {
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
