//! Staleness mitigation (MSPipe-S): memory that has not been updated for long is drawn towards
//! that of similar nodes with newer memory. In training only.
//!
//! A root gets λ s + (1 − λ) mean(s of its similar nodes that were updated later) if its memory is older
//! than all but a share of the batch's. Times and mail stay as they are. Similar nodes share
//! neighbours: in a bipartite stream users with users, through the items that both met.
//!
//! Two readings of it. [`Similar::Past`], the paper's text: similar by the events before the batch;
//! nodes without memory are left alone, and the share is one of the roots that have some.
//! [`Similar::Listed`], MSPipe's released code: ten nodes for each node, fixed before training, so
//! made of its own later events too; nodes that never had mail are the oldest of all.
//!
//! Source: MSPipe, section 3.4, and its `prepare_input` (threshold, λ, the ten most similar); how its
//! lists were made is in none of its commits, so the number of common neighbours is our choice, as in
//! the paper's text.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;

use super::MemoryRequest;
use super::node_times::NodeTimes;
use crate::graph::{Csr, EventId, NodeId, Tcsr, Timestamp};
use crate::kernels::memory_update::memory_update;

/// Length of a node's list.
const MOST_SIMILAR: usize = 10;

/// Latest events of a node, and of each of its neighbours, that similarity in the past looks at: what a
/// correction costs does not grow with the stream.
const LATEST: usize = 64;

/// For each node the nodes that share most neighbours with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SimilarNodes(Csr<NodeId, usize>);

impl SimilarNodes {
    /// Lists of `nodes` nodes from the events `src`, `dst`: at most ten each, those with more
    /// common neighbours first, then those with smaller ids.
    ///
    /// # Panics
    /// If an event names a node that there is not.
    pub fn of(nodes: usize, src: &[NodeId], dst: &[NodeId]) -> SimilarNodes {
        let mut pairs: Vec<(NodeId, NodeId)> = src
            .iter()
            .zip(dst)
            .flat_map(|(&src, &dst)| [(src, dst), (dst, src)])
            .collect();
        pairs.par_sort_unstable();
        pairs.dedup();
        let mut first = vec![0; nodes + 1];
        for (node, _) in &pairs {
            first[node.index() + 1] += 1;
        }
        for node in 0..nodes {
            first[node + 1] += first[node];
        }
        let neighbors = |node: usize| &pairs[first[node]..first[node + 1]];

        let lists: Vec<Vec<NodeId>> = (0..nodes)
            .into_par_iter()
            .map_init(
                || (vec![0u32; nodes], Vec::new()),
                |(common, touched), node| {
                    for (_, between) in neighbors(node) {
                        for (_, other) in neighbors(between.index()) {
                            if common[other.index()] == 0 {
                                touched.push(*other);
                            }
                            common[other.index()] += 1;
                        }
                    }
                    touched.retain(|other| {
                        let itself = other.index() == node;
                        if itself {
                            common[node] = 0;
                        }
                        !itself
                    });
                    touched.sort_unstable_by_key(|other| {
                        (std::cmp::Reverse(common[other.index()]), *other)
                    });
                    for other in touched.iter() {
                        common[other.index()] = 0;
                    }
                    let list = touched.iter().copied().take(MOST_SIMILAR).collect();
                    touched.clear();
                    list
                },
            )
            .collect();
        let mut similar = Csr::default();
        lists.into_iter().for_each(|list| similar.push(list));
        SimilarNodes(similar)
    }

    /// The nodes most similar to `node`.
    pub fn list(&self, node: NodeId) -> &[NodeId] {
        self.0.list(node.index())
    }
}

/// How similar nodes are known.
#[derive(Debug, Clone)]
pub enum Similar {
    /// By the events before the batch, which are those of a graph with both directions.
    Past(Arc<Tcsr>),
    /// By lists made in advance.
    Listed(Arc<SimilarNodes>),
}

