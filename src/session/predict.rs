//! What a trained model answers: scores, rankings and embeddings, and memory that follows the stream.
//!
//! A [`Predictor`] holds the weights of a run's best epoch, node memory after the last event, and the
//! past that sampling and pair histories read. It answers on the caller's own ids, in the caller's
//! order. What it says of a pair is what an evaluation says of it that has come to the same event, bit
//! for bit, whatever else is asked for with it.
//!
//! Invariants: asking changes nothing; memory follows events in the order in which they are given, and
//! never an event twice. Node memory lies in RAM, on any device, so that it can grow; nothing is made
//! for training.

mod audited;
mod compared;
mod error;
#[cfg(feature = "serve")]
mod identity;
mod kept;
pub(super) mod nodes;
mod opening;
mod state;
mod updating;

use std::fmt;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use mspipe_datasets::{NodeKey, Stop, asked};

pub use crate::run_folder::STATE as FILE_NAME;
pub use compared::MaxJump;
pub use error::PredictError;
#[cfg(feature = "serve")]
pub(crate) use identity::identity;
pub use nodes::Side;
pub use opening::LoadOptions;
#[cfg(feature = "serve")]
pub(crate) use updating::Changed;
pub use updating::{Late, NewEvent, Updated};

use nodes::Nodes;
use state::Standing;

use crate::device;
use crate::graph::{NodeId, Timestamp};
use crate::memory::host::HostMemory;
use crate::model::LinkModel;
use crate::run_folder::DeviceRecord;
use crate::train::following::Asked;
use crate::train::pair_scores::UpdatedRows;
use crate::train::pass::Sampling;

/// A pair that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The source.
    pub src: NodeKey,
    /// The destination.
    pub dst: NodeKey,
    /// When, in ticks; see [`Predictor::ticks`].
    pub time: i64,
}

/// What the model says of a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The model's own number: the larger, the likelier.
    pub logit: f32,
    /// Its sigmoid, between 0 and 1: how the model tells the pair from a random negative. It is no
    /// probability that the two interact, which depends on how many others could.
    pub score: f32,
    /// Whether the source and the destination have had an event.
    pub known: [bool; 2],
}

/// A destination and what the model says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The destination.
    pub node: NodeKey,
    /// As in [`Score`].
    pub logit: f32,
    /// As in [`Score`].
    pub score: f32,
}

/// See the module.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mspipe::{DeviceChoice, EventLog, EventLogParts, Late, NewEvent, Pair, Predictor, RunConfig};
///
/// # let folder = tempfile::tempdir()?;
/// # let log = Arc::new(EventLog::from_parts(EventLogParts {
/// #     name: "mine".to_owned(),
/// #     nodes: 30,
/// #     src: (0..400).map(|event| event % 20).collect(),
/// #     dst: (0..400).map(|event| 20 + event % 10).collect(),
/// #     time: (0..400).collect(),
/// #     ..EventLogParts::default()
/// # })?);
/// # let mut config = RunConfig { device: DeviceChoice::Cpu.into(), ..RunConfig::default() };
/// # config.model.width = 8;
/// # config.training.epochs = 1;
/// # config.training.batch_size = 50;
/// # config.output.out = Some(folder.path().join("run"));
/// // A run on the events of `log`, nodes 0 to 29.
/// let (_, run) = mspipe::train_on(&log, config, |_event| Ok(()))?;
/// # let run = run.path();
/// let mut predictor = Predictor::load_on(run, &log)?;
///
/// // Source 3 and destination 23, just after the last event.
/// let now = predictor.last().map_or(0, |last| last + 1);
/// let pair = Pair { src: 3u64.into(), dst: 23u64.into(), time: now };
/// let scores = predictor.score(&[pair])?;
/// assert_eq!(scores[0].known, [true, true]);
///
/// // The five destinations that suit it best.
/// let best = predictor.top_k(&3u64.into(), now, 5, false)?;
/// assert_eq!(best.len(), 5);
///
/// // Memory follows a new event, of a node that nobody has seen.
/// let event = NewEvent { src: 99u64.into(), dst: 23u64.into(), time: now, features: vec![] };
/// let updated = predictor.update(&[event], Late::Refuse)?;
/// assert_eq!((updated.events, updated.new_nodes), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Predictor {
    model: LinkModel,
    device: Device,
    /// What it is called.
    adapter: DeviceRecord,
    sampling: Sampling,
    /// With one row more than there are nodes, for whoever was never seen.
    memory: HostMemory,
    nodes: Nodes,
    standing: Standing,
    /// Entries and rows of later events at which those that nothing can ask for are let go of.
    let_go_at: usize,
    /// Nothing is let go of: what is audited may ask for anything.
    keeps_all: bool,
    /// Rows that questions and what follows share until memory changes.
    updated: Mutex<UpdatedRows>,
    stop: Stop,
    /// An update has failed.
    broken: bool,
}

