//! What several runs that differ by their seeds say of a measure: mean, standard deviation, and a
//! bootstrap interval of the mean.
//!
//! The seed is the unit that is drawn anew, since it is the training that is repeated: an interval
//! over events would leave out what training itself contributes, and events of one stream depend on
//! one another. Two settings are compared by the differences of the runs that share a seed, and so
//! initial weights, order and negatives.
//!
//! Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13 (percentile
//! interval). The mean of n numbers that are drawn again varies √((n − 1) / n) times as much as it
//! should (section 5.3), so the interval is that much wider here. Even so, three seeds say little.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::sampling::counter_rng::RandomStreams;

/// Samples that are drawn.
const SAMPLES: u64 = 10_000;

/// Share of the samples' means that the interval leaves out on each side.
const OUTSIDE: f64 = 0.025;

/// A measure of several runs, or a difference of two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Each run's, by seed.
    pub values: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (n − 1), with at least two runs.
    pub deviation: Option<f64>,
    /// 95 % interval of the mean, likewise.
    pub interval: Option<[f64; 2]>,
}

impl Spread {
    /// Of at least one run.
    pub fn of(values: Vec<f64>) -> Spread {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let several = values.len() > 1;
        Spread {
            mean,
            deviation: several.then(|| (squares / (n - 1.0)).sqrt()),
            interval: several.then(|| interval(&values, mean)),
            values,
        }
    }
}

/// Mean ± standard deviation, as tables have it.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Padded, as a table asks.
        f.pad(&match self.deviation {
            Some(deviation) => format!("{:.4} ± {deviation:.4}", self.mean),
            None => format!("{:.4}", self.mean),
        })
    }
}

/// The percentile interval of the mean of `values`, always the same for the same values.
fn interval(values: &[f64], mean: f64) -> [f64; 2] {
    let streams = RandomStreams::new(0, 0, b"bootstra");
    let n = values.len() as u32;
    let mut means: Vec<f64> = (0..SAMPLES)
        .map(|sample| {
            let mut rng = streams.at(sample, 0);
            let drawn = (0..n).map(|_| values[rng.u32_below(n) as usize]);
            drawn.sum::<f64>() / f64::from(n)
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let wider = (f64::from(n) / f64::from(n - 1)).sqrt();
    [OUTSIDE, 1.0 - OUTSIDE].map(|share| {
        let at = (share * (SAMPLES - 1) as f64).round() as usize;
        mean + wider * (means[at] - mean)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_are_those_of_the_definition() {
        let spread = Spread::of(vec![1.0, 2.0, 4.0, 5.0]);
        assert_eq!(spread.mean, 3.0);
        // Squares 4 + 1 + 1 + 4, by 3.
        assert_eq!(spread.deviation, Some((10.0f64 / 3.0).sqrt()));
        let one = Spread::of(vec![0.5]);
        assert_eq!((one.mean, one.deviation, one.interval), (0.5, None, None));
        assert_eq!(spread.to_string(), "3.0000 ± 1.8257");
        assert_eq!(one.to_string(), "0.5000");
    }

    #[test]
    fn the_interval_is_that_of_all_samples() {
        // Of two numbers a sample's mean is one of them in a quarter of the cases each: both ends.
        let two = Spread::of(vec![0.0, 1.0]).interval.unwrap();
        let ends = [0.5 - 0.5 * 2f64.sqrt(), 0.5 + 0.5 * 2f64.sqrt()];
        assert!(
            two.iter()
                .zip(ends)
                .all(|(found, end)| (found - end).abs() < 1e-12)
        );
        // All 3^3 samples: the mean is the least number in 1 of 27, more than 2.5 %.
        let three = Spread::of(vec![0.0, 1.0, 5.0]).interval.unwrap();
        let wider = 1.5f64.sqrt();
        for (found, end) in three.into_iter().zip([0.0, 5.0]) {
            assert!(
                (found - (2.0 + wider * (end - 2.0))).abs() < 1e-12,
                "{found}"
            );
        }
        // Of many numbers it is the normal one: 1.96 deviations over √n.
        let many: Vec<f64> = (0..400).map(|i| f64::from(i % 20)).collect();
        let spread = Spread::of(many);
        let half = 1.96 * spread.deviation.unwrap() / 20.0;
        let [low, high] = spread.interval.unwrap();
        assert!((spread.mean - low - half).abs() < 0.05 * half, "{low}");
        assert!((high - spread.mean - half).abs() < 0.05 * half, "{high}");
    }

    #[test]
    fn equal_numbers_have_no_width() {
        let spread = Spread::of(vec![0.25; 5]);
        assert_eq!(
            (spread.deviation, spread.interval),
            (Some(0.0), Some([0.25; 2]))
        );
    }
}
