//! All of a run as the arrays of a checkpoint, and back.
//!
//! | arrays | what they hold |
//! |---|---|
//! | `state` | epoch, iteration, metrics of ended epochs, k, steps of the optimiser … as CBOR |
//! | `model.*`, `adam.first.*`, `adam.second.*` | parameters and moments by TGL's names |
//! | `memory.*` | node memory: rows, mail, times, slots |
//! | `pair_history.*` | how pair histories are encoded, if the model reads them |
//! | `losses` | of the epoch under way |
//! | `staleness.*` | mail of each node and what of it updates have absorbed, in the middle of an epoch |
//! | `unapplied.N.*` | updates that no iteration was to see yet |
//! | `best.model.*`, `best.memory.*` | of the best epoch so far |
//!
//! Invariant: numbers are moved, never computed. Floats that are no tensors are CBOR, since
//! reading JSON may round them. Random numbers need no state: they are drawn by seed, epoch
//! and event.

use std::collections::BTreeMap;
use std::io;

use burn::module::Module;
use bytemuck::cast_slice;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::epochs::TrainLoop;
use super::error::{TrainError, device_failed};
use super::histories;
use super::observer::EpochRecord;
use super::optimizer::{Moments, Optimizer};
use super::progress::{Best, Progress, Totals};
use super::trainer::Trainer;
use crate::checkpoint::{Arrays, Checkpoint, Unfit};
use crate::memory::MemoryStore as _;
use crate::memory::saved::SavedMemory;
use crate::memory::write_back::{Bounds, Update};
use crate::model::LinkModel;
use crate::model::tgl_weights::{self, NamedTensor, Unread, WeightError};
use crate::pipeline::staleness::{SavedStaleness, StalenessCounter};

/// What is no array.
#[derive(Serialize, Deserialize)]
struct State {
    epoch: usize,
    iteration: usize,
    train_seconds: f64,
    epochs: Vec<EpochRecord>,
    totals: Totals,
    best: Option<(usize, f64)>,
    unapplied: usize,
    k: usize,
    steps: u32,
    /// The optimiser's numbers, which reading `config.json` may round; the rest of its rule is exact
    /// there.
    learning_rate: f64,
    #[serde(default)]
    weight_decay: f64,
    #[serde(default)]
    clip_norm: Option<f64>,
}

/// Why a run can't be continued from a checkpoint.
#[derive(Debug, Error)]
pub enum ResumeError {
    /// Arrays are not those of this run.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Parameters or moments are not of this model.
    #[error("its '{group}': {error}")]
    Weights {
        /// Which arrays.
        group: &'static str,
        /// What is wrong.
        error: WeightError,
    },
    /// The encoding of pair histories is not one.
    #[error("{0}")]
    PairHistory(String),
    /// The state can't be read.
    #[error("its array 'state' can't be read: {0}")]
    State(String),
}

/// The highest learning rate of the run whose checkpoint has these arrays: whoever resumes it keeps it. None where the
/// state can't be read.
pub(crate) fn learning_rate_of(arrays: &Arrays<'_>) -> Option<f64> {
    let state = State::read(&arrays.bytes_of("state")?);
    state.ok().map(|state| state.learning_rate)
}

impl State {
    fn read(cbor: &[u8]) -> Result<State, ResumeError> {
        ciborium::from_reader(cbor).map_err(|error| ResumeError::State(error.to_string()))
    }
}

/// The state of a run, of which weights and moments are still on the device.
pub(super) struct Saved<'a> {
    state: Vec<u8>,
    constants: BTreeMap<String, NamedTensor>,
    losses: &'a [f32],
    unapplied: &'a [Update],
    staleness: Option<SavedStaleness>,
    memory: SavedMemory<'a>,
    model: Vec<Unread>,
    moments: [Vec<Unread>; 2],
    best: Option<(Vec<Unread>, SavedMemory<'a>)>,
}

