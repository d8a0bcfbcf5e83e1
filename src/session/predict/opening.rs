//! A predictor of a run or of a state.

use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use mspipe_datasets::whole_file::Existing;
use mspipe_datasets::{EventLog, OpenOptions, Stop};

use super::error::PredictError;
use super::nodes::Nodes;
use super::state::{self, Later, Snapshot, Standing, State};
use super::{FILE_NAME, Predictor};
use crate::config::{self, MitigationName, RunConfig};
use crate::device::{self, ComputeDevice, DeviceSettings};
use crate::features::{Features, FollowedRows};
use crate::graph::{NodeId, Tcsr};
use crate::memory::MemoryWrite;
use crate::memory::host::HostMemory;
use crate::memory::node_times::NodeTimes;
use crate::model::init::Initializer;
use crate::model::tgl_weights::{self, NamedTensor};
use crate::model::{LinkModel, ModelConfig, ModelNeeds};
use crate::run_folder::{DeviceRecord, RunFolder};
use crate::sampling::NegativePool;
use crate::sampling::pair_history::Encoding;
use crate::session::protocol::Rules;
use crate::session::stream::{InitialWeights, OpenStream};
use crate::session::{Session, SessionError, sampler};
use crate::train::error::EvalError;
use crate::train::following;
use crate::train::histories::{self, Histories};
use crate::train::pair_scores::UpdatedRows;
use crate::train::pass::Sampling;
use crate::train::stream::{Columns, FollowedStream, NewerEvents, Stream};

/// How a predictor is opened; `..Default::default()` is as the run was made.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The device, if not that of the run.
    pub device: Option<DeviceSettings>,
    /// Where the stream is, if it was moved; refused where none is read.
    pub data: Option<String>,
    /// Threads of the CPU, if not all.
    pub threads: Option<usize>,
    /// As the run stood before its test part, which is rebuilt from its stream; a state is not read
    /// then.
    pub before_test: bool,
    /// Rebuilds the memory from the stream though there is a state.
    pub replay: bool,
    /// Ends it early.
    pub stop: Stop,
}

/// What a predictor is made of, before its stream is indexed.
struct Parts {
    standing: Standing,
    rules: Rules,
    /// The events of the stream.
    opened: Columns,
    /// What is kept of those that came since, but for their features.
    later: Later,
    /// Of all events.
    features: Features,
    encoding: Option<Encoding>,
    nodes: Nodes,
}

impl Predictor {
    /// Of the run in the folder `path`, after the last event of its stream, or of the state in the file
    /// `path`. A run that has left no state is replayed.
    ///
    /// # Errors
    /// What can't be read or does not belong together: a run without weights, a damaged state, a
    /// stream that is another one now.
    pub fn load(path: impl AsRef<Path>) -> Result<Predictor, PredictError> {
        Predictor::load_with(path, &LoadOptions::default())
    }

    /// The same, as `options` say.
    ///
    /// # Errors
    /// As [`Predictor::load`].
    pub fn load_with(
        path: impl AsRef<Path>,
        options: &LoadOptions,
    ) -> Result<Predictor, PredictError> {
        Predictor::open(path.as_ref(), None, options)
    }

    /// The same on a stream that is open.
    ///
    /// # Errors
    /// As [`Predictor::load`].
    pub fn load_on(path: impl AsRef<Path>, log: &Arc<EventLog>) -> Result<Predictor, PredictError> {
        Predictor::open(path.as_ref(), Some(log), &LoadOptions::default())
    }

    fn open(
        path: &Path,
        log: Option<&Arc<EventLog>>,
        options: &LoadOptions,
    ) -> Result<Predictor, PredictError> {
        config::start_threads(options.threads)?;
        let state = match path.is_dir() {
            true => path.join(FILE_NAME),
            false => path.to_owned(),
        };
        if state.is_file() && !options.before_test && !options.replay {
            match Predictor::of_state(&state, log, options) {
                // Of an earlier program: as if the run had left none.
                Err(PredictError::StateVersion { .. }) if path.is_dir() => {}
                other => return other,
            }
        }
        if !path.is_dir() {
            return Err(match path.exists() {
                true => PredictError::Ended {
                    path: path.to_owned(),
                },
                false => PredictError::NoState {
                    path: path.to_owned(),
                    found: "there is no such file or folder".to_owned(),
                },
            });
        }
        Predictor::of_run(path, log, options)
    }

