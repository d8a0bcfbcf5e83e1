//! The five stages over a stream: training on a part of it, or evaluating on one.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mspipe_datasets::EventLog;
use thiserror::Error;

use super::trainer::{self, BatchOutput, Trainer};
use super::upload;
use crate::batch::{EventBatch, Mfg, MfgScratch, TimeDelta, Winners};
use crate::features::Features;
use crate::graph::{NodeId, Tcsr};
use crate::memory::clock::FetchedTimes;
use crate::memory::{MemoryCommit, MemoryStore};
use crate::model::{LinkModel, Logits, MemoryModel, ModelInput};
use crate::pipeline::Stages;
use crate::sampling::negative::{NegativeError, NegativeKey, SplitPart};
use crate::sampling::{NegativePool, NeighborSampler, Roots, SampleKey};

/// Why an iteration failed.
#[derive(Debug, Error)]
pub enum StageError {
    /// Negatives could not be drawn.
    #[error(transparent)]
    Negatives(#[from] NegativeError),
}

/// What sampling reads: the stream, its graph and the rules of the protocol. Shared by
/// training and evaluation.
pub struct Sampling {
    /// The stream.
    pub log: Arc<EventLog>,
    /// Its events by node.
    pub graph: Tcsr,
    /// Which past events a root sees.
    pub sampler: Box<dyn NeighborSampler>,
    /// Where negatives come from.
    pub negatives: NegativePool,
    /// Node and edge features.
    pub features: Features,
    /// What a row of the memory updater is.
    pub time_delta: TimeDelta,
    /// Events of a batch.
    pub batch_size: usize,
    /// Seed of every draw.
    pub seed: u64,
    /// Scratch tables of the layout, one a thread that samples.
    pub scratch: Mutex<Vec<MfgScratch>>,
}

/// A pass over a part of the stream: what the host stages read.
#[derive(Clone)]
pub struct Pass {
    /// Stream, graph and rules.
    pub sampling: Arc<Sampling>,
    /// Events of the pass.
    pub events: Range<usize>,
    /// Which part they are.
    pub part: SplitPart,
    /// Epoch; 0 in evaluation.
    pub epoch: u64,
}

impl Pass {
    /// Iterations of the pass.
    pub fn iterations(&self) -> usize {
        self.events.len().div_ceil(self.sampling.batch_size)
    }

    /// Events of an iteration.
    pub fn batch_events(&self, iteration: usize) -> Range<usize> {
        let start = self.events.start + iteration * self.sampling.batch_size;
        start..(start + self.sampling.batch_size).min(self.events.end)
    }
}

/// A batch, sampled and laid out.
pub struct Sampled {
    iteration: usize,
    batch: EventBatch,
    mfg: Mfg,
    winners: Winners,
}

/// A batch with its features.
pub struct Prepared {
    sampled: Sampled,
    edge: Vec<f32>,
    node: Vec<f32>,
}

/// A batch with its memory, on the device.
pub struct Fetched {
    iteration: usize,
    batch: EventBatch,
    winners: Winners,
    input: ModelInput,
    edge: Tensor<2>,
    times: FetchedTimes,
}

/// What a batch writes back.
pub struct Trained {
    winners: Winners,
    memory: Tensor<2>,
    edge: Tensor<2>,
    times: FetchedTimes,
}

/// What a pass does with a batch on the device.
pub trait BatchWork {
    /// Device that the model's input is made on.
    fn input_device(&self) -> &Device;

    /// Trains on a batch or evaluates it; `iteration` counts from the pass's start.
    fn run(&mut self, iteration: usize, batch: &EventBatch, input: &ModelInput) -> BatchOutput;
}

/// Training: forward, backward, step; keeps the losses.
pub struct Training<'a, M: MemoryModel> {
    /// Model and optimiser.
    pub trainer: &'a mut Trainer<M>,
    /// Device with autodiff.
    pub device: &'a Device,
    /// Seed of the dropouts.
    pub seed: u64,
    /// Iterations of earlier epochs, so that no two iterations share a dropout key.
    pub first_iteration: usize,
    /// Losses that were not read from the device yet, `[1]` each.
    pub losses: Vec<Tensor<1>>,
}

impl<M: MemoryModel> BatchWork for Training<'_, M> {
    fn input_device(&self) -> &Device {
        self.device
    }

    fn run(&mut self, iteration: usize, _batch: &EventBatch, input: &ModelInput) -> BatchOutput {
        let counter = (self.first_iteration + iteration) as u32;
        let (output, gradients) = self.trainer.backward(input, Some((self.seed, counter)));
        self.trainer.step(gradients);
        self.losses.push(output.loss.clone());
        output
    }
}

