//! The five stages of an iteration, in order.
//!
//! | stage | memory on the device | memory in RAM |
//! |---|---|---|
//! | `sample` | [`Pass::sample`] | the same |
//! | `fetch_features` | [`Pass::fetch_features`] | the same |
//! | `fetch_memory` | [`Pass::fetch_memory`] | [`HostMemory::gather`], an upload |
//! | `train` | [`Training::train`] | the same in two parts |
//! | `update_memory` | [`MemoryStore::commit`] | [`Pending`](crate::memory::write_back::Pending), [`HostMemory::apply`] |
//!
//! The lanes of the pipeline run these in training (`lanes.rs`); an evaluation calls
//! them one after the other.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use bytemuck::cast_slice;

use super::error::StageError;
use super::joint::{Joint, JointUpdate, Senders, Share};
use super::pass::{LayoutFeatures, Pass};
use super::probes::Probes;
use super::ranks::Ranks;
use super::reads::OwnRead;
use super::trainer::{Begun, Trainer};
use super::upload;
use crate::batch::{EventBatch, Layout};
use crate::features::Features;
use crate::graph::{EventId, Queries};
use crate::kernels::packing::Packing;
use crate::memory::host::{HostMemory, HostRows};
use crate::memory::node_times::{FetchedTimes, NodeTimes};
use crate::memory::trends::FetchedTrends;
use crate::memory::write_back::{Update, WriteBack};
use crate::memory::{self, BegunFetch, MemoryCommit, MemoryRequest, MemoryStore};
use crate::model::{DropoutKey, ModelInput};
use crate::pipeline::ledger::AgeHistogram;
use crate::pipeline::staleness::{BatchNodes, StaleMemory, StalenessCounter};

// Stage 1, `sample`: on the sampler's lane.

/// A batch, laid out.
pub struct Sampled {
    pub(super) batch: EventBatch,
    layout: Layout,
    /// Whether it is of training.
    trains: bool,
    /// Pair histories of the batch, `[2 events, statistics]`, if the model reads them.
    history: Option<Vec<f32>>,
    /// What ranks that share the batch write together; else its own layout says what is written.
    joint: Option<Box<Joint>>,
}

impl Pass {
    /// Cuts and samples the batch of an iteration, and lays it out.
    ///
    /// # Errors
    /// When negatives can't be drawn.
    pub fn sample(&self, iteration: usize) -> Result<Sampled, StageError> {
        let sampling = &*self.sampling;
        let batch = self.batch(iteration)?;
        let past = |roots: Queries<'_>, request| {
            sampling.past(roots, request, batch.events.start, self.epoch)
        };
        let (history, layout) = sampling.batch_statistics(&batch, batch.events.start, || {
            sampling.with_scratch(|scratch| Layout::build(&batch, &sampling.layout, past, scratch))
        });
        Ok(Sampled {
            batch,
            layout,
            trains: self.epoch > 0,
            history,
            joint: None,
        })
    }

    /// The same of the part of the batch that is a rank's.
    pub(super) fn sample_share(
        &self,
        iteration: usize,
        share: Share,
    ) -> Result<Sampled, StageError> {
        let sampling = &*self.sampling;
        let whole = self.batch(iteration)?;
        let (batch, layout, joint) =
            sampling.with_scratch(|scratch| self.lay_out_share(&whole, share, scratch));
        let (history, ()) = sampling.batch_statistics(&batch, whole.events.start, || ());
        Ok(Sampled {
            batch,
            layout,
            trains: self.epoch > 0,
            history,
            joint: Some(Box::new(joint)),
        })
    }
}

impl Sampled {
    /// The batch of all ranks, and where in it a rank's own events are that it scores.
    pub(super) fn scored(&self) -> (&EventBatch, Range<usize>) {
        match &self.joint {
            None => (&self.batch, 0..self.batch.events.len()),
            Some(joint) => (joint.whole(), joint.own()),
        }
    }
}