    /// Rebuilds the memory of a run from its stream.
    fn of_run(
        run: &Path,
        log: Option<&Arc<EventLog>>,
        options: &LoadOptions,
    ) -> Result<Predictor, PredictError> {
        let (found, mut config) = RunFolder::settings(run)?;
        config.start = RunConfig::default().start;
        config.start.init = Some(found);
        if let Some(data) = &options.data {
            config.source.data.clone_from(data);
        }
        if let Some(device) = options.device {
            config.device = device;
        }
        let weights = InitialWeights::open(&config).map_err(PredictError::Session)?;
        let log = opened(log, &config, &options.stop)?;
        let trained_on = weights
            .as_ref()
            .and_then(|weights| weights.file.model.as_ref());
        if let Some(expected) = trained_on.and_then(|model| model.stream.as_ref())
            && expected != log.hash()
        {
            return Err(PredictError::OtherStream {
                path: run.to_owned(),
                data: config.source.data.clone(),
                found: log.hash().to_owned(),
                expected: expected.clone(),
            });
        }
        let stream = OpenStream::of(config, log.clone(), weights).map_err(PredictError::Session)?;
        refuse_written_by_asking(run, &stream.config)?;
        let session = Session::of(stream, options.stop.clone())?;
        let end = match options.before_test {
            true => session.split.val.end,
            false => session.split.test.end,
        };
        let parts = session.parts(&log, end)?;
        device::on_device_thread(|| {
            let device = device::open(session.config.device)?;
            let model = session.new_model(&device.device)?;
            let memory = session.followed_memory(&model, &device.device, end)?;
            parts.predictor(model, &device.device, record(&device), memory, options)
        })?
    }

    /// From the state in the file `path`.
    fn of_state(
        path: &Path,
        log: Option<&Arc<EventLog>>,
        options: &LoadOptions,
    ) -> Result<Predictor, PredictError> {
        let State {
            mut standing,
            mut arrays,
            nodes,
            later,
            contained,
        } = State::read(path)?;
        if let Some(data) = &options.data {
            standing.config.source.data.clone_from(data);
        }
        if let Some(device) = options.device {
            standing.config.device = device;
        }
        refuse_written_by_asking(path, &standing.config)?;
        let unfit = |error| PredictError::Unfit {
            path: path.to_owned(),
            error,
        };
        let encoding = match standing.model.pair_history > 0 {
            true => Some(histories::take_saved(&mut arrays).map_err(unfit)?),
            false => None,
        };
        let encoding = encoding
            .transpose()
            .map_err(|reason| SessionError::Encoding {
                path: path.to_owned(),
                reason,
            })?;
        let weights = named(arrays.take_group("model."), path)?;
        let mut memory_arrays = arrays.take_group("memory.");
        let mails = memory_arrays.row_width("mails").unwrap_or_default();
        let slots = mails / standing.model.mail_width();
        let needs = needs(&standing.model, &standing.config, slots);
        let rules = Rules::of(&standing.config, needs);
        let (opened, mut features) =
            followed_stream(path, &mut standing, &nodes, contained, log, options)?;
        if let Some([edge, _]) = features.followed_rows() {
            let events = standing.events - standing.base;
            edge.extend_kept(events, &later.rows, &later.edge);
        }
        let parts = Parts {
            standing,
            rules,
            opened,
            later,
            features,
            encoding,
            nodes,
        };
        device::on_device_thread(|| {
            let device = device::open(parts.standing.config.device)?;
            let drawn = LinkModel::new(
                &parts.standing.model,
                &mut Initializer::new(0, &device.device),
            );
            let model =
                tgl_weights::load(drawn, &weights).map_err(|error| PredictError::Weights {
                    path: path.to_owned(),
                    error,
                })?;
            let mut memory = parts.empty_memory(&device.device);
            memory.restore(&mut memory_arrays).map_err(unfit)?;
            parts.predictor(model, &device.device, record(&device), memory, options)
        })?
    }
}

/// What `device` is called.
fn record(device: &ComputeDevice) -> DeviceRecord {
    DeviceRecord {
        backend: device.backend.to_owned(),
        adapter: device.adapter.clone(),
    }
}

