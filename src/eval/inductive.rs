//! Inductive metrics: how well events are predicted whose nodes training never saw.
//!
//! An event counts if its source or its destination occurs in no training event. Its
//! negative counts with it, wherever that was drawn. Nodes that first occur in validation
//! stay new in the test part: memory knows them by then, the weights were not trained on
//! them.
//!
//! Unlike TGN's protocol no node is taken out of training to make it new, so that the
//! transductive numbers beside these are of an ordinary run. There may be few such
//! events, or none: their number belongs to every metric.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::metrics::{self, BatchScores, MetricError};
use crate::batch::EventBatch;
use crate::graph::NodeId;

/// The nodes of the training part.
#[derive(Debug, Clone)]
pub(crate) struct KnownNodes {
    known: Vec<bool>,
}

impl KnownNodes {
    /// The endpoints of some events, in a stream of `nodes` nodes.
    pub(crate) fn of(nodes: usize, src: &[NodeId], dst: &[NodeId]) -> KnownNodes {
        let mut known = vec![false; nodes];
        for node in src.iter().chain(dst) {
            known[node.0 as usize] = true;
        }
        KnownNodes { known }
    }

    /// Whether the training part does not have this node.
    pub(crate) fn is_new(&self, node: NodeId) -> bool {
        !self.known[node.0 as usize]
    }
}

/// Metrics over the events with a node that training never saw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InductiveMetrics {
    /// Such events.
    pub events: usize,
    /// Distinct such nodes in them.
    pub new_nodes: usize,
    /// Average precision over all of them together; none if there is no such event.
    pub ap: Option<f64>,
    /// Area under the ROC curve, likewise.
    pub auc: Option<f64>,
}

impl InductiveMetrics {
    /// Metrics of the events of `batches` that have a node outside `known`.
    ///
    /// # Errors
    /// When a score is not finite.
    pub(crate) fn of(
        known: &KnownNodes,
        batches: &[EventBatch],
        scores: &[BatchScores],
    ) -> Result<InductiveMetrics, MetricError> {
        let mut new_nodes = BTreeSet::new();
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        for (batch, scores) in batches.iter().zip(scores) {
            for (i, (&src, &dst)) in batch.src.iter().zip(&batch.dst).enumerate() {
                let new: Vec<NodeId> = [src, dst]
                    .into_iter()
                    .filter(|&node| known.is_new(node))
                    .collect();
                if !new.is_empty() {
                    new_nodes.extend(new);
                    positive.push(scores.positive[i]);
                    negative.push(scores.negative[i]);
                }
            }
        }
        let value = |metric: fn(&[f32], &[f32]) -> Result<f64, MetricError>| {
            if positive.is_empty() {
                Ok(None)
            } else {
                metric(&positive, &negative).map(Some)
            }
        };
        Ok(InductiveMetrics {
            events: positive.len(),
            new_nodes: new_nodes.len(),
            ap: value(metrics::average_precision)?,
            auc: value(metrics::roc_auc)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes<const N: usize>(ids: [u32; N]) -> Vec<NodeId> {
        ids.map(NodeId).to_vec()
    }

    fn batch<const N: usize>(src: [u32; N], dst: [u32; N]) -> EventBatch {
        EventBatch {
            src: nodes(src),
            dst: nodes(dst),
            ..EventBatch::default()
        }
    }

    fn scores<const N: usize>(positive: [f32; N], negative: [f32; N]) -> BatchScores {
        BatchScores {
            positive: positive.to_vec(),
            negative: negative.to_vec(),
        }
    }

    /// Training knows 0, 1, 5 and 6.
    ///
    /// ```text
    /// batch 1: 0->5    2->6 (2 is new)   1->7 (7 is new)
    /// batch 2: 2->7 (both, again)        0->6
    /// ```
    #[test]
    fn events_with_a_new_end_count_once() {
        let known = KnownNodes::of(8, &nodes([0, 1]), &nodes([5, 6]));
        let batches = [batch([0, 2, 1], [5, 6, 7]), batch([2, 0], [7, 6])];
        let scores = [
            scores([9.0, 3.0, 1.0], [-9.0, 2.0, 0.0]),
            scores([4.0, 9.0], [5.0, -9.0]),
        ];
        let found = InductiveMetrics::of(&known, &batches, &scores).unwrap();
        assert_eq!((found.events, found.new_nodes), (3, 2));
        // Ranks of 5- 4+ 3+ 2- 1+ 0-: precisions 1/2, 2/3, 3/5; 2 + 2 + 1 of 9 pairs won.
        let ap = (1.0 / 2.0 + 2.0 / 3.0 + 3.0 / 5.0) / 3.0;
        assert!((found.ap.unwrap() - ap).abs() < 1e-15, "{found:?}");
        assert!((found.auc.unwrap() - 5.0 / 9.0).abs() < 1e-15, "{found:?}");
    }

    #[test]
    fn without_such_an_event_there_is_no_metric() {
        let known = KnownNodes::of(2, &nodes([0]), &nodes([1]));
        let scores = [scores([1.0], [0.0])];
        let found = InductiveMetrics::of(&known, &[batch([0], [1])], &scores).unwrap();
        let none = InductiveMetrics {
            events: 0,
            new_nodes: 0,
            ap: None,
            auc: None,
        };
        assert_eq!(found, none);
    }
}
