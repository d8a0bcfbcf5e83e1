//! The loop over epochs: train, validate, keep the best, test once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mspipe_datasets::Split;
use serde::Serialize;
use thiserror::Error;

use super::stages::{Evaluation, Pass, PassStages, Sampling, StageError, Training};
use super::trainer::Trainer;
use crate::batch::EventBatch;
use crate::eval::metrics::MetricError;
use crate::eval::{BatchScores, LinkMetrics, edgebank_after, edgebank_ap};
use crate::graph::NodeId;
use crate::memory::MemoryStore;
use crate::model::{LinkModel, Logits, MemoryModel};
use crate::pipeline::{StageTimes, sequential};
use crate::sampling::negative::SplitPart;

/// Losses that may wait on the device before they are read.
const UNREAD_LOSSES: usize = 32;

/// Why a training ended.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A stage failed.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Scores could not be measured.
    #[error("evaluation: {0}; the training diverged, try a smaller --learning-rate")]
    Metric(#[from] MetricError),
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
    /// The device stopped answering.
    #[error("device: {0}")]
    Device(String),
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
    /// Metrics of the test part, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<LinkMetrics>,
}

/// What a training gave.
#[derive(Debug, Clone)]
pub struct TrainRecord {
    /// Each epoch.
    pub epochs: Vec<EpochRecord>,
    /// Epoch (from 1) with the best pooled validation AP, which the test uses.
    pub best_epoch: usize,
    /// Metrics of the test part.
    pub test: LinkMetrics,
    /// EdgeBank's pooled AP on validation and test.
    pub edgebank: (f64, f64),
    /// Time in each stage over all training epochs.
    pub stage_times: StageTimes,
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

    /// An evaluation begins.
    fn evaluation_begins(&mut self, part: &str);

    /// An epoch has been trained and validated.
    ///
    /// # Errors
    /// When it can't be written.
    fn epoch_done(&mut self, epoch: usize, record: &EpochRecord) -> std::io::Result<()>;
}

/// Everything that a training works on.
pub struct TrainLoop<'a, M: MemoryModel, S> {
    /// Stream, graph and rules.
    pub sampling: Arc<Sampling>,
    /// Parts of the stream.
    pub split: Split,
    /// Model and optimiser.
    pub trainer: Trainer<M>,
    /// Node memory, reset at the start of each epoch.
    pub memory: S,
    /// Device without autodiff.
    pub device: Device,
    /// Passes over the training part.
    pub epochs: usize,
    /// Whether to evaluate the test part after each epoch.
    pub test_each_epoch: bool,
    /// Set to end after the current iteration.
    pub stop: &'a AtomicBool,
}

/// The best state so far.
struct Best<M: Module, S> {
    epoch: usize,
    ap: f64,
    model: LinkModel<M>,
    memory: S,
}

