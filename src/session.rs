//! Composition root: from a run's settings to a finished run folder. The only file that
//! names concrete types of every layer.

pub mod audited;
mod classifying;
mod error;
mod event_log;
pub mod footprint;
mod initial;
mod opening;
pub mod predict;
mod profiling;
mod protocol;
mod ranks;
mod recording;
mod runs;
pub mod scores;
mod seeds;
mod stream;
mod sweep;
mod tasks;

use std::sync::Arc;

use mspipe_datasets::{EventLog, Split, Stop, printable};

use crate::checkpoint::Every;
use crate::config::{MitigationName, RunConfig, SamplerName};
use crate::device::{self, ComputeDevice, DeviceError, DeviceFailure};
use crate::features::Features;
use crate::graph::{Directions, NodeId, Tcsr};
use crate::memory::node_times::NodeTimes;
use crate::model::ModelConfig;
use crate::pipeline::profile::Residency;
use crate::run_folder::{Dataset, DeviceRecord, Estimate, RunFolder, Setting, Summary};
use crate::sampling::{Candidates, NegativePool, NeighborSampler, Recent, Uniform};
use crate::train::histories::Histories;
use crate::train::observer::Observer;
use crate::train::pass::Sampling;
pub use error::SessionError;
pub use runs::{
    classify, dry_resume, dry_run, estimate_on, evaluate, evaluate_on, resume,
    resume_classification, run, train_on,
};
pub use seeds::{SeedsObserver, resume_seeds, run_seeds};
pub use sweep::{
    Method, SweepError, SweepPlan, SweepResult, Trial, TrialResult, check_sweep, run_sweep,
};
pub use tasks::Measured;

use footprint::{FeatureTables, Footprint, Together};
use opening::Begin;
use protocol::Pools;
use stream::{InitialWeights, OpenStream};

/// The `events` of a stream that are used, as the run's summary describes them.
fn described(log: &EventLog, events: usize, features: &Features) -> Dataset {
    Dataset {
        name: log.name().to_owned(),
        events,
        nodes: log.nodes(),
        hash: log.hash().to_owned(),
        synthetic: log.synthetic(),
        edge_width: features.edge_width(),
        node_width: features.node_width(),
    }
}

/// What the stream and the protocol give, before a device is touched.
pub struct Session {
    config: RunConfig,
    /// The stream as the run's summary describes it.
    pub data: Dataset,
    /// What the user should know: how the stream was opened, what its conversion left out, what of
    /// the settings does not act.
    pub notes: Vec<String>,
    /// Parts of the stream.
    pub split: Split,
    sampling: Arc<Sampling>,
    /// The pool of negatives that the protocol does not use.
    other_pool: NegativePool,
    /// Whom destinations are ranked among, if the protocol ranks.
    candidates: Option<Candidates>,
    model: ModelConfig,
    /// What the model begins with, where it does not draw its own.
    weights: Option<Arc<InitialWeights>>,
    /// Events of both ends of all nodes, where a mitigation looks for similar ones.
    past: Option<Arc<Tcsr>>,
    /// Before the first event.
    clock: NodeTimes,
    /// Ends what is done with it early.
    stop: Stop,
    /// Memory that it was estimated to take.
    estimate: Option<Estimate>,
    /// The same of all ranks that are processes of this machine, if it has several.
    pub together: Option<Together>,
    /// Rows of edge and node features on the device; what `--features auto` comes to needs an estimate.
    feature_slots: [usize; 2],
}

impl Session {
    /// Opens the stream and prepares sampling.
    ///
    /// # Errors
    /// Settings out of range, an unreadable stream, a stream too small to split, a run that
    /// takes more memory than there is.
    pub fn open(config: RunConfig) -> Result<Session, SessionError> {
        Session::open_until(config, &Stop::default())
    }

    /// As [`Session::open`]; `stop` ends a conversion of the stream early, and later whatever is
    /// done with the session.
    ///
    /// # Errors
    /// As [`Session::open`]; a stop.
    pub fn open_until(config: RunConfig, stop: &Stop) -> Result<Session, SessionError> {
        let stream = OpenStream::open(config, Begin::Fresh, stop)?;
        Session::checked(stream, stop.clone())
    }

