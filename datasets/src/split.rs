//! Which events train, validate and test.
//!
//! Ranges of event indices, in order, without gaps, covering the stream. A
//! split never shuffles: training is the past, test is the future. Events of
//! equal time may straddle a boundary; `mspipe data check` says so.

use std::ops::Range;

use serde::Serialize;

/// Three consecutive ranges of event indices that cover a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Split {
    /// Events to train on; starts at 0.
    pub train: Range<usize>,
    /// Events to validate on.
    pub val: Range<usize>,
    /// Events to test on; ends at the number of events.
    pub test: Range<usize>,
}

impl Split {
    /// The first `train` share of the events trains, the next `val` share validates, the rest tests.
    ///
    /// Boundaries are `round(events * train)` and `round(events * (train + val))`, as in TGL, TGN
    /// and DyGLib's data sets: 157,474 events at 0.70 and 0.15 give 110,232 / 23,621 / 23,621.
    /// Shares outside 0..=1 are clamped.
    pub fn chronological(events: usize, train: f64, val: f64) -> Split {
        // 0.70 + 0.15 is not 0.85 in binary; nine decimals make it so.
        let share = |x: f64| (x.clamp(0.0, 1.0) * 1e9).round() / 1e9;
        let boundary = |x: f64| ((events as f64 * share(x)).round() as usize).min(events);
        Split::at(boundary(train), boundary(train + val), events)
    }

    /// Splits before event `val` and before event `test`.
    pub(crate) fn at(val: usize, test: usize, events: usize) -> Split {
        let test = test.min(events);
        let val = val.min(test);
        Split {
            train: 0..val,
            val: val..test,
            test: test..events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wikipedia_sizes() {
        let split = Split::chronological(157_474, 0.70, 0.15);
        assert_eq!(
            (split.train.len(), split.val.len(), split.test.len()),
            (110_232, 23_621, 23_621)
        );
    }

    #[test]
    fn half_events_round_up_and_ranges_touch() {
        let split = Split::chronological(10, 0.70, 0.15);
        assert_eq!(
            split,
            Split {
                train: 0..7,
                val: 7..9,
                test: 9..10
            }
        );
    }

    #[test]
    fn empty_stream_and_odd_shares() {
        assert_eq!(
            Split::chronological(0, 0.7, 0.15),
            Split {
                train: 0..0,
                val: 0..0,
                test: 0..0
            }
        );
        assert_eq!(
            Split::chronological(5, 2.0, 1.0),
            Split {
                train: 0..5,
                val: 5..5,
                test: 5..5
            }
        );
    }
}
