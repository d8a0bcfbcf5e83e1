//! Passes over parts of the stream with fixed weights, and what they are worth.
//!
//! Validation and test continue with the memory that they are given. The test is measured with
//! two pools of negatives from the same weights and the same memory: the protocol's own
//! comes first and is the one that validation, and so the choice of an epoch, uses.
//!
//! It changes no weights and knows no optimiser.

mod banks;
mod counts;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use mspipe_datasets::{Split, Stop, Stopped};

use super::divergence::{check_memory, check_scores};
use super::error::{EvalError, StageError};
use super::iteration::Sampled;
use super::metrics::{BankMetrics, CountsMetrics, DyglibBanks, EdgeBankMetrics, TestMetrics};
pub use super::pair_scores::CandidateScore;
use super::pair_scores::{BesideBatch, UpdatedRows};
use super::pass::{Pass, Sampling};
use super::ranks::Ranks;
use super::trainer;
use super::upload::read;
use crate::batch::EventBatch;
use crate::eval::inductive::KnownNodes;
use crate::eval::{BatchScores, LinkMetrics, Negatives, Rank, RankMetrics};
use crate::graph::{EventColumns, NodeId};
use crate::memory::MemoryStore;
use crate::model::{LinkModel, Logits};
use crate::sampling::past_pairs::{PastKind, PastPairs};
use crate::sampling::{Candidates, NegativeError, NegativeKey, NegativePool, SplitPart};

/// Consecutive batches with their scores.
#[derive(Debug, Clone, Default)]
pub struct Scored {
    /// The batches.
    pub batches: Vec<EventBatch>,
    /// Scores of each batch's events and of its negatives.
    pub scores: Vec<BatchScores>,
    /// Rank of each event's destination, where the protocol ranks.
    pub ranks: Vec<Rank>,
    /// Scores of all candidates, as far as they are asked for.
    pub candidates: Vec<CandidateScore>,
}

/// Is told the scores of a part with a pool of negatives; its error ends the evaluation.
pub type ScoreSink<'a> = &'a mut dyn FnMut(SplitPart, Negatives, &Scored) -> io::Result<()>;

/// A pool of negatives by its name, on the stream that it belongs to.
type Pool = (Negatives, Arc<Sampling>);

/// A stream with the rules that every evaluation on it shares.
#[derive(Clone)]
pub struct Evaluator {
    /// The protocol's own pool first.
    pools: [Pool; 2],
    /// Historical and inductive pairs, if the protocol has them.
    past: Option<[Pool; 2]>,
    /// Whom destinations are ranked among, if the protocol ranks.
    candidates: Option<Candidates>,
    known: KnownNodes,
    /// Parts of the stream.
    pub split: Split,
    /// Device without autodiff.
    pub device: Device,
    /// Ends an evaluation after the current batch.
    stop: Stop,
    /// Other ranks that take their share of each batch, if there are any.
    ranks: Option<Ranks>,
}

impl Evaluator {
    /// Evaluates on the stream of `sampling`, whose negatives are the protocol's own;
    /// `other_pool` are the other ones.
    pub fn new(
        sampling: Arc<Sampling>,
        other_pool: NegativePool,
        split: Split,
        device: Device,
    ) -> Evaluator {
        let events = part_of(&sampling, split.train.clone());
        let known = KnownNodes::of(sampling.log.nodes(), events.src, events.dst);
        let other = Arc::new(sampling.with_negatives(other_pool));
        Evaluator {
            pools: [named(sampling), named(other)],
            past: None,
            candidates: None,
            known,
            split,
            device,
            stop: Stop::default(),
            ranks: None,
        }
    }

    /// Evaluates together with other ranks, if there are any.
    #[must_use]
    pub(super) fn shared_by(self, ranks: Option<Ranks>) -> Evaluator {
        Evaluator { ranks, ..self }
    }

    /// Evaluates until `stop` is requested.
    #[must_use]
    pub(crate) fn until(self, stop: Stop) -> Evaluator {
        Evaluator { stop, ..self }
    }

    /// For embeddings alone: no pair is scored, and so no pair's history is sampled.
    #[must_use]
    pub(crate) fn of_embeddings(self) -> Evaluator {
        let pools = self.pools;
        Evaluator {
            pools: pools.map(|(name, sampling)| (name, Arc::new(sampling.without_histories()))),
            ..self
        }
    }

