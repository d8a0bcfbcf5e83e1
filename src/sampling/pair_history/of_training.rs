//! Statistics of the events that are trained on: negatives change from epoch to epoch, the events
//! themselves never do, and so neither do their rows. 60 bytes per event, which building the encoding
//! took twice of.

use super::encoding::Training;
use super::statistic::WIDTH;
use crate::graph::{EventColumns, EventId};

/// See the module.
#[derive(Debug)]
pub(super) struct OfTraining {
    /// Of the first events of the stream.
    rows: Vec<[f32; WIDTH]>,
    /// Events of a batch, if they are hidden from one another.
    hidden_batch: Option<usize>,
}

impl OfTraining {
    /// With the rows of the first events of `training`.
    pub(super) fn new(rows: Vec<[f32; WIDTH]>, training: &Training<'_>) -> OfTraining {
        OfTraining {
            rows,
            hidden_batch: training.hidden_batch,
        }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> u64 {
        (self.rows.capacity() * size_of::<[f32; WIDTH]>()) as u64
    }

    /// The rows of `events`, if these are events of `stream` from `first` on that it has, and see what
    /// they saw when they were counted.
    pub(super) fn of(
        &self,
        stream: EventColumns<'_>,
        events: EventColumns<'_>,
        first: EventId,
        hidden_from: Option<EventId>,
    ) -> Option<&[[f32; WIDTH]]> {
        let first = first.index();
        let within = first..first + events.src.len();
        let rows = self.rows.get(within.clone())?;
        let same_batch = match (self.hidden_batch, hidden_from.map(EventId::index)) {
            (None, None) => true,
            (Some(batch), Some(hidden)) => {
                hidden % batch == 0 && hidden <= first && within.end <= hidden + batch
            }
            _ => false,
        };
        let same_events = || {
            stream.src[within.clone()] == *events.src
                && stream.dst[within.clone()] == *events.dst
                && stream.time[within.clone()] == *events.time
        };
        (same_batch && same_events()).then_some(rows)
    }
}
