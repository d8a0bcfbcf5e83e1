//! The parts of a run's settings, by what they mean: what a rule treats alike stands together.
//!
//! The help shows options in the order of their fields, each under the heading that it names; what
//! names none comes first, and is what most runs need.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::ArgPredicate;
use clap::{Args, ValueEnum, ValueHint};
use mspipe_datasets::reading::{Bipartite, ColumnChoice, IdKind, Missing, TimeUnit};
use mspipe_datasets::split::{SplitShares, SplitTimes};
use mspipe_datasets::{Format, OpenOptions, Reading, SplitRule};
use serde::{Deserialize, Serialize};

use super::candidates::CandidateSource;
use super::error::ConfigError;
use super::feature_place::FeaturePlace;
use super::max_time::MaxTime;
use crate::batch::{MailAggregation, TimeDelta};
use crate::checkpoint::Every;
use crate::eval::Monitor;
use crate::features::{FeatureScale, FeatureSource};
use crate::memory::MemoryWrite;
use crate::model::ModelName;
use crate::numbers::{any_whole, shortest};
use crate::pipeline::link::Link;
use crate::pipeline::profile::Residency;
use crate::pipeline::schedule::Schedule;
use crate::ranks::Launch;
use crate::train::classification::{Balance, LabelOf};
use crate::train::learning_rate::{LrScale, LrSchedule};
use crate::train::optimizer::OptimizerName;

/// Where the stream lies. Its content is compared by its SHA-256 wherever it matters, so that a
/// stream may be moved.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct SourceSettings {
    /// Event stream: a file, - for standard input, a store folder, a data set's name, or
    /// synthetic:NAME[:scale=X]
    // Empty for none; `validate` says so: a run that weights come from brings its own.
    #[arg(
        long,
        value_name = "PATH|NAME|synthetic:NAME",
        value_hint = ValueHint::AnyPath,
        default_value = "",
        hide_default_value = true,
        help_heading = "Stream"
    )]
    pub data: String,

    /// Edge features that are not in the stream's file, one row per event: .npy, .npz
    /// (FILE.npz:NAME) or PyTorch's .pt
    #[arg(long, value_name = "FILE", help_heading = "Files of events")]
    pub edge_feature_file: Option<PathBuf>,

    /// Node features, one row per node: .npy, .npz (FILE.npz:NAME) or PyTorch's .pt
    #[arg(long, value_name = "FILE", help_heading = "Files of events")]
    pub node_feature_file: Option<PathBuf>,
}

/// What is trained, and from where on.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct StartSettings {
    /// What to train
    #[arg(long, value_enum, default_value = "link", help_heading = "Training")]
    pub task: Task,

    /// Start from these weights: a run's folder, which brings its settings too (options
    /// given here take precedence), or a file (safetensors, TGL's .pkl)
    #[arg(long, value_name = "RUN|FILE", help_heading = "Training")]
    pub init: Option<PathBuf>,

    /// Number of runs ([`SeedsSettings`]), with the seeds from that of these settings on, each in a
    /// folder of the output
    #[arg(skip)]
    pub seeds: Option<usize>,

    /// What the run that `init` names was trained with, where that is known: found when the stream is
    /// opened
    #[arg(skip)]
    pub hide_batch_of_init: Option<Switch>,

    /// The columns that the run that `init` names was trained with, where there is one
    #[arg(skip)]
    pub columns_of_init: Option<ColumnChoice>,

    /// Whether `data` came with the run that `init` names, and not from the command line: then it
    /// must be what its weights were trained on
    #[arg(skip)]
    pub data_of_init: bool,
}

/// Most runs that differ by their seeds.
pub(super) const MOST_SEEDS: usize = 1000;

