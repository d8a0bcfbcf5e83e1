//! The folder of a run: `config.json`, `metrics.jsonl`, `ledger.jsonl`, `trace.json`,
//! `timeline.svg`, `weights.safetensors`, `summary.json`.
//!
//! `config.json` holds the resolved settings, `metrics.jsonl` one line for each iteration's
//! loss and each epoch, `ledger.jsonl` how stale the memory was that each iteration read,
//! `trace.json` the stages of the last epoch as Chrome's and Perfetto's trace viewers take
//! them, `timeline.svg` a few iterations of it as a chart, `weights.safetensors` the weights of the epoch that the test used
//! (node classification trains none and has no such file), `summary.json` what came out.
//! `summary.json` is written last and appears under its name only when it is complete.

mod summary;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use thiserror::Error;

pub use summary::{Dataset, DeviceRecord, EvalSummary, NodeSummary, Setting, Summary};

use crate::config::{RunConfig, Task};
use crate::pipeline::gantt::{self, Gantt};
use crate::pipeline::trace::Record;

/// Name of the chart of a few iterations.
pub const TIMELINE: &str = "timeline.svg";

/// What it shows: so many iterations, the first of them this far into the epoch.
const TIMELINE_ITERATIONS: usize = 8;
const TIMELINE_FROM: usize = 12;

/// Why a run folder can't be used.
#[derive(Debug, Error)]
pub enum RunFolderError {
    /// It holds a run.
    #[error("{}: holds a run already (summary.json is there); choose another --out or remove it", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// It can't be written.
    #[error("{}: can't be written: {source}; choose another --out", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Creates the folder of a run and writes its settings.
    ///
    /// # Errors
    /// When it holds a run already or can't be written.
    pub fn create(config: &RunConfig, data_name: &str) -> Result<RunFolder, RunFolderError> {
        let path = match &config.out {
            Some(path) => {
                if path.join("summary.json").exists() {
                    return Err(RunFolderError::Taken { path: path.clone() });
                }
                fs::create_dir_all(path).map_err(|source| failed(path, source))?;
                path.clone()
            }
            None => numbered_folder(Path::new("runs"), config, data_name)?,
        };
        let folder = RunFolder { path };
        folder.write_whole("config.json", config)?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder if nothing came of the run: no loss, no metric was written.
    pub fn remove_unused(&self) {
        let written = |name: &str| {
            fs::metadata(self.path.join(name)).is_ok_and(|metadata| metadata.len() > 0)
        };
        if ["metrics.jsonl", "ledger.jsonl"].into_iter().any(written) {
            return;
        }
        for name in ["config.json", "metrics.jsonl", "ledger.jsonl"] {
            // What can't be removed stays; the run has failed already and says why.
            let _ = fs::remove_file(self.path.join(name));
        }
        let _ = fs::remove_dir(&self.path);
    }

    /// Starts `metrics.jsonl`.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn metrics(&self) -> Result<MetricsLog, RunFolderError> {
        let path = self.path.join("metrics.jsonl");
        let file = File::create(&path).map_err(|source| failed(&path, source))?;
        Ok(MetricsLog {
            file: BufWriter::new(file),
        })
    }

    /// Starts `ledger.jsonl`.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn ledger(&self) -> Result<BufWriter<File>, RunFolderError> {
        let path = self.path.join("ledger.jsonl");
        let file = File::create(&path).map_err(|source| failed(&path, source))?;
        Ok(BufWriter::new(file))
    }

    /// Writes the trace of an epoch to `trace.json`, in the place of an earlier epoch's.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_trace(&self, record: &Record) -> io::Result<()> {
        self.replace("trace.json", |file| {
            record.write_chrome(&mut BufWriter::new(file))
        })
    }

    /// Draws a few iterations of an epoch, from where its beginning is over, as
    /// `timeline.svg`, in the place of an earlier epoch's. An epoch of no iteration has none.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_timeline(&self, record: &Record, title: &str) -> io::Result<()> {
        let from = TIMELINE_FROM.min(record.ledger.len().saturating_sub(TIMELINE_ITERATIONS));
        let gantt = Gantt {
            title: title.to_owned(),
            iterations: from..from + TIMELINE_ITERATIONS,
            arrows: true,
        };
        match gantt::svg(record, &gantt) {
            Ok(svg) => self.replace(TIMELINE, |file| file.write_all(svg.as_bytes())),
            Err(_) => Ok(()),
        }
    }

    /// Writes `summary.json`.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_summary(&self, summary: &impl Serialize) -> Result<(), RunFolderError> {
        self.write_whole("summary.json", summary)
    }

    fn write_whole(&self, name: &str, value: &impl Serialize) -> Result<(), RunFolderError> {
        self.replace(name, |file| {
            serde_json::to_writer_pretty(&mut *file, value)?;
            file.write_all(b"\n")
        })
        .map_err(|source| failed(&self.path.join(name), source))
    }

    /// Writes a file beside its final name first, so that no half file ever has that name.
    fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let (path, part) = (self.path.join(name), self.path.join(format!("{name}.tmp")));
        let mut file = File::create(&part)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&part, &path)
    }
}

fn failed(path: &Path, source: io::Error) -> RunFolderError {
    RunFolderError::Write {
        path: path.to_owned(),
        source,
    }
}

/// The first of `base/DATA-MODEL-1`, `-2`, … that does not exist yet; for node
/// classification `base/DATA-MODEL-node-1`.
fn numbered_folder(
    base: &Path,
    config: &RunConfig,
    data_name: &str,
) -> Result<PathBuf, RunFolderError> {
    fs::create_dir_all(base).map_err(|source| failed(base, source))?;
    let data: String = data_name
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    let task = match config.task {
        Task::Link => "",
        Task::Node => "-node",
    };
    let model = config.model;
    let mut number = 1;
    loop {
        let path = base.join(format!("{data}-{model}{task}-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(failed(&path, source)),
        }
    }
}

/// `metrics.jsonl` of a run.
#[derive(Debug)]
pub struct MetricsLog {
    file: BufWriter<File>,
}

impl MetricsLog {
    /// One line for each of consecutive iterations' losses.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn losses(&mut self, epoch: usize, first: usize, losses: &[f32]) -> io::Result<()> {
        for (offset, loss) in losses.iter().enumerate() {
            let line = json!({"epoch": epoch, "iteration": first + offset, "loss": loss});
            writeln!(self.file, "{line}")?;
        }
        self.file.flush()
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
        writeln!(self.file, "{line}")?;
        self.file.flush()
    }
}
