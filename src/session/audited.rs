//! This program as the auditor sees it: its own sampling, batches, memory and models over the
//! streams that it is given.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use mspipe_datasets::{DataError, EventLog, FeatureTable, OpenOptions, Stop};

use serde::Serialize;

use super::footprint::Footprint;
use super::predict::PredictError;
use super::stream::{InitialWeights, OpenStream};
use super::{Session, SessionError};
use crate::audit::{
    self, Answers, AuditStream, Check, Kept, LabelScores, Recording, Report, ScoredBatch, Sight,
    Subject,
};
use crate::checkpoint::Every;
use crate::config::{self, CandidateSource, ConfigError, Protocol, RunConfig};
use crate::device::{self, ComputeDevice};
use crate::features::{FeatureScale, FeatureSource, is_used};
use crate::memory::MemoryWrite;
use crate::memory::node_memory::NodeMemory;
use crate::model::LinkModel;
use crate::model::tgl_weights;
use crate::run_folder::Setting;
use crate::sampling::pair_history::Encoding;
use crate::sampling::{Candidates, NegativePool, NeighborSampler, SplitPart};
use crate::train::classification::{LabelOf, Labels};
use crate::train::error::EvalError;
use crate::train::histories::Limits;
use crate::train::observer::TrainEvent;
use crate::train::pass::Pass;

/// Events of an audit, unless `--limit-events` says otherwise.
const EVENTS: usize = 2000;

/// Events of a batch at most, and batches at least where there are that many events: an audit wants
/// many batches of few events.
const BATCH_SIZE: usize = 100;
const BATCHES: usize = 10;

/// Candidates of an event at most.
const CANDIDATES: usize = 5;

/// Random edge features where a stream has none, so that features are audited too.
const EDGE_WIDTH: usize = 8;

/// Random numbers that are drawn for the features of an audited stream, at most.
const DRAWN_NUMBERS: usize = 1 << 28;

/// Epochs of the runs of an audit: the second begins after the first one's test.
const EPOCHS: usize = 2;

/// The program with its settings.
pub struct Program<'a> {
    config: RunConfig,
    device: &'a Device,
    model: LinkModel,
    weights: Option<Arc<InitialWeights>>,
    /// Pools of the unchanged stream: which destinations there are is known in advance, by the
    /// protocol, and no change of the stream may change the negatives.
    negatives: [NegativePool; 2],
    train_negatives: Option<NegativePool>,
    candidates: Option<Candidates>,
    /// Audited in place of the sampler of the settings.
    sampler: Option<Arc<dyn NeighborSampler>>,
    /// Audited in place of the rule of what pair histories see.
    limits: Option<Limits>,
    /// The classes of the unchanged stream, where labels are classified.
    classes: Option<Vec<i32>>,
    /// How pair histories of the unchanged stream are encoded, which weights know.
    encoding: Option<Encoding>,
    sight: Sight,
    stop: Stop,
}