/// How many runs: what `mspipe train` alone asks.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct SeedsSettings {
    /// Train this many runs, with the seeds --seed, --seed + 1 and so on, each in a folder seed-S
    /// of --out, and print mean and standard deviation of their tests
    #[arg(
        long,
        value_name = "N",
        help_heading = "Training",
        hide_short_help = true,
        value_parser = any_whole::<usize>(1..=MOST_SEEDS as u64)
    )]
    pub seeds: Option<usize>,
}

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A model that predicts which pairs of nodes interact
    Link,
    /// A classifier of state labels, on embeddings by the model of --init
    Node,
    /// A classifier of labels of the events themselves, on embeddings of both nodes by the model of --init
    /// and the event's features
    Edge,
}

impl Task {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Task::Link => "link",
            Task::Node => "node",
            Task::Edge => "edge",
        }
    }

    /// What the labels are of that it classifies, if it does.
    pub fn label_of(self) -> Option<LabelOf> {
        match self {
            Task::Link => None,
            Task::Node => Some(LabelOf::Source),
            Task::Edge => Some(LabelOf::Event),
        }
    }
}

/// The model.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ModelSettings {
    /// Model to train
    #[arg(
        id = "model",
        long = "model",
        value_name = "MODEL",
        value_enum,
        default_value = "tgn",
        help_heading = "Model"
    )]
    pub name: ModelName,

    /// Which past events a root sees
    #[arg(long, value_enum, default_value = "recent", help_heading = "Model")]
    pub sampler: SamplerName,

    /// Time difference for the memory updater [default: message; query for apan and for
    /// --protocol tgl and mspipe]
    #[arg(long, value_enum, help_heading = "Model")]
    pub time_delta: Option<TimeDelta>,

    /// Whether the link predictor also reads what the two nodes have had to do with each other:
    /// how often and when they met, and how busy each is, counted in the stream itself and so never
    /// stale
    #[arg(long, value_enum, help_heading = "Model")]
    pub pair_history: Option<Switch>,

    /// When a node's memory is written
    #[arg(long, value_enum, default_value = "event", help_heading = "Model")]
    pub memory_write: MemoryWrite,

    /// How mail that reaches a node in one batch is combined
    #[arg(long, value_enum, default_value = "last", help_heading = "Model")]
    pub mail_aggregation: MailAggregation,

    /// Mail slots per node (apan)
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Model")]
    pub mail_slots: usize,

    /// Attention layers (tgn)
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Model")]
    pub layers: usize,

    /// Whether time encodings are trained
    #[arg(long, value_enum, default_value = "trained", help_heading = "Model")]
    pub time_encoding: TimeEncodingName,

    /// Past events sampled per root (tgn), or that receive a root's mail (apan)
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Model")]
    pub fanout: usize,

    /// Width of memory and embeddings
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Model")]
    pub width: usize,

    /// Width of time encodings
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Model")]
    pub time_width: usize,

    /// Attention heads; must divide the width
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Model")]
    pub heads: usize,

    /// Dropout on a layer's output
    #[arg(long, value_name = "P", default_value_t = 0.1, help_heading = "Model")]
    pub dropout: f32,

    /// Dropout on attention weights
    #[arg(long, value_name = "P", default_value_t = 0.1, help_heading = "Model")]
    pub attention_dropout: f32,
}

/// Which past events a root sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SamplerName {
    /// The most recent ones
    Recent,
    /// Uniform over the past, without replacement
    Uniform,
}

/// Whether frequencies and phases of time encodings are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeEncodingName {
    /// Trained with the other weights (TGN, TGL)
    Trained,
    /// Frozen at their initial values, from 1 down to 10^-9
    Fixed,
}

