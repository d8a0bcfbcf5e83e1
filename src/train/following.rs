//! Memory that follows events with fixed weights, and pairs that are asked for in between.
//!
//! What belongs to an event is done in two steps. It is *observed*: the stream, its graph and the pair
//! histories have it, and later queries sample it. Then memory *follows*: updated rows and mail are
//! written, of up to a batch's events at once. Between the two the events stand to a query as those of
//! a batch do in an evaluation: in its past if they are earlier than it, unless the protocol hides the
//! events of a batch, and not in memory yet. So whoever observes and asks in the batches of an
//! evaluation gets its scores, bit for bit.
//!
//! Asking writes nothing. No gradient is kept and no past event sampled for memory's sake.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use mspipe_datasets::Stop;

use super::error::{EvalError, StageError};
use super::pair_scores::{BesideBatch, UpdatedRows};
use super::pass::Sampling;
use super::stream::Stream;
use super::upload;
use crate::batch::{EventBatch, Layout, LayoutRule, Roots};
use crate::features::RowsToKeep;
use crate::graph::tcsr::Places;
use crate::graph::{EventId, NodeId, Queries, Timestamp};
use crate::memory::host::HostMemory;
use crate::memory::{MemoryCommit, MemoryRequest, MemoryStore};
use crate::model::LinkModel;
use crate::sampling::Neighbors;
use crate::sampling::pair_history::SavedStates;

impl Sampling {
    /// Adds an event at the end of a stream that is followed; `features` are its edge features.
    ///
    /// # Panics
    /// When the stream is not followed, other copies of its graph are in use, a node is not one of
    /// its own, or the event has features of another width.
    pub(crate) fn observe(&mut self, [src, dst]: [NodeId; 2], time: Timestamp, features: &[f32]) {
        let event = EventId(self.log.events() as u32);
        let Stream::Followed(stream) = &mut self.log else {
            panic!("a stream that was opened does not change");
        };
        let columns = &mut stream.newer.columns;
        columns.src.push(src.0);
        columns.dst.push(dst.0);
        columns.time.push(time);
        let Some([edge, _]) = self.features.followed_rows() else {
            panic!("features of a stream that is not followed");
        };
        edge.push(features);
        let graph = Arc::get_mut(&mut self.graph).expect("the only graph");
        graph.append(event, [src, dst], time);
        graph.note_met([src, dst]);
        let histories = Arc::get_mut(&mut self.histories).expect("the only histories");
        histories.append(self.log.columns(), event, [src, dst], time);
    }

    /// Takes over pair histories of what came since the stream was opened.
    ///
    /// # Panics
    /// As [`Sampling::observe`].
    pub(crate) fn restore_histories(&mut self, states: [SavedStates; 2]) {
        let Stream::Followed(stream) = &self.log else {
            panic!("a stream that was opened does not change");
        };
        let histories = Arc::get_mut(&mut self.histories).expect("the only histories");
        histories.restore(states, stream.newer.first, &stream.newer.columns.time);
    }

    /// No question will be about less than the first `followed` events: lets go of the last events and of
    /// pair histories that nobody asks for any more.
    ///
    /// # Panics
    /// As [`Sampling::observe`].
    pub(crate) fn settle(&mut self, followed: usize) {
        let Some(last) = followed.checked_sub(1) else {
            return;
        };
        let last = self.log.time_of(last);
        if let Stream::Followed(stream) = &mut self.log {
            stream.newer.settle(followed, last);
        }
        let histories = Arc::get_mut(&mut self.histories).expect("the only histories");
        histories.settle(EventId(followed as u32), last);
    }

    /// Looks at about `most` more of the graph's entries, or rows of edge features, and lets go of those that
    /// `rest` does not keep; whether it has come to the end.
    ///
    /// # Panics
    /// As [`Sampling::observe`].
    pub(crate) fn keep(&mut self, rest: &mut ToKeep, most: usize) -> bool {
        if let Some(next) = rest.next {
            let graph = Arc::get_mut(&mut self.graph).expect("the only graph");
            rest.next = graph.keep(&rest.places, next, most);
            return false;
        }
        match self.features.followed_rows() {
            Some([edge, _]) => edge.keep(&mut rest.rows, most),
            None => true,
        }
    }

