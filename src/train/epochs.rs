//! The loop over epochs: train, validate, keep the best, test once.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::Tensor;
use serde::Serialize;
use thiserror::Error;

use super::evaluation::{EdgeBankMetrics, EvalError, Evaluator, TestMetrics, read};
use super::host_stages::{HostPass, HostPassStages};
use super::stages::{PassStages, StageError};
use super::trainer::Trainer;
use super::work::Training;
use crate::eval::LinkMetrics;
use crate::eval::metrics::MetricError;
use crate::memory::MemoryStore;
use crate::memory::node_memory::NodeMemory;
use crate::model::{LinkModel, MemoryModel};
use crate::pipeline::StageTimes;
use crate::pipeline::clock::WallClock;
use crate::pipeline::executor::{Executor, RunError};
use crate::pipeline::ledger::ReplayError;
use crate::pipeline::link::Link;
use crate::pipeline::scheduler::Scheduler;
use crate::pipeline::trace::Record;
use crate::sampling::negative::SplitPart;

/// Losses that may wait on the device before they are read.
const UNREAD_LOSSES: usize = 32;

/// Iterations of an epoch whose stages are in its trace.
const TRACED: usize = 400;

/// Why a training ended.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A stage of a training iteration failed, or a thread of the pipeline.
    #[error("epoch {epoch}, {error}")]
    Run {
        /// Epoch, from 1.
        epoch: usize,
        /// What failed.
        error: RunError<StageError>,
    },
    /// The schedule to replay can't be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The weights could not be evaluated.
    #[error(transparent)]
    Evaluation(EvalError),
    /// Scores could not be measured.
    #[error("evaluation: {0}; the training diverged, try a smaller --learning-rate")]
    Metric(MetricError),
    /// The loss is not a number.
    #[error(
        "epoch {epoch}, iteration {iteration}: the loss is {loss}; the training diverged, try a smaller --learning-rate"
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Iteration of the epoch, from 0.
        iteration: usize,
        /// What the loss was.
        loss: f32,
    },
    /// Ctrl-C.
    #[error(
        "interrupted after epoch {epoch}, iteration {iteration}; losses up to there are written"
    )]
    Interrupted {
        /// Epoch, from 1.
        epoch: usize,
        /// Iteration of the epoch, from 0.
        iteration: usize,
    },
    /// Something could not be written down.
    #[error(transparent)]
    Observer(std::io::Error),
}

impl From<EvalError> for TrainError {
    fn from(error: EvalError) -> TrainError {
        match error {
            EvalError::Metric(error) => TrainError::Metric(error),
            error @ (EvalError::Stage(_) | EvalError::Device(_)) => TrainError::Evaluation(error),
        }
    }
}

/// What an epoch gave.
#[derive(Debug, Clone, Serialize)]
pub struct EpochRecord {
    /// Mean loss over the training events' batches.
    pub train_loss: f64,
    /// Seconds of training, without evaluation.
    pub train_seconds: f64,
    /// Training events a second.
    pub events_per_s: f64,
    /// Metrics of the validation part.
    pub val: LinkMetrics,
    /// Metrics of the test part with the protocol's own negatives, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<LinkMetrics>,
}

/// What a training gave.
#[derive(Debug, Clone)]
pub struct TrainRecord {
    /// Each epoch.
    pub epochs: Vec<EpochRecord>,
    /// Epoch (from 1) with the best validation ([`LinkMetrics::choice`]), which the test uses.
    pub best_epoch: usize,
    /// Metrics of the test part.
    pub test: TestMetrics,
    /// The non-learning baseline.
    pub edgebank: EdgeBankMetrics,
    /// Time in each stage over all training epochs.
    pub stage_times: StageTimes,
    /// Training iterations with each k.
    pub staleness: BTreeMap<usize, usize>,
    /// Time that training waited for its input.
    pub stall: Duration,
}

/// Is told what happens.
pub trait Observer {
    /// An epoch (from 1) begins to train; it has so many iterations.
    fn epoch_begins(&mut self, epoch: usize, iterations: usize);

    /// An iteration has run; `events` of the epoch are done.
    fn iteration(&mut self, iteration: usize, events: usize);

