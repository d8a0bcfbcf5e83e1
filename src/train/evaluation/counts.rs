//! The counting baseline: logistic regression on pair histories alone.
//!
//! It knows what a model with `--pair-history on` reads beside its embeddings, and nothing else: what
//! the model is better by is what memory and features add. It is fitted to the training part once,
//! with one negative per event, and scored on the same events, negatives and candidates by the same
//! measures, under the protocol's own rule of what is visible.

use rayon::prelude::*;

use super::{CountsMetrics, EvalError, Evaluator, Pool, TestMetrics};
use crate::batch::EventBatch;
use crate::eval::logistic::Logistic;
use crate::eval::{BatchScores, LinkMetrics, Rank, RankMetrics};
use crate::graph::NodeId;
use crate::sampling::pair_history::WIDTH;
use crate::sampling::{Candidates, NegativeKey, SplitPart};
use crate::train::error::StageError;
use crate::train::pass::Sampling;

/// Fitted to the training part of a stream.
struct Counts<'a> {
    sampling: &'a Sampling,
    fit: Logistic<WIDTH>,
}

impl<'a> Counts<'a> {
    fn of(sampling: &'a Sampling) -> Counts<'a> {
        let rows = sampling.pair_history().sample(&sampling.training_part());
        // Each event is followed by its negative.
        let fit = Logistic::fit(&rows, |row| row % 2 == 0);
        Counts { sampling, fit }
    }

    /// The logit of each pair of a source and a candidate at the batch's times.
    fn scores(&self, pairs: [&[NodeId]; 2], batch: &EventBatch) -> Vec<f32> {
        let first = batch.events.start;
        self.logits(&self.sampling.statistics(pairs, &batch.time, first))
    }

    fn logits(&self, rows: &[f32]) -> Vec<f32> {
        let logits = rows.chunks_exact(WIDTH).map(|row| self.fit.logit(row));
        logits.collect()
    }

    /// Where the destination of the batch's event `place` stands among its candidates.
    fn rank(
        &self,
        batch: &EventBatch,
        place: usize,
        (candidates, key): (&Candidates, NegativeKey),
    ) -> Result<Rank, EvalError> {
        let (sampling, first) = (self.sampling, batch.events.start);
        let others = candidates
            .of(key, first + place, sampling.columns())
            .map_err(StageError::from)?;
        let all: Vec<NodeId> = [batch.dst[place]].into_iter().chain(others).collect();
        let source = vec![batch.src[place]; all.len()];
        let time = vec![batch.time[place]; all.len()];
        let scores = self.logits(&sampling.statistics([&source, &all], &time, first));
        Ok(Rank::of(scores[0], &scores[1..])?)
    }
}

impl Evaluator {
    /// The counting baseline on the same events, negatives and candidates: on the test, and on the
    /// validation part too if that is asked for.
    ///
    /// # Errors
    /// When negatives can't be drawn; a stop.
    pub fn counts(&self, validation: bool) -> Result<CountsMetrics, EvalError> {
        let counts = Counts::of(self.sampling());
        let val = || self.counted(&counts, SplitPart::Validation, &self.pools[0]);
        let test = |pool| self.counted(&counts, SplitPart::Test, pool);
        let past = self.past.as_ref();
        Ok(CountsMetrics {
            val: validation.then(val).transpose()?,
            test: TestMetrics {
                own_pool: test(&self.pools[0])?,
                other_pool: test(&self.pools[1])?,
                historical: past.map(|[historical, _]| test(historical)).transpose()?,
                inductive: past.map(|[_, inductive]| test(inductive)).transpose()?,
            },
        })
    }

    fn counted(
        &self,
        counts: &Counts<'_>,
        part: SplitPart,
        pool: &Pool,
    ) -> Result<LinkMetrics, EvalError> {
        let pass = self.pass_with(&pool.1, part, 0);
        let candidates = self
            .candidates_of(pool)
            .map(|candidates| (candidates, pass.negative_key()));
        let (mut batches, mut scores, mut ranks) = (Vec::new(), Vec::new(), Vec::new());
        for iteration in 0..pass.iterations() {
            self.stop.check()?;
            let batch = pass.batch(iteration).map_err(StageError::from)?;
            scores.push(BatchScores {
                positive: counts.scores([&batch.src, &batch.dst], &batch),
                negative: counts.scores([batch.negative_sources(), &batch.neg], &batch),
            });
            if let Some(candidates) = candidates {
                let places = (0..batch.src.len()).into_par_iter();
                let of_batch: Result<Vec<Rank>, EvalError> = places
                    .map(|place| counts.rank(&batch, place, candidates))
                    .collect();
                ranks.extend(of_batch?);
            }
            batches.push(batch);
        }
        let metrics = LinkMetrics::of(pool.0, &self.known, &batches, &scores)?;
        let ranking = RankMetrics::of(&self.known, &batches, &ranks, pass.sampling.hide_batch);
        Ok(LinkMetrics { ranking, ..metrics })
    }
}