    /// Adds nodes without events, until there are `nodes`.
    ///
    /// # Panics
    /// As [`Sampling::observe`].
    pub(crate) fn grow(&mut self, nodes: usize) {
        let before = self.log.room();
        let Stream::Followed(stream) = &mut self.log else {
            panic!("a stream that was opened does not change");
        };
        stream.nodes = nodes;
        (Arc::get_mut(&mut self.graph).expect("the only graph")).grow(nodes);
        if self.log.room() > before {
            self.scratch = Default::default();
        }
    }

    /// The events `events` of the stream.
    fn cut(&self, events: Range<usize>) -> EventBatch {
        let ends = events.clone().map(|event| self.log.ends_of(event));
        let (src, dst) = ends.map(|[src, dst]| (src, dst)).unzip();
        EventBatch {
            src,
            dst,
            time: events
                .clone()
                .map(|event| self.log.time_of(event))
                .collect(),
            neg: Vec::new(),
            neg_src: None,
            events,
        }
    }
}

/// What is kept of the graph's entries and the edge features that came since the stream was opened, found some at
/// a time; no event is observed meanwhile.
#[derive(Debug)]
pub(crate) struct ToKeep {
    /// Entries.
    pub(crate) places: Places,
    /// The node whose entries are next, until all were looked at.
    pub(crate) next: Option<NodeId>,
    pub(crate) rows: RowsToKeep,
}

/// What is asked, and from what: a model, a stream and the memory as it stands.
pub(crate) struct Asked<'a> {
    /// Without autodiff.
    pub(crate) model: &'a LinkModel,
    /// Without autodiff.
    pub(crate) device: &'a Device,
    pub(crate) sampling: &'a Sampling,
    pub(crate) memory: &'a HostMemory,
    /// Events that memory has followed: the stream's first.
    pub(crate) followed: usize,
    pub(crate) stop: &'a Stop,
}

impl Asked<'_> {
    /// The logit of each pair at its time.
    ///
    /// # Errors
    /// When the device fails; a stop.
    pub(crate) fn scores(
        &self,
        [src, dst]: [&[NodeId]; 2],
        time: &[Timestamp],
        updated: &mut UpdatedRows,
    ) -> Result<Vec<f32>, EvalError> {
        let batch = self.queries([src, dst], time);
        let pairs = (0..).zip(src).zip(dst);
        let pairs: Vec<_> = pairs.map(|((i, &src), &dst)| (i, src, dst)).collect();
        self.beside(updated, |beside| beside.scores(&batch, &pairs, self.memory))
    }

    /// The logit of each of `candidates` as the destination of `source` at `time`.
    ///
    /// # Errors
    /// When the device fails; a stop.
    pub(crate) fn scores_of_source(
        &self,
        source: NodeId,
        candidates: &[NodeId],
        time: Timestamp,
        updated: &mut UpdatedRows,
    ) -> Result<Vec<f32>, EvalError> {
        let batch = self.queries([&[source], &[source]], &[time]);
        let pairs: Vec<_> = candidates.iter().map(|&dst| (0, source, dst)).collect();
        self.beside(updated, |beside| beside.scores(&batch, &pairs, self.memory))
    }

    /// The embedding of each node at its time, `[nodes, width]`.
    ///
    /// # Errors
    /// When the device fails; a stop.
    pub(crate) fn embeddings(
        &self,
        node: &[NodeId],
        time: &[Timestamp],
        updated: &mut UpdatedRows,
    ) -> Result<Vec<f32>, EvalError> {
        let batch = self.queries([node, node], time);
        let parts = self.beside(updated, |beside| beside.embeddings(&batch, self.memory))?;
        match parts.is_empty() {
            true => Ok(Vec::new()),
            false => upload::read(Tensor::cat(parts, 0)),
        }
    }

    /// Makes the updated rows of `roots`, so that they are among `updated` when memory follows their next events.
    pub(crate) fn make_rows(&self, roots: &Roots, updated: &mut UpdatedRows) {
        let sampling = self.sampling;
        let rule = LayoutRule {
            layers: 0,
            ..sampling.layout
        };
        let none = |queries: Queries<'_>, _| Neighbors::none(queries.node.len());
        let events = self.followed..self.followed;
        let layout = sampling.with_scratch(|scratch| {
            Layout::of_roots(roots.queries(), events, &rule, none, scratch)
        });
        let request = MemoryRequest::of(&layout, roots.queries());
        updated_rows(
            self.model,
            sampling,
            self.memory,
            self.device,
            &layout,
            request,
            Some(updated),
        );
    }

    /// What is asked as a batch that comes next and has no events.
    fn queries(&self, [src, dst]: [&[NodeId]; 2], time: &[Timestamp]) -> EventBatch {
        EventBatch {
            events: self.followed..self.followed,
            src: src.to_vec(),
            dst: dst.to_vec(),
            neg: dst.to_vec(),
            neg_src: None,
            time: time.to_vec(),
        }
    }

    fn beside<T>(
        &self,
        updated: &mut UpdatedRows,
        ask: impl FnOnce(&mut BesideBatch<'_>) -> Result<T, StageError>,
    ) -> Result<T, EvalError> {
        let mut beside = BesideBatch {
            model: self.model,
            device: self.device,
            sampling: self.sampling,
            candidates: None,
            stop: self.stop,
            negatives: Vec::new(),
            ranks: Vec::new(),
            kept: None,
            updated: std::mem::take(updated),
        };
        let asked = ask(&mut beside);
        *updated = beside.updated;
        Ok(asked?)
    }
}

