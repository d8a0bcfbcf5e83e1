//! What happens in the course of a run: timelines, k, ages, convergence.

use std::fs;

use mspipe::report::chart::{Bars, Join, Lines, Point, Series, Size};
use mspipe::report::run::{TIMELINE as WHAT_IT_SHOWS, by_age};
use mspipe::report::{Block, Figure};
use mspipe::run_folder::TIMELINE;

use super::super::experiment::{Experiment, Outcome, find_arm};
use super::super::recipe::View;
use super::super::wording::{ap_difference, shown_and_folded};
use crate::cell::Cell;

/// The charts that the runs drew themselves, folded where there are other views.
pub(super) fn timeline(experiment: &Experiment) -> Vec<Block> {
    let mut figures = Vec::new();
    for outcome in &experiment.outcomes {
        let Ok(svg) = fs::read_to_string(outcome.folders[0].join(TIMELINE)) else {
            continue;
        };
        let emulated = experiment.emulated_note();
        let title = format!("{}: {}{emulated}", outcome.stream, outcome.arm);
        figures.push(Figure {
            caption: format!("{title}."),
            title,
            svg,
            wide: true,
        });
    }
    let blocks = vec![
        Block::Text(WHAT_IT_SHOWS.to_owned()),
        Block::Figures(figures),
    ];
    match experiment.recipe.views.as_slice() {
        [View::Timeline] => blocks,
        _ => vec![Block::Folded("Timelines".to_owned(), blocks)],
    }
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
            // The arm's name says nothing where there is no other.
            let name = match outcome.variant.as_str() {
                "" => outcome.arm.clone(),
                variant if experiment.recipe.arms.len() == 1 => variant.to_owned(),
                variant => format!("{variant}, {}", outcome.arm),
            };
            Series {
                name,
                color: nth + 1,
                points: k_points(cell),
            }
        });
        let chart = Lines {
            title: format!("k over time: {stream}{}", experiment.emulated_note()),
            x_name: "training iteration".to_owned(),
            y_name: "k".to_owned(),
            series: series.collect(),
            join: Join::Step,
            whole: (true, true),
            from_zero: true,
            ..Lines::default()
        };
        figures.push(chart.figure(""));
    }
    let text = "k = 1: memory is not stale. The first seed alone. Lines that are the same are drawn \
                beside one another.";
    vec![Block::Text(text.to_owned()), Block::Figures(figures)]
}

/// The largest k that a schedule chose, and when it changed for the last time.
pub(super) fn k_seen(experiment: &Experiment) -> Option<String> {
    let online = |outcome: &&Outcome| outcome.cells[0].config.pipeline.schedule.online();
    let cells = || {
        let outcomes = experiment.outcomes.iter().filter(online);
        outcomes.flat_map(|outcome| &outcome.cells)
    };
    let largest = cells()
        .flat_map(|cell| &cell.staleness)
        .map(|(k, _)| *k)
        .max()?;
    // Changes of the first iteration are none.
    let last = |cell: &Cell| {
        let change = cell.k_changes.last().map_or(0, |change| change.iteration);
        let all: usize = cell.staleness.iter().map(|(_, count)| count).sum();
        (change, all)
    };
    let (change, all) = cells().map(last).max()?;
    Some(format!(
        "the largest k of {} runs is {largest}; the last change of k, over all of them, is in \
         iteration {change} of {all}",
        cells().count()
    ))
}

/// Where k changes, and the run's end.
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
        let (groups, values) = by_age(&shares);
        let chart = Bars {
            title: format!("Ages of the memory read: {stream}"),
            x_name:
                "age of a root's memory in the stream's unit of time (seconds; GDELT: 15 minutes), \
                     from this up to the next"
                    .to_owned(),
            y_name: "% of the rows".to_owned(),
            groups,
            series: arms
                .iter()
                .map(|o| (o.arm.clone(), o.arm_number + 1))
                .collect(),
            values,
            size: Size::Wide,
            ..Bars::default()
        };
        let caption = "Time since a root's memory was last written, when it was read.";
        figures.push(chart.figure(caption));
    }
    vec![Block::Figures(figures)]
}

/// Validation AP by epoch and by seconds of training, and the loss, for each stream and variant.
/// Losses and all streams but the first are folded.
pub(super) fn convergence(experiment: &Experiment) -> Vec<Block> {
    let (mut shown, mut folded, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    for series in experiment.series() {
        let title = series[0].title();
        let chart = |what: &str, x_name: &str, y_name: &str, points: fn(&[Cell]) -> Vec<Point>| {
            let curve = |outcome: &&Outcome| Series {
                name: outcome.arm.clone(),
                color: outcome.color(),
                points: points(&outcome.cells),
            };
            Lines {
                title: format!("{what}: {title}"),
                x_name: x_name.to_owned(),
                y_name: y_name.to_owned(),
                series: series.iter().map(curve).collect(),
                whole: (x_name == "epoch", false),
                ..Lines::default()
            }
        };
        let by_epoch = chart(
            "Validation AP by epoch",
            "epoch",
            "validation AP",
            |cells| ap_points(cells, false),
        );
        let by_time = chart(
            "Validation AP by time",
            "seconds of training",
            "validation AP",
            |cells| ap_points(cells, true),
        );
        let loss = chart("Training loss", "epoch", "loss", loss_points);
        let figures = match series[0].stream == experiment.outcomes[0].stream {
            true => &mut shown,
            false => &mut folded,
        };
        figures.extend([by_epoch.figure(""), by_time.figure("")]);
        losses.push(loss.figure(""));
    }
    let seeds = experiment
        .outcomes
        .iter()
        .map(|outcome| outcome.seeds.len());
    let over = match seeds.max() {
        Some(1) | None => "Curves are of one seed.".to_owned(),
        Some(seeds) => format!("Curves are means over {seeds} seeds."),
    };
    let mut blocks = vec![Block::Text(over)];
    blocks.extend(shown_and_folded(shown, folded, "Other streams"));
    if !losses.is_empty() {
        let losses = vec![Block::Figures(losses)];
        blocks.push(Block::Folded("Training loss".to_owned(), losses));
    }
    blocks
}

/// How far mspipe's last validation AP is from that of the first arm.
pub(super) fn convergence_seen(experiment: &Experiment) -> Option<String> {
    let last = |outcome: &Outcome| ap_points(&outcome.cells, false).last().map(|point| point.y);
    let difference = |series: Vec<&Outcome>| {
        let base = find_arm(&series, 0)?;
        let other = series.iter().find(|outcome| outcome.arm == "mspipe")?;
        let difference = ap_difference(last(other)? - last(base)?);
        Some(format!("{difference} ({})", base.title()))
    };
    let all: Vec<String> = experiment
        .series()
        .into_iter()
        .filter_map(difference)
        .collect();
    let first = experiment.first_arm();
    (!all.is_empty()).then(|| {
        format!(
            "validation AP of mspipe after the last epoch, minus that of {first}: {}",
            all.join(", ")
        )
    })
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
