//! `mitigation`: what drawing old memory rows towards those of similar nodes is worth.
//!
//! A schedule trains with each age quantile and each λ, beside itself without mitigation and
//! `sequential`, all settings of a seed before the next seed. λ = 1 keeps corrected rows as
//! they are and so gives the numbers of the schedule without mitigation.
//!
//! Source of the method: MSPipe, section 3.4 (MSPipe-S).

use std::fmt;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use mspipe::config::{MitigationName, PipelineConfig, RunConfig};
use mspipe::pipeline::schedule::Schedule;
use serde::Serialize;

use crate::cell::{Cell, Spread, headline};
use crate::grid::{self, Training};
use crate::speed::median;

/// What to compare: the options of a training, several of which take lists.
#[derive(Debug, Clone)]
pub struct MitigationGrid {
    run: RunConfig,
    keep: Vec<f32>,
    quantiles: Vec<f64>,
    seeds: Vec<u64>,
}

impl FromArgMatches for MitigationGrid {
    fn from_arg_matches(matches: &ArgMatches) -> Result<MitigationGrid, clap::Error> {
        if matches.value_source("mitigation") == Some(ValueSource::CommandLine) {
            return Err(clap::Error::raw(
                ErrorKind::ArgumentConflict,
                "--mitigation: this command trains with and without it; leave it out\n",
            ));
        }
        Ok(MitigationGrid {
            run: RunConfig::from_arg_matches(matches)?,
            keep: grid::values(matches, "mitigation_keep"),
            quantiles: grid::values(matches, "mitigation_quantile"),
            seeds: grid::values(matches, "seed"),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = MitigationGrid::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for MitigationGrid {
    fn augment_args(command: Command) -> Command {
        grid::options(command)
            .mut_arg("schedule", |option| option.default_value("staleness:3"))
            .mut_arg("mitigation", |option| option.hide(true))
            .mut_arg("mitigation_keep", |option| {
                grid::several(option)
                    .long("keep")
                    .alias("mitigation-keep")
                    .default_values(["1.0", "0.95", "0.9", "0.8", "0.5"])
                    .help("What remains of a corrected row (λ), separated by commas")
            })
            .mut_arg("mitigation_quantile", |option| {
                grid::several(option)
                    .long("quantile")
                    .alias("mitigation-quantile")
                    .default_values(["0.99", "0.9", "0.5"])
                    .help("Rows are corrected whose age is above this quantile of their batch, separated by commas")
            })
    }

    fn augment_args_for_update(command: Command) -> Command {
        MitigationGrid::augment_args(command)
    }
}

/// A mitigation's settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Setting {
    /// Rows are corrected whose age is above this quantile of their batch.
    pub quantile: f64,
    /// What remains of a corrected row (λ).
    pub keep: f32,
}

impl Setting {
    /// That of a training, if it has one.
    fn of(pipeline: &PipelineConfig) -> Option<Setting> {
        (pipeline.mitigation == MitigationName::Similarity).then_some(Setting {
            quantile: pipeline.mitigation_quantile,
            keep: pipeline.mitigation_keep,
        })
    }
}

/// What one setting gave.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What overlapped.
    pub schedule: Schedule,
    /// The mitigation, if there was one.
    pub mitigation: Option<Setting>,
    /// Label of an emulated bus.
    pub emulated: Option<String>,
    /// Pooled AP of the test part, over seeds.
    pub test_ap: Spread,
    /// Memory rows corrected in an iteration, the mean over seeds; none without mitigation.
    pub corrected_rows: Option<f64>,
    /// Median training events per second, over epochs but the first and seeds.
    pub events_per_s: f64,
}

/// The table, and what it was made of.
#[derive(Debug, Serialize)]
pub struct MitigationReport {
    /// `sequential`, the schedule alone, and one row a setting.
    pub rows: Vec<Row>,
    /// The trainings, in the order in which they ran.
    pub cells: Vec<Cell>,
}

/// Trains what is not finished in the folder and makes the table.
///
/// # Errors
/// See [`grid::run`].
pub fn measure(asked: MitigationGrid) -> Result<MitigationReport> {
    let MitigationGrid {
        run,
        keep,
        quantiles,
        seeds,
    } = asked;
    let schedule = run.pipeline.schedule.clone();
    let mut arms = vec![(Schedule::Sequential, None)];
    if schedule != Schedule::Sequential {
        arms.push((schedule.clone(), None));
    }
    for &quantile in &quantiles {
        for &keep in &keep {
            arms.push((schedule.clone(), Some(Setting { quantile, keep })));
        }
    }
    let mut trainings = Vec::new();
    for &seed in &seeds {
        for (schedule, mitigation) in &arms {
            trainings.push(training(&run, schedule, *mitigation, seed));
        }
    }
    let cells = grid::run(&grid::folder(&run)?, trainings)?;
    let rows = arms
        .iter()
        .map(|(schedule, mitigation)| {
            let of = |cell: &&Cell| {
                let pipeline = &cell.config.pipeline;
                pipeline.schedule == *schedule && Setting::of(pipeline) == *mitigation
            };
            Row::of(&cells.iter().filter(of).collect::<Vec<_>>())
        })
        .collect();
    Ok(MitigationReport { rows, cells })
}

fn training(
    run: &RunConfig,
    schedule: &Schedule,
    mitigation: Option<Setting>,
    seed: u64,
) -> Training {
    let mut config = run.clone();
    config.seed = seed;
    config.pipeline.schedule = schedule.clone();
    let mut label = schedule.to_string();
    if let Some(Setting { quantile, keep }) = mitigation {
        config.pipeline.mitigation = MitigationName::Similarity;
        config.pipeline.mitigation_quantile = quantile;
        config.pipeline.mitigation_keep = keep;
        label += &format!(", quantile {quantile}, keep {keep}");
    }
    label += &format!(", seed {seed}");
    Training {
        label,
        config,
        work: 1.0,
    }
}

impl Row {
    /// Of the trainings of one setting, at least one.
    fn of(cells: &[&Cell]) -> Row {
        let pipeline = &cells[0].config.pipeline;
        let each = |value: fn(&Cell) -> f64| -> Vec<f64> {
            cells.iter().map(|cell| value(cell)).collect()
        };
        let corrected: Vec<f64> = cells
            .iter()
            .filter_map(|cell| cell.corrected_rows)
            .collect();
        Row {
            schedule: pipeline.schedule.clone(),
            mitigation: Setting::of(pipeline),
            emulated: cells[0].emulated_link(),
            test_ap: Spread::of(&each(|cell| cell.test.ap)),
            corrected_rows: (!corrected.is_empty()).then(|| Spread::of(&corrected).mean),
            events_per_s: median(&each(Cell::median_events_per_s)),
        }
    }
}

impl fmt::Display for MitigationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", headline(&self.cells))?;
        write!(
            f,
            "{:<14} {:>8} {:>5}  {:<15} {:>14} {:>9}",
            "schedule", "quantile", "λ", "test AP", "rows corrected", "events/s"
        )?;
        for row in &self.rows {
            let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            write!(
                f,
                "\n{:<14} {:>8} {:>5}  {:<15} {:>14} {:>9.0}",
                row.schedule.to_string(),
                or_dash(row.mitigation.map(|m| m.quantile.to_string())),
                or_dash(row.mitigation.map(|m| m.keep.to_string())),
                row.test_ap.to_string(),
                or_dash(row.corrected_rows.map(|rows| format!("{rows:.1}"))),
                row.events_per_s,
            )?;
            if let Some(label) = &row.emulated {
                write!(f, "  {label}")?;
            }
        }
        Ok(())
    }
}
