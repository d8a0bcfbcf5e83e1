//! What a training gave, and who is told while it runs.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evaluation::{EdgeBankMetrics, TestMetrics};
use crate::checkpoint::{Arrays, CheckpointError, Every};
use crate::eval::LinkMetrics;
use crate::model::tgl_weights::Unread;
use crate::pipeline::StageTimes;
use crate::pipeline::ledger::LedgerLine;
use crate::pipeline::trace::Record;

/// What an epoch gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    #[serde(skip_serializing_if = "Option::is_none", default)]
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
    pub test: TestMetrics,
    /// The non-learning baseline.
    pub edgebank: EdgeBankMetrics,
    /// Time in each stage over all training epochs.
    pub stage_times: StageTimes,
    /// Training iterations with each k.
    pub staleness: BTreeMap<usize, usize>,
    /// Time that training waited for its input.
    pub stall: Duration,
    /// Why the trace or the chart of the last epoch is missing, or of an epoch before.
    pub not_written: Option<String>,
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
    fn losses(&mut self, epoch: usize, first: usize, losses: &[f32]) -> io::Result<()>;

    /// Consecutive iterations have been trained: what each read.
    ///
    /// # Errors
    /// When it can't be written.
    fn ledger(&mut self, _lines: &[LedgerLine]) -> io::Result<()> {
        Ok(())
    }

    /// An epoch has been trained: what overlapped, and what each iteration read, since its
    /// beginning or since the training was resumed.
    ///
    /// # Errors
    /// When it can't be written, which does not end the training.
    fn epoch_recorded(&mut self, record: &Record) -> io::Result<()>;

    /// An evaluation begins.
    fn evaluation_begins(&mut self, part: &str);

    /// An epoch has been trained and validated.
    ///
    /// # Errors
    /// When it can't be written.
    fn epoch_done(&mut self, epoch: usize, record: &EpochRecord) -> io::Result<()>;

    /// An epoch is better than all before it; these are its weights.
    ///
    /// # Errors
    /// When they can't be written, which does not end the training.
    fn best(&mut self, _epoch: usize, _weights: &[Unread]) -> io::Result<()> {
        Ok(())
    }

    /// How often the training hands out its state to be kept.
    fn checkpoint_every(&self) -> Every {
        Every::Never
    }

    /// Keeps the state of the training, in which `iteration` iterations of `epoch` are trained.
    /// All that happened before has been told.
    ///
    /// # Errors
    /// When it can't be kept, which does not end the training.
    fn keep(
        &mut self,
        _epoch: usize,
        _iteration: usize,
        _state: &Arrays<'_>,
    ) -> Result<(), CheckpointError> {
        Ok(())
    }

    /// Something went wrong that does not end the training.
    fn warn(&mut self, _message: &str) {}
}
