//! Records a run as it trains: losses, metrics, ledger, trace, weights, checkpoints.
//!
//! It stands between the run and the observer that the caller gave.
//! Invariant: when a checkpoint is written, all that was told before it is on disk, and the
//! checkpoint says how long the files of lines were; a run that continues from it cuts off what
//! came later, so that its files equal those of a run that was never interrupted.

use std::sync::Arc;
use std::{fmt, io};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::SessionError;
use super::event_log::EventLog;
use super::{Session, initial};
use crate::checkpoint::{Arrays, CheckpointError, Checkpoints, DAMAGED, Header, Loaded};
use crate::config::{RunConfig, Task};
use crate::device::ComputeDevice;
use crate::pipeline::ledger;
use crate::run_folder::{
    Dataset, DeviceRecord, JsonLines, MetricsLog, RanksChange, RunFolder, Summary,
};
use crate::train::error::TrainError;
use crate::train::learning_rate::LearningRate;
use crate::train::observer::{Observer, TrainEvent};
use crate::train::pass::Sampling;
use crate::train::ranks::Ranks;
use crate::train::saving;
use crate::weights::{self, ModelDescription};

/// What a checkpoint says of the run that it belongs to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    data: Dataset,
    device: DeviceRecord,
    config: RunConfig,
    metrics_bytes: u64,
    ledger_bytes: u64,
}

impl Session {
    /// Trains, together with other ranks if there are any, and writes down all that a run's folder holds;
    /// continues from `from`, if there is one.
    pub(super) fn train_recorded(
        &self,
        device: &ComputeDevice,
        folder: &RunFolder,
        (from, ranks): (Option<Loaded>, Option<Ranks>),
        observer: &mut Observer<'_>,
    ) -> Result<Summary, SessionError> {
        let mut recording = Recording::begin(self, device, folder, from.as_ref(), observer)?;
        let every = self.config.machine.checkpoint_every;
        let trained = self.train_from((from, ranks), every, device, folder, &mut |event| {
            recording.see(event)
        });
        if let Err(SessionError::Train(error)) = &trained
            && error.is_divergence()
        {
            recording.files.diverged(error);
        }
        let summary = trained?;
        if let Some(log) = &mut recording.log {
            log.test(&summary.test)
                .map_err(|error| SessionError::from(TrainError::Observer(error)))?;
        }
        Ok(summary)
    }
}

/// The files of lines and the checkpoints of a run.
pub(super) struct RunFiles<'a> {
    folder: &'a RunFolder,
    pub(super) metrics: MetricsLog,
    /// Of a run of iterations that the pipeline schedules: a classification has none.
    ledger: Option<JsonLines>,
    checkpoints: Checkpoints,
    identity: Identity,
}

/// Writes down what happens, and tells another observer.
pub(super) struct Recording<'a> {
    observer: &'a mut Observer<'a>,
    files: RunFiles<'a>,
    log: Option<EventLog>,
    model: ModelDescription,
    sampling: Arc<Sampling>,
}

impl<'a> RunFiles<'a> {
    /// Those in `folder`, after `loaded`, if there is one, else at the start, and what the user should
    /// know of it.
    ///
    /// # Errors
    /// When files can't be written, or `loaded` is of another run, stream or setting.
    pub(super) fn open(
        session: &Session,
        device: &ComputeDevice,
        folder: &'a RunFolder,
        loaded: Option<&Loaded>,
    ) -> Result<(RunFiles<'a>, Vec<String>), SessionError> {
        let mut identity = Identity {
            data: session.data.clone(),
            device: DeviceRecord {
                backend: device.backend.to_owned(),
                adapter: device.adapter.clone(),
            },
            config: session.config.clone(),
            metrics_bytes: 0,
            ledger_bytes: 0,
        };
        let mut warnings = Vec::new();
        let mut other_ranks = None;
        if let Some(loaded) = loaded {
            let earlier = Identity::of_run(session, loaded)?;
            identity.metrics_bytes = earlier.metrics_bytes;
            identity.ledger_bytes = earlier.ledger_bytes;
            warnings = identity.warnings(loaded, &earlier);
            other_ranks = identity.other_ranks(loaded, &earlier);
        }
        let mut metrics = folder.metrics_after(identity.metrics_bytes)?;
        if let Some(change) = &other_ranks {
            let written = metrics.ranks(change);
            written.map_err(|error| SessionError::from(TrainError::Observer(error)))?;
        }
        let ledger = match session.config.start.task {
            Task::Link => Some(folder.ledger_after(identity.ledger_bytes)?),
            Task::Node | Task::Edge => None,
        };
        let files = RunFiles {
            folder,
            metrics,
            ledger,
            checkpoints: Checkpoints::of(folder.path()),
            identity,
        };
        Ok((files, warnings))
    }

    /// Writes down why the run ended without a result.
    pub(super) fn diverged(&mut self, error: &dyn fmt::Display) {
        // It has failed and says so, whether this can be written or not.
        let _ = self.metrics.diverged(&error.to_string());
    }