/// How it is trained.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct TrainingSettings {
    /// Passes over the training events, at most: see --patience
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub epochs: usize,

    /// Events per batch
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub batch_size: usize,

    /// Train with several ranks that share each batch: mpi for the processes of an MPI job, mpi:R for R of them and
    /// no other number, threads:R for R threads of this one. R ranks with a batch of B give what one process gives
    /// with R x B
    #[arg(long, value_name = "mpi|mpi:R|threads:R", help_heading = "Training")]
    pub ranks: Option<Launch>,

    /// Seed of every random choice
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Training")]
    pub seed: u64,

    /// Learning rate; with --lr-schedule its highest value
    #[arg(long, value_name = "LR", help_heading = "Training")]
    pub learning_rate: f64,

    /// What --learning-rate is multiplied by with --ranks
    #[arg(
        long,
        value_enum,
        default_value = "none",
        value_name = "SCALE",
        help_heading = "Training"
    )]
    pub scale_learning_rate: LrScale,

    /// What the learning rate does after --warmup, over the iterations of all --epochs
    #[arg(
        long,
        value_enum,
        default_value = "constant",
        help_heading = "Training"
    )]
    pub lr_schedule: LrSchedule,

    /// Iterations over which the learning rate first rises in equal steps; 0: none
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Training")]
    pub warmup: usize,

    /// What moves the weights
    #[arg(long, value_enum, default_value = "adam", help_heading = "Training")]
    pub optimizer: OptimizerName,

    /// Decoupled weight decay (AdamW): before each step all weights are multiplied by
    /// 1 - learning rate x W
    #[arg(
        long,
        value_name = "W",
        default_value_t = 0.0,
        help_heading = "Training"
    )]
    pub weight_decay: f64,

    /// Largest norm of the gradients of all weights together; larger ones are scaled down to it
    /// [default: none]
    #[arg(long, value_name = "NORM", help_heading = "Training")]
    pub clip_norm: Option<f64>,

    /// Measure of the validation part that chooses the epoch that is tested, and that
    /// --patience watches
    #[arg(long, value_enum, help_heading = "Training")]
    pub monitor: Option<Monitor>,

    /// End training after so many epochs in a row that are not better than the best one before;
    /// 0: never
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub patience: usize,

    /// Also evaluate the test part after each epoch (on a copy of the memory)
    #[arg(long, help_heading = "Run")]
    pub eval_test_each_epoch: bool,
}

impl TrainingSettings {
    /// Ranks that train together.
    pub fn ranks(&self) -> usize {
        self.ranks.map_or(1, Launch::size)
    }

    /// Events of a batch that all ranks share.
    pub fn batch_events(&self) -> usize {
        self.batch_size.saturating_mul(self.ranks())
    }
}

/// What the numbers are measured under.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ProtocolSettings {
    /// Protocol that the numbers are measured under
    #[arg(
        id = "protocol",
        long = "protocol",
        value_name = "PROTOCOL",
        value_enum,
        default_value = "default",
        help_heading = "Evaluation"
    )]
    pub name: Protocol,

    /// Whether the events of a batch are hidden from one another, in training and evaluation; off:
    /// a batch's earlier events are sampled like any of the past. An MRR is printed with it
    #[arg(long, value_enum, help_heading = "Evaluation")]
    pub hide_batch: Option<Switch>,

    /// Seed of what an evaluation draws: negatives, candidates, past events; runs with another
    /// --seed are judged by the same ones
    // None only until an earlier run's settings are settled.
    #[arg(
        long,
        value_name = "S",
        default_value = "0",
        help_heading = "Evaluation"
    )]
    pub eval_seed: Option<u64>,

    /// Candidates that a destination is ranked among with --protocol tgb: this many other
    /// destinations per event (at most all there are), so many of which up to half are destinations
    /// that the source has in training (TGB's generator), or recorded lists [default: 100]
    #[arg(
        long,
        value_name = "N|half-historical:N|FILE[,FILE]",
        help_heading = "Evaluation"
    )]
    pub candidates: Option<CandidateSource>,
}

impl ProtocolSettings {
    /// Whether the events of a batch are hidden from one another.
    pub fn hides_batch(&self) -> Switch {
        self.hide_batch.unwrap_or_else(|| self.name.hides_batch())
    }

