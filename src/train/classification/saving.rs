//! A classification as the arrays of a checkpoint, and back.
//!
//! | arrays | what they hold |
//! |---|---|
//! | `state` | how far it is, metrics of ended epochs, steps of the optimiser as CBOR |
//! | `rows` | embeddings of the labelled events so far |
//! | `model.*`, `memory.*` | the encoder and its memory, until all events are embedded |
//! | `classifier.*`, `adam.first.*`, `adam.second.*` | parameters and moments, once all are |
//! | `best.classifier.*` | of the best epoch so far |
//! | `losses` | of the epoch under way |
//!
//! Invariant: numbers are moved, never computed.

use std::io;

use burn::module::Module;
use serde::{Deserialize, Serialize};

use super::classifier::NamedNumbers;
use super::{Best, Classification, ClassificationError, ClassifierEpoch, Training};
use crate::checkpoint::{Arrays, Checkpoint};
use crate::memory::saved::SavedMemory;
use crate::model::tgl_weights::{self, Unread};
use crate::train::error::EvalError;
use crate::train::optimizer::{Moments, Optimizer, OptimizerRule};
use crate::train::saving::{ResumeError, put_tensors, take_model};

/// What is no array.
#[derive(Serialize, Deserialize)]
struct State {
    /// Batches that are embedded.
    embedded: usize,
    /// Numbers of a row.
    width: usize,
    /// Epochs of the classifier that have ended; None while events are embedded.
    epochs: Option<Vec<ClassifierEpoch>>,
    /// Batches of the epoch under way that are trained.
    batch: usize,
    best: Option<usize>,
    steps: u32,
    learning_rate: f64,
}

/// The state of a classification, of which the encoder's weights are still on the device.
pub(super) struct Saved<'a> {
    state: Vec<u8>,
    rows: &'a [f32],
    shape: [usize; 2],
    losses: &'a [f32],
    classifiers: Vec<NamedNumbers>,
    encoder: Option<(Vec<Unread>, SavedMemory<'a>)>,
}

impl Saved<'_> {
    /// Its arrays.
    pub(super) fn arrays(&self) -> Arrays<'_> {
        let mut arrays = Arrays::default();
        arrays.put_column("state", self.state.as_slice());
        arrays.put("rows", &self.shape, self.rows);
        arrays.put_column("losses", self.losses);
        for numbers in &self.classifiers {
            arrays.put(numbers.name.as_str(), &numbers.shape, &numbers.values);
        }
        if let Some((model, memory)) = &self.encoder {
            put_tensors(&mut arrays, "model.", model);
            memory.put(&mut arrays, "memory.");
        }
        arrays
    }
}

impl Classification {
    /// All that is needed to resume from here.
    pub(super) fn save(&self) -> Result<Saved<'_>, ClassificationError> {
        let device_failed = |error: &dyn std::fmt::Display| EvalError::Device(error.to_string());
        let training = self.training.as_ref();
        let rule = training.map(|training| training.optimizer.rule().learning_rate.peak);
        let state = State {
            embedded: self.encoder.batches,
            width: self.rows.width,
            epochs: training.map(|training| training.epochs.clone()),
            batch: training.map_or(0, |training| training.batch),
            best: training.and_then(|training| training.best.as_ref().map(|best| best.epoch)),
            steps: training.map_or(0, |training| training.optimizer.steps()),
            learning_rate: rule.unwrap_or(self.config.learning_rate),
        };
        let mut cbor = Vec::new();
        ciborium::into_writer(&state, &mut cbor)
            .map_err(|error| ClassificationError::Observer(io::Error::other(error.to_string())))?;
        let mut classifiers = Vec::new();
        if let Some(training) = training {
            let Moments { first, second } = training.optimizer.moments(&training.classifier);
            classifiers.extend(training.classifier.numbers("classifier.")?);
            classifiers.extend(first.numbers("adam.first.")?);
            classifiers.extend(second.numbers("adam.second.")?);
            if let Some(best) = &training.best {
                classifiers.extend(best.classifier.numbers("best.classifier.")?);
            }
        }
        let encoder = match training {
            Some(_) => None,
            None => Some((
                tgl_weights::unread(&self.encoder.model).map_err(|error| device_failed(&error))?,
                (self.encoder.memory.save()).map_err(|error| device_failed(&error))?,
            )),
        };
        let rows = self.rows.values.len() / self.rows.width.max(1);
        Ok(Saved {
            state: cbor,
            rows: &self.rows.values,
            shape: [rows, self.rows.width],
            losses: training.map_or(&[], |training| training.losses.as_slice()),
            classifiers,
            encoder,
        })
    }

    /// Continues from `checkpoint`, which a classification with the same settings wrote.
    ///
    /// # Errors
    /// When its arrays are not those of such a run; nothing is to be classified then.
    pub(crate) fn resume(&mut self, checkpoint: Checkpoint) -> Result<(), ResumeError> {
        let contradicts = || ResumeError::State("its numbers contradict one another".to_owned());
        let mut arrays = checkpoint.arrays;
        let cbor: Vec<u8> = arrays.take_column("state")?;
        let state: State = ciborium::from_reader(cbor.as_slice())
            .map_err(|error| ResumeError::State(error.to_string()))?;
        let (shape, values) = arrays.take::<f32>("rows")?;
        let expected = match state.epochs {
            Some(_) => self.labels.events.len(),
            None => self.labels.among(&(0..self.events_of(state.embedded))).end,
        };
        if shape != [expected, state.width] || values.len() != expected * state.width {
            return Err(contradicts());
        }
        (self.rows.values, self.rows.width) = (values, state.width);
        self.encoder.batches = state.embedded;
        self.config.learning_rate = state.learning_rate;
        let Some(epochs) = &state.epochs else {
            self.encoder.model = take_model(&mut arrays, "model.", &self.encoder.model)?;
            let memory = &mut arrays.take_group("memory.");
            return Ok(self.encoder.memory.restore(memory)?);
        };
        if state.batch > self.epoch_batches(epochs.len() as u64 + 1)
            || state
                .best
                .is_some_and(|best| best == 0 || best > epochs.len())
        {
            return Err(contradicts());
        }
        self.training = Some(self.resumed_training(&mut arrays, &state, epochs)?);
        Ok(())
    }

    fn resumed_training(
        &self,
        arrays: &mut Arrays<'_>,
        state: &State,
        epochs: &[ClassifierEpoch],
    ) -> Result<Training, ResumeError> {
        let fresh = self.new_training().classifier;
        let classifier = fresh.with_numbers(arrays, "classifier.")?;
        let moments = Moments {
            first: fresh.with_numbers(arrays, "adam.first.")?,
            second: fresh.with_numbers(arrays, "adam.second.")?,
        };
        let best = match state.best {
            Some(epoch) => Some(Best {
                epoch,
                val: epochs[epoch - 1].val,
                classifier: fresh.valid().with_numbers(arrays, "best.classifier.")?,
            }),
            None => None,
        };
        let rule = OptimizerRule::adam(state.learning_rate);
        Ok(Training {
            classifier,
            optimizer: Optimizer::resume(rule, state.steps, &moments),
            epochs: epochs.to_vec(),
            batch: state.batch,
            losses: arrays.take_shaped("losses", &[state.batch])?,
            best,
        })
    }
}
