//! Results of a run, as `summary.json` and `--json` have it: one struct per task.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mspipe_datasets::ram;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::{
    CandidateSource, MitigationName, PipelineSettings, Protocol, RunConfig, Switch,
};
use crate::eval::{LinkMetrics, Monitor};
use crate::model::ModelName;
use crate::pipeline::ledger::Exchanged;
use crate::pipeline::link::Link;
use crate::pipeline::profile::Residency;
use crate::pipeline::schedule::Schedule;
use crate::pipeline::staleness::StaleMemory;
use crate::pipeline::step::Lane;
use crate::pipeline::trace::QueueTotals;
use crate::pipeline::{Stage, StageTimes};
use crate::profiler::report::Profile;
use crate::ranks::Launch;
use crate::train::classification::{Balance, ClassificationRecord};
use crate::train::ended::Ended;
use crate::train::metrics::{CountsMetrics, EdgeBankMetrics, TestMetrics};
use crate::train::observer::{EpochRecord, TrainRecord};

/// The stream of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// `cpu` or `wgpu`.
    pub backend: String,
    /// Adapter, driver and API.
    pub adapter: String,
}

/// What numbers belong to.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// `link`, `node`, `edge`, `eval` or `audit`.
    pub task: &'static str,
    /// The stream.
    pub data: Dataset,
    /// The model.
    pub model: ModelName,
    /// The device.
    pub device: DeviceRecord,
    /// What the numbers were measured under.
    pub protocol: Protocol,
    /// Whether the link predictor read pair histories.
    pub pair_history: Switch,
    /// Whether the events of a batch were hidden from one another.
    pub hide_batch: Switch,
    /// The same in the training of the weights that it began with, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_hide_batch: Option<Switch>,
    /// What destinations were ranked among, where it was given: without it they are the data set's
    /// recorded candidates, or 100 drawn ones.
    pub candidates: Option<CandidateSource>,
    /// Seed.
    pub seed: u64,
    /// Seed of what evaluations drew.
    pub eval_seed: u64,
    /// Events per batch, of all ranks.
    pub batch_size: usize,
    /// The ranks that shared each batch.
    #[serde(skip)]
    pub ranks: Option<Launch>,
    /// The weights that it began with.
    pub init: Option<PathBuf>,
    /// What the user was told of the stream and the settings.
    pub notes: Vec<String>,
}

impl Setting {
    /// That of `config` on a stream and a device, with what was said of them.
    pub fn new(
        config: &RunConfig,
        task: &'static str,
        data: Dataset,
        device: DeviceRecord,
        notes: Vec<String>,
    ) -> Setting {
        Setting {
            task,
            data,
            model: config.model.name,
            device,
            protocol: config.protocol.name,
            pair_history: config.pair_history(),
            hide_batch: config.protocol.hides_batch(),
            init_hide_batch: config.start.hide_batch_of_init,
            candidates: config.protocol.candidates.clone(),
            seed: config.training.seed,
            eval_seed: config.eval_seed(),
            batch_size: config.training.batch_events(),
            ranks: config.training.ranks,
            init: config.start.init.clone(),
            notes,
        }
    }
}

/// Results of a link prediction run.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// `link`.
    pub task: &'static str,
    /// The stream.
    pub data: Dataset,
    /// The model.
    pub model: ModelName,
    /// The device.
    pub device: DeviceRecord,
    /// What overlapped.
    pub schedule: Schedule,
    /// Where node memory was kept.
    pub memory: Residency,
    /// A bus that was emulated: times and events/s are of it and not of the device's own.
    pub emulated_link: Option<Link>,
    /// What was done about stale memory.
    pub mitigation: MitigationName,
    /// Training iterations with each k.
    pub staleness: BTreeMap<usize, usize>,
    /// Training iterations that followed one another under `auto`, which found that quicker or tried it.
    pub in_turn: usize,
    /// What staleness did to memory, over all training iterations.
    pub stale_memory: StaleMemory,
    /// Pieces of mail that the updater absorbed into the rows that training read.
    pub updater_rows: u64,
    /// Rows that the mitigation corrected in training, if it is one that does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected_rows: Option<u64>,
    /// Seconds that training waited for its input.
    pub stall_seconds: f64,
    /// What rank 0 gave to the others in all training iterations, and what that took, if there are others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchanged: Option<Exchanged>,
    /// What the numbers were measured under.
    pub protocol: Protocol,
    /// Whether the link predictor read pair histories.
    pub pair_history: Switch,
    /// Whether the events of a batch were hidden from one another.
    pub hide_batch: Switch,
    /// The same in the training of the weights that it began with, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_hide_batch: Option<Switch>,
    /// What destinations were ranked among, where it was given: without it they are the data set's
    /// recorded candidates, or 100 drawn ones.
    pub candidates: Option<CandidateSource>,
    /// Seed.
    pub seed: u64,
    /// Seed of what evaluations drew.
    pub eval_seed: u64,
    /// Events per batch, of all ranks.
    pub batch_size: usize,
    /// The ranks that shared each batch, as `--ranks` says it; those of the end, if it was resumed by others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranks: Option<Launch>,
    /// The weights that it began with, where it did not draw its own.
    pub init: Option<PathBuf>,
    /// What the user was told of the stream and the settings.
    pub notes: Vec<String>,
    /// Each epoch.
    pub epochs: Vec<EpochRecord>,
    /// Epoch (from 1) whose weights and memory the test used.
    pub best_epoch: usize,
    /// The measure that chose it.
    pub monitor: Monitor,
    /// Why training ended.
    pub ended: Ended,
    /// Metrics of the test part.
    #[serde(flatten)]
    pub test: TestMetrics,
    /// The non-learning baseline.
    pub edgebank: EdgeBankMetrics,
    /// The counting baseline.
    pub counts: CountsMetrics,
    /// Seconds of the threads in each stage, over all training epochs; on a GPU its thread only
    /// encodes.
    pub stage_seconds: Map<String, Value>,
    /// Those of `train` until the updated memory was known, where that was told from the rest: with
    /// memory on the host, in turn or written back early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updater_seconds: Option<f64>,
    /// What a GPU did in an iteration, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueSeconds>,
    /// What the run took of the machine.
    pub machine_use: MachineUse,
    /// What an iteration costs, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Why the trace or the chart of the last epoch is missing, or of an epoch before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_written: Option<String>,
}