impl Saved<'_> {
    /// Its arrays.
    pub(super) fn arrays(&self) -> Arrays<'_> {
        let mut arrays = Arrays::default();
        arrays.put_column("state", self.state.as_slice());
        arrays.put_column("losses", self.losses);
        for (name, tensor) in &self.constants {
            arrays.put(name, &tensor.shape, &tensor.values);
        }
        if let Some(staleness) = &self.staleness {
            arrays.put_column("staleness.kept", staleness.kept.as_slice());
            arrays.put_column("staleness.unabsorbed", staleness.unabsorbed.as_slice());
            arrays.put_column("staleness.mail", staleness.mail.as_slice());
        }
        for (number, update) in self.unapplied.iter().enumerate() {
            update.put(&mut arrays, &format!("unapplied.{number}."));
        }
        self.memory.put(&mut arrays, "memory.");
        put_tensors(&mut arrays, "model.", &self.model);
        put_tensors(&mut arrays, "adam.first.", &self.moments[0]);
        put_tensors(&mut arrays, "adam.second.", &self.moments[1]);
        if let Some((model, memory)) = &self.best {
            put_tensors(&mut arrays, "best.model.", model);
            memory.put(&mut arrays, "best.memory.");
        }
        arrays
    }
}

pub(super) fn put_tensors<'a>(arrays: &mut Arrays<'a>, prefix: &str, tensors: &'a [Unread]) {
    for tensor in tensors {
        let name = format!("{prefix}{}", tensor.name());
        let read = || tensor.read().map_err(io::Error::other);
        arrays.put_made(name, tensor.shape(), read);
    }
}

/// `model` with the tensors of the group `prefix`.
pub(super) fn take_model(
    arrays: &mut Arrays<'_>,
    prefix: &'static str,
    model: &LinkModel,
) -> Result<LinkModel, ResumeError> {
    let mut group = arrays.take_group(prefix);
    let names: Vec<String> = group.names().map(str::to_owned).collect();
    let mut tensors = BTreeMap::new();
    for name in names {
        let (shape, values) = group.take(&name)?;
        tensors.insert(name, NamedTensor { shape, values });
    }
    let group = prefix.trim_end_matches('.');
    tgl_weights::load(model.clone(), &tensors)
        .map_err(|error| ResumeError::Weights { group, error })
}

