//! Stage times, and what follows from them: periods and the smallest staleness.
//!
//! The timing model. With memory on the host the sampler, the fetcher (stages 2 and 3 in
//! turn, since both need the bus), the device and the updater work side by side; with memory
//! on the device, stages 3 to 5 share the device. The period of iterations is then
//!
//! * host: max(τ1, τ2+τ3, τ4, τ5, (τ3+τ4+τ5)/k),
//! * device: max(τ1, τ2, τ3+τ4+τ5), whatever k is,
//!
//! where an early write-back has the updater's part υ of τ4 in place of τ4 in the last
//! term: the memory that iteration i needs has been through stages 3, 4 and 5 of i − k, so k
//! iterations can't take less. Hence the smallest k that costs nothing is
//! ceil((τ3+τ4+τ5)/bottleneck); if training is the bottleneck this is 1 + ceil((τ3+τ5)/τ4).
//! It is never over 3, since the bottleneck is at least as long as each of the three.
//!
//! Invariant: pure arithmetic. Read and write points count as instants; queues need only be
//! one deep. Source: MSPipe, section 3.2; the general form is checked against
//! [`crate::what_if::simulator`] by tests/schedule.rs.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use super::Stage;
use super::link::{QuantityError, parse_time};

/// Where the tables of node memory lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Residency {
    /// In the device's memory: reading and writing them are work of the device.
    #[value(help = "In the device's memory")]
    Device,
    /// In RAM: reading and writing them are transfers that can overlap training.
    #[value(
        help = "In RAM: for tables that the device can't hold; reading and writing overlap training"
    )]
    Host,
}

/// Part of `train` up to the updated memory where a profile doesn't say.
const DEFAULT_UPDATER_SHARE: f64 = 0.2;

/// Time of each stage of one iteration; reads `sample=3,fetch_features=2ms,…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    times: [Duration; 5],
    updater: Duration,
}

impl Profile {
    /// From the time of each stage, in the order of [`Stage::ALL`], and the part of `train`
    /// after which the updated memory is known (at most all of it).
    pub fn new(times: [Duration; 5], updater: Duration) -> Profile {
        Profile {
            times,
            updater: updater.min(times[Stage::Train as usize]),
        }
    }

    /// From the time of each stage; the updater is taken to need a fifth of `train`.
    pub fn with_usual_updater(times: [Duration; 5]) -> Profile {
        let train = times[Stage::Train as usize];
        Profile::new(times, train.mul_f64(DEFAULT_UPDATER_SHARE))
    }

    /// Time of a stage.
    pub fn of(&self, stage: Stage) -> Duration {
        self.times[stage as usize]
    }

    /// The same with another time for a stage other than `train`.
    pub fn with(mut self, stage: Stage, time: Duration) -> Profile {
        self.times[stage as usize] = time;
        self.updater = self.updater.min(self.of(Stage::Train));
        self
    }

    /// Time from the beginning of `train` until the updated memory is known.
    pub fn updater(&self) -> Duration {
        self.updater
    }

    /// All stages one after the other.
    pub fn sum(&self) -> Duration {
        self.times.iter().sum()
    }

    /// The time below which no schedule gets: that of the busiest thread.
    pub fn bottleneck(&self, memory: Residency) -> Duration {
        let [sample, features, fetch, train, update] = self.times;
        let longest = match memory {
            Residency::Host => [sample, features + fetch, train, update],
            Residency::Device => [sample, features, fetch + train + update, Duration::ZERO],
        };
        longest.into_iter().fold(Duration::ZERO, Duration::max)
    }

    /// Time from reading memory until the update that follows from it is written.
    fn round_trip(&self, early: bool) -> Duration {
        let train = if early {
            self.updater
        } else {
            self.of(Stage::Train)
        };
        self.of(Stage::FetchMemory) + train + self.of(Stage::UpdateMemory)
    }

    /// Time of an iteration with staleness `k` (at least 1) when everything overlaps;
    /// `early`: memory is written back right after the updater's forward.
    pub fn period(&self, memory: Residency, early: bool, k: usize) -> Duration {
        let bottleneck = self.bottleneck(memory);
        match memory {
            Residency::Device => bottleneck,
            Residency::Host => bottleneck.max(self.round_trip(early).div_f64(k.max(1) as f64)),
        }
    }

    /// The smallest staleness whose period exceeds the bottleneck by at most the share
    /// `slack` of it. Measured times need some slack, or noise at a boundary moves k.
    pub fn minimal_staleness(&self, memory: Residency, early: bool, slack: f64) -> usize {
        let bottleneck = self.bottleneck(memory).mul_f64(1.0 + slack).as_nanos();
        if memory == Residency::Device || bottleneck == 0 {
            return 1;
        }
        let k = self.round_trip(early).as_nanos().div_ceil(bottleneck);
        k.max(1) as usize
    }

