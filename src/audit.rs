//! The leak auditor: does a score know more than it may?
//!
//! What is audited is a [`Subject`]: streams go in, scores and what a run keeps come out. The
//! auditor knows neither models nor devices. It changes the stream where a score must not see it and
//! compares bits; it counts by itself, from the stream alone, how many past events each root must
//! have been given; and it compares what is kept with and without an evaluation of the test part.
//! That it would notice anything is a check of its own: changes of the past must change scores.
//!
//! The rule that is checked: the score of an event at time t may depend on its own two nodes and t,
//! on events before t, and on nothing else: not on its own features and label, not on other events
//! of time t, not on what else is in its batch. (An event of an *earlier batch* is in memory even
//! where it has the same time, as in TGN and TGL: batches are cut by position.)
//!
//! It can't find what is outside this rule, such as features that were computed from the future
//! before they came into the file; see `docs/audit.md`.

mod changes;
mod counts;
mod report;
mod scores;
pub mod stream;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::graph::{EventId, NodeId, Queries, Tcsr, Timestamp};
use crate::sampling::{NeighborSampler, Neighbors, SampleKey};
pub use report::{Check, CheckRecord, Finding, Report};
pub use stream::AuditStream;

/// What can be audited.
pub trait Subject {
    /// Why it could not do what it was asked to.
    type Error;

    /// Goes over the whole stream, batch after batch, from empty memory, as an evaluation does.
    ///
    /// # Errors
    /// When it fails.
    fn scores(&mut self, stream: &AuditStream) -> Result<Vec<ScoredBatch>, Self::Error>;

    /// The loss of each iteration of a training over the stream's training part.
    ///
    /// # Errors
    /// When it fails.
    fn losses(&mut self, stream: &AuditStream) -> Result<Vec<f32>, Self::Error>;

    /// Everything that a training keeps; it tests while it runs if `tested`.
    ///
    /// # Errors
    /// When it fails.
    fn kept(&mut self, stream: &AuditStream, tested: bool) -> Result<Kept, Self::Error>;

    /// What a root may see.
    fn sight(&self) -> Sight;
}

/// What a root may see of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Past events that a root is given at most.
    pub fanout: usize,
    /// Whether a destination sees its events too, not the source alone.
    pub both_directions: bool,
    /// Whether the events of a batch are hidden from one another, whatever their times.
    pub hide_batch: bool,
    /// Events of a batch.
    pub batch_size: usize,
}

/// What a subject made of a batch.
#[derive(Debug, Clone, Default)]
pub struct ScoredBatch {
    /// Its events.
    pub events: Range<usize>,
    /// Score of each event.
    pub positive: Vec<f32>,
    /// Score of each event's negative.
    pub negative: Vec<f32>,
    /// Reciprocal rank of each event, where the protocol ranks.
    pub rank: Vec<f64>,
    /// What was sampled for it.
    pub sampled: Vec<Sampled>,
}

/// One call of a sampler.
#[derive(Debug, Clone)]
pub struct Sampled {
    /// First event of the batch that asked, as the sampler was told.
    pub event: u64,
    /// Which call of the batch; the first is for the batch's roots.
    pub request: u32,
    /// The roots.
    pub node: Vec<NodeId>,
    /// Their query times, in ticks.
    pub time: Vec<Timestamp>,
    /// What they were given.
    pub neighbors: Neighbors,
}

/// What a training keeps, by name, bit for bit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept(pub Vec<(String, Vec<u32>)>);

/// A sampler that takes down what it is asked and what it answers.
pub(crate) struct Recording {
    sampler: Arc<dyn NeighborSampler>,
    seen: Mutex<Vec<Sampled>>,
}

impl Recording {
    /// Records `sampler`.
    pub(crate) fn of(sampler: Arc<dyn NeighborSampler>) -> Recording {
        Recording {
            sampler,
            seen: Mutex::default(),
        }
    }

    /// What was recorded since the last call.
    pub(crate) fn take(&self) -> Vec<Sampled> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl NeighborSampler for Recording {
    fn sample(
        &self,
        graph: &Tcsr,
        roots: Queries<'_>,
        hidden_from: Option<EventId>,
        key: SampleKey,
    ) -> Neighbors {
        let neighbors = self.sampler.sample(graph, roots, hidden_from, key);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(Sampled {
            event: key.event,
            request: key.request,
            node: roots.node.to_vec(),
            time: roots.time.to_vec(),
            neighbors: neighbors.clone(),
        });
        neighbors
    }
}

/// Runs all checks; `probes` is at how many events the stream is changed, `progress` is told which
/// check begins.
///
/// # Errors
/// When the subject fails.
pub fn run<S: Subject>(
    subject: &mut S,
    stream: &AuditStream,
    probes: usize,
    mut progress: impl FnMut(Check),
) -> Result<Report, S::Error> {
    let sight = subject.sight();
    progress(Check::Past);
    let base = subject.scores(stream)?;
    let mut checks = vec![scores::of_the_past(subject, stream, &base)?];
    let probes = scores::probes(stream.events(), sight.batch_size, probes);
    for check in [
        Check::Future,
        Check::EqualTime,
        Check::OwnFeatures,
        Check::Repeats,
    ] {
        progress(check);
        checks.push(scores::around(subject, stream, &base, &probes, check)?);
    }
    progress(Check::NeighborCounts);
    checks.push(counts::of_neighbors(&base, stream, sight));
    progress(Check::Training);
    checks.push(scores::of_training(subject, stream, sight.batch_size)?);
    progress(Check::TestTrace);
    checks.push(scores::of_testing(subject, stream)?);
    Ok(Report { checks })
}
