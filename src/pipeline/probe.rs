//! What an iteration's probe found, and what all of a run come to.
//!
//! The quantities are those of MSPipe's theorem of convergence (arXiv 2402.15113): it assumes that gradients
//! change smoothly with weights and memory, and that stale memory is near to what it should be, and concludes
//! that the mean of ‖g‖² over T iterations falls as T^(-1/2).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an iteration's probe found. Ŝ are the rows that its roots are embedded from, S those of memory that
/// is not stale; both with the mail that their updater absorbs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Iterations of the run up to it, itself among them: T.
    pub trained: usize,
    /// ‖Ŝ − S‖ / ‖S‖ over the batch's roots.
    pub memory_error: f64,
    /// ‖g(Ŝ) − g(S)‖ / ‖g(S)‖ of the gradients of all weights.
    pub gradient_error: f64,
    /// ‖g(Ŝ)‖², which is what the optimiser gets.
    pub squared_gradient: f64,
    /// ‖g(W′) − g(W)‖ / ‖W′ − W‖ from the probe before to this one, on the batch of the epoch's first, without
    /// dropout; none of that one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub smoothness: Option<f64>,
}

/// What several probes come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeMeans {
    /// Mean relative error of memory.
    pub memory_error: f64,
    /// Mean relative error of gradients.
    pub gradient_error: f64,
    /// Median of the estimates of smoothness, if there is one.
    pub smoothness: Option<f64>,
    /// Exponent of T with which the running mean of ‖g‖² changes; none of fewer than three probes.
    pub slope: Option<f64>,
}

impl ProbeMeans {
    /// Of `probes`, in order; none if there are none.
    pub fn of(probes: &[Probe]) -> Option<ProbeMeans> {
        let mean = |of: fn(&Probe) -> f64| probes.iter().map(of).sum::<f64>() / probes.len() as f64;
        let mut smoothness: Vec<f64> = probes.iter().filter_map(|probe| probe.smoothness).collect();
        smoothness.sort_by(f64::total_cmp);
        (!probes.is_empty()).then(|| ProbeMeans {
            memory_error: mean(|probe| probe.memory_error),
            gradient_error: mean(|probe| probe.gradient_error),
            smoothness: smoothness.get(smoothness.len() / 2).copied(),
            slope: slope(&falling(probes)),
        })
    }
}

impl fmt::Display for ProbeMeans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rows that roots are embedded from are {:.2} % off on average, gradients {:.2} %",
            100.0 * self.memory_error,
            100.0 * self.gradient_error
        )?;
        if let Some(slope) = self.slope {
            write!(
                f,
                "; the mean of ‖g‖² over T iterations changes as T^({slope:.2})"
            )?;
        }
        Ok(())
    }
}

/// Logarithms to base 10 of T, and of the mean of ‖g‖² over the probes up to it.
pub fn falling(probes: &[Probe]) -> Vec<(f64, f64)> {
    let mut sum = 0.0;
    let points = (1..).zip(probes).map(|(count, probe)| {
        sum += probe.squared_gradient;
        let mean = sum / f64::from(count);
        ((probe.trained as f64).log10(), mean.log10())
    });
    points.collect()
}

/// Slope of the line that is nearest to the points, by least squares; none of fewer than three.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let both: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    let square: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let slope = both / square;
    (points.len() > 2 && slope.is_finite()).then_some(slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With ‖g‖² that makes its running mean T^exponent.
    fn probes(exponent: f64) -> Vec<Probe> {
        let total = |t: usize| (t as f64).powf(1.0 + exponent);
        let probe = |t: usize| Probe {
            trained: t,
            memory_error: t as f64,
            gradient_error: 0.5,
            squared_gradient: total(t) - if t == 1 { 0.0 } else { total(t - 1) },
            smoothness: (t > 1).then_some(t as f64),
        };
        (1..=100).map(probe).collect()
    }

    #[test]
    fn the_slope_is_the_exponent() {
        for exponent in [-0.5, -0.25, 0.0] {
            let slope = ProbeMeans::of(&probes(exponent)).unwrap().slope.unwrap();
            assert!((slope - exponent).abs() < 1e-9, "{slope}, {exponent}");
        }
        assert!(ProbeMeans::of(&probes(-0.5)[..2]).unwrap().slope.is_none());
        assert!(ProbeMeans::of(&[]).is_none());
    }

    #[test]
    fn means_are_those_of_all_probes() {
        let means = ProbeMeans::of(&probes(-0.5)).unwrap();
        assert_eq!((means.memory_error, means.gradient_error), (50.5, 0.5));
        assert_eq!(means.smoothness, Some(51.0));
    }
}
