//! The five stages over a stream: training on a part of it, or evaluating on one.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor};
use mspipe_datasets::EventLog;
use thiserror::Error;

use super::upload;
use super::work::BatchWork;
use crate::batch::{Deliveries, EventBatch, Layout, LayoutRule, MfgScratch, Wanted, Winners};
use crate::features::{FeatureRows, Features};
use crate::graph::{NodeId, Tcsr};
use crate::memory;
use crate::memory::clock::FetchedTimes;
use crate::memory::write_back::{Update, WriteBack};
use crate::memory::{FetchedMemory, MemoryCommit, MemoryError, MemoryRequest, MemoryStore};
use crate::model::ModelInput;
use crate::pipeline::Stages;
use crate::sampling::negative::{NegativeError, NegativeKey, SplitPart};
use crate::sampling::{NegativePool, NeighborSampler, Roots, SampleKey};

/// Why an iteration failed.
#[derive(Debug, Error)]
pub enum StageError {
    /// Negatives could not be drawn.
    #[error(transparent)]
    Negatives(#[from] NegativeError),
    /// Memory could not be written.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// What sampling reads: the stream, its graph and the rules of the protocol. Shared by
/// training and evaluation.
pub struct Sampling {
    /// The stream.
    pub log: Arc<EventLog>,
    /// Its events by node.
    pub graph: Arc<Tcsr>,
    /// Which past events a root sees.
    pub sampler: Arc<dyn NeighborSampler>,
    /// Where negatives come from.
    pub negatives: NegativePool,
    /// Node and edge features.
    pub features: Features,
    /// What the model and the protocol ask of a batch's layout.
    pub layout: LayoutRule,
    /// Events of a batch.
    pub batch_size: usize,
    /// Seed of every draw.
    pub seed: u64,
    /// Scratch tables of the layout, one a thread that samples.
    pub scratch: Mutex<Vec<MfgScratch>>,
}

impl Sampling {
    /// The same stream and rules with other negatives.
    pub fn with_negatives(&self, negatives: NegativePool) -> Sampling {
        Sampling {
            log: self.log.clone(),
            graph: self.graph.clone(),
            sampler: self.sampler.clone(),
            negatives,
            features: self.features.clone(),
            layout: self.layout,
            batch_size: self.batch_size,
            seed: self.seed,
            scratch: Mutex::default(),
        }
    }
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

    /// Events of an iteration with their negatives.
    ///
    /// # Errors
    /// When negatives can't be drawn.
    pub fn batch(&self, iteration: usize) -> Result<EventBatch, NegativeError> {
        let sampling = &*self.sampling;
        let events = self.batch_events(iteration);
        let key = NegativeKey {
            seed: sampling.seed,
            epoch: self.epoch,
            split: self.part,
        };
        let negatives = sampling.negatives.sample(key, events.clone())?;
        let log = &*sampling.log;
        Ok(EventBatch::cut(
            events,
            bytemuck::cast_slice::<u32, NodeId>(log.src()),
            bytemuck::cast_slice::<u32, NodeId>(log.dst()),
            log.time(),
            negatives,
        ))
    }

    /// Stage 1: cuts and samples the batch of an iteration, and lays it out.
    ///
    /// # Errors
    /// When negatives can't be drawn.
    pub(super) fn sample(&self, iteration: usize) -> Result<Sampled, StageError> {
        let sampling = &*self.sampling;
        let batch = self.batch(iteration)?;
        let sample = |wanted: Wanted<'_>| {
            let roots = Roots {
                node: wanted.node,
                time: wanted.time,
                hidden_from: None,
            };
            let key = SampleKey {
                seed: sampling.seed,
                epoch: self.epoch,
                event: batch.events.start as u64,
                request: wanted.request,
            };
            sampling.sampler.sample(&sampling.graph, roots, key)
        };
        let pool = || {
            sampling
                .scratch
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let mut scratch = pool()
            .pop()
            .unwrap_or_else(|| MfgScratch::new(sampling.log.nodes()));
        let layout = Layout::build(&batch, &sampling.layout, sample, &mut scratch);
        pool().push(scratch);
        Ok(Sampled {
            iteration,
            batch,
            layout,
        })
    }

    /// Stage 2: gathers the features of its events and nodes.
    pub(super) fn fetch_features(&self, sampled: Sampled) -> Prepared {
        let features = &self.sampling.features;
        let layers = &sampled.layout.layers;
        Prepared {
            edge: layers
                .iter()
                .map(|layer| features.edge_rows(&layer.events))
                .collect(),
            node: features.node_rows(&sampled.layout.innermost().node),
            sampled,
        }
    }

    /// The rest of stage 3: makes tensors of a batch whose memory has been fetched, on
    /// `device` (with autodiff when training).
    pub(super) fn load(
        &self,
        prepared: Prepared,
        fetched: FetchedMemory,
        device: &Device,
    ) -> Fetched {
        let Prepared {
            sampled,
            edge,
            node,
        } = prepared;
        let Sampled {
            iteration,
            batch,
            layout,
        } = sampled;
        let plain = fetched.memory.device();
        let edge: Vec<Tensor<2>> = edge
            .into_iter()
            .map(|edge| upload::feature_rows(edge, &plain))
            .collect();
        let node = (node.width > 0).then(|| upload::feature_rows(node, &plain));
        let input = upload::model_input(&layout, &fetched, &edge, node, device);
        Fetched {
            iteration,
            batch,
            layout,
            input,
            edge: edge[0].clone(),
            times: fetched.times,
        }
    }
}

/// A batch, sampled and laid out.
pub struct Sampled {
    iteration: usize,
    batch: EventBatch,
    layout: Layout,
}

/// A batch with its features.
pub struct Prepared {
    sampled: Sampled,
    /// Edge features of each layer's events.
    edge: Vec<FeatureRows>,
    node: FeatureRows,
}

impl Prepared {
    /// Bytes of its features.
    pub(super) fn bytes(&self) -> u64 {
        let edge: u64 = self.edge.iter().map(FeatureRows::bytes).sum();
        edge + self.node.bytes()
    }

    /// Features of the batch's own events, `[events, edge width]`.
    pub(super) fn own_edge(&self) -> Vec<f32> {
        self.edge[0].first(self.sampled.batch.src.len())
    }

    /// Hands what the batch asks of the node memory to `fetch`.
    pub(super) fn request<T>(&self, fetch: impl FnOnce(MemoryRequest<'_>) -> T) -> T {
        let Sampled { batch, layout, .. } = &self.sampled;
        let rows = layout.innermost();
        let (root, root_time) = batch.roots();
        fetch(MemoryRequest {
            node: &rows.node,
            query_time: &rows.query_time,
            root: &root,
            root_time: &root_time,
            root_row: &layout.root_row,
        })
    }
}

/// A batch with its memory, on the device.
pub struct Fetched {
    pub(super) iteration: usize,
    batch: EventBatch,
    pub(super) layout: Layout,
    pub(super) input: ModelInput,
    /// Edge features of the innermost layer's events, the batch's own first.
    edge: Tensor<2>,
    pub(super) times: FetchedTimes,
}

/// What a batch writes back.
pub struct Trained {
    winners: Winners,
    deliveries: Deliveries,
    memory: Tensor<2>,
    edge: Tensor<2>,
    times: FetchedTimes,
}

impl Trained {
    /// The same on the host.
    ///
    /// # Errors
    /// When the device does not hand it over.
    pub(super) fn into_update(self) -> Result<Update, StageError> {
        let mails = self.deliveries.mails.iter();
        let events = mails.map(|mail| mail[2] as usize + 1).max().unwrap_or(0);
        let back = WriteBack::new(
            self.winners,
            self.deliveries,
            self.times,
            memory::read(self.edge.slice(0..events))?,
            self.memory.dims()[0],
        );
        let rows = memory::read(back.select(self.memory))?;
        Ok(Update { back, rows })
    }

    /// The same on `device`; a memory row has `width` numbers.
    pub(super) fn of(update: Update, width: usize, edge_width: usize, device: &Device) -> Trained {
        let Update { back, rows } = update;
        let (winners, deliveries, times, edge) = back.into_parts();
        let table = |values: Vec<f32>, width: usize| {
            let rows = values.len() / width.max(1);
            upload::floats(values, [rows, width], device)
        };
        Trained {
            winners,
            deliveries,
            memory: table(rows, width),
            edge: table(edge, edge_width),
            times,
        }
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
        pass.sample(iteration)
    }

    fn fetch_features(pass: &Pass, sampled: Sampled) -> Result<Prepared, StageError> {
        Ok(pass.fetch_features(sampled))
    }

    fn prepared_bytes(prepared: &Prepared) -> u64 {
        prepared.bytes()
    }

    fn fetch_memory(&mut self, prepared: Prepared) -> Result<Fetched, StageError> {
        let fetched = prepared.request(|request| self.memory.fetch(request));
        let device = self.work.input_device();
        Ok(self.pass.load(prepared, fetched, device))
    }

    fn train(&mut self, fetched: Fetched) -> Result<Trained, StageError> {
        self.work.saw(&fetched.times);
        let memory = self
            .work
            .run(fetched.iteration, &fetched.batch, &fetched.input);
        Ok(Trained {
            winners: fetched.layout.winners,
            deliveries: fetched.layout.deliveries,
            memory,
            edge: fetched.edge,
            times: fetched.times,
        })
    }

    fn update_memory(&mut self, trained: Trained) -> Result<(), StageError> {
        self.memory.commit(MemoryCommit {
            memory: trained.memory,
            edge: trained.edge,
            winners: &trained.winners,
            deliveries: &trained.deliveries,
            times: &trained.times,
        })?;
        Ok(())
    }
}