impl<'a> Program<'a> {
    /// The program with the settings `config`, for `stream` and its changes.
    ///
    /// # Errors
    /// As [`Session::on`]; weights to begin with that can't be read.
    pub fn new(
        config: RunConfig,
        stream: &AuditStream,
        device: &'a Device,
    ) -> Result<Program<'a>, SessionError> {
        let weights = InitialWeights::open(&config)?;
        Program::with_weights(config, weights, stream, device)
    }

    fn with_weights(
        config: RunConfig,
        weights: Option<Arc<InitialWeights>>,
        stream: &AuditStream,
        device: &'a Device,
    ) -> Result<Program<'a>, SessionError> {
        let session = Session::on(stream.log()?, config, weights.clone())?;
        let (config, sampling) = (&session.config, &session.sampling);
        let classes = match config.start.task.label_of() {
            Some(_) => Some(session.checked_labels()?.class_labels().to_vec()),
            None => None,
        };
        Ok(Program {
            classes,
            device,
            sight: Sight {
                fanout: config.model.fanout,
                both_directions: sampling.graph.entries() > stream.events(),
                hide_batch: sampling.hide_batch,
                batch_size: config.training.batch_events(),
            },
            model: session.new_model(device)?,
            weights,
            negatives: [sampling.negatives.clone(), session.other_pool.clone()],
            train_negatives: sampling.train_negatives.clone(),
            candidates: session.candidates.clone(),
            sampler: None,
            limits: None,
            encoding: (sampling.histories.read).then(|| sampling.pair_history().encoding().clone()),
            config: config.clone(),
            stop: Stop::default(),
        })
    }

    /// Ends what is audited when `stop` is requested.
    #[must_use]
    fn until(self, stop: Stop) -> Program<'a> {
        Program { stop, ..self }
    }

    /// Audits `sampler` in place of that of the settings.
    #[must_use]
    pub fn with_sampler(self, sampler: Arc<dyn NeighborSampler>) -> Program<'a> {
        let sampler = Some(sampler);
        Program { sampler, ..self }
    }

    /// Audits pair histories that see what `limits` says in place of what they may.
    #[must_use]
    pub fn with_history_limits(self, limits: Limits) -> Program<'a> {
        let limits = Some(limits);
        Program { limits, ..self }
    }

    /// A session on `stream` with the negatives of the unchanged one.
    ///
    /// # Errors
    /// As [`Session::on`].
    pub fn session(&self, stream: &AuditStream) -> Result<Session, SessionError> {
        self.stop.check().map_err(DataError::from)?;
        let mut session = Session::on(stream.log()?, self.config.clone(), self.weights.clone())?;
        session.stop = self.stop.clone();
        let [own, other] = self.negatives.clone();
        let mut sampling = session.sampling.with_negatives(own);
        sampling.train_negatives.clone_from(&self.train_negatives);
        if let Some(sampler) = &self.sampler {
            sampling = sampling.with_sampler(sampler.clone());
        }
        if let Some(limits) = self.limits {
            sampling = sampling.with_history_limits(limits);
        }
        if let Some(encoding) = &self.encoding {
            sampling.histories.give(encoding.clone());
        }
        session.sampling = Arc::new(sampling);
        session.other_pool = other;
        session.candidates.clone_from(&self.candidates);
        Ok(session)
    }
}

impl Subject for Program<'_> {
    type Error = SessionError;

    fn scores(&mut self, stream: &AuditStream) -> Result<Vec<ScoredBatch>, SessionError> {
        let mut session = self.session(stream)?;
        let recording = Arc::new(Recording::of(session.sampling.sampler.clone()));
        session.sampling = Arc::new(session.sampling.with_sampler(recording.clone()));
        let mut memory = session.new_memory(self.device);
        let evaluator = session.evaluator(self.device)?;
        let scored = evaluator.scores_of(&self.model, &mut memory, 0..stream.events())?;
        let mut ranks = scored.ranks.iter().map(|rank| rank.reciprocal);
        let batches = scored.batches.into_iter().zip(scored.scores);
        let mut batches: Vec<ScoredBatch> = batches
            .map(|(batch, scores)| ScoredBatch {
                rank: ranks.by_ref().take(batch.events.len()).collect(),
                events: batch.events,
                positive: scores.positive,
                negative: scores.negative,
                sampled: Vec::new(),
            })
            .collect();
        for sampled in recording.take() {
            // Beside the batch's first event, a key may say which of several trips it is.
            let first = (sampled.event & u64::from(u32::MAX)) as usize;
            if let Some(batch) = batches.get_mut(first / self.sight.batch_size) {
                batch.sampled.push(sampled);
            }
        }
        Ok(batches)
    }

    fn losses(&mut self, stream: &AuditStream) -> Result<Vec<f32>, SessionError> {
        let session = self.session(stream)?;
        let mut losses = Vec::new();
        let mut training = session.training(self.device)?;
        training.end.epochs = 1;
        training.run(&mut |event| {
            if let TrainEvent::Losses { losses: read, .. } = event {
                losses.extend(read);
            }
            Ok(())
        })?;
        Ok(losses)
    }

    fn kept(&mut self, stream: &AuditStream, tested: bool) -> Result<Kept, SessionError> {
        let session = self.session(stream)?;
        let mut training = session.training(self.device)?;
        (training.end.epochs, training.test_each_epoch) = (EPOCHS, tested);
        let (_, best) = training.run(&mut |_| Ok(()))?;
        kept(&best, &training.memory)
    }

    fn answers(
        &mut self,
        stream: &AuditStream,
        asked: bool,
    ) -> Result<Option<Answers>, SessionError> {
        if self.config.model.memory_write == MemoryWrite::Read {
            return Ok(None);
        }
        let session = self.session(stream)?;
        let predictor = session
            .predictor(&self.model, self.device)
            .map_err(of_asking)?;
        let predictor = predictor.audited(self.sampler.clone(), self.limits);
        let pass = Pass {
            sampling: session.sampling.clone(),
            events: 0..stream.events(),
            part: SplitPart::Test,
            epoch: 0,
        };
        let batches = (0..pass.iterations()).map(|iteration| pass.batch(iteration));
        let answers = predictor.answers(&*stream.log()?, batches, asked);
        Ok(Some(answers.map_err(of_asking)?))
    }

    fn label_scores(&mut self, stream: &AuditStream) -> Result<Option<LabelScores>, SessionError> {
        let (Some(of), Some(classes)) = (self.config.start.task.label_of(), &self.classes) else {
            return Ok(None);
        };
        let session = self.session(stream)?;
        let labels = Labels::of(&session.sampling.log, &session.split, Some(classes))?;
        let logits = session
            .classification(of, labels, self.device, Every::Never)?
            .logits()?;
        let events = logits.into_iter();
        Ok(Some(LabelScores {
            events: events
                .map(|(event, logits)| (event as usize, logits))
                .collect(),
            reads_own_features: of == LabelOf::Event,
        }))
    }

    fn sight(&self) -> Sight {
        self.sight
    }
}