// Stage 2, `fetch_features`: on the fetcher's lane.

/// A batch with its features.
pub struct Prepared {
    sampled: Sampled,
    rows: LayoutFeatures,
}

impl Pass {
    /// Gathers the features of a batch's events and nodes.
    pub fn fetch_features(&self, mut sampled: Sampled) -> Prepared {
        if let Some(joint) = &mut sampled.joint {
            joint.fetch_features(&self.sampling);
        }
        Prepared {
            rows: self.sampling.feature_rows(&sampled.layout),
            sampled,
        }
    }
}

// Stage 3, `fetch_memory`: on the device's lane; of memory in RAM the fetcher gathers the rows.

/// A batch with its rows out of tables in RAM.
pub(super) struct Gathered {
    prepared: Prepared,
    pub(super) rows: HostRows,
    /// Features of the batch's own events, which its mail needs on the host, `[events, edge width]`; of a
    /// batch that ranks share those of all are elsewhere.
    own_edge: Vec<f32>,
}

/// A batch with its memory, on the device.
pub struct Fetched {
    pub(super) batch: EventBatch,
    /// What the model reads of it.
    pub(super) input: ModelInput,
    layout: Layout,
    /// Edge features of the innermost layer's events, the batch's own first.
    edge: Tensor<2>,
    times: FetchedTimes,
    pub(super) joint: Option<Box<Joint>>,
}

impl Pass {
    /// Reads a batch's memory and makes tensors of it all on `device` (with autodiff when
    /// training).
    pub fn fetch_memory(
        &self,
        prepared: Prepared,
        memory: &dyn MemoryStore,
        device: &Device,
    ) -> Fetched {
        let mut packing = Packing::new(device);
        let begun = prepared.request(|request| memory.begin_fetch(request, &mut packing));
        self.load(prepared, begun, packing, device)
    }

    /// The same of gathered rows; also the features of the batch's own events, as [`Gathered`] has them.
    pub(super) fn upload(&self, gathered: Gathered, device: &Device) -> (Fetched, Vec<f32>) {
        let Gathered {
            prepared,
            rows,
            own_edge,
        } = gathered;
        let rows = BegunFetch::Done(Box::new(rows.upload(&device.clone().inner())));
        (
            self.load(prepared, rows, Packing::new(device), device),
            own_edge,
        )
    }

    fn load(
        &self,
        prepared: Prepared,
        begun: BegunFetch<'_>,
        mut packing: Packing,
        device: &Device,
    ) -> Fetched {
        let Prepared { sampled, rows } = prepared;
        let Sampled {
            batch,
            layout,
            history,
            mut joint,
            ..
        } = sampled;
        let packed = rows.pack(&layout, begun.times(), history, &mut packing, device);
        let mut sent = packing.send();
        let mut fetched = begun.finish(&mut sent);
        if let Some(joint) = &joint {
            joint.share_trends(&mut fetched.times.trends);
        }
        let (input, edge) = packed.input(&mut sent, &fetched, device);
        let plain = device.clone().inner();
        let input = ModelInput {
            draws: (joint.as_mut()).map_or_else(Vec::new, |joint| joint.draw_rows(&plain)),
            ..input
        };
        Fetched {
            batch,
            layout,
            input,
            edge,
            times: fetched.times,
            joint,
        }
    }
}

impl Prepared {
    /// Bytes of what the host gathered and sampled for the model, its layout aside.
    pub(super) fn bytes(&self) -> u64 {
        let history = self.sampled.history.as_ref();
        self.rows.bytes() + history.map_or(0, |history| 4 * history.len() as u64)
    }

    /// Reads the times of what ranks write together.
    pub(super) fn read_times(&mut self, times: &NodeTimes) {
        if let Some(joint) = &mut self.sampled.joint {
            joint.read(times);
        }
    }

