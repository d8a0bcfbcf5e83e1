//! The folder of a run: `config.json`, `metrics.jsonl`, `ledger.jsonl`, `trace.json`,
//! `timeline.svg`, `weights.safetensors`, `state.safetensors`, checkpoints, `summary.json`.
//!
//! `config.json` holds the resolved settings, `metrics.jsonl` one line for each iteration's
//! loss, each epoch, each probe and each change of the ranks, `ledger.jsonl` how stale the memory was that each iteration read,
//! `trace.json` the stages of the last epoch as Chrome's and Perfetto's trace viewers take
//! them, `events.out.tfevents…` (with `--log tensorboard`) what TensorBoard reads, `timeline.svg` a few iterations of it as a chart, `weights.safetensors` the weights of
//! the best epoch so far, which the test uses
//! (a classification of labels trains none of a model and has no such file), `summary.json` what came out.
//! `summary.json` is written last and appears under its name only when it is complete: a
//! folder without it is of a run that has not ended. `run.lock` is locked while a program
//! writes into the folder. Checkpoints: [`crate::checkpoint`].

mod error;
mod event_file;
mod json_lines;
pub mod listing;
mod over_seeds;
mod place;
mod ranks_change;
mod summary;

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::RunFolderError;
pub(crate) use event_file::EventFile;
pub use json_lines::JsonLines;
use mspipe_datasets::whole_file::{self, Existing, WholeFile};
pub use over_seeds::{Comparison, OverSeeds, OverSeedsError};
pub(crate) use ranks_change::RanksChange;
use serde::Serialize;
use serde_json::json;
pub use summary::{
    ClassificationSummary, Dataset, DeviceRecord, Estimate, EvalSummary, FeatureUse, MachineUse,
    QueueSeconds, Setting, Summary,
};

use error::{failed, failed_read};
use place::{missing_folders, names_in, numbered_folder, refuse_foreign, remove_folders};

use crate::checkpoint::{DAMAGED, LAST, PREVIOUS};
use crate::config::{ConfigError, RunConfig, Task};
use crate::pipeline::ledger::FILE_NAME as LEDGER;
use crate::pipeline::probe::Probe;
use crate::pipeline::trace::Record;
use crate::report::chart::Timeline;
use crate::weights;

/// Name of the chart of a few iterations.
pub const TIMELINE: &str = "timeline.svg";

const CONFIG: &str = "config.json";
const METRICS: &str = "metrics.jsonl";
const TRACE: &str = "trace.json";
const SUMMARY: &str = "summary.json";

/// What a line of metrics has the reason under for which a run diverged: its last one, which a run that continues
/// from an earlier checkpoint cuts off.
const DIVERGED: &str = "diverged";

/// Name of the state that an ended run leaves.
pub const STATE: &str = "state.safetensors";

/// Name of the file that is locked while a program writes into the folder.
pub const LOCK: &str = "run.lock";

/// All that a run may write.
const WRITTEN: [&str; 13] = [
    CONFIG,
    METRICS,
    LEDGER,
    TRACE,
    TIMELINE,
    weights::FILE_NAME,
    STATE,
    LAST,
    PREVIOUS,
    DAMAGED,
    SUMMARY,
    "report.html",
    LOCK,
];

/// What a run writes that logs no metrics and keeps no checkpoints, in any order.
const WRITTEN_WITHOUT_LOG: [&str; 7] = [
    CONFIG,
    LEDGER,
    TIMELINE,
    weights::FILE_NAME,
    STATE,
    SUMMARY,
    LOCK,
];

/// What it shows: this many iterations, the first of them this far into the epoch.
const TIMELINE_ITERATIONS: usize = 8;
const TIMELINE_FROM: usize = 12;

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    /// Locked until all copies are gone; `None` where the file system knows no locks.
    lock: Option<Arc<File>>,
    /// Folders that were created for it, the innermost first.
    created: Vec<PathBuf>,
}

impl RunFolder {
    /// Whether the settings' folder can be created, before the work for that is done.
    ///
    /// # Errors
    /// When it holds anything already.
    pub fn check(config: &RunConfig) -> Result<(), RunFolderError> {
        config.output.out.as_deref().map_or(Ok(()), refuse_content)
    }

