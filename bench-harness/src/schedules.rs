//! `schedules`: what each schedule is worth, with memory on the device and on the host.
//!
//! Every schedule trains with every place and seed, all schedules of a seed before the next
//! seed, so that a machine that slows down slows all of them. Speed is the median over epochs
//! but the first, and over seeds; accuracy the mean over seeds.
//!
//! `stall` is the share of training time in which the device thread waited for its input;
//! `sequential` has none, since its one thread does every stage. `train` is the share that
//! the stage `train` took; what is left is what overlap can gain.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use mspipe::config::{MemoryPlaceName, RunConfig};
use mspipe::pipeline::Stage;
use mspipe::pipeline::schedule::Schedule;
use serde::Serialize;

use crate::cell::{Cell, Spread, headline, name_of};
use crate::grid::{self, Training};
use crate::speed::median;

/// The schedules compared where none are asked for, as `--schedule` names them.
const COMPARED: [&str; 7] = [
    "sequential",
    "prefetch",
    "staleness:2",
    "staleness:3",
    "mspipe",
    "exact-overlap",
    "auto",
];

/// What to compare: the options of a training, several of which take lists.
#[derive(Debug, Clone)]
pub struct ScheduleGrid {
    run: RunConfig,
    schedules: Vec<Schedule>,
    places: Vec<MemoryPlaceName>,
    seeds: Vec<u64>,
}

