//! What a command does with its settings: opens stream, device and run folder, and works.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use mspipe_datasets::{EventLog, Stop};

use super::footprint::Footprint;
use super::opening::Begin;
use super::ranks::{Roles, on_ranks};
use super::recording::Identity;
use super::scores::ScoresTo;
use super::stream::{InitialWeights, OpenStream};
use super::{Measured, Session, SessionError};
use crate::checkpoint::{Checkpoints, Loaded};
use crate::config::{self, ConfigError, RunConfig};
use crate::device::{self, ComputeDevice};
use crate::ranks::{Launch, Started};
use crate::run_folder::{ClassificationSummary, EvalSummary, RunFolder, RunFolderError, Summary};
use crate::train::classification::{ClassificationEvent, LabelOf, Place};
use crate::train::observer::TrainEvent;

/// Tells `told` the RAM and device memory that a run with these settings needs, and what the user
/// should know of stream and settings. If it fits, does
/// all that the run does before it trains, so that what it would refuse at its start is refused now.
/// Writes nothing (but a stream that has not been converted yet is converted, which `stop` ends
/// early).
///
/// # Errors
/// What the run would refuse; a run that does not fit.
pub fn dry_run(
    mut config: RunConfig,
    stop: &Stop,
    told: impl FnOnce(&Footprint, &[String]),
) -> Result<(), SessionError> {
    if of_a_job(&config) {
        let roles = Roles {
            check: |config: &RunConfig, first: bool| {
                if first {
                    RunFolder::check(config)?;
                }
                Ok(Begin::Fresh)
            },
            told,
            beside: |session: &Session, device: &ComputeDevice, _| session.check_start(device),
            work: |session: &Session, device: &ComputeDevice, _| session.check_start(device),
        };
        return on_ranks(config, stop, roles);
    }
    if config.training.ranks == Some(Launch::Mpi(None)) && Started::alone() {
        config.training.ranks = Some(Launch::Mpi(Some(1)));
    }
    RunFolder::check(&config)?;
    config::start_threads(config.machine.threads)?;
    let stream = OpenStream::open(config, Begin::Fresh, stop)?;
    estimated(stream, stop, told)?.with_device(Session::check_start)
}

/// Whether the run is one of several processes, which have to talk about what they need together.
fn of_a_job(config: &RunConfig) -> bool {
    matches!(config.training.ranks, Some(Launch::Mpi(_))) && Started::together().is_some()
}

/// The same for the run in `folder`, which is to continue from its last checkpoint; `change` as for
/// [`resume`].
///
/// # Errors
/// As [`dry_run`]; what can't be resumed.
pub fn dry_resume(
    folder: &Path,
    change: impl FnOnce(&mut RunConfig) -> Result<(), ConfigError>,
    stop: &Stop,
    told: impl FnOnce(&Footprint, &[String]),
) -> Result<(), SessionError> {
    let path = folder;
    let mut config = RunFolder::unended(path)?;
    change(&mut config)?;
    let checkpoints = Checkpoints::of(path);
    if of_a_job(&config) {
        let check_start = |session: &Session, device: &ComputeDevice| {
            if let Some(loaded) = &checkpoints.find()? {
                Identity::of_run(session, loaded)?;
            }
            session.check_start(device)
        };
        let roles = Roles {
            check: |_: &RunConfig, first: bool| {
                if first {
                    RunFolder::open(path)?;
                }
                Ok(Begin::from(checkpoints.find()?.as_ref()))
            },
            told,
            beside: |session: &Session, device: &ComputeDevice, _| check_start(session, device),
            work: |session: &Session, device: &ComputeDevice, _| check_start(session, device),
        };
        return on_ranks(config, stop, roles).map_err(|error| error.of_resumed(path));
    }
    let (folder, _) = RunFolder::open(path)?;
    let from = checkpoints.find()?;
    config::start_threads(config.machine.threads)?;
    let checked = || {
        let stream = OpenStream::open(config, Begin::from(from.as_ref()), stop)?;
        let session = estimated(stream, stop, told)?;
        if let Some(loaded) = &from {
            Identity::of_run(&session, loaded)?;
        }
        session.with_device(Session::check_start)
    };
    checked().map_err(|error| error.of_resumed(folder.path()))
}