/// Evaluation: forward alone; keeps batches and logits.
pub struct Evaluation<'a, M: Module> {
    /// The model, without autodiff.
    pub model: &'a LinkModel<M>,
    /// Device without autodiff.
    pub device: &'a Device,
    /// Batches with their logits, in order.
    pub scored: Vec<(EventBatch, Logits)>,
}

impl<M: MemoryModel> BatchWork for Evaluation<'_, M> {
    fn input_device(&self) -> &Device {
        self.device
    }

    fn run(&mut self, _iteration: usize, batch: &EventBatch, input: &ModelInput) -> BatchOutput {
        let output = trainer::evaluate(self.model, input);
        self.scored.push((batch.clone(), output.logits.clone()));
        output
    }
}

/// The stages of a pass.
pub struct PassStages<'a, W> {
    /// What to go over.
    pub pass: &'a Pass,
    /// Node memory.
    pub memory: &'a mut dyn MemoryStore,
    /// What to do with a batch.
    pub work: W,
}

impl<W: BatchWork> Stages for PassStages<'_, W> {
    type Host = Pass;
    type Sampled = Sampled;
    type Prepared = Prepared;
    type Fetched = Fetched;
    type Trained = Trained;
    type Error = StageError;

    fn host(&self) -> &Pass {
        self.pass
    }

    fn sample(pass: &Pass, iteration: usize) -> Result<Sampled, StageError> {
        let sampling = &*pass.sampling;
        let events = pass.batch_events(iteration);
        let key = NegativeKey {
            seed: sampling.seed,
            epoch: pass.epoch,
            split: pass.part,
        };
        let negatives = sampling.negatives.sample(key, events.clone())?;
        let log = &*sampling.log;
        let batch = EventBatch::cut(
            events.clone(),
            bytemuck::cast_slice::<u32, NodeId>(log.src()),
            bytemuck::cast_slice::<u32, NodeId>(log.dst()),
            log.time(),
            negatives,
        );
        let (node, time) = batch.roots();
        let roots = Roots {
            node: &node,
            time: &time,
            hidden_from: None,
        };
        let key = SampleKey {
            seed: sampling.seed,
            epoch: pass.epoch,
            event: events.start as u64,
        };
        let neighbors = sampling.sampler.sample(&sampling.graph, roots, key);
        let pool = || {
            sampling
                .scratch
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let mut scratch = pool().pop().unwrap_or_else(|| MfgScratch::new(log.nodes()));
        let mfg = Mfg::build(
            &batch,
            &neighbors,
            sampling.time_delta,
            log.ticks_per_unit(),
            &mut scratch,
        );
        pool().push(scratch);
        let winners = Winners::of(&batch, &mfg);
        Ok(Sampled {
            iteration,
            batch,
            mfg,
            winners,
        })
    }

    fn fetch_features(pass: &Pass, sampled: Sampled) -> Result<Prepared, StageError> {
        let features = &pass.sampling.features;
        Ok(Prepared {
            edge: features.edge_rows(&sampled.mfg.events),
            node: features.node_rows(&sampled.mfg.node),
            sampled,
        })
    }

    fn fetch_memory(&mut self, prepared: Prepared) -> Result<Fetched, StageError> {
        let Prepared {
            sampled,
            edge,
            node,
        } = prepared;
        let mfg = &sampled.mfg;
        let fetched = self.memory.fetch(&mfg.node, &mfg.query_time);
        let plain = fetched.memory.device();
        let features = &self.pass.sampling.features;
        let edge = upload::floats(edge, [mfg.events.len(), features.edge_width()], &plain);
        let node_width = features.node_width();
        let node = (node_width > 0).then(|| upload::floats(node, [mfg.rows(), node_width], &plain));
        let device = self.work.input_device();
        let input = upload::model_input(mfg, &fetched, edge.clone(), node, device);
        Ok(Fetched {
            iteration: sampled.iteration,
            batch: sampled.batch,
            winners: sampled.winners,
            input,
            edge,
            times: fetched.times,
        })
    }

    fn train(&mut self, fetched: Fetched) -> Result<Trained, StageError> {
        let output = self
            .work
            .run(fetched.iteration, &fetched.batch, &fetched.input);
        Ok(Trained {
            winners: fetched.winners,
            memory: output.memory,
            edge: fetched.edge,
            times: fetched.times,
        })
    }

    fn update_memory(&mut self, trained: Trained) -> Result<(), StageError> {
        self.memory.commit(MemoryCommit {
            memory: trained.memory,
            edge: trained.edge,
            winners: &trained.winners,
            times: &trained.times,
        });
        Ok(())
    }
}
