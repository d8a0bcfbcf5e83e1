//! The five stages over a stream: training on a part of it, or evaluating on one.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor};
use mspipe_datasets::{EventLog, Stopped};
use thiserror::Error;

use super::divergence::Unsound;
use super::upload;
use super::work::BatchWork;
use crate::batch::{EventBatch, LastWriters, Layout, LayoutRule, MailRouting, MfgScratch};
use crate::eval::metrics::MetricError;
use crate::features::{FeatureRows, Features};
use crate::graph::{EventColumns, EventId, NodeId, Queries, Tcsr};
use crate::memory;
use crate::memory::node_times::FetchedTimes;
use crate::memory::write_back::{Update, WriteBack};
use crate::memory::{FetchedMemory, MemoryCommit, MemoryError, MemoryRequest, MemoryStore};
use crate::model::ModelInput;
use crate::pipeline::Stages;
use crate::sampling::{
    NegativeError, NegativeKey, NegativePool, NeighborSampler, Neighbors, SampleKey, SplitPart,
};

/// Why an iteration failed.
#[derive(Debug, Error)]
pub enum StageError {
    /// Negatives could not be drawn.
    #[error(transparent)]
    Negatives(#[from] NegativeError),
    /// Memory could not be written.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Scores have no rank.
    #[error("evaluation: {0}")]
    Rank(MetricError),
    /// With fixed weights, something is not finite.
    #[error(transparent)]
    Unsound(#[from] Unsound),
    /// It was asked to end, in the middle of what is scored beside a batch.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<MetricError> for StageError {
    fn from(error: MetricError) -> StageError {
        StageError::Rank(error)
    }
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
    /// Whether the events of a batch are hidden from one another, whatever their times (PyG, TGB).
    pub hide_batch: bool,
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
            negatives,
            ..self.again()
        }
    }

    /// The same stream and rules with another sampler.
    pub fn with_sampler(&self, sampler: Arc<dyn NeighborSampler>) -> Sampling {
        Sampling {
            sampler,
            ..self.again()
        }
    }

    /// The same, with scratch tables of its own.
    fn again(&self) -> Sampling {
        Sampling {
            log: self.log.clone(),
            graph: self.graph.clone(),
            sampler: self.sampler.clone(),
            hide_batch: self.hide_batch,
            negatives: self.negatives.clone(),
            features: self.features.clone(),
            layout: self.layout,
            batch_size: self.batch_size,
            seed: self.seed,
            scratch: Mutex::default(),
        }
    }

    /// The stream's columns.
    pub fn columns(&self) -> EventColumns<'_> {
        let log = &*self.log;
        EventColumns {
            src: bytemuck::cast_slice::<u32, NodeId>(log.src()),
            dst: bytemuck::cast_slice::<u32, NodeId>(log.dst()),
            time: log.time(),
        }
    }

    /// Past events of roots that a batch, whose first event is `first`, asks for with its `request`;
    /// `draws` tells apart what is sampled for one batch.
    pub(super) fn past(
        &self,
        roots: Queries<'_>,
        request: u32,
        first: usize,
        (epoch, draws): (u64, u64),
    ) -> Neighbors {
        let hidden_from = self.hide_batch.then_some(EventId(first as u32));
        let key = SampleKey {
            seed: self.seed,
            epoch,
            event: first as u64 | draws << 32,
            request,
        };
        self.sampler.sample(&self.graph, roots, hidden_from, key)
    }

    /// Does `work` with scratch tables that no other thread uses meanwhile.
    pub(super) fn with_scratch<T>(&self, work: impl FnOnce(&mut MfgScratch) -> T) -> T {
        let pool = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = pool().pop();
        let mut scratch = unused.unwrap_or_else(|| MfgScratch::new(self.log.nodes()));
        let result = work(&mut scratch);
        pool().push(scratch);
        result
    }

    /// Edge features of each layer's events and node features of the innermost layer's rows.
    pub(super) fn feature_rows(&self, layout: &Layout) -> LayoutFeatures {
        LayoutFeatures {
            edge: layout
                .layers
                .iter()
                .map(|layer| self.features.edge_rows(&layer.events))
                .collect(),
            node: self.features.node_rows(&layout.innermost().node),
        }
    }

    /// What the model reads of a layout whose memory has been fetched, on `device` (with autodiff
    /// when training), and the edge features of the innermost layer's events.
    pub(super) fn model_input(
        &self,
        layout: &Layout,
        rows: LayoutFeatures,
        fetched: &FetchedMemory,
        device: &Device,
    ) -> (ModelInput, Tensor<2>) {
        let plain = fetched.memory.device();
        let edge = rows.edge.into_iter();
        let edge: Vec<Tensor<2>> = edge
            .map(|edge| upload::feature_rows(edge, &plain))
            .collect();
        let node = (rows.node.width > 0).then(|| upload::feature_rows(rows.node, &plain));
        let input = upload::model_input(layout, fetched, &edge, node, device);
        (input, edge[0].clone())
    }
}