    /// Reads the trends of what ranks write together in training, where memory has them.
    pub(super) fn read_trends(
        &mut self,
        of: impl FnOnce(MemoryRequest<'_>) -> Option<FetchedTrends>,
    ) {
        let Sampled {
            layout,
            joint,
            trains,
            ..
        } = &mut self.sampled;
        if let Some(joint) = joint.as_mut().filter(|_| *trains) {
            joint.read_trends(layout, of);
        }
    }

    pub(super) fn gather(mut self, memory: &HostMemory, features: &Features) -> Gathered {
        self.read_times(memory.node_times());
        self.read_trends(|request| memory.trends_of(request));
        let Sampled {
            batch,
            layout,
            joint,
            ..
        } = &self.sampled;
        let own_edge = match joint {
            None => {
                let own = &layout.innermost().events[..batch.src.len()];
                self.rows.own_edge(own, features)
            }
            Some(_) => Vec::new(),
        };
        Gathered {
            rows: self.request(|request| memory.gather(request)),
            own_edge,
            prepared: self,
        }
    }

    /// Hands what the batch asks of the node memory to `fetch`.
    fn request<T>(&self, fetch: impl FnOnce(MemoryRequest<'_>) -> T) -> T {
        let Sampled {
            batch,
            layout,
            trains,
            ..
        } = &self.sampled;
        let roots = batch.roots();
        let request = MemoryRequest::of(layout, roots.queries());
        fetch(match trains {
            true => request.training_from(EventId(batch.events.start as u32)),
            false => request,
        })
    }
}

// Stage 4, `train`: on the device's lane, in two parts where the updated memory is to be written
// back before the second one ends.

/// A model in training and its losses.
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
    /// What staleness does in the epoch.
    pub staleness: &'a mut StalenessCounter,
    /// Iterations of the epoch.
    pub iterations: usize,
    /// What each iteration read of the memory.
    pub reads: Vec<MemoryRead>,
    /// Compares it with memory that is not stale, where that is asked for.
    pub probes: Option<&'a mut Probes>,
    /// The other ranks, if there are any.
    pub ranks: Option<&'a Ranks>,
    /// What the iteration under way has read, where it counts once all ranks have trained it.
    uncounted: Option<Uncounted>,
}

/// What an iteration read of the memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryRead {
    /// Ages of its roots' memory, in the stream's unit.
    pub ages: AgeHistogram,
    /// What of it was stale.
    pub stale: StaleMemory,
    /// Pieces of mail that the updater absorbed into its rows.
    pub updater_rows: u64,
    /// Rows that the mitigation corrected, if there is one.
    pub corrected: Option<usize>,
}

impl<'a> Training<'a> {
    /// On a pass over the training part, by an optimiser on a device with autodiff.
    pub fn new(
        (trainer, device): (&'a mut Trainer, &'a Device),
        pass: &Pass,
        staleness: &'a mut StalenessCounter,
        ranks: Option<&'a Ranks>,
    ) -> Training<'a> {
        let iterations = pass.iterations();
        Training {
            trainer,
            device,
            seed: pass.sampling.seed,
            first_iteration: (pass.epoch as usize).saturating_sub(1) * iterations,
            unread: Vec::new(),
            staleness,
            iterations,
            reads: Vec::new(),
            probes: None,
            ranks,
            uncounted: None,
        }
    }
}

/// What an iteration read whose staleness is not counted yet.
struct Uncounted {
    iteration: usize,
    /// All but what of it was stale.
    read: MemoryRead,
    version: usize,
    /// Nodes that are read, written and mailed, as in [`BatchNodes`].
    nodes: [Vec<u32>; 3],
}

