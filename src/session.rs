//! Composition root: from a run's settings to a finished run folder. The only file that
//! names concrete types of every layer.

pub mod audited;
pub mod footprint;
mod initial;
mod profiling;
mod protocol;
mod recording;
mod stream;
mod tasks;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mspipe_datasets::{DataError, EventLog, Split};
use thiserror::Error;

use crate::checkpoint::{CheckpointError, Checkpoints, Loaded};
use crate::config::{ConfigError, MemoryPlaceName, RunConfig, SamplerName, Task};
use crate::device::{self, ComputeDevice, DeviceError};
use crate::features::Features;
use crate::graph::{GraphError, NodeId, Tcsr};
use crate::memory::clock::NodeClock;
use crate::model::ModelConfig;
use crate::model::tgl_weights::WeightError;
use crate::run_folder::{
    Dataset, DeviceRecord, EvalSummary, NodeSummary, RunFolder, RunFolderError, Setting, Summary,
};
use crate::sampling::negative::NegativeError;
use crate::sampling::{Candidates, NegativePool, NeighborSampler, Recent, Uniform};
use crate::train::epochs::{Observer, TrainError};
use crate::train::evaluation::EvalError;
use crate::train::node_classification::{NodeError, NodeObserver};
use crate::train::progress::ResumeError;
use crate::train::stages::Sampling;
use crate::weights::WeightFileError;
use footprint::{Footprint, TooLarge};
use recording::Recording;
use stream::OpenStream;
use tasks::for_model;