impl Predictor {
    /// What the model says of each pair, in the order of `pairs`, from the events so far.
    ///
    /// # Errors
    /// An id of another kind, a time before the last event that memory has followed, a device that
    /// fails, a score that is not finite.
    pub fn score(&self, pairs: &[Pair]) -> Result<Vec<Score>, PredictError> {
        let mut ends = [Vec::new(), Vec::new()];
        let mut known = Vec::with_capacity(pairs.len());
        for (place, pair) in pairs.iter().enumerate() {
            let what = || format!("pair {place}");
            self.check_time(pair.time, what)?;
            let [src, dst] = [(&pair.src, Side::Source), (&pair.dst, Side::Destination)]
                .map(|(key, side)| self.found(key, side, what));
            let (src, dst) = (src?, dst?);
            known.push([src, dst].map(|node| self.is_known(node)));
            ends[0].push(src);
            ends[1].push(dst);
        }
        let time: Vec<Timestamp> = pairs.iter().map(|pair| pair.time).collect();
        let [src, dst] = &ends;
        let logits = self.ask(|asked, updated| asked.scores([src, dst], &time, updated))?;
        let scores = logits.into_iter().zip(known).enumerate();
        scores
            .map(|(place, (logit, known))| {
                self.check_finite(logit, || format!("pair {place}"))?;
                let score = sigmoid(logit);
                Ok(Score {
                    logit,
                    score,
                    known,
                })
            })
            .collect()
    }