    /// Prepares sampling, unless the run would not fit.
    fn checked(stream: OpenStream, stop: Stop) -> Result<Session, SessionError> {
        if stream.config.machine.no_memory_check {
            return Session::of(stream, stop);
        }
        let adapter = device::chosen(stream.config.device)?;
        let footprint = Footprint::of(&stream, adapter.as_ref());
        Session::fitting(stream, stop, &footprint)
    }

    /// The same for a run that needs this.
    fn fitting(
        stream: OpenStream,
        stop: Stop,
        footprint: &Footprint,
    ) -> Result<Session, SessionError> {
        if stream.config.machine.no_memory_check {
            return Session::of(stream, stop);
        }
        footprint.check()?;
        Ok(Session::of(stream, stop)?.estimated_at(footprint))
    }

    /// The same, with the memory that was estimated for it.
    fn estimated_at(self, footprint: &Footprint) -> Session {
        Session {
            estimate: Some(Estimate {
                ram_bytes: footprint.ram_bytes,
                device_bytes: footprint.device_bytes,
            }),
            together: footprint.together.clone(),
            feature_slots: footprint.feature_slots,
            ..self
        }
    }

    /// Why the session ends with `error`, beside the device memory that was estimated for it.
    fn of_device(&self, error: DeviceError) -> SessionError {
        let estimate = self.estimate.map(|estimate| estimate.device_bytes);
        match (error, estimate) {
            (DeviceError::Failed(failure @ DeviceFailure::NoMemory { .. }), Some(estimate)) => {
                SessionError::NoMemory { estimate, failure }
            }
            (error, _) => error.into(),
        }
    }

    /// Opens the session's device and does `work` on its thread.
    fn with_device<T: Send>(
        &self,
        work: impl FnOnce(&Session, &ComputeDevice) -> Result<T, SessionError> + Send,
    ) -> Result<T, SessionError> {
        device::on_device_thread(|| {
            let device = device::open(self.config.device)?;
            self.check_tables(&device)?;
            work(self, &device)
        })
        .map_err(|error| self.of_device(error))?
    }

    /// Prepares sampling on `log`, whatever stream the settings name, for a model that begins with
    /// `weights`.
    ///
    /// # Errors
    /// As [`Session::open`], without a look at the memory.
    fn on(
        log: Arc<EventLog>,
        config: RunConfig,
        weights: Option<Arc<InitialWeights>>,
    ) -> Result<Session, SessionError> {
        Session::of(OpenStream::of(config, log, weights)?, Stop::default())
    }

    fn of(stream: OpenStream, stop: Stop) -> Result<Session, SessionError> {
        let notes = stream.notes();
        let place = stream.config.pipeline.features;
        let feature_slots = FeatureTables::of(&stream).asked(place);
        let OpenStream {
            config,
            log,
            events,
            split,
            model,
            rules,
            weights,
            ..
        } = stream;
        let features = Features::new(
            &log,
            config.stream.edge_features,
            config.stream.node_features,
            config.training.seed,
        )
        .with_edge_scale(config.stream.edge_scale.clone());
        let graph = Arc::new(graph_of(&log, events, rules.directions)?);
        let past = past(&config, &log, events, &graph, rules.directions)?;
        let pools = Pools::of(config.protocol.name, &log, events, split.train.end)?;
        let candidates =
            protocol::candidates(&config, &log, pools.destinations(), split.train.end)?;
        let data = described(&log, events, &features);
        let ticks_per_unit = log.ticks_per_unit();
        let first = log.time().first().copied().unwrap_or(0);
        let clock = NodeTimes::new(log.nodes(), rules.clock(ticks_per_unit, first));
        let histories = Histories::new(split.train.end, model.pair_history > 0);
        if let Some(encoding) = weights.as_ref().and_then(|given| given.encoding.clone()) {
            histories.give(encoding);
        }
        let sampling = Arc::new(Sampling {
            log: log.into(),
            graph,
            sampler: sampler(&config),
            hide_batch: rules.hide_batch,
            negatives: pools.own,
            train_negatives: pools.train,
            features,
            layout: rules.layout(ticks_per_unit),
            batch_size: config.training.batch_events(),
            seed: config.training.seed,
            histories: Arc::new(histories),
            eval_seed: config.eval_seed(),
            scratch: Default::default(),
        });
        Ok(Session {
            together: None,
            feature_slots,
            config,
            data,
            notes,
            split,
            sampling,
            other_pool: pools.other,
            candidates,
            model,
            weights,
            past,
            clock,
            stop,
            estimate: None,
        })
    }

