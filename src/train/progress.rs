//! Where a run stands.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ended::{EndRule, Ended};
use super::iteration::MemoryRead;
use super::observer::EpochRecord;
use crate::eval::LinkMetrics;
use crate::memory::node_memory::NodeMemory;
use crate::memory::write_back::Update;
use crate::model::LinkModel;
use crate::pipeline::StageTimes;
use crate::pipeline::ledger::Exchanged;
use crate::pipeline::staleness::{StaleMemory, StalenessCounter};
use crate::pipeline::trace::{QueueTotals, Record};
use crate::pipeline::turns::Running;

/// Where a run stands.
pub struct Progress {
    /// Epoch under way, from 1.
    pub(super) epoch: usize,
    /// Its iterations that are trained.
    pub(super) iteration: usize,
    /// Their losses.
    pub(super) losses: Vec<f32>,
    /// Seconds spent on them.
    pub(super) train_seconds: f64,
    /// Updates of the last of them that are not applied yet.
    pub(super) unapplied: Vec<Update>,
    /// What staleness does in it.
    pub(super) staleness: StalenessCounter,
    /// Epochs that have ended.
    pub(super) epochs: Vec<EpochRecord>,
    pub(super) totals: Totals,
    pub(super) best: Option<Best>,
}

/// The best state so far.
pub(super) struct Best {
    pub(super) epoch: usize,
    /// Its measure; see [`Monitor`](crate::eval::Monitor).
    pub(super) choice: f64,
    /// Without autodiff.
    pub(super) model: LinkModel,
    /// After validation.
    pub(super) memory: NodeMemory,
}

/// Results of all training epochs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) times: StageTimes,
    /// Of these, in `train` until the updated memory was known.
    #[serde(default)]
    pub(super) updater: Duration,
    #[serde(default)]
    pub(super) queue: QueueTotals,
    pub(super) staleness: BTreeMap<usize, usize>,
    /// Iterations that followed one another, of those where overlap was tried.
    #[serde(default)]
    pub(super) in_turn: usize,
    #[serde(default)]
    pub(super) stale_memory: StaleMemory,
    #[serde(default)]
    pub(super) updater_rows: u64,
    /// If there is a mitigation that corrects some.
    #[serde(default)]
    pub(super) corrected_rows: Option<u64>,
    pub(super) stall: Duration,
    #[serde(default)]
    pub(super) exchanged: Option<Exchanged>,
    /// The most memory that was taken on a device with a queue, as far as it was looked at.
    #[serde(default)]
    pub(super) device_bytes: Option<u64>,
}

impl Default for Progress {
    /// Before the first epoch.
    fn default() -> Progress {
        Progress {
            epoch: 1,
            iteration: 0,
            losses: Vec::new(),
            train_seconds: 0.0,
            unapplied: Vec::new(),
            staleness: StalenessCounter::default(),
            epochs: Vec::new(),
            totals: Totals::default(),
            best: None,
        }
    }
}

impl Progress {
    /// Epoch under way, from 1, and how many of its iterations are trained.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.epoch, self.iteration)
    }

    /// The same, unless nothing is trained yet.
    pub(super) fn place_if_begun(&self) -> Option<(usize, usize)> {
        (self.place() != (1, 0)).then(|| self.place())
    }

    /// Whether an epoch has ended.
    pub(super) fn has_best(&self) -> bool {
        self.best.is_some()
    }

    /// Whether training is over by `rule`, between two epochs.
    pub(super) fn ended(&self, rule: &EndRule, time_is_up: bool) -> Option<Ended> {
        let best = self.best.as_ref()?.epoch;
        match self.iteration {
            0 => rule.after(self.epochs.len(), best, time_is_up),
            _ => None,
        }
    }

    /// The iterations of `record` have been trained, in `time`; `reads` goes into their ledger.
    pub(super) fn trained(
        &mut self,
        record: &mut Record,
        reads: Vec<MemoryRead>,
        unapplied: Vec<Update>,
        time: Duration,
    ) {
        self.iteration = self.losses.len();
        self.unapplied = unapplied;
        self.train_seconds += time.as_secs_f64();
        for (line, read) in record.ledger.iter_mut().zip(reads) {
            *self.totals.staleness.entry(line.k).or_default() += 1;
            self.totals.in_turn += usize::from(line.running == Some(Running::InTurn));
            self.totals.stale_memory.add(&read.stale);
            self.totals.updater_rows += read.updater_rows;
            line.ages = Some(read.ages);
            line.updater_rows = Some(read.updater_rows);
            line.stale_memory = Some(read.stale);
            line.corrected = read.corrected;
            if let Some(rows) = read.corrected {
                *self.totals.corrected_rows.get_or_insert(0) += rows as u64;
            }
        }
        for exchanged in record.ledger.iter().filter_map(|line| line.exchanged) {
            self.totals.exchanged.get_or_insert_default().add(exchanged);
        }
        self.totals.times.add_all(&record.times);
        self.totals.updater += record.updater;
        self.totals.queue.add_all(&record.queue);
        self.totals.stall += record.stall();
    }

    /// Results of the epoch under way, of `events` training events.
    pub(super) fn record(
        &self,
        events: usize,
        (val, test): (LinkMetrics, Option<LinkMetrics>),
    ) -> EpochRecord {
        let losses = self.losses.iter().map(|&loss| f64::from(loss));
        EpochRecord {
            train_loss: losses.sum::<f64>() / self.losses.len().max(1) as f64,
            train_seconds: self.train_seconds,
            events_per_s: events as f64 / self.train_seconds,
            val,
            test,
        }
    }

    /// The epoch has ended; the next one begins.
    pub(super) fn end_epoch(&mut self, record: EpochRecord) {
        self.epochs.push(record);
        self.epoch += 1;
        self.iteration = 0;
        self.losses.clear();
        self.train_seconds = 0.0;
    }
}