impl Summary {
    /// From a finished run.
    pub fn new(
        setting: Setting,
        pipeline: &PipelineSettings,
        record: TrainRecord,
        machine_use: MachineUse,
        profile: Option<Profile>,
    ) -> Summary {
        Summary {
            task: setting.task,
            data: setting.data,
            model: setting.model,
            device: setting.device,
            schedule: pipeline.schedule.clone(),
            memory: pipeline.memory,
            emulated_link: pipeline.emulate_link,
            mitigation: pipeline.mitigation,
            staleness: record.staleness,
            in_turn: record.in_turn,
            stale_memory: record.stale_memory,
            updater_rows: record.updater_rows,
            corrected_rows: record.corrected_rows,
            stall_seconds: record.stall.as_secs_f64(),
            exchanged: record.exchanged,
            protocol: setting.protocol,
            pair_history: setting.pair_history,
            hide_batch: setting.hide_batch,
            init_hide_batch: setting.init_hide_batch,
            candidates: setting.candidates,
            seed: setting.seed,
            eval_seed: setting.eval_seed,
            batch_size: setting.batch_size,
            ranks: setting.ranks,
            init: setting.init,
            notes: setting.notes,
            epochs: record.epochs,
            best_epoch: record.best_epoch,
            monitor: record.monitor,
            ended: record.ended,
            test: record.test,
            edgebank: record.edgebank,
            counts: record.counts,
            stage_seconds: stage_seconds(&record.stage_times),
            updater_seconds: (!record.updater.is_zero()).then_some(record.updater.as_secs_f64()),
            queue: QueueSeconds::of(&record.queue),
            machine_use,
            profile,
            not_written: record.not_written,
        }
    }
}

/// Memory that a run was estimated to take, before it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// RAM.
    pub ram_bytes: u64,
    /// The device's memory, 0 on the CPU.
    pub device_bytes: u64,
}

/// What a run took of the machine, beside what was estimated before it.
#[derive(Debug, Clone, Serialize)]
pub struct MachineUse {
    /// The most RAM that the process had at once, pages of mapped files included; none where the system
    /// does not tell.
    pub peak_ram_bytes: Option<u64>,
    /// RAM that was estimated, without mapped files.
    pub estimated_ram_bytes: Option<u64>,
    /// The most memory of a GPU that was taken, looked at after each part of an epoch; none on the CPU
    /// and where the graphics interface does not tell.
    pub peak_device_bytes: Option<u64>,
    /// Memory of a GPU that was estimated.
    pub estimated_device_bytes: Option<u64>,
    /// Share of the time of training in which the device worked: a GPU's queue, by the iterations that were
    /// measured, or else the thread that trains.
    pub device_busy: f64,
    /// Tables of edge and node features, as far as the stream has them.
    pub features: Vec<FeatureUse>,
}

/// How much of a table of features lay on the device, and what batches found there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FeatureUse {
    /// `edge features` or `node features`.
    pub table: &'static str,
    /// Its rows.
    pub rows: usize,
    /// Those for which there was room on the device; 0 where all were gathered in RAM.
    pub on_device: usize,
    /// Bytes of that room.
    pub bytes: u64,
    /// Batches of training and evaluation that read rows of it there, each of their layers by itself.
    pub batches: u64,
    /// Rows that they read.
    pub wanted: u64,
    /// Those of them that were there before.
    pub found: u64,
    /// Batches that read more rows than there was room for, in several pieces.
    pub divided: u64,
    /// Bytes that all of them sent: which rows they read, and those that were missing.
    pub sent_bytes: u64,
}

