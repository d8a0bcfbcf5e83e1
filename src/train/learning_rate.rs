//! The learning rate of each step.
//!
//! Step t of T (from 1), with a highest rate of η and a warm-up of W steps:
//!
//! | | rate |
//! |---|---|
//! | t ≤ W | η t / W |
//! | `constant` | η |
//! | `linear` | η (1 − p) |
//! | `cosine` | η (1 + cos π p) / 2 |
//!
//! with p = (t − 1 − W) / (T − W): the first step after the warm-up has the whole rate, and the
//! last step still moves. T are the iterations of all epochs, also where training ends early.
//!
//! Source of the cosine: Loshchilov and Hutter, SGDR (ICLR 2017), equation 5, without restarts.

use std::f64::consts::PI;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What the learning rate does after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LrSchedule {
    /// Stays as it is
    #[default]
    Constant,
    /// Falls to 0 as half a cosine does
    Cosine,
    /// Falls to 0 in equal steps
    Linear,
}

/// What the highest rate is multiplied by where several ranks share a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LrScale {
    /// Nothing: ranks give what one process gives
    #[default]
    None,
    /// The square root of the number of ranks, as MSPipe's own code does
    SqrtRanks,
}

impl LrScale {
    /// The factor for so many ranks.
    pub fn factor(self, ranks: usize) -> f64 {
        match self {
            LrScale::None => 1.0,
            LrScale::SqrtRanks => (ranks as f64).sqrt(),
        }
    }
}

/// The learning rate of each step of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    /// The highest, η.
    pub peak: f64,
    /// What it does after the warm-up.
    pub schedule: LrSchedule,
    /// Steps of the warm-up, W.
    pub warmup: usize,
    /// Steps of the whole run, T; more than W.
    pub steps: usize,
}

impl LearningRate {
    /// The same in every step.
    pub fn constant(peak: f64) -> LearningRate {
        LearningRate {
            peak,
            schedule: LrSchedule::Constant,
            warmup: 0,
            steps: 1,
        }
    }

    /// That of step `t`, from 1.
    pub fn at(&self, t: usize) -> f64 {
        if t <= self.warmup {
            return self.peak * t as f64 / self.warmup as f64;
        }
        let after = self.steps.saturating_sub(self.warmup).max(1);
        let p = ((t - 1 - self.warmup) as f64 / after as f64).min(1.0);
        match self.schedule {
            LrSchedule::Constant => self.peak,
            LrSchedule::Linear => self.peak * (1.0 - p),
            LrSchedule::Cosine => self.peak * 0.5 * (1.0 + (PI * p).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: LrSchedule, warmup: usize, steps: usize) -> Vec<f64> {
        let rate = LearningRate {
            peak: 2.0,
            schedule,
            warmup,
            steps,
        };
        (1..=steps).map(|t| rate.at(t)).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn curves_are_those_of_the_closed_forms() {
        // cos(π/4) = √½, cos(π/2) = 0, cos(3π/4) = −√½.
        let half = 0.5f64.sqrt();
        let cosine = [2.0, 1.0 + half, 1.0, 1.0 - half];
        close(&rates(LrSchedule::Cosine, 0, 4), &cosine);
        close(&rates(LrSchedule::Linear, 0, 4), &[2.0, 1.5, 1.0, 0.5]);
        close(&rates(LrSchedule::Constant, 0, 3), &[2.0; 3]);
        let warm = [0.5, 1.0, 1.5, 2.0];
        close(&rates(LrSchedule::Cosine, 4, 8), &[warm, cosine].concat());
        close(
            &rates(LrSchedule::Constant, 4, 6),
            &[&warm[..], &[2.0; 2]].concat(),
        );
        let linear = rates(LrSchedule::Linear, 4, 8);
        close(&linear, &[warm, [2.0, 1.5, 1.0, 0.5]].concat());
    }

    #[test]
    fn a_constant_rate_is_itself_to_the_bit_and_no_step_is_lost() {
        assert_eq!(
            LearningRate::constant(1e-4).at(1).to_bits(),
            1e-4f64.to_bits()
        );
        assert_eq!(
            LearningRate::constant(1e-4).at(1 << 40).to_bits(),
            1e-4f64.to_bits()
        );
        for schedule in [LrSchedule::Cosine, LrSchedule::Linear] {
            assert!(rates(schedule, 3, 10_000).iter().all(|&rate| rate > 0.0));
        }
    }
}
