//! `reproduce`: the experiments of MSPipe's evaluation, from recipes to a report.
//!
//! | module | what it holds |
//! |---|---|
//! | [`recipe`] | recipes as TOML files |
//! | `plan` | their runs, each setting once |
//! | [`experiment`], `views`, `wording` | what came out, and how it is shown |
//! | `summary` | mspipe against sequential, in one table |
//! | [`document`] | the report around it |
//!
//! [`crate::grid`] trains, keeps what is finished and tells the time left. The report is made
//! of the finished runs alone and has no date, so that making it again gives the same
//! bytes.

pub mod document;
pub mod experiment;
mod plan;
pub mod recipe;
mod summary;
mod views;
mod wording;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use mspipe::numbers;
use serde::Serialize;
use serde_json::Value;

use crate::cell::Cell;
use crate::grid::{self, write_whole};
use document::{PUBLISHED, Published};
use experiment::Experiment;
use plan::{Changes, Plan};
pub(crate) use plan::{is_here, settings_of};
use recipe::Base;

/// Names of the report, in the output's folder.
const HTML: &str = "report.html";
const MARKDOWN: &str = "report.md";
const JSON: &str = "report.json";

/// Folder of the runs, in the output's folder.
const TRAININGS: &str = "trainings";

/// What to reproduce.
#[derive(Debug, Clone, Args)]
#[command(mut_args(|option| numbers::read_here(option, None)))]
pub struct ReproduceConfig {
    /// Small streams, few epochs, one seed: minutes instead of days
    #[arg(long)]
    pub quick: bool,

    /// Streams instead of the recipes' own, separated by commas: names of data sets, files,
    /// synthetic:NAME[:scale=X]
    #[arg(long, value_name = "STREAMS", value_delimiter = ',')]
    pub data: Vec<String>,

    /// Recipes to run, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub recipe: Vec<String>,

    /// Seeds instead of the recipes' own, separated by commas
    #[arg(
        long,
        visible_alias = "seed",
        value_name = "SEEDS",
        value_delimiter = ','
    )]
    pub seeds: Vec<u64>,

    /// Folder of the runs and the report; what is finished in it is not run again
    /// [default: reproduction, or reproduction-quick]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Report what is finished, train nothing
    #[arg(long)]
    pub finished: bool,

    /// Device: auto, cpu, gpu, gpu:N or software
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,

    /// Kernels: auto, gpu or software, whatever the device is
    #[arg(long, value_name = "KERNELS", hide_short_help = true)]
    pub kernels: Option<String>,

    /// Limits to ask of the device: adapter, webgpu or alignment:N
    #[arg(long, value_name = "LIMITS", hide_short_help = true)]
    pub limits: Option<String>,

    /// Passes over the training events
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,

    /// Edge features: zero, random:WIDTH or file
    #[arg(long, value_name = "zero|random:WIDTH|file")]
    pub edge_features: Option<String>,

    /// Use only the first N events of each stream
    #[arg(long, value_name = "N")]
    pub limit_events: Option<usize>,

    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// What was reproduced.
#[derive(Debug, Serialize)]
pub struct Reproduction {
    /// Whether it is the quick form.
    pub quick: bool,
    /// What others published.
    pub published: [Published; 3],
    /// Each experiment.
    pub experiments: Vec<Experiment>,
    /// Every run.
    pub cells: Vec<Cell>,
    /// The page.
    #[serde(skip)]
    pub page: PathBuf,
}

/// Trains what is not finished and writes the report.
///
/// # Errors
/// Recipes or settings that don't exist; see [`grid::run`]; a report that can't be written.
pub fn run(asked: &ReproduceConfig) -> Result<Reproduction> {
    let quick = if asked.quick {
        "reproduction-quick"
    } else {
        "reproduction"
    };
    let folder = asked.out.clone().unwrap_or_else(|| quick.into());
    let trainings = folder.join(TRAININGS);
    refuse_foreign(&folder)?;
    let mut base = Base::read(asked.quick)?;
    if !asked.recipe.is_empty() {
        base.keep(&asked.recipe)?;
    }
    let plan = Plan::new(&base, &asked.changes(), &trainings)?;
    let cells = match asked.finished {
        true => grid::finished(&plan.groups)?,
        false => {
            let trained = grid::run_groups(plan.groups.clone())?;
            trained
                .into_iter()
                .map(|cells| cells.into_iter().map(Some).collect())
                .collect()
        }
    };
    let experiments = Experiment::all(&base, &plan, &cells);
    let document = document::document(&experiments, asked.quick);
    // The folder of the runs too, though there may be none yet: by it a later start knows the place.
    fs::create_dir_all(&trainings).with_context(|| trainings.display().to_string())?;
    let reproduction = Reproduction {
        quick: asked.quick,
        published: PUBLISHED,
        experiments,
        cells: cells.into_iter().flatten().flatten().collect(),
        page: folder.join(HTML),
    };
    let json = serde_json::to_string_pretty(&reproduction)? + "\n";
    write_whole(&folder.join(JSON), &json)?;
    write_whole(&folder.join(MARKDOWN), &document.to_markdown())?;
    write_whole(&reproduction.page, &document.to_html())?;
    Ok(reproduction)
}

/// Refuses a folder in which no reproduction was begun, or with a report that none wrote.
fn refuse_foreign(folder: &Path) -> Result<()> {
    if is_new(folder) {
        return Ok(());
    }
    ensure!(
        folder.join(TRAININGS).is_dir(),
        "{}: is not empty and holds no reproduction (there is no folder {TRAININGS} in it); nothing in it \
         was touched; give --out a new or an empty folder",
        folder.display()
    );
    let is_there = |name: &&&str| folder.join(name).symlink_metadata().is_ok();
    if let Some(page) = [HTML, MARKDOWN, JSON].iter().find(is_there) {
        let report: Option<Value> = fs::read(folder.join(JSON))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        ensure!(
            report.is_some_and(|report| report["experiments"].is_array()),
            "{}: does not belong to a reproduction (there is no {JSON} beside it); move it elsewhere, or choose \
             another --out",
            folder.join(page).display()
        );
    }
    Ok(())
}

/// Whether nothing has the name, or an empty folder.
fn is_new(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

impl ReproduceConfig {
    fn changes(&self) -> Changes {
        let mut options = Vec::new();
        let mut give = |option: &str, value: Option<String>| {
            options.extend(value.map(|value| format!("--{option}={value}")));
        };
        give("device", self.device.clone());
        give("kernels", self.kernels.clone());
        give("limits", self.limits.clone());
        give("epochs", self.epochs.map(|epochs| epochs.to_string()));
        give("edge-features", self.edge_features.clone());
        give(
            "limit-events",
            self.limit_events.map(|events| events.to_string()),
        );
        give("threads", self.threads.map(|threads| threads.to_string()));
        Changes {
            data: self.data.clone(),
            seeds: self.seeds.clone(),
            options,
        }
    }
}
