//! Trainings that differ in a few settings, one after the other; finished ones are kept.
//!
//! The folder of a grid holds one run folder a training (`config.json`, `ledger.jsonl`,
//! `weights.safetensors`, `summary.json`) with `cell.json` in it, what the tables are made of.
//! `cell.json` is written last and is complete where it exists: a grid that is started again
//! trains only what has none.
//!
//! Invariant: the cells of a grid belong together. Settings, stream, device or number of
//! threads other than those of the rest are refused before anything is trained with them.
//!
//! The machine's matrix product is measured before the first training and after each, so
//! that every training has its own rate before and after. It does not decide what is compared:
//! [`crate::schedules`] and [`crate::mitigation`] do.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Arg, ArgAction, ArgMatches, Args as _, Command};
use mspipe::config::{RunConfig, Task};
use mspipe::device::{self, ComputeDevice};
use mspipe::pipeline::ledger;
use mspipe::pipeline::trace::Record;
use mspipe::run_folder::{RunFolder, Summary};
use mspipe::session::Session;
use mspipe::train::epochs::{EpochRecord, Observer};
use serde_json::{Map, Value};

use crate::cell::{Cell, Context};
use crate::matmul::matmul_gflops;

/// What makes a run folder a finished training of a grid.
const CELL: &str = "cell.json";

/// A training to do.
#[derive(Debug, Clone)]
pub struct Training {
    /// What sets it apart from the others; its folder is called after it.
    pub label: String,
    /// Its settings; `out` is not used.
    pub config: RunConfig,
}

/// Trains what is not finished in `folder`, in this order, and returns all cells in it.
/// Progress goes to standard error.
///
/// # Errors
/// Settings out of range (before anything is trained), a folder with cells of other settings,
/// a training that fails.
pub fn run(folder: &Path, trainings: Vec<Training>) -> Result<Vec<Cell>> {
    let trainings = trainings
        .into_iter()
        .map(Training::written_and_read)
        .collect::<Result<Vec<_>>>()?;
    let mut cells = Vec::with_capacity(trainings.len());
    let mut context = None;
    for training in &trainings {
        training.check()?;
        let cell = training.kept(folder)?;
        if let Some(cell) = &cell {
            let shared = context.get_or_insert_with(|| cell.context.clone());
            training.belongs(&cell.context, shared)?;
        }
        cells.push(cell);
    }
    let missing = cells.iter().filter(|cell| cell.is_none()).count();
    eprintln!(
        "{} trainings, {} of them finished in {}",
        cells.len(),
        cells.len() - missing,
        folder.display()
    );
    if missing > 0 {
        if let Some(threads) = trainings[0].config.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global()?;
        }
        device::on_device_thread(|| train_missing(folder, &trainings, &mut cells, context))??;
    }
    Ok(cells.into_iter().flatten().collect())
}

fn train_missing(
    folder: &Path,
    trainings: &[Training],
    cells: &mut [Option<Cell>],
    mut context: Option<Context>,
) -> Result<()> {
    let opened = device::open(trainings[0].config.device)?;
    let mut gflops = matmul_gflops(&opened.device)?;
    let begin = Instant::now();
    let to_do: Vec<_> = trainings
        .iter()
        .zip(cells)
        .filter(|(_, cell)| cell.is_none())
        .collect();
    let missing = to_do.len();
    for (done, (training, cell)) in to_do.into_iter().enumerate() {
        eprint!("[{}/{missing}] {} … ", done + 1, training.label);
        let result = training.train(folder, &opened, &mut context, gflops);
        // The message of an error begins its own line.
        let new = result.inspect_err(|_| eprintln!())?;
        gflops = new.matmul_gflops[1];
        let left = begin.elapsed() / (done as u32 + 1) * (missing - done - 1) as u32;
        eprintln!(
            "{:.0} events/s, test AP {:.4}, {} left",
            new.median_events_per_s(),
            new.test_ap,
            rough(left)
        );
        *cell = Some(new);
    }
    Ok(())
}

