//! Memory follows new events, and a state is written down.

use std::ops::Range;
use std::path::Path;

use mspipe_datasets::whole_file::Existing;
use mspipe_datasets::{EventLog, FeatureTable, MAX_TIME, NodeKey};

use super::Predictor;
use super::error::PredictError;
use super::kept;
use super::nodes::{Nodes, Side};
use super::state::{Contained, Events, Written};
use crate::device;
use crate::features::FeatureSource;
use crate::graph::NodeId;
use crate::model::tgl_weights;
use crate::session::SessionError;
use crate::train::following;

/// An event that has happened.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The source; one that was never seen becomes a node.
    pub src: NodeKey,
    /// The destination, as the source.
    pub dst: NodeKey,
    /// When, in ticks; see [`Predictor::ticks`].
    pub time: i64,
    /// Edge features, as many as [`Predictor::feature_width`].
    pub features: Vec<f32>,
}

/// What becomes of an event that is earlier than the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// It is left out, and counted.
    Refuse,
    /// It is taken as one of the last event's time, and counted.
    Accept,
}

/// What an update did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Updated {
    /// Events that were followed.
    pub events: usize,
    /// Of these, late ones that were moved to the time of the event before them.
    pub moved: usize,
    /// Late events that were left out.
    pub refused: usize,
    /// Nodes that were never seen before.
    pub new_nodes: usize,
}

impl Updated {
    /// Adds what another update did.
    pub(crate) fn add(&mut self, other: &Updated) {
        self.events += other.events;
        self.moved += other.moved;
        self.refused += other.refused;
        self.new_nodes += other.new_nodes;
    }
}

impl Predictor {
    /// Has memory follow `events`, which come after all so far, in batches of at most as many events as
    /// in training. What is given at once and fits into a batch is one batch: fewer calls take less
    /// time, and the events of a batch are in memory only after it.
    ///
    /// # Errors
    /// An id of another kind, other features than expected, a time out of range: nothing is followed
    /// then. A device that fails: the predictor is of no more use then.
    pub fn update(&mut self, events: &[NewEvent], late: Late) -> Result<Updated, PredictError> {
        let updated = self.observe(events, late)?;
        self.follow()?;
        Ok(updated)
    }

    /// The first half of [`update`](Predictor::update): questions see the events in the past of later
    /// ones, unless the run hides the events of a batch, and memory has not followed them yet. Together
    /// with [`follow`](Predictor::follow) it gives what an evaluation computes.
    ///
    /// # Errors
    /// As [`update`](Predictor::update).
    pub fn observe(&mut self, events: &[NewEvent], late: Late) -> Result<Updated, PredictError> {
        if self.broken {
            return Err(PredictError::Broken);
        }
        self.check(events, 0)?;
        let mut updated = Updated::default();
        let before = self.nodes.len();
        for event in events {
            let last = self.last().unwrap_or(event.time);
            let time = match late {
                _ if event.time >= last => event.time,
                Late::Refuse => {
                    updated.refused += 1;
                    continue;
                }
                Late::Accept => {
                    updated.moved += 1;
                    last
                }
            };
            let nodes = &mut self.nodes;
            let src = nodes.find_or_add(&event.src, Side::Source);
            let dst = nodes.find_or_add(&event.dst, Side::Destination);
            let (Ok(src), Ok(dst)) = (src, dst) else {
                unreachable!("ids were checked");
            };
            nodes.mark(dst);
            self.make_room();
            let features = self.features_of(&event.features);
            self.sampling.observe([src, dst], time, &features);
            updated.events += 1;
        }
        updated.new_nodes = self.nodes.len() - before;
        self.standing.late[0] += updated.moved as u64;
        self.standing.late[1] += updated.refused as u64;
        Ok(updated)
    }

    /// Has memory follow what was observed; see [`observe`](Predictor::observe).
    ///
    /// # Errors
    /// A device that fails: the predictor is of no more use then.
    pub fn follow(&mut self) -> Result<(), PredictError> {
        if self.broken {
            return Err(PredictError::Broken);
        }
        let end = self.sampling.log.events();
        self.broken = true;
        while self.standing.followed < end {
            let batch = self.standing.followed;
            let batch = batch..(batch + self.sampling.batch_size).min(end);
            self.standing.followed = batch.end;
            let (model, sampling) = (&self.model, &self.sampling);
            let (memory, device) = (&mut self.memory, &self.device);
            let changed = device::on_device_thread(|| {
                following::follow(model, sampling, memory, device, batch)
            })??;
            let updated = self.updated.get_mut();
            updated
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .forget_nodes(&changed);
            self.let_go();
        }
        self.broken = false;
        Ok(())
    }

