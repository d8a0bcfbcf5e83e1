//! AP and speed against one setting.

use mspipe::report::chart::{Lines, Point, Series, thousands};
use mspipe::report::{Block, Table};
use serde_json::Value;

use super::super::experiment::{Experiment, Outcome, distinct};
use super::half;
use crate::grid::settings;

/// Charts of AP and of speed for each stream, and a table; `setting` is a name of `config.json`,
/// or `k` for the most frequent staleness.
pub(super) fn sweep(experiment: &Experiment, setting: &str) -> Vec<Block> {
    let name = match setting {
        "k" => "staleness k".to_owned(),
        "mitigation_keep" => "λ (what remains of a corrected row)".to_owned(),
        other => other.replace('_', " "),
    };
    let mut table = Table::new(
        &format!("By {name}"),
        &["stream", "setting"],
        &[&name, "events/s", "test AP", "rows corrected"],
    );
    for outcome in &experiment.outcomes {
        let corrected: Vec<f64> = outcome
            .cells
            .iter()
            .filter_map(|cell| cell.corrected_rows)
            .collect();
        let mean = corrected.iter().sum::<f64>() / corrected.len().max(1) as f64;
        table.rows.push(vec![
            outcome.stream.clone(),
            outcome.variant.clone(),
            value(outcome, setting).to_string(),
            thousands(outcome.row.events_per_s),
            outcome.row.test_ap.to_string(),
            if corrected.is_empty() {
                "-".to_owned()
            } else {
                format!("{mean:.1}")
            },
        ]);
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
                    color: color + 1,
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
        figures.push(half(ap.svg(), "Pooled AP of the test part.".to_owned()));
        figures.push(half(
            speed.svg(),
            "Median over epochs but the first, and seeds.".to_owned(),
        ));
    }
    vec![Block::Figures(figures), Block::Table(table)]
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