    /// Ends what works on the evaluator's stream, on all ranks that do.
    ///
    /// # Errors
    /// A stop; a rank that has ended.
    pub(super) fn check_stop(&self) -> Result<(), EvalError> {
        match &self.ranks {
            None => Ok(self.stop.check()?),
            Some(ranks) => match ranks.any([self.stop.requested()]) {
                Ok([false]) => Ok(()),
                Ok([true]) => Err(EvalError::Stopped(Stopped)),
                Err(error) => Err(StageError::from(error).into()),
            },
        }
    }

    /// Tests with pairs of the past too.
    ///
    /// # Errors
    /// When there are none for a batch of the test.
    pub fn with_past_pairs(self) -> Result<Evaluator, NegativeError> {
        let own = self.sampling();
        let (val, test) = (self.split.val.start, self.split.test.start);
        // Neither draws nor looks at events beyond those that are used.
        let used = part_of(own, 0..self.split.test.end);
        let both = PastPairs::both_kinds(used, val, test)?;
        let pass = self.pass(SplitPart::Test, 0);
        let batches = (0..pass.iterations()).map(|iteration| pass.batch_events(iteration));
        // Both kinds fill up with the same pairs; they are drawn in the test, after training.
        both[0].check(batches, own.columns())?;
        let past = both.map(|pairs| named(Arc::new(own.with_negatives(NegativePool::Past(pairs)))));
        Ok(Evaluator {
            past: Some(past),
            ..self
        })
    }

    /// Ranks each event's destination among these, with the protocol's own pool.
    #[must_use]
    pub fn with_candidates(self, candidates: Candidates) -> Evaluator {
        Evaluator {
            candidates: Some(candidates),
            ..self
        }
    }

    /// Stream, graph and rules, with the protocol's own negatives.
    pub fn sampling(&self) -> &Arc<Sampling> {
        &self.pools[0].1
    }

    /// A pass with the protocol's own negatives; `epoch` is 0 in evaluation.
    pub fn pass(&self, part: SplitPart, epoch: u64) -> Pass {
        self.pass_with(self.sampling(), part, epoch)
    }

    fn pass_with(&self, sampling: &Arc<Sampling>, part: SplitPart, epoch: u64) -> Pass {
        let events = match part {
            SplitPart::Train => &self.split.train,
            SplitPart::Validation => &self.split.val,
            SplitPart::Test => &self.split.test,
        };
        Pass {
            sampling: sampling.clone(),
            events: events.clone(),
            part,
            epoch,
        }
    }

    /// Builds the memory of a part: goes over it with these weights and measures nothing.
    ///
    /// # Errors
    /// When a stage fails.
    pub fn replay(
        &self,
        model: &LinkModel,
        memory: &mut dyn MemoryStore,
        part: SplitPart,
    ) -> Result<(), EvalError> {
        let pass = self.pass(part, 0);
        let before = memory.version();
        for iteration in 0..pass.iterations() {
            let prepared = pass.fetch_features(pass.sample(iteration)?);
            let fetched = pass.fetch_memory(prepared, memory, &self.device);
            let rows = model.model.update(&fetched.input, None);
            fetched.update_memory(rows, memory)?;
            self.check_stop()?;
        }
        check_memory(memory, before, &pass)
    }

    /// Measures the validation part; `memory` continues.
    ///
    /// # Errors
    /// When a stage fails or a score is not finite; a stop.
    pub fn validate(
        &self,
        model: &LinkModel,
        memory: &mut dyn MemoryStore,
    ) -> Result<LinkMetrics, EvalError> {
        self.validate_to(model, memory, None)
    }

    /// The same; `sink` is told all scores.
    ///
    /// # Errors
    /// As [`Evaluator::validate`]; the sink's own.
    pub fn validate_to(
        &self,
        model: &LinkModel,
        memory: &mut dyn MemoryStore,
        sink: Option<ScoreSink<'_>>,
    ) -> Result<LinkMetrics, EvalError> {
        self.measure(model, memory, SplitPart::Validation, &self.pools[0], sink)
    }

    /// Measures the test part with the protocol's own pool; `memory` continues.
    ///
    /// # Errors
    /// When a stage fails or a score is not finite; a stop.
    pub fn test_own_pool(
        &self,
        model: &LinkModel,
        memory: &mut dyn MemoryStore,
    ) -> Result<LinkMetrics, EvalError> {
        self.measure(model, memory, SplitPart::Test, &self.pools[0], None)
    }