    /// Lets go of the features of later events that nothing can ask for any more, each time that there
    /// are twice as many as it left: what is kept grows with the nodes, and not with the events.
    fn let_go(&mut self) {
        /// Rows that are not worth the look.
        const FEW: usize = 8192;
        let Some([edge, _]) = self.sampling.features.followed_rows() else {
            return;
        };
        if edge.newer() < self.let_go_at.max(FEW) {
            return;
        }
        let needed = self.needed();
        if let Some([edge, _]) = self.sampling.features.followed_rows() {
            edge.keep(&needed);
            self.let_go_at = 2 * edge.newer();
        }
    }

    /// The events, ascending, whose features questions and memory may need from now on.
    fn needed(&self) -> Vec<u32> {
        let (config, model) = (&self.standing.config.model, &self.standing.model);
        let stream = &self.sampling.log;
        if model.edge_width == 0 {
            return Vec::new();
        }
        // No question is asked at an earlier time.
        let followed = self.standing.followed;
        let last = followed.checked_sub(1).map_or(0, |at| stream.time()[at]);
        let mut needed = kept::needed(
            &self.sampling.graph,
            config.sampler,
            [self.sampling.layout.layers, config.fanout],
            [stream.nodes(), followed],
            last,
        );
        needed.extend(followed as u32..stream.events() as u32);
        needed
    }

    /// Refuses events that can't be followed, before any of them is; errors call the first one `first`.
    pub(crate) fn check(&self, events: &[NewEvent], first: usize) -> Result<(), PredictError> {
        let count = self.events() + events.len();
        if count > i32::MAX as usize {
            return Err(PredictError::TooMany { found: count });
        }
        for (place, event) in events.iter().enumerate() {
            let what = || format!("event {}", first + place);
            self.found(&event.src, Side::Source, what)?;
            self.found(&event.dst, Side::Destination, what)?;
            if !(-MAX_TIME..=MAX_TIME).contains(&event.time) {
                return Err(PredictError::Time {
                    what: what(),
                    found: event.time,
                });
            }
            let Some(expected) = self.given_width() else {
                continue;
            };
            if event.features.len() != expected {
                return Err(PredictError::Width {
                    what: what(),
                    found: event.features.len(),
                    expected,
                });
            }
            if let Some(&found) = event.features.iter().find(|value| !value.is_finite()) {
                return Err(PredictError::Feature {
                    what: what(),
                    found,
                });
            }
        }
        Ok(())
    }

    /// Edge features that an event must bring; none where those of the stream are not read.
    pub(super) fn given_width(&self) -> Option<usize> {
        let (config, model) = (&self.standing.config, &self.standing.model);
        (config.stream.edge_features.of_stream() && model.edge_width > 0)
            .then_some(model.edge_width)
    }