    /// Settles what runs from before some settings were there did, with their `seed`.
    pub(super) fn settle_earlier(&mut self, seed: u64) {
        // Evaluation drew by the seed of the run.
        if self.eval_seed.is_none() {
            self.eval_seed = Some(seed);
            self.hide_batch = Some(self.hides_batch());
        }
    }
}

/// A setting that is on or off; the help of each such option says what that means.
#[expect(
    missing_docs,
    reason = "a line of help for each value would say nothing"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    On,
    Off,
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Switch::On => "on",
            Switch::Off => "off",
        })
    }
}

impl Switch {
    /// Whether it is on.
    pub fn is_on(self) -> bool {
        self == Switch::On
    }
}

/// What a number is measured under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Destination-only negatives, both edge directions, Δt between a node's events
    Default,
    /// As TGL: negatives from all nodes, source-to-destination edges, Δt up to the query
    Tgl,
    /// As TGB: each destination is ranked among --candidates (MRR, ties averaged), which also
    /// chooses the epoch; events of a batch don't see one another. TGB's batch size is 200
    Tgb,
    /// As DyGLib: training negatives from training destinations, tested with pairs of the past too
    /// (historical and inductive negatives), DyGLib's EdgeBanks beside; batches of 200
    Dyglib,
    /// As MSPipe's released code measures (--schedule mspipe is how it overlaps): negatives from all
    /// end points, in training those of training events, else as tgl; batch-mean AP chooses the
    /// epoch
    Mspipe,
}

impl Protocol {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Default => "default",
            Protocol::Tgl => "tgl",
            Protocol::Tgb => "tgb",
            Protocol::Dyglib => "dyglib",
            Protocol::Mspipe => "mspipe",
        }
    }

    /// Whether the link predictor reads pair histories unless told otherwise: TGL's, MSPipe's and
    /// DyGLib's models read none.
    pub(super) fn pair_history(self) -> Switch {
        match self {
            Protocol::Default | Protocol::Tgb => Switch::On,
            Protocol::Tgl | Protocol::Dyglib | Protocol::Mspipe => Switch::Off,
        }
    }

    /// Whether the events of a batch are hidden from one another unless told otherwise.
    pub(super) fn hides_batch(self) -> Switch {
        match self {
            Protocol::Tgb => Switch::On,
            _ => Switch::Off,
        }
    }

    /// The measure that chooses the epoch unless told otherwise: MRR where the protocol ranks, the
    /// mean of the batches' AP as MSPipe's code has it, else pooled AP.
    pub(crate) fn monitor(self) -> Monitor {
        match self {
            Protocol::Tgb => Monitor::ValMrr,
            Protocol::Default | Protocol::Tgl | Protocol::Dyglib => Monitor::ValAp,
            Protocol::Mspipe => Monitor::ValApBatchMean,
        }
    }
}

/// How a classifier of labels is trained, of nodes or of events.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct NodeSettings {
    /// Passes of the classifier over the training labels
    #[arg(
        id = "node_epochs",
        long = "node-epochs",
        value_name = "N",
        default_value_t = 20,
        help_heading = "Classification (--task node and edge)"
    )]
    pub epochs: usize,

    /// Labels per batch
    #[arg(
        id = "node_batch_size",
        long = "node-batch-size",
        value_name = "N",
        default_value_t = 200,
        help_heading = "Classification (--task node and edge)"
    )]
    pub batch_size: usize,

    /// Adam's learning rate for the classifier
    #[arg(
        id = "node_learning_rate",
        long = "node-learning-rate",
        value_name = "LR",
        default_value_t = 1e-3,
        help_heading = "Classification (--task node and edge)"
    )]
    pub learning_rate: f64,

    /// How classes weigh against one another; positive labels are rare, so epochs of `sample` are
    /// short (--node-epochs 100)
    // Mean validation AUC of TGN on Wikipedia (17 positives there; seeds 0, 1, 2; random:172
    // and zero features): none 0.815 after up to 20 epochs, sample 0.813 after up to 100.
    #[arg(
        long,
        value_enum,
        default_value = "none",
        help_heading = "Classification (--task node and edge)"
    )]
    pub balance: Balance,
}