/// A duration as one number: `40 s`, `12 min`, `3.4 h`.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds @ 100..6000 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

impl Training {
    /// The same with settings as a file gives them back, so that they compare with a file's.
    fn written_and_read(self) -> Result<Training> {
        let config = RunConfig {
            out: None,
            ..self.config
        };
        Ok(Training {
            label: self.label,
            config: serde_json::from_str(&serde_json::to_string(&config)?)?,
        })
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.config.task == Task::Link,
            "--task: found node classification, expected link: only link prediction can be compared"
        );
        self.config
            .validate()
            .with_context(|| format!("training '{}'", self.label))
    }

    /// Its run folder. Windows takes no colon in a name.
    fn path(&self, folder: &Path) -> PathBuf {
        let words: Vec<&str> = self
            .label
            .split(|c: char| !c.is_alphanumeric() && c != '.')
            .filter(|word| !word.is_empty())
            .collect();
        folder.join(words.join("-"))
    }

    fn cell_path(&self, folder: &Path) -> PathBuf {
        self.path(folder).join(CELL)
    }

    /// What an earlier start gave.
    fn kept(&self, folder: &Path) -> Result<Option<Cell>> {
        let path = self.cell_path(folder);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let cell: Cell = serde_json::from_str(&text).with_context(|| {
            format!(
                "{}: is no finished training of this program; remove it or choose another --out",
                path.display()
            )
        })?;
        if cell.config != self.config {
            bail!(
                "{}: was trained with other settings ({}); choose another --out",
                path.display(),
                differences(&cell.config, &self.config)?.join(", ")
            );
        }
        Ok(Some(cell))
    }

    /// Refuses numbers of another stream or machine than those that are there.
    fn belongs(&self, own: &Context, shared: &Context) -> Result<()> {
        ensure!(
            own == shared,
            "training '{}' is of {own}, others in its folder are of {shared}; one table can't have \
             both: choose another --out",
            self.label
        );
        Ok(())
    }

    fn train(
        &self,
        folder: &Path,
        device: &ComputeDevice,
        shared: &mut Option<Context>,
        gflops: f64,
    ) -> Result<Cell> {
        let path = self.path(folder);
        let session = Session::open(RunConfig {
            out: Some(path.clone()),
            ..self.config.clone()
        })?;
        let context = Context {
            data: session.data.name.clone(),
            data_hash: session.data.hash.clone(),
            synthetic: session.data.synthetic,
            edge_width: session.data.edge_width,
            device: device.adapter.clone(),
            threads: rayon::current_num_threads(),
        };
        self.belongs(&context, shared.get_or_insert_with(|| context.clone()))?;
        // Of a start that was ended between the two files: without a cell nothing is finished.
        match fs::remove_file(path.join("summary.json")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| path.display().to_string());
            }
            _ => {}
        }
        let run = RunFolder::create(session.config(), &session.data.name)?;
        let mut corrections = Corrections {
            ledger: run.ledger()?,
            iterations: 0,
            rows: None,
        };
        let never = AtomicBool::new(false);
        let summary = session.train(device, &run, &mut corrections, &never)?;
        let cell = Cell {
            config: self.config.clone(),
            context,
            events_per_s: summary.epochs.iter().map(|e| e.events_per_s).collect(),
            train_seconds: summary.epochs.iter().map(|e| e.train_seconds).sum(),
            train_stage_seconds: train_stage_seconds(&summary),
            stall_seconds: summary.stall_seconds,
            staleness: summary.staleness.into_iter().collect(),
            test_ap: summary.test.own_pool.ap,
            corrected_rows: corrections
                .rows
                .map(|rows| rows as f64 / corrections.iterations as f64),
            matmul_gflops: [gflops, matmul_gflops(&device.device)?],
        };
        let (path, part) = (path.join(CELL), path.join(format!("{CELL}.tmp")));
        fs::write(&part, serde_json::to_string_pretty(&cell)? + "\n")
            .and_then(|()| fs::rename(&part, &path))
            .with_context(|| format!("{}: can't be written", path.display()))?;
        Ok(cell)
    }
}

