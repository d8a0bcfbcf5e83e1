//! Memory follows new events, and a state is written down.

use std::ops::Range;
use std::path::Path;
use std::sync::PoisonError;

use mspipe_datasets::whole_file::Existing;
use mspipe_datasets::{EventLog, FeatureTable, MAX_TIME, NodeKey};

use super::Predictor;
use super::error::PredictError;
use super::kept::{self, Reached};
use super::nodes::{Nodes, Side};
use super::state::{Later, Snapshot, ToContain};
use crate::batch::{Roots, TimeDelta};
use crate::config::SamplerName;
use crate::device;
use crate::features::{FeatureSource, FollowedRows};
use crate::graph::{NodeId, Timestamp};
use crate::model::tgl_weights;
use crate::sampling::pair_history::PairHistory;
use crate::session::SessionError;
use crate::train::following::{self, ToKeep};
use crate::train::stream::Stream;

/// An event that has happened.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The source; one that was never seen becomes a node.
    pub src: NodeKey,
    /// The destination, as the source.
    pub dst: NodeKey,
    /// When, in ticks; see [`Predictor::ticks`].
    pub time: i64,
    /// Edge features, as many as [`Predictor::feature_width`], in the order of
    /// [`Predictor::feature_names`].
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

/// Distinct nodes whose rows a batch has changed, as far as they are to be made again.
#[derive(Debug, Default)]
pub(crate) struct Changed(pub(super) Vec<NodeId>);

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
        while self.follow_batch()?.is_some() {
            if let Some(mut rest) = self.outlived() {
                while !self.let_go(&mut rest, usize::MAX) {}
            }
        }
        Ok(())
    }

    /// Has memory follow the first batch of what was observed, if there is one, and lets go of nothing; returns what
    /// it has changed, where it pays to [make that again](Predictor::make_again) at once.
    ///
    /// # Errors
    /// As [`follow`](Predictor::follow).
    pub(crate) fn follow_batch(&mut self) -> Result<Option<Changed>, PredictError> {
        if self.broken {
            return Err(PredictError::Broken);
        }
        let (first, end) = (self.standing.followed, self.sampling.log.events());
        if first == end {
            return Ok(None);
        }
        self.broken = true;
        let batch = first..(first + self.sampling.batch_size).min(end);
        self.standing.followed = batch.end;
        let (model, sampling) = (&self.model, &self.sampling);
        let (memory, device) = (&mut self.memory, &self.device);
        let updated = self.updated.get_mut();
        let updated = updated.unwrap_or_else(PoisonError::into_inner);
        let mut changed = device::on_device_thread(|| {
            following::follow(model, sampling, memory, device, batch, Some(updated))
        })??;
        updated.forget_nodes(&changed);
        self.sampling.settle(self.standing.followed);
        self.broken = false;
        match self.stay_rows() {
            true => {
                changed.sort_unstable();
                changed.dedup();
            }
            false => changed.clear(),
        }
        Ok(Some(Changed(changed)))
    }

    /// Whether a row stays what it is until its node's next event: it has no query time, and no mail of others.
    fn stay_rows(&self) -> bool {
        let layout = &self.sampling.layout;
        layout.time_delta != TimeDelta::Query && !layout.mail_rule.to_neighbors
    }

    /// Makes the rows that memory needs when it follows `events` as part of the next batch, which it finds then:
    /// most of what following costs, and nothing changes meanwhile.
    ///
    /// # Errors
    /// Ids of another kind, a device that fails.
    #[cfg_attr(
        not(feature = "serve"),
        allow(dead_code, reason = "only a server is asked while it follows")
    )]
    pub(crate) fn make_ready(&self, events: &[&NewEvent]) -> Result<(), PredictError> {
        let mut roots = Roots::default();
        for (place, event) in events.iter().enumerate() {
            let what = || format!("event {place}");
            for (key, side) in [(&event.src, Side::Source), (&event.dst, Side::Destination)] {
                let node = self.found(key, side, what)?;
                // A new one has a place when it is observed.
                if node.index() < self.nodes.len() {
                    roots.node.push(node);
                    roots.time.push(event.time);
                }
            }
        }
        if roots.node.is_empty() {
            return Ok(());
        }
        self.make_rows(&roots)
    }

    /// Makes at most `most` of the rows that a [batch](Predictor::follow_batch) has changed: once, as their nodes' next
    /// batch would, and questions find them before. Whether that is all.
    ///
    /// # Errors
    /// A device that fails.
    #[cfg_attr(
        not(feature = "serve"),
        allow(dead_code, reason = "only a server is asked while it follows")
    )]
    pub(crate) fn make_again(
        &self,
        Changed(nodes): &mut Changed,
        most: usize,
    ) -> Result<bool, PredictError> {
        let node = nodes.split_off(nodes.len().saturating_sub(most));
        if node.is_empty() {
            return Ok(true);
        }
        let time = vec![self.last().unwrap_or_default(); node.len()];
        self.make_rows(&Roots { node, time })?;
        Ok(nodes.is_empty())
    }

    fn make_rows(&self, roots: &Roots) -> Result<(), PredictError> {
        self.ask(|asked, updated| {
            asked.make_rows(roots, updated);
            Ok(())
        })
    }

    /// What nothing can ask for any more of the graph and of features, each time that there is a quarter more
    /// than was kept the last time; pair histories and the last events are let go of at once. What is kept grows
    /// with nodes and pairs, and not with events.
    pub(crate) fn outlived(&self) -> Option<ToKeep> {
        /// Entries and rows that are not worth the look.
        const FEW: usize = 16_384;
        if self.keeps_all || self.held() < self.let_go_at.max(FEW) {
            return None;
        }
        let reached = self.reached(self.sampled_layers())?;
        let needed = self.needed_of(&reached);
        let edge = self.sampling.features.followed_edge();
        Some(ToKeep {
            rows: edge.map(|edge| edge.to_keep(needed)).unwrap_or_default(),
            places: reached.places,
            next: Some(NodeId(0)),
        })
    }

    /// Lets go of some of what is not in `rest`, looking at about `most` entries or rows; whether that is all.
    /// Nothing is observed in between.
    pub(crate) fn let_go(&mut self, rest: &mut ToKeep, most: usize) -> bool {
        let end = self.sampling.keep(rest, most);
        if end {
            self.let_go_at = self.held() + self.held() / 4;
        }
        end
    }

    /// Entries of the graph and rows of features that came since it was loaded.
    pub(super) fn held(&self) -> usize {
        let edge = self.sampling.features.followed_edge();
        self.sampling.graph.newer_entries() + edge.map_or(0, FollowedRows::newer)
    }

    /// Layers through which past events are sampled, for mail if not for embeddings.
    fn sampled_layers(&self) -> usize {
        let layout = &self.sampling.layout;
        layout.layers.max(layout.mail_rule.to_neighbors.into())
    }

    /// What sampling through `layers` layers may reach from now on; nothing if that is all.
    fn reached(&self, layers: usize) -> Option<Reached> {
        let config = &self.standing.config.model;
        if config.sampler == SamplerName::Uniform && layers > 0 {
            return None;
        }
        // No question is asked at an earlier time.
        let last = self.standing.followed.checked_sub(1);
        let last = last.map_or(Timestamp::MIN, |event| self.sampling.log.time_of(event));
        let nodes = self.sampling.log.nodes();
        let rule = [layers, config.fanout];
        Some(kept::reached(&self.sampling.graph, rule, nodes, last))
    }

    /// The events, ascending, whose features questions and memory may need from now on; `reached` is
    /// what sampling reaches for embeddings or for mail.
    fn needed_of(&self, reached: &Reached) -> Vec<u32> {
        if self.standing.model.edge_width == 0 {
            return Vec::new();
        }
        let (followed, all) = (self.standing.followed as u32, self.events() as u32);
        let mut needed = match self.sampling.layout.layers {
            // Mail has the features of its own event alone.
            0 => Vec::new(),
            _ => reached.events.clone(),
        };
        needed.truncate(needed.partition_point(|&event| event < followed));
        needed.extend(followed..all);
        needed
    }

    /// The same, whatever is sampled.
    fn needed(&self) -> Vec<u32> {
        match self.reached(self.sampling.layout.layers) {
            Some(reached) => self.needed_of(&reached),
            None if self.standing.model.edge_width == 0 => Vec::new(),
            None => (0..self.events() as u32).collect(),
        }
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
                    names: self.feature_names().unwrap_or_default().to_vec(),
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
    pub(crate) fn given_width(&self) -> Option<usize> {
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
    /// that a long stream need not lie in RAM. Its features are taken by their names, in any order, where both
    /// streams have names; else in their order, and the names are kept if there were none.
    ///
    /// # Errors
    /// As [`update`](Predictor::update); features of other names, before any event is followed; times finer than
    /// the stream's, names that can't be read: memory may have followed the first events then.
    pub fn update_from(&mut self, log: &EventLog, late: Late) -> Result<Updated, PredictError> {
        /// Events at a time, about.
        const EVENTS: usize = 8192;
        let order = self.feature_order(log)?;
        let (nodes, batch) = (Nodes::of(log, 0)?, self.sampling.batch_size);
        let mut all = Updated::default();
        let step = batch * (EVENTS / batch).max(1);
        for first in (0..log.events()).step_by(step) {
            let end = (first + step).min(log.events());
            let mut events = self.events_within(log, &nodes, first..end)?;
            if let Some(order) = &order {
                for event in &mut events {
                    event.features = order.iter().map(|&at| event.features[at]).collect();
                }
            }
            self.check(&events, first + 1)?;
            all.add(&self.update(&events, late)?);
        }
        self.learn_names(log)?;
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
        let mut events = Vec::with_capacity(within.len());
        for event in within {
            let time = self.time_of(log, event)?;
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
        self.snapshot(contained)?.write(path, existing)
    }

    /// What [`save`](Predictor::save) writes: tables are copied, rows of features shared.
    pub(crate) fn snapshot(&self, contained: bool) -> Result<Snapshot, PredictError> {
        if self.broken {
            return Err(PredictError::Broken);
        }
        let mut standing = self.standing.clone();
        standing.self_contained = contained || standing.self_contained;
        standing.events = self.events();
        let (base, needed) = (standing.base as u32, self.needed());
        let (of_stream, of_later) = needed.split_at(needed.partition_point(|&event| event < base));
        let Stream::Followed(stream) = &self.sampling.log else {
            unreachable!("a predictor's stream is followed");
        };
        let weights = device::on_device_thread(|| tgl_weights::export(&self.model))?;
        Ok(Snapshot {
            weights: weights.map_err(SessionError::Unreadable)?,
            constants: self.sampling.constants(),
            memory: self.memory.clone(),
            nodes: self.nodes.save(),
            later: Later {
                newest: stream.newer.columns.clone(),
                graph: self.sampling.graph.newer(),
                histories: (self.sampling.histories.built()).map(PairHistory::newer),
                rows: of_later.to_vec(),
                edge: Vec::new(),
            },
            contained: standing.self_contained.then(|| ToContain {
                columns: stream.opened.clone(),
                rows: of_stream.to_vec(),
                nodes: standing.data.nodes,
            }),
            features: self.sampling.features.clone(),
            standing,
        })
    }

    /// Bytes that it takes, by what they are for; see docs/predict.md.
    pub fn bytes(&self) -> Vec<(&'static str, u64)> {
        let Stream::Followed(stream) = &self.sampling.log else {
            unreachable!("a predictor's stream is followed");
        };
        let [opened, newest] = stream.bytes();
        let [graph, met] = self.sampling.graph.bytes();
        let histories = self.sampling.histories.built().map(PairHistory::bytes);
        let [opened_histories, histories] = histories.unwrap_or_default();
        vec![
            ("memory", self.memory.bytes()),
            ("ids", self.nodes.bytes()),
            ("features", self.sampling.features.followed_bytes()),
            ("graph", graph),
            ("met", met),
            ("histories", histories),
            ("last_events", newest),
            ("stream", opened),
            ("stream_histories", opened_histories),
        ]
    }
}
