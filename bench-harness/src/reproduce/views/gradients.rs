//! What staleness does to memory and gradients, and how fast gradients fall: what the probes of runs found.

use mspipe::pipeline::probe::ProbeMeans;
use mspipe::report::probes::{falling_chart, falling_series};
use mspipe::report::{Block, Table};

use super::super::experiment::{Experiment, Outcome};
use super::super::wording::from_to;
use crate::schedules::or_dash;

/// A chart for each stream and variant, and a table; of the first seed alone.
pub(super) fn gradients(experiment: &Experiment) -> Vec<Block> {
    let chart = |series: &Vec<&Outcome>| {
        let curves = series
            .iter()
            .map(|outcome| falling_series(&outcome.arm, outcome.color(), &outcome.cells[0].probes));
        falling_chart(&series[0].title(), curves.collect()).figure("")
    };
    let figures = experiment.series().iter().map(chart).collect();
    let mut table = Table::new(
        "Means over the probes: relative errors of the rows that roots are embedded from and of the gradients, \
         against memory that is not stale and is driven by the same weights; median of ‖g(W′) − g(W)‖ / ‖W′ − W‖ \
         on one batch; exponent of T with which the mean of ‖g‖² changes",
        &["stream", "variant", "arm"],
        &[
            "probes",
            "memory off by",
            "gradients off by",
            "smoothness",
            "exponent",
        ],
    );
    for outcome in &experiment.outcomes {
        let probes = &outcome.cells[0].probes;
        let means = ProbeMeans::of(probes);
        let percent = |of: fn(&ProbeMeans) -> f64| {
            or_dash(
                means
                    .as_ref()
                    .map(|means| format!("{:.2} %", 100.0 * of(means))),
            )
        };
        let mut row = outcome.names();
        row.extend([
            probes.len().to_string(),
            percent(|means| means.memory_error),
            percent(|means| means.gradient_error),
            or_dash(
                means
                    .and_then(|means| means.smoothness)
                    .map(|value| format!("{value:.3}")),
            ),
            or_dash(
                means
                    .and_then(|means| means.slope)
                    .map(|slope| format!("{slope:.2}")),
            ),
        ]);
        table.rows.push(row);
    }
    vec![
        Block::Text("The first seed alone.".to_owned()),
        Block::Figures(figures),
        Block::Table(table),
    ]
}

/// The exponents of all runs.
pub(super) fn gradients_seen(experiment: &Experiment) -> Option<String> {
    let slope = |outcome: &Outcome| ProbeMeans::of(&outcome.cells[0].probes)?.slope;
    let slopes: Vec<f64> = experiment.outcomes.iter().filter_map(slope).collect();
    (!slopes.is_empty()).then(|| {
        let all = from_to(&slopes, |slope| format!("{slope:.2}"));
        format!("the mean of ‖g‖² changes as T to the power of {all}")
    })
}