/// What the user should know of an estimate of one of several processes.
fn one_of_several(config: &RunConfig) -> Vec<String> {
    let note = match config.training.ranks {
        Some(Launch::Mpi(Some(ranks @ 2..))) => Some(format!(
            "--ranks mpi:{ranks}: this is what one process needs, as if the machine were its own; mpirun -n {ranks} \
             mspipe train … --dry-run adds up what those of each machine need"
        )),
        _ => None,
    };
    note.into_iter().collect()
}

/// Says nothing of what a run needs: the run itself says it.
fn untold(_: &Footprint, _: &[String]) {}

/// A session on `stream` that fits; what it needs is told before.
fn estimated(
    stream: OpenStream,
    stop: &Stop,
    told: impl FnOnce(&Footprint, &[String]),
) -> Result<Session, SessionError> {
    let adapter = device::chosen(stream.config.device)?;
    let footprint = Footprint::of(&stream, adapter.as_ref());
    let notes = [stream.notes(), one_of_several(&stream.config)].concat();
    told(&footprint, &notes);
    footprint.check()?;
    Ok(Session::of(stream, stop.clone())?.estimated_at(&footprint))
}

/// The RAM and device memory that a run with these settings needs on a stream that is open, whatever
/// the settings call theirs.
///
/// # Errors
/// Settings out of range, a device that is not there.
pub fn estimate_on(log: EventLog, config: RunConfig) -> Result<Footprint, SessionError> {
    let adapter = device::chosen(config.device)?;
    let stream = OpenStream::of(config, Arc::new(log), None)?;
    Ok(Footprint::of(&stream, adapter.as_ref()))
}

/// Opens stream and device and does `work`, all that touches tensors on the device thread.
fn on_device<T: Send>(
    config: RunConfig,
    begin: Begin,
    stop: &Stop,
    work: impl FnOnce(&Session, &ComputeDevice) -> Result<T, SessionError> + Send,
) -> Result<T, SessionError> {
    config::start_threads(config.machine.threads)?;
    let stream = OpenStream::open(config, begin, stop)?;
    Session::checked(stream, stop.clone())?.with_device(work)
}

/// The same on a stream that is open.
fn on_stream<T: Send>(
    log: &Arc<EventLog>,
    mut config: RunConfig,
    work: impl FnOnce(&Session, &ComputeDevice) -> Result<T, SessionError> + Send,
) -> Result<T, SessionError> {
    if config.source.data.is_empty() {
        log.name().clone_into(&mut config.source.data);
    }
    config::start_threads(config.machine.threads)?;
    config.validate()?;
    let weights = InitialWeights::open(&config)?;
    let stream = OpenStream::of(config, log.clone(), weights)?;
    Session::checked(stream, Stop::default())?.with_device(work)
}