    /// Creates the folder of a run and writes its settings.
    ///
    /// # Errors
    /// When it holds anything already or can't be written.
    pub fn create(config: &RunConfig, data_name: &str) -> Result<RunFolder, RunFolderError> {
        let (path, created) = match &config.output.out {
            Some(path) => {
                refuse_content(path)?;
                (path.clone(), missing_folders(path))
            }
            None => {
                let base = Path::new("runs");
                let mut created = missing_folders(base);
                let path = numbered_folder(base, config, data_name)?;
                created.insert(0, path.clone());
                (path, created)
            }
        };
        fs::create_dir_all(&path).map_err(|error| failed(&path, error))?;
        let name = path.join(LOCK);
        let lock = match File::create_new(&name) {
            Ok(file) => locked(file, &path)?,
            // Of a program that was killed before it had written the settings, or of one that began a
            // run here since the look above.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let RunFolder { lock, .. } = RunFolder::reopened(path.clone())?;
                if !names_in(&path)?.iter().all(|name| is_of_no_run(name)) {
                    return Err(RunFolderError::InUse { path });
                }
                whole_file::sweep(&path);
                lock
            }
            Err(error) => {
                remove_folders(&created);
                return Err(failed(&name, error));
            }
        };
        let folder = RunFolder {
            path,
            lock,
            created,
        };
        match folder.write_whole(CONFIG, config) {
            Ok(()) => Ok(folder),
            Err(error) => {
                folder.remove_unused();
                Err(error)
            }
        }
    }

    /// Creates the folder once more for a run of the same caller that was ended in it and that can't
    /// be resumed, having no log of metrics and no checkpoint: what that run wrote is removed first.
    /// Anything else makes it refuse, `mspipe train`'s runs too.
    ///
    /// # Errors
    /// As [`RunFolder::create`]; when the folder has a file that such a run does not write, or its
    /// run is being written.
    pub fn create_again(config: &RunConfig, data_name: &str) -> Result<RunFolder, RunFolderError> {
        let Some(path) = config
            .output
            .out
            .as_ref()
            .filter(|path| path.join(LOCK).exists())
        else {
            return RunFolder::create(config, data_name);
        };
        drop(RunFolder::reopened(path.clone())?);
        let names = names_in(path)?;
        let known = |name: &String| {
            WRITTEN_WITHOUT_LOG.contains(&name.as_str()) || whole_file::is_temporary(name)
        };
        if let Some(other) = names.iter().find(|name| !known(name)) {
            return Err(RunFolderError::Other {
                path: path.clone(),
                found: other.clone(),
            });
        }
        for name in names {
            let file = path.join(name);
            fs::remove_file(&file).map_err(|error| failed(&file, error))?;
        }
        RunFolder::create(config, data_name)
    }

    /// Opens the folder of a run that has not ended, with its settings.
    ///
    /// # Errors
    /// When it holds no run or one that has ended, another program writes into it, or its
    /// settings can't be read.
    pub fn open(path: &Path) -> Result<(RunFolder, RunConfig), RunFolderError> {
        let config = RunFolder::unended(path)?;
        let folder = RunFolder::reopened(path.to_owned())?;
        for name in WRITTEN {
            refuse_foreign(&path.join(name))?;
        }
        Ok((folder, config))
    }

    /// The settings of a run that has not ended, of whose folder nothing is taken: a program that does not write
    /// into it reads them beside one that does.
    ///
    /// # Errors
    /// As [`RunFolder::open`].
    pub(crate) fn unended(path: &Path) -> Result<RunConfig, RunFolderError> {
        let own = || path.to_owned();
        let file = path.join(CONFIG);
        if !file.exists() {
            return Err(RunFolderError::NoRun { path: own() });
        }
        let ended = path.join(SUMMARY).exists();
        let config = RunConfig::read(&file).map_err(RunFolderError::Settings)?;
        if ended {
            return Err(match config.start.task {
                Task::Link => RunFolderError::Ended { path: own() },
                Task::Node | Task::Edge => RunFolderError::EndedClassification {
                    path: own(),
                    init: config.start.init.unwrap_or_default(),
                },
            });
        }
        Ok(config)
    }

    /// The folder `path` of a run and its settings, to ask what it has learnt.
    ///
    /// # Errors
    /// When it holds no run, or one without weights of a model.
    pub(crate) fn settings(path: &Path) -> Result<(PathBuf, RunConfig), RunFolderError> {
        weights_of(path)?;
        let config = RunConfig::read(&path.join(CONFIG)).map_err(RunFolderError::Settings)?;
        Ok((path.to_owned(), config))
    }

    /// Removes what a program left that was killed while it wrote a file.
    pub(crate) fn sweep(&self) {
        whole_file::sweep(&self.path);
    }

    /// A folder that a run was begun in, locked.
    fn reopened(path: PathBuf) -> Result<RunFolder, RunFolderError> {
        let name = path.join(LOCK);
        refuse_foreign(&name)?;
        // Nothing is ever written to it, so that nothing is cut off.
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&name).map_err(|error| failed(&name, error))?;
        Ok(RunFolder {
            lock: locked(file, &path)?,
            path,
            created: Vec::new(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what [`RunFolder::create`] made if nothing came of the run: no loss, no metric was
    /// written. What others put there meanwhile stays, and the folder with it.
    pub(crate) fn remove_unused(mut self) {
        let logs = [METRICS, LEDGER];
        let written = |name: &str| {
            fs::metadata(self.path.join(name)).is_ok_and(|metadata| metadata.len() > 0)
        };
        if logs.into_iter().any(written) {
            return;
        }
        self.lock = None;
        // The folder was empty, so that these are this run's own.
        for name in [CONFIG, METRICS, LEDGER, LOCK] {
            // What can't be removed stays; the run has failed already and says why.
            let _ = fs::remove_file(self.path.join(name));
        }
        remove_folders(&self.created);
    }

    /// Starts `metrics.jsonl`.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn metrics(&self) -> Result<MetricsLog, RunFolderError> {
        let lines = JsonLines::create(&self.path.join(METRICS))?;
        Ok(MetricsLog { lines })
    }

    /// Continues with `metrics.jsonl` after its first `bytes`.
    ///
    /// # Errors
    /// When it is shorter or can't be written.
    pub(crate) fn metrics_after(&self, bytes: u64) -> Result<MetricsLog, RunFolderError> {
        let lines = JsonLines::reopen(&self.path.join(METRICS), bytes)?;
        Ok(MetricsLog { lines })
    }

    /// Continues with `ledger.jsonl` after its first `bytes`.
    ///
    /// # Errors
    /// When it is shorter or can't be written.
    pub(crate) fn ledger_after(&self, bytes: u64) -> Result<JsonLines, RunFolderError> {
        JsonLines::reopen(&self.path.join(LEDGER), bytes)
    }

    /// Starts `ledger.jsonl`.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn ledger(&self) -> Result<JsonLines, RunFolderError> {
        JsonLines::create(&self.path.join(LEDGER))
    }

    /// Writes the trace of an epoch to `trace.json`, in place of an earlier epoch's.
    ///
    /// # Errors
    /// When it can't be written; the message names the file.
    pub(crate) fn write_trace(&self, record: &Record) -> io::Result<()> {
        self.replace(TRACE, |file| record.write_chrome(file))
    }

    /// Draws a few iterations of an epoch, from where its beginning is over, as
    /// `timeline.svg`, in place of an earlier epoch's. An epoch of no iteration has none.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_timeline(&self, record: &Record, title: &str) -> io::Result<()> {
        let from = TIMELINE_FROM.min(record.ledger.len().saturating_sub(TIMELINE_ITERATIONS));
        let timeline = Timeline {
            title: title.to_owned(),
            iterations: from..from + TIMELINE_ITERATIONS,
        };
        match timeline.svg(record) {
            Ok(svg) => self.replace(TIMELINE, |file| file.write_all(svg.as_bytes())),
            Err(_) => Ok(()),
        }
    }

    /// Writes `summary.json`.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn write_summary(&self, summary: &impl Serialize) -> Result<(), RunFolderError> {
        self.write_whole(SUMMARY, summary)
    }

    fn write_whole(&self, name: &str, value: &impl Serialize) -> Result<(), RunFolderError> {
        whole_file::write(&self.path.join(name), Existing::Replace, |file| {
            serde_json::to_writer_pretty(&mut *file, value)?;
            file.write_all(b"\n")
        })
        .map_err(RunFolderError::File)
    }

    /// Writes a file that an earlier epoch may have written.
    fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut WholeFile) -> io::Result<()>,
    ) -> io::Result<()> {
        Ok(whole_file::write(
            &self.path.join(name),
            Existing::Replace,
            write,
        )?)
    }
}