    /// Refuses a device that can't hold the mail, the largest table of node memory: drivers
    /// say so late, and not in these words.
    ///
    /// # Errors
    /// [`SessionError::Mailbox`].
    pub fn check_tables(&self, device: &ComputeDevice) -> Result<(), SessionError> {
        let slots = self.clock.rule().mail_slots;
        let bytes = 4 * (self.data.nodes * slots * self.model.mail_width()) as u64;
        match device.table_bytes {
            Some(most) if bytes > most && self.config.pipeline.memory == Residency::Device => {
                Err(SessionError::Mailbox {
                    nodes: self.data.nodes,
                    bytes,
                    adapter: device.adapter.clone(),
                    most,
                    remedy: "keep them in RAM with --memory host",
                })
            }
            _ => Ok(()),
        }
    }

    /// Builds the model and its memory on `device` and trains; call it on the device thread.
    /// Weights and summary go into `folder`; all else is the observer's.
    ///
    /// # Errors
    /// Node memory that the device can't hold; see [`TrainError`](crate::train::error::TrainError).
    pub fn train(
        &self,
        device: &ComputeDevice,
        folder: &RunFolder,
        observer: &mut Observer<'_>,
    ) -> Result<Summary, SessionError> {
        self.check_tables(device)?;
        self.train_from((None, None), Every::Never, device, folder, observer)
    }

    /// What the numbers of this session belong to, on `device`.
    fn setting(&self, task: &'static str, device: &ComputeDevice) -> Setting {
        let device = DeviceRecord {
            backend: device.backend.to_owned(),
            adapter: device.adapter.clone(),
        };
        let notes = self.notes.clone();
        Setting::new(&self.config, task, self.data.clone(), device, notes)
    }

    /// What a chart of an epoch's stages is called.
    pub fn timeline_title(&self) -> String {
        let (config, data) = (&self.config, &self.data);
        let mark = if data.synthetic { " (SYNTHETIC)" } else { "" };
        let pipeline = &config.pipeline;
        let link = pipeline.emulate_link.as_ref();
        let link = link.map_or_else(String::new, |link| format!(", EMULATED link {link}"));
        let (model, schedule) = (config.model.name, &pipeline.schedule);
        printable(&format!("{}{mark}, {model}, {schedule}{link}", data.name)).into_owned()
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

/// The first `events` of a stream, by node.
fn graph_of(log: &EventLog, events: usize, directions: Directions) -> Result<Tcsr, SessionError> {
    let src: &[NodeId] = bytemuck::cast_slice(&log.src()[..events]);
    let dst: &[NodeId] = bytemuck::cast_slice(&log.dst()[..events]);
    let time = &log.time()[..events];
    Ok(Tcsr::build(log.nodes(), src, dst, time, directions)?)
}

/// Events of both ends of all nodes, if a mitigation looks for similar ones: `graph` where it has them.
fn past(
    config: &RunConfig,
    log: &EventLog,
    events: usize,
    graph: &Arc<Tcsr>,
    directions: Directions,
) -> Result<Option<Arc<Tcsr>>, SessionError> {
    Ok(match (config.pipeline.mitigation, directions) {
        (MitigationName::Similarity, Directions::Both) => Some(graph.clone()),
        (MitigationName::Similarity, Directions::SourceOnly) => {
            Some(Arc::new(graph_of(log, events, Directions::Both)?))
        }
        _ => None,
    })
}

/// What chooses the past events that a root sees.
fn sampler(config: &RunConfig) -> Arc<dyn NeighborSampler> {
    let fanout = config.model.fanout;
    match config.model.sampler {
        SamplerName::Recent => Arc::new(Recent { fanout }),
        SamplerName::Uniform => Arc::new(Uniform { fanout }),
    }
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
