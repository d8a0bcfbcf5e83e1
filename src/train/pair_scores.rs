//! Scores of pairs beside a batch: its candidates (one against many) and negatives with sources of
//! their own.
//!
//! Pairs are queried at the time of the event that they belong to, with the batch's own sampling
//! rule and draws, and from the memory that the batch itself reads. They write nothing: neither
//! memory nor mail knows that they were asked for.
//!
//! What is the same for several pairs is computed once. A batch's candidates are few nodes, asked
//! for again by each of its events. So its sources are embedded first, and then pairs go through
//! the model in chunks, ordered by destination: a destination's queries follow each other and read
//! the same rows, which the memory updater makes once per batch ([`UpdatedRows`]), and queries of
//! one node at one time are one root. A thousand candidates per event need no more of the device's
//! memory than a few; on the host a pair takes at most [`PAIR_BYTES`]. No score depends on what else is
//! asked for.

mod trips;
mod updated_rows;

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use mspipe_datasets::Stop;
use rayon::prelude::*;

use super::divergence::check_scores;
use super::error::{StageError, Unsound};
use super::pass::Sampling;
use super::upload;
use crate::batch::EventBatch;
use crate::device;
use crate::eval::Rank;
use crate::graph::NodeId;
use crate::memory::{MemoryError, MemoryRequest, MemoryStore};
use crate::model::{LinkModel, OfSources};
use crate::sampling::pair_history::WIDTH;
use crate::sampling::{Candidates, NegativeKey};

use trips::{EventPair, PairList, Trip, TripPairs};

pub(crate) use trips::PAIRS_PER_CHUNK;
pub(crate) use updated_rows::{TABLE_ROWS, UpdatedRows};

/// Bytes of RAM of each pair of a batch: the pair, in a vector that has grown, its place in the order,
/// its source, its score; and its history, where the model reads it.
pub(crate) const PAIR_BYTES: u64 = 2 * 12 + 8 + 4 + 4 + 4 * WIDTH as u64;

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
    /// The scores of all candidates, where they are asked for.
    pub kept: Option<Vec<CandidateScore>>,
    /// Rows that the chunks of a batch share.
    pub updated: UpdatedRows,
}

/// The score of a candidate, one of those that an event's destination is ranked among.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CandidateScore {
    /// The event, by its place in the stream.
    pub event: u32,
    /// The candidate.
    pub candidate: NodeId,
    /// Its logit with the event's source.
    pub logit: f32,
}