    /// Losses of consecutive iterations, the first of them `first`, have been read.
    ///
    /// # Errors
    /// When they can't be written.
    fn losses(&mut self, epoch: usize, first: usize, losses: &[f32]) -> std::io::Result<()>;

    /// An epoch has been trained: what overlapped, and what each iteration read.
    ///
    /// # Errors
    /// When it can't be written.
    fn epoch_recorded(&mut self, record: &Record) -> std::io::Result<()>;

    /// An evaluation begins.
    fn evaluation_begins(&mut self, part: &str);

    /// An epoch has been trained and validated.
    ///
    /// # Errors
    /// When it can't be written.
    fn epoch_done(&mut self, epoch: usize, record: &EpochRecord) -> std::io::Result<()>;
}

/// Everything that a training works on.
pub struct TrainLoop<'a, M: MemoryModel> {
    /// Stream and rules.
    pub evaluator: Evaluator,
    /// Model and optimiser.
    pub trainer: Trainer<M>,
    /// Node memory, reset at the start of each epoch.
    pub memory: NodeMemory,
    /// Chooses how stale memory may be.
    pub scheduler: Scheduler,
    /// Batches that may be ready ahead of the stage that takes them, at least 1.
    pub queue_depth: usize,
    /// A bus that transfers take the time of, with memory on the host.
    pub emulated_link: Option<Link>,
    /// Passes over the training part.
    pub epochs: usize,
    /// Whether to evaluate the test part after each epoch.
    pub test_each_epoch: bool,
    /// Set to end after the current iteration.
    pub stop: &'a AtomicBool,
}

/// The best state so far.
struct Best<M: Module> {
    epoch: usize,
    /// See [`LinkMetrics::choice`].
    choice: f64,
    model: LinkModel<M>,
    memory: NodeMemory,
}

/// What all training epochs gave.
#[derive(Default)]
struct Totals {
    times: StageTimes,
    staleness: BTreeMap<usize, usize>,
    stall: Duration,
}

