//! What can be audited, and what it says of itself.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::AuditStream;
use crate::graph::{EventId, NodeId, Queries, Tcsr, Timestamp};
use crate::sampling::{NeighborSampler, Neighbors, SampleKey};

/// What can be audited.
pub trait Subject {
    /// Why it could not do what it was asked to.
    type Error;

    /// Goes over the whole stream, batch after batch, from empty memory, as an evaluation does.
    ///
    /// # Errors
    /// When it fails.
    fn scores(&mut self, stream: &AuditStream) -> Result<Vec<ScoredBatch>, Self::Error>;

    /// The loss of each iteration of a training run over the stream's training part.
    ///
    /// # Errors
    /// When it fails.
    fn losses(&mut self, stream: &AuditStream) -> Result<Vec<f32>, Self::Error>;

    /// Everything that a run keeps; it tests while it runs if `tested`.
    ///
    /// # Errors
    /// When it fails.
    fn kept(&mut self, stream: &AuditStream, tested: bool) -> Result<Kept, Self::Error>;

    /// Goes over the whole stream as whoever asks a trained model does: each batch's pairs and their
    /// negatives are asked for, if it is `asked`, and then memory follows its events. None where
    /// nobody can ask.
    ///
    /// # Errors
    /// When it fails.
    fn answers(
        &mut self,
        stream: &AuditStream,
        asked: bool,
    ) -> Result<Option<Answers>, Self::Error>;

    /// Goes over the whole stream and gives what a classifier of labels, trained on the training part,
    /// says of each labelled event after it. None where no labels are classified.
    ///
    /// # Errors
    /// When it fails.
    fn label_scores(&mut self, stream: &AuditStream) -> Result<Option<LabelScores>, Self::Error> {
        let _ = stream;
        Ok(None)
    }

    /// What a root may see.
    fn sight(&self) -> Sight;
}

/// What a classifier says of labelled events.
#[derive(Debug, Clone, Default)]
pub struct LabelScores {
    /// Each event with its logits.
    pub events: Vec<(usize, Vec<f32>)>,
    /// Whether the events' own features are among what is classified, which their label may be learned
    /// from.
    pub reads_own_features: bool,
}

/// What a subject answered, and what it keeps afterwards.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Batch after batch; none where nothing was asked.
    pub batches: Vec<ScoredBatch>,
    /// Memory after the last event.
    pub kept: Kept,
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
    /// Events per batch.
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

/// What a run keeps, by name, bit for bit.
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
