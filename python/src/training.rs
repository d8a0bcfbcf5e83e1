//! Runs, as `mspipe train` has them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mspipe::checkpoint::LAST;
use mspipe::config::{self, ConfigError, Purpose, Task};
use mspipe::device::ComputeDevice;
use mspipe::report::run as run_report;
use mspipe::run_folder::RunFolderError;
use mspipe::session::{self, SeedsObserver, Session};
use mspipe::train::classification::ClassificationEvent;
use mspipe::{RunConfig, RunFolder, SessionError, Summary, TrainEvent};
use mspipe_datasets::{DataError, Stop};
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::dataset::Settings;
use super::error::{raised, refused};
use super::work::{self, Teller, Turn, detached, supervised};

/// Progress is told no oftener.
const PACE: Duration = Duration::from_millis(200);

/// Tells of a run, or of several.
#[derive(Clone)]
struct Told {
    teller: Teller,
    /// The folder of the first, where it can be resumed.
    folder: Arc<OnceLock<PathBuf>>,
    /// Another training waits for it.
    is_awaited: bool,
}

impl Told {
    /// Waits until a training may begin that asks for so many threads; one that another waits for may at once.
    fn turn(&self, threads: Option<usize>, stop: &Stop) -> Result<Option<Turn>, SessionError> {
        config::start_threads(threads)?;
        let turn = (!self.is_awaited).then(|| Turn::take(stop)).transpose();
        Ok(turn.map_err(DataError::from)?)
    }

    fn run(&self, session: &Session, device: &ComputeDevice, folder: &RunFolder) {
        self.folder.get_or_init(|| folder.path().to_owned());
        let config = session.config();
        let told = json!({
            "folder": folder.path(),
            "epochs": config.training.epochs,
            "seed": config.training.seed,
            "hash": session.data.hash,
            "adapter": device.adapter,
            "notes": session.notes,
        });
        self.teller.tell("run", told);
        if let Some(text) = other_threads(config.machine.threads) {
            self.teller.tell("warning", json!(text));
        }
    }

    fn epoch(&self, epoch: usize, record: &impl Serialize) {
        let told = json!({"epoch": epoch, "record": record});
        self.teller.tell_and_wait("epoch", told);
    }

    /// Who is told of a run of link prediction.
    fn link(
        &self,
        session: &Session,
        device: &ComputeDevice,
        folder: &RunFolder,
    ) -> Box<dyn FnMut(TrainEvent<'_>) -> io::Result<()>> {
        self.run(session, device, folder);
        let (told, folder, title) = (self.clone(), folder.clone(), session.timeline_title());
        let (mut epoch_of, mut all, mut last) = (0, 0, Instant::now());
        Box::new(move |event| {
            match event {
                TrainEvent::EpochBegins { epoch, iterations } => {
                    (epoch_of, all) = (epoch, iterations)
                }
                TrainEvent::Iteration { iteration, events } if last.elapsed() >= PACE => {
                    last = Instant::now();
                    let now = json!({"epoch": epoch_of, "iteration": iteration + 1, "iterations": all, "events": events});
                    told.teller.tell("iteration", now);
                }
                // As the command draws it.
                TrainEvent::EpochRecorded(record) => folder.write_timeline(record, &title)?,
                TrainEvent::EvaluationBegins(part) => told.teller.tell("evaluating", json!(part)),
                TrainEvent::EpochDone { epoch, record } => told.epoch(epoch, record),
                TrainEvent::TrainingEnds(ended) => {
                    told.teller.tell("ended", json!(ended.to_string()));
                }
                TrainEvent::Warning(text) => told.teller.tell("warning", json!(text)),
                _ => {}
            }
            Ok(())
        })
    }

    /// Who is told of a classification.
    fn labels(
        &self,
        session: &Session,
        device: &ComputeDevice,
        folder: &RunFolder,
    ) -> impl FnMut(ClassificationEvent<'_>) -> io::Result<()> + use<> {
        self.run(session, device, folder);
        let told = self.clone();
        move |event| {
            match event {
                ClassificationEvent::EpochDone { epoch, record, .. } => told.epoch(epoch, record),
                ClassificationEvent::Warning(text) => told.teller.tell("warning", json!(text)),
                _ => {}
            }
            Ok(())
        }
    }

    /// Writes the page of a run that has ended.
    fn page(&self, folder: &Path) {
        if let Err(error) = run_report::write(folder) {
            let text = format!("report: {error}");
            self.teller.tell("warning", json!(text));
        }
    }
}

