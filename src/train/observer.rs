//! Results of a run, and who is told of them while it runs.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ended::Ended;
use super::error::TrainError;
use super::metrics::{CountsMetrics, EdgeBankMetrics, TestMetrics};
use crate::checkpoint::Arrays;
use crate::eval::{LinkMetrics, Monitor};
use crate::model::tgl_weights::Unread;
use crate::pipeline::StageTimes;
use crate::pipeline::ledger::{Exchanged, LedgerLine};
use crate::pipeline::probe::Probe;
use crate::pipeline::staleness::StaleMemory;
use crate::pipeline::trace::{QueueTotals, Record};

/// Results of an epoch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Mean loss over the training events' batches.
    pub train_loss: f64,
    /// Seconds of training, without evaluation.
    pub train_seconds: f64,
    /// Training events per second.
    pub events_per_s: f64,
    /// Metrics of the validation part.
    pub val: LinkMetrics,
    /// Metrics of the test part with the protocol's own negatives, where asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test: Option<LinkMetrics>,
}

/// Results of a run.
#[derive(Debug, Clone)]
pub struct TrainRecord {
    /// Each epoch.
    pub epochs: Vec<EpochRecord>,
    /// Epoch (from 1) that is best by the run's measure, which the test uses.
    pub best_epoch: usize,
    /// That measure.
    pub monitor: Monitor,
    /// Why training ended.
    pub ended: Ended,
    /// Metrics of the test part.
    pub test: TestMetrics,
    /// The non-learning baseline.
    pub edgebank: EdgeBankMetrics,
    /// The counting baseline.
    pub counts: CountsMetrics,
    /// Time in each stage over all training epochs.
    pub stage_times: StageTimes,
    /// Of these, in `train` until the updated memory was known; zero where that was not told apart.
    pub updater: Duration,
    /// What the device's queue spent in the iterations in which it was measured.
    pub queue: QueueTotals,
    /// Training iterations with each k.
    pub staleness: BTreeMap<usize, usize>,
    /// Of these, those that followed one another though the schedule lets them overlap.
    pub in_turn: usize,
    /// What staleness did to memory, over all training iterations.
    pub stale_memory: StaleMemory,
    /// Pieces of mail that the updater absorbed into the rows that training read.
    pub updater_rows: u64,
    /// Rows that the mitigation corrected in training, if it is one that does.
    pub corrected_rows: Option<u64>,
    /// Time that training waited for its input.
    pub stall: Duration,
    /// What the rank gave to others in training, if there are any.
    pub exchanged: Option<Exchanged>,
    /// The most memory that was taken on a device with a queue, looked at after each part of an epoch;
    /// `None` where it does not tell.
    pub device_bytes: Option<u64>,
    /// Why the trace or the chart of the last epoch is missing, or of an epoch before.
    pub not_written: Option<String>,
}

/// What happens in a run.
#[derive(Clone, Copy)]
pub enum TrainEvent<'a> {
    /// An epoch begins to train.
    EpochBegins {
        /// From 1.
        epoch: usize,
        /// Iterations that it has.
        iterations: usize,
    },
    /// An iteration has run.
    Iteration {
        /// Of the epoch, from 0.
        iteration: usize,
        /// Events of the epoch that are done.
        events: usize,
    },
    /// Losses of consecutive iterations have been read.
    Losses {
        /// Epoch, from 1.
        epoch: usize,
        /// The first of the iterations, from 0.
        first: usize,
        /// A loss per iteration.
        losses: &'a [f32],
    },
    /// Consecutive iterations have been trained: what each read.
    Ledger(&'a [LedgerLine]),
    /// Iterations among them have been compared with memory that is not stale.
    Probed {
        /// Epoch, from 1.
        epoch: usize,
        /// What was found, in order.
        probes: &'a [Probe],
    },
    /// An epoch has been trained: what overlapped, and what each iteration read, since its
    /// beginning or since the run was resumed. An error does not end the run.
    EpochRecorded(&'a Record),
    /// An evaluation begins, of the `validation` or the `test` part.
    EvaluationBegins(&'static str),
    /// An epoch has been trained and validated.
    EpochDone {
        /// From 1.
        epoch: usize,
        /// Its result.
        record: &'a EpochRecord,
    },
    /// Training has ended; the test follows.
    TrainingEnds(&'a Ended),
    /// An epoch is better than all before it. An error does not end the run.
    Best {
        /// From 1.
        epoch: usize,
        /// Its weights.
        weights: &'a [Unread],
    },
    /// The state of the run is to be kept; all that happened before has been told. An error does
    /// not end the run.
    Checkpoint {
        /// Epoch under way, from 1.
        epoch: usize,
        /// Its iterations that are trained.
        iteration: usize,
        /// All that is needed to resume from here.
        state: &'a Arrays<'a>,
    },
    /// Something went wrong that does not end the run.
    Warning(&'a str),
}

/// Is told what happens. An error ends the run, unless the event says otherwise.
pub type Observer<'a> = dyn FnMut(TrainEvent<'_>) -> io::Result<()> + 'a;

/// Tells it, where an error ends the run.
pub(super) fn tell(observer: &mut Observer<'_>, event: TrainEvent<'_>) -> Result<(), TrainError> {
    observer(event).map_err(TrainError::Observer)
}