/// Why a run could not be made or did not end.
#[derive(Debug, Error)]
pub enum SessionError {
    /// Settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The stream.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The stream has too few events.
    #[error(
        "{name}: {events} events give {part} no event; the stream or --limit-events is too small"
    )]
    TooSmall {
        /// Name of the stream.
        name: String,
        /// Its events.
        events: usize,
        /// The part that is empty.
        part: &'static str,
    },
    /// It would not fit.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The stream's graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Negatives.
    #[error(transparent)]
    Negatives(#[from] NegativeError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The run folder.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// A weights file.
    #[error(transparent)]
    Weights(#[from] WeightFileError),
    /// A folder without weights.
    #[error(
        "{}: has no weights.safetensors; it is written when an epoch of a link prediction \
         training ends: let it go on, or give the folder of another run",
        run.display()
    )]
    NoWeights {
        /// The folder.
        run: PathBuf,
    },
    /// Weights of another model.
    #[error(
        "{}: has the weights of {found}, the settings say {expected}; give the --model and \
         --heads that they were trained with",
        path.display()
    )]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// Its model.
        found: String,
        /// The model of the settings.
        expected: String,
    },
    /// Weights that are not this model's.
    #[error(
        "{}: {misfit}; edge and node features (--edge-features, --node-features) decide widths too",
        path.display()
    )]
    Misfit {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        misfit: WeightError,
    },
    /// Mails that the device can't hold in one table.
    #[error(
        "the mails of {nodes} nodes take {bytes} bytes, {adapter} takes at most {most} in one table; \
         keep them in RAM with --memory host"
    )]
    Mailbox {
        /// Nodes of the stream.
        nodes: usize,
        /// Bytes of their mails.
        bytes: u64,
        /// The device.
        adapter: String,
        /// Its limit.
        most: u64,
    },
    /// Weights that the device did not hand over.
    #[error("weights: {0}")]
    Unreadable(WeightError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint of another run.
    #[error("{}: this checkpoint is not of this run: {reason}", path.display())]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// How it can be told.
        reason: String,
    },
    /// A checkpoint whose content is not a state of this training.
    #[error("{}: the run can't go on from this checkpoint: {error}", path.display())]
    Resume {
        /// The file.
        path: PathBuf,
        /// Why.
        error: ResumeError,
    },
    /// The training itself.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// An evaluation.
    #[error(transparent)]
    Evaluation(#[from] EvalError),
    /// Node classification.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// What the stream and the protocol give, before a device is touched.
pub struct Session {
    config: RunConfig,
    /// The stream as the run's summary describes it.
    pub data: Dataset,
    /// Parts of the stream.
    pub split: Split,
    sampling: Arc<Sampling>,
    /// The pool of negatives that the protocol does not use.
    other_pool: NegativePool,
    /// Whom destinations are ranked among, if the protocol ranks.
    candidates: Option<Candidates>,
    model: ModelConfig,
    /// Before the first event.
    clock: NodeClock,
}

impl Session {
    /// Opens the stream and prepares sampling.
    ///
    /// # Errors
    /// Settings out of range, an unreadable stream, a stream too small to split, a training that
    /// takes more memory than there is.
    pub fn open(config: RunConfig) -> Result<Session, SessionError> {
        let stream = OpenStream::open(config)?;
        if !stream.config.no_memory_check {
            Footprint::of(&stream, device::chosen(stream.config.device)?.as_ref()).check()?;
        }
        Session::of(stream)
    }

    /// Prepares sampling on `log`, whatever stream the settings name.
    ///
    /// # Errors
    /// As [`Session::open`], without a look at the memory.
    pub fn on(log: Arc<EventLog>, config: RunConfig) -> Result<Session, SessionError> {
        Session::of(OpenStream::of(config, log)?)
    }

    fn of(stream: OpenStream) -> Result<Session, SessionError> {
        let OpenStream {
            config,
            log,
            events,
            split,
            model,
            rules,
            ..
        } = stream;
        let features = Features::new(
            &log,
            config.edge_features,
            config.node_features,
            config.seed,
        );
        let src: &[NodeId] = bytemuck::cast_slice(&log.src()[..events]);
        let dst: &[NodeId] = bytemuck::cast_slice(&log.dst()[..events]);
        let time = &log.time()[..events];
        let graph = Arc::new(Tcsr::build(log.nodes(), src, dst, time, rules.directions)?);
        let mut negatives = NegativePool::destinations(dst)?;
        let mut other_pool = NegativePool::AllNodes {
            nodes: log.nodes() as u32,
        };
        let candidates = protocol::candidates(&config, &log, &negatives)?;
        if rules.all_nodes {
            std::mem::swap(&mut negatives, &mut other_pool);
        }
        let fanout = config.fanout;
        let sampler: Arc<dyn NeighborSampler> = match config.sampler {
            SamplerName::Recent => Arc::new(Recent { fanout }),
            SamplerName::Uniform => Arc::new(Uniform { fanout }),
        };
        let data = Dataset {
            name: log.name().to_owned(),
            events,
            nodes: log.nodes(),
            hash: log.hash().to_owned(),
            synthetic: log.synthetic(),
            edge_width: features.edge_width(),
            node_width: features.node_width(),
        };
        let ticks_per_unit = log.ticks_per_unit();
        let first = log.time().first().copied().unwrap_or(0);
        let clock = NodeClock::new(log.nodes(), rules.clock(ticks_per_unit, first));
        let sampling = Arc::new(Sampling {
            log,
            graph,
            sampler,
            hide_batch: rules.hide_batch,
            negatives,
            features,
            layout: rules.layout(ticks_per_unit),
            batch_size: config.batch_size,
            seed: config.seed,
            scratch: Default::default(),
        });
        Ok(Session {
            config,
            data,
            split,
            sampling,
            other_pool,
            candidates,
            model,
            clock,
        })
    }

    /// Refuses a device that can't hold the mails, the largest table of node memory: drivers
    /// say so late, and not in these words.
    ///
    /// # Errors
    /// [`SessionError::Mailbox`].
    pub fn check_tables(&self, device: &ComputeDevice) -> Result<(), SessionError> {
        let slots = self.clock.rule().mail_slots;
        let bytes = 4 * (self.data.nodes * slots * self.model.mail_width()) as u64;
        match device.table_bytes {
            Some(most)
                if bytes > most && self.config.pipeline.memory == MemoryPlaceName::Device =>
            {
                Err(SessionError::Mailbox {
                    nodes: self.data.nodes,
                    bytes,
                    adapter: device.adapter.clone(),
                    most,
                })
            }
            _ => Ok(()),
        }
    }

    /// Builds the model and its memory on `device` and trains; call it on the device thread.
    /// Weights and summary go into `folder`; all else is the observer's.
    ///
    /// # Errors
    /// Node memory that the device can't hold; see [`TrainError`].
    pub fn train(
        &self,
        device: &ComputeDevice,
        folder: &RunFolder,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Summary, SessionError> {
        self.check_tables(device)?;
        let work = tasks::Train {
            session: self,
            device,
            folder,
            from: None,
            observer,
            stop,
        };
        for_model(self.config.model, work)
    }

    /// Trains and writes down all that a run's folder holds; goes on from `from`, if there is
    /// one.
    fn train_recorded(
        &self,
        device: &ComputeDevice,
        folder: &RunFolder,
        from: Option<Loaded>,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Summary, SessionError> {
        let mut recording = Recording::begin(self, device, folder, from.as_ref(), observer)?;
        let work = tasks::Train {
            session: self,
            device,
            folder,
            from,
            observer: &mut recording,
            stop,
        };
        for_model(self.config.model, work)
    }

    /// What the numbers of this session belong to, on `device`.
    fn setting(&self, task: &'static str, device: &ComputeDevice) -> Setting {
        let device = DeviceRecord {
            backend: device.backend.to_owned(),
            adapter: device.adapter.clone(),
        };
        Setting::new(&self.config, task, self.data.clone(), device)
    }

    /// The weights to begin with, where they are needed.
    fn initial_weights(&self) -> Result<PathBuf, ConfigError> {
        self.config.init.clone().ok_or(ConfigError::Missing {
            option: "init",
            expected: "give the folder of a link prediction run, or a weights file",
        })
    }

    /// Stream, graph and rules, with the protocol's own negatives.
    pub fn sampling(&self) -> &Arc<Sampling> {
        &self.sampling
    }

    /// The run's settings.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }
}

/// What a training with these settings takes of RAM and of the device's memory. Builds nothing
/// (a stream that has not been converted yet is converted).
///
/// # Errors
/// Settings out of range, an unreadable stream, a device that is not there.
pub fn footprint(config: RunConfig) -> Result<Footprint, SessionError> {
    let adapter = device::chosen(config.device)?;
    let stream = OpenStream::open(config)?;
    Ok(Footprint::of(&stream, adapter.as_ref()))
}

/// As [`footprint()`], on a stream that is open, whatever the settings call theirs.
///
/// # Errors
/// Settings out of range, a device that is not there.
pub fn footprint_on(log: EventLog, config: RunConfig) -> Result<Footprint, SessionError> {
    let adapter = device::chosen(config.device)?;
    let stream = OpenStream::of(config, Arc::new(log))?;
    Ok(Footprint::of(&stream, adapter.as_ref()))
}

/// Opens stream and device and does `work`, all that touches tensors on the device thread.
fn on_device<T: Send>(
    config: RunConfig,
    work: impl FnOnce(&Session, &ComputeDevice) -> Result<T, SessionError> + Send,
) -> Result<T, SessionError> {
    if let Some(threads) = config.threads {
        // Fails only if the pool was started before, by a caller that set its own size.
        let _ = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global();
    }
    let session = Session::open(config)?;
    device::on_device_thread(|| {
        let device = device::open(session.config.device)?;
        session.check_tables(&device)?;
        work(&session, &device)
    })?
}

/// Opens stream, device and run folder and trains for link prediction, whatever the task.
/// `begin` is told of the session, the device and the folder before.
///
/// # Errors
/// See [`SessionError`].
pub fn run<O: Observer>(
    config: RunConfig,
    stop: &AtomicBool,
    begin: impl FnOnce(&Session, &ComputeDevice, &RunFolder) -> Result<O, RunFolderError> + Send,
) -> Result<(Summary, RunFolder), SessionError> {
    on_device(config, |session, device| {
        let folder = RunFolder::create(&session.config, &session.data.name)?;
        let trained = begin(session, device, &folder)
            .map_err(SessionError::from)
            .and_then(|mut observer| {
                session.train_recorded(device, &folder, None, &mut observer, stop)
            });
        kept_if_used(trained, folder)
    })
}

/// Goes on with the run in `folder` from its last checkpoint, or from the start if it has none
/// yet. `change` may change settings that change no number; `begin` is told of the session, the
/// device, the folder, and where the run goes on: epoch and iteration.
///
/// # Errors
/// See [`SessionError`].
pub fn resume<O: Observer>(
    folder: &Path,
    change: impl FnOnce(&mut RunConfig) -> Result<(), ConfigError>,
    stop: &AtomicBool,
    begin: impl FnOnce(
        &Session,
        &ComputeDevice,
        &RunFolder,
        Option<(usize, usize)>,
    ) -> Result<O, RunFolderError>
    + Send,
) -> Result<(Summary, RunFolder), SessionError> {
    let (folder, mut config) = RunFolder::open(folder)?;
    change(&mut config)?;
    let from = Checkpoints::of(folder.path()).load()?;
    on_device(config, |session, device| {
        let header = from.as_ref().map(|loaded| &loaded.checkpoint.header);
        let place = header.map(|header| (header.epoch, header.iteration));
        let mut observer = begin(session, device, &folder, place)?;
        let summary = session.train_recorded(device, &folder, from, &mut observer, stop)?;
        Ok((summary, folder))
    })
}

/// What a run gave, with its folder; the folder of a run that failed at once is removed.
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

/// Opens stream, device and run folder and classifies nodes on the embeddings of the
/// weights of `--init`. `begin` is told of the session, the device and the folder before.
///
/// # Errors
/// See [`SessionError`].
pub fn classify_nodes<O: NodeObserver>(
    mut config: RunConfig,
    begin: impl FnOnce(&Session, &ComputeDevice, &RunFolder) -> Result<O, RunFolderError> + Send,
) -> Result<(NodeSummary, RunFolder), SessionError> {
    config.task = Task::Node;
    on_device(config, |session, device| {
        let weights = session.initial_weights()?;
        let folder = RunFolder::create(&session.config, &session.data.name)?;
        let classified = begin(session, device, &folder)
            .map_err(SessionError::from)
            .and_then(|mut observer| {
                let work = tasks::ClassifyNodes {
                    session,
                    device,
                    folder: &folder,
                    weights,
                    observer: &mut observer,
                };
                for_model(session.config.model, work)
            });
        kept_if_used(classified, folder)
    })
}

/// Opens stream and device and evaluates the weights of `--init`: builds the memory of the
/// training part without training, then validates and tests. `begin` is told of the
/// session and the device before; what it returns is told which part begins.
///
/// # Errors
/// See [`SessionError`].
pub fn evaluate<P: FnMut(&str)>(
    config: RunConfig,
    begin: impl FnOnce(&Session, &ComputeDevice) -> P + Send,
) -> Result<EvalSummary, SessionError> {
    on_device(config, |session, device| {
        let work = tasks::Evaluate {
            session,
            device,
            weights: session.initial_weights()?,
            begins: &mut begin(session, device),
        };
        for_model(session.config.model, work)
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        run: RunConfig,
    }

    #[test]
    fn mails_that_fit_in_no_table_are_refused_with_the_way_out() {
        let session = |memory: &str| {
            let data = "--data=synthetic:wikipedia:scale=0.01";
            let arguments = ["test", data, "--model=apan", "--memory", memory];
            Session::open(Program::parse_from(arguments).run).unwrap()
        };
        let mut device = device::open(device::DeviceChoice::Cpu).unwrap();
        let on_device = session("device");
        assert!(on_device.check_tables(&device).is_ok(), "RAM has no limit");
        let bytes = 4 * (on_device.data.nodes * 10 * on_device.model.mail_width()) as u64;
        device.table_bytes = Some(bytes);
        assert!(on_device.check_tables(&device).is_ok());
        device.table_bytes = Some(bytes - 1);
        let error = on_device.check_tables(&device).unwrap_err().to_string();
        assert!(error.contains(&format!("{bytes} bytes")), "{error}");
        assert!(error.contains("--memory host"), "{error}");
        assert!(session("host").check_tables(&device).is_ok());
    }
}
