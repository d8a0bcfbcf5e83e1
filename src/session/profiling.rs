//! Records what the operations of training iterations cost, while a training runs.
//!
//! It stands between the training and the observer that the caller gave, because that is told
//! when the training part of an epoch begins and ends: evaluations are not recorded. What the
//! caller's observer does in an iteration counts as training time, as it does without a profile.

use std::io;
use std::time::{Duration, Instant};

use burn::tensor::Device;

use crate::checkpoint::{Arrays, CheckpointError, Every};
use crate::model::tgl_weights::Unread;
use crate::pipeline::ledger::LedgerLine;
use crate::pipeline::schedule::Schedule;
use crate::pipeline::trace::Record;
use crate::profiler::machine::{self, Machine};
use crate::profiler::report::{Profile, Training};
use crate::profiler::{set_recording, take};
use crate::train::epochs::{EpochRecord, Observer, TrainError, TrainRecord};
use crate::train::evaluation::EvalError;

/// An observer that records, and tells another one.
pub(super) struct Profiling<'a> {
    observer: &'a mut dyn Observer,
    begun: Option<Instant>,
    seconds: Duration,
    iterations: usize,
}

impl<'a> Profiling<'a> {
    /// Tells `observer` what it is told. Call it, and all else, on the device thread.
    pub(super) fn new(observer: &'a mut dyn Observer) -> Profiling<'a> {
        take();
        Profiling {
            observer,
            begun: None,
            seconds: Duration::ZERO,
            iterations: 0,
        }
    }

    /// What an iteration cost, once the training is done; measures the machine.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn finish(
        self,
        record: &TrainRecord,
        schedule: &Schedule,
        device: &Device,
    ) -> Result<Profile, TrainError> {
        let recorded = take();
        let training = Training {
            iterations: self.iterations,
            seconds: self.seconds.as_secs_f64(),
            stages: record.stage_times,
            sequential: *schedule == Schedule::Sequential,
            on_cpu: machine::is_cpu(device),
        };
        let machine = Machine::measure(device)
            .map_err(|error| TrainError::from(EvalError::Device(format!("{error:?}"))))?;
        Ok(Profile::new(&recorded, &training, machine))
    }
}

impl Drop for Profiling<'_> {
    /// A training that failed leaves nothing switched on.
    fn drop(&mut self) {
        set_recording(false);
    }
}

impl Observer for Profiling<'_> {
    fn epoch_begins(&mut self, epoch: usize, iterations: usize) {
        self.observer.epoch_begins(epoch, iterations);
        self.begun = Some(Instant::now());
        set_recording(true);
    }

    fn iteration(&mut self, iteration: usize, events: usize) {
        self.iterations += 1;
        self.observer.iteration(iteration, events);
    }

    fn losses(&mut self, epoch: usize, first: usize, losses: &[f32]) -> io::Result<()> {
        self.observer.losses(epoch, first, losses)
    }

    fn epoch_recorded(&mut self, record: &Record) -> io::Result<()> {
        set_recording(false);
        if let Some(begun) = self.begun.take() {
            self.seconds += begun.elapsed();
        }
        self.observer.epoch_recorded(record)
    }

    fn evaluation_begins(&mut self, part: &str) {
        self.observer.evaluation_begins(part);
    }

    fn epoch_done(&mut self, epoch: usize, record: &EpochRecord) -> io::Result<()> {
        self.observer.epoch_done(epoch, record)
    }

    fn ledger(&mut self, lines: &[LedgerLine]) -> io::Result<()> {
        self.observer.ledger(lines)
    }

    fn best(&mut self, epoch: usize, weights: &[Unread]) -> io::Result<()> {
        self.observer.best(epoch, weights)
    }

    fn checkpoint_every(&self) -> Every {
        self.observer.checkpoint_every()
    }

    fn keep(
        &mut self,
        epoch: usize,
        iteration: usize,
        state: &Arrays<'_>,
    ) -> Result<(), CheckpointError> {
        let begin = Instant::now();
        let kept = self.observer.keep(epoch, iteration, state);
        if let Some(begun) = &mut self.begun {
            // What it took is no part of training's time.
            *begun += begin.elapsed();
        }
        kept
    }

    fn warn(&mut self, message: &str) {
        self.observer.warn(message);
    }
}
