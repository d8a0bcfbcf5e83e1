//! AP and speed against one setting.

use mspipe::report::chart::{Lines, Point, Series, thousands};
use mspipe::report::{Block, Table};
use serde_json::Value;

use super::super::experiment::{Experiment, Outcome, distinct};
use super::super::wording::color_of;
use crate::schedules::or_dash;

/// Charts of AP and of speed for each stream, and a table; `setting` is a name of `config.json`,
/// or `k` for the most frequent staleness.
pub(super) fn sweep(experiment: &Experiment, setting: &str) -> Vec<Block> {
    let name = name_of_setting(setting);
    let mut figures = Vec::new();
    for stream in experiment.streams() {
        let chart = |title: &str, y_name: &str, point: fn(&Outcome, f64) -> Point| Lines {
            title: format!("{title}: {stream}"),
            x_name: name.clone(),
            y_name: y_name.to_owned(),
            series: curves(experiment, stream, |outcome| {
                point(outcome, value(outcome, setting))
            }),
            at_points: true,
            ..Lines::default()
        };
        let ap = chart("Test AP", "test AP", |outcome, x| Point {
            x,
            y: outcome.row.test_ap.mean,
            deviation: outcome.row.test_ap.deviation,
        });
        let mut speed = chart("Speed", "training events per second", |outcome, x| Point {
            x,
            y: outcome.row.events_per_s,
            deviation: None,
        });
        speed.from_zero = true;
        figures.extend([
            ap.figure("Pooled AP of the test part; the axis does not begin at 0."),
            speed.figure("Median over epochs but the first, and seeds."),
        ]);
    }
    let table = all_numbers(experiment, setting, &name);
    vec![
        Block::Figures(figures),
        Block::Table(ends(experiment, setting, &name)),
        Block::Folded("All numbers".to_owned(), vec![Block::Table(table)]),
    ]
}

/// What a setting is called in a report.
pub(super) fn name_of_setting(setting: &str) -> String {
    match setting {
        "k" => "staleness k".to_owned(),
        "mitigation_keep" => "λ (what remains of a corrected row)".to_owned(),
        other => other.replace('_', " "),
    }
}

/// The points of each variant on a stream, from left to right.
fn curves(experiment: &Experiment, stream: &str, point: impl Fn(&Outcome) -> Point) -> Vec<Series> {
    let variants = distinct(experiment.outcomes.iter().map(|o| o.variant.as_str()));
    let curve = |(color, variant): (usize, &&str)| {
        let of = |o: &&Outcome| o.stream == stream && o.variant == *variant;
        let outcomes = experiment.outcomes.iter().filter(of);
        let mut points: Vec<Point> = outcomes.map(&point).collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        let name = if variant.is_empty() { stream } else { variant };
        Series {
            name: name.to_owned(),
            color: color_of(variant, color + 1),
            points,
        }
    };
    variants.iter().enumerate().map(curve).collect()
}

fn all_numbers(experiment: &Experiment, setting: &str, name: &str) -> Table {
    let mut outcomes = experiment.outcomes.iter();
    let mitigated = outcomes.any(|outcome| outcome.row.corrected_rows.is_some());
    let mut numbers = vec![name, "events/s", "test AP"];
    numbers.extend(mitigated.then_some("rows corrected in an iteration"));
    let mut table = Table::new(&format!("By {name}"), &["stream", "setting"], &numbers);
    let row = |outcome: &Outcome| {
        let corrected = outcome.row.corrected_rows;
        let mut row = vec![
            outcome.stream.clone(),
            outcome.variant.clone(),
            value(outcome, setting).to_string(),
            thousands(outcome.row.events_per_s),
            outcome.row.test_ap.to_string(),
        ];
        row.extend(mitigated.then(|| or_dash(corrected.map(|rows| format!("{rows:.1}")))));
        row
    };
    table.rows = experiment.outcomes.iter().map(row).collect();
    table
}

/// Test AP at the first, the best and the last setting, for each stream and variant.
fn ends(experiment: &Experiment, setting: &str, name: &str) -> Table {
    let at = |outcome: &Outcome| value(outcome, setting).to_string();
    let ends = experiment.series().into_iter().next().unwrap_or_default();
    let [from, to] = [ends.first(), ends.last()].map(|end| end.map_or_else(String::new, |o| at(o)));
    let mut table = Table::new(
        &format!("Test AP by {name}; the speed at {to} is over that at {from}"),
        &["stream", "setting"],
        &[
            &format!("AP at {from}"),
            "best AP",
            "which is at",
            &format!("AP at {to}"),
            &format!("speed at {to}"),
        ],
    );
    let ap = |outcome: &Outcome| outcome.row.test_ap.mean;
    for series in experiment.series() {
        let best = series.iter().max_by(|a, b| ap(a).total_cmp(&ap(b)));
        let (Some(first), Some(best), Some(last)) = (series.first(), best, series.last()) else {
            continue;
        };
        table.rows.push(vec![
            first.stream.clone(),
            first.variant.clone(),
            first.row.test_ap.to_string(),
            best.row.test_ap.to_string(),
            at(best),
            last.row.test_ap.to_string(),
            format!("{:.2}", last.row.events_per_s / first.row.events_per_s),
        ]);
    }
    table
}

/// An outcome's value of a setting.
pub(super) fn value(outcome: &Outcome, setting: &str) -> f64 {
    if setting == "k" {
        return outcome.row.k as f64;
    }
    let all = outcome.cells[0].config.by_name().ok();
    let value = all.and_then(|all| all.get(setting).and_then(Value::as_f64));
    // A setting of f32 becomes a long f64 on its way.
    value.map_or(f64::NAN, |value| (value * 1e6).round() / 1e6)
}
