//! Passes over parts of the stream with fixed weights, and what they are worth.
//!
//! Validation and test go on with the memory that they are given. The test is measured with
//! two pools of negatives from the same weights and the same memory: the protocol's own
//! comes first and is the one that validation, and so the choice of an epoch, uses.
//!
//! It changes no weights and knows no optimiser.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use mspipe_datasets::Split;
use serde::Serialize;
use thiserror::Error;

use super::stages::{Pass, PassStages, Sampling, StageError};
use super::work::{BatchWork, Evaluation};
use crate::batch::EventBatch;
use crate::eval::inductive::KnownNodes;
use crate::eval::metrics::MetricError;
use crate::eval::{BatchScores, LinkMetrics, Negatives, edgebank_after, edgebank_ap};
use crate::graph::NodeId;
use crate::memory::MemoryStore;
use crate::model::{LinkModel, Logits, MemoryModel, ModelInput};
use crate::pipeline::sequential;
use crate::sampling::NegativePool;
use crate::sampling::negative::SplitPart;

/// Why an evaluation failed.
#[derive(Debug, Error)]
pub enum EvalError {
    /// A stage failed.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Scores could not be measured.
    #[error("evaluation: {0}")]
    Metric(#[from] MetricError),
    /// The device stopped answering.
    #[error("device: {0}")]
    Device(String),
}

/// Metrics of the test part, with each pool of negatives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TestMetrics {
    /// With the protocol's own pool.
    #[serde(rename = "test")]
    pub own_pool: LinkMetrics,
    /// With the other one.
    #[serde(rename = "test_other_pool")]
    pub other_pool: LinkMetrics,
}

/// EdgeBank's pooled AP.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EdgeBankMetrics {
    /// On the validation part.
    pub val_ap: f64,
    /// On the test part.
    pub test_ap: f64,
    /// On the test part with the other pool of negatives.
    pub test_other_pool_ap: f64,
}