    /// The features of the next event, which brings `given`.
    fn features_of(&self, given: &[f32]) -> Vec<f32> {
        let config = &self.standing.config;
        match config.stream.edge_features {
            FeatureSource::Random(width) => {
                FeatureTable::random_normal_row(self.events(), width, config.training.seed)
            }
            _ if self.given_width().is_some() => given.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Tables with a row for each node, and for one that was never seen.
    fn make_room(&mut self) {
        let rows = self.nodes.len() + 1;
        if rows > self.sampling.log.nodes() {
            self.memory.grow(rows);
            self.sampling.grow(rows);
        }
    }

    /// Has memory follow all events of `log`, whose ids are those of its file, some batches at a time, so
    /// that a long stream need not lie in RAM.
    ///
    /// # Errors
    /// As [`update`](Predictor::update), and times finer than the stream's, names that can't be read;
    /// memory may have followed the first events then.
    pub fn update_from(&mut self, log: &EventLog, late: Late) -> Result<Updated, PredictError> {
        /// Events at a time, about.
        const EVENTS: usize = 8192;
        let (nodes, batch) = (Nodes::of(log, 0)?, self.sampling.batch_size);
        let mut all = Updated::default();
        let step = batch * (EVENTS / batch).max(1);
        for first in (0..log.events()).step_by(step) {
            let end = (first + step).min(log.events());
            let events = self.events_within(log, &nodes, first..end)?;
            self.check(&events, first)?;
            all.add(&self.update(&events, late)?);
        }
        Ok(all)
    }

    /// The events of `log` as events to follow.
    pub(super) fn events_of(&self, log: &EventLog) -> Result<Vec<NewEvent>, PredictError> {
        self.events_within(log, &Nodes::of(log, 0)?, 0..log.events())
    }

    /// The events `within` of `log`, whose nodes are `nodes`.
    fn events_within(
        &self,
        log: &EventLog,
        nodes: &Nodes,
        within: Range<usize>,
    ) -> Result<Vec<NewEvent>, PredictError> {
        let (own, theirs) = (self.ticks_per_unit(), log.ticks_per_unit());
        let mut events = Vec::with_capacity(within.len());
        for event in within {
            let ticks = log.time()[event];
            let exact = i128::from(ticks) * i128::from(own);
            let time = (exact % i128::from(theirs) == 0)
                .then(|| i64::try_from(exact / i128::from(theirs)).ok())
                .flatten();
            let time = time.ok_or_else(|| PredictError::Key {
                what: format!("event {event}"),
                found: mspipe_datasets::asked::time_text(ticks, theirs),
                expected: "a time that is no finer than those of the model's stream; round it",
            })?;
            let mut features = vec![0.0; log.edge_features().map_or(0, FeatureTable::width)];
            if let Some(table) = log.edge_features() {
                table.row_into(event, &mut features);
            }
            events.push(NewEvent {
                src: nodes.key(NodeId(log.src()[event])),
                dst: nodes.key(NodeId(log.dst()[event])),
                time,
                features,
            });
        }
        Ok(events)
    }

    /// Writes its state to `path`, which appears when it is whole; `contained` with all that is needed of
    /// the stream, so that it need not be where the state is loaded.
    ///
    /// # Errors
    /// When it can't be written, or `existing` keeps what is there.
    pub fn save(
        &self,
        path: &Path,
        contained: bool,
        existing: Existing,
    ) -> Result<(), PredictError> {
        if self.broken {
            return Err(PredictError::Broken);
        }
        let mut standing = self.standing.clone();
        standing.self_contained = contained || standing.self_contained;
        let needed = self.needed();
        let (base, all) = (standing.base, self.events());
        let contained = standing.self_contained.then(|| self.contained(&needed));
        let later = self.kept_events(base..all, &needed);
        device::on_device_thread(|| {
            let weights = tgl_weights::unread(&self.model).map_err(SessionError::Unreadable)?;
            Written {
                standing: &standing,
                weights: &weights,
                constants: &self.sampling.constants(),
                memory: &self.memory,
                nodes: &self.nodes,
                later: &later,
                contained: contained.as_ref(),
            }
            .write(path, existing)
        })?
    }

    /// What questions may need of the stream before the later events.
    fn contained(&self, needed: &[u32]) -> Contained {
        let nodes: Vec<u32> = (0..self.standing.data.nodes as u32).collect();
        let [_, node] = self.sampling.features.unscaled(&[], &nodes);
        Contained {
            events: self.kept_events(0..self.standing.base, needed),
            node,
        }
    }

    /// The events `events`, with the features of those that are `needed`.
    fn kept_events(&self, events: Range<usize>, needed: &[u32]) -> Events {
        let stream = &self.sampling.log;
        let first = needed.partition_point(|&event| (event as usize) < events.start);
        let end = needed.partition_point(|&event| (event as usize) < events.end);
        let needed = &needed[first..end];
        let [edge, _] = self.sampling.features.unscaled(needed, &[]);
        Events {
            src: stream.src()[events.clone()].to_vec(),
            dst: stream.dst()[events.clone()].to_vec(),
            time: stream.time()[events.clone()].to_vec(),
            rows: needed
                .iter()
                .map(|&event| event - events.start as u32)
                .collect(),
            edge,
        }
    }
}
