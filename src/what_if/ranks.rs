//! Stage times of a rank that trains with others, from those of one that trains alone and from a network.
//!
//! Each rank keeps its batch, so an iteration has R times the events. Gradients are exchanged at the end of
//! `train`, which nothing hides; updated rows between receiving and applying them, in `update_memory`, which
//! staleness hides.
//!
//! The model of the network: an exchange takes ceil(log2 R) latencies, and each rank's link carries what it
//! gives or gets, whichever is more. A sum is three exchanges (a word each, the parts, their sums) and
//! moves (R − 1)/R of its bytes twice; a gathering is two, and a rank gets the bytes of all others.
//! It does not know what grows with the whole batch on every rank: laying it out and writing it.

use std::time::Duration;

use crate::pipeline::Stage;
use crate::pipeline::link::Link;
use crate::pipeline::profile::Profile;

/// Ranks that train together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Team {
    /// How many there are, at least 1.
    pub ranks: usize,
    /// What joins them.
    pub network: Link,
    /// Bytes of gradients and loss.
    pub gradient_bytes: u64,
    /// Bytes of updated rows that each gives.
    pub row_bytes: u64,
}

impl Team {
    /// Time to exchange gradients.
    pub fn gradients(&self) -> Duration {
        let bytes = 2 * self.gradient_bytes * self.others() / self.ranks.max(1) as u64;
        self.latencies(3) + self.transfer(bytes)
    }

    /// Time to exchange updated rows.
    pub fn rows(&self) -> Duration {
        self.latencies(2) + self.transfer(self.row_bytes * self.others())
    }

    /// Stage times of a rank of it.
    pub fn profile(&self, alone: &Profile) -> Profile {
        let update = alone.of(Stage::UpdateMemory) + self.rows();
        alone
            .with(Stage::UpdateMemory, update)
            .with_longer_training(self.gradients())
    }

    fn others(&self) -> u64 {
        self.ranks as u64 - 1
    }

    /// Latencies of so many exchanges.
    fn latencies(&self, exchanges: u32) -> Duration {
        let each = self.ranks.next_power_of_two().trailing_zeros();
        self.network.time(0) * each * exchanges
    }

    fn transfer(&self, bytes: u64) -> Duration {
        self.network.time(bytes) - self.network.time(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(ranks: usize) -> Team {
        Team {
            ranks,
            network: "1GB/s,10us".parse().unwrap(),
            gradient_bytes: 1_000_000,
            row_bytes: 100_000,
        }
    }

    #[test]
    fn one_rank_exchanges_nothing() {
        let alone: Profile = "sample=1,fetch_features=1,fetch_memory=1,train=5,update_memory=1"
            .parse()
            .unwrap();
        assert_eq!(team(1).profile(&alone), alone);
    }

    /// By hand: four ranks are two latencies an exchange; 2 × 3/4 MB of gradients, 3 × 0.1 MB of rows.
    #[test]
    fn exchanges_take_their_latencies_and_bytes() {
        let team = team(4);
        assert_eq!(team.gradients().as_micros(), 3 * 20 + 1500);
        assert_eq!(team.rows().as_micros(), 2 * 20 + 300);
        let alone: Profile =
            "sample=1,fetch_features=1,fetch_memory=1,train=5,update_memory=1,updater=2"
                .parse()
                .unwrap();
        let together = team.profile(&alone);
        assert_eq!(together.of(Stage::Train).as_micros(), 5000 + 1560);
        assert_eq!(together.updater(), alone.updater());
        assert_eq!(together.of(Stage::UpdateMemory).as_micros(), 1000 + 340);
    }
}