impl<M: MemoryModel, S: MemoryStore + Clone> TrainLoop<'_, M, S> {
    /// Trains, and tests once with the weights and memory of the best epoch.
    ///
    /// # Errors
    /// See [`TrainError`].
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<TrainRecord, TrainError> {
        let mut epochs = Vec::with_capacity(self.epochs);
        let mut stage_times = StageTimes::default();
        let mut best: Option<Best<M, S>> = None;
        let mut val_batches = Vec::new();
        for epoch in 1..=self.epochs {
            self.memory.reset();
            let begin = Instant::now();
            let losses = self.train_epoch(epoch, observer, &mut stage_times)?;
            let train_seconds = begin.elapsed().as_secs_f64();

            let model = self.trainer.model().valid();
            observer.evaluation_begins("validation");
            let mut memory = self.memory.clone();
            let (batches, val) = self.evaluate(&model, &mut memory, SplitPart::Validation)?;
            val_batches = batches;
            let test = if self.test_each_epoch {
                observer.evaluation_begins("test");
                let mut copy = memory.clone();
                Some(self.evaluate(&model, &mut copy, SplitPart::Test)?.1)
            } else {
                None
            };
            let record = EpochRecord {
                train_loss: losses.iter().map(|&loss| f64::from(loss)).sum::<f64>()
                    / losses.len().max(1) as f64,
                train_seconds,
                events_per_s: self.split.train.len() as f64 / train_seconds,
                val,
                test,
            };
            observer
                .epoch_done(epoch, &record)
                .map_err(TrainError::Observer)?;
            if best.as_ref().is_none_or(|best| val.ap > best.ap) {
                best = Some(Best {
                    epoch,
                    ap: val.ap,
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
        let (test_batches, test) = self.evaluate(&best.model, &mut best.memory, SplitPart::Test)?;
        Ok(TrainRecord {
            epochs,
            best_epoch: best.epoch,
            test,
            edgebank: self.edgebank(&val_batches, &test_batches)?,
            stage_times,
        })
    }

    /// One pass over the training part; returns the loss of each iteration.
    fn train_epoch(
        &mut self,
        epoch: usize,
        observer: &mut dyn Observer,
        stage_times: &mut StageTimes,
    ) -> Result<Vec<f32>, TrainError> {
        let pass = Pass {
            sampling: self.sampling.clone(),
            events: self.split.train.clone(),
            part: SplitPart::Train,
            epoch: epoch as u64,
        };
        let iterations = pass.iterations();
        observer.epoch_begins(epoch, iterations);
        let autodiff = self.device.clone().autodiff();
        let mut stages = PassStages {
            pass: &pass,
            memory: &mut self.memory,
            work: Training {
                trainer: &mut self.trainer,
                device: &autodiff,
                seed: self.sampling.seed,
                first_iteration: (epoch - 1) * iterations,
                losses: Vec::new(),
            },
        };
        let mut losses: Vec<f32> = Vec::with_capacity(iterations);
        let mut failure = None;
        let stop = self.stop;
        let times = sequential::run(&mut stages, 0..iterations, |stages, iteration| {
            let unread = &mut stages.work.losses;
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
        })?;
        stage_times.add_all(&times);
        match failure {
            Some(error) => Err(error),
            None => Ok(losses),
        }
    }

    /// One pass over the validation or test part, which goes on with `memory`.
    fn evaluate(
        &self,
        model: &LinkModel<M>,
        memory: &mut S,
        part: SplitPart,
    ) -> Result<(Vec<EventBatch>, LinkMetrics), TrainError> {
        let events = match part {
            SplitPart::Train => self.split.train.clone(),
            SplitPart::Validation => self.split.val.clone(),
            SplitPart::Test => self.split.test.clone(),
        };
        let pass = Pass {
            sampling: self.sampling.clone(),
            events,
            part,
            epoch: 0,
        };
        let mut stages = PassStages {
            pass: &pass,
            memory,
            work: Evaluation {
                model,
                device: &self.device,
                scored: Vec::new(),
            },
        };
        sequential::run(&mut stages, 0..pass.iterations(), |_, _| true)?;
        let (batches, logits): (Vec<_>, Vec<_>) = stages.work.scored.into_iter().unzip();
        let scores = read_scores(&logits)?;
        Ok((batches, LinkMetrics::of(&scores)?))
    }

    fn edgebank(&self, val: &[EventBatch], test: &[EventBatch]) -> Result<(f64, f64), TrainError> {
        let seen = self.split.train.clone();
        let log = &*self.sampling.log;
        let mut bank = edgebank_after(
            bytemuck::cast_slice::<u32, NodeId>(&log.src()[seen.clone()]),
            bytemuck::cast_slice::<u32, NodeId>(&log.dst()[seen]),
        );
        Ok((edgebank_ap(&mut bank, val)?, edgebank_ap(&mut bank, test)?))
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

/// Reads the scores of consecutive batches in one transfer.
fn read_scores(logits: &[Logits]) -> Result<Vec<BatchScores>, TrainError> {
    if logits.is_empty() {
        return Ok(Vec::new());
    }
    let part = |of: fn(&Logits) -> &Tensor<1>| {
        read(Tensor::cat(
            logits.iter().map(|l| of(l).clone()).collect(),
            0,
        ))
    };
    let (positive, negative) = (part(|l| &l.positive)?, part(|l| &l.negative)?);
    let mut start = 0;
    Ok(logits
        .iter()
        .map(|logits| {
            let range = start..start + logits.positive.dims()[0];
            start = range.end;
            (positive[range.clone()].to_vec(), negative[range].to_vec())
        })
        .collect())
}

fn read(tensor: Tensor<1>) -> Result<Vec<f32>, TrainError> {
    let data = tensor
        .try_into_data()
        .map_err(|error| TrainError::Device(format!("{error:?}")))?;
    data.try_to_vec()
        .map_err(|error| TrainError::Device(format!("{error:?}")))
}
