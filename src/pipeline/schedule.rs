//! The schedules by name, and what each promises on a stage profile.
//!
//! Staleness k, defined here once: **iteration i reads memory in which exactly the updates up
//! to i − k are applied.** k = 1 is what running one stage after the other gives.
//!
//! It does not choose the k of an iteration: [`super::scheduler`] does.
//! Source: MSPipe, sections 3.2 and 3.3; `exact-overlap` answers a reviewer's objection to it
//! (the updated memory is known before attention and backward).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ledger::{Replay, ReplayError};
use super::profile::{MEASURING_SLACK, Profile, Residency};

/// What overlaps, and how stale memory may be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Schedule {
    /// `sequential`: nothing overlaps, k = 1.
    #[default]
    Sequential,
    /// `prefetch`: sampling and features run ahead, k = 1.
    Prefetch,
    /// `staleness:K`: everything overlaps, k is K (at least 1).
    Staleness(usize),
    /// `mspipe`: everything overlaps, k is the smallest that keeps training going, measured
    /// while it runs, and 8 at most.
    Mspipe,
    /// `freshest`, `freshest:K`: everything overlaps, and an iteration reads the newest memory that is
    /// ready as late as training lets it, never older than K allows; without K the bound is that of
    /// `mspipe`.
    Freshest(Option<usize>),
    /// `exact-overlap`: memory is written back right after the updater's forward, k = 1.
    ExactOverlap,
    /// `auto`: early write-back, and the smallest k that keeps training going.
    Auto,
    /// `replay:FILE`: the k of each iteration as the ledger of another run has them.
    Replay(PathBuf),
}

/// Largest K: what no iteration sees yet is kept.
const MOST_STALENESS: usize = 10_000;

/// Largest staleness that is chosen from measured times, which ask for 4 at most unless they can't be told
/// well: so what has to be kept for it is known before a run. Help and docs name the number.
pub(super) const MOST_ONLINE: usize = 8;

impl Schedule {
    /// The schedules that depend on nothing but the profile, `staleness` with K = 2 and 3.
    pub const COMPARED: [Schedule; 8] = [
        Schedule::Sequential,
        Schedule::Prefetch,
        Schedule::Staleness(2),
        Schedule::Staleness(3),
        Schedule::Mspipe,
        Schedule::Freshest(None),
        Schedule::ExactOverlap,
        Schedule::Auto,
    ];

    /// Whether memory is written back before training has ended.
    pub fn early(&self) -> bool {
        matches!(self, Schedule::ExactOverlap | Schedule::Auto)
    }

    /// Whether k is chosen from measured stage times.
    pub fn online(&self) -> bool {
        matches!(
            self,
            Schedule::Mspipe | Schedule::Freshest(None) | Schedule::Auto
        )
    }

    /// Whether what iterations read depends on measured times, so that only a replay repeats it.
    pub fn timed(&self) -> bool {
        self.online() || matches!(self, Schedule::Freshest(_))
    }

    /// The staleness that it settles on, of profiles measured with `slack`, or that bounds it; `None`
    /// for a replay, whose file says.
    pub fn staleness(&self, profile: &Profile, memory: Residency, slack: f64) -> Option<usize> {
        match self {
            Schedule::Sequential | Schedule::Prefetch | Schedule::ExactOverlap => Some(1),
            Schedule::Freshest(Some(_)) if memory == Residency::Device => Some(1),
            Schedule::Staleness(k) | Schedule::Freshest(Some(k)) => Some(*k),
            Schedule::Mspipe | Schedule::Freshest(None) | Schedule::Auto => {
                Some(profile.minimal_staleness(memory, self.early(), slack))
            }
            Schedule::Replay(_) => None,
        }
    }

    /// Largest staleness that an iteration may have with memory there.
    ///
    /// # Errors
    /// When the ledger to replay can't be read.
    pub(crate) fn most_staleness(&self, memory: Residency) -> Result<usize, ReplayError> {
        Ok(match self {
            Schedule::Auto | Schedule::Freshest(_) if memory == Residency::Device => 1,
            Schedule::Sequential | Schedule::Prefetch | Schedule::ExactOverlap => 1,
            Schedule::Staleness(k) | Schedule::Freshest(Some(k)) => *k,
            Schedule::Mspipe | Schedule::Freshest(None) | Schedule::Auto => MOST_ONLINE,
            Schedule::Replay(path) => Replay::read(path)?.most(),
        })
    }

