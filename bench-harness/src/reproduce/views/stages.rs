//! Where an iteration's time goes: the stages of the threads, and beside them the lanes of a GPU's
//! queue.

use std::time::Duration;

use mspipe::pipeline::Stage;
use mspipe::pipeline::profile::{Profile, Queue, Residency};
use mspipe::report::chart::{Size, Stacks};
use mspipe::report::{Block, Table};

use super::super::experiment::{Experiment, Outcome, distinct};
use super::super::wording::from_to;
use crate::cell::Cell;

/// What took its time, and milliseconds of an iteration in each stage.
type Row = (&'static str, [f64; 5]);

/// Of the threads, whose stages follow on each other unless they overlap.
const THREADS: &str = "threads";

fn iterations(cells: &[Cell]) -> f64 {
    let counts = cells.iter().flat_map(|cell| &cell.staleness);
    let iterations: usize = counts.map(|(_, count)| count).sum();
    iterations.max(1) as f64
}

/// Means over all iterations of some runs: of the threads, then of a GPU's lanes.
fn rows(cells: &[Cell]) -> Vec<Row> {
    let iterations = iterations(cells);
    let ms = |stage: Stage| {
        let seconds: f64 = cells.iter().map(|cell| cell.seconds_in(stage)).sum();
        1e3 * seconds / iterations
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
        Block::Table(overlap(experiment)),
        Block::Folded("All numbers".to_owned(), vec![Block::Table(table)]),
    ]
}

/// Whether writing memory back early makes staleness needless, of measured stage times.
struct Early {
    /// υ: of `train`, until the updated memory is known.
    updater: Duration,
    /// τ3 + υ + τ5; on a GPU the way through its queue.
    way: Duration,
    /// B, the time of the busiest lane, which is the period of `mspipe`.
    busiest: Duration,
    /// Period of `exact-overlap`.
    exact: Duration,
    /// Staleness that `mspipe` needs.
    k: usize,
}

impl Early {
    /// `None` with memory on the device, where nothing is written back, and where the updater's time
    /// was not told from the rest of training.
    fn of(outcome: &Outcome) -> Option<Early> {
        let memory = outcome.row.memory;
        let updater: f64 = (memory == Residency::Host)
            .then(|| {
                outcome
                    .cells
                    .iter()
                    .map(|cell| cell.updater_seconds)
                    .sum::<Option<f64>>()
            })
            .flatten()?;
        let times = rows(&outcome.cells);
        let seconds = |ms: f64| Duration::from_secs_f64(ms / 1e3);
        let threads = times[0].1.map(seconds);
        let mut updater = Duration::from_secs_f64(updater / iterations(&outcome.cells));
        let mut profile = Profile::new(threads, updater);
        if let [_, (_, gpu), (_, bus)] = times[..] {
            // The thread's time of `train` is encoding.
            let means = outcome.cells.iter().filter_map(|cell| cell.queue.as_ref());
            let known: Vec<f64> = means.filter_map(|queue| queue.updater).collect();
            let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
            updater = Duration::from_secs_f64(mean);
            let mut stages = threads;
            stages[Stage::Train as usize] = gpu.iter().copied().map(seconds).sum();
            profile = Profile::new(stages, updater).with_queue(Queue {
                encode: threads[Stage::Train as usize],
                up: seconds(bus[Stage::FetchMemory as usize]),
                down: seconds(bus[Stage::UpdateMemory as usize]),
                ..Queue::default()
            });
        }
        let cycle = profile.cycle(memory, true);
        Some(Early {
            updater,
            way: cycle.round_trip,
            busiest: cycle.busiest,
            exact: cycle.period(1),
            k: profile.minimal_staleness(memory, false, 0.0),
        })
    }

    fn suffices(&self) -> bool {
        self.exact <= self.busiest
    }
}

/// The inequality under which early write-back has the period of `mspipe`, for each setting.
fn overlap(experiment: &Experiment) -> Table {
    let mut table = Table::new(
        "Where τ3 + υ + τ5 ≤ B, writing memory back early, as exact-overlap does, has the period of mspipe and is \
         not stale (τ3, τ5: fetch_memory and update_memory; υ: the part of train after which the updated memory is \
         known; B: the busiest lane). In ms, of the stage times above, each thread having a core of its own. With \
         memory on the device no staleness shortens anything",
        &["stream", "setting", "arm"],
        &[
            "υ",
            "τ3 + υ + τ5",
            "B",
            "suffices",
            "exact-overlap",
            "mspipe",
            "k of mspipe",
        ],
    );
    for outcome in &experiment.outcomes {
        let mut row = outcome.names();
        let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
        row.extend(match Early::of(outcome) {
            Some(early) => [
                ms(early.updater),
                ms(early.way),
                ms(early.busiest),
                if early.suffices() { "yes" } else { "no" }.to_owned(),
                ms(early.exact),
                ms(early.busiest),
                early.k.to_string(),
            ],
            None => std::array::from_fn(|_| "-".to_owned()),
        });
        table.rows.push(row);
    }
    table
}

/// The inequality in words; nothing where it could not be measured.
fn overlap_seen(experiment: &Experiment) -> String {
    let all: Vec<Early> = experiment.outcomes.iter().filter_map(Early::of).collect();
    let others: Vec<f64> = all
        .iter()
        .filter(|early| !early.suffices())
        .map(|early| early.exact.as_secs_f64() / early.busiest.as_secs_f64())
        .collect();
    match (all.len(), others.len()) {
        (0, _) => String::new(),
        (all, 0) => format!(
            "; τ3 + υ + τ5 ≤ B in all of {all} settings with memory in RAM: there exact-overlap has the period of \
             mspipe without its staleness"
        ),
        (all, no) => format!(
            "; τ3 + υ + τ5 ≤ B in {} of {all} settings with memory in RAM: there exact-overlap has the period of \
             mspipe without its staleness; in the others it takes {} times as long",
            all - no,
            from_to(&others, |factor| format!("{factor:.2}"))
        ),
    }
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
         has another cause, as a rule an unsteady machine{}",
        overlap_seen(experiment)
    )
}