impl Training<'_> {
    /// Forward, backward and step on a batch; `iteration` counts from the pass's start.
    ///
    /// # Errors
    /// When another rank has ended, or the device does not hand over what a probe compares.
    pub fn train(
        &mut self,
        iteration: usize,
        fetched: Fetched,
    ) -> Result<MemoryCommit, StageError> {
        let begun = self.begin(iteration, &fetched)?;
        let (memory, changes) = (begun.memory(), begun.changes());
        self.finish(begun, &fetched.input, None)?;
        Ok(fetched.commit(memory, changes))
    }

    /// The same on a batch that ranks share, with rows of this `width`: what all of them write.
    pub(super) fn train_jointly(
        &mut self,
        iteration: usize,
        fetched: Fetched,
        width: usize,
    ) -> Result<Update, StageError> {
        let begun = self.begin(iteration, &fetched)?;
        let weight = fetched.weight();
        let made = (begun.memory(), begun.changes());
        let (input, update) = fetched.joint_update(made, self.ranks, width)?;
        self.finish(begun, &input, weight)?;
        Ok(update)
    }

    /// The forward pass as far as the updated memory rows, which are all that stage 5 needs.
    pub(super) fn begin(
        &mut self,
        iteration: usize,
        fetched: &Fetched,
    ) -> Result<Begun, StageError> {
        let mut ages = AgeHistogram::default();
        let times = &fetched.times;
        times.root_age.iter().for_each(|&age| ages.add(age));
        if let (Some(ranks), Some(joint)) = (self.ranks, &fetched.joint) {
            let own = self.own_read(fetched, joint, ages.clone());
            ranks.note_read(own);
        }
        self.note_read(
            iteration,
            fetched,
            MemoryRead {
                ages,
                updater_rows: times.updater_rows(),
                corrected: times.corrected,
                ..MemoryRead::default()
            },
        );
        let before = self.first_iteration + iteration;
        let key = Some((self.seed, before as u32));
        let begun = self.trainer.begin(&fetched.input, key);
        self.follow_fresh(before + 1, fetched, &begun, key)?;
        Ok(begun)
    }

    /// Has memory that is not stale follow a batch, of which `begun` is the run's forward pass, where the run
    /// is probed; `trained` counts its iterations up to this one.
    fn follow_fresh(
        &mut self,
        trained: usize,
        fetched: &Fetched,
        begun: &Begun,
        key: DropoutKey,
    ) -> Result<(), StageError> {
        let Some(probes) = &mut self.probes else {
            return Ok(());
        };
        let Some(fresh) = probes.fresh() else {
            return Ok(());
        };
        let (input, times) = fetched.read_from(fresh, self.device);
        let right = self.trainer.begin(&input, key);
        fresh.commit(fetched.written_as(right.memory(), right.changes(), times))?;
        if probes.is_due(trained) {
            let rows = [begun, &right].map(|begun| fetched.of_roots(begun.memory()));
            probes.keep(trained, rows, right, input)?;
        }
        Ok(())
    }

    /// What this rank has read for its part of a batch; `ages` are of its roots.
    fn own_read(&mut self, fetched: &Fetched, joint: &Joint, ages: AgeHistogram) -> OwnRead {
        // One that has no events reads those of another rank.
        if joint.own().is_empty() {
            return OwnRead::default();
        }
        let (rows, times) = (fetched.layout.innermost(), &fetched.times);
        let version = times.version as usize;
        let lacks = self.staleness.lacking(version, cast_slice(&rows.node));
        OwnRead::new(rows, joint.one_row_a_node, lacks, times, ages)
    }

    /// Takes note of what an iteration read; one that ranks share may still come to nothing.
    fn note_read(&mut self, iteration: usize, fetched: &Fetched, read: MemoryRead) {
        let joint = fetched.joint.as_ref();
        let Layout {
            last_writers,
            mail_routing,
            ..
        } = joint.map_or(&fetched.layout, |joint| joint.layout());
        let nodes = BatchNodes {
            read: cast_slice(&fetched.layout.innermost().node),
            written: cast_slice(fetched.times.written_nodes(last_writers)),
            mailed: cast_slice(&mail_routing.node),
        };
        let version = fetched.times.version as usize;
        if self.ranks.is_none() {
            return self.count(iteration, read, version, nodes);
        }
        self.uncounted = Some(Uncounted {
            iteration,
            read,
            version,
            nodes: [nodes.read, nodes.written, nodes.mailed].map(<[u32]>::to_vec),
        });
    }

    /// Counts what of the memory read was stale, and which mail went.
    fn count(
        &mut self,
        iteration: usize,
        mut read: MemoryRead,
        version: usize,
        nodes: BatchNodes<'_>,
    ) {
        read.stale = self.staleness.read(version, nodes);
        if iteration + 1 == self.iterations {
            self.staleness.end(&mut read.stale);
        }
        self.reads.push(read);
    }

    /// All ranks have trained the iteration under way.
    fn count_shared(&mut self) {
        let Some(Uncounted {
            iteration,
            read,
            version,
            nodes: [of_rows, written, mailed],
        }) = self.uncounted.take()
        else {
            return;
        };
        let nodes = BatchNodes {
            read: &of_rows,
            written: &written,
            mailed: &mailed,
        };
        self.count(iteration, read, version, nodes);
    }

    /// The rest of the forward pass, backward and step; a rank's gradients have the `weight` of its
    /// events among those of all.
    pub(super) fn finish(
        &mut self,
        begun: Begun,
        input: &ModelInput,
        weight: Option<f32>,
    ) -> Result<(), StageError> {
        let (output, gradients) = self.trainer.backward(begun, input);
        if let Some(probes) = &mut self.probes {
            probes.compare(self.trainer, &gradients)?;
        }
        let (loss, gradients) = match (self.ranks, weight) {
            (Some(ranks), Some(weight)) => {
                let own = (output.loss, gradients);
                ranks.sum(self.trainer.model(), own, weight)?
            }
            _ => (output.loss, gradients),
        };
        self.count_shared();
        self.trainer.step(gradients);
        self.unread.push(loss);
        Ok(())
    }
}