/// Why a predictor of a session could not answer.
fn of_asking(error: PredictError) -> SessionError {
    match error {
        PredictError::Session(error) => error,
        error => SessionError::Asked(error.to_string()),
    }
}

/// What a run keeps of `model` and `memory`.
///
/// # Errors
/// When the device does not hand them over.
pub fn kept(model: &LinkModel, memory: &NodeMemory) -> Result<Kept, SessionError> {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
    let weights = tgl_weights::export(model).map_err(SessionError::Unreadable)?;
    let mut parts: Vec<(String, Vec<u32>)> = weights
        .iter()
        .map(|(name, tensor)| (format!("weights {name}"), bits(&tensor.values)))
        .collect();
    let (rows, mails, clock) = match memory {
        NodeMemory::Device(memory) => {
            let (rows, mails) = memory.tables();
            (read(rows)?, read(mails)?, memory.node_times())
        }
        NodeMemory::Host(memory) => {
            let (rows, mails) = memory.tables();
            (rows.to_vec(), mails.to_vec(), memory.node_times())
        }
    };
    let times = bytemuck::cast_slice(clock.last_update()).to_vec();
    parts.push(("memory".to_owned(), bits(&rows)));
    parts.push(("mails".to_owned(), bits(&mails)));
    parts.push(("times of the memory".to_owned(), times));
    Ok(Kept(parts))
}

/// What was audited, and what was found.
#[derive(Debug, Clone, Serialize)]
pub struct AuditSummary {
    /// What it belongs to.
    #[serde(flatten)]
    pub setting: Setting,
    /// Events that the stream was changed around.
    pub probes: usize,
    /// Whether no rule was violated.
    pub passed: bool,
    /// The checks.
    #[serde(flatten)]
    pub report: Report,
}

/// Audits the program with the settings `config` on the first events of its stream, changed around
/// `probes` events. `begin` is told of the session and the device before; what it returns is told
/// which check begins.
///
/// Of the settings, those that only make an audit long are cut: events, unless given, the batch
/// size, and the number of candidates.
///
/// # Errors
/// See [`SessionError`].
pub fn audit<P: FnMut(Check)>(
    mut config: RunConfig,
    probes: usize,
    stop: &Stop,
    begin: impl FnOnce(&Session, &ComputeDevice) -> P + Send,
) -> Result<AuditSummary, SessionError> {
    config::start_threads(config.machine.threads)?;
    config.check_values()?;
    let weights = InitialWeights::open(&config)?;
    let stream = cut(&mut config, weights.as_deref(), stop)?;
    let log = stream.log()?;
    if !config.machine.no_memory_check {
        let adapter = device::chosen(config.device)?;
        Footprint::of(
            &OpenStream::of(config.clone(), log.clone(), weights.clone())?,
            adapter.as_ref(),
        )
        .check()?;
    }
    let mut session = Session::on(log, config, weights.clone())?;
    session.notes.splice(0..0, stream.notes.iter().cloned());
    device::on_device_thread(|| {
        let device = device::open(session.config.device)?;
        let mut progress = begin(&session, &device);
        let config = session.config.clone();
        let program = Program::with_weights(config, weights.clone(), &stream, &device.device)?;
        let mut program = program.until(stop.clone());
        let report = audit::run(&mut program, &stream, probes, &mut progress)?;
        Ok(AuditSummary {
            setting: session.setting("audit", &device),
            probes,
            passed: report.passed(),
            report,
        })
    })?
}