impl SeedsObserver for Told {
    type Run = Box<dyn FnMut(TrainEvent<'_>) -> io::Result<()>>;

    fn begins(
        &mut self,
        session: &Session,
        device: &ComputeDevice,
        folder: &RunFolder,
        _place: Option<(usize, usize)>,
    ) -> Result<Self::Run, RunFolderError> {
        // All of them resume together, in the folder above.
        let above = folder.path().parent().unwrap_or(folder.path());
        self.folder.get_or_init(|| above.to_owned());
        Ok(self.link(session, device, folder))
    }

    fn ended(&mut self, _summary: &Summary, folder: &RunFolder) {
        self.page(folder.path());
    }
}

/// Trains as the settings say.
fn trained(config: RunConfig, stop: &Stop, mut told: Told) -> Result<RunFolder, SessionError> {
    let _turn = told.turn(config.machine.threads, stop)?;
    let folder = if config.start.task != Task::Link {
        let begin = |session: &Session, device: &ComputeDevice, folder: &RunFolder| {
            told.labels(session, device, folder)
        };
        session::classify(config, stop, begin)?.1
    } else if config.start.seeds.is_some() {
        return session::run_seeds(&config, stop, &mut told).map(|(_, folder)| folder);
    } else {
        let begin = |session: &Session, device: &ComputeDevice, folder: &RunFolder| {
            Ok(told.link(session, device, folder))
        };
        session::run(config, stop, begin)?.1
    };
    told.page(folder.path());
    Ok(folder)
}

/// What to say of threads that were asked for in a process that has others already.
pub(crate) fn other_threads(asked: Option<usize>) -> Option<String> {
    let here = rayon::current_num_threads();
    let asked = asked.filter(|asked| *asked != here)?;
    Some(format!(
        "threads={asked}: this process has begun with {here}, and keeps them"
    ))
}

/// Continues with the run in `folder`, whose stream is at `data` if it was moved.
fn resumed(
    folder: &Path,
    data: Option<String>,
    stop: &Stop,
    mut told: Told,
) -> Result<RunFolder, SessionError> {
    let run = RunFolder::open(folder)?.1;
    let _turn = told.turn(run.machine.threads, stop)?;
    let moved = |config: &mut RunConfig| {
        if let Some(data) = &data {
            config.source.data.clone_from(data);
        }
        Ok::<(), ConfigError>(())
    };
    let folder = if run.start.seeds.is_some() {
        return session::resume_seeds(folder, moved, stop, &mut told).map(|(_, folder)| folder);
    } else if run.start.task != Task::Link {
        session::resume_classification(folder, moved, stop, |session, device, folder, _| {
            told.labels(session, device, folder)
        })?
        .1
    } else {
        session::resume(folder, moved, stop, |session, device, folder, _| {
            Ok(told.link(session, device, folder))
        })?
        .1
    };
    told.page(folder.path());
    Ok(folder)
}

/// Does `work` and raises what ended it, with how to resume.
fn to_its_end(
    py: Python<'_>,
    tell: &Bound<'_, PyAny>,
    work: impl FnOnce(&Stop, Told) -> Result<RunFolder, SessionError> + Send,
) -> PyResult<PathBuf> {
    let (stop, folder) = (Stop::default(), Arc::new(OnceLock::new()));
    let is_awaited = work::is_awaited();
    let (result, exception) = supervised(py, &stop, Some(tell), |teller| {
        let folder = folder.clone();
        let told = Told {
            teller,
            folder,
            is_awaited,
        };
        work(&stop, told)
    })?;
    let hint = match &result {
        // A signal that came too late.
        Ok(folder) => Some(format!(
            "the run has ended; read it with: mspipe.Run({:?})",
            folder.path().display().to_string()
        )),
        Err(_) => folder.get().filter(|run| is_kept(run)).map(|run| {
            let run = run.display().to_string();
            format!("resume with: mspipe.resume({run:?})")
        }),
    };
    if let Some(exception) = exception {
        if let Some(hint) = hint {
            exception.value(py).call_method1("add_note", (hint,))?;
        }
        return Err(exception);
    }
    match (result, hint) {
        (Ok(folder), _) => Ok(folder.path().to_owned()),
        (Err(error), Some(hint)) => Err(raised(format!("{error}\n{hint}"))),
        (Err(error), None) => Err(raised(error)),
    }
}

/// Whether the run in `folder`, or one below it, has a checkpoint.
fn is_kept(folder: &Path) -> bool {
    let below = std::fs::read_dir(folder).into_iter().flatten().flatten();
    folder.join(LAST).exists()
        || below
            .into_iter()
            .any(|entry| entry.path().join(LAST).exists())
}

/// Trains and returns the run's folder; `tell` is called with the kind and the JSON of what happens.
#[pyfunction]
pub(crate) fn fit(
    py: Python<'_>,
    settings: Settings,
    tell: &Bound<'_, PyAny>,
) -> PyResult<PathBuf> {
    let config = RunConfig::of_names(&settings, Purpose::Train).map_err(refused)?;
    to_its_end(py, tell, |stop, told| trained(config, stop, told))
}

/// Continues with a run that has not ended.
#[pyfunction]
pub(crate) fn resume(
    py: Python<'_>,
    folder: PathBuf,
    data: Option<String>,
    tell: &Bound<'_, PyAny>,
) -> PyResult<PathBuf> {
    to_its_end(py, tell, |stop, told| resumed(&folder, data, stop, told))
}

/// Writes the page of the run in `folder` and returns where.
#[pyfunction]
pub(crate) fn report(py: Python<'_>, folder: PathBuf) -> PyResult<PathBuf> {
    detached(py, || run_report::write(&folder))?.map_err(raised)
}

/// Refuses settings that a run would refuse whatever its stream is.
#[pyfunction]
pub(crate) fn check(mut settings: Settings) -> PyResult<()> {
    settings.push(("data".to_owned(), "-".to_owned()));
    let config = RunConfig::of_names(&settings, Purpose::Train);
    config.map(drop).map_err(refused)
}