/// Trains once for link prediction on `log` and writes all that a run's folder holds; `observer` is told
/// what happens, and ends the run with an error. The stream may be one in memory
/// ([`EventLog::from_parts`]): the settings' own `data` is not opened.
///
/// # Errors
/// See [`SessionError`].
pub fn train_on(
    log: &Arc<EventLog>,
    mut config: RunConfig,
    mut observer: impl FnMut(TrainEvent<'_>) -> io::Result<()> + Send,
) -> Result<(Summary, RunFolder), SessionError> {
    config.start.seeds = None;
    RunFolder::check(&config)?;
    on_stream(log, config, |session, device| {
        let folder = RunFolder::create(&session.config, &session.data.name)?;
        let trained = session.train_recorded(device, &folder, (None, None), &mut observer);
        kept_if_used(trained, folder)
    })
}

/// Measures the weights of the settings' `init` on `log`, without training: builds the memory of the
/// training part, then validates and tests.
///
/// # Errors
/// See [`SessionError`].
pub fn evaluate_on(log: &Arc<EventLog>, config: RunConfig) -> Result<EvalSummary, SessionError> {
    on_stream(log, config, |session, device| {
        session.evaluate(device, Measured::ValidationAndTest, None, &mut |_| ())
    })
}

/// Opens stream, device and run folder and trains once for link prediction, whatever task and however
/// many seeds the settings say.
/// `begin` is told of the session, the device and the folder before; what it returns is told what
/// happens.
///
/// # Errors
/// See [`SessionError`].
pub fn run<O: FnMut(TrainEvent<'_>) -> io::Result<()>>(
    mut config: RunConfig,
    stop: &Stop,
    begin: impl FnOnce(&Session, &ComputeDevice, &RunFolder) -> Result<O, RunFolderError> + Send,
) -> Result<(Summary, RunFolder), SessionError> {
    config.start.seeds = None;
    let roles = Roles {
        check: |config: &RunConfig, first: bool| {
            if first {
                RunFolder::check(config)?;
            }
            Ok(Begin::Fresh)
        },
        told: untold,
        beside: |session: &Session, device: &ComputeDevice, ranks| {
            session.train_beside(None, device, ranks)
        },
        work: |session: &Session, device: &ComputeDevice, ranks| {
            let _unfinished = stop.unfinished();
            let folder = RunFolder::create(&session.config, &session.data.name)?;
            let trained = begin(session, device, &folder)
                .map_err(SessionError::from)
                .and_then(|mut observer| {
                    session.train_recorded(device, &folder, (None, ranks), &mut observer)
                });
            kept_if_used(trained, folder)
        },
    };
    on_ranks(config, stop, roles)
}

/// Continues with the run in `folder` from its last checkpoint, or from the start if it has none
/// yet. `change` may change settings that change no number; `begin` is told of the session, the
/// device, the folder, and where the run continues: epoch and iteration; what it returns is told what
/// happens.
///
/// # Errors
/// See [`SessionError`].
pub fn resume<O: FnMut(TrainEvent<'_>) -> io::Result<()>>(
    folder: &Path,
    change: impl FnOnce(&mut RunConfig) -> Result<(), ConfigError>,
    stop: &Stop,
    begin: impl FnOnce(
        &Session,
        &ComputeDevice,
        &RunFolder,
        Option<(usize, usize)>,
    ) -> Result<O, RunFolderError>
    + Send,
) -> Result<(Summary, RunFolder), SessionError> {
    let mut config = RunFolder::unended(folder)?;
    change(&mut config)?;
    let checkpoints = Checkpoints::of(folder);
    // What rank 0 alone has: the folder, locked, and what it continues from.
    let held = Mutex::new(None);
    let lock = || held.lock().unwrap_or_else(PoisonError::into_inner);
    let roles = Roles {
        check: |_: &RunConfig, first: bool| {
            if !first {
                return Ok(Begin::from(checkpoints.find()?.as_ref()));
            }
            let (folder, _) = RunFolder::open(folder)?;
            folder.sweep();
            let from = checkpoints.load()?;
            let begins = Begin::from(from.as_ref());
            *lock() = Some((folder, from));
            Ok(begins)
        },
        told: untold,
        // Rank 0 writes none before all ranks have trained on from this one.
        beside: |session: &Session, device: &ComputeDevice, ranks| {
            session.train_beside(checkpoints.find()?, device, ranks)
        },
        work: |session: &Session, device: &ComputeDevice, ranks| {
            let _unfinished = stop.unfinished();
            let Some((folder, from)) = lock().take() else {
                unreachable!("rank 0 has checked its folder");
            };
            let place = from.as_ref().map(Loaded::place);
            let mut observer = begin(session, device, &folder, place)?;
            let summary = session.train_recorded(device, &folder, (from, ranks), &mut observer)?;
            Ok((summary, folder))
        },
    };
    on_ranks(config, stop, roles).map_err(|error| error.of_resumed(folder))
}

/// Results of a run, with its folder; the folder of a run that failed at once is removed.
fn kept_if_used<T>(
    result: Result<T, SessionError>,
    folder: RunFolder,
) -> Result<(T, RunFolder), SessionError> {
    match result {
        Ok(summary) => Ok((summary, folder)),
        Err(error) => {
            folder.remove_unused();
            Err(error)
        }
    }
}

/// Opens stream, device and run folder and classifies labels, of nodes or of events as the task says, on
/// the embeddings of the weights of `--init`. `begin` is told of the session, the device and the folder
/// before; what it returns is told what happens.
///
/// # Errors
/// See [`SessionError`].
pub fn classify<O: FnMut(ClassificationEvent<'_>) -> io::Result<()>>(
    config: RunConfig,
    stop: &Stop,
    begin: impl FnOnce(&Session, &ComputeDevice, &RunFolder) -> O + Send,
) -> Result<(ClassificationSummary, RunFolder), SessionError> {
    let of = label_of(&config)?;
    RunFolder::check(&config)?;
    on_device(config, Begin::Fresh, stop, |session, device| {
        let _unfinished = stop.unfinished();
        let folder = RunFolder::create(&session.config, &session.data.name)?;
        let mut observer = begin(session, device, &folder);
        let classified = session.classify_recorded(of, None, device, &folder, &mut observer);
        kept_if_used(classified, folder)
    })
}

/// Continues with the classification in `folder` as [`resume`] does with a run of link prediction; epoch 0
/// is the pass over the stream.
///
/// # Errors
/// See [`SessionError`].
pub fn resume_classification<O: FnMut(ClassificationEvent<'_>) -> io::Result<()>>(
    folder: &Path,
    change: impl FnOnce(&mut RunConfig) -> Result<(), ConfigError>,
    stop: &Stop,
    begin: impl FnOnce(&Session, &ComputeDevice, &RunFolder, Option<Place>) -> O + Send,
) -> Result<(ClassificationSummary, RunFolder), SessionError> {
    let path = folder;
    let (folder, mut config) = RunFolder::open(path)?;
    change(&mut config)?;
    let of = label_of(&config)?;
    folder.sweep();
    let from = Checkpoints::of(folder.path()).load()?;
    let begins = Begin::from(from.as_ref());
    on_device(config, begins, stop, |session, device| {
        let _unfinished = stop.unfinished();
        let header = from.as_ref().map(|loaded| &loaded.checkpoint.header);
        let place = header.map(|header| Place {
            epoch: header.epoch,
            batch: header.iteration,
        });
        let mut observer = begin(session, device, &folder, place);
        let summary = session.classify_recorded(of, from, device, &folder, &mut observer)?;
        Ok((summary, folder))
    })
    .map_err(|error| error.of_resumed(path))
}

/// What labels the task of the settings is about.
fn label_of(config: &RunConfig) -> Result<LabelOf, ConfigError> {
    config.start.task.label_of().ok_or(ConfigError::Range {
        option: "task",
        found: config.start.task.name().to_owned(),
        expected: "node or edge: labels are to be classified",
    })
}

/// Opens stream and device and evaluates the weights of `--init`: builds the memory of the
/// training part without training, then validates and tests, or tests alone. `begin` is told of the
/// session and the device before; what it returns is told which part begins. All scores go `to` a
/// table, if one is given.
///
/// # Errors
/// See [`SessionError`].
pub fn evaluate<P: FnMut(&str)>(
    config: RunConfig,
    measured: Measured,
    to: Option<&ScoresTo>,
    stop: &Stop,
    begin: impl FnOnce(&Session, &ComputeDevice) -> P + Send,
) -> Result<EvalSummary, SessionError> {
    on_device(config, Begin::Fresh, stop, |session, device| {
        session.evaluate(device, measured, to, &mut begin(session, device))
    })
}