impl TrainLoop {
    /// All that is needed to resume from here.
    pub(super) fn save(&self) -> Result<Saved<'_>, TrainError> {
        let progress = &self.progress;
        let optimizer = self.trainer.optimizer();
        let applied = self.memory.version() as usize;
        let state = State {
            epoch: progress.epoch,
            iteration: progress.iteration,
            train_seconds: progress.train_seconds,
            epochs: progress.epochs.clone(),
            totals: progress.totals.clone(),
            best: progress.best.as_ref().map(|best| (best.epoch, best.choice)),
            unapplied: progress.unapplied.len(),
            k: self.scheduler.k(),
            steps: optimizer.steps(),
            learning_rate: optimizer.rule().learning_rate.peak,
            weight_decay: optimizer.rule().weight_decay,
            clip_norm: optimizer.rule().clip_norm,
        };
        let mut cbor = Vec::new();
        ciborium::into_writer(&state, &mut cbor)
            .map_err(|error| TrainError::Observer(std::io::Error::other(error.to_string())))?;
        let export = |model: &LinkModel| tgl_weights::unread(model).map_err(device_failed);
        let Moments { first, second } = optimizer.moments(self.trainer.model());
        let best = match &progress.best {
            Some(best) => Some((
                export(&best.model)?,
                best.memory.save().map_err(device_failed)?,
            )),
            None => None,
        };
        Ok(Saved {
            state: cbor,
            constants: self.evaluator.sampling().constants(),
            losses: &progress.losses,
            unapplied: &progress.unapplied,
            staleness: (progress.iteration > 0).then(|| progress.staleness.saved(applied)),
            memory: self.memory.save().map_err(device_failed)?,
            model: export(self.trainer.model())?,
            moments: [export(&first)?, export(&second)?],
            best,
        })
    }

    /// What staleness had done in the epoch of `state`, whose `unapplied` updates wait, with the
    /// memory as it was then.
    fn resumed_staleness(
        &self,
        arrays: &mut Arrays<'_>,
        state: &State,
        unapplied: &[Update],
    ) -> Result<StalenessCounter, Unfit> {
        if state.iteration == 0 {
            return Ok(StalenessCounter::default());
        }
        let times = self.memory.node_times();
        let nodes = [times.last_update().len()];
        let mail: Vec<i64> = arrays.take_shaped("staleness.mail", &[2])?;
        let saved = SavedStaleness {
            kept: arrays.take_shaped("staleness.kept", &nodes)?,
            unabsorbed: arrays.take_shaped("staleness.unabsorbed", &nodes)?,
            mail: [mail[0], mail[1]],
        };
        let applied = self.memory.version() as usize;
        let mut counter = StalenessCounter::resume(times.rule().mail_slots, applied, saved);
        for update in unapplied {
            let [written, mailed] = update.nodes();
            counter.resume_unapplied(cast_slice(written), cast_slice(mailed));
        }
        Ok(counter)
    }

    /// Continues from `checkpoint`, which a run with the same settings wrote.
    ///
    /// # Errors
    /// When its arrays are not those of such a run; nothing is to be trained then.
    pub fn resume(&mut self, checkpoint: Checkpoint) -> Result<(), ResumeError> {
        let mut arrays = checkpoint.arrays;
        let cbor: Vec<u8> = arrays.take_column("state")?;
        let state = State::read(&cbor)?;
        let histories = &self.evaluator.sampling().histories;
        if histories.read {
            let encoding = histories::take_saved(&mut arrays)?;
            histories.give(encoding.map_err(ResumeError::PairHistory)?);
        }
        let fresh = self.trainer.model();
        let model = take_model(&mut arrays, "model.", fresh)?;
        let moments = Moments {
            first: take_model(&mut arrays, "adam.first.", fresh)?,
            second: take_model(&mut arrays, "adam.second.", fresh)?,
        };
        let best = match state.best {
            Some((epoch, choice)) => {
                let mut memory = self.memory.clone();
                memory.restore(&mut arrays.take_group("best.memory."))?;
                Some(Best {
                    epoch,
                    choice,
                    model: take_model(&mut arrays, "best.model.", &fresh.valid())?,
                    memory,
                })
            }
            None => None,
        };
        self.memory.restore(&mut arrays.take_group("memory."))?;
        let bounds = Bounds {
            nodes: self.evaluator.sampling().log.nodes(),
            width: self.memory.width(),
            edge_width: self.evaluator.sampling().features.edge_width(),
            trends: self.trainer.model().pres.is_some(),
            catch_up: self.memory.node_times().rule().catch_up,
        };
        let mut unapplied = Vec::new();
        for number in 0..state.unapplied {
            let mut update = arrays.take_group(&format!("unapplied.{number}."));
            unapplied.push(Update::take(&mut update, bounds)?);
        }
        let staleness = self.resumed_staleness(&mut arrays, &state, &unapplied)?;
        let losses = arrays.take_shaped("losses", &[state.iteration])?;
        if state.epoch == 0
            || state.epochs.len() + 1 != state.epoch
            || unapplied.len() > losses.len()
        {
            let reason = "epochs, iterations and updates contradict one another";
            return Err(ResumeError::State(reason.to_owned()));
        }
        let mut rule = self.trainer.optimizer().rule();
        rule.learning_rate.peak = state.learning_rate;
        rule.weight_decay = state.weight_decay;
        rule.clip_norm = state.clip_norm;
        let optimizer = Optimizer::resume(rule, state.steps, &moments);
        self.trainer = Trainer::resume(model, optimizer);
        self.scheduler.resume(state.k);
        self.progress = Progress {
            epoch: state.epoch,
            iteration: state.iteration,
            losses,
            train_seconds: state.train_seconds,
            unapplied,
            staleness,
            epochs: state.epochs,
            totals: state.totals,
            best,
        };
        Ok(())
    }
}