/// The weights file that `init` is, or that the run in the folder `init` has written.
///
/// # Errors
/// When the folder holds no run, or one without weights.
pub fn weights_of(init: &Path) -> Result<PathBuf, RunFolderError> {
    if init.is_file() {
        return Ok(init.to_owned());
    }
    let file = init.join(weights::FILE_NAME);
    if file.exists() {
        return Ok(file);
    }
    let (path, settings) = (init.to_owned(), init.join(CONFIG));
    Err(match RunConfig::read(&settings) {
        Ok(config) if config.start.task != Task::Link => RunFolderError::WeightsOfClassification {
            path,
            task: config.start.task.name(),
            init: config.start.init.unwrap_or_default(),
        },
        Ok(config) if config.start.seeds.is_some() => RunFolderError::SeveralRuns {
            run: init.join(format!("seed-{}", config.training.seed)),
            path,
        },
        Err(_) if !settings.exists() => RunFolderError::Settings(ConfigError::NoRun { run: path }),
        _ => RunFolderError::NoWeights { path },
    })
}

/// Locks a run's folder by its file.
fn locked(file: File, path: &Path) -> Result<Option<Arc<File>>, RunFolderError> {
    match file.try_lock() {
        Ok(()) => Ok(Some(Arc::new(file))),
        Err(TryLockError::WouldBlock) => Err(RunFolderError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// `metrics.jsonl` of a run.
#[derive(Debug)]
pub struct MetricsLog {
    lines: JsonLines,
}

impl MetricsLog {
    /// One line for each of consecutive iterations' losses.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(crate) fn losses(&mut self, epoch: usize, first: usize, losses: &[f32]) -> io::Result<()> {
        let mut lines = Vec::new();
        for (offset, loss) in losses.iter().enumerate() {
            let line = json!({"epoch": epoch, "iteration": first + offset, "loss": loss});
            writeln!(lines, "{line}")?;
        }
        self.lines.write(&lines)
    }

    /// One line for ranks that are others from here on.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(crate) fn ranks(&mut self, change: &RanksChange) -> io::Result<()> {
        let line = serde_json::to_string(change)?;
        self.lines.write(format!("{line}\n").as_bytes())
    }

    /// One line for each iteration that was probed.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(crate) fn probes(&mut self, epoch: usize, probes: &[Probe]) -> io::Result<()> {
        let mut lines = Vec::new();
        for probe in probes {
            let line = json!({"epoch": epoch, "probe": probe});
            writeln!(lines, "{line}")?;
        }
        self.lines.write(&lines)
    }

    /// One line for an epoch.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn epoch(&mut self, epoch: usize, record: &impl Serialize) -> io::Result<()> {
        let mut line = json!({"epoch": epoch});
        if let (Some(line), serde_json::Value::Object(record)) =
            (line.as_object_mut(), serde_json::to_value(record)?)
        {
            line.extend(record);
        }
        self.lines.write(format!("{line}\n").as_bytes())
    }

    /// A line that says why the run ended without a result.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(crate) fn diverged(&mut self, reason: &str) -> io::Result<()> {
        let line = json!({DIVERGED: reason});
        self.lines.write(format!("{line}\n").as_bytes())
    }

    /// Waits until all is on disk, and says how many bytes that is.
    ///
    /// # Errors
    /// When it does not get there.
    pub(crate) fn sync(&mut self) -> io::Result<u64> {
        self.lines.sync()
    }
}