fn refuse_written_by_asking(path: &Path, config: &RunConfig) -> Result<(), PredictError> {
    match config.model.memory_write {
        MemoryWrite::Event => Ok(()),
        MemoryWrite::Read => Err(PredictError::WrittenByAsking {
            path: path.to_owned(),
        }),
    }
}

/// The stream of `config`, unless it is open.
fn opened(
    log: Option<&Arc<EventLog>>,
    config: &RunConfig,
    stop: &Stop,
) -> Result<Arc<EventLog>, PredictError> {
    if let Some(log) = log {
        return Ok(log.clone());
    }
    let options = OpenOptions {
        stop: stop.clone(),
        ..config.stream_options()
    };
    Ok(Arc::new(EventLog::open(&config.source.data, &options)?))
}

/// What the model needs. A run whose rows caught up has kept several pieces of mail for each node.
fn needs(model: &ModelConfig, config: &RunConfig, kept: usize) -> ModelNeeds {
    let mut needs = model.needs();
    if config.pipeline.mitigation == MitigationName::CatchUp {
        needs.mail_slots = kept.max(1);
    }
    needs
}

/// The tensors of a group of arrays.
fn named(
    mut group: crate::checkpoint::Arrays<'_>,
    path: &Path,
) -> Result<std::collections::BTreeMap<String, NamedTensor>, PredictError> {
    let names: Vec<String> = group.names().map(str::to_owned).collect();
    let take = |name: String| {
        let (shape, values) = group.take(&name)?;
        Ok((name, NamedTensor { shape, values }))
    };
    let tensors: Result<_, crate::checkpoint::Unfit> = names.into_iter().map(take).collect();
    tensors.map_err(|error| PredictError::Unfit {
        path: path.to_owned(),
        error,
    })
}

/// Columns and features of what a state stands on: its store, or what it contains.
fn followed_stream(
    path: &Path,
    standing: &mut Standing,
    nodes: &Nodes,
    contained: Option<state::Contained>,
    log: Option<&Arc<EventLog>>,
    options: &LoadOptions,
) -> Result<(Columns, Features), PredictError> {
    match (contained, &options.data) {
        (Some(_), Some(data)) => Err(PredictError::DataNotRead {
            path: path.to_owned(),
            data: data.clone(),
        }),
        (Some(contained), None) => Ok(contained_stream(standing, contained)),
        (None, _) => store_backed(path, standing, nodes, log, options),
    }
}

/// Columns and features out of the state itself.
fn contained_stream(standing: &Standing, contained: state::Contained) -> (Columns, Features) {
    let state::Contained { events, node } = contained;
    let model = &standing.model;
    let edge = FollowedRows::kept(standing.base, model.edge_width, events.rows, events.edge);
    let nodes = (0..standing.data.nodes as u32).collect();
    let node = FollowedRows::kept(standing.data.nodes, model.node_width, nodes, node);
    (events.columns, Features::followed(edge, node))
}

/// Columns and features of the store that the state stands on.
fn store_backed(
    path: &Path,
    standing: &mut Standing,
    nodes: &Nodes,
    log: Option<&Arc<EventLog>>,
    options: &LoadOptions,
) -> Result<(Columns, Features), PredictError> {
    let log = opened(log, &standing.config, &options.stop)?;
    let (config, data) = (&standing.config, &standing.data);
    if log.hash() != data.hash {
        let path = path.to_owned();
        return Err(
            match log.events() > standing.base && config.stream.limit_events.is_none() {
                true => PredictError::Newer {
                    path,
                    data: config.source.data.clone(),
                    found: log.events(),
                    expected: standing.base,
                },
                false => PredictError::OtherStream {
                    path,
                    data: config.source.data.clone(),
                    found: log.hash().to_owned(),
                    expected: data.hash.clone(),
                },
            },
        );
    }
    if options.data.is_some() {
        refuse_other_names(path, standing, nodes, &log)?;
    }
    if standing.feature_names.is_none() {
        standing.name_features(&log)?;
    }
    let config = &standing.config;
    let features = Features::new(
        &log,
        config.stream.edge_features,
        config.stream.node_features,
        config.training.seed,
    );
    Ok((
        columns(&log, standing.base),
        features.to_follow(standing.base, log.nodes()),
    ))
}