// Stage 5, `update_memory`: on the device's lane; of memory in RAM that begins to copy the updated
// rows, and the updater writes them.

impl Fetched {
    /// Writes the updated memory of the batch's rows, `[rows, width]`, and its mail.
    ///
    /// # Errors
    /// When the device does not hand over the rows.
    pub(crate) fn update_memory(
        self,
        rows: Tensor<2>,
        memory: &mut dyn MemoryStore,
    ) -> Result<(), StageError> {
        Ok(memory.commit(self.commit(rows, None))?)
    }

    /// Writes what a batch that ranks share updates, of which this rank has made `rows`.
    ///
    /// # Errors
    /// As [`update_memory`](Fetched::update_memory); when another rank has ended.
    pub(super) fn update_memory_jointly(
        self,
        rows: Tensor<2>,
        memory: &mut dyn MemoryStore,
        ranks: &Ranks,
    ) -> Result<(), StageError> {
        let (device, width) = (rows.device(), rows.dims()[1]);
        let edge_width = self.edge.dims()[1];
        let (_, update) = self.joint_update((rows, None), Some(ranks), width)?;
        Ok(memory.commit(update.upload([width, edge_width], &device))?)
    }

    /// What all ranks write, of which this one has made rows and perhaps changes; and what the model reads.
    fn joint_update(
        self,
        made: (Tensor<2>, Option<Tensor<2>>),
        ranks: Option<&Ranks>,
        width: usize,
    ) -> Result<(ModelInput, Update), StageError> {
        let (input, on_device) = self.write_back(Vec::new(), made);
        let OnDevice {
            back,
            rows,
            senders,
        } = on_device;
        let rows = memory::read(rows)?;
        Ok((
            input,
            exchanged(ranks, Update { back, rows }, senders, width)?,
        ))
    }

    /// The batch of all ranks, where they share it.
    pub(super) fn whole(&self) -> &EventBatch {
        let joint = self.joint.as_ref();
        joint.map_or(&self.batch, |joint| joint.whole())
    }