    /// Measures the test part with each pool from the same memory, which then continues as
    /// the protocol's own pool leaves it.
    ///
    /// # Errors
    /// When a stage fails or a score is not finite; a stop.
    pub fn test<S: MemoryStore + Clone>(
        &self,
        model: &LinkModel,
        memory: &mut S,
    ) -> Result<TestMetrics, EvalError> {
        self.test_to(model, memory, None)
    }

    /// The same; `sink` is told all scores.
    ///
    /// # Errors
    /// As [`Evaluator::test`]; the sink's own.
    pub fn test_to<S: MemoryStore + Clone>(
        &self,
        model: &LinkModel,
        memory: &mut S,
        mut sink: Option<ScoreSink<'_>>,
    ) -> Result<TestMetrics, EvalError> {
        // The own pool comes last, so that there is never more than one copy of the memory.
        let before = &*memory;
        let mut test = |pool| {
            let sink = reborrowed(&mut sink);
            self.measure(model, &mut before.clone(), SplitPart::Test, pool, sink)
        };
        let past = self.past.as_ref();
        let other_pool = test(&self.pools[1])?;
        let historical = past.map(|[historical, _]| test(historical)).transpose()?;
        let inductive = past.map(|[_, inductive]| test(inductive)).transpose()?;
        Ok(TestMetrics {
            other_pool,
            historical,
            inductive,
            own_pool: self.measure(model, memory, SplitPart::Test, &self.pools[0], sink)?,
        })
    }

    fn measure(
        &self,
        model: &LinkModel,
        memory: &mut dyn MemoryStore,
        part: SplitPart,
        pool: &Pool,
        sink: Option<ScoreSink<'_>>,
    ) -> Result<LinkMetrics, EvalError> {
        let pass = self.pass_with(&pool.1, part, 0);
        let candidates = self.candidates_of(pool);
        let scored = self.score(model, memory, &pass, candidates, sink.is_some())?;
        if let Some(sink) = sink {
            sink(part, pool.0, &scored).map_err(EvalError::Sink)?;
        }
        let Scored {
            batches,
            scores,
            ranks,
            ..
        } = scored;
        let metrics = LinkMetrics::of(pool.0, &self.known, &batches, &scores)?;
        let ranking = RankMetrics::of(&self.known, &batches, &ranks, pass.sampling.hide_batch);
        Ok(LinkMetrics { ranking, ..metrics })
    }

    /// Scores `events` with the protocol's own pool as if they were the test part; `memory` goes
    /// on.
    ///
    /// # Errors
    /// When a stage fails or a score is not finite; a stop.
    pub fn scores_of(
        &self,
        model: &LinkModel,
        memory: &mut dyn MemoryStore,
        events: Range<usize>,
    ) -> Result<Scored, EvalError> {
        let own = &self.pools[0];
        let pass = Pass {
            events,
            ..self.pass_with(&own.1, SplitPart::Test, 0)
        };
        self.score(model, memory, &pass, self.candidates_of(own), false)
    }

    /// The logits of `pairs`, each an event counted from the batch's first and two nodes, at the
    /// time of its event: as candidates are scored, from the memory that `batch` is about to read.
    /// Writes nothing.
    ///
    /// # Errors
    /// When the device fails; a stop.
    ///
    /// # Panics
    /// When the batch has no such event.
    pub fn scores_of_pairs(
        &self,
        model: &LinkModel,
        memory: &dyn MemoryStore,
        batch: &EventBatch,
        pairs: &[(u32, NodeId, NodeId)],
    ) -> Result<Vec<f32>, EvalError> {
        let mut beside = self.beside(model, self.sampling(), None);
        Ok(beside.scores(batch, pairs, memory)?)
    }