    /// Writes a checkpoint, once all that was written before is on disk.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn keep(
        &mut self,
        epoch: usize,
        iteration: usize,
        state: &Arrays<'_>,
    ) -> Result<(), CheckpointError> {
        let path = |name| self.folder.path().join(name);
        let unwritable = |name| {
            let path = path(name);
            move |error| CheckpointError::Write { path, error }
        };
        self.identity.metrics_bytes = self.metrics.sync().map_err(unwritable("metrics.jsonl"))?;
        if let Some(ledger) = &mut self.ledger {
            self.identity.ledger_bytes = ledger.sync().map_err(unwritable("ledger.jsonl"))?;
        }
        let run = serde_json::to_value(&self.identity)
            .map_err(|error| unwritable("config.json")(io::Error::other(error)))?;
        self.checkpoints
            .save(&Header::new(epoch, iteration, run), state)
    }
}

impl<'a> Recording<'a> {
    /// Writes into `folder` and tells `observer`; continues after `loaded`, if there is one,
    /// else at the start.
    ///
    /// # Errors
    /// When files can't be written, or `loaded` is of another run, stream or setting.
    pub(super) fn begin(
        session: &Session,
        device: &ComputeDevice,
        folder: &'a RunFolder,
        loaded: Option<&Loaded>,
        observer: &'a mut Observer<'a>,
    ) -> Result<Recording<'a>, SessionError> {
        let config = &session.config;
        let (files, warnings) = RunFiles::open(session, device, folder, loaded)?;
        let (rate, other_rate) = learning_rate(session, loaded);
        for warning in warnings.into_iter().chain(other_rate) {
            observer(TrainEvent::Warning(&warning)).map_err(TrainError::Observer)?;
        }
        let place = loaded.map(|loaded| &loaded.checkpoint.header);
        let place = place.map(|header| (header.epoch, header.iteration));
        let logged = config.output.log.is_some();
        Ok(Recording {
            observer,
            files,
            log: logged.then(|| {
                let batches = session
                    .split
                    .train
                    .len()
                    .div_ceil(config.training.batch_events());
                EventLog::new(folder.path(), config, batches, place, Some(rate))
            }),
            model: initial::description(config, &session.model, &session.data.hash),
            sampling: session.sampling.clone(),
        })
    }
}

/// The learning rate of a run, which one that resumes from `loaded` keeps; what the user should know where its
/// ranks are others since, and would have another one.
fn learning_rate(session: &Session, loaded: Option<&Loaded>) -> (LearningRate, Option<String>) {
    let by_ranks = session.optimizer_rule().learning_rate;
    let kept = loaded.and_then(|loaded| saving::learning_rate_of(&loaded.checkpoint.arrays));
    let rate = LearningRate {
        peak: kept.unwrap_or(by_ranks.peak),
        ..by_ranks
    };
    // Reading a number may have rounded it.
    let differs = (rate.peak - by_ranks.peak).abs() > 1e-9 * rate.peak.abs();
    let said = differs.then(|| {
        format!(
            "--scale-learning-rate: the learning rate stays {:.3e}, as the ranks that the run began with made it; those of \
             now would make it {:.3e}",
            rate.peak, by_ranks.peak
        )
    });
    (rate, said)
}

impl Identity {
    /// What may make the numbers of a run that resumes from `loaded`, of the run `earlier`, others
    /// than those of one that was not interrupted.
    fn warnings(&self, loaded: &Loaded, earlier: &Identity) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(error) = &loaded.passed_over {
            let aside = loaded.path.with_file_name(DAMAGED);
            let (path, aside) = (loaded.path.display(), aside.display());
            warnings.push(format!(
                "{error}; it is now {aside}, and the run continues from the one before, {path}"
            ));
        }
        if earlier.device != self.device {
            let [began, goes_on] = [&earlier.device, &self.device]
                .map(|device| format!("{}: {}", device.backend, device.adapter));
            warnings.push(format!(
                "the run was on another device ({began}) and continues on {goes_on}: its results \
                 will not be bit-identical to those of one device"
            ));
        }
        if let Some(change) = self.other_ranks(loaded, earlier) {
            warnings.push(change.to_string());
        }
        let producer = &loaded.checkpoint.header.producer;
        let own = Header::new(0, 0, Value::Null).producer;
        if *producer != own {
            warnings.push(format!(
                "the checkpoint is of {producer}, this is {own}: its results may not be bit-identical to \
                 those of one version"
            ));
        }
        warnings
    }

    /// The ranks that continue from `loaded`, of the run `earlier`, where they are others than before.
    fn other_ranks(&self, loaded: &Loaded, earlier: &Identity) -> Option<RanksChange> {
        let [before, ranks] = [earlier, self].map(|of| of.config.training.ranks);
        let header = &loaded.checkpoint.header;
        (before != ranks).then_some(RanksChange {
            epoch: header.epoch,
            iteration: header.iteration,
            ranks,
            ranks_before: before,
        })
    }

    /// What `loaded` says of its run, which must be that of `session`.
    ///
    /// # Errors
    /// When it is of another run, stream or setting.
    pub(super) fn of_run(session: &Session, loaded: &Loaded) -> Result<Identity, SessionError> {
        let (config, now) = (&session.config, &session.data);
        let refused = |reason: String| SessionError::OtherRun {
            path: loaded.path.clone(),
            reason,
        };
        let header = &loaded.checkpoint.header;
        let earlier: Identity = serde_json::from_value(header.run.clone()).map_err(|error| {
            let producer = &header.producer;
            refused(format!(
                "its settings, by {producer}, can't be read: {error}"
            ))
        })?;
        // A stream that was moved may have another name.
        let renamed = Dataset {
            name: now.name.clone(),
            ..earlier.data.clone()
        };
        if renamed != *now {
            let say = |data: &Dataset| {
                format!(
                    "{}, {} events, {} nodes, features: {} per event, {} per node, sha256 {}",
                    data.name, data.events, data.nodes, data.edge_width, data.node_width, data.hash
                )
            };
            let source = &config.source;
            let files = [
                (source.edge_feature_file.is_some(), ", --edge-feature-file"),
                (source.node_feature_file.is_some(), ", --node-feature-file"),
            ];
            let files = files.map(|(given, option)| if given { option } else { "" });
            return Err(refused(format!(
                "it is of the stream\n  {}\nand this one is\n  {}\ngive the stream that the run \
                 began with, as it was then (--data{}, if it was moved)",
                say(&earlier.data),
                say(now),
                files.concat()
            )));
        }
        let changed = differences(earlier.config.clone(), config)
            .map_err(|error| refused(error.to_string()))?;
        if changed.is_empty() {
            Ok(earlier)
        } else {
            Err(refused(format!(
                "config.json has been changed since it was written: {}; put it back as it was, or \
                 start another run with --init",
                changed.join(", ")
            )))
        }
    }
}

