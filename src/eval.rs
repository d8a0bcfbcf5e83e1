//! Evaluation: metrics of scored batches, with the non-learning baseline beside them.
//!
//! Memory is carried over from what came before; negatives are fixed by the seed and every
//! number says which pool they came from; a test works on a copy of the memory, so that it
//! leaves no trace in what is kept.

pub mod edgebank;
pub mod inductive;
pub mod metrics;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::batch::EventBatch;
use crate::graph::NodeId;
use edgebank::EdgeBank;
use inductive::{InductiveMetrics, KnownNodes};
use metrics::MetricError;

/// Which nodes negatives are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Negatives {
    /// The stream's destinations.
    Destinations,
    /// All nodes: on a bipartite stream most of them are impossible destinations, which
    /// makes the task easy.
    AllNodes,
}

impl fmt::Display for Negatives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Negatives::Destinations => "destinations",
            Negatives::AllNodes => "all nodes",
        })
    }
}

/// Link prediction metrics of one part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LinkMetrics {
    /// What the negatives were drawn from.
    pub negatives: Negatives,
    /// Average precision over all events and negatives together.
    pub ap: f64,
    /// Mean of the batches' average precisions (TGN's and TGL's convention).
    pub ap_batch_mean: f64,
    /// Area under the ROC curve, over all together.
    pub auc: f64,
    /// Over the events with a node that is not in the training part alone.
    pub inductive: InductiveMetrics,
}

/// Scores of one batch: of its events and of their negatives.
pub type BatchScores = (Vec<f32>, Vec<f32>);

impl LinkMetrics {
    /// Metrics of `batches` with these scores; `known` are the training part's nodes.
    ///
    /// # Errors
    /// When there is no score or one is not finite.
    pub fn of(
        negatives: Negatives,
        known: &KnownNodes,
        batches: &[EventBatch],
        scores: &[BatchScores],
    ) -> Result<LinkMetrics, MetricError> {
        let (positive, negative) = pooled(scores);
        let views = scores.iter().map(|(p, n)| (p.as_slice(), n.as_slice()));
        Ok(LinkMetrics {
            negatives,
            ap: metrics::average_precision(&positive, &negative)?,
            ap_batch_mean: metrics::batch_mean(metrics::average_precision, views)?,
            auc: metrics::roc_auc(&positive, &negative)?,
            inductive: InductiveMetrics::of(known, batches, scores)?,
        })
    }
}

/// Scores of all events, and of all negatives.
fn pooled(scores: &[BatchScores]) -> BatchScores {
    let all = |part: fn(&BatchScores) -> &Vec<f32>| -> Vec<f32> {
        scores.iter().flat_map(part).copied().collect()
    };
    (all(|batch| &batch.0), all(|batch| &batch.1))
}

/// Pooled average precision of EdgeBank on consecutive batches.
///
/// It scores a pair 1 if it occurred before the batch, in `seen` or in an earlier batch,
/// and goes on from there: `bank` keeps what it saw.
///
/// # Errors
/// When there is no batch.
pub fn edgebank_ap(bank: &mut EdgeBank, batches: &[EventBatch]) -> Result<f64, MetricError> {
    let scores: Vec<BatchScores> = batches
        .iter()
        .map(|batch| bank.score_batch(&batch.src, &batch.dst, &batch.neg))
        .collect();
    let (positive, negative) = pooled(&scores);
    metrics::average_precision(&positive, &negative)
}

/// An EdgeBank that has seen these events.
pub fn edgebank_after(src: &[NodeId], dst: &[NodeId]) -> EdgeBank {
    let mut bank = EdgeBank::new();
    for (&src, &dst) in src.iter().zip(dst) {
        bank.insert(src, dst);
    }
    bank
}