impl<M: MemoryModel> TrainLoop<'_, M> {
    /// Trains, and tests once with the weights and memory of the best epoch; returns
    /// these weights too.
    ///
    /// # Errors
    /// See [`TrainError`].
    pub fn run(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<(TrainRecord, LinkModel<M>), TrainError> {
        let mut epochs = Vec::with_capacity(self.epochs);
        let mut totals = Totals::default();
        let mut best: Option<Best<M>> = None;
        for epoch in 1..=self.epochs {
            self.memory.reset();
            let begin = Instant::now();
            let (losses, trained) = self.train_epoch(epoch, observer, &mut totals)?;
            let train_seconds = begin.elapsed().as_secs_f64();
            // Writes files, which is no part of training's time.
            observer
                .epoch_recorded(&trained)
                .map_err(TrainError::Observer)?;

            let model = self.trainer.model().valid();
            observer.evaluation_begins("validation");
            let mut memory = self.memory.clone();
            let val = self.evaluator.validate(&model, &mut memory)?;
            let test = if self.test_each_epoch {
                observer.evaluation_begins("test");
                let mut copy = memory.clone();
                Some(self.evaluator.test_own_pool(&model, &mut copy)?)
            } else {
                None
            };
            let record = EpochRecord {
                train_loss: losses.iter().map(|&loss| f64::from(loss)).sum::<f64>()
                    / losses.len().max(1) as f64,
                train_seconds,
                events_per_s: self.evaluator.split.train.len() as f64 / train_seconds,
                val,
                test,
            };
            observer
                .epoch_done(epoch, &record)
                .map_err(TrainError::Observer)?;
            if best.as_ref().is_none_or(|best| val.choice() > best.choice) {
                best = Some(Best {
                    epoch,
                    choice: val.choice(),
                    model,
                    memory,
                });
            }
            epochs.push(record);
        }
        let Some(mut best) = best else {
            return Err(TrainError::Metric(MetricError::NoBatch));
        };
        observer.evaluation_begins("test");
        let record = TrainRecord {
            epochs,
            best_epoch: best.epoch,
            test: self.evaluator.test(&best.model, &mut best.memory)?,
            edgebank: self.evaluator.edgebank()?,
            stage_times: totals.times,
            staleness: totals.staleness,
            stall: totals.stall,
        };
        Ok((record, best.model))
    }

    /// One pass over the training part; returns the loss of each iteration and what
    /// overlapped.
    fn train_epoch(
        &mut self,
        epoch: usize,
        observer: &mut dyn Observer,
        totals: &mut Totals,
    ) -> Result<(Vec<f32>, Record), TrainError> {
        let pass = self.evaluator.pass(SplitPart::Train, epoch as u64);
        let iterations = pass.iterations();
        observer.epoch_begins(epoch, iterations);
        let autodiff = self.evaluator.device.clone().autodiff();
        let work = Training {
            trainer: &mut self.trainer,
            device: &autodiff,
            seed: pass.sampling.seed,
            first_iteration: (epoch - 1) * iterations,
            unread: Vec::new(),
            reads: Vec::with_capacity(iterations),
        };
        let mut losses: Vec<f32> = Vec::with_capacity(iterations);
        let mut failure = None;
        let stop = self.stop;
        let mut proceed = |unread: &mut Vec<Tensor<1>>, iteration: usize| {
            let stopping = stop.load(Ordering::Relaxed);
            let due = unread.len() >= UNREAD_LOSSES || iteration + 1 == iterations || stopping;
            if due && let Err(error) = read_losses(epoch, unread, &mut losses, observer) {
                failure = Some(error);
                return false;
            }
            observer.iteration(
                iteration,
                pass.batch_events(iteration).end - pass.events.start,
            );
            if stopping && iteration + 1 < iterations {
                failure = Some(TrainError::Interrupted { epoch, iteration });
                return false;
            }
            true
        };
        let executor = Executor {
            queue_depth: NonZeroUsize::new(self.queue_depth).unwrap_or(NonZeroUsize::MIN),
            traced: TRACED,
            clock: &WallClock::start(),
        };
        let (all, plan) = (0..iterations, (&mut self.scheduler, epoch as u64));
        let (record, reads) = match &mut self.memory {
            NodeMemory::Device(memory) => {
                let mut stages = PassStages {
                    pass: &pass,
                    memory: &mut **memory,
                    work,
                };
                let record = executor.run_on_device(&pass, &mut stages, all, plan, |stages, i| {
                    proceed(&mut stages.work.unread, i)
                });
                (record, stages.work.reads)
            }
            NodeMemory::Host(memory) => {
                let host = HostPass {
                    pass: pass.clone(),
                    memory: RwLock::new(memory),
                    emulated_link: self.emulated_link,
                };
                let mut stages = HostPassStages { host: &host, work };
                let record = executor.run_on_host(&host, &mut stages, all, plan, |stages, i| {
                    proceed(&mut stages.work.unread, i)
                });
                (record, stages.work.reads)
            }
        };
        if let Some(error) = failure {
            return Err(error);
        }
        let mut record = record.map_err(|error| TrainError::Run { epoch, error })?;
        for (line, read) in record.ledger.iter_mut().zip(reads) {
            *totals.staleness.entry(line.k).or_default() += 1;
            line.ages = Some(read.ages);
            line.corrected = read.corrected;
        }
        totals.times.add_all(&record.times);
        totals.stall += record.stall();
        Ok((losses, record))
    }
}

/// Reads the unread losses, checks them and hands them on.
fn read_losses(
    epoch: usize,
    unread: &mut Vec<Tensor<1>>,
    losses: &mut Vec<f32>,
    observer: &mut dyn Observer,
) -> Result<(), TrainError> {
    let first = losses.len();
    losses.extend(read(Tensor::cat(std::mem::take(unread), 0))?);
    let new = &losses[first..];
    observer
        .losses(epoch, first, new)
        .map_err(TrainError::Observer)?;
    match new.iter().position(|loss| !loss.is_finite()) {
        Some(at) => Err(TrainError::Diverged {
            epoch,
            iteration: first + at,
            loss: new[at],
        }),
        None => Ok(()),
    }
}