/// Nodes other than `node` that share most neighbours with it, among the latest events of both that come
/// before `first`: at most ten of those that are `wanted`, those with more common neighbours first, then
/// those met more recently.
fn similar_in_past(
    graph: &Tcsr,
    node: NodeId,
    first: EventId,
    wanted: impl Fn(NodeId) -> bool,
) -> Vec<NodeId> {
    let latest = |node: NodeId| {
        let past = graph.past(node, Timestamp::MAX, Some(first));
        graph.slice(past.end - past.len().min(LATEST)..past.end)
    };
    let mut neighbors = latest(node).neighbor.to_vec();
    neighbors.sort_unstable();
    neighbors.dedup();
    // Each pair of a common neighbour and who shares it, once, with their latest event.
    let mut shared: Vec<(NodeId, NodeId, EventId)> = Vec::new();
    for &between in &neighbors {
        let of_neighbor = latest(between);
        let met = of_neighbor.neighbor.iter().zip(of_neighbor.event);
        let others = met.filter(|(other, _)| **other != node && wanted(**other));
        shared.extend(others.map(|(&other, &event)| (other, between, event)));
    }
    shared.sort_unstable();
    shared.reverse();
    shared.dedup_by_key(|(other, between, _)| (*other, *between));
    let mut ranked: Vec<(usize, EventId, NodeId)> = shared
        .chunk_by(|a, b| a.0 == b.0)
        .filter_map(|of_other| {
            let latest = of_other.iter().map(|(.., event)| *event).max()?;
            Some((of_other.len(), latest, of_other[0].0))
        })
        .collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    let ranked = ranked.into_iter().map(|(.., other)| other);
    ranked.take(MOST_SIMILAR).collect()
}

/// The correction that a run makes.
#[derive(Debug, Clone)]
pub struct Mitigation {
    /// Who is similar to whom.
    pub similar: Similar,
    /// λ: what remains of a corrected row.
    pub keep: f32,
    /// Roots are corrected whose age lies above this quantile of the batch's ages.
    pub age_quantile: f64,
}

impl Mitigation {
    /// Whether a node's memory takes part.
    fn knows(&self, node_times: &NodeTimes, node: NodeId) -> bool {
        match self.similar {
            Similar::Past(_) => node_times.has_memory(node),
            Similar::Listed(_) => true,
        }
    }

    /// Nodes that are similar to `node` and were updated later, for the batch that begins at `first`.
    fn newer(&self, node_times: &NodeTimes, node: NodeId, first: EventId) -> Vec<NodeId> {
        let newest = node_times.newest(node);
        let newer =
            |other: NodeId| node_times.newest(other) > newest && self.knows(node_times, other);
        match &self.similar {
            Similar::Past(graph) => similar_in_past(graph, node, first, newer),
            Similar::Listed(lists) => {
                let listed = lists.list(node).iter().copied();
                listed.filter(|other| newer(*other)).collect()
            }
        }
    }
}

/// The corrections of one batch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Correction {
    mitigated: bool,
    keep: f32,
    /// Rows of the batch.
    rows: usize,
    /// Rows that are corrected.
    row: Vec<i32>,
    /// The similar nodes of each of them, whose memory is read beside the batch's rows.
    similar: Csr<NodeId, usize>,
}

impl Correction {
    /// What `mitigation` corrects of the rows that `request` names.
    pub(crate) fn of(
        mitigation: Option<&Mitigation>,
        node_times: &NodeTimes,
        request: MemoryRequest<'_>,
    ) -> Correction {
        let mut correction = Correction {
            rows: request.rows.node.len(),
            ..Correction::default()
        };
        let (Some(mitigation), Some(first)) = (mitigation, request.trains_from) else {
            return correction;
        };
        correction.mitigated = true;
        correction.keep = mitigation.keep;
        let roots = request.roots;
        let age = |(&node, &time): (&NodeId, &Timestamp)| {
            let known = mitigation.knows(node_times, node);
            known.then(|| time - node_times.newest(node))
        };
        let ages: Vec<Option<Timestamp>> = roots.node.iter().zip(roots.time).map(age).collect();
        let known: Vec<Timestamp> = ages.iter().copied().flatten().collect();
        let Some(threshold) = quantile(&known, mitigation.age_quantile) else {
            return correction;
        };
        let mut corrected = vec![false; correction.rows];
        for ((node, &row), age) in roots.node.iter().zip(request.root_row).zip(&ages) {
            let row_done = &mut corrected[row as usize];
            if *row_done || age.is_none_or(|age| age as f64 <= threshold) {
                continue;
            }
            *row_done = true;
            let similar = mitigation.newer(node_times, *node, first);
            if !similar.is_empty() {
                correction.row.push(row);
                correction.similar.push(similar);
            }
        }
        correction
    }

    /// Nodes whose memory is to be read beside the batch's rows, and after them.
    pub(crate) fn extra(&self) -> &[NodeId] {
        &self.similar.items
    }