    /// The `k` destinations with the highest scores for `source` at `time`, the best first, of all that
    /// were the destination of an event; of equal ones those that were seen first. With `exclude_seen`
    /// without those that it has had an event with.
    ///
    /// # Errors
    /// As [`Predictor::score`].
    pub fn top_k(
        &self,
        source: &NodeKey,
        time: i64,
        k: usize,
        exclude_seen: bool,
    ) -> Result<Vec<Ranked>, PredictError> {
        let what = || format!("source {source}");
        self.check_time(time, what)?;
        let node = self.found(source, Side::Source, what)?;
        let mut candidates: Vec<NodeId> = self.nodes.destinations().collect();
        if exclude_seen {
            let graph = &self.sampling.graph;
            let mut built = graph.built_partners(node).to_vec();
            built.sort_unstable();
            candidates.retain(|&candidate| !graph.has_met(node, candidate, &built));
        }
        if candidates.is_empty() || k == 0 {
            return Ok(Vec::new());
        }
        let logits =
            self.ask(|asked, updated| asked.scores_of_source(node, &candidates, time, updated))?;
        let mut ranked: Vec<(f32, NodeId)> = logits.into_iter().zip(candidates).collect();
        for &(logit, candidate) in &ranked {
            let pair = || format!("source {source}, destination {}", self.nodes.key(candidate));
            self.check_finite(logit, pair)?;
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let best = ranked.into_iter().take(k);
        Ok(best
            .map(|(logit, node)| Ranked {
                node: self.nodes.key(node),
                logit,
                score: sigmoid(logit),
            })
            .collect())
    }

    /// The embedding of each node at `time`, `[nodes, width]`, row by row. `side` says which nodes are
    /// meant where sources and destinations are of two kinds.
    ///
    /// # Errors
    /// As [`Predictor::score`].
    pub fn embed(
        &self,
        nodes: &[NodeKey],
        side: Side,
        time: i64,
    ) -> Result<Vec<f32>, PredictError> {
        self.check_time(time, || "the embeddings".to_owned())?;
        let found: Result<Vec<NodeId>, PredictError> = nodes
            .iter()
            .map(|key| self.found(key, side, || format!("node {key}")))
            .collect();
        let (found, times) = (found?, vec![time; nodes.len()]);
        self.ask(|asked, updated| asked.embeddings(&found, &times, updated))
    }

    /// Numbers of an embedding.
    pub fn width(&self) -> usize {
        self.standing.model.width
    }

    /// All nodes: their ids, and of which kind each is where there are two.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeKey, Option<Side>)> + '_ {
        let nodes = (0..self.nodes.len() as u32).map(NodeId);
        nodes.map(|node| (self.nodes.key(node), self.nodes.side(node)))
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Events of a batch: as many as in training.
    pub fn batch_size(&self) -> usize {
        self.sampling.batch_size
    }

    /// Whether ids are text.
    pub fn ids_are_text(&self) -> bool {
        self.nodes.are_text()
    }

    /// Whether sources and destinations are nodes of two kinds, so that an id may name one of each.
    pub fn has_two_kinds(&self) -> bool {
        self.nodes.are_two_kinds()
    }

    /// Whether a node has had an event.
    ///
    /// # Errors
    /// When the id is of another kind than the stream's.
    pub fn knows(&self, key: &NodeKey, side: Side) -> Result<bool, PredictError> {
        let node = self.found(key, side, || format!("node {key}"))?;
        Ok(self.is_known(node))
    }

    /// The last event's time, in ticks, if there was an event.
    pub fn last(&self) -> Option<i64> {
        let last = self.events().checked_sub(1);
        last.map(|event| self.sampling.log.time_of(event))
    }

    /// Whether a time may be asked for: one that is not before the last event that memory has followed.
    pub fn can_ask_at(&self, time: i64) -> bool {
        self.check_time(time, String::new).is_ok()
    }

    /// Ticks from the first to the last event of the stream that it was opened with.
    pub fn span(&self) -> i64 {
        let time = self.sampling.log.time();
        let ends = time.first().zip(time.last());
        ends.map_or(0, |(first, last)| last - first)
    }

    /// Events so far.
    pub fn events(&self) -> usize {
        self.sampling.log.events()
    }

    /// Numbers of an event's features; a model that reads none takes any and looks at none.
    /// [`Predictor::feature_names`] says what they are.
    pub fn feature_width(&self) -> usize {
        self.given_width().unwrap_or(0)
    }

    /// Ticks in the stream's unit of time.
    pub fn ticks_per_unit(&self) -> i64 {
        self.standing.ticks_per_unit
    }

    /// The time `text`, a decimal number in the stream's unit or a date, in ticks; an error says what was
    /// expected.
    ///
    /// # Errors
    /// When it is no time, or finer than the stream's.
    pub fn ticks(&self, text: &str) -> Result<i64, String> {
        asked::ticks(text, self.ticks_per_unit())
    }

    /// A time in ticks as the stream's file writes it.
    pub fn time_text(&self, ticks: i64) -> String {
        asked::time_text(ticks, self.ticks_per_unit())
    }

    /// The settings of the run.
    pub fn config(&self) -> &crate::config::RunConfig {
        &self.standing.config
    }

    /// The stream that the run was made on.
    pub fn data(&self) -> &crate::run_folder::Dataset {
        &self.standing.data
    }

    /// Where it computes.
    pub fn device(&self) -> &DeviceRecord {
        &self.adapter
    }

    /// Late events so far: those that were moved to the end, and those that were refused.
    pub fn late(&self) -> [u64; 2] {
        self.standing.late
    }

    /// Work with it ends early once `stop` is requested.
    pub fn stop_at(&mut self, stop: Stop) {
        self.stop = stop;
    }

    /// Asks on the device thread.
    fn ask<T: Send>(
        &self,
        question: impl FnOnce(&Asked<'_>, &mut UpdatedRows) -> Result<T, crate::train::error::EvalError>
        + Send,
    ) -> Result<T, PredictError> {
        if self.broken {
            return Err(PredictError::Broken);
        }
        let asked = Asked {
            model: &self.model,
            device: &self.device,
            sampling: &self.sampling,
            memory: &self.memory,
            followed: self.standing.followed,
            stop: &self.stop,
        };
        let shared = || self.updated.lock().unwrap_or_else(PoisonError::into_inner);
        // Not locked meanwhile: another question at the same time begins with no rows.
        let mut updated = std::mem::take(&mut *shared());
        let (answer, updated) = device::on_device_thread(|| {
            let answer = question(&asked, &mut updated);
            (answer, updated)
        })?;
        let answer = answer?;
        *shared() = updated;
        Ok(answer)
    }

    /// The node that `key` names, or the one that stands for all that were never seen.
    fn found(
        &self,
        key: &NodeKey,
        side: Side,
        what: impl Fn() -> String,
    ) -> Result<NodeId, PredictError> {
        let found = self
            .nodes
            .find(key, side)
            .map_err(|expected| PredictError::Key {
                what: what(),
                found: key.to_string(),
                expected,
            })?;
        Ok(found.unwrap_or(NodeId(self.nodes.len() as u32)))
    }

    fn is_known(&self, node: NodeId) -> bool {
        let observed = self.standing.followed..self.sampling.log.events();
        let mut newer = observed.map(|event| self.sampling.log.ends_of(event));
        self.memory.node_times().has_mail(node) || newer.any(|ends| ends.contains(&node))
    }

    fn check_time(&self, time: i64, what: impl Fn() -> String) -> Result<(), PredictError> {
        let last = self.standing.followed.checked_sub(1);
        let last = last.map(|event| self.sampling.log.time_of(event));
        match last {
            Some(last) if time < last => Err(PredictError::Past {
                what: what(),
                asked: self.time_text(time),
                last: self.time_text(last),
            }),
            _ => Ok(()),
        }
    }

    fn check_finite(&self, found: f32, what: impl Fn() -> String) -> Result<(), PredictError> {
        match found.is_finite() {
            true => Ok(()),
            false => Err(PredictError::NotFinite {
                what: what(),
                found,
            }),
        }
    }
}

impl fmt::Debug for Predictor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Predictor")
            .field("model", &self.standing.model)
            .field("data", &self.standing.data)
            .field("events", &self.events())
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

/// 1 / (1 + exp(-x)).
fn sigmoid(logit: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32
}
