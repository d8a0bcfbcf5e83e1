//! What bounds the period of iterations: the way of an update back to the memory, and the busiest
//! lane. From these two, and from nothing else, follows the smallest staleness.
//!
//! Iteration i reads what i − k wrote, so k iterations can't take less than the **round trip**: the
//! time from reading memory until the update that follows from it is written, when nothing is
//! waited for. And no iteration takes less than it keeps the **busiest lane** busy. Lanes overlap,
//! so their times are never added up: where the host encodes while the device works, the round trip
//! is shorter than the sum of both.
//!
//! With an early write-back there is a second way: training of i goes on behind its own update, on
//! the device before anything of i + 1. So what i reads bounds when i + 1 is written, which
//! i + 1 + k reads: k + 1 iterations can't take less than this **next round trip**.
//!
//! Invariant: pure arithmetic. That nothing else bounds the period is what
//! [`crate::what_if::simulator`] is tested for, on a device that works behind a queue and on one that
//! doesn't. Source: MSPipe, section 3.2, whose form for a bottleneck in training this has as a
//! special case.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::step::Lane;

/// Round trips, and the busiest lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cycle {
    /// From reading memory until the update that follows from it is written; zero where staleness
    /// shortens nothing.
    #[serde(serialize_with = "seconds")]
    pub round_trip: Duration,
    /// From reading memory until the update of the next iteration is written, through all of this
    /// one's training; zero where memory is not written early.
    #[serde(serialize_with = "seconds")]
    pub next_round_trip: Duration,
    /// Time that an iteration keeps the busiest lane busy.
    #[serde(serialize_with = "seconds")]
    pub busiest: Duration,
    /// That lane.
    pub lane: Lane,
    /// The same without the device's queue.
    #[serde(skip)]
    pub(super) busiest_but_the_queue: Duration,
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl Cycle {
    /// Of lanes with the time that an iteration takes each of them; `round_trips` are the round trip
    /// and the next one.
    pub(crate) fn new(lanes: &[(Lane, Duration)], round_trips: [Duration; 2]) -> Cycle {
        let longest = lanes.iter().rev().max_by_key(|(_, time)| *time);
        let (lane, busiest) = longest.copied().unwrap_or((Lane::Device, Duration::ZERO));
        Cycle {
            round_trip: round_trips[0],
            next_round_trip: round_trips[1],
            busiest,
            lane,
            busiest_but_the_queue: lanes
                .iter()
                .filter(|(lane, _)| *lane != Lane::Gpu)
                .map(|(_, time)| *time)
                .max()
                .unwrap_or_default(),
        }
    }

    /// Time of an iteration with staleness `k` (at least 1) as far as the round trips say.
    pub(super) fn round_trips(&self, k: usize) -> Duration {
        let k = k.max(1) as f64;
        let next = self.next_round_trip.div_f64(k + 1.0);
        self.round_trip.div_f64(k).max(next)
    }

    /// Time of an iteration with staleness `k` (at least 1) when everything overlaps.
    pub fn period(&self, k: usize) -> Duration {
        self.busiest.max(self.round_trips(k))
    }

    /// The smallest staleness whose period exceeds the busiest lane's by at most the share `slack` of
    /// it. Measured times need some slack, or noise at a boundary moves k.
    pub fn minimal_staleness(&self, slack: f64) -> usize {
        let busiest = self.busiest.mul_f64(1.0 + slack).as_nanos();
        if busiest == 0 {
            return 1;
        }
        let iterations = |time: Duration| time.as_nanos().div_ceil(busiest) as usize;
        let next = iterations(self.next_round_trip).saturating_sub(1);
        iterations(self.round_trip).max(next).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle(round_trip: f64, next_round_trip: f64, busiest: f64) -> Cycle {
        let ms = |ms: f64| Duration::from_secs_f64(ms / 1e3);
        let round_trips = [ms(round_trip), ms(next_round_trip)];
        Cycle::new(&[(Lane::Gpu, ms(busiest))], round_trips)
    }

    /// Reading takes 1 ms, encoding 2, the device 2.5: added up 5.5, and the old rule chose 3.
    #[test]
    fn overlapping_times_are_not_added_up() {
        assert_eq!(cycle(4.3, 0.0, 2.5).minimal_staleness(0.0), 2);
        assert_eq!(cycle(5.5, 0.0, 2.5).minimal_staleness(0.0), 3);
    }

    #[test]
    fn a_next_round_trip_is_of_one_more_iteration() {
        assert_eq!(cycle(9.0, 21.0, 10.0).minimal_staleness(0.0), 2);
        assert_eq!(cycle(9.0, 20.0, 10.0).minimal_staleness(0.0), 1);
        assert_eq!(cycle(9.0, 20.2, 10.0).minimal_staleness(0.02), 1);
        assert_eq!(cycle(9.0, 21.0, 10.0).period(1).as_micros(), 10_500);
        assert_eq!(cycle(9.0, 21.0, 10.0).period(2).as_micros(), 10_000);
    }

    #[test]
    fn the_first_of_equally_busy_lanes_is_named() {
        let ms = Duration::from_millis;
        let lanes = [
            (Lane::Sampler, ms(1)),
            (Lane::Device, ms(4)),
            (Lane::Gpu, ms(4)),
        ];
        assert_eq!(Cycle::new(&lanes, [ms(0); 2]).lane, Lane::Device);
        assert_eq!(Cycle::new(&[], [ms(0); 2]).minimal_staleness(0.0), 1);
    }
}