impl MachineUse {
    /// Of a finished run; RAM up to now.
    pub fn of(
        record: &TrainRecord,
        estimate: Option<Estimate>,
        features: Vec<FeatureUse>,
    ) -> MachineUse {
        let iterations: usize = record.staleness.values().sum();
        let of_queue = |lane| -> Option<f64> {
            let seconds = Stage::ALL.map(|stage| record.queue.mean_seconds(lane, stage));
            seconds.into_iter().sum()
        };
        let queue = of_queue(Lane::Gpu).zip(of_queue(Lane::Bus));
        let worked = match queue {
            Some((gpu, bus)) => (gpu + bus) * iterations as f64,
            None => record.stage_times.of(Stage::Train).as_secs_f64(),
        };
        let trained: f64 = record.epochs.iter().map(|epoch| epoch.train_seconds).sum();
        MachineUse {
            peak_ram_bytes: ram::peak_bytes(),
            estimated_ram_bytes: estimate.map(|estimate| estimate.ram_bytes),
            peak_device_bytes: record.device_bytes,
            estimated_device_bytes: estimate
                .map(|estimate| estimate.device_bytes)
                .filter(|bytes| *bytes > 0),
            device_busy: (worked / trained.max(f64::MIN_POSITIVE)).min(1.0),
            features,
        }
    }
}

/// Mean seconds of an iteration in the queue of a GPU, which works beside the threads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueSeconds {
    /// Running kernels, by stage.
    pub gpu: Map<String, Value>,
    /// Copying between host and device, by stage.
    pub bus: Map<String, Value>,
    /// Running the kernels of `train` until the updated memory was known, where that was told from the
    /// rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updater: Option<f64>,
    /// Time of the device's thread to encode an iteration, while the queue works; not in the records of
    /// versions that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encode: Option<f64>,
    /// Iterations that were measured.
    pub iterations: u64,
    /// How: `timestamps`, or `waiting` for each step where the adapter has none.
    pub measured_by: String,
}

impl QueueSeconds {
    fn of(totals: &QueueTotals) -> Option<QueueSeconds> {
        let lane = |lane| -> Option<Map<String, Value>> {
            let mean = |stage: Stage| {
                let seconds = totals.mean_seconds(lane, stage)?;
                Some((stage.name().to_owned(), json!(seconds)))
            };
            Stage::ALL.into_iter().map(mean).collect()
        };
        Some(QueueSeconds {
            gpu: lane(Lane::Gpu)?,
            bus: lane(Lane::Bus)?,
            updater: (!totals.updater.is_zero())
                .then(|| totals.updater.as_secs_f64() / totals.iterations as f64),
            encode: totals.mean_encode_seconds(),
            iterations: totals.iterations,
            measured_by: match totals.in_turn {
                0 => "timestamps",
                _ => "waiting",
            }
            .to_owned(),
        })
    }

    /// Each lane's name and its mean seconds in the stages.
    pub fn lanes(&self) -> [(&'static str, [f64; 5]); 2] {
        [(Lane::Gpu, &self.gpu), (Lane::Bus, &self.bus)].map(|(lane, seconds)| {
            let of = |stage: Stage| seconds[stage.name()].as_f64().unwrap_or_default();
            (lane.name(), Stage::ALL.map(of))
        })
    }
}

fn stage_seconds(times: &StageTimes) -> Map<String, Value> {
    Stage::ALL
        .into_iter()
        .map(|stage| {
            let seconds = times.of(stage).as_secs_f64();
            (stage.name().to_owned(), json!(seconds))
        })
        .collect()
}

/// Results of an evaluation of fixed weights.
#[derive(Debug, Clone, Serialize)]
pub struct EvalSummary {
    /// What the numbers belong to; `init` are the weights.
    #[serde(flatten)]
    pub setting: Setting,
    /// Metrics of the validation part; None where the test alone is measured.
    pub val: Option<LinkMetrics>,
    /// Metrics of the test part.
    #[serde(flatten)]
    pub test: TestMetrics,
    /// The non-learning baseline.
    pub edgebank: EdgeBankMetrics,
    /// The counting baseline.
    pub counts: CountsMetrics,
}

/// Results of a classification of labels.
#[derive(Debug, Clone, Serialize)]
pub struct ClassificationSummary {
    /// What the numbers belong to; `init` are the encoder's weights.
    #[serde(flatten)]
    pub setting: Setting,
    /// How classes weighed.
    pub balance: Balance,
    /// What came out.
    #[serde(flatten)]
    pub record: ClassificationRecord,
}