/// Refuses a place that has something in it, and says what that is.
fn refuse_content(path: &Path) -> Result<(), RunFolderError> {
    let own = || path.to_owned();
    if !path.is_dir() {
        return match fs::symlink_metadata(path) {
            Ok(_) => Err(RunFolderError::NoFolder { path: own() }),
            Err(_) => Ok(()),
        };
    }
    let names = names_in(path)?;
    if names.is_empty() {
        return Ok(());
    }
    let lock = fs::symlink_metadata(path.join(LOCK));
    let is_lock = lock.is_ok_and(|lock| lock.is_file() && lock.len() == 0);
    if is_lock && names.iter().all(|name| is_of_no_run(name)) {
        // Refuses a run that is being begun.
        return RunFolder::reopened(own()).map(drop);
    }
    let has = |name: &str| names.iter().any(|found| found == name);
    // A file of the name alone is not enough: it must hold a run's settings.
    let file = path.join(CONFIG);
    let config = match has(LOCK) && file.is_file() {
        true => RunConfig::read(&file).ok(),
        false => None,
    };
    let Some(config) = config else {
        const SHOWN: usize = 3;
        let mut found = names
            .iter()
            .take(SHOWN)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if names.len() > SHOWN {
            found += &format!(" and {} more", names.len() - SHOWN);
        }
        return Err(RunFolderError::Foreign { path: own(), found });
    };
    // Refuses a run that is being written.
    drop(RunFolder::reopened(own())?);
    Err(if has(SUMMARY) {
        RunFolderError::Taken { path: own() }
    } else if has(LAST) || has(PREVIOUS) || config.start.seeds.is_some() {
        RunFolderError::Unfinished { path: own() }
    } else {
        RunFolderError::Abandoned { path: own() }
    })
}

/// What a program leaves that is killed before it has written a run's settings.
fn is_of_no_run(name: &str) -> bool {
    name == LOCK || whole_file::is_temporary(name)
}