/// Has `memory` follow the events `events` of the stream of `sampling`, as one batch; returns the nodes
/// whose memory or mail has changed, some twice. Rows that `updated` has, if it is given, are not made again.
///
/// # Errors
/// When the device does not hand over the updated rows.
pub(crate) fn follow(
    model: &LinkModel,
    sampling: &Sampling,
    memory: &mut HostMemory,
    device: &Device,
    events: Range<usize>,
    updated: Option<&mut UpdatedRows>,
) -> Result<Vec<NodeId>, EvalError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let batch = sampling.cut(events);
    // Evaluation is epoch 0.
    let past = |roots: Queries<'_>, request| sampling.past(roots, request, batch.events.start, 0);
    let layout =
        sampling.with_scratch(|scratch| Layout::of_events(&batch, &sampling.layout, past, scratch));
    let roots = batch.ends();
    let request = MemoryRequest::of(&layout, roots.queries());
    let times = memory.times(request);
    let rows = updated_rows(model, sampling, memory, device, &layout, request, updated);
    let own = &layout.innermost().events[..batch.src.len()];
    let edge = sampling
        .feature_rows(&layout)
        .own_edge(own, &sampling.features);
    let width = edge.len() / batch.src.len();
    let changed = [&layout.last_writers.node[..], &layout.mail_routing.node].concat();
    let commit = MemoryCommit {
        memory: rows,
        changes: None,
        edge: upload::floats(edge, [batch.src.len(), width], device),
        last_writers: layout.last_writers,
        mail_routing: layout.mail_routing,
        times,
    };
    memory.commit(commit).map_err(StageError::from)?;
    Ok(changed)
}

/// What the memory updater makes of the rows of `request`, which `layout` asks for, `[rows, width]`.
fn updated_rows(
    model: &LinkModel,
    sampling: &Sampling,
    memory: &HostMemory,
    device: &Device,
    layout: &Layout,
    request: MemoryRequest<'_>,
    updated: Option<&mut UpdatedRows>,
) -> Tensor<2> {
    let make = |rows: Queries<'_>| {
        let fetched = memory.fetch(MemoryRequest { rows, ..request });
        let features = sampling.feature_rows(layout);
        let (input, _) = sampling.model_input(layout, features, &fetched, device);
        model.model.update(&input, None)
    };
    match updated {
        Some(updated) => updated.get(request.rows, make, device),
        None => make(request.rows),
    }
}
