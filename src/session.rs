//! Composition root: from a run's settings to a finished run folder. The only file that
//! names concrete types of every layer.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mspipe_datasets::{DataError, EventLog, OpenOptions, Split};
use thiserror::Error;

use crate::batch::TimeDelta;
use crate::config::{
    ConfigError, MemoryWriteName, ModelName, Protocol, RunConfig, SamplerName, TimeDeltaName,
};
use crate::device::{self, ComputeDevice, DeviceError};
use crate::features::Features;
use crate::graph::{Directions, GraphError, NodeId, Tcsr};
use crate::memory::MemoryWrite;
use crate::memory::clock::NodeClock;
use crate::memory::device::DeviceMemory;
use crate::model::ModelConfig;
use crate::model::init::Initializer;
use crate::model::tgn::Tgn;
use crate::run_folder::{Dataset, DeviceRecord, RunFolder, RunFolderError, Summary};
use crate::sampling::negative::NegativeError;
use crate::sampling::{NegativePool, NeighborSampler, Recent, Uniform};
use crate::train::epochs::{Observer, TrainError, TrainLoop};
use crate::train::stages::Sampling;
use crate::train::trainer::Trainer;

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
    /// The training itself.
    #[error(transparent)]
    Train(#[from] TrainError),
}

/// What the stream and the protocol give, before a device is touched.
pub struct Session {
    config: RunConfig,
    /// The stream as the run's summary describes it.
    pub data: Dataset,
    /// Parts of the stream.
    pub split: Split,
    sampling: Arc<Sampling>,
}

/// What a protocol fixes.
struct Rules {
    all_nodes: bool,
    directions: Directions,
    time_delta: TimeDeltaName,
}

fn rules(protocol: Protocol) -> Rules {
    match protocol {
        Protocol::Default => Rules {
            all_nodes: false,
            directions: Directions::Both,
            time_delta: TimeDeltaName::Message,
        },
        Protocol::Tgl => Rules {
            all_nodes: true,
            directions: Directions::SourceOnly,
            time_delta: TimeDeltaName::Query,
        },
    }
}

impl Session {
    /// Opens the stream and prepares sampling.
    ///
    /// # Errors
    /// Settings out of range, an unreadable stream, a stream too small to split.
    pub fn open(mut config: RunConfig) -> Result<Session, SessionError> {
        config.validate()?;
        let log = Arc::new(EventLog::open(&config.data, &OpenOptions::default())?);
        let events = config
            .limit_events
            .map_or(log.events(), |limit| limit.min(log.events()));
        let split = if events < log.events() {
            Split::chronological(events, 0.70, 0.15)
        } else {
            log.split()
        };
        for (part, range) in [
            ("training", &split.train),
            ("validation", &split.val),
            ("test", &split.test),
        ] {
            if range.is_empty() {
                return Err(SessionError::TooSmall {
                    name: log.name().to_owned(),
                    events,
                    part,
                });
            }
        }
        let rules = rules(config.protocol);
        let time_delta = *config.time_delta.get_or_insert(rules.time_delta);
        if config.memory_write == MemoryWriteName::Read && time_delta == TimeDeltaName::Query {
            return Err(SessionError::Config(ConfigError::Range {
                option: "memory-write",
                found: "read with --time-delta query".to_owned(),
                expected: "--time-delta message, which has one row a node",
            }));
        }
        let src: &[NodeId] = bytemuck::cast_slice(&log.src()[..events]);
        let dst: &[NodeId] = bytemuck::cast_slice(&log.dst()[..events]);
        let graph = Tcsr::build(
            log.nodes(),
            src,
            dst,
            &log.time()[..events],
            rules.directions,
        )?;
        let negatives = if rules.all_nodes {
            NegativePool::AllNodes {
                nodes: log.nodes() as u32,
            }
        } else {
            NegativePool::destinations(dst)?
        };
        let fanout = config.fanout;
        let sampler: Box<dyn NeighborSampler> = match config.sampler {
            SamplerName::Recent => Box::new(Recent { fanout }),
            SamplerName::Uniform => Box::new(Uniform { fanout }),
        };
        let features = Features::new(
            &log,
            config.edge_features,
            config.node_features,
            config.seed,
        );
        let data = Dataset {
            name: log.name().to_owned(),
            events,
            nodes: log.nodes(),
            hash: log.hash().to_owned(),
            synthetic: log.synthetic(),
            edge_width: features.edge_width(),
            node_width: features.node_width(),
        };
        let sampling = Arc::new(Sampling {
            log,
            graph,
            sampler,
            negatives,
            features,
            time_delta: match time_delta {
                TimeDeltaName::Message => TimeDelta::Message,
                TimeDeltaName::Query => TimeDelta::Query,
            },
            batch_size: config.batch_size,
            seed: config.seed,
            scratch: Default::default(),
        });
        Ok(Session {
            config,
            data,
            split,
            sampling,
        })
    }