    /// Whether training is the bottleneck with memory on the host.
    pub fn training_bound(&self) -> bool {
        self.bottleneck(Residency::Host) == self.of(Stage::Train)
    }
}

/// Why a profile can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// No `=`.
    #[error("found '{0}', expected STAGE=TIME such as train=10ms")]
    NoTime(String),
    /// A name that is no stage.
    #[error(
        "there is no stage '{0}'; stages are sample, fetch_features, fetch_memory, train, update_memory, and updater for the part of train after which the updated memory is known"
    )]
    UnknownStage(String),
    /// A stage twice.
    #[error("stage {0} has two times; give one")]
    Twice(String),
    /// A stage without a time.
    #[error("stage {0} has no time; give all five, 0 for one that costs nothing")]
    Missing(Stage),
    /// A time that is none.
    #[error("stage {stage}: {error}")]
    Time {
        /// The stage.
        stage: String,
        /// What is wrong with its time.
        error: QuantityError,
    },
    /// Longer than `train`.
    #[error("updater={0:?} is longer than train={1:?}, of which it is a part")]
    Updater(Duration, Duration),
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Profile, ProfileError> {
        let mut times: [Option<Duration>; 5] = [None; 5];
        let mut updater = None;
        for entry in text.split(',') {
            let (name, time) = entry
                .split_once('=')
                .ok_or_else(|| ProfileError::NoTime(entry.to_owned()))?;
            let name = name.trim();
            let slot = match Stage::ALL.into_iter().find(|stage| stage.name() == name) {
                Some(stage) => &mut times[stage as usize],
                None if name == "updater" => &mut updater,
                None => return Err(ProfileError::UnknownStage(name.to_owned())),
            };
            let time = parse_time(time).map_err(|error| ProfileError::Time {
                stage: name.to_owned(),
                error,
            })?;
            if slot.replace(time).is_some() {
                return Err(ProfileError::Twice(name.to_owned()));
            }
        }
        let mut all = [Duration::ZERO; 5];
        for stage in Stage::ALL {
            all[stage as usize] = times[stage as usize].ok_or(ProfileError::Missing(stage))?;
        }
        let train = all[Stage::Train as usize];
        match updater {
            Some(updater) if updater > train => Err(ProfileError::Updater(updater, train)),
            Some(updater) => Ok(Profile::new(all, updater)),
            None => Ok(Profile::with_usual_updater(all)),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in Stage::ALL {
            write!(f, "{stage}={:?},", self.of(stage))?;
        }
        write!(f, "updater={:?}", self.updater)
    }
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stages = Stage::ALL.map(|stage| (stage.name(), self.of(stage).as_secs_f64()));
        let updater = ("updater", self.updater.as_secs_f64());
        serializer.collect_map(stages.into_iter().chain([updater]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> Profile {
        text.parse().unwrap()
    }

    #[test]
    fn the_papers_regime() {
        let p =
            profile("sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2,updater=3");
        assert!(p.training_bound());
        assert_eq!(p.sum(), Duration::from_millis(19));
        assert_eq!(p.minimal_staleness(Residency::Host, false, 0.0), 2);
        assert_eq!(p.minimal_staleness(Residency::Host, true, 0.0), 1);
        assert_eq!(
            p.period(Residency::Host, false, 1),
            Duration::from_millis(14)
        );
        assert_eq!(
            p.period(Residency::Host, false, 2),
            Duration::from_millis(10)
        );
        assert_eq!(
            p.period(Residency::Host, true, 1),
            Duration::from_millis(10)
        );
        assert_eq!(
            p.period(Residency::Device, false, 2),
            Duration::from_millis(14)
        );
    }

    #[test]
    fn nothing_costs_nothing() {
        let p = profile("sample=0,fetch_features=0,fetch_memory=0,train=0,update_memory=0");
        assert_eq!(p.minimal_staleness(Residency::Host, false, 0.0), 1);
        assert_eq!(p.period(Residency::Host, false, 1), Duration::ZERO);
    }

    #[test]
    fn reads_what_it_prints() {
        let p = profile("sample=3,fetch_features=2us,fetch_memory=2,train=1.5s,update_memory=2");
        assert_eq!(profile(&p.to_string()), p);
        assert_eq!(p.updater(), Duration::from_millis(300));
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text: &str| text.parse::<Profile>().unwrap_err().to_string();
        assert!(error("sample=3").contains("stage fetch_features has no time"));
        assert!(error("sample").contains("expected STAGE=TIME"));
        assert!(error("trian=3").contains("no stage 'trian'"));
        assert!(error("sample=3,sample=4").contains("two times"));
        assert!(error("sample=3h").starts_with("stage sample: found '3h'"));
        assert!(
            error("sample=0,fetch_features=0,fetch_memory=0,train=1,update_memory=0,updater=2")
                .contains("longer than train")
        );
    }
}