    /// Rows that are corrected, if there is a mitigation.
    pub(crate) fn corrected(&self) -> Option<usize> {
        self.mitigated.then_some(self.row.len())
    }

    /// The batch's rows, corrected, from `memory` `[rows + extra, width]`.
    pub(crate) fn apply(&self, memory: Tensor<2>) -> Tensor<2> {
        if self.row.is_empty() {
            return memory;
        }
        let device = memory.device();
        let ints = |values: Vec<i32>| {
            let count = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device)
        };
        let corrected = self.row.len();
        let [_, width] = memory.dims();
        // Of each corrected row so many rows of similar nodes; a place too many has no weight.
        let mut places = Vec::with_capacity(corrected * MOST_SIMILAR);
        let mut weights = Vec::with_capacity(corrected * MOST_SIMILAR);
        for row in 0..corrected {
            let similar = self.similar.range(row);
            let share = (1.0 - self.keep) / similar.len() as f32;
            for nth in 0..MOST_SIMILAR {
                let place = similar.start + nth.min(similar.len() - 1);
                places.push((self.rows + place) as i32);
                weights.push(if nth < similar.len() { share } else { 0.0 });
            }
        }
        let weights = TensorData::new(weights, [corrected, MOST_SIMILAR, 1]);
        let weights = Tensor::<3>::from_data(weights, &device);
        let similar = memory.clone().select(0, ints(places));
        let drawn = similar.reshape([corrected, MOST_SIMILAR, width]) * weights;
        let drawn = drawn.sum_dim(1).reshape([corrected, width]);
        let own = memory.slice(0..self.rows);
        let row = ints(self.row.clone());
        let mixed = own.clone().select(0, row) * self.keep + drawn;
        let last_writer = (0..).zip(&self.row).flat_map(|(i, &row)| [row, i]);
        let last_writer = ints(last_writer.collect()).reshape([corrected, 2]);
        memory_update(own, mixed, last_writer)
    }
}

/// The `q`-quantile of `values`, linear between neighbours as numpy has it.
fn quantile(values: &[Timestamp], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = q * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(below as f64 + (above - below) as f64 * at.fract())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Directions;

    #[test]
    fn users_are_similar_through_shared_items() {
        // Users 0, 1, 2; items 3, 4, 5. 0 and 1 share 3 and 4, 0 and 2 share 4.
        let ids = |ids: &[u32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let src = ids(&[0, 0, 1, 1, 1, 2]);
        let dst = ids(&[3, 4, 3, 4, 4, 4]);
        let similar = SimilarNodes::of(6, &src, &dst);
        assert_eq!(similar.list(NodeId(0)), ids(&[1, 2]));
        assert_eq!(similar.list(NodeId(2)), ids(&[0, 1]));
        assert_eq!(similar.list(NodeId(3)), ids(&[4]));
        assert_eq!(similar.list(NodeId(5)), ids(&[]));
    }

    #[test]
    fn similar_in_the_past_are_those_with_more_common_neighbors_then_the_latest() {
        let ids = |ids: &[u32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        // Users 0 to 3 and 6; items 4 and 5.
        let src = ids(&[0, 0, 1, 1, 1, 2, 2, 3, 6]);
        let dst = ids(&[4, 5, 4, 5, 4, 5, 5, 4, 4]);
        let time: Vec<Timestamp> = (0..9).collect();
        let graph = Tcsr::build(7, &src, &dst, &time, Directions::Both).unwrap();
        let similar = |node, first| similar_in_past(&graph, NodeId(node), EventId(first), |_| true);
        assert_eq!(similar(0, 8), ids(&[1, 3, 2]));
        assert_eq!(similar(0, 9), ids(&[1, 6, 3, 2]));
        assert_eq!(similar(0, 3), ids(&[1]));
        assert_eq!(similar(0, 1), ids(&[]));
        assert_eq!(similar(6, 8), ids(&[]));
        let wanted = similar_in_past(&graph, NodeId(0), EventId(8), |other| other != NodeId(1));
        assert_eq!(wanted, ids(&[3, 2]));
    }

    #[test]
    fn quantiles_are_numpys() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7], 0.99), Some(7.0));
        assert_eq!(quantile(&[4, 1, 2, 3], 0.5), Some(2.5));
        assert_eq!(quantile(&[0, 10, 20], 0.9), Some(18.0));
    }
}
