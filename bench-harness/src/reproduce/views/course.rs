//! What happens in the course of a training: timelines, k, ages, convergence.

use std::fs;

use mspipe::report::Block;
use mspipe::report::chart::{Bars, Join, Lines, Point, Series, Size};
use mspipe::report::run::age;
use mspipe::run_folder::TIMELINE;

use super::super::experiment::{Experiment, Outcome};
use super::{half, of_series, wide};
use crate::cell::Cell;

/// The charts that the trainings drew themselves.
pub(super) fn timeline(experiment: &Experiment) -> Vec<Block> {
    let mut figures = Vec::new();
    for outcome in &experiment.outcomes {
        let Ok(svg) = fs::read_to_string(outcome.folders[0].join(TIMELINE)) else {
            continue;
        };
        let emulated = outcome.row.emulated.as_ref();
        let emulated = emulated.map_or_else(String::new, |label| format!(", {label}"));
        let caption = format!(
            "{}: {}{emulated}. A few iterations of the last epoch; numbers in bars are iterations, \
             arrows go from an update to the fetch that sees it last.",
            outcome.stream, outcome.arm
        );
        figures.push(wide(svg, caption));
    }
    vec![Block::Figures(figures)]
}

/// A chart of steps for each stream, with the first seed of each variant.
pub(super) fn k_over_time(experiment: &Experiment) -> Vec<Block> {
    let mut figures = Vec::new();
    for stream in experiment.streams() {
        let of_stream = experiment
            .outcomes
            .iter()
            .filter(|outcome| outcome.stream == stream);
        let changing =
            of_stream.filter(|outcome| outcome.cells[0].config.pipeline.schedule.online());
        let series = changing.enumerate().map(|(nth, outcome)| {
            let cell = &outcome.cells[0];
            let name = match outcome.variant.as_str() {
                "" => outcome.arm.clone(),
                variant => format!("{variant}, {}", outcome.arm),
            };
            Series {
                name,
                color: nth + 1,
                points: k_points(cell),
            }
        });
        let chart = Lines {
            title: format!("k over time: {stream}"),
            x_name: "iteration of the training".to_owned(),
            y_name: "k".to_owned(),
            series: series.collect(),
            join: Join::Step,
            from_zero: true,
            ..Lines::default()
        };
        let caption = "Seed 0 alone, or the first one. k = 1: memory is not stale.".to_owned();
        figures.push(half(chart.svg(), caption));
    }
    vec![Block::Figures(figures)]
}

/// Where k changes, and the training's end.
fn k_points(cell: &Cell) -> Vec<Point> {
    let iterations: usize = cell.staleness.iter().map(|(_, count)| count).sum();
    let mut points: Vec<Point> = cell
        .k_changes
        .iter()
        .map(|change| Point {
            x: change.iteration as f64,
            y: change.k as f64,
            deviation: None,
        })
        .collect();
    if let Some(last) = points.last().copied() {
        points.push(Point {
            x: iterations as f64,
            ..last
        });
    }
    points
}