    /// Time of an iteration once it has settled; `None` for a replay.
    pub fn period(&self, profile: &Profile, memory: Residency) -> Option<Duration> {
        if *self == Schedule::Sequential {
            return Some(profile.in_turn(memory));
        }
        let k = self.staleness(profile, memory, MEASURING_SLACK)?;
        Some(profile.period(memory, self.early(), k))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Sequential => f.write_str("sequential"),
            Schedule::Prefetch => f.write_str("prefetch"),
            Schedule::Staleness(k) => write!(f, "staleness:{k}"),
            Schedule::Mspipe => f.write_str("mspipe"),
            Schedule::Freshest(None) => f.write_str("freshest"),
            Schedule::Freshest(Some(k)) => write!(f, "freshest:{k}"),
            Schedule::ExactOverlap => f.write_str("exact-overlap"),
            Schedule::Auto => f.write_str("auto"),
            Schedule::Replay(path) => write!(f, "replay:{}", path.display()),
        }
    }
}

/// Why a schedule's name can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// No schedule of this name.
    #[error(
        "found '{0}', expected sequential, prefetch, staleness:K, mspipe, freshest, freshest:K, exact-overlap, \
         auto or replay:FILE"
    )]
    Unknown(String),
    /// `staleness:` or `freshest:` without a number that is possible.
    #[error(
        "found '{name}:{bound}', expected {name}:K with K at least 1 (which is not stale) and at \
         most 10,000 (so many updates are kept)"
    )]
    Bound {
        /// The schedule.
        name: &'static str,
        /// What follows it.
        bound: String,
    },
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Schedule, ScheduleError> {
        if let Some(bound) = text.strip_prefix("staleness:") {
            return Ok(Schedule::Staleness(read_bound("staleness", bound)?));
        }
        if let Some(bound) = text.strip_prefix("freshest:") {
            return Ok(Schedule::Freshest(Some(read_bound("freshest", bound)?)));
        }
        match text.strip_prefix("replay:") {
            Some(file) if !file.is_empty() => return Ok(Schedule::Replay(file.into())),
            _ => {}
        }
        match text {
            "sequential" => Ok(Schedule::Sequential),
            "prefetch" => Ok(Schedule::Prefetch),
            "mspipe" => Ok(Schedule::Mspipe),
            "freshest" => Ok(Schedule::Freshest(None)),
            "exact-overlap" => Ok(Schedule::ExactOverlap),
            "auto" => Ok(Schedule::Auto),
            _ => Err(ScheduleError::Unknown(text.to_owned())),
        }
    }
}

/// The K of `name`.
fn read_bound(name: &'static str, bound: &str) -> Result<usize, ScheduleError> {
    match bound.parse() {
        Ok(k) if (1..=MOST_STALENESS).contains(&k) => Ok(k),
        _ => Err(ScheduleError::Bound {
            name,
            bound: bound.to_owned(),
        }),
    }
}

impl TryFrom<String> for Schedule {
    type Error = ScheduleError;

    fn try_from(text: String) -> Result<Schedule, ScheduleError> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> String {
        schedule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_printed() {
        let replay = Schedule::Replay("runs/x/ledger.jsonl".into());
        let others = [replay, Schedule::Freshest(Some(3))];
        for schedule in Schedule::COMPARED.into_iter().chain(others) {
            assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }
    }

    #[test]
    fn says_what_is_expected() {
        let error = |text: &str| text.parse::<Schedule>().unwrap_err().to_string();
        assert!(error("fast").contains("found 'fast', expected sequential, prefetch"));
        assert!(error("staleness:0").contains("K at least 1"));
        assert!(error("staleness:x").contains("staleness:x"));
        assert!(error("freshest:0").contains("expected freshest:K with K at least 1"));
        assert!(error("replay:").contains("replay:FILE"));
    }

    #[test]
    fn periods_of_a_profile() {
        let profile: Profile =
            "sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2,updater=4"
                .parse()
                .unwrap();
        let periods = Schedule::COMPARED.map(|schedule| {
            schedule
                .period(&profile, Residency::Host)
                .unwrap()
                .as_millis()
        });
        assert_eq!(periods, [19, 14, 10, 10, 10, 10, 10, 10]);
        let on_device = Schedule::COMPARED.map(|schedule| {
            schedule
                .period(&profile, Residency::Device)
                .unwrap()
                .as_millis()
        });
        assert_eq!(on_device, [19, 14, 14, 14, 14, 14, 14, 14]);
    }
}
