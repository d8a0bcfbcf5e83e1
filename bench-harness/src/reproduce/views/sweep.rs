//! AP and speed against one setting.

use mspipe::report::chart::{Lines, Point, Series, thousands};
use mspipe::report::{Block, Table};
use serde_json::Value;

use super::super::experiment::{Experiment, Outcome, distinct};
use super::{color_of, half};
use crate::grid::settings;

/// Charts of AP and of speed for each stream, and a table; `setting` is a name of `config.json`,
/// or `k` for the most frequent staleness.
pub(super) fn sweep(experiment: &Experiment, setting: &str) -> Vec<Block> {
    let name = match setting {
        "k" => "staleness k".to_owned(),
        "mitigation_keep" => "λ (what remains of a corrected row)".to_owned(),
        other => other.replace('_', " "),
    };
    let cells = || experiment.outcomes.iter().flat_map(|o| &o.cells);
    let mitigated = cells().any(|cell| cell.corrected_rows.is_some());
    let corrected: &[&str] = if mitigated {
        &["rows corrected in an iteration"]
    } else {
        &[]
    };
    let mut table = Table::new(
        &format!("By {name}"),
        &["stream", "setting"],
        &[&[&*name, "events/s", "test AP"], corrected].concat(),
    );
    for outcome in &experiment.outcomes {
        let corrected: Vec<f64> = outcome
            .cells
            .iter()
            .filter_map(|cell| cell.corrected_rows)
            .collect();
        let mean = corrected.iter().sum::<f64>() / corrected.len().max(1) as f64;
        let mut row = vec![
            outcome.stream.clone(),
            outcome.variant.clone(),
            value(outcome, setting).to_string(),
            thousands(outcome.row.events_per_s),
            outcome.row.test_ap.to_string(),
        ];
        if mitigated {
            row.push(match corrected.is_empty() {
                true => "-".to_owned(),
                false => format!("{mean:.1}"),
            });
        }
        table.rows.push(row);
    }
    let mut figures = Vec::new();
    for stream in experiment.streams() {
        let chart = |title: &str, y_name: &str, point: fn(&Outcome, f64) -> Point| {
            let variants = distinct(experiment.outcomes.iter().map(|o| o.variant.as_str()));
            let series = |(color, variant): (usize, &&str)| {
                let of = |o: &&Outcome| o.stream == stream && o.variant == *variant;
                let mut points: Vec<Point> = experiment
                    .outcomes
                    .iter()
                    .filter(of)
                    .map(|outcome| point(outcome, value(outcome, setting)))
                    .collect();
                points.sort_by(|a, b| a.x.total_cmp(&b.x));
                let name = if variant.is_empty() { stream } else { variant };
                Series {
                    name: name.to_owned(),
                    color: color_of(variant, color + 1),
                    points,
                }
            };
            Lines {
                title: format!("{title}: {stream}"),
                x_name: name.clone(),
                y_name: y_name.to_owned(),
                series: variants.iter().enumerate().map(series).collect(),
                at_points: true,
                ..Lines::default()
            }
        };
        let ap = chart("Test AP", "test AP", |outcome, x| Point {
            x,
            y: outcome.row.test_ap.mean,
            deviation: outcome.row.test_ap.deviation,
        });
        let mut speed = chart("Speed", "training events a second", |outcome, x| Point {
            x,
            y: outcome.row.events_per_s,
            deviation: None,
        });
        speed.from_zero = true;
        figures.push(half(
            &ap.title,
            ap.svg(),
            "Pooled AP of the test part; the axis does not begin at 0.".to_owned(),
        ));
        figures.push(half(
            &speed.title,
            speed.svg(),
            "Median over epochs but the first, and seeds.".to_owned(),
        ));
    }
    vec![
        Block::Figures(figures),
        Block::Table(ends(experiment, setting, &name)),
        Block::Folded("All numbers".to_owned(), vec![Block::Table(table)]),
    ]
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

fn value(outcome: &Outcome, setting: &str) -> f64 {
    if setting == "k" {
        return outcome.row.k as f64;
    }
    let all = settings(&outcome.cells[0].config).ok();
    let value = all.and_then(|all| all.get(setting).and_then(Value::as_f64));
    // A setting of f32 becomes a long f64 on its way.
    value.map_or(f64::NAN, |value| (value * 1e6).round() / 1e6)
}
