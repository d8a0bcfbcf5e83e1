//! Attention of each root over its slots: of x = [node row | edge features | cos(Δt ω + φ) | 1] the sum
//! of all x_k times dropout(softmax over k(leaky_relu(query · x_k))), for each head.

use super::dropout::Draws;
use super::time_encoding::{time_encoding, time_gradients};
use super::wide;

/// Slope of the leaky ReLU below 0.
const SLOPE: f64 = 0.2;

/// What a root attends to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) row: usize,
    pub(crate) event: usize,
    pub(crate) delta_t: f32,
}

/// What the attention reads.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    pub(crate) heads: usize,
    /// Slots of a root, full or not.
    pub(crate) fanout: usize,
    /// Widths of a node row and of an edge feature row.
    pub(crate) widths: [usize; 2],
    /// `[heads, queries, width of x]`.
    pub(crate) query: Vec<f32>,
    /// Query row of each root.
    pub(crate) query_row: Vec<usize>,
    pub(crate) node: Vec<f32>,
    pub(crate) edge: Vec<f32>,
    pub(crate) omega: Vec<f32>,
    pub(crate) phi: Vec<f32>,
    /// For each root its slots; `None` is empty.
    pub(crate) slots: Vec<Vec<Option<Slot>>>,
    pub(crate) draws: Draws,
}

/// A slot that is not empty, for one head.
struct Attended {
    slot: Slot,
    x: Vec<f64>,
    /// query · x.
    score: f64,
    /// After the softmax.
    weight: f64,
    /// What the dropout multiplies it by.
    factor: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Attention {
    fn width(&self) -> usize {
        self.widths[0] + self.widths[1] + self.omega.len() + 1
    }

    fn x(&self, slot: Slot) -> Vec<f64> {
        let [node, edge] = self.widths;
        let mut x = wide(&self.node[slot.row * node..][..node]);
        x.extend(wide(&self.edge[slot.event * edge..][..edge]));
        x.extend(time_encoding(&self.omega, &self.phi, &[slot.delta_t]));
        x.push(1.0);
        x
    }

    /// Where a head's query of a root begins.
    fn place(&self, head: usize, root: usize) -> usize {
        let queries = self.query.len() / (self.heads * self.width());
        (head * queries + self.query_row[root]) * self.width()
    }

    fn query(&self, head: usize, root: usize) -> Vec<f64> {
        wide(&self.query[self.place(head, root)..][..self.width()])
    }

    fn attended(&self, head: usize, root: usize) -> Vec<Attended> {
        let query = self.query(head, root);
        let mut attended = Vec::new();
        for (k, slot) in self.slots[root].iter().enumerate() {
            let Some(slot) = *slot else { continue };
            let x = self.x(slot);
            let score = dot(&query, &x);
            let leaky = if score > 0.0 { score } else { SLOPE * score };
            attended.push(Attended {
                slot,
                x,
                score,
                weight: leaky.exp(),
                factor: self
                    .draws
                    .factor((root * self.fanout + k) * self.heads + head),
            });
        }
        let total: f64 = attended.iter().map(|of| of.weight).sum();
        for of in &mut attended {
            of.weight /= total;
        }
        attended
    }

    /// `[heads, roots, width of x]`.
    pub(crate) fn output(&self) -> Vec<f64> {
        let mut out = Vec::new();
        for head in 0..self.heads {
            for root in 0..self.slots.len() {
                let mut sum = vec![0.0; self.width()];
                for of in self.attended(head, root) {
                    for (sum, x) in sum.iter_mut().zip(&of.x) {
                        *sum += of.weight * of.factor * x;
                    }
                }
                out.extend(sum);
            }
        }
        out
    }

    /// Gradients of query, node rows, ω and φ.
    pub(crate) fn gradients(&self, grad: &[f64]) -> [Vec<f64>; 4] {
        let ([node, edge], time) = (self.widths, self.omega.len());
        let mut d_query = vec![0.0; self.query.len()];
        let mut d_node = vec![0.0; self.node.len()];
        let (mut d_omega, mut d_phi) = (vec![0.0; time], vec![0.0; time]);
        for (i, grad) in grad.chunks(self.width()).enumerate() {
            let (head, root) = (i / self.slots.len(), i % self.slots.len());
            let (query, attended) = (self.query(head, root), self.attended(head, root));
            let d_weight = |of: &Attended| of.factor * dot(grad, &of.x);
            let mean: f64 = attended.iter().map(|of| of.weight * d_weight(of)).sum();
            for of in &attended {
                let d_leaky = of.weight * (d_weight(of) - mean);
                let d_score = d_leaky * if of.score > 0.0 { 1.0 } else { SLOPE };
                let d_x = |c: usize| of.weight * of.factor * grad[c] + d_score * query[c];
                for c in 0..self.width() {
                    d_query[self.place(head, root) + c] += d_score * of.x[c];
                }
                for c in 0..node {
                    d_node[of.slot.row * node + c] += d_x(c);
                }
                let d_encoding: Vec<f64> = (0..time).map(|c| d_x(node + edge + c)).collect();
                let delta = [of.slot.delta_t];
                let [omega, phi] = time_gradients(&self.omega, &self.phi, &delta, &d_encoding);
                for c in 0..time {
                    d_omega[c] += omega[c];
                    d_phi[c] += phi[c];
                }
            }
        }
        [d_query, d_node, d_omega, d_phi]
    }
}
