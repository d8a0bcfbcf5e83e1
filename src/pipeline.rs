//! The five stages of an iteration and what runs them.
//!
//! Names are the same everywhere: `sample`, `fetch_features`, `fetch_memory`, `train`,
//! `update_memory`. Weights are never stale; memory may be, by a bound: iteration i reads
//! memory in which exactly the updates up to i − k are applied, and k = 1 is sequential
//! (the paper's convention). That is a rule, kept by [`flow`] whatever the timing is.
//!
//! | module | what it holds |
//! |---|---|
//! | [`profile`], [`link`] | stage times, periods, the smallest k; a bus |
//! | [`schedule`], [`scheduler`] | the schedules' names; the k of each iteration, online |
//! | [`flow`] | which step may begin when: the rules, without threads or time |
//! | [`executor`], [`sequential`] | what runs [`Stages`]: several threads, or one |
//! | [`trace`], [`ledger`] | what happened: spans, staleness |
//! | [`clock`] | time, so that tests need no sleeping |
//!
//! This module imports nothing of the project. Source: MSPipe, section 3.

pub mod clock;
pub mod executor;
pub mod flow;
pub mod ledger;
pub mod link;
mod monitor;
pub mod profile;
pub mod schedule;
pub mod scheduler;
pub mod sequential;
pub mod trace;

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
/// them ahead. The other three run on the device thread, which is the thread that called
/// the executor and the only one that may talk to the device.
///
/// A stage must come to an end by itself: nothing interrupts it.
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

    /// Bytes of a batch's features, for the trace.
    fn prepared_bytes(_prepared: &Self::Prepared) -> u64 {
        0
    }

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

/// Stages whose memory lies in the host's RAM, so that reading and writing it can overlap
/// training.
///
/// | method | thread | what it is |
/// |---|---|---|
/// | [`gather`](Self::gather) | fetcher | read point of stage 3: copies rows out of the tables |
/// | [`send`](Self::send) | fetcher | the rest of stage 3 that needs no device |
/// | [`upload`](Self::upload) | device | makes tensors of the rows |
/// | [`begin`](Self::begin), [`finish`](Self::finish) | device | stage 4 in two parts, for an early write-back |
/// | [`read_back`](Self::read_back) | device | begins the copy of the updated rows; must not wait for it |
/// | [`receive`](Self::receive) | updater | waits for that copy |
/// | [`apply`](Self::apply) | updater | write point of stage 5: writes the rows into the tables |
///
/// The executor never runs a `gather` and an `apply` at the same time, and orders them by
/// the version rule; a lock around the tables is never contended. `begin` and `finish`
/// together compute what [`Stages::train`] does; `gather`, `send`, `upload` what
/// [`Stages::fetch_memory`] does; `read_back`, `receive`, `apply` what
/// [`Stages::update_memory`] does.
pub trait HostStages: Stages {
    /// Rows read from the tables, with what the batch carries along.
    type Gathered: Send;
    /// Training under way, after the memory updater's forward.
    type Begun;
    /// Updated rows on their way to the host.
    type Pending: Send;
    /// Updated rows on the host.
    type Received: Send;

    /// Bytes of the rows read, for the trace.
    fn gathered_bytes(gathered: &Self::Gathered) -> u64;

    /// Bytes of the rows to write, for the trace.
    fn received_bytes(received: &Self::Received) -> u64;

    /// Reads rows from the tables.
    ///
    /// # Errors
    /// When they can't be read.
    fn gather(host: &Self::Host, prepared: Self::Prepared) -> Result<Self::Gathered, Self::Error>;

    /// What stage 3 still has to do off the device thread; nothing by default.
    ///
    /// # Errors
    /// When it fails.
    fn send(_host: &Self::Host, gathered: Self::Gathered) -> Result<Self::Gathered, Self::Error> {
        Ok(gathered)
    }

    /// Brings rows to the device.
    ///
    /// # Errors
    /// When the device fails.
    fn upload(&mut self, gathered: Self::Gathered) -> Result<Self::Fetched, Self::Error>;

    /// Stage 4 up to the updated memory rows, which are all that stage 5 needs.
    ///
    /// # Errors
    /// When the device fails.
    fn begin(
        &mut self,
        fetched: Self::Fetched,
    ) -> Result<(Self::Begun, Self::Trained), Self::Error>;

    /// The rest of stage 4: attention, loss, backward, optimiser.
    ///
    /// # Errors
    /// When the device fails.
    fn finish(&mut self, begun: Self::Begun) -> Result<(), Self::Error>;

    /// Begins to copy the updated rows to the host.
    ///
    /// # Errors
    /// When the device fails.
    fn read_back(&mut self, trained: Self::Trained) -> Result<Self::Pending, Self::Error>;

    /// Waits for the copy.
    ///
    /// # Errors
    /// When the device fails.
    fn receive(host: &Self::Host, pending: Self::Pending) -> Result<Self::Received, Self::Error>;

    /// Writes rows into the tables.
    ///
    /// # Errors
    /// When they can't be written.
    fn apply(host: &Self::Host, received: Self::Received) -> Result<(), Self::Error>;
}

/// Time spent in each stage.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
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