/// The stream of an audit with the settings `config`, which are cut to it.
///
/// # Errors
/// Settings out of range, a stream that can't be read.
pub fn stream_of(config: &mut RunConfig, stop: &Stop) -> Result<AuditStream, SessionError> {
    config.check_values()?;
    let weights = InitialWeights::open(config)?;
    cut(config, weights.as_deref(), stop)
}

/// The same for a model that begins with `weights`.
fn cut(
    config: &mut RunConfig,
    weights: Option<&InitialWeights>,
    stop: &Stop,
) -> Result<AuditStream, SessionError> {
    let options = OpenOptions {
        stop: stop.clone(),
        ..config.stream_options()
    };
    let log = EventLog::open(&config.source.data, &options)?;
    let events = config
        .stream
        .limit_events
        .unwrap_or(EVENTS)
        .min(log.events());
    let random = |width: usize| FeatureTable::random_normal(events, width, config.training.seed);
    let has_own = log.edge_features().is_some_and(|table| !table.all_zero());
    let edge = match config.stream.edge_features {
        FeatureSource::Random(width) => {
            if events.saturating_mul(width) > DRAWN_NUMBERS {
                return Err(SessionError::Config(ConfigError::Range {
                    option: "edge-features",
                    found: format!("random:{width} for {events} events"),
                    expected: "a product up to 268,435,456 (1 GiB): an audit copies the stream for \
                               each change of it; give a smaller WIDTH or --limit-events",
                }));
            }
            Some(random(width))
        }
        // Given weights fit the features that they were trained with, and no others.
        FeatureSource::File if !has_own && config.start.init.is_none() => Some(random(EDGE_WIDTH)),
        // By the unchanged stream: a change of it is no change of the scale.
        FeatureSource::Standardized => standardized(config, &log, events)?,
        FeatureSource::File | FeatureSource::Zero => None,
    };
    let mut stream = AuditStream::head(&log, events, edge.as_ref());
    if config.stream.edge_features == FeatureSource::Zero {
        (stream.edge, stream.edge_width) = (Vec::new(), 0);
    }
    config.stream.edge_features = FeatureSource::File;
    config.stream.edge_scale = None;
    config.stream.limit_events = None;
    // What is audited is cut and changed, and so never what given weights were trained on.
    if let Some(weights) = weights {
        weights.check_stream((log.hash(), stream.edge_width), config)?;
    }
    config.start.data_of_init = false;
    let most = (events / BATCHES).clamp(1, BATCH_SIZE);
    config.training.batch_size = config.training.batch_size.min(most);
    if config.protocol.name == Protocol::Tgb {
        // Recorded candidates are of the unchanged stream, and so are these.
        config.protocol.candidates = Some(CandidateSource::Drawn(CANDIDATES));
    }
    Ok(stream)
}

/// The edge features of the first `events` events, as a run with these settings standardises them.
fn standardized(
    config: &RunConfig,
    log: &EventLog,
    events: usize,
) -> Result<Option<FeatureTable>, SessionError> {
    let Some(table) = log.edge_features().filter(|table| is_used(table)) else {
        return Ok(None);
    };
    let settled = config.stream.edge_scale.clone();
    let scale = settled
        .filter(|scale| scale.width() == table.width())
        .unwrap_or_else(|| FeatureScale::of(table, log.split_of(events).train));
    let mut rows = vec![0.0; events * table.width()];
    for (event, row) in rows.chunks_mut(table.width()).enumerate() {
        table.row_into(event, row);
    }
    scale.apply(&mut rows);
    Ok(Some(FeatureTable::from_f32(events, table.width(), rows)?))
}

fn read(tensor: Tensor<2>) -> Result<Vec<f32>, SessionError> {
    Ok(device::read(tensor).map_err(EvalError::Device)?)
}
