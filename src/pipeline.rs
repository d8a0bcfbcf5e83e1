//! The five stages of an iteration and what runs them.
//!
//! Names are the same everywhere: `sample`, `fetch_features`, `fetch_memory`, `train`,
//! `update_memory`. Weights are never stale; memory may be, by a bound: iteration i reads
//! memory in which exactly the updates up to i − k are applied, and k = 1 is sequential
//! (the paper's convention). That is a rule, kept by [`flow`] whatever the timing is.
//!
//! | module | what it holds |
//! |---|---|
//! | [`profile`], [`link`] | stage times; a bus |
//! | [`cycle`] | what bounds the period, and the smallest k |
//! | [`schedule`], [`scheduler`] | the schedules' names; the k of each iteration, online |
//! | [`votes`] | the k that several who run the same iterations agree on |
//! | [`turns`] | whether iterations overlap at all, tried while a training runs |
//! | [`residency`] | where memory lies |
//! | [`step`] | the steps of the stages, and the lanes that run them |
//! | [`queue`] | when a device with a queue did what its thread encoded |
//! | [`flow`] | which step may begin when: the rules, without threads or time |
//! | [`executor`], [`ending`] | what runs the steps: several threads, or one; how a run ends |
//! | [`trace`], [`ledger`] | what happened: spans, staleness |
//! | [`staleness`] | what the rule does: lost mail, stale rows |
//! | [`probe`] | what stale memory does to gradients, where a run looks |
//! | [`clock`] | time, so that tests need no sleeping |
//!
//! This module imports nothing of the project. Source: MSPipe, section 3.

pub mod clock;
pub mod cycle;
pub mod ending;
pub mod executor;
pub(crate) mod flow;
pub mod ledger;
pub mod link;
mod monitor;
pub mod probe;
pub mod profile;
pub mod queue;
pub mod residency;
pub mod schedule;
pub mod scheduler;
pub mod staleness;
pub mod step;
pub mod trace;
pub mod turns;
pub(crate) mod votes;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One stage of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Cut the batch, draw negatives, sample past events, lay the batch out.
    Sample,
    /// Gather the features of its events and nodes.
    FetchFeatures,
    /// Gather memory rows, mail and times.
    FetchMemory,
    /// Forward, and when training backward and optimiser.
    Train,
    /// Write memory and mail back.
    UpdateMemory,
}

impl Stage {
    /// All stages, in the order of an iteration.
    pub const ALL: [Stage; 5] = [
        Stage::Sample,
        Stage::FetchFeatures,
        Stage::FetchMemory,
        Stage::Train,
        Stage::UpdateMemory,
    ];

    /// The stage's name in configuration, traces and reports.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Sample => "sample",
            Stage::FetchFeatures => "fetch_features",
            Stage::FetchMemory => "fetch_memory",
            Stage::Train => "train",
            Stage::UpdateMemory => "update_memory",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Time spent in each stage.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct StageTimes([Duration; 5]);

impl StageTimes {
    /// Adds `time` to a stage.
    pub(crate) fn add(&mut self, stage: Stage, time: Duration) {
        self.0[stage as usize] += time;
    }

    /// Time of a stage.
    pub(crate) fn of(&self, stage: Stage) -> Duration {
        self.0[stage as usize]
    }

    /// Adds the times of another run.
    pub(crate) fn add_all(&mut self, other: &StageTimes) {
        for stage in Stage::ALL {
            self.add(stage, other.of(stage));
        }
    }
}
