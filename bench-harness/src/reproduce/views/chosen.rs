//! A setting chosen on validation, judged on the test part against the first arm's.

use mspipe::eval::Spread;
use mspipe::report::{Block, Table};

use super::super::experiment::{Experiment, Outcome, difference_text, paired};
use super::sweep::{name_of_setting, value};
use crate::cell::Cell;
use crate::schedules::or_dash;

/// One row for each stream and variant: the value with the best validation AP, and what it does to test AP.
pub(super) fn chosen(experiment: &Experiment, setting: &str) -> Vec<Block> {
    let first = experiment.first_arm();
    let mut table = Table::new(
        &format!(
            "{} chosen by validation AP (mean over seeds, each run's best epoch), which the test part then judges; \
             differences are of runs with the same seed, in brackets the 95 % interval of their mean (bootstrap \
             over seeds)",
            name_of_setting(setting)
        ),
        &["stream", "setting"],
        &[
            "chosen",
            "validation AP",
            "test AP",
            &format!("test AP with {first}"),
            "difference",
        ],
    );
    let row = |series: &Vec<&Outcome>| {
        let (best, first) = (best_on_validation(series)?, series.first()?);
        let difference = (best.arm_number != first.arm_number)
            .then(|| paired(best, first, |cell| cell.test.ap))
            .flatten();
        Some(vec![
            best.stream.clone(),
            best.variant.clone(),
            value(best, setting).to_string(),
            validation_ap(best).to_string(),
            best.row.test_ap.to_string(),
            first.row.test_ap.to_string(),
            or_dash(difference.map(|difference| difference_text(&difference))),
        ])
    };
    table.rows = experiment.series().iter().filter_map(row).collect();
    vec![Block::Table(table)]
}

/// How often what validation chose is better on the test part than the first arm.
pub(super) fn chosen_seen(experiment: &Experiment, setting: &str) -> Option<String> {
    let all = experiment.series();
    let of_series = |series: &Vec<&Outcome>| {
        let (best, first) = (best_on_validation(series)?, *series.first()?);
        Some(best.ap_over(first))
    };
    let changes: Vec<f64> = all.iter().filter_map(of_series).collect();
    let better = changes.iter().filter(|change| **change > 0.0).count();
    (!changes.is_empty()).then(|| {
        format!(
            "{} as validation chose it has a higher test AP than {} in {better} of {} cases",
            name_of_setting(setting),
            experiment.first_arm(),
            changes.len()
        )
    })
}

/// The outcome with the best validation AP; of equals the first.
fn best_on_validation<'a>(series: &[&'a Outcome]) -> Option<&'a Outcome> {
    let better = |best: &'a Outcome, other: &'a Outcome| match validation_ap(other).mean
        > validation_ap(best).mean
    {
        true => other,
        false => best,
    };
    series.iter().copied().reduce(better)
}

fn validation_ap(outcome: &Outcome) -> Spread {
    let of_run = |cell: &Cell| {
        let epochs = cell.epochs.iter().map(|epoch| epoch.val_ap);
        epochs.fold(f64::NEG_INFINITY, f64::max)
    };
    Spread::of(outcome.cells.iter().map(of_run).collect())
}