/// Refuses a stream whose nodes or features are called otherwise than the state has them: its hash is not of names, and
/// whoever asks with those of the stream would ask for nodes that nobody knows.
fn refuse_other_names(
    path: &Path,
    standing: &Standing,
    nodes: &Nodes,
    log: &EventLog,
) -> Result<(), PredictError> {
    let refused = |what, expected: String, found: String| PredictError::OtherNames {
        path: path.to_owned(),
        data: standing.config.source.data.clone(),
        what,
        found,
        expected,
    };
    let there = Nodes::of(log, 0)?;
    if let Some([expected, found]) = nodes.called_otherwise(&there) {
        return Err(refused("node", expected.to_string(), found.to_string()));
    }
    let names = log.names()?.edge_features;
    let (Some(expected), Some(found)) = (&standing.feature_names, names) else {
        return Ok(());
    };
    match expected
        .iter()
        .zip(found)
        .find(|(here, there)| *here != there)
    {
        Some((here, there)) => Err(refused("feature", here.clone(), there)),
        None => Ok(()),
    }
}

/// The first events of a stream.
fn columns(log: &EventLog, events: usize) -> Columns {
    Columns {
        src: log.src()[..events].to_vec(),
        dst: log.dst()[..events].to_vec(),
        time: log.time()[..events].to_vec(),
    }
}

impl Session {
    /// What a predictor after the first `end` events is made of.
    fn parts(&self, log: &Arc<EventLog>, end: usize) -> Result<Parts, PredictError> {
        let nodes = Nodes::of(log, end)?;
        let slots = self.clock.rule().mail_slots;
        let encoding = self.sampling.histories.read.then(|| {
            let given = self
                .weights
                .as_ref()
                .and_then(|given| given.encoding.clone());
            given.unwrap_or_else(|| self.sampling.pair_history().encoding().clone())
        });
        Ok(Parts {
            standing: self.standing(log, &nodes, end)?,
            rules: Rules::of(&self.config, needs(&self.model, &self.config, slots)),
            opened: columns(log, end),
            later: Later::default(),
            features: self.sampling.features.to_follow(end, log.nodes()),
            encoding,
            nodes,
        })
    }

    /// A predictor with the weights of `model` that has followed nothing yet of the session's stream.
    pub(in crate::session) fn predictor(
        &self,
        model: &LinkModel,
        device: &Device,
    ) -> Result<Predictor, PredictError> {
        let Stream::Opened(log) = &self.sampling.log else {
            unreachable!("a session's stream was opened");
        };
        let parts = self.parts(log, 0)?;
        let memory = parts.empty_memory(device);
        let adapter = DeviceRecord {
            backend: "audited".to_owned(),
            adapter: String::new(),
        };
        let options = LoadOptions {
            stop: self.stop.clone(),
            ..LoadOptions::default()
        };
        parts.predictor(model.clone(), device, adapter, memory, &options)
    }

    fn standing(
        &self,
        log: &EventLog,
        nodes: &Nodes,
        end: usize,
    ) -> Result<Standing, PredictError> {
        let first = log.time().first().copied().unwrap_or(0);
        let times = [log.ticks_per_unit(), first];
        let mut standing = Standing::new(&self.config, self.model, &self.data, nodes, times, end);
        standing.name_features(log)?;
        Ok(standing)
    }

    /// Memory that has followed the first `end` events with the weights of `model`, in the batches of an
    /// evaluation: no batch has events of two parts.
    fn followed_memory(
        &self,
        model: &LinkModel,
        device: &Device,
        end: usize,
    ) -> Result<HostMemory, SessionError> {
        let (sampling, split) = (&self.sampling, &self.split);
        let (nodes, clock) = (self.data.nodes, self.clock.clone());
        let (width, mail_width) = (self.model.width, self.model.mail_width());
        let mut memory = HostMemory::new(nodes, width, mail_width, clock, None, device);
        for part in [&split.train, &split.val, &split.test] {
            for first in part.clone().step_by(sampling.batch_size) {
                let batch = first..(first + sampling.batch_size).min(part.end);
                if batch.end > end {
                    break;
                }
                self.stop.check().map_err(EvalError::from)?;
                following::follow(model, sampling, &mut memory, device, batch, None)?;
            }
        }
        memory.grow(nodes + 1);
        Ok(memory)
    }

