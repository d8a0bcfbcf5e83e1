//! Results of the runs of a check when they were recorded, and what may differ from it.
//!
//! Seeds are fixed, so that on one device a run gives the same bits each time. On another
//! device sums are rounded in another order, and training amplifies that. How much is measured
//! when bands are recorded: the learning rate is changed by a millionth, which disturbs every
//! step about as much as another order of sums does, and the tolerance is a multiple of the
//! largest change that follows. What no rounding can reach has no tolerance: the negatives
//! (through EdgeBank's AP), the staleness of each iteration and the ages of the rows read.

use serde::{Deserialize, Serialize};

use crate::cell::Cell;

/// A tolerance is this times the largest change of the disturbed runs, and at least this much:
/// kernels that round otherwise have changed a loss by 0.007 where four disturbances changed it by
/// 0.0008, and the mildest of the faults that were planted changes an AP by 0.007.
const FACTOR: f64 = 5.0;
const LEAST_OF_LOSS: f64 = 0.015;
const LEAST_OF_AP: f64 = 0.004;

/// Of what rounding can't reach; decimals of the file.
const EXACT: f64 = 1e-9;

/// All that was recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bands {
    /// Processor and system that recorded.
    pub machine: String,
    /// Device that trained.
    pub device: String,
    /// Version and commit that recorded.
    pub program: String,
    /// What each recipe gave.
    pub recipes: Vec<Recorded>,
}

/// Results of one recipe.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Name of the recipe.
    pub name: String,
    /// Its options.
    pub options: String,
    /// SHA-256 of its stream.
    pub data_hash: String,
    /// Its seed.
    pub seed: u64,
    /// Its result.
    pub quantities: Vec<Quantity>,
}

/// Numbers with what they may differ by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantity {
    /// What they are.
    pub name: String,
    /// The numbers.
    pub values: Vec<f64>,
    /// What each may differ by.
    pub tolerance: f64,
}

/// How a quantity compares with what was recorded: its number with the largest difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// What it is.
    pub name: String,
    /// Which of its numbers, from 1, and of how many.
    pub nth: (usize, usize),
    /// The number recorded.
    pub recorded: f64,
    /// What it may differ by.
    pub tolerance: f64,
    /// The number found; none where there are fewer than recorded.
    pub found: Option<f64>,
    /// Whether all numbers are within the tolerance.
    pub ok: bool,
}

/// Results of a run; `exact` ones come last.
pub(super) fn quantities(cell: &Cell) -> Vec<Quantity> {
    let quantity = |name: &str, values: Vec<f64>, tolerance| Quantity {
        name: name.to_owned(),
        values,
        tolerance,
    };
    let staleness = cell
        .staleness
        .iter()
        .flat_map(|(k, count)| [*k as f64, *count as f64]);
    let mut all = vec![
        quantity("loss curve", cell.loss_curve.clone(), LEAST_OF_LOSS),
        quantity(
            "validation AP",
            cell.epochs.iter().map(|e| e.val_ap).collect(),
            LEAST_OF_AP,
        ),
        quantity(
            "test AP, AUC",
            vec![cell.test.ap, cell.test.auc],
            LEAST_OF_AP,
        ),
        quantity(
            "test AP, other pool",
            vec![cell.test_other_pool.ap],
            LEAST_OF_AP,
        ),
        quantity("EdgeBank's test AP", vec![cell.edgebank_ap], EXACT),
        quantity("k, iterations", staleness.collect(), EXACT),
        quantity(
            "ages of rows",
            cell.ages.iter().map(|rows| *rows as f64).collect(),
            EXACT,
        ),
    ];
    if let Some(rows) = cell.corrected_rows {
        all.push(quantity("rows corrected", vec![rows], EXACT));
    }
    all
}

/// Results of a run, with tolerances from what `disturbed` ones gave.
pub(super) fn record(cell: &Cell, disturbed: &[Cell]) -> Vec<Quantity> {
    let mut all = quantities(cell);
    for (nth, quantity) in all.iter_mut().enumerate() {
        if quantity.tolerance == EXACT {
            continue;
        }
        let changes = disturbed.iter().flat_map(|other| {
            let other = quantities(other)[nth].values.clone();
            let pairs = quantity.values.clone().into_iter().zip(other);
            pairs.map(|(a, b)| (a - b).abs())
        });
        let largest = changes.fold(0.0, f64::max);
        // Three digits are enough to read.
        let tolerance = (FACTOR * largest * 1e3).ceil() / 1e3;
        quantity.tolerance = tolerance.max(quantity.tolerance);
    }
    for quantity in &mut all {
        // Nine decimals are far below every tolerance but that of exact ones, which has them.
        quantity
            .values
            .iter_mut()
            .for_each(|value| *value = (*value * 1e9).round() / 1e9);
    }
    all
}

/// Compares what was found with what was recorded.
pub(super) fn compare(recorded: &[Quantity], found: &[Quantity]) -> Vec<Compared> {
    recorded
        .iter()
        .map(|recorded| {
            let found = found.iter().find(|found| found.name == recorded.name);
            let values = found.map_or(&[][..], |found| &found.values);
            recorded.compare(values)
        })
        .collect()
}

impl Quantity {
    fn compare(&self, found: &[f64]) -> Compared {
        let count = self.values.len().max(found.len());
        let distance = |nth: usize| match (self.values.get(nth), found.get(nth)) {
            // A number that is none is as far away as one that is missing.
            (Some(a), Some(b)) if (a - b).is_finite() => (a - b).abs(),
            _ => f64::INFINITY,
        };
        let worst = (0..count)
            .max_by(|a, b| distance(*a).total_cmp(&distance(*b)))
            .unwrap_or(0);
        Compared {
            name: self.name.clone(),
            nth: (worst + 1, count),
            recorded: self.values.get(worst).copied().unwrap_or(f64::NAN),
            tolerance: self.tolerance,
            found: found.get(worst).copied(),
            ok: count == 0 || distance(worst) <= self.tolerance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_number_decides() {
        let quantity = Quantity {
            name: "loss".to_owned(),
            values: vec![1.0, 0.8, 0.5],
            tolerance: 0.01,
        };
        let compared = quantity.compare(&[1.0, 0.805, 0.5]);
        assert_eq!((compared.nth, compared.ok), ((2, 3), true));
        let compared = quantity.compare(&[1.0, 0.805, 0.52]);
        assert_eq!((compared.nth, compared.ok), ((3, 3), false));
        assert!(!quantity.compare(&[1.0, 0.8]).ok, "one is missing");
        assert!(!quantity.compare(&[1.0, 0.8, 0.5, 0.5]).ok, "one too many");
        assert!(!quantity.compare(&[1.0, f64::NAN, 0.5]).ok);
    }
}