    fn commit(self, memory: Tensor<2>, changes: Option<Tensor<2>>) -> MemoryCommit {
        MemoryCommit {
            memory,
            changes,
            edge: self.edge,
            last_writers: self.layout.last_writers,
            mail_routing: self.layout.mail_routing,
            times: self.times,
        }
    }

    /// What the model reads of a training batch whose memory is another one.
    pub(super) fn read_from(
        &self,
        memory: &dyn MemoryStore,
        device: &Device,
    ) -> (ModelInput, FetchedTimes) {
        let roots = self.batch.roots();
        let request = MemoryRequest::of(&self.layout, roots.queries());
        let fetched = memory.fetch(request.training_from(EventId(self.batch.events.start as u32)));
        let own = &self.input;
        let edge: Vec<_> = own
            .layers
            .iter()
            .map(|layer| layer.edge.clone().inner())
            .collect();
        let node_features = own.node_features.clone().map(Tensor::inner);
        let input = upload::model_input(&self.layout, &fetched, &edge, node_features, device);
        let input = ModelInput {
            pair_history: own.pair_history.clone(),
            ..input
        };
        (input, fetched.times)
    }

    /// The update of another memory that was read with `times`.
    pub(super) fn written_as(
        &self,
        memory: Tensor<2>,
        changes: Option<Tensor<2>>,
        times: FetchedTimes,
    ) -> MemoryCommit {
        MemoryCommit {
            memory,
            changes,
            edge: self.edge.clone(),
            last_writers: self.layout.last_writers.clone(),
            mail_routing: self.layout.mail_routing.clone(),
            times,
        }
    }

    /// Of `rows`, `[rows, width]`, that of each root, `[roots, width]`.
    pub(super) fn of_roots(&self, rows: Tensor<2>) -> Tensor<2> {
        let row = self.layout.root_row.clone();
        let row = upload::ints(row.clone(), [row.len()], &rows.device());
        rows.select(0, row)
    }

    /// Weight of the batch among those that ranks share.
    pub(super) fn weight(&self) -> Option<f32> {
        self.joint.as_ref().map(|joint| joint.weight)
    }

    /// What is written into tables in RAM, and which rows are read back for it; also what the rest
    /// of stage 4 reads.
    pub(super) fn write_back(
        self,
        own_edge: Vec<f32>,
        (memory, changes): (Tensor<2>, Option<Tensor<2>>),
    ) -> (ModelInput, OnDevice) {
        if let Some(joint) = self.joint {
            let update = joint.into_update(&self.times.trends);
            let rows = update.select(memory, changes);
            let JointUpdate { back, senders, .. } = update;
            let senders = Some(senders);
            return (
                self.input,
                OnDevice {
                    back,
                    rows,
                    senders,
                },
            );
        }
        let Layout {
            last_writers,
            mail_routing,
            ..
        } = self.layout;
        let rows = memory.dims()[0];
        let back = WriteBack::new(last_writers, mail_routing, self.times, own_edge, rows);
        let rows = back.select(memory, changes);
        let senders = None;
        (
            self.input,
            OnDevice {
                back,
                rows,
                senders,
            },
        )
    }
}

/// An update with its rows on the device; of a batch that ranks share those that this rank sends.
pub(super) struct OnDevice {
    pub(super) back: WriteBack,
    pub(super) rows: Tensor<2>,
    pub(super) senders: Option<Senders>,
}

/// `update` with the rows of all ranks, where they share the batch.
pub(super) fn exchanged(
    ranks: Option<&Ranks>,
    update: Update,
    senders: Option<Senders>,
    width: usize,
) -> Result<Update, StageError> {
    let Update { back, rows } = update;
    let rows = match (ranks, senders) {
        (Some(ranks), Some(senders)) => ranks.rows(rows, &senders, width)?,
        _ => rows,
    };
    Ok(Update { back, rows })
}
