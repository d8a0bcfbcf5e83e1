//! What a pass does with a batch on the device: train on it, or evaluate it.

use burn::tensor::{Device, Tensor};

use super::pair_scores::BesideBatch;
use super::stages::StageError;
use super::trainer::{self, Begun, Trainer};
use crate::batch::EventBatch;
use crate::memory::MemoryStore;
use crate::memory::node_times::FetchedTimes;
use crate::model::{LinkModel, Logits, ModelInput};
use crate::pipeline::ledger::AgeHistogram;

/// What a pass does with a batch on the device.
pub trait BatchWork {
    /// Device that the model's input is made on.
    fn input_device(&self) -> &Device;

    /// Is shown the memory that a batch is about to be given.
    ///
    /// # Errors
    /// When what it does with it fails.
    fn sees(&mut self, _batch: &EventBatch, _memory: &dyn MemoryStore) -> Result<(), StageError> {
        Ok(())
    }

    /// Is told of the memory that a batch was given.
    fn saw(&mut self, _times: &FetchedTimes) {}

    /// Trains on a batch or evaluates it, and returns the updated memory of its rows,
    /// `[rows, width]`; `iteration` counts from the pass's start.
    fn run(&mut self, iteration: usize, batch: &EventBatch, input: &ModelInput) -> Tensor<2>;
}

/// Training: forward, backward, step; keeps the losses.
pub struct Training<'a> {
    /// Model and optimiser.
    pub trainer: &'a mut Trainer,
    /// Device with autodiff.
    pub device: &'a Device,
    /// Seed of the dropouts.
    pub seed: u64,
    /// Iterations of earlier epochs, so that no two iterations share a dropout key.
    pub first_iteration: usize,
    /// Losses that were not read from the device yet, `[1]` each.
    pub unread: Vec<Tensor<1>>,
    /// What each iteration read of the memory.
    pub reads: Vec<MemoryRead>,
}

/// What an iteration read of the memory.
#[derive(Debug, Clone)]
pub struct MemoryRead {
    /// Ages of its roots' memory, in the stream's unit.
    pub ages: AgeHistogram,
    /// Rows that the mitigation corrected, if there is one.
    pub corrected: Option<usize>,
}

impl BatchWork for Training<'_> {
    fn input_device(&self) -> &Device {
        self.device
    }

    fn saw(&mut self, times: &FetchedTimes) {
        let mut ages = AgeHistogram::default();
        times.root_age.iter().for_each(|&age| ages.add(age));
        self.reads.push(MemoryRead {
            ages,
            corrected: times.corrected,
        });
    }

    fn run(&mut self, iteration: usize, _batch: &EventBatch, input: &ModelInput) -> Tensor<2> {
        let begun = self.begin(iteration, input);
        let memory = begun.memory();
        self.finish(begun, input);
        memory
    }
}

impl Training<'_> {
    /// The forward pass as far as the updated memory rows.
    pub fn begin(&self, iteration: usize, input: &ModelInput) -> Begun {
        let counter = (self.first_iteration + iteration) as u32;
        self.trainer.begin(input, Some((self.seed, counter)))
    }

    /// The rest of the forward pass, backward and step.
    pub fn finish(&mut self, begun: Begun, input: &ModelInput) {
        let (output, gradients) = self.trainer.backward(begun, input);
        self.trainer.step(gradients);
        self.unread.push(output.loss);
    }
}

/// Evaluation: forward alone; keeps batches and logits.
pub struct Evaluation<'a> {
    /// The model, without autodiff.
    pub model: &'a LinkModel,
    /// Device without autodiff.
    pub device: &'a Device,
    /// Batches with their logits, in order.
    pub scored: Vec<(EventBatch, Logits)>,
    /// Pairs that are scored beside each batch.
    pub beside: BesideBatch<'a>,
}

impl BatchWork for Evaluation<'_> {
    fn input_device(&self) -> &Device {
        self.device
    }

    fn sees(&mut self, batch: &EventBatch, memory: &dyn MemoryStore) -> Result<(), StageError> {
        self.beside.score(batch, memory)
    }

    fn run(&mut self, _iteration: usize, batch: &EventBatch, input: &ModelInput) -> Tensor<2> {
        let output = trainer::evaluate(self.model, input);
        self.scored.push((batch.clone(), output.logits));
        output.memory
    }
}

/// Updates memory and scores nothing.
pub(super) struct Replay<'a> {
    pub(super) model: &'a LinkModel,
    pub(super) device: &'a Device,
}

impl BatchWork for Replay<'_> {
    fn input_device(&self) -> &Device {
        self.device
    }

    fn run(&mut self, _iteration: usize, _batch: &EventBatch, input: &ModelInput) -> Tensor<2> {
        self.model.model.update(input, None)
    }
}