impl FromArgMatches for ScheduleGrid {
    fn from_arg_matches(matches: &ArgMatches) -> Result<ScheduleGrid, clap::Error> {
        Ok(ScheduleGrid {
            run: RunConfig::from_arg_matches(matches)?,
            schedules: grid::values(matches, "schedule"),
            places: grid::values(matches, "memory"),
            seeds: grid::values(matches, "seed"),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = ScheduleGrid::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ScheduleGrid {
    fn augment_args(command: Command) -> Command {
        grid::options(command)
            .mut_arg("schedule", |option| {
                grid::several(option)
                    .visible_alias("schedules")
                    .default_values(COMPARED)
                    .help("Schedules to compare, separated by commas")
            })
            .mut_arg("memory", |option| {
                grid::several(option)
                    .default_values(["device", "host"])
                    .help("Places of node memory to compare, separated by commas")
            })
    }

    fn augment_args_for_update(command: Command) -> Command {
        ScheduleGrid::augment_args(command)
    }
}

/// What one schedule gave with one place of memory.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Where node memory was.
    pub memory: MemoryPlaceName,
    /// What overlapped.
    pub schedule: Schedule,
    /// Label of an emulated bus.
    pub emulated: Option<String>,
    /// Median training events per second, over epochs but the first and seeds.
    pub events_per_s: f64,
    /// Median over seeds of events per second / the machine's GFLOP/s at that time.
    pub ratio: f64,
    /// Most frequent staleness.
    pub k: usize,
    /// Percent of the training iterations that had it.
    pub k_percent: f64,
    /// Percent of training time that the device thread waited; none for `sequential`.
    pub stall_percent: Option<f64>,
    /// Percent of training time in the stage `train`.
    pub train_percent: f64,
    /// Pooled AP of the test part, over seeds.
    pub test_ap: Spread,
    /// Events per second over those of `sequential` with the same place.
    pub speed_up: Option<f64>,
}

/// The table, and what it was made of.
#[derive(Debug, Serialize)]
pub struct ScheduleReport {
    /// One row a place and schedule.
    pub rows: Vec<Row>,
    /// The trainings, in the order in which they ran.
    pub cells: Vec<Cell>,
}

/// Trains what is not finished in the folder and makes the table.
///
/// # Errors
/// See [`grid::run`].
pub fn measure(asked: ScheduleGrid) -> Result<ScheduleReport> {
    let ScheduleGrid {
        run,
        schedules,
        places,
        seeds,
    } = asked;
    let mut trainings = Vec::new();
    for &seed in &seeds {
        for &memory in &places {
            for schedule in &schedules {
                let mut config = run.clone();
                config.seed = seed;
                config.pipeline.memory = memory;
                config.pipeline.schedule = schedule.clone();
                trainings.push(Training {
                    label: format!("{schedule}, memory {}, seed {seed}", name_of(&memory)),
                    config,
                    work: 1.0,
                });
            }
        }
    }
    let folder: PathBuf = grid::folder(&run)?;
    let cells = grid::run(&folder, trainings)?;
    let mut rows = Vec::new();
    for &memory in &places {
        let cells_of = |schedule: &Schedule| -> Vec<&Cell> {
            let of = |cell: &&Cell| {
                let pipeline = &cell.config.pipeline;
                pipeline.memory == memory && pipeline.schedule == *schedule
            };
            cells.iter().filter(of).collect()
        };
        let sequential = cells_of(&Schedule::Sequential);
        let sequential = (!sequential.is_empty()).then(|| events_per_s(&sequential));
        for schedule in &schedules {
            rows.push(Row::of(&cells_of(schedule), sequential));
        }
    }
    Ok(ScheduleReport { rows, cells })
}

fn events_per_s(cells: &[&Cell]) -> f64 {
    median(&each(cells, Cell::median_events_per_s))
}

fn each(cells: &[&Cell], value: impl Fn(&Cell) -> f64) -> Vec<f64> {
    cells.iter().map(|cell| value(cell)).collect()
}

impl Row {
    /// Of the trainings of one place and schedule, at least one.
    pub(crate) fn of(cells: &[&Cell], sequential_events_per_s: Option<f64>) -> Row {
        let pipeline = &cells[0].config.pipeline;
        let sum = |value: fn(&Cell) -> f64| each(cells, value).iter().sum::<f64>();
        let percent = |seconds: f64| 100.0 * seconds / sum(Cell::train_seconds);
        let mut iterations: BTreeMap<usize, usize> = BTreeMap::new();
        for &(k, count) in cells.iter().flat_map(|cell| &cell.staleness) {
            *iterations.entry(k).or_default() += count;
        }
        let all: usize = iterations.values().sum();
        // The smallest of equally frequent ones.
        let most = iterations.iter().rev().max_by_key(|(_, count)| **count);
        let (k, count) = most.map_or((0, 0), |(k, count)| (*k, *count));
        let events_per_s = events_per_s(cells);
        Row {
            memory: pipeline.memory,
            schedule: pipeline.schedule.clone(),
            emulated: cells[0].emulated_link(),
            events_per_s,
            ratio: median(&each(cells, |cell| {
                cell.median_events_per_s() / cell.mean_gflops()
            })),
            k,
            k_percent: 100.0 * count as f64 / all as f64,
            stall_percent: (pipeline.schedule != Schedule::Sequential)
                .then(|| percent(sum(|cell| cell.stall_seconds))),
            train_percent: percent(sum(|cell| cell.seconds_in(Stage::Train))),
            test_ap: Spread::of(&each(cells, |cell| cell.test.ap)),
            speed_up: sequential_events_per_s.map(|sequential| events_per_s / sequential),
        }
    }
}

impl fmt::Display for ScheduleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", headline(&self.cells))?;
        write!(
            f,
            "{:<7} {:<14} {:>9} {:>7} {:>11} {:>7} {:>7}  {:<15} {:>8}",
            "memory", "schedule", "events/s", "/ G", "k", "stall", "train", "test AP", "speed-up"
        )?;
        for row in &self.rows {
            let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            write!(
                f,
                "\n{:<7} {:<14} {:>9.0} {:>7.1} {:>11} {:>7} {:>7}  {:<15} {:>8}",
                name_of(&row.memory),
                row.schedule.to_string(),
                row.events_per_s,
                row.ratio,
                format!("{} ({:.0} %)", row.k, row.k_percent),
                or_dash(row.stall_percent.map(|percent| format!("{percent:.1} %"))),
                format!("{:.1} %", row.train_percent),
                row.test_ap.to_string(),
                or_dash(row.speed_up.map(|factor| format!("{factor:.2}"))),
            )?;
            if let Some(label) = &row.emulated {
                write!(f, "  {label}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        grid: ScheduleGrid,
    }

    fn grid(arguments: &[&str]) -> ScheduleGrid {
        let all = ["test", "--out", "x"].iter().chain(arguments);
        Program::try_parse_from(all).unwrap().grid
    }

    #[test]
    fn every_schedule_and_place_is_compared_unless_asked_otherwise() {
        let all = grid(&[]);
        assert_eq!(all.schedules, Schedule::COMPARED);
        assert_eq!(all.places, [MemoryPlaceName::Device, MemoryPlaceName::Host]);
        assert_eq!(all.seeds, [0, 1, 2]);
        let some = grid(&["--memory=host", "--seed=7,8,7", "--schedules", "auto"]);
        assert_eq!(some.schedules, [Schedule::Auto]);
        assert_eq!(some.places, [MemoryPlaceName::Host]);
        assert_eq!(some.seeds, [7, 8]);
    }
}
