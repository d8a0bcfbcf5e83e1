//! Records what the operations of training iterations cost, during a run.
//!
//! It stands between the run and the observer that the caller gave, because that is told
//! when the training part of an epoch begins and ends: evaluations are not recorded. What the
//! caller's observer does in an iteration counts as training time, as it does without a profile.

use std::io;
use std::time::{Duration, Instant};

use burn::tensor::Device;

use crate::device;
use crate::pipeline::StageTimes;
use crate::pipeline::schedule::Schedule;
use crate::pipeline::trace::QueueTotals;
use crate::profiler::machine::{self, Machine};
use crate::profiler::report::{Profile, Training};
use crate::profiler::{set_recording, take};
use crate::train::error::EvalError;
use crate::train::error::TrainError;
use crate::train::observer::{Observer, TrainEvent};

/// Records, and tells another observer.
pub(super) struct Profiling<'a> {
    observer: &'a mut Observer<'a>,
    begun: Option<Instant>,
    seconds: Duration,
    iterations: usize,
    /// Of what was trained since, not of what a resumed run had trained before.
    stages: StageTimes,
    queue: QueueTotals,
}

impl<'a> Profiling<'a> {
    /// Tells `observer` what it is told. Call it, and all else, on the device thread.
    pub(super) fn new(observer: &'a mut Observer<'a>) -> Profiling<'a> {
        take();
        Profiling {
            observer,
            begun: None,
            seconds: Duration::ZERO,
            iterations: 0,
            stages: StageTimes::default(),
            queue: QueueTotals::default(),
        }
    }

    /// What an iteration cost, once the run is done; measures the machine.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn finish(
        self,
        schedule: &Schedule,
        device: &Device,
    ) -> Result<Profile, TrainError> {
        let recorded = take();
        let training = Training {
            iterations: self.iterations,
            seconds: self.seconds.as_secs_f64(),
            stages: self.stages,
            queue: self.queue,
            sequential: *schedule == Schedule::Sequential,
            on_cpu: machine::is_cpu(device),
        };
        let machine = Machine::measure(device)
            .inspect_err(device::heed)
            .map_err(|error| TrainError::from(EvalError::Device(format!("{error:?}"))))?;
        Ok(Profile::new(&recorded, &training, machine))
    }
}

impl Drop for Profiling<'_> {
    /// A run that failed leaves nothing switched on.
    fn drop(&mut self) {
        set_recording(false);
    }
}

impl Profiling<'_> {
    /// Measures what `event` begins and ends, and tells the observer.
    pub(super) fn see(&mut self, event: TrainEvent<'_>) -> io::Result<()> {
        match event {
            TrainEvent::Iteration { .. } => self.iterations += 1,
            TrainEvent::EpochRecorded(record) => {
                self.stages.add_all(&record.times);
                self.queue.add_all(&record.queue);
                set_recording(false);
                if let Some(begun) = self.begun.take() {
                    self.seconds += begun.elapsed();
                }
            }
            _ => {}
        }
        let begin = Instant::now();
        let told = (self.observer)(event);
        match event {
            TrainEvent::EpochBegins { .. } => {
                self.begun = Some(Instant::now());
                set_recording(true);
            }
            TrainEvent::Checkpoint { .. } => {
                if let Some(begun) = &mut self.begun {
                    // What it took is no part of training's time.
                    *begun += begin.elapsed();
                }
            }
            _ => {}
        }
        told
    }
}
