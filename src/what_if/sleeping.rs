//! Stages that only sleep, as long as a profile says, and fail where they are told to: what the
//! executor itself costs is measured with them.
//!
//! What one of them hands on is the number of its iteration.

use std::str::FromStr;
use std::thread;

use thiserror::Error;

use super::simulator::step_time;
use crate::pipeline::flow::Step;
use crate::pipeline::profile::{Profile, Residency};
use crate::pipeline::{HostStages, Stage, Stages};

/// What a stage that was told to fail says.
const ON_PURPOSE: &str = "failed on purpose (--fail)";

/// A stage that failed because it was told to.
#[derive(Debug, Error)]
#[error("{ON_PURPOSE}")]
pub struct FailedOnPurpose;

/// A stage that is to fail; reads `STAGE:ITERATION:error` and `STAGE:ITERATION:panic`.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    stage: Stage,
    /// Iteration from 0.
    pub iteration: usize,
    panics: bool,
}

impl FromStr for Failure {
    type Err = String;

    fn from_str(text: &str) -> Result<Failure, String> {
        let wrong = || {
            format!(
                "found '{text}', expected STAGE:ITERATION:error or STAGE:ITERATION:panic with \
                 STAGE one of {}",
                Stage::ALL.map(Stage::name).join(", ")
            )
        };
        let [stage, iteration, kind] = text.split(':').collect::<Vec<_>>()[..] else {
            return Err(wrong());
        };
        let stage = Stage::ALL.into_iter().find(|known| known.name() == stage);
        Ok(Failure {
            stage: stage.ok_or_else(wrong)?,
            iteration: iteration.parse().map_err(|_| wrong())?,
            panics: match kind {
                "error" => false,
                "panic" => true,
                _ => return Err(wrong()),
            },
        })
    }
}

/// How long to sleep, and where to fail.
pub struct Sleeper {
    /// Time of each stage.
    pub profile: Profile,
    /// Where memory is said to be.
    pub memory: Residency,
    /// What fails, if anything.
    pub failure: Option<Failure>,
}

impl Sleeper {
    fn sleep(&self, step: Step, iteration: usize) -> Result<usize, FailedOnPurpose> {
        let time = step_time(&self.profile, self.memory, step);
        // Even a sleep of nothing gives up the core.
        if !time.is_zero() {
            thread::sleep(time);
        }
        match self.failure {
            Some(failure) if failure.iteration == iteration && self.fails(failure.stage, step) => {
                assert!(!failure.panics, "{ON_PURPOSE}");
                Err(FailedOnPurpose)
            }
            _ => Ok(iteration),
        }
    }

    /// Whether a failure of `stage` happens in `step`: of a stage with several steps in the
    /// one that is furthest from the device.
    fn fails(&self, stage: Stage, step: Step) -> bool {
        match stage {
            Stage::Sample => step == Step::Sample,
            Stage::FetchFeatures => step == Step::Features,
            Stage::FetchMemory => step == Step::Gather,
            Stage::Train => matches!(step, Step::Train | Step::Begin),
            Stage::UpdateMemory => match self.memory {
                Residency::Host => step == Step::Receive,
                Residency::Device => step == Step::Apply,
            },
        }
    }
}

/// The stages.
pub struct SleepingStages<'a>(pub &'a Sleeper);

impl Stages for SleepingStages<'_> {
    type Host = Sleeper;
    type Sampled = usize;
    type Prepared = usize;
    type Fetched = usize;
    type Trained = usize;
    type Error = FailedOnPurpose;

    fn host(&self) -> &Sleeper {
        self.0
    }
    fn sample(host: &Sleeper, iteration: usize) -> Result<usize, FailedOnPurpose> {
        host.sleep(Step::Sample, iteration)
    }
    fn fetch_features(host: &Sleeper, iteration: usize) -> Result<usize, FailedOnPurpose> {
        host.sleep(Step::Features, iteration)
    }
    /// One of the two parts takes all the time, depending on where memory lies.
    fn fetch_memory(&mut self, iteration: usize) -> Result<usize, FailedOnPurpose> {
        let iteration = self.0.sleep(Step::Gather, iteration)?;
        match self.0.memory {
            Residency::Host => self.0.sleep(Step::Send, iteration),
            Residency::Device => Ok(iteration),
        }
    }
    fn train(&mut self, iteration: usize) -> Result<usize, FailedOnPurpose> {
        self.0.sleep(Step::Train, iteration)
    }
    fn update_memory(&mut self, iteration: usize) -> Result<(), FailedOnPurpose> {
        let iteration = match self.0.memory {
            Residency::Host => self.0.sleep(Step::Receive, iteration)?,
            Residency::Device => iteration,
        };
        self.0.sleep(Step::Apply, iteration).map(|_| ())
    }
}

impl HostStages for SleepingStages<'_> {
    type Gathered = usize;
    type Begun = usize;
    type Pending = usize;
    type Received = usize;

    fn gathered_bytes(_iteration: &usize) -> u64 {
        0
    }
    fn received_bytes(_iteration: &usize) -> u64 {
        0
    }
    fn gather(host: &Sleeper, iteration: usize) -> Result<usize, FailedOnPurpose> {
        host.sleep(Step::Gather, iteration)
    }
    fn send(host: &Sleeper, iteration: usize) -> Result<usize, FailedOnPurpose> {
        host.sleep(Step::Send, iteration)
    }
    fn upload(&mut self, iteration: usize) -> Result<usize, FailedOnPurpose> {
        self.0.sleep(Step::Upload, iteration)
    }
    fn begin(&mut self, iteration: usize) -> Result<(usize, usize), FailedOnPurpose> {
        let begun = self.0.sleep(Step::Begin, iteration)?;
        Ok((begun, begun))
    }
    fn finish(&mut self, iteration: usize) -> Result<(), FailedOnPurpose> {
        self.0.sleep(Step::Finish, iteration).map(|_| ())
    }
    fn read_back(&mut self, iteration: usize) -> Result<usize, FailedOnPurpose> {
        self.0.sleep(Step::ReadBack, iteration)
    }
    fn receive(host: &Sleeper, iteration: usize) -> Result<usize, FailedOnPurpose> {
        host.sleep(Step::Receive, iteration)
    }
    fn apply(host: &Sleeper, iteration: usize) -> Result<(), FailedOnPurpose> {
        host.sleep(Step::Apply, iteration).map(|_| ())
    }
}