/// Features that a layout needs.
pub(super) struct LayoutFeatures {
    /// Of each layer's events.
    edge: Vec<FeatureRows>,
    node: FeatureRows,
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
        let (events, stream) = (self.batch_events(iteration), sampling.columns());
        let drawn = sampling
            .negatives
            .sample(self.negative_key(), events.clone(), stream)?;
        let batch = EventBatch::cut(events, stream.src, stream.dst, stream.time, drawn.dst);
        Ok(EventBatch {
            neg_src: drawn.src,
            ..batch
        })
    }

    /// What the draws of this pass depend on, besides the event.
    pub(super) fn negative_key(&self) -> NegativeKey {
        NegativeKey {
            seed: self.sampling.seed,
            epoch: self.epoch,
            split: self.part,
        }
    }

    /// Stage 1: cuts and samples the batch of an iteration, and lays it out.
    ///
    /// # Errors
    /// When negatives can't be drawn.
    pub(super) fn sample(&self, iteration: usize) -> Result<Sampled, StageError> {
        let sampling = &*self.sampling;
        let batch = self.batch(iteration)?;
        let sample = |roots: Queries<'_>, request| {
            sampling.past(roots, request, batch.events.start, (self.epoch, 0))
        };
        let layout = sampling
            .with_scratch(|scratch| Layout::build(&batch, &sampling.layout, sample, scratch));
        Ok(Sampled {
            iteration,
            batch,
            layout,
        })
    }

    /// Stage 2: gathers the features of its events and nodes.
    pub(super) fn fetch_features(&self, sampled: Sampled) -> Prepared {
        Prepared {
            rows: self.sampling.feature_rows(&sampled.layout),
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
        let Prepared { sampled, rows } = prepared;
        let Sampled {
            iteration,
            batch,
            layout,
        } = sampled;
        let (input, edge) = self.sampling.model_input(&layout, rows, &fetched, device);
        Fetched {
            iteration,
            batch,
            layout,
            input,
            edge,
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
    rows: LayoutFeatures,
}

impl Prepared {
    /// Bytes of its features.
    pub(super) fn bytes(&self) -> u64 {
        let edge: u64 = self.rows.edge.iter().map(FeatureRows::bytes).sum();
        edge + self.rows.node.bytes()
    }

    /// Features of the batch's own events, `[events, edge width]`.
    pub(super) fn own_edge(&self) -> Vec<f32> {
        self.rows.edge[0].first(self.sampled.batch.src.len())
    }

    /// Hands what the batch asks of the node memory to `fetch`.
    pub(super) fn request<T>(&self, fetch: impl FnOnce(MemoryRequest<'_>) -> T) -> T {
        let Sampled { batch, layout, .. } = &self.sampled;
        fetch(MemoryRequest::of(layout, batch.roots().queries()))
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
    last_writers: LastWriters,
    mail_routing: MailRouting,
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
        let events = self.mail_routing.events();
        let back = WriteBack::new(
            self.last_writers,
            self.mail_routing,
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
        let (last_writers, mail_routing, times, edge) = back.into_parts();
        let table = |values: Vec<f32>, width: usize| {
            let rows = values.len() / width.max(1);
            upload::floats(values, [rows, width], device)
        };
        Trained {
            last_writers,
            mail_routing,
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
        self.work.sees(&prepared.sampled.batch, &*self.memory)?;
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
            last_writers: fetched.layout.last_writers,
            mail_routing: fetched.layout.mail_routing,
            memory,
            edge: fetched.edge,
            times: fetched.times,
        })
    }

    fn update_memory(&mut self, trained: Trained) -> Result<(), StageError> {
        self.memory.commit(MemoryCommit {
            memory: trained.memory,
            edge: trained.edge,
            last_writers: &trained.last_writers,
            mail_routing: &trained.mail_routing,
            times: &trained.times,
        })?;
        Ok(())
    }
}
