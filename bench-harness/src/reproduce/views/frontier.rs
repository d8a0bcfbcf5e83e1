//! What staleness loses: accuracy against the mail that no update absorbs, and against how far memory is off.
//!
//! Runs are compared with the one of the same batch size that loses nothing: k = 1 without a
//! mitigation. Differences are of runs with the same seed.

use mspipe::config::{MitigationName, name_of};
use mspipe::eval::Spread;
use mspipe::pipeline::probe::ProbeMeans;
use mspipe::pipeline::staleness::{StaleMemory, percent, stale_rows};
use mspipe::report::chart::{Join, Lines, Point, Series};
use mspipe::report::{Block, Table};

use super::super::experiment::{Experiment, Outcome, difference_text, distinct, paired};
use crate::cell::Cell;
use crate::schedules::or_dash;

/// What accuracy is drawn against.
struct Axis {
    short: &'static str,
    name: &'static str,
    /// In per cent; none where the runs do not know.
    value: fn(&Outcome) -> Option<f64>,
}

const AXES: [Axis; 2] = [
    Axis {
        short: "lost mail",
        name: "mail lost, % of what was overwritten",
        value: lost,
    },
    Axis {
        short: "memory's error",
        name: "‖Ŝ − S‖ / ‖S‖ of memory that is read, %",
        value: memory_error,
    },
];

/// Two charts and a table for each stream and variant.
pub(super) fn frontier(experiment: &Experiment) -> Vec<Block> {
    let all = experiment.series();
    let charts = all
        .iter()
        .flat_map(|series| AXES.iter().map(|axis| chart(series, axis).figure(CAPTION)));
    let figures = Block::Figures(charts.collect());
    let tables = all.iter().map(|series| Block::Table(table(series)));
    std::iter::once(figures).chain(tables).collect()
}

const CAPTION: &str = "Each point is a staleness and a batch size; the vertical axis does not begin at 0. Mail is \
    lost that was overwritten before an update had absorbed it; memory is off by what probes measured, by \
    nothing at k = 1.";

