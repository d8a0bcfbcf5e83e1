//! Staleness mitigation (MSPipe-S): memory that has not been updated for long is drawn towards
//! that of similar nodes with newer memory.
//!
//! Similar nodes share neighbours in the training events: in a bipartite stream users with
//! users, through the items that both met. A root whose memory is older than all but a share of
//! the batch's roots gets λ s + (1 − λ) mean(s of its similar nodes that were updated later).
//! Times and mail stay as they are.
//!
//! Source: MSPipe's `prepare_input` (threshold, λ, the ten most similar); how its lists were made
//! is in none of its commits, so the number of common neighbours is our choice, as in the paper's
//! text.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;

use super::MemoryRequest;
use super::node_times::NodeTimes;
use crate::graph::{Csr, NodeId, Queries, Timestamp};
use crate::kernels::memory_update::memory_update;

/// Length of a node's list.
const MOST_SIMILAR: usize = 10;

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

/// The correction that a run makes.
#[derive(Debug, Clone)]
pub struct Mitigation {
    /// Who is similar to whom.
    pub similar: Arc<SimilarNodes>,
    /// λ: what remains of a corrected row.
    pub keep: f32,
    /// Roots are corrected whose age lies above this quantile of the batch's ages.
    pub age_quantile: f64,
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
        let Some(mitigation) = mitigation else {
            return correction;
        };
        correction.mitigated = true;
        correction.keep = mitigation.keep;
        let ages = |roots: Queries<'_>| -> Vec<Timestamp> {
            let age = |(&node, time): (&NodeId, &Timestamp)| time - node_times.newest(node);
            roots.node.iter().zip(roots.time).map(age).collect()
        };
        let Some(threshold) = quantile(&ages(request.aged), mitigation.age_quantile) else {
            return correction;
        };
        let ages = ages(request.roots);
        let mut corrected = vec![false; correction.rows];
        for ((node, &row), &age) in request.roots.node.iter().zip(request.root_row).zip(&ages) {
            let row_done = &mut corrected[row as usize];
            if age as f64 <= threshold || *row_done {
                continue;
            }
            *row_done = true;
            let newest = node_times.newest(*node);
            let newer = |other: &&NodeId| node_times.newest(**other) > newest;
            let mut similar = mitigation
                .similar
                .list(*node)
                .iter()
                .filter(newer)
                .peekable();
            if similar.peek().is_some() {
                correction.row.push(row);
                correction.similar.push(similar.copied());
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
        let (corrected, extra) = (self.row.len(), self.similar.items.len());
        // Weights of each similar node in the mean of its row: [corrected, extra].
        let mut weights = vec![0.0f32; corrected * extra];
        for (row, weights) in weights.chunks_exact_mut(extra).enumerate() {
            let similar = self.similar.range(row);
            let share = (1.0 - self.keep) / similar.len() as f32;
            weights[similar].fill(share);
        }
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [corrected, extra]), &device);
        let own = memory.clone().slice(0..self.rows);
        let drawn = weights.matmul(memory.slice(self.rows..self.rows + extra));
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
    fn quantiles_are_numpys() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7], 0.99), Some(7.0));
        assert_eq!(quantile(&[4, 1, 2, 3], 0.5), Some(2.5));
        assert_eq!(quantile(&[0, 10, 20], 0.9), Some(18.0));
    }
}