impl BesideBatch<'_> {
    /// Scores what belongs beside the events of `batch` at the places `within`, from the memory that it is
    /// about to read.
    ///
    /// # Errors
    /// When candidates can't be drawn, the device fails, or a score has no rank.
    pub(super) fn score(
        &mut self,
        batch: &EventBatch,
        within: Range<usize>,
        memory: &dyn MemoryStore,
    ) -> Result<(), StageError> {
        self.updated.forget();
        if let Some(sources) = &batch.neg_src {
            let pairs = (0..).zip(sources).zip(&batch.neg);
            let pairs = pairs.skip(within.start).take(within.len());
            let pairs: Vec<EventPair> = pairs.map(|((i, &src), &dst)| (i, src, dst)).collect();
            let scores = self.scores(batch, &pairs, memory)?;
            check_scores(batch, "negative", &scores)?;
            self.negatives.push(scores);
        }
        if let Some((candidates, key)) = self.candidates {
            let stream = self.sampling.columns();
            let mut pairs: Vec<EventPair> = Vec::new();
            for i in within {
                let event = batch.events.start + i;
                let others = candidates.of(key, event, stream)?;
                let all = [batch.dst[i]].into_iter().chain(others);
                pairs.extend(all.map(|dst| (i as u32, batch.src[i], dst)));
            }
            let scores = self.scores(batch, &pairs, memory)?;
            let mut rest = &scores[..];
            for of_event in pairs.chunk_by(|a, b| a.0 == b.0) {
                let of_rest = &rest[..of_event.len()];
                if let Some(&score) = of_rest.iter().find(|score| !score.is_finite()) {
                    return Err(Unsound::Score {
                        event: batch.events.start + of_event[0].0 as usize,
                        with: "candidate",
                        score,
                    }
                    .into());
                }
                let (own, others) = (rest[0], &rest[1..of_event.len()]);
                self.ranks.push(Rank::of(own, others)?);
                if let Some(kept) = &mut self.kept {
                    let others = of_event[1..].iter().zip(others);
                    kept.extend(
                        others.map(|(&(place, _, candidate), &logit)| CandidateScore {
                            event: batch.events.start as u32 + place,
                            candidate,
                            logit,
                        }),
                    );
                }
                rest = &rest[of_event.len()..];
            }
        }
        Ok(())
    }

    /// The logit of each pair.
    pub(super) fn scores(
        &mut self,
        batch: &EventBatch,
        pairs: &[EventPair],
        memory: &dyn MemoryStore,
    ) -> Result<Vec<f32>, StageError> {
        // In the order of the events, in which pairs share what is of their source.
        let with_event = pairs
            .iter()
            .map(|&(event, src, dst)| (event as usize, src, dst));
        let history = self.sampling.beside_statistics(batch, with_event);
        let list = PairList::new(batch, pairs, self.sampling, &self.model.model);
        let mut trips = list.trips();
        let mut next = trips.next();
        let mut scores = vec![0.0; pairs.len()];
        let mut embedded = Vec::new();
        let mut sources = None;
        while let Some(trip) = next.take() {
            self.stop.check()?;
            // The next trip is laid out while this one is computed, by a worker that has nothing to
            // do; if there is none, by this one afterwards. (A thread of its own would wait for ever
            // for a pool whose only worker waits for it.)
            let computed = rayon::in_place_scope(|scope| {
                scope.spawn(|_| next = trips.next());
                let (embedding, pairs) = self.embed(trip, memory);
                let Some(pairs) = pairs else {
                    embedded.push(embedding);
                    return Ok(());
                };
                let of_sources = || {
                    let embedding = Tensor::cat(std::mem::take(&mut embedded), 0);
                    self.model.predictor.of_sources(embedding)
                };
                let sources = sources.get_or_insert_with(of_sources);
                let logits = self.logits(sources, embedding, &pairs, history.as_deref())?;
                for (&place, logit) in pairs.place.iter().zip(logits) {
                    scores[place as usize] = logit;
                }
                Ok::<_, MemoryError>(())
            });
            computed?;
        }
        Ok(scores)
    }

    /// The embedding of each source of `batch` at its time, in parts that follow each other.
    pub(super) fn embeddings(
        &mut self,
        batch: &EventBatch,
        memory: &dyn MemoryStore,
    ) -> Result<Vec<Tensor<2>>, StageError> {
        let pairs = (0..).zip(&batch.src).zip(&batch.dst);
        let pairs: Vec<EventPair> = pairs.map(|((i, &src), &dst)| (i, src, dst)).collect();
        let list = PairList::new(batch, &pairs, self.sampling, &self.model.model);
        let mut parts = Vec::new();
        // Each source is one of its own, and sources come first.
        let trips = pairs.len().div_ceil(PAIRS_PER_CHUNK);
        for trip in list.trips().take(trips) {
            self.stop.check()?;
            parts.push(self.embed(trip, memory).0);
        }
        Ok(parts)
    }

    /// The logits of the pairs of a trip, given what is known of all sources, the embeddings of the
    /// trip's destinations, and the histories of all pairs.
    fn logits(
        &self,
        sources: &OfSources,
        embedding: Tensor<2>,
        pairs: &TripPairs,
        history: Option<&[f32]>,
    ) -> Result<Vec<f32>, MemoryError> {
        let device = self.device;
        let ints = |values: &[i32]| upload::ints(values.to_vec(), [values.len()], device);
        let history = history.map(|rows| {
            let mut of_pairs = vec![0.0; pairs.place.len() * WIDTH];
            let of_pair = of_pairs
                .par_chunks_exact_mut(WIDTH)
                .with_min_len(PAIRS_PER_CHUNK / 8);
            of_pair.zip(&pairs.place).for_each(|(to, &place)| {
                to.copy_from_slice(&rows[place as usize * WIDTH..][..WIDTH]);
            });
            upload::statistics(of_pairs, device)
        });
        let ends = [ints(&pairs.source), ints(&pairs.destination)];
        let predictor = &self.model.predictor;
        let logits = predictor.score_pairs(sources, embedding, ends, history);
        device::read(logits).map_err(MemoryError::Device)
    }

    /// Embeddings of a trip's roots, `[roots, width]`, and its pairs.
    fn embed(&mut self, trip: Trip, memory: &dyn MemoryStore) -> (Tensor<2>, Option<TripPairs>) {
        let (device, model) = (self.device, &self.model.model);
        let Trip {
            roots,
            layout,
            features,
            pairs,
        } = trip;
        let whole = MemoryRequest::of(&layout, roots.queries());
        let rows = self.updated.find(whole.rows);
        let fetched = memory.fetch(MemoryRequest {
            rows: rows.new.queries(),
            ..whole
        });
        let (input, _) = (self.sampling).model_input(&layout, features, &fetched, device);
        let made = (!rows.new.node.is_empty()).then(|| model.update(&input, None));
        let updated = self.updated.take(rows, made, device);
        (model.embed(updated, &input, None), pairs)
    }
}
