//! Scores of pairs beside a batch: its candidates (one against many) and negatives with sources of
//! their own.
//!
//! Pairs are queried at the time of the event that they belong to, with the batch's own sampling
//! rule and from the memory that the batch itself reads. They write nothing: neither memory nor
//! mail knows that they were asked for. They go through the model in chunks, so that a thousand
//! candidates an event need no more memory than a few.

use burn::tensor::Device;
use mspipe_datasets::Stop;

use super::divergence::check_scores;
use super::error::{StageError, Unsound};
use super::pass::Sampling;
use super::upload;
use crate::batch::{EventBatch, Layout};
use crate::eval::Rank;
use crate::graph::{NodeId, Queries, Timestamp};
use crate::memory::{MemoryError, MemoryRequest, MemoryStore};
use crate::model::LinkModel;
use crate::sampling::{Candidates, NegativeKey};

/// Pairs of one trip through the model: about as many roots as a usual batch has twice over.
pub(crate) const PAIRS_PER_CHUNK: usize = 4096;

/// A pair and the event, counted from the batch's first, whose time it has.
type EventPair = (usize, NodeId, NodeId);

/// What is scored beside each batch, and the results so far.
pub(crate) struct BesideBatch<'a> {
    /// The model, without autodiff.
    pub model: &'a LinkModel,
    /// Device without autodiff.
    pub device: &'a Device,
    /// Stream and rules.
    pub sampling: &'a Sampling,
    /// Whom an event's destination is ranked among, with what their draws depend on.
    pub candidates: Option<(&'a Candidates, NegativeKey)>,
    /// Ends it early: a batch with a thousand candidates an event takes seconds.
    pub stop: &'a Stop,
    /// Scores of the batches' negatives that have sources of their own.
    pub negatives: Vec<Vec<f32>>,
    /// Rank of each event's destination.
    pub ranks: Vec<Rank>,
}

impl BesideBatch<'_> {
    /// Scores what belongs beside `batch`, from the memory that it is about to read.
    ///
    /// # Errors
    /// When candidates can't be drawn, the device fails, or a score has no rank.
    pub(super) fn score(
        &mut self,
        batch: &EventBatch,
        memory: &dyn MemoryStore,
    ) -> Result<(), StageError> {
        if let Some(sources) = &batch.neg_src {
            let pairs = sources.iter().zip(&batch.neg).enumerate();
            let pairs: Vec<EventPair> = pairs.map(|(i, (&src, &dst))| (i, src, dst)).collect();
            let scores = self.scores(batch, &pairs, memory)?;
            check_scores(batch, "negative", &scores)?;
            self.negatives.push(scores);
        }
        if let Some((candidates, key)) = self.candidates {
            let stream = self.sampling.columns();
            let mut pairs: Vec<EventPair> = Vec::new();
            for (i, event) in batch.events.clone().enumerate() {
                let others = candidates.of(key, event, stream)?;
                let all = [batch.dst[i]].into_iter().chain(others);
                pairs.extend(all.map(|dst| (i, batch.src[i], dst)));
            }
            let scores = self.scores(batch, &pairs, memory)?;
            let mut rest = &scores[..];
            for of_event in pairs.chunk_by(|a, b| a.0 == b.0) {
                let of_rest = &rest[..of_event.len()];
                if let Some(&score) = of_rest.iter().find(|score| !score.is_finite()) {
                    return Err(Unsound::Score {
                        event: batch.events.start + of_event[0].0,
                        with: "candidate",
                        score,
                    }
                    .into());
                }
                let (own, others) = (rest[0], &rest[1..of_event.len()]);
                self.ranks.push(Rank::of(own, others)?);
                rest = &rest[of_event.len()..];
            }
        }
        Ok(())
    }

    /// The logit of each pair.
    fn scores(
        &self,
        batch: &EventBatch,
        pairs: &[EventPair],
        memory: &dyn MemoryStore,
    ) -> Result<Vec<f32>, StageError> {
        let mut scores = Vec::with_capacity(pairs.len());
        for (chunk, pairs) in (1..).zip(pairs.chunks(PAIRS_PER_CHUNK)) {
            self.stop.check()?;
            scores.extend(self.score_chunk(batch, pairs, chunk, memory)?);
        }
        Ok(scores)
    }

    fn score_chunk(
        &self,
        batch: &EventBatch,
        pairs: &[EventPair],
        chunk: u64,
        memory: &dyn MemoryStore,
    ) -> Result<Vec<f32>, MemoryError> {
        let (sampling, device) = (self.sampling, self.device);
        // Roots are the distinct sources, then each pair's destination.
        let (mut node, mut time): (Vec<NodeId>, Vec<Timestamp>) = (Vec::new(), Vec::new());
        let mut source_of: Vec<i32> = Vec::with_capacity(pairs.len());
        for same in pairs.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (event, src, _) = same[0];
            source_of.extend(same.iter().map(|_| node.len() as i32));
            node.push(src);
            time.push(batch.time[event]);
        }
        node.extend(pairs.iter().map(|&(_, _, dst)| dst));
        time.extend(pairs.iter().map(|&(event, ..)| batch.time[event]));

        let roots = Queries {
            node: &node,
            time: &time,
        };
        // Evaluation is epoch 0.
        let sample = |queries: Queries<'_>, request| {
            sampling.past(queries, request, batch.events.start, (0, chunk))
        };
        let layout = sampling.with_scratch(|scratch| {
            let events = batch.events.clone();
            Layout::of_roots(roots, events, &sampling.layout, sample, scratch)
        });
        let rows = sampling.feature_rows(&layout);
        let fetched = memory.fetch(MemoryRequest::of(&layout, roots));
        let (input, _) = sampling.model_input(&layout, rows, &fetched, device);
        let embedding = self.model.model.forward(&input, None).embedding;
        let source = upload::ints(source_of, [pairs.len()], device);
        let history = sampling
            .beside_statistics(batch, pairs.iter().copied())
            .map(|rows| upload::statistics(rows, device));
        let logits = self.model.predictor.score_pairs(embedding, source, history);
        let unreadable = |error: &dyn std::fmt::Debug| MemoryError::Device(format!("{error:?}"));
        let data = logits.try_into_data().map_err(|error| unreadable(&error))?;
        data.try_to_vec().map_err(|error| unreadable(&error))
    }
}