/// Shares of the rows read by age, for the first variant of each stream: the model changes no
/// age.
pub(super) fn ages(experiment: &Experiment) -> Vec<Block> {
    let mut figures = Vec::new();
    for stream in experiment.streams() {
        let first = experiment
            .outcomes
            .iter()
            .find(|outcome| outcome.stream == stream);
        let Some(variant) = first.map(|outcome| &outcome.variant) else {
            continue;
        };
        let arms: Vec<&Outcome> = experiment
            .outcomes
            .iter()
            .filter(|outcome| outcome.stream == stream && outcome.variant == *variant)
            .collect();
        let counts = |outcome: &&Outcome| -> Vec<f64> {
            let cells = &outcome.cells;
            let buckets = cells.iter().map(|cell| cell.ages.len()).max().unwrap_or(0);
            let count =
                |bucket| cells.iter().filter_map(|c| c.ages.get(bucket)).sum::<u64>() as f64;
            let counts: Vec<f64> = (0..buckets).map(count).collect();
            let all: f64 = counts.iter().sum();
            counts
                .into_iter()
                .map(|count| 100.0 * count / all.max(1.0))
                .collect()
        };
        let shares: Vec<Vec<f64>> = arms.iter().map(counts).collect();
        let buckets = shares.iter().map(Vec::len).max().unwrap_or(0);
        let share = |bucket: usize| shares.iter().map(move |s| s.get(bucket).copied()).collect();
        let chart = Bars {
            title: format!("Ages of the memory read: {stream}"),
            x_name:
                "age of a root's memory in the stream's unit of time (seconds; GDELT: 15 minutes), \
                     from this up to the next"
                    .to_owned(),
            y_name: "% of the rows".to_owned(),
            groups: (0..buckets).map(age).collect(),
            series: arms.iter().map(|o| (o.arm.clone(), o.color + 1)).collect(),
            values: (0..buckets).map(share).collect(),
            size: Size::Wide,
            ..Bars::default()
        };
        let caption = "Time since a root's memory was last written, when it was read.".to_owned();
        figures.push(wide(chart.svg(), caption));
    }
    vec![Block::Figures(figures)]
}

/// Validation AP by epoch and by seconds of training, and the loss, for each stream and variant.
pub(super) fn convergence(experiment: &Experiment) -> Vec<Block> {
    let mut figures = Vec::new();
    for series in experiment.series() {
        let title = of_series(series[0]);
        let chart = |what: &str, x_name: &str, y_name: &str, points: fn(&[Cell]) -> Vec<Point>| {
            let curve = |outcome: &&Outcome| Series {
                name: outcome.arm.clone(),
                color: outcome.color,
                points: points(&outcome.cells),
            };
            Lines {
                title: format!("{what}: {title}"),
                x_name: x_name.to_owned(),
                y_name: y_name.to_owned(),
                series: series.iter().map(curve).collect(),
                ..Lines::default()
            }
        };
        let by_epoch = chart("Validation AP", "epoch", "validation AP", |cells| {
            ap_points(cells, false)
        });
        let by_time = chart(
            "Validation AP",
            "seconds of training",
            "validation AP",
            |cells| ap_points(cells, true),
        );
        let loss = chart("Training loss", "epoch", "loss", loss_points);
        let seeds = series[0].seeds.len();
        let caption = match seeds {
            1 => "One seed.".to_owned(),
            seeds => format!("Mean over {seeds} seeds."),
        };
        for chart in [by_epoch, by_time, loss] {
            figures.push(half(chart.svg(), caption.clone()));
        }
    }
    vec![Block::Figures(figures)]
}

fn mean(cells: &[Cell], value: impl Fn(&Cell) -> f64) -> f64 {
    cells.iter().map(value).sum::<f64>() / cells.len() as f64
}

/// The mean over seeds after each epoch.
fn ap_points(cells: &[Cell], by_time: bool) -> Vec<Point> {
    let epochs = cells
        .iter()
        .map(|cell| cell.epochs.len())
        .min()
        .unwrap_or(0);
    (0..epochs)
        .map(|epoch| {
            let seconds = |cell: &Cell| cell.epochs[..=epoch].iter().map(|e| e.train_seconds).sum();
            Point {
                x: if by_time {
                    mean(cells, seconds)
                } else {
                    (epoch + 1) as f64
                },
                y: mean(cells, |cell| cell.epochs[epoch].val_ap),
                deviation: None,
            }
        })
        .collect()
}

/// The mean over seeds for each tenth of an epoch.
fn loss_points(cells: &[Cell]) -> Vec<Point> {
    let epochs = cells[0].epochs.len().max(1);
    let points = cells
        .iter()
        .map(|cell| cell.loss_curve.len())
        .min()
        .unwrap_or(0);
    (0..points)
        .map(|nth| Point {
            x: (nth as f64 + 0.5) * epochs as f64 / points as f64,
            y: mean(cells, |cell| cell.loss_curve[nth]),
            deviation: None,
        })
        .collect()
}