/// The settings that are not as they were, as `name was then and is now`; but not those that change
/// no number, and not where the stream lies, whose content is compared itself.
fn differences(mut then: RunConfig, now: &RunConfig) -> Result<Vec<String>, serde_json::Error> {
    then.source.clone_from(&now.source);
    then.machine.clone_from(&now.machine);
    then.output.clone_from(&now.output);
    // However many ranks share a batch.
    if then.training.batch_events() == now.training.batch_events() {
        then.training.ranks = now.training.ranks;
        then.training.batch_size = now.training.batch_size;
    }
    let (then, now) = (then.by_name()?, now.by_name()?);
    // Reading a number may have rounded it.
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-14 * a.abs();
    let same = |then: &Value, now: &Value| {
        let numbers = then.as_f64().zip(now.as_f64());
        then == now || numbers.is_some_and(|(then, now)| close(then, now))
    };
    let both = then.iter().zip(now.values());
    Ok(both
        .filter(|((_, then), now)| !same(then, now))
        .map(|((name, then), now)| format!("{name} was {then} and is {now}"))
        .collect())
}

impl Recording<'_> {
    /// Writes down what there is to write of `event`, and tells the observer.
    pub(super) fn see(&mut self, event: TrainEvent<'_>) -> io::Result<()> {
        let written = self.write(event);
        if let TrainEvent::EpochRecorded(_) = event {
            // The one is tried though the other can't be written; whoever asks is told of both.
            return match (written, (self.observer)(event)) {
                (Err(trace), Err(other)) => Err(io::Error::other(format!("{trace}; {other}"))),
                (written, told) => written.and(told),
            };
        }
        written?;
        (self.observer)(event)
    }

    fn write(&mut self, event: TrainEvent<'_>) -> io::Result<()> {
        if let Some(log) = &mut self.log {
            log.see(event)?;
        }
        match event {
            TrainEvent::Losses {
                epoch,
                first,
                losses,
            } => self.files.metrics.losses(epoch, first, losses),
            TrainEvent::Ledger(lines) => {
                let mut text = Vec::new();
                ledger::write(lines, &mut text)?;
                let ledger = self.files.ledger.as_mut();
                ledger.map_or(Ok(()), |ledger| ledger.write(&text))
            }
            TrainEvent::Probed { epoch, probes } => self.files.metrics.probes(epoch, probes),
            TrainEvent::EpochRecorded(record) => self.files.folder.write_trace(record),
            TrainEvent::EpochDone { epoch, record } => self.files.metrics.epoch(epoch, record),
            TrainEvent::Best { weights, .. } => {
                let path = self.files.folder.path().join(weights::FILE_NAME);
                let constants = self.sampling.constants();
                weights::write_unread(&path, weights, &constants, Some(&self.model))
                    .map_err(io::Error::other)
            }
            TrainEvent::Checkpoint {
                epoch,
                iteration,
                state,
            } => (self.files.keep(epoch, iteration, state)).map_err(io::Error::other),
            TrainEvent::EpochBegins { .. }
            | TrainEvent::Iteration { .. }
            | TrainEvent::TrainingEnds(_)
            | TrainEvent::EvaluationBegins(_)
            | TrainEvent::Warning(_) => Ok(()),
        }
    }
}