    fn beside<'a>(
        &'a self,
        model: &'a LinkModel,
        sampling: &'a Sampling,
        candidates: Option<(&'a Candidates, NegativeKey)>,
    ) -> BesideBatch<'a> {
        BesideBatch {
            model,
            device: &self.device,
            sampling,
            candidates,
            stop: &self.stop,
            negatives: Vec::new(),
            ranks: Vec::new(),
            kept: None,
            updated: UpdatedRows::default(),
        }
    }

    fn score(
        &self,
        model: &LinkModel,
        memory: &mut dyn MemoryStore,
        pass: &Pass,
        candidates: Option<&Candidates>,
        keep_candidates: bool,
    ) -> Result<Scored, EvalError> {
        let before = memory.version();
        let mut scored = Vec::with_capacity(pass.iterations());
        let candidates = candidates.map(|candidates| (candidates, pass.negative_key()));
        let never = Stop::default();
        let mut beside = self.beside(model, &pass.sampling, candidates);
        beside.kept = keep_candidates.then(Vec::new);
        if self.ranks.is_some() {
            // Ranks stop together, between two batches.
            beside.stop = &never;
        }
        for iteration in 0..pass.iterations() {
            let sampled = self.sampled(pass, iteration)?;
            let (whole, own) = sampled.scored();
            beside.score(whole, own, memory)?;
            let mut prepared = pass.fetch_features(sampled);
            prepared.read_times(memory.node_times());
            let fetched = pass.fetch_memory(prepared, memory, &self.device);
            let output = trainer::evaluate(model, &fetched.input);
            scored.push((fetched.whole().clone(), output.logits));
            match &self.ranks {
                None => fetched.update_memory(output.memory, memory)?,
                Some(ranks) => fetched.update_memory_jointly(output.memory, memory, ranks)?,
            }
            self.check_stop()?;
        }
        let (batches, logits): (Vec<_>, Vec<_>) = scored.into_iter().unzip();
        let mut scores = read_scores(&logits)?;
        // Pairs with sources of their own were scored beside the batches.
        for (of_batch, own) in scores.iter_mut().zip(std::mem::take(&mut beside.negatives)) {
            of_batch.negative = own;
        }
        if let Some(ranks) = &self.ranks {
            let own = (scores, candidates.is_some().then_some(beside.ranks));
            let all = ranks.scores(&batches, pass.sampling.batch_size, own);
            let of_events;
            (scores, of_events) = all.map_err(StageError::from)?;
            beside.ranks = of_events.unwrap_or_default();
        }
        for (batch, scores) in batches.iter().zip(&scores) {
            check_scores(batch, "destination", &scores.positive).map_err(StageError::from)?;
            check_scores(batch, "negative", &scores.negative).map_err(StageError::from)?;
        }
        check_memory(memory, before, pass)?;
        Ok(Scored {
            batches,
            scores,
            ranks: beside.ranks,
            candidates: beside.kept.unwrap_or_default(),
        })
    }

    /// A batch of a pass, or a rank's share of it.
    fn sampled(&self, pass: &Pass, iteration: usize) -> Result<Sampled, StageError> {
        match &self.ranks {
            None => pass.sample(iteration),
            Some(ranks) => pass.sample_share(iteration, ranks.share()),
        }
    }

    /// Whom `pool` ranks among: only the protocol's own does.
    fn candidates_of(&self, pool: &Pool) -> Option<&Candidates> {
        let own = Arc::ptr_eq(&pool.1, self.sampling());
        self.candidates.as_ref().filter(|_| own)
    }
}

/// A sink for another call.
fn reborrowed<'a>(sink: &'a mut Option<ScoreSink<'_>>) -> Option<ScoreSink<'a>> {
    match sink {
        Some(sink) => Some(&mut **sink),
        None => None,
    }
}

/// The name of a stream's negatives.
fn named(sampling: Arc<Sampling>) -> Pool {
    let name = match &sampling.negatives {
        NegativePool::AllNodes { .. } | NegativePool::EndPoints(_) => Negatives::AllNodes,
        NegativePool::Destinations(_) | NegativePool::Fixed { .. } => Negatives::Destinations,
        NegativePool::Past(pairs) => match pairs.kind() {
            PastKind::Historical => Negatives::Historical,
            PastKind::Inductive => Negatives::Inductive,
        },
    };
    (name, sampling)
}

/// Some of the stream's events.
fn part_of(sampling: &Sampling, events: Range<usize>) -> EventColumns<'_> {
    let all = sampling.columns();
    EventColumns {
        src: &all.src[events.clone()],
        dst: &all.dst[events.clone()],
        time: &all.time[events],
    }
}

/// Reads the scores of consecutive batches in one transfer.
fn read_scores(logits: &[Logits]) -> Result<Vec<BatchScores>, EvalError> {
    if logits.is_empty() {
        return Ok(Vec::new());
    }
    let part = |of: fn(&Logits) -> Tensor<1>| read(Tensor::cat(logits.iter().map(of).collect(), 0));
    let (positive, negative) = (part(Logits::positive)?, part(Logits::negative)?);
    let mut start = 0;
    Ok(logits
        .iter()
        .map(|logits| {
            let range = start..start + logits.events();
            start = range.end;
            BatchScores {
                positive: positive[range.clone()].to_vec(),
                negative: negative[range].to_vec(),
            }
        })
        .collect())
}
