//! Stages that only sleep, as long as a profile says, and fail where they are told to: what the
//! executor itself costs is measured with them. A device with a queue works on while its thread
//! sleeps ([`super::queued_device`]).

use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use thiserror::Error;

use super::queued_device::QueuedDevice;
use super::simulator::step_time;
use crate::pipeline::Stage;
use crate::pipeline::clock::Clock;
use crate::pipeline::ending::{Proceed, RunError};
use crate::pipeline::executor::{Executor, Lanes, Segment};
use crate::pipeline::profile::{Profile, Residency};
use crate::pipeline::queue::{QueueIteration, QueueTimes};
use crate::pipeline::schedule::Schedule;
use crate::pipeline::scheduler::Scheduler;
use crate::pipeline::step::{Lane, Step};
use crate::pipeline::trace::Record;

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

/// A device with a queue that works while threads sleep.
struct SleepingDevice<'c> {
    device: Mutex<QueuedDevice>,
    clock: &'c dyn Clock,
}

impl SleepingDevice<'_> {
    fn lock(&self) -> MutexGuard<'_, QueuedDevice> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A step begins; returns how long it has to wait for the queue.
    fn begin(&self, step: Step, iteration: usize, memory: Residency) -> Duration {
        let now = self.clock.now();
        if step.lane(memory) == Lane::Device {
            self.lock().begin(step, iteration, now);
        }
        match step {
            Step::Receive => self.lock().next_ready().saturating_sub(now),
            _ => Duration::ZERO,
        }
    }
}

impl QueueTimes for SleepingDevice<'_> {
    fn take(&self, all: bool) -> Vec<QueueIteration> {
        let until = if all { Duration::MAX } else { self.clock.now() };
        let mut device = self.lock();
        std::iter::from_fn(|| device.through(until)).collect()
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
    /// Runs this many iterations of epoch 1.
    ///
    /// # Errors
    /// The failure, or a ledger that can't be replayed.
    pub fn run(
        &self,
        executor: &Executor<'_>,
        schedule: Schedule,
        iterations: usize,
    ) -> Result<Record, RunError<FailedOnPurpose>> {
        let mut scheduler = Scheduler::new(schedule, self.memory)?;
        let device = self.profile.queue().map(|_| {
            let device = QueuedDevice::new(self.profile, self.memory, scheduler.early());
            SleepingDevice {
                device: Mutex::new(device),
                clock: executor.clock,
            }
        });
        let device = device.as_ref();
        let sleep = |step, iteration| self.sleep(device, step, iteration);
        let lanes = Lanes {
            sampler: &mut { sleep },
            fetcher: &mut { sleep },
            receiver: &mut { sleep },
            updater: &mut { sleep },
            device: &mut { sleep },
        };
        let segment = Segment {
            epoch: 1,
            iterations: 0..iterations,
            unapplied: 0,
        };
        let executor = Executor {
            queue: device.map(|device| device as &dyn QueueTimes),
            ..*executor
        };
        executor.run(&mut scheduler, segment, lanes, |_| Proceed::Go)
    }

    fn sleep(
        &self,
        device: Option<&SleepingDevice<'_>>,
        step: Step,
        iteration: usize,
    ) -> Result<u64, FailedOnPurpose> {
        let mut time = step_time(&self.profile, self.memory, step);
        if let Some(device) = device {
            time += device.begin(step, iteration, self.memory);
        }
        // Even a sleep of nothing gives up the core.
        if !time.is_zero() {
            thread::sleep(time);
        }
        match self.failure {
            Some(failure) if failure.iteration == iteration && self.fails(failure.stage, step) => {
                assert!(!failure.panics, "{ON_PURPOSE}");
                Err(FailedOnPurpose)
            }
            _ => Ok(0),
        }
    }

    /// Whether a failure of `stage` happens in `step`: of a stage with several steps in the
    /// one that is furthest from the device.
    fn fails(&self, stage: Stage, step: Step) -> bool {
        match stage {
            Stage::Train => matches!(step, Step::Train | Step::Begin),
            Stage::UpdateMemory if self.memory == Residency::Host => step == Step::Receive,
            stage => step == Step::whole(stage),
        }
    }
}