    /// Widths of the model for this stream.
    pub fn model_config(&self) -> ModelConfig {
        ModelConfig {
            width: self.config.width,
            time_width: self.config.time_width,
            edge_width: self.data.edge_width,
            node_width: self.data.node_width,
            heads: self.config.heads,
            dropout: self.config.dropout,
            attention_dropout: self.config.attention_dropout,
        }
    }

    /// Builds the model and its memory on `device` and trains; call it on the device thread.
    ///
    /// # Errors
    /// See [`TrainError`].
    pub fn train(
        &self,
        device: &ComputeDevice,
        folder: &RunFolder,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Summary, SessionError> {
        let config = self.model_config();
        let autodiff = device.device.clone().autodiff();
        let mut init = Initializer::new(self.config.seed, &autodiff);
        let model = match self.config.model {
            ModelName::Tgn => Tgn::with_predictor(&config, &mut init),
        };
        let mut training = TrainLoop {
            sampling: self.sampling.clone(),
            split: self.split.clone(),
            trainer: Trainer::new(model, self.config.learning_rate),
            memory: self.new_memory(&config, device),
            device: device.device.clone(),
            epochs: self.config.epochs,
            test_each_epoch: self.config.eval_test_each_epoch,
            stop,
        };
        let record = training.run(observer)?;
        let device = DeviceRecord {
            backend: device.backend.to_owned(),
            adapter: device.adapter.clone(),
        };
        let summary = Summary::new(&self.config, self.data.clone(), device, record);
        folder.write_summary(&summary)?;
        Ok(summary)
    }

    fn new_memory(&self, config: &ModelConfig, device: &ComputeDevice) -> DeviceMemory {
        let log = &*self.sampling.log;
        let clock = NodeClock::new(
            log.nodes(),
            self.sampling.time_delta,
            log.ticks_per_unit(),
            log.time().first().copied().unwrap_or(0),
        )
        .with_write(match self.config.memory_write {
            MemoryWriteName::Event => MemoryWrite::Event,
            MemoryWriteName::Read => MemoryWrite::Read,
        });
        DeviceMemory::new(
            log.nodes(),
            config.width,
            config.mail_width(),
            clock,
            &device.device,
        )
    }

    /// The run's settings.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }
}

/// Opens stream, device and run folder and trains, all that touches tensors on the device
/// thread. `begin` is told of the session, the device and the folder before training.
///
/// # Errors
/// See [`SessionError`].
pub fn run<O: Observer>(
    config: RunConfig,
    stop: &AtomicBool,
    begin: impl FnOnce(&Session, &ComputeDevice, &RunFolder) -> Result<O, RunFolderError> + Send,
) -> Result<(Summary, RunFolder), SessionError> {
    if let Some(threads) = config.threads {
        // Fails only if the pool was started before, by a caller that set its own size.
        let _ = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global();
    }
    let session = Session::open(config)?;
    device::on_device_thread(|| {
        let device = device::open(session.config.device)?;
        let folder = RunFolder::create(&session.config, &session.data.name)?;
        let mut observer = begin(&session, &device, &folder)?;
        let summary = session.train(&device, &folder, &mut observer, stop)?;
        Ok((summary, folder))
    })?
}