/// What is used of the stream.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct StreamSettings {
    /// Edge features: zero (none), random:WIDTH, file (the stream's own, if it has any), or
    /// standardize (the same, each column less its mean, over its standard deviation, both of
    /// the training part)
    #[arg(
        long,
        value_name = "zero|random:WIDTH|file|standardize",
        default_value = "file",
        help_heading = "Stream"
    )]
    pub edge_features: FeatureSource,

    /// What `edge_features` are standardised by: of the training part, or of the run that `init`
    /// names
    #[arg(skip)]
    pub edge_scale: Option<FeatureScale>,

    /// Node features: zero (none), random:WIDTH (an identity of each node, as TGLite's
    /// examples draw for Wikipedia), or file (the stream's own, if it has any)
    #[arg(
        long,
        value_name = "zero|random:WIDTH|file",
        default_value = "file",
        help_heading = "Stream"
    )]
    pub node_features: FeatureSource,

    /// How files of events are read
    #[command(flatten)]
    pub reading: ReadingSettings,

    /// Use only the first N events of the stream
    #[arg(long, value_name = "N", help_heading = "Files of events")]
    pub limit_events: Option<usize>,
}

/// How a file of events is read, and how its stream is divided.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingSettings {
    /// Layout of the events: jodie, snap, tgl, dgb, tgb, tgb-seq, parquet, gdelt or csv; detected from
    /// the content if not given
    #[arg(long, help_heading = "Files of events")]
    pub format: Option<Format>,

    /// Sort events by time (stable; labels and features follow)
    #[arg(long, help_heading = "Files of events")]
    pub sort: bool,

    /// Roles of columns, by name or by number from 1, where their names are not recognised;
    /// with features= no other column is a feature
    #[arg(
        long,
        value_name = "src=A,dst=B,time=C,label=D,split=E,features=F+G,ignore=H",
        default_value = "",
        hide_default_value = true,
        help_heading = "Files of events"
    )]
    pub columns: ColumnChoice,

    /// The first line is an event: columns 1, 2 and 3 are source, destination and time, unless
    /// --columns says otherwise
    #[arg(long, help_heading = "Files of events")]
    pub no_header: bool,

    /// Ids: number, text, or auto (numbers if all are, without leading zeros)
    #[arg(
        long,
        value_name = "auto|number|text",
        default_value = "auto",
        help_heading = "Files of events"
    )]
    pub ids: IdKind,

    /// Whether sources and destinations are nodes of two kinds; auto: if their columns are
    /// named accordingly (user and item, buyer and product)
    #[arg(
        long,
        value_name = "auto|yes|no",
        default_value = "auto",
        help_heading = "Files of events"
    )]
    pub bipartite: Bipartite,

    /// Unit of times that are numbers; all but auto converts them to seconds
    #[arg(
        long,
        value_name = "auto|s|ms|us|ns",
        default_value = "auto",
        help_heading = "Files of events"
    )]
    pub time_unit: TimeUnit,

    /// How missing feature values are treated (empty, NA, nan, null)
    #[arg(
        long,
        value_name = "error|zero|mean",
        default_value = "error",
        help_heading = "Files of events"
    )]
    pub missing: Missing,

    /// Shares of training and validation events; the rest is for test [default: the stream's own
    /// split, else 0.7,0.15]
    #[arg(
        long,
        value_name = "TRAIN,VAL",
        conflicts_with = "split_at",
        help_heading = "Files of events"
    )]
    pub split: Option<SplitShares>,

    /// When validation and test begin: numbers in the stream's unit, or dates
    #[arg(
        long,
        value_name = "TIME,TIME",
        allow_hyphen_values = true,
        help_heading = "Files of events"
    )]
    pub split_at: Option<SplitTimes>,
}

