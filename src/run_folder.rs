//! The folder of a run: `config.json`, `metrics.jsonl`, `summary.json`.
//!
//! `config.json` holds the resolved settings, `metrics.jsonl` one line for each iteration's
//! loss and each epoch, `summary.json` what came out. `summary.json` appears under its name
//! only when it is complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use thiserror::Error;

use crate::config::{ModelName, Protocol, RunConfig, ScheduleName};
use crate::eval::LinkMetrics;
use crate::pipeline::{Stage, StageTimes};
use crate::train::epochs::{EpochRecord, TrainRecord};

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

/// The stream of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// Events used.
    pub events: usize,
    /// Nodes.
    pub nodes: usize,
    /// SHA-256 of its content.
    pub hash: String,
    /// Whether it was generated rather than observed.
    pub synthetic: bool,
    /// Width of the edge features used.
    pub edge_width: usize,
    /// Width of the node features used.
    pub node_width: usize,
}

/// The device of a run.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceRecord {
    /// `cpu` or `wgpu`.
    pub backend: String,
    /// Adapter, driver and API.
    pub adapter: String,
}

/// EdgeBank's pooled AP.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct EdgeBankRecord {
    /// On the validation part.
    pub val_ap: f64,
    /// On the test part.
    pub test_ap: f64,
}

/// What a run gave.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The stream.
    pub data: Dataset,
    /// The model.
    pub model: ModelName,
    /// The device.
    pub device: DeviceRecord,
    /// What overlapped.
    pub schedule: ScheduleName,
    /// What the numbers were measured under.
    pub protocol: Protocol,
    /// Seed.
    pub seed: u64,
    /// Events of a batch.
    pub batch_size: usize,
    /// Each epoch.
    pub epochs: Vec<EpochRecord>,
    /// Epoch (from 1) whose weights and memory the test used.
    pub best_epoch: usize,
    /// Metrics of the test part.
    pub test: LinkMetrics,
    /// The non-learning baseline.
    pub edgebank: EdgeBankRecord,
    /// Seconds in each stage, over all training epochs.
    pub stage_seconds: serde_json::Map<String, serde_json::Value>,
}

impl Summary {
    /// From a finished training.
    pub fn new(
        config: &RunConfig,
        data: Dataset,
        device: DeviceRecord,
        record: TrainRecord,
    ) -> Summary {
        Summary {
            data,
            model: config.model,
            device,
            schedule: config.schedule,
            protocol: config.protocol,
            seed: config.seed,
            batch_size: config.batch_size,
            epochs: record.epochs,
            best_epoch: record.best_epoch,
            test: record.test,
            edgebank: EdgeBankRecord {
                val_ap: record.edgebank.0,
                test_ap: record.edgebank.1,
            },
            stage_seconds: stage_seconds(&record.stage_times),
        }
    }
}

fn stage_seconds(times: &StageTimes) -> serde_json::Map<String, serde_json::Value> {
    Stage::ALL
        .into_iter()
        .map(|stage| {
            let seconds = times.of(stage).as_secs_f64();
            (stage.name().to_owned(), json!(seconds))
        })
        .collect()
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
            None => numbered_folder(Path::new("runs"), config.model, data_name)?,
        };
        let folder = RunFolder { path };
        folder.write_whole("config.json", config)?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
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

    /// Writes `summary.json`.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_summary(&self, summary: &Summary) -> Result<(), RunFolderError> {
        self.write_whole("summary.json", summary)
    }

    /// Writes a file beside its final name first, so that no half file ever has that name.
    fn write_whole(&self, name: &str, value: &impl Serialize) -> Result<(), RunFolderError> {
        let (path, part) = (self.path.join(name), self.path.join(format!("{name}.tmp")));
        let write = || -> io::Result<()> {
            let mut file = File::create(&part)?;
            serde_json::to_writer_pretty(&mut file, value)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&part, &path)
        };
        write().map_err(|source| failed(&path, source))
    }
}

fn failed(path: &Path, source: io::Error) -> RunFolderError {
    RunFolderError::Write {
        path: path.to_owned(),
        source,
    }
}

/// The first of `base/DATA-MODEL-1`, `-2`, … that does not exist yet.
fn numbered_folder(
    base: &Path,
    model: ModelName,
    data_name: &str,
) -> Result<PathBuf, RunFolderError> {
    fs::create_dir_all(base).map_err(|source| failed(base, source))?;
    let model = match model {
        ModelName::Tgn => "tgn",
    };
    let data: String = data_name
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    let mut number = 1;
    loop {
        let path = base.join(format!("{data}-{model}-{number}"));
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
    pub fn epoch(&mut self, epoch: usize, record: &EpochRecord) -> io::Result<()> {
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