/// How often staleness cost something, and how much each mitigation wins back of it, over all streams and variants.
pub(super) fn frontier_seen(experiment: &Experiment) -> Option<String> {
    let all = experiment.series();
    let from = |base: fn(&Outcome, &[&Outcome]) -> Option<Spread>| -> Vec<Spread> {
        let of_series = |series: &Vec<&Outcome>| {
            let stale = series
                .iter()
                .filter(|o| o.row.k > 1 && mitigation(o) == MitigationName::None);
            let from = stale.filter_map(|o| base(o, series));
            from.collect::<Vec<Spread>>()
        };
        all.iter().flat_map(of_series).collect()
    };
    let (fresh, larger) = (from(from_fresh), from(from_larger_batch));
    let less = |of: &[Spread]| of.iter().filter(|difference| is_less(difference)).count();
    let told = |of: &[Spread], what: &str| {
        let cases = of.len();
        (cases > 0).then(|| format!("{what} in {} of {cases} cases", less(of)))
    };
    let costs = [
        told(
            &fresh,
            "k above 1 without mitigation is less accurate than k = 1, beyond what seeds differ by,",
        ),
        told(
            &larger,
            "it is less accurate than k = 1 with batches of k times as many events",
        ),
    ];
    let outcomes = || experiment.outcomes.iter().map(mitigation);
    let mitigations = distinct(outcomes().filter(|name| *name != MitigationName::None));
    let of = |name: &MitigationName| {
        let of_series = |series: &Vec<&Outcome>| {
            let stale = series.iter().filter(|o| mitigation(o) == *name);
            let won: Vec<f64> = stale
                .filter_map(|o| Compared::of(o, series)?.won_back())
                .collect();
            won
        };
        let won: Vec<f64> = all.iter().flat_map(of_series).collect();
        let half = won.iter().filter(|share| **share >= 0.5).count();
        (!won.is_empty()).then(|| {
            let name = name_of(name);
            format!(
                "{name} wins back at least half of what staleness cost in {half} of {} cases",
                won.len()
            )
        })
    };
    let said: Vec<String> = (costs.into_iter().flatten())
        .chain(mitigations.iter().filter_map(of))
        .collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn chart(series: &[&Outcome], axis: &Axis) -> Lines {
    let mitigations = distinct(series.iter().map(|outcome| mitigation(outcome)));
    let points = |(color, name): (usize, &MitigationName)| {
        let of_it = series.iter().filter(|outcome| mitigation(outcome) == *name);
        Series {
            name: format!("mitigation {}", name_of(name)),
            color: color + 1,
            points: of_it.filter_map(|outcome| point(outcome, axis)).collect(),
        }
    };
    let name = measure_name(series[0]);
    Lines {
        title: format!("{name} by {}: {}", axis.short, series[0].title()),
        x_name: axis.name.to_owned(),
        y_name: format!("test {name}"),
        series: mitigations.iter().enumerate().map(points).collect(),
        join: Join::Apart,
        ..Lines::default()
    }
}

fn point(outcome: &Outcome, axis: &Axis) -> Option<Point> {
    let spread = Spread::of(measures(outcome));
    Some(Point {
        x: (axis.value)(outcome)?,
        y: spread.mean,
        deviation: spread.deviation,
    })
}

fn table(series: &[&Outcome]) -> Table {
    let name = measure_name(series[0]);
    let mut table = Table::new(
        &format!(
            "{}; differences are from k = 1 at the same batch size without mitigation, over runs with \
             the same seed, in brackets the 95 % interval of their mean (bootstrap over seeds); won \
             back: of what k cost without mitigation ('-' where that interval reaches 0, above 100 % where k \
             with it is better than k = 1, below 0 where it is worse than without)",
            series[0].title()
        ),
        &["arm", "mitigation"],
        &[
            "batch",
            "k",
            &format!("test {name}"),
            "difference",
            "won back",
            "mail lost",
            "rows read stale",
            "memory off by",
        ],
    );
    let share = |value: Option<f64>| or_dash(value.map(|value| format!("{value:.1} %")));
    let row = |outcome: &&Outcome| {
        let compared = Compared::of(outcome, series);
        let won = compared.as_ref().and_then(Compared::won_back);
        let of_rows = counts(outcome).map(|counts| stale_rows(&counts.rows_read));
        vec![
            outcome.labelled_arm(),
            name_of(&mitigation(outcome)),
            batch_size(outcome).to_string(),
            outcome.row.k_text(),
            Spread::of(measures(outcome)).to_string(),
            or_dash(compared.map(|compared| difference_text(&compared.difference))),
            or_dash(won.map(|share| format!("{:.0} %", 100.0 * share))),
            share(lost(outcome)),
            share(of_rows.map(|(rows, stale)| percent(stale, rows))),
            share(memory_error(outcome)),
        ]
    };
    table.rows = series.iter().map(row).collect();
    table
}

/// A stale outcome beside those of the same batch size.
struct Compared {
    /// From k = 1 without mitigation.
    difference: Spread,
    /// Difference of the same k without mitigation, if the outcome has one.
    without: Option<Spread>,
}

impl Compared {
    fn of(outcome: &Outcome, series: &[&Outcome]) -> Option<Compared> {
        let mitigated = mitigation(outcome) != MitigationName::None;
        let stale = unmitigated(series, outcome.row.k, batch_size(outcome)).filter(|_| mitigated);
        Some(Compared {
            difference: from_fresh(outcome, series)?,
            without: stale.and_then(|stale| from_fresh(stale, series)),
        })
    }

    /// The share of what staleness cost that the mitigation wins back; none where it cost nothing.
    fn won_back(&self) -> Option<f64> {
        let cost = -self.without.as_ref().filter(|of| is_less(of))?.mean;
        Some((self.difference.mean + cost) / cost)
    }
}

/// The outcome of `series` with this k and batch size, and without mitigation.
fn unmitigated<'a>(series: &[&'a Outcome], k: usize, batch: usize) -> Option<&'a Outcome> {
    let like = |other: &&&Outcome| {
        (mitigation(other), other.row.k) == (MitigationName::None, k) && batch_size(other) == batch
    };
    series.iter().find(like).copied()
}