impl ReadingSettings {
    /// These settings as the reader of streams takes them.
    pub fn options(&self) -> OpenOptions {
        let shares = self.split.map(SplitRule::Shares);
        OpenOptions {
            format: self.format,
            sort: self.sort,
            reading: Reading {
                columns: self.columns.clone(),
                no_header: self.no_header,
                ids: self.ids,
                bipartite: self.bipartite,
                time_unit: self.time_unit,
                missing: self.missing,
                like: None,
            },
            split: shares.or(self.split_at.map(SplitRule::Times)),
            ..OpenOptions::default()
        }
    }
}

/// What belongs to the machine that a run is on: changes no number of an iteration or an epoch, and
/// may be other when the run is resumed.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct MachineSettings {
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub threads: Option<usize>,

    /// How often to write a checkpoint for --resume, besides at the end of each epoch: a number of
    /// iterations, a time (90s, 10m, 2h), epoch (only then), or never
    #[arg(long, value_name = "N|TIME|epoch|never", default_value_t = Every::default(), help_heading = "Run")]
    pub checkpoint_every: Every,

    /// End training after the first iteration beyond this time (90s, 10m, 2h; counted from the
    /// start of training, anew after --resume) with a checkpoint, and test the best epoch that
    /// has ended (--task link)
    #[arg(long, value_name = "TIME", help_heading = "Training")]
    pub max_time: Option<MaxTime>,

    /// Start even if the estimate (--dry-run) exceeds the available RAM
    #[arg(long, help_heading = "Run")]
    pub no_memory_check: bool,

    /// Measure the cost of each operation of an iteration: a table at the end, and `profile` in
    /// summary.json
    #[arg(long, help_heading = "Run")]
    pub profile: bool,
}

/// Where what a run writes goes.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct OutputSettings {
    /// Folder of the run; must not hold a run yet [default: runs/DATA-MODEL-NUMBER]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Run")]
    pub out: Option<PathBuf>,

    /// Compare each N-th iteration with what memory that is not stale would give: errors of memory and of
    /// gradients, their norms and smoothness, into metrics.jsonl and the report. Costs a second forward
    /// pass an iteration, and changes no number of the run
    #[arg(long, value_name = "N", help_heading = "Pipeline")]
    pub probe_every: Option<NonZeroUsize>,

    /// Also write losses, metrics and settings as another program reads them, into the run's folder
    #[arg(long, value_enum, value_name = "PROGRAM", help_heading = "Run")]
    pub log: Option<LogName>,
}

/// Who else reads what a run gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogName {
    /// An event file: tensorboard --logdir runs
    Tensorboard,
}

/// Mitigation of staleness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MitigationName {
    /// Nothing
    None,
    /// A node keeps its last k pieces of mail, and its row absorbs all that it has not absorbed: none
    /// is lost (tgn, jodie)
    CatchUp,
    /// In training a row that is written is drawn towards what its node's past changes predict, and kept
    /// coherent with what it was (PRES)
    Pres,
    /// In training the oldest rows of a batch are pulled towards those of nodes that were similar before
    /// it (MSPipe-S)
    Similarity,
    /// The same as MSPipe's released code has it: similar in all of training, which scores then know in
    /// advance; nodes without memory too
    SimilarityReleased,
}

impl MitigationName {
    /// Whether it keeps a share of rows, by `--mitigation-keep`.
    pub fn keeps_a_share(self) -> bool {
        self.corrects_rows() || self == MitigationName::Pres
    }

    /// Whether it pulls rows towards others, by `--mitigation-keep` and `--mitigation-quantile`.
    pub fn corrects_rows(self) -> bool {
        use MitigationName::{Similarity, SimilarityReleased};
        matches!(self, Similarity | SimilarityReleased)
    }
}

