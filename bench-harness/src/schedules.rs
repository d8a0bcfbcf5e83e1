//! `schedules`: what each schedule is worth, with memory on the device and on the host, with and
//! without mitigation of its staleness.
//!
//! Every schedule trains with every place, mitigation and seed, all of a seed before the next
//! seed, so that a machine that slows down slows all of them. Speed is the median over epochs
//! but the first, and over seeds; accuracy the mean over seeds.
//!
//! `stall` is the share of training time in which the device thread waited for its input;
//! `sequential` has none, since its one thread does every stage. `train` is the share that
//! the stage `train` took; what is left is what overlap can gain. λ = 1 keeps corrected rows as
//! they are and so gives the numbers of the schedule without mitigation (MSPipe, section 3.4).

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Id};
use mspipe::config::{self, MitigationName, NodeSettings, PipelineSettings, RunConfig, name_of};
use mspipe::eval::Spread;
use mspipe::pipeline::Stage;
use mspipe::pipeline::profile::Residency;
use mspipe::pipeline::schedule::Schedule;
use mspipe::profiler::machine::median;
use serde::Serialize;

use crate::cell::{Cell, headline};
use crate::grid::{self, Training};

/// The schedules compared where none are asked for, as `--schedule` names them.
const COMPARED: [&str; 8] = [
    "sequential",
    "prefetch",
    "staleness:2",
    "staleness:3",
    "mspipe",
    "freshest",
    "exact-overlap",
    "auto",
];

/// What to compare: the options of a run, several of which take lists.
#[derive(Debug, Clone)]
pub struct ScheduleGrid {
    run: RunConfig,
    schedules: Vec<Schedule>,
    places: Vec<Residency>,
    mitigations: Vec<Option<Mitigation>>,
    seeds: Vec<u64>,
}

/// A mitigation with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mitigation {
    /// Which one.
    pub name: MitigationName,
    /// What it corrects, if it corrects rows.
    #[serde(flatten)]
    pub correction: Option<Correction>,
}

/// Settings of a mitigation that corrects rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Correction {
    /// Rows are corrected whose age is above this quantile of their batch.
    pub quantile: f64,
    /// What remains of a corrected row (λ).
    pub keep: f32,
}

impl Mitigation {
    /// That of a run, if it has one.
    fn of(pipeline: &PipelineSettings) -> Option<Mitigation> {
        let name = pipeline.mitigation;
        let correction = name.corrects_rows().then_some(Correction {
            quantile: pipeline.mitigation_quantile,
            keep: pipeline.mitigation_keep,
        });
        (name != MitigationName::None).then_some(Mitigation { name, correction })
    }
}

/// Makes an option of a run take several values, separated by commas.
fn several(option: Arg) -> Arg {
    option.action(ArgAction::Append).value_delimiter(',')
}