/// A stream with the rules that every evaluation on it shares.
#[derive(Clone)]
pub struct Evaluator {
    /// Stream, graph and rules with each pool of negatives, the protocol's own first.
    pools: [(Negatives, Arc<Sampling>); 2],
    known: KnownNodes,
    /// Parts of the stream.
    pub split: Split,
    /// Device without autodiff.
    pub device: Device,
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
        let label = |pool: &NegativePool| match pool {
            NegativePool::AllNodes { .. } => Negatives::AllNodes,
            NegativePool::Destinations(_) | NegativePool::Fixed { .. } => Negatives::Destinations,
        };
        let log = &sampling.log;
        let (src, dst) = training_events(&sampling, &split);
        let known = KnownNodes::of(log.nodes(), src, dst);
        let other = Arc::new(sampling.with_negatives(other_pool));
        Evaluator {
            pools: [sampling, other].map(|sampling| (label(&sampling.negatives), sampling)),
            known,
            split,
            device,
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

    /// Builds the memory of the training part: goes over it with these weights and
    /// measures nothing.
    ///
    /// # Errors
    /// When a stage fails.
    pub fn replay<M: MemoryModel>(
        &self,
        model: &LinkModel<M>,
        memory: &mut dyn MemoryStore,
    ) -> Result<(), EvalError> {
        let pass = self.pass(SplitPart::Train, 0);
        let mut stages = PassStages {
            pass: &pass,
            memory,
            work: Replay {
                model,
                device: &self.device,
            },
        };
        sequential::run(&mut stages, 0..pass.iterations(), |_, _| true)?;
        Ok(())
    }

    /// Measures the validation part; `memory` goes on.
    ///
    /// # Errors
    /// When a stage fails or a score is not finite.
    pub fn validate<M: MemoryModel>(
        &self,
        model: &LinkModel<M>,
        memory: &mut dyn MemoryStore,
    ) -> Result<LinkMetrics, EvalError> {
        self.measure(model, memory, SplitPart::Validation, &self.pools[0])
    }

    /// Measures the test part with the protocol's own pool; `memory` goes on.
    ///
    /// # Errors
    /// When a stage fails or a score is not finite.
    pub fn test_own_pool<M: MemoryModel>(
        &self,
        model: &LinkModel<M>,
        memory: &mut dyn MemoryStore,
    ) -> Result<LinkMetrics, EvalError> {
        self.measure(model, memory, SplitPart::Test, &self.pools[0])
    }

    /// Measures the test part with each pool from the same memory, which then goes on as
    /// the protocol's own pool leaves it.
    ///
    /// # Errors
    /// When a stage fails or a score is not finite.
    pub fn test<M: MemoryModel, S: MemoryStore + Clone>(
        &self,
        model: &LinkModel<M>,
        memory: &mut S,
    ) -> Result<TestMetrics, EvalError> {
        let mut copy = memory.clone();
        let own_pool = self.test_own_pool(model, memory)?;
        let other_pool = self.measure(model, &mut copy, SplitPart::Test, &self.pools[1])?;
        Ok(TestMetrics {
            own_pool,
            other_pool,
        })
    }

    fn measure<M: MemoryModel>(
        &self,
        model: &LinkModel<M>,
        memory: &mut dyn MemoryStore,
        part: SplitPart,
        (negatives, sampling): &(Negatives, Arc<Sampling>),
    ) -> Result<LinkMetrics, EvalError> {
        let pass = self.pass_with(sampling, part, 0);
        let mut stages = PassStages {
            pass: &pass,
            memory,
            work: Evaluation {
                model,
                device: &self.device,
                scored: Vec::new(),
            },
        };
        sequential::run(&mut stages, 0..pass.iterations(), |_, _| true)?;
        let (batches, logits): (Vec<_>, Vec<_>) = stages.work.scored.into_iter().unzip();
        let scores = read_scores(&logits)?;
        Ok(LinkMetrics::of(*negatives, &self.known, &batches, &scores)?)
    }

    /// EdgeBank on the same events and negatives.
    ///
    /// # Errors
    /// When negatives can't be drawn.
    pub fn edgebank(&self) -> Result<EdgeBankMetrics, EvalError> {
        let batches = |(_, sampling): &(Negatives, Arc<Sampling>), part| {
            let pass = self.pass_with(sampling, part, 0);
            let batches: Result<Vec<EventBatch>, _> = (0..pass.iterations())
                .map(|iteration| pass.batch(iteration))
                .collect();
            batches.map_err(StageError::from)
        };
        let [own, other] = &self.pools;
        let (src, dst) = training_events(self.sampling(), &self.split);
        let mut bank = edgebank_after(src, dst);
        let val_ap = edgebank_ap(&mut bank, &batches(own, SplitPart::Validation)?)?;
        let mut copy = bank.clone();
        Ok(EdgeBankMetrics {
            val_ap,
            test_ap: edgebank_ap(&mut bank, &batches(own, SplitPart::Test)?)?,
            test_other_pool_ap: edgebank_ap(&mut copy, &batches(other, SplitPart::Test)?)?,
        })
    }
}

/// Sources and destinations of the training events.
fn training_events<'a>(sampling: &'a Sampling, split: &Split) -> (&'a [NodeId], &'a [NodeId]) {
    let log = &sampling.log;
    (
        bytemuck::cast_slice(&log.src()[split.train.clone()]),
        bytemuck::cast_slice(&log.dst()[split.train.clone()]),
    )
}

/// Updates memory and scores nothing.
struct Replay<'a, M: MemoryModel> {
    model: &'a LinkModel<M>,
    device: &'a Device,
}

impl<M: MemoryModel> BatchWork for Replay<'_, M> {
    fn input_device(&self) -> &Device {
        self.device
    }

    fn run(&mut self, _iteration: usize, _batch: &EventBatch, input: &ModelInput) -> Tensor<2> {
        self.model.model.update(input, None)
    }
}

/// Reads the scores of consecutive batches in one transfer.
fn read_scores(logits: &[Logits]) -> Result<Vec<BatchScores>, EvalError> {
    if logits.is_empty() {
        return Ok(Vec::new());
    }
    let part = |of: fn(&Logits) -> &Tensor<1>| {
        read(Tensor::cat(
            logits.iter().map(|l| of(l).clone()).collect(),
            0,
        ))
    };
    let (positive, negative) = (part(|l| &l.positive)?, part(|l| &l.negative)?);
    let mut start = 0;
    Ok(logits
        .iter()
        .map(|logits| {
            let range = start..start + logits.positive.dims()[0];
            start = range.end;
            (positive[range.clone()].to_vec(), negative[range].to_vec())
        })
        .collect())
}

/// The numbers of a tensor, row-major.
pub(super) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, EvalError> {
    let data = tensor
        .try_into_data()
        .map_err(|error| EvalError::Device(format!("{error:?}")))?;
    data.try_to_vec()
        .map_err(|error| EvalError::Device(format!("{error:?}")))
}