/// Settings of the pipeline.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineSettings {
    /// How stages overlap: sequential, prefetch, staleness:K, mspipe, freshest, freshest:K,
    /// exact-overlap, auto, or replay:FILE (each k as in another run's ledger.jsonl). A measured k is
    /// 8 at most [default: auto; sequential with --memory host, --ranks or --profile]
    #[arg(
        long,
        value_name = "NAME",
        default_value = "auto",
        default_value_ifs([
            ("memory", ArgPredicate::from("host"), "sequential"),
            ("ranks", ArgPredicate::IsPresent, "sequential"),
            ("profile", ArgPredicate::from("true"), "sequential"),
        ]),
        hide_default_value = true,
        help_heading = "Pipeline"
    )]
    pub schedule: Schedule,

    /// Where node memory is kept
    #[arg(long, value_enum, default_value = "device", help_heading = "Pipeline")]
    pub memory: Residency,

    /// Where edge and node features are kept: host (in RAM, mapped; the rows of a batch are gathered there
    /// and cross the bus), device (in its memory; a batch says which rows it wants), device:SIZE (as many
    /// rows as fit into SIZE of its memory, such as device:2GiB, which are those that were wanted last; the
    /// others come with the batch), or auto (on a GPU as many as its memory has room for, else host)
    #[arg(
        long,
        value_name = "host|device|device:SIZE|auto",
        default_value = "auto",
        help_heading = "Pipeline"
    )]
    #[serde(default)]
    pub features: FeaturePlace,

    /// With memory on the host, emulate a bus of this bandwidth and latency for what crosses it
    /// in training; its rows, and events/s, are EMULATED
    #[arg(long, value_name = "RATE,LATENCY", help_heading = "Pipeline")]
    #[serde(default)]
    pub emulate_link: Option<Link>,

    /// Batches that may be ready ahead of the stage that takes them
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Pipeline")]
    pub queue_depth: usize,

    /// Mitigation of staleness
    #[arg(long, value_enum, default_value = "none", help_heading = "Pipeline")]
    pub mitigation: MitigationName,

    /// Mitigation: share of a corrected row that is kept (λ of similarity; γ of pres to begin with, which
    /// is trained)
    #[arg(
        long,
        value_name = "L",
        default_value_t = 0.9,
        help_heading = "Pipeline"
    )]
    pub mitigation_keep: f32,

    /// Mitigation: weight in the loss of the coherence of written rows with what they were (β of pres)
    #[arg(
        long,
        value_name = "B",
        default_value_t = COHERENCE,
        help_heading = "Pipeline"
    )]
    #[serde(default = "coherence")]
    pub coherence: f64,

    /// Mitigation: correct rows whose age is above this quantile of their batch
    #[arg(
        long,
        value_name = "Q",
        default_value_t = 0.99,
        help_heading = "Pipeline"
    )]
    pub mitigation_quantile: f64,
}

/// Beyond this nothing else would count.
const MOST_COHERENCE: f64 = 1000.0;

/// β of PRES's paper.
const COHERENCE: f64 = 0.1;

fn coherence() -> f64 {
    COHERENCE
}

impl PipelineSettings {
    /// Checks what the types can't.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let fail = |option, found: String, expected| {
            Err(ConfigError::Range {
                option,
                found,
                expected,
            })
        };
        if let (Some(link), Residency::Device) = (self.emulate_link, self.memory) {
            let expected = "--memory host with it: memory on the device crosses no bus";
            return fail(
                "emulate-link",
                format!("{link} with --memory device"),
                expected,
            );
        }
        if !(0.0..=1.0).contains(&self.mitigation_keep) {
            let found = self.mitigation_keep.to_string();
            return fail("mitigation-keep", found, "0 to 1");
        }
        if !(0.0..1.0).contains(&self.mitigation_quantile) {
            let found = shortest(self.mitigation_quantile);
            return fail("mitigation-quantile", found, "at least 0 and below 1");
        }
        if !(0.0..=MOST_COHERENCE).contains(&self.coherence) {
            let found = shortest(self.coherence);
            return fail("coherence", found, "0 to 1000");
        }
        Ok(())
    }
}
