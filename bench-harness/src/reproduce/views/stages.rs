//! Where an iteration's time goes: the stages of the threads, and beside them the lanes of a GPU's
//! queue.

use mspipe::pipeline::Stage;
use mspipe::report::chart::{Size, Stacks};
use mspipe::report::{Block, Table};

use super::super::experiment::{Experiment, Outcome, distinct};
use super::super::wording::from_to;
use crate::cell::Cell;

/// What took its time, and milliseconds of an iteration in each stage.
type Row = (&'static str, [f64; 5]);

/// Of the threads, whose stages follow on each other unless they overlap.
const THREADS: &str = "threads";

/// Means over all iterations of some runs: of the threads, then of a GPU's lanes.
fn rows(cells: &[Cell]) -> Vec<Row> {
    let iterations: usize = cells
        .iter()
        .flat_map(|cell| &cell.staleness)
        .map(|(_, count)| count)
        .sum();
    let ms = |stage: Stage| {
        let seconds: f64 = cells.iter().map(|cell| cell.seconds_in(stage)).sum();
        1e3 * seconds / iterations.max(1) as f64
    };
    let mut rows = vec![(THREADS, Stage::ALL.map(ms))];
    let queues: Vec<_> = cells
        .iter()
        .filter_map(|cell| cell.queue.as_ref())
        .collect();
    let lanes: Vec<[Row; 2]> = queues.iter().map(|queue| queue.lanes()).collect();
    if let Some(first) = lanes.first() {
        rows.extend((0..first.len()).map(|lane| {
            let mean = |stage: usize| {
                let seconds: f64 = lanes.iter().map(|lanes| lanes[lane].1[stage]).sum();
                1e3 * seconds / lanes.len() as f64
            };
            (first[lane].0, std::array::from_fn(mean))
        }));
    }
    rows
}

/// Stacks of the stages, one chart a model, and a table of their times.
pub(super) fn stages(experiment: &Experiment) -> Vec<Block> {
    let names = Stage::ALL.map(Stage::name);
    let parts = names.map(str::to_owned).to_vec();
    let mut table = Table::new(
        "Milliseconds of an iteration in each stage, mean over the run; on a GPU the threads encode what \
         its queue does beside them (gpu: kernels, bus: copies)",
        &["stream", "setting", "arm", "of"],
        &[&names[..], &["sum"]].concat(),
    );
    for outcome in &experiment.outcomes {
        for (of, ms) in rows(&outcome.cells) {
            let mut row = outcome.names();
            row.push(of.to_owned());
            let sum = ms.iter().sum();
            row.extend(ms.iter().chain([&sum]).map(|ms| format!("{ms:.2}")));
            table.rows.push(row);
        }
    }
    let model = |outcome: &Outcome| outcome.cells[0].config.model.name.to_string();
    let mut figures = Vec::new();
    for name in distinct(experiment.outcomes.iter().map(model)) {
        let of_model = experiment
            .outcomes
            .iter()
            .filter(|outcome| model(outcome) == name);
        let stacked = |outcome: &Outcome| {
            let place = outcome.variant.trim_start_matches(&format!("{name}, "));
            let label = format!("{}, {place}", outcome.stream);
            rows(&outcome.cells).into_iter().map(move |(of, ms)| {
                let label = match of {
                    THREADS => label.clone(),
                    lane => format!("{label}: {lane}"),
                };
                (label, ms.to_vec())
            })
        };
        let stacks = Stacks {
            title: format!("Stages of an iteration: {name}"),
            parts: parts.clone(),
            rows: of_model.flat_map(stacked).collect(),
            unit: "ms".to_owned(),
            size: Size::Wide,
        };
        let caption = "Share of each stage, one after the other; on the right the whole iteration.";
        figures.push(stacks.figure(caption));
    }
    vec![
        Block::Figures(figures),
        Block::Folded("All numbers".to_owned(), vec![Block::Table(table)]),
    ]
}

/// The share of training, and what that leaves to overlap.
pub(super) fn stages_seen(experiment: &Experiment) -> String {
    let share = |outcome: &Outcome| {
        // On a GPU a stage takes what its thread or its queue takes, whichever is longer.
        let rows = rows(&outcome.cells);
        let (threads, queue) = rows.split_at(1);
        let of = |stage: usize| {
            let queue: f64 = queue.iter().map(|(_, ms)| ms[stage]).sum();
            threads[0].1[stage].max(queue)
        };
        let whole: f64 = (0..Stage::ALL.len()).map(of).sum();
        of(Stage::Train as usize) / whole
    };
    let shares: Vec<f64> = experiment.outcomes.iter().map(share).collect();
    let percent = from_to(&shares, |share| format!("{:.0} %", 100.0 * share));
    let bounds: Vec<f64> = shares.iter().map(|share| 1.0 / share).collect();
    let bound = from_to(&bounds, |bound| format!("{bound:.2}"));
    format!(
        "the stage train takes {percent} of an iteration, so that hiding all other stages behind it \
         can make training at most {bound} times as fast; a larger speed-up in these settings \
         has another cause, as a rule an unsteady machine"
    )
}