fn train_stage_seconds(summary: &Summary) -> f64 {
    let stage = summary.stage_seconds.get("train");
    stage.and_then(Value::as_f64).unwrap_or(0.0)
}

/// The settings that differ, as `epochs: 1, now 2`.
fn differences(before: &RunConfig, now: &RunConfig) -> Result<Vec<String>> {
    let (before, now) = (settings(before)?, settings(now)?);
    Ok(now
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .map(|(name, value)| {
            let found = before.get(name).unwrap_or(&Value::Null);
            format!("{name}: {found}, now {value}")
        })
        .collect())
}

/// All settings by name, those of groups too.
fn settings(config: &RunConfig) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    if let Value::Object(map) = serde_json::to_value(config)? {
        for (name, value) in map {
            match value {
                Value::Object(group) => all.extend(group),
                value => {
                    all.insert(name, value);
                }
            }
        }
    }
    Ok(all)
}

/// Keeps the ledger and counts corrected rows.
struct Corrections {
    ledger: BufWriter<File>,
    iterations: usize,
    rows: Option<usize>,
}

impl Observer for Corrections {
    fn epoch_begins(&mut self, _: usize, _: usize) {}
    fn iteration(&mut self, _: usize, _: usize) {}
    fn losses(&mut self, _: usize, _: usize, _: &[f32]) -> io::Result<()> {
        Ok(())
    }
    fn epoch_recorded(&mut self, record: &Record) -> io::Result<()> {
        self.iterations += record.ledger.len();
        for rows in record.ledger.iter().filter_map(|line| line.corrected) {
            *self.rows.get_or_insert(0) += rows;
        }
        ledger::write(&record.ledger, &mut self.ledger)?;
        self.ledger.flush()
    }
    fn evaluation_begins(&mut self, _: &str) {}
    fn epoch_done(&mut self, _: usize, _: &EpochRecord) -> io::Result<()> {
        Ok(())
    }
}

/// Makes an option of a training take several values, separated by commas.
pub(crate) fn several(option: Arg) -> Arg {
    option.action(ArgAction::Append).value_delimiter(',')
}

/// The values of such an option, each once.
pub(crate) fn values<T: Clone + PartialEq + Send + Sync + 'static>(
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

/// Options of a training that a grid has no use for.
const NODE_CLASSIFICATION: [&str; 5] = [
    "task",
    "node_epochs",
    "node_batch_size",
    "node_learning_rate",
    "balance",
];

/// The options of a link prediction training, with several seeds and a folder for all of them.
pub(crate) fn options(command: Command) -> Command {
    let training = RunConfig::augment_args(command)
        .mut_arg("seed", |option| {
            several(option)
                .long("seeds")
                .visible_alias("seed")
                .default_values(["0", "1", "2"])
                .help("Seeds to train with, separated by commas")
        })
        .mut_arg("init", |option| {
            option.help("Begin with the weights of a run's folder or of a file")
        })
        .mut_arg("out", |option| {
            option
                .required(true)
                .help("Folder of the trainings; those that are finished in it are not run again")
        });
    NODE_CLASSIFICATION
        .into_iter()
        .fold(training, |command, unused| {
            command.mut_arg(unused, |option| option.hide(true))
        })
}

/// The folder of a grid.
pub(crate) fn folder(run: &RunConfig) -> Result<PathBuf> {
    run.out
        .clone()
        .context("--out is missing: give a folder for the trainings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_one_number() {
        let text = [0, 99, 100, 5999, 6000].map(|s| rough(Duration::from_secs(s)));
        assert_eq!(text, ["0 s", "99 s", "2 min", "100 min", "1.7 h"]);
    }
}
