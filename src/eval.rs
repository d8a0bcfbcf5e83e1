//! Evaluation: metrics of scored batches, with the non-learning baseline beside them.
//!
//! Memory is carried over from what came before; negatives are fixed by the seed; a test
//! works on a copy of the memory, so that it leaves no trace in what is kept.

pub mod edgebank;
pub mod metrics;

use serde::{Deserialize, Serialize};

use crate::batch::EventBatch;
use crate::graph::NodeId;
use edgebank::EdgeBank;
use metrics::MetricError;

/// Link prediction metrics of one part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LinkMetrics {
    /// Average precision over all events and negatives together.
    pub ap: f64,
    /// Mean of the batches' average precisions (TGN's and TGL's convention).
    pub ap_batch_mean: f64,
    /// Area under the ROC curve, over all together.
    pub auc: f64,
}

/// Scores of one batch: of its events and of their negatives.
pub type BatchScores = (Vec<f32>, Vec<f32>);

impl LinkMetrics {
    /// Metrics of batches of scores.
    ///
    /// # Errors
    /// When there is no score or one is not finite.
    pub fn of(batches: &[BatchScores]) -> Result<LinkMetrics, MetricError> {
        let pooled = |part: fn(&BatchScores) -> &Vec<f32>| -> Vec<f32> {
            batches.iter().flat_map(part).copied().collect()
        };
        let (positive, negative) = (pooled(|b| &b.0), pooled(|b| &b.1));
        let views = batches.iter().map(|(p, n)| (p.as_slice(), n.as_slice()));
        Ok(LinkMetrics {
            ap: metrics::average_precision(&positive, &negative)?,
            ap_batch_mean: metrics::batch_mean(metrics::average_precision, views)?,
            auc: metrics::roc_auc(&positive, &negative)?,
        })
    }
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
    LinkMetrics::of(&scores).map(|metrics| metrics.ap)
}

/// An EdgeBank that has seen these events.
pub fn edgebank_after(src: &[NodeId], dst: &[NodeId]) -> EdgeBank {
    let mut bank = EdgeBank::new();
    for (&src, &dst) in src.iter().zip(dst) {
        bank.insert(src, dst);
    }
    bank
}
