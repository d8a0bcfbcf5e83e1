//! A pass over a part of the stream: its batches, and the rules of sampling that training and
//! evaluation share.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor};

use super::histories::{Histories, Limits};
use super::stream::Stream;
use super::upload::{PackedBatch, PackedLayout};
use crate::batch::{EventBatch, Layout, LayoutRule, MfgScratch};
use crate::features::{BatchRows, Features};
use crate::graph::{EventColumns, EventId, Queries, Tcsr};
use crate::kernels::packing::Packing;
use crate::memory::FetchedMemory;
use crate::memory::node_times::FetchedTimes;
use crate::model::ModelInput;
use crate::sampling::{
    NegativeError, NegativeKey, NegativePool, NeighborSampler, Neighbors, SampleKey, SplitPart,
};

/// What sampling reads: the stream, its graph and the rules of the protocol. Shared by
/// training and evaluation.
pub struct Sampling {
    /// The stream.
    pub log: Stream,
    /// Its events by node.
    pub graph: Arc<Tcsr>,
    /// Which past events a root sees.
    pub sampler: Arc<dyn NeighborSampler>,
    /// Whether the events of a batch are hidden from one another, whatever their times (PyG, TGB).
    pub hide_batch: bool,
    /// Where negatives come from, in evaluation.
    pub negatives: NegativePool,
    /// Where those of training come from, if elsewhere.
    pub train_negatives: Option<NegativePool>,
    /// Node and edge features.
    pub features: Features,
    /// What the model and the protocol ask of a batch's layout.
    pub layout: LayoutRule,
    /// Events per batch.
    pub batch_size: usize,
    /// Seed of every draw of training.
    pub seed: u64,
    /// Pair histories, as far as they are asked for.
    pub histories: Arc<Histories>,
    /// Seed of every draw of evaluation.
    pub eval_seed: u64,
    /// Scratch tables of the layout, one per thread that samples.
    pub scratch: Mutex<Vec<MfgScratch>>,
}

impl Sampling {
    /// The same stream and rules with other negatives.
    pub(crate) fn with_negatives(&self, negatives: NegativePool) -> Sampling {
        Sampling {
            negatives,
            ..self.again()
        }
    }

    /// The same stream and rules with another sampler.
    pub(crate) fn with_sampler(&self, sampler: Arc<dyn NeighborSampler>) -> Sampling {
        Sampling {
            sampler,
            ..self.again()
        }
    }

    /// The same stream and rules with room on `device` (without autodiff) for so many `slots` of the `rows` of edge
    /// and of node features.
    pub(crate) fn with_features_on(
        &self,
        rows: [usize; 2],
        slots: [usize; 2],
        device: &Device,
    ) -> Sampling {
        Sampling {
            features: self.features.clone().on_device(rows, slots, device),
            ..self.again()
        }
    }

    /// The same stream and rules, but pair histories see what `limits` says.
    pub(crate) fn with_history_limits(&self, limits: Limits) -> Sampling {
        Sampling {
            histories: Arc::new(self.histories.seen_by(limits)),
            ..self.again()
        }
    }

    /// The same stream and rules for what scores no pair: pair histories are not read.
    pub(super) fn without_histories(&self) -> Sampling {
        Sampling {
            histories: Arc::new(self.histories.unread()),
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
            train_negatives: self.train_negatives.clone(),
            features: self.features.clone(),
            layout: self.layout,
            batch_size: self.batch_size,
            seed: self.seed,
            histories: self.histories.clone(),
            eval_seed: self.eval_seed,
            scratch: Mutex::default(),
        }
    }

    /// The stream's columns.
    pub(crate) fn columns(&self) -> EventColumns<'_> {
        self.log.columns()
    }

    /// The seed that draws of `epoch` depend on; 0 is evaluation.
    fn seed_of(&self, epoch: u64) -> u64 {
        match epoch {
            0 => self.eval_seed,
            _ => self.seed,
        }
    }

    /// Past events of roots that a batch, whose first event is `first`, asks for with its `request`.
    /// What is drawn for a root depends on nothing else, so that pairs beside a batch see what its
    /// own events see.
    pub(super) fn past(
        &self,
        roots: Queries<'_>,
        request: u32,
        first: usize,
        epoch: u64,
    ) -> Neighbors {
        let hidden_from = self.hide_batch.then_some(EventId(first as u32));
        let key = SampleKey {
            seed: self.seed_of(epoch),
            epoch,
            event: first as u64,
            request,
        };
        self.sampler.sample(&self.graph, roots, hidden_from, key)
    }

    /// Does `work` with scratch tables that no other thread uses meanwhile.
    pub(super) fn with_scratch<T>(&self, work: impl FnOnce(&mut MfgScratch) -> T) -> T {
        let pool = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = pool().pop();
        let mut scratch = unused.unwrap_or_else(|| MfgScratch::new(self.log.room()));
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
                .map(|layer| self.features.edge_batch(&layer.events))
                .collect(),
            node: self.features.node_batch(&layout.innermost().node),
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
        let mut packing = Packing::new(device);
        let of = (&fetched.times, &fetched.mail_row[..]);
        let packed = rows.pack(layout, of, None, &mut packing, device);
        packed.input(&mut packing.send(), fetched, device)
    }
}

/// Features that a layout needs.
pub(super) struct LayoutFeatures {
    /// Of each layer's events.
    edge: Vec<BatchRows>,
    node: BatchRows,
}

impl LayoutFeatures {
    /// The whole batch of `layout` on its way to `device`, with the times and mail rows of the memory that is fetched for
    /// it and the histories of its pairs.
    pub(super) fn pack(
        self,
        layout: &Layout,
        fetched: (&FetchedTimes, &[i32]),
        history: Option<Vec<f32>>,
        packing: &mut Packing,
        device: &Device,
    ) -> PackedBatch {
        let layout = PackedLayout::new(layout, fetched, packing);
        PackedBatch::new(layout, (self.edge, self.node), history, packing, device)
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> u64 {
        let edge: u64 = self.edge.iter().map(BatchRows::bytes).sum();
        edge + self.node.bytes()
    }

    /// Those of the innermost layer's first events, `own`, which are the batch's, `[events, edge width]`, on
    /// the host; `features` has them too.
    pub(super) fn own_edge(&self, own: &[EventId], features: &Features) -> Vec<f32> {
        match &self.edge[0] {
            BatchRows::Gathered(rows) => rows.first(own.len()),
            BatchRows::Resident { .. } => features.edge_rows(own).first(own.len()),
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
    pub(crate) fn batch_events(&self, iteration: usize) -> Range<usize> {
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
        let pool = match (&sampling.train_negatives, self.part) {
            (Some(pool), SplitPart::Train) => pool,
            _ => &sampling.negatives,
        };
        let drawn = pool.sample(self.negative_key(), events.clone(), stream)?;
        let batch = EventBatch::cut(events, stream.src, stream.dst, stream.time, drawn.dst);
        Ok(EventBatch {
            neg_src: drawn.src,
            ..batch
        })
    }

    /// What the draws of this pass depend on, besides the event.
    pub(super) fn negative_key(&self) -> NegativeKey {
        NegativeKey {
            seed: self.sampling.seed_of(self.epoch),
            epoch: self.epoch,
            split: self.part,
        }
    }
}
