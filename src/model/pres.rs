//! PRES (Su, Zou and Wu, ICLR 2024; arXiv 2402.04284): a row that is written is drawn towards what its
//! node's past changes predict, and is kept coherent with what it was before.
//!
//! With s the row as it was read, s′ as the updater has it, Δt the time since its last update and μ the
//! mean of the node's past changes per unit of time:
//!
//! * ŝ = s + Δt μ, s̄ = γ s′ + (1 − γ) ŝ, where γ = sigmoid(g) is trained; s̄ = s′ where there is no past.
//!   s̄ takes the place of s′ in everything that follows.
//! * The loss gains β (1 − mean cos(s̄, s)) over the written rows with s ≠ 0.
//! * The change is δ = (s̄ − s) / max(Δt, 1 tick), without gradient.
//!
//! In training only. Past changes are the memory's ([`crate::memory::trends`]).

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};

use super::input::TrendInput;
use crate::kernels::gather_rows::gather_rows;

/// Largest |g| to begin with: from here on γ is 0 or 1 in f32, and stays so.
const MOST_GATE: f32 = 20.0;

/// Keeps a product of two squared norms above 0.
const EPSILON: f64 = 1e-20;

/// What is trained for it.
#[derive(Module, Debug)]
pub struct Pres {
    /// g, `[1]`.
    pub gate: Param<Tensor<1>>,
    /// β.
    coherence: f64,
}

/// What becomes of updated rows.
#[derive(Debug, Clone)]
pub struct Smoothed {
    /// s̄ of the written rows and s′ of all others, `[rows, width]`.
    pub memory: Tensor<2>,
    /// β (1 − mean cos), `[1]`, unless β = 0.
    pub incoherence: Option<Tensor<1>>,
    /// δ, `[written, width]`, without autodiff.
    pub changes: Tensor<2>,
}

impl Pres {
    /// On `device`, beginning with γ = `keep` and with β = `coherence`.
    pub fn new(keep: f32, coherence: f64, device: &Device) -> Pres {
        let gate = (keep / (1.0 - keep)).ln().clamp(-MOST_GATE, MOST_GATE);
        let gate = Tensor::from_data(TensorData::new(vec![gate], [1]), device);
        Pres {
            gate: Param::from_tensor(gate),
            coherence,
        }
    }

    /// Smooths `updated`, `[rows, width]`, whose rows were `before`, on a device with autodiff.
    pub fn smooth(&self, updated: Tensor<2>, before: &Tensor<2>, trends: &TrendInput) -> Smoothed {
        let own = gather_rows(updated.clone(), trends.row.clone(), trends.row_uses.clone());
        let before = before.clone().select(0, trends.row.clone());
        let mean = trends.sums.clone() / trends.count.clone();
        let predicted = before.clone() + mean * trends.delta_t.clone();
        // γ, and 1 where nothing is known; exact where γ is 1.
        let less = sigmoid(self.gate.val()).reshape([1, 1]) - 1.0;
        let keep = less * trends.known.clone() + 1.0;
        let smoothed = own * keep.clone() + predicted * (keep.neg() + 1.0);

        let change = smoothed.clone().inner() - before.clone().inner();
        let changes = change / trends.spacing.clone().inner();
        let incoherence = (self.coherence > 0.0).then(|| {
            let share = trends.share.clone();
            incoherence(smoothed.clone(), before, share) * self.coherence
        });
        let memory = gather_rows(
            Tensor::cat(vec![updated, smoothed], 0),
            trends.source.clone(),
            trends.source_uses.clone(),
        );
        Smoothed {
            memory,
            incoherence,
            changes,
        }
    }
}

/// 1 − the mean cosine of rows and what they were before, `[rows, width]` both, over those that were
/// not 0; 0 if all were. With a `share`, `[rows, 1]`, of each that instead of the mean. `[1]`.
fn incoherence(rows: Tensor<2>, before: Tensor<2>, share: Option<Tensor<2>>) -> Tensor<1> {
    let dot = (rows.clone() * before.clone()).sum_dim(1);
    let squares = before.square().sum_dim(1);
    let had = squares.clone().greater_elem(0.0).float();
    let norms = rows.square().sum_dim(1) * squares + EPSILON;
    let apart = (dot / norms.sqrt()).neg() + 1.0;
    if let Some(share) = share {
        return (apart * had * share).sum();
    }
    let count = had.clone().sum().clamp_min(1.0);
    (apart * had).sum() / count
}