/// The values of such an option, each once.
fn values<T: Clone + PartialEq + Send + Sync + 'static>(
    matches: &ArgMatches,
    option: &str,
) -> Vec<T> {
    let mut values: Vec<T> = Vec::new();
    for value in matches.get_many::<T>(option).into_iter().flatten() {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    values
}

impl FromArgMatches for ScheduleGrid {
    fn from_arg_matches(matches: &ArgMatches) -> Result<ScheduleGrid, clap::Error> {
        let mut mitigations = Vec::new();
        for name in values(matches, "mitigation") {
            let with = |correction| Some(Mitigation { name, correction });
            if name == MitigationName::None {
                mitigations.push(None);
            } else if !name.corrects_rows() {
                mitigations.push(with(None));
            } else {
                for quantile in values(matches, "mitigation_quantile") {
                    let keeps = values(matches, "mitigation_keep").into_iter();
                    mitigations.extend(keeps.map(|keep| with(Some(Correction { quantile, keep }))));
                }
            }
        }
        Ok(ScheduleGrid {
            run: RunConfig::from_arg_matches(matches)?,
            schedules: values(matches, "schedule"),
            places: values(matches, "memory"),
            mitigations,
            seeds: values(matches, "seed"),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = ScheduleGrid::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ScheduleGrid {
    fn augment_args(command: Command) -> Command {
        let training = RunConfig::augment_args(command)
            .mut_arg("schedule", |option| {
                several(option)
                    .visible_alias("schedules")
                    .default_values(COMPARED)
                    .help("Schedules to compare, separated by commas")
            })
            .mut_arg("memory", |option| {
                several(option)
                    .default_values(["device", "host"])
                    .help("Placements of node memory to compare, separated by commas")
            })
            .mut_arg("mitigation", |option| {
                several(option).help(
                    "Mitigations of staleness to compare, separated by commas; sequential needs none",
                )
            })
            .mut_arg("mitigation_keep", |option| {
                several(option)
                    .visible_alias("keep")
                    .help("Share of a corrected row that is kept (λ), separated by commas")
            })
            .mut_arg("mitigation_quantile", |option| {
                several(option).visible_alias("quantile").help(
                    "Correct rows whose age is above this quantile of their batch, separated by commas",
                )
            })
            .mut_arg("seed", |option| {
                several(option)
                    .long("seeds")
                    .visible_alias("seed")
                    .default_values(["0", "1", "2"])
                    .help("Seeds to train with, separated by commas")
            })
            .mut_arg("init", |option| {
                option.help("Start from the weights of a run's folder or of a file")
            })
            .mut_arg("out", |option| {
                option
                    .required(true)
                    .help("Folder of the runs; those that are finished in it are not run again")
            });
        // No nodes are classified.
        let unused = config::options::<NodeSettings>().into_iter();
        unused
            .chain([Id::from("task")])
            .fold(training, |command, unused| {
                command.mut_arg(unused, |option| option.hide(true))
            })
    }

    fn augment_args_for_update(command: Command) -> Command {
        ScheduleGrid::augment_args(command)
    }
}

/// Results of one schedule with one place of memory and one mitigation.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Where node memory was.
    pub memory: Residency,
    /// What overlapped.
    pub schedule: Schedule,
    /// The mitigation of its staleness, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mitigation: Option<Mitigation>,
    /// Memory rows corrected in an iteration, the mean over seeds; none without mitigation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected_rows: Option<f64>,
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
    /// One row per place, schedule and mitigation.
    pub rows: Vec<Row>,
    /// The runs, in the order in which they ran.
    pub cells: Vec<Cell>,
}

/// Trains what is not finished in the folder and makes the table.
///
/// # Errors
/// See [`grid::run`].
pub fn measure(asked: ScheduleGrid) -> Result<ScheduleReport> {
    let out = asked.run.output.out.clone();
    let folder = out.context("--out is missing: give a folder for the runs")?;
    let arms = asked.arms();
    let seeds = asked.seeds.iter();
    let trainings = seeds.flat_map(|seed| arms.iter().map(|arm| asked.training(arm, *seed)));
    let cells = grid::run(&folder, trainings.collect())?;
    let cells_of = |arm: &Arm| -> Vec<&Cell> {
        let of = |cell: &&Cell| Arm::of(&cell.config.pipeline) == *arm;
        cells.iter().filter(of).collect()
    };
    let row = |arm: &Arm| {
        let sequential = cells_of(&Arm {
            schedule: Schedule::Sequential,
            mitigation: None,
            ..arm.clone()
        });
        let sequential = (!sequential.is_empty()).then(|| events_per_s(&sequential));
        Row::of(&cells_of(arm), sequential)
    };
    let rows = arms.iter().map(row).collect();
    Ok(ScheduleReport { rows, cells })
}

/// What is compared, with every seed.
#[derive(Debug, Clone, PartialEq)]
struct Arm {
    memory: Residency,
    schedule: Schedule,
    mitigation: Option<Mitigation>,
}

impl Arm {
    /// That of a run.
    fn of(pipeline: &PipelineSettings) -> Arm {
        Arm {
            memory: pipeline.memory,
            schedule: pipeline.schedule.clone(),
            mitigation: Mitigation::of(pipeline),
        }
    }
}

impl ScheduleGrid {
    fn arms(&self) -> Vec<Arm> {
        let mut arms = Vec::new();
        for &memory in &self.places {
            for schedule in &self.schedules {
                for &mitigation in &self.mitigations {
                    // It is never stale.
                    let mitigation = mitigation.filter(|_| *schedule != Schedule::Sequential);
                    let arm = Arm {
                        memory,
                        schedule: schedule.clone(),
                        mitigation,
                    };
                    if !arms.contains(&arm) {
                        arms.push(arm);
                    }
                }
            }
        }
        arms
    }

    fn training(&self, arm: &Arm, seed: u64) -> Training {
        let mut config = self.run.clone();
        config.training.seed = seed;
        config.pipeline.memory = arm.memory;
        config.pipeline.schedule = arm.schedule.clone();
        config.pipeline.mitigation = MitigationName::None;
        let mut label = arm.schedule.to_string();
        if let Some(Mitigation { name, correction }) = arm.mitigation {
            config.pipeline.mitigation = name;
            match correction {
                Some(Correction { quantile, keep }) => {
                    config.pipeline.mitigation_quantile = quantile;
                    config.pipeline.mitigation_keep = keep;
                    label += &format!(", quantile {quantile}, keep {keep}");
                }
                None => label += &format!(", {}", name_of(&name)),
            }
        }
        Training {
            label: format!("{label}, memory {}, seed {seed}", name_of(&arm.memory)),
            config,
            work: 1.0,
        }
    }
}

fn events_per_s(cells: &[&Cell]) -> f64 {
    median(&each(cells, Cell::median_events_per_s))
}

fn each(cells: &[&Cell], value: impl Fn(&Cell) -> f64) -> Vec<f64> {
    cells.iter().map(|cell| value(cell)).collect()
}

impl Row {
    /// Of the runs of one place, schedule and mitigation, at least one.
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
        let corrected: Vec<f64> = cells.iter().filter_map(|c| c.corrected_rows).collect();
        Row {
            memory: pipeline.memory,
            schedule: pipeline.schedule.clone(),
            mitigation: Mitigation::of(pipeline),
            corrected_rows: (!corrected.is_empty()).then(|| Spread::of(corrected).mean),
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
            test_ap: Spread::of(each(cells, |cell| cell.test.ap)),
            speed_up: sequential_events_per_s.map(|sequential| events_per_s / sequential),
        }
    }
}

/// What tables say of a row; a dash where there is nothing.
impl Row {
    /// The most frequent k and how often it is.
    pub(crate) fn k_text(&self) -> String {
        format!("{} ({:.0} %)", self.k, self.k_percent)
    }

    /// The share that the device thread waited.
    pub(crate) fn stall_text(&self) -> String {
        or_dash(self.stall_percent.map(|percent| format!("{percent:.1} %")))
    }

    /// The speed over that of `sequential`, or of the first arm.
    pub(crate) fn speed_up_text(&self) -> String {
        or_dash(self.speed_up.map(|factor| format!("{factor:.2}")))
    }
}

/// `-` where there is nothing.
pub(crate) fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

impl fmt::Display for ScheduleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", headline(&self.cells))?;
        let mitigated = self.rows.iter().any(|row| row.mitigation.is_some());
        write!(
            f,
            "{:<7} {:<14} {:>9} {:>7} {:>11} {:>7} {:>7}  {:<15} {:>8}",
            "memory", "schedule", "events/s", "/ G", "k", "stall", "train", "test AP", "speed-up"
        )?;
        if mitigated {
            write!(
                f,
                " {:>19} {:>8} {:>5} {:>14}",
                "mitigation", "quantile", "λ", "rows corrected"
            )?;
        }
        for row in &self.rows {
            write!(
                f,
                "\n{:<7} {:<14} {:>9.0} {:>7.1} {:>11} {:>7} {:>7}  {:<15} {:>8}",
                name_of(&row.memory),
                row.schedule.to_string(),
                row.events_per_s,
                row.ratio,
                row.k_text(),
                row.stall_text(),
                format!("{:.1} %", row.train_percent),
                row.test_ap.to_string(),
                row.speed_up_text(),
            )?;
            let correction = row.mitigation.and_then(|m| m.correction);
            if mitigated {
                write!(
                    f,
                    " {:>19} {:>8} {:>5} {:>14}",
                    or_dash(row.mitigation.map(|m| name_of(&m.name))),
                    or_dash(correction.map(|of| of.quantile.to_string())),
                    or_dash(correction.map(|of| of.keep.to_string())),
                    or_dash(row.corrected_rows.map(|rows| format!("{rows:.1}"))),
                )?;
            }
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
        assert_eq!(all.places, [Residency::Device, Residency::Host]);
        assert_eq!(all.seeds, [0, 1, 2]);
        let some = grid(&["--memory=host", "--seed=7,8,7", "--schedules", "auto"]);
        assert_eq!(some.schedules, [Schedule::Auto]);
        assert_eq!(some.places, [Residency::Host]);
        assert_eq!(some.seeds, [7, 8]);
        assert_eq!(some.arms().len(), 1);
        let mitigated = grid(&[
            "--memory=host",
            "--schedule=sequential,mspipe",
            "--mitigation=none,similarity",
            "--keep=1,0.5",
            "--quantile=0.9,0.5",
        ]);
        let with: Vec<_> = mitigated
            .arms()
            .into_iter()
            .map(|arm| arm.mitigation)
            .collect();
        assert_eq!(with.len(), 1 + 1 + 4);
        assert_eq!(with.iter().flatten().count(), 4);
    }
}