    /// Writes the state of the run that has ended with the weights of `model`: memory that has followed
    /// the whole stream with them. None is written where asking would write memory.
    ///
    /// # Errors
    /// When the device fails, or the file can't be written.
    pub(in crate::session) fn write_state(
        &self,
        model: &LinkModel,
        device: &Device,
        folder: &RunFolder,
    ) -> Result<(), PredictError> {
        let (Stream::Opened(log), MemoryWrite::Event) =
            (&self.sampling.log, self.config.model.memory_write)
        else {
            return Ok(());
        };
        let end = self.split.test.end;
        let memory = self.followed_memory(model, device, end)?;
        let nodes = Nodes::of(log, end)?;
        Snapshot {
            standing: self.standing(log, &nodes, end)?,
            weights: tgl_weights::export(model).map_err(SessionError::Unreadable)?,
            constants: self.sampling.constants(),
            memory,
            nodes: nodes.save(),
            later: Later {
                histories: (self.sampling.histories.read).then(Default::default),
                ..Later::default()
            },
            contained: None,
            features: self.sampling.features.clone(),
        }
        .write(&folder.path().join(FILE_NAME), Existing::Replace)
    }
}

impl Parts {
    /// Memory of as many nodes as there are, and of one that was never seen.
    fn empty_memory(&self, device: &Device) -> HostMemory {
        let Standing {
            model,
            ticks_per_unit,
            first,
            ..
        } = &self.standing;
        let rows = self.nodes.len() + 1;
        let clock = NodeTimes::new(rows, self.rules.clock(*ticks_per_unit, *first));
        let widths: &ModelConfig = model;
        let (width, mail_width) = (widths.width, widths.mail_width());
        HostMemory::new(rows, width, mail_width, clock, None, device)
    }

    /// Indexes the stream.
    fn predictor(
        self,
        model: LinkModel,
        device: &Device,
        adapter: DeviceRecord,
        memory: HostMemory,
        options: &LoadOptions,
    ) -> Result<Predictor, PredictError> {
        let rows = self.nodes.len() + 1;
        let (sampling, standing, nodes) = self.indexed(rows)?;
        Ok(Predictor {
            model,
            device: device.clone(),
            adapter,
            sampling,
            memory,
            nodes,
            standing,
            let_go_at: 0,
            keeps_all: false,
            updated: Mutex::new(UpdatedRows::default()),
            stop: options.stop.clone(),
            broken: false,
        })
    }
}

impl Parts {
    /// A stream that is followed, with its graph and pair histories, for tables of `rows` nodes.
    fn indexed(self, rows: usize) -> Result<(Sampling, Standing, Nodes), PredictError> {
        let Parts {
            standing,
            rules,
            opened,
            later,
            features,
            encoding,
            nodes,
        } = self;
        let config = &standing.config;
        let (src, dst): (&[NodeId], &[NodeId]) = (
            bytemuck::cast_slice(&opened.src),
            bytemuck::cast_slice(&opened.dst),
        );
        let mut graph = Tcsr::build(rows, src, dst, &opened.time, rules.directions)?;
        graph.restore(&later.graph);
        // The encoding is known, so that no part of the stream is looked at for it.
        let histories = Histories::new(standing.base, encoding.is_some());
        if let Some(encoding) = encoding {
            histories.give(encoding);
        }
        let first = standing.events - later.newest.time.len();
        let mut sampling = Sampling {
            log: Stream::Followed(FollowedStream {
                name: standing.data.name.clone(),
                nodes: rows,
                ticks_per_unit: standing.ticks_per_unit,
                opened: Arc::new(opened),
                newer: NewerEvents {
                    first,
                    columns: later.newest,
                },
            }),
            graph: Arc::new(graph),
            sampler: sampler(config),
            hide_batch: rules.hide_batch,
            // Nothing is drawn.
            negatives: NegativePool::AllNodes { nodes: rows as u32 },
            train_negatives: None,
            features: features.with_edge_scale(config.stream.edge_scale.clone()),
            layout: rules.layout(standing.ticks_per_unit),
            batch_size: config.training.batch_events(),
            seed: config.training.seed,
            histories: Arc::new(histories),
            eval_seed: config.eval_seed(),
            scratch: Default::default(),
        };
        if sampling.histories.read {
            // Not within the first question.
            sampling.pair_history();
        }
        if let Some(states) = later.histories {
            sampling.restore_histories(states);
        }
        Ok((sampling, standing, nodes))
    }
}
