//! Evaluation: metrics of scored batches, with the non-learning baseline beside them.
//!
//! Memory is carried over from what came before; negatives are fixed by the seed and every
//! number says which pool they came from; a test works on a copy of the memory, so that it
//! leaves no trace in what is kept.

mod bootstrap;
pub(crate) mod classes;
pub mod edgebank;
pub(crate) mod inductive;
pub(crate) mod logistic;
pub mod metrics;
mod monitor;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::batch::EventBatch;
pub use bootstrap::Spread;
pub use classes::{ClassMetrics, ClassTable, Curve, LabelMetrics};
use inductive::{InductiveMetrics, KnownNodes};
use metrics::MetricError;
pub use metrics::{BatchScores, Hits, Rank};
pub use monitor::{LabelMonitor, Monitor};

/// Which nodes negatives are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Negatives {
    /// The stream's destinations.
    Destinations,
    /// All nodes: on a bipartite stream most of them are impossible destinations, which
    /// makes the task easy.
    AllNodes,
    /// Pairs that happened before the batch; see [`crate::sampling::past_pairs`].
    Historical,
    /// Such pairs that were first seen in evaluation.
    Inductive,
}

impl fmt::Display for Negatives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Negatives::Destinations => "destinations",
            Negatives::AllNodes => "all nodes",
            Negatives::Historical => "pairs of the past",
            Negatives::Inductive => "pairs of the past that training never saw",
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
    /// Where each event's destination stands among its candidates, if the protocol ranks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranking: Option<RankMetrics>,
    /// Whether all scores are one number: see [`EQUAL_SCORES`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub equal_scores: bool,
}

/// What is said of metrics whose scores are all equal.
pub const EQUAL_SCORES: &str = "all scores are equal, so AP and AUC are those of chance: the model \
     cannot tell pairs apart. Are features or weights so large that layer norms and gates flatten \
     everything? Scale the features, or try a smaller --learning-rate";

/// Whether all scores are one number.
pub(crate) fn all_equal(positive: &[f32], negative: &[f32]) -> bool {
    let mut scores = positive.iter().chain(negative);
    scores
        .next()
        .is_some_and(|first| scores.all(|score| score == first))
}

/// One against many: where an event's destination stands among its candidates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RankMetrics {
    /// Mean reciprocal rank; a tie counts as the mean of the rank that it gives at best and at
    /// worst (TGB's convention).
    pub mrr: f64,
    /// Shares of events whose destination is among the first, by the same ranks.
    #[serde(flatten)]
    pub hits: Hits,
    /// Candidates per event, on average.
    pub candidates: f64,
    /// Whether the events of a batch were hidden from one another.
    pub batch_hidden: bool,
    /// Over the events with a node that is not in the training part alone; none if there is none.
    pub inductive_mrr: Option<f64>,
    /// Likewise.
    pub inductive_hits: Option<Hits>,
}

impl RankMetrics {
    /// From the rank of each event of `batches`, in order, whose events were hidden from one another or
    /// not; none without an event.
    pub(crate) fn of(
        known: &KnownNodes,
        batches: &[EventBatch],
        ranks: &[Rank],
        batch_hidden: bool,
    ) -> Option<RankMetrics> {
        let pairs = batches
            .iter()
            .flat_map(|batch| batch.src.iter().zip(&batch.dst));
        let new: Vec<Rank> = pairs
            .zip(ranks)
            .filter(|((src, dst), _)| known.is_new(**src) || known.is_new(**dst))
            .map(|(_, rank)| *rank)
            .collect();
        let candidates: usize = ranks.iter().map(|rank| rank.candidates).sum();
        Some(RankMetrics {
            mrr: mean_reciprocal(ranks)?,
            hits: Hits::of(ranks.iter())?,
            candidates: candidates as f64 / ranks.len() as f64,
            batch_hidden,
            inductive_mrr: mean_reciprocal(&new),
            inductive_hits: Hits::of(new.iter()),
        })
    }
}

fn mean_reciprocal(ranks: &[Rank]) -> Option<f64> {
    let sum: f64 = ranks.iter().map(|rank| rank.reciprocal).sum();
    (!ranks.is_empty()).then(|| sum / ranks.len() as f64)
}

impl LinkMetrics {
    /// Metrics of `batches` with these scores; `known` are the training part's nodes.
    ///
    /// # Errors
    /// When there is no score or one is not finite.
    pub(crate) fn of(
        negatives: Negatives,
        known: &KnownNodes,
        batches: &[EventBatch],
        scores: &[BatchScores],
    ) -> Result<LinkMetrics, MetricError> {
        let BatchScores { positive, negative } = pooled(scores);
        Ok(LinkMetrics {
            negatives,
            ap: metrics::average_precision(&positive, &negative)?,
            ap_batch_mean: metrics::batch_mean(metrics::average_precision, scores)?,
            auc: metrics::roc_auc(&positive, &negative)?,
            inductive: InductiveMetrics::of(known, batches, scores)?,
            ranking: None,
            equal_scores: all_equal(&positive, &negative),
        })
    }
}

/// Scores of all events, and of all negatives.
fn pooled(scores: &[BatchScores]) -> BatchScores {
    let all = |part: fn(&BatchScores) -> &Vec<f32>| -> Vec<f32> {
        scores.iter().flat_map(part).copied().collect()
    };
    BatchScores {
        positive: all(|batch| &batch.positive),
        negative: all(|batch| &batch.negative),
    }
}

/// Pooled average precision of scores.
///
/// # Errors
/// When there is no score or one is not finite.
pub(crate) fn pooled_ap(scores: &[BatchScores]) -> Result<f64, MetricError> {
    let BatchScores { positive, negative } = pooled(scores);
    metrics::average_precision(&positive, &negative)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::NodeId;

    /// By hand: reciprocal ranks 1, 1/2 and 1/4 of the events 0>5, 2>6 and 1>7; node 2 is new.
    #[test]
    fn the_mean_reciprocal_rank_and_that_of_new_nodes() {
        let nodes = |ids: &[u32]| -> Vec<NodeId> { ids.iter().copied().map(NodeId).collect() };
        let known = KnownNodes::of(8, &nodes(&[0, 1]), &nodes(&[5, 6, 7]));
        let batch = |src: &[u32], dst: &[u32]| EventBatch {
            src: nodes(src),
            dst: nodes(dst),
            ..EventBatch::default()
        };
        let batches = [batch(&[0, 2], &[5, 6]), batch(&[1], &[7])];
        let rank = |reciprocal, candidates| Rank {
            reciprocal,
            candidates,
        };
        let ranks = [rank(1.0, 10), rank(0.5, 10), rank(0.25, 7)];
        let found = RankMetrics::of(&known, &batches, &ranks, true).unwrap();
        assert_eq!(found.mrr, 1.75 / 3.0);
        assert_eq!(found.candidates, 9.0);
        assert!(found.batch_hidden);
        assert_eq!(found.inductive_mrr, Some(0.5));
        let hits = |at_1, at_3| Hits {
            at_1,
            at_3,
            at_10: 1.0,
        };
        assert_eq!(found.hits, hits(1.0 / 3.0, 2.0 / 3.0));
        assert_eq!(found.inductive_hits, Some(hits(0.0, 1.0)));
        assert_eq!(RankMetrics::of(&known, &[], &[], true), None);
    }
}
