//! The five stages of an iteration and what runs them.
//!
//! Names are the same everywhere: `sample`, `fetch_features`, `fetch_memory`, `train`,
//! `update_memory`. The first two need only the host and may run ahead on other threads;
//! the last three run on the device thread. Weights are never stale; memory may be, by a
//! bound: iteration i reads memory in which exactly the updates up to i − k are applied,
//! and k = 1 is sequential (the paper's convention).
//!
//! This module imports nothing of the project. Source: MSPipe, section 3.

pub mod sequential;

use std::fmt;
use std::time::Duration;

/// One stage of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Cut the batch, draw negatives, sample past events, lay the batch out.
    Sample,
    /// Gather the features of its events and nodes.
    FetchFeatures,
    /// Gather memory rows, mails and times.
    FetchMemory,
    /// Forward, and when training backward and optimiser.
    Train,
    /// Write memory and mails back.
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

/// The five stages of one kind of iteration.
///
/// `Host` holds what the first two stages read; it is shared with the threads that run
/// them ahead. The other three stages have the device to themselves.
pub trait Stages {
    /// What `sample` and `fetch_features` read.
    type Host: Sync;
    /// Result of `sample`.
    type Sampled: Send;
    /// Result of `fetch_features`.
    type Prepared: Send;
    /// Result of `fetch_memory`.
    type Fetched;
    /// Result of `train`: what `update_memory` writes.
    type Trained;
    /// Why a stage failed.
    type Error: Send;

    /// The host's part, for the first two stages.
    fn host(&self) -> &Self::Host;

    /// Stage 1 of an iteration.
    ///
    /// # Errors
    /// When the batch can't be made.
    fn sample(host: &Self::Host, iteration: usize) -> Result<Self::Sampled, Self::Error>;

    /// Stage 2.
    ///
    /// # Errors
    /// When features can't be read.
    fn fetch_features(
        host: &Self::Host,
        sampled: Self::Sampled,
    ) -> Result<Self::Prepared, Self::Error>;

    /// Stage 3.
    ///
    /// # Errors
    /// When the device fails.
    fn fetch_memory(&mut self, prepared: Self::Prepared) -> Result<Self::Fetched, Self::Error>;

    /// Stage 4.
    ///
    /// # Errors
    /// When the device fails.
    fn train(&mut self, fetched: Self::Fetched) -> Result<Self::Trained, Self::Error>;

    /// Stage 5.
    ///
    /// # Errors
    /// When the device fails.
    fn update_memory(&mut self, trained: Self::Trained) -> Result<(), Self::Error>;
}

/// Time spent in each stage.
#[derive(Debug, Clone, Copy, Default)]
pub struct StageTimes([Duration; 5]);

impl StageTimes {
    /// Adds `time` to a stage.
    pub fn add(&mut self, stage: Stage, time: Duration) {
        self.0[stage as usize] += time;
    }

    /// Time of a stage.
    pub fn of(&self, stage: Stage) -> Duration {
        self.0[stage as usize]
    }

    /// Adds the times of another run.
    pub fn add_all(&mut self, other: &StageTimes) {
        for stage in Stage::ALL {
            self.add(stage, other.of(stage));
        }
    }
}