/// How far it is from k = 1 without mitigation at its batch size.
fn from_fresh(outcome: &Outcome, series: &[&Outcome]) -> Option<Spread> {
    let fresh = unmitigated(series, 1, batch_size(outcome));
    let fresh = fresh.filter(|fresh| !std::ptr::eq(*fresh, outcome))?;
    paired(outcome, fresh, measure)
}

/// How far it is from k = 1 with batches of k times as many events, which reads memory that is as old.
fn from_larger_batch(outcome: &Outcome, series: &[&Outcome]) -> Option<Spread> {
    let larger = unmitigated(series, 1, outcome.row.k * batch_size(outcome))?;
    paired(outcome, larger, measure)
}

/// Whether differences are below 0 by more than seeds differ.
fn is_less(difference: &Spread) -> bool {
    difference.mean < 0.0 && difference.interval.is_none_or(|[_, to]| to < 0.0)
}

fn mitigation(outcome: &Outcome) -> MitigationName {
    outcome.cells[0].config.pipeline.mitigation
}

fn batch_size(outcome: &Outcome) -> usize {
    outcome.cells[0].config.training.batch_size
}

/// What the protocol judges by: MRR where it ranks, else pooled AP.
fn measure(cell: &Cell) -> f64 {
    let ranked = cell.test.ranking.as_ref().map(|ranking| ranking.mrr);
    ranked.unwrap_or(cell.test.ap)
}

fn measure_name(outcome: &Outcome) -> &'static str {
    match outcome.cells[0].test.ranking {
        Some(_) => "MRR",
        None => "AP",
    }
}

fn measures(outcome: &Outcome) -> Vec<f64> {
    outcome.cells.iter().map(measure).collect()
}

/// What staleness did to memory, over all seeds; none in cells of programs that did not count it.
fn counts(outcome: &Outcome) -> Option<StaleMemory> {
    let mut all = StaleMemory::default();
    for cell in &outcome.cells {
        all.add(cell.stale_memory.as_ref()?);
    }
    Some(all)
}

/// Mail lost in per cent of what was overwritten.
fn lost(outcome: &Outcome) -> Option<f64> {
    let counts = counts(outcome)?;
    Some(percent(counts.mail_lost, counts.mail_overwritten))
}

/// How far the rows that roots are embedded from are off, in per cent: the mean over seeds of what probes
/// found. Nothing at k = 1, which is what stale memory is compared with.
fn memory_error(outcome: &Outcome) -> Option<f64> {
    if outcome.row.k == 1 {
        return Some(0.0);
    }
    let means = outcome
        .cells
        .iter()
        .map(|cell| ProbeMeans::of(&cell.probes));
    let errors: Option<Vec<f64>> = means.map(|means| Some(means?.memory_error)).collect();
    errors.map(|errors| 100.0 * Spread::of(errors).mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_won_back_is_a_share_of_what_staleness_cost() {
        let won = |difference: f64, without: Option<f64>| {
            Compared {
                difference: Spread::of(vec![difference]),
                without: without.map(|difference| Spread::of(vec![difference])),
            }
            .won_back()
        };
        assert_eq!(won(-0.25, Some(-0.5)), Some(0.5));
        assert_eq!(won(0.25, Some(-0.5)), Some(1.5));
        assert_eq!(won(-1.0, Some(-0.5)), Some(-1.0));
        // Nothing was lost, so there is nothing to win back.
        assert_eq!(won(-0.25, Some(0.5)), None);
        assert_eq!(won(-0.25, None), None);
        // Nor where seeds differ by more.
        let compared = Compared {
            difference: Spread::of(vec![-0.25, -0.25]),
            without: Some(Spread::of(vec![-0.5, 0.25])),
        };
        assert_eq!(compared.won_back(), None);
    }
}
