//! Settings of a run: one struct for the command line, the resolved configuration that a
//! run writes down, and what may be read back.

mod candidates;
pub mod given;
mod limits;
mod names;
mod pipeline;
mod reading;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::checkpoint::Every;
use crate::device::DeviceChoice;
use crate::features::FeatureSource;
use crate::model::ModelName;

pub use candidates::CandidateSource;
pub use limits::start_threads;
pub use names::{
    BalanceName, MailAggregationName, MemoryWriteName, Protocol, SamplerName, Task, TimeDeltaName,
    TimeEncodingName,
};
pub use pipeline::{MemoryPlaceName, MitigationName, PipelineConfig};
pub use reading::ReadingConfig;

/// Settings that contradict one another.
#[derive(Debug, Error, PartialEq)]
pub enum ConfigError {
    /// A number out of range.
    #[error("--{option} is {found}, expected {expected}")]
    Range {
        /// The option's name.
        option: &'static str,
        /// What was given.
        found: String,
        /// What is possible.
        expected: &'static str,
    },
    /// An option that is needed was not given.
    #[error("--{option} is missing: {expected}")]
    Missing {
        /// The option's name.
        option: &'static str,
        /// What to give, and why.
        expected: &'static str,
    },
    /// Threads that the system does not give.
    #[error("--threads is {threads}, which can't be started: {reason}; give fewer")]
    Threads {
        /// What was given.
        threads: usize,
        /// Why.
        reason: String,
    },
    /// An option that a run has settled.
    #[error(
        "--{0} can't be given with --resume, which goes on with the settings of the run; to begin \
         a run with its weights and other settings: --init RUN"
    )]
    OfRun(String),
    /// The settings of an earlier run can't be read.
    #[error("{}: can't be read as the settings of a run: {reason}; give the run's weights \
             file instead, and the settings as options", path.display())]
    Run {
        /// Its `config.json`.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Settings of a training run.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Event stream: a file, - for standard input, a store folder, a data set's name, or
    /// synthetic:NAME[:scale=X]
    // Empty for none; `validate` says so: a run that weights come from brings its own.
    #[arg(
        long,
        value_name = "PATH|NAME|synthetic:NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub data: String,

    /// What is trained
    #[arg(long, value_enum, default_value = "link")]
    pub task: Task,

    /// Begin with these weights: a run's folder, which brings its settings too (options
    /// given here come first), or a file (safetensors, TGL's .pkl)
    #[arg(long, value_name = "RUN|FILE")]
    pub init: Option<PathBuf>,

    /// Model to train
    #[arg(long, value_enum, default_value = "tgn")]
    pub model: ModelName,

    /// Device: auto, cpu, gpu, gpu:N or software
    #[arg(long, default_value = "auto")]
    #[serde(with = "as_text")]
    pub device: DeviceChoice,

    /// Passes over the training events
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub epochs: usize,

    /// Events of a batch
    #[arg(long, value_name = "N", default_value_t = 600)]
    pub batch_size: usize,

    /// Seed of every random choice
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,

    /// What the numbers are measured under
    #[arg(long, value_enum, default_value = "default")]
    pub protocol: Protocol,

    /// Whom a destination is ranked among with --protocol tgb: so many other destinations an
    /// event (as many as there are for all), or recorded lists [default: 100]
    #[arg(long, value_name = "N|FILE[,FILE]")]
    #[serde(default)]
    pub candidates: Option<CandidateSource>,

    /// Edge features: zero (none), random:WIDTH, or file (the stream's own, if it has any)
    #[arg(long, value_name = "zero|random:WIDTH|file", default_value = "file")]
    pub edge_features: FeatureSource,

    /// Node features: zero (none), random:WIDTH (an identity of each node, as TGLite's
    /// examples draw for Wikipedia), or file (the stream's own, if it has any)
    #[arg(long, value_name = "zero|random:WIDTH|file", default_value = "file")]
    pub node_features: FeatureSource,

    /// Edge features that are not in the stream's file, one row an event: .npy, .npz
    /// (FILE.npz:NAME) or PyTorch's .pt
    #[arg(long, value_name = "FILE", help_heading = "Files of events")]
    #[serde(default)]
    pub edge_feature_file: Option<PathBuf>,

    /// Node features, one row a node: .npy, .npz (FILE.npz:NAME) or PyTorch's .pt
    #[arg(long, value_name = "FILE", help_heading = "Files of events")]
    #[serde(default)]
    pub node_feature_file: Option<PathBuf>,

    /// How files of events are read
    #[command(flatten)]
    #[serde(default)]
    pub reading: ReadingConfig,

    /// Folder of the run; must not hold a run yet [default: runs/DATA-MODEL-NUMBER]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Which past events a root sees
    #[arg(long, value_enum, default_value = "recent", help_heading = "Model")]
    pub sampler: SamplerName,

    /// Time difference for the memory updater [default: message; query for apan and for
    /// --protocol tgl]
    #[arg(long, value_enum, help_heading = "Model")]
    pub time_delta: Option<TimeDeltaName>,

    /// When a node's memory is written
    #[arg(long, value_enum, default_value = "event", help_heading = "Model")]
    pub memory_write: MemoryWriteName,

    /// What becomes of several mails for one node in a batch
    #[arg(long, value_enum, default_value = "last", help_heading = "Model")]
    pub mail_aggregation: MailAggregationName,

    /// Mails that a node keeps (apan)
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Model")]
    pub mail_slots: usize,

    /// Attention layers (tgn)
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Model")]
    pub layers: usize,

    /// Whether time encodings are trained
    #[arg(long, value_enum, default_value = "trained", help_heading = "Model")]
    pub time_encoding: TimeEncodingName,

    /// Past events sampled for a root (tgn), or that get a root's mail (apan)
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

    /// Dropout of a layer's output
    #[arg(long, value_name = "P", default_value_t = 0.1, help_heading = "Model")]
    pub dropout: f32,

    /// Dropout of attention weights
    #[arg(long, value_name = "P", default_value_t = 0.1, help_heading = "Model")]
    pub attention_dropout: f32,

    /// Adam's learning rate
    #[arg(
        long,
        value_name = "LR",
        default_value_t = 1e-4,
        help_heading = "Model"
    )]
    pub learning_rate: f64,

    /// Passes over the training labels
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        help_heading = "Node classification"
    )]
    pub node_epochs: usize,

    /// Labels of a batch
    #[arg(
        long,
        value_name = "N",
        default_value_t = 200,
        help_heading = "Node classification"
    )]
    pub node_batch_size: usize,

    /// Adam's learning rate for the classifier
    #[arg(
        long,
        value_name = "LR",
        default_value_t = 1e-3,
        help_heading = "Node classification"
    )]
    pub node_learning_rate: f64,

    /// What an epoch goes over; positive labels are rare, so that epochs of `sample` are
    /// short (--node-epochs 100)
    // Mean validation AUC of TGN on Wikipedia (17 positives there; seeds 0, 1, 2; random:172
    // and zero features): none 0.815 after up to 20 epochs, sample 0.813 after up to 100.
    #[arg(
        long,
        value_enum,
        default_value = "none",
        help_heading = "Node classification"
    )]
    pub balance: BalanceName,

    /// Use only the first N events of the stream
    #[arg(long, value_name = "N")]
    pub limit_events: Option<usize>,

    /// Worker threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,

    /// Evaluate the test part after each epoch too (on a copy of the memory)
    #[arg(long)]
    pub eval_test_each_epoch: bool,

    /// How often the run is kept for --resume, besides at the end of each epoch: a number of
    /// iterations, a time (90s, 10m, 2h), epoch (only then), or never
    #[arg(long, value_name = "N|TIME|epoch|never", default_value_t = Every::default())]
    #[serde(default)]
    pub checkpoint_every: Every,

    /// Measure what each operation of an iteration costs: a table at the end, and `profile` in
    /// summary.json
    #[arg(long)]
    #[serde(default)]
    pub profile: bool,

    /// Begin even if the prediction (--dry-run) says that RAM won't do
    #[arg(long)]
    #[serde(default)]
    pub no_memory_check: bool,

    /// Whether `data` came with the run that `init` names, and not from the command line: then it must
    /// be what its weights were trained on
    #[arg(skip)]
    #[serde(skip)]
    pub data_of_init: bool,

    /// How iterations overlap
    #[command(flatten)]
    pub pipeline: PipelineConfig,
}

/// Serde of values that print and parse.
mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err = String>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl RunConfig {
    /// The settings that a run has written to `path`.
    ///
    /// # Errors
    /// When the file can't be read or is of another kind.
    pub fn read(path: &Path) -> Result<RunConfig, ConfigError> {
        let failed = |reason: String| ConfigError::Run {
            path: path.to_owned(),
            reason,
        };
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
    }

    /// Checks what the types can't.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |option, found: String, expected| {
            Err(ConfigError::Range {
                option,
                found,
                expected,
            })
        };
        if self.data.is_empty() {
            return Err(ConfigError::Missing {
                option: "data",
                expected: "give a file, a data set's name, or synthetic:wikipedia for a generated \
                           stream",
            });
        }
        if self.task == Task::Node && self.init.is_none() {
            return Err(ConfigError::Missing {
                option: "init",
                expected: "--task node classifies embeddings; give the folder of a link \
                           prediction run, or a weights file",
            });
        }
        if let (Some(candidates), false) = (&self.candidates, self.protocol == Protocol::Tgb) {
            return fail(
                "candidates",
                candidates.to_string(),
                "--protocol tgb with it: no other protocol ranks",
            );
        }
        if self.profile && self.task == Task::Node {
            return fail("profile", "given".to_owned(), "--task link with it");
        }
        limits::check(self)?;
        self.pipeline.validate()?;
        if !self.width.is_multiple_of(self.heads) {
            let found = format!("{} with {} heads", self.width, self.heads);
            return fail("width", found, "a multiple of --heads");
        }
        for (option, p) in [
            ("dropout", self.dropout),
            ("attention-dropout", self.attention_dropout),
        ] {
            if !(0.0..1.0).contains(&p) {
                return fail(option, p.to_string(), "at least 0 and below 1");
            }
        }
        for (option, rate) in [
            ("learning-rate", self.learning_rate),
            ("node-learning-rate", self.node_learning_rate),
        ] {
            if !(rate > 0.0 && rate.is_finite()) {
                return fail(option, rate.to_string(), "a number above 0");
            }
        }
        // The attention kernel keeps its slots' time encodings in workgroup memory.
        for (option, slots) in [("fanout", self.fanout), ("mail-slots", self.mail_slots)] {
            if slots * self.time_width > 1500 {
                let found = format!("{slots} with time width {}", self.time_width);
                return fail(option, found, "a product with the time width up to 1500");
            }
            if slots * self.heads > 128 {
                let found = format!("{slots} with {} heads", self.heads);
                return fail(option, found, "a product with the heads up to 128");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        run: RunConfig,
    }

    fn parse(arguments: &[&str]) -> RunConfig {
        let data: &[&str] = if arguments.contains(&"--data=") {
            &["test"]
        } else {
            &["test", "--data", "x"]
        };
        let all = data.iter().chain(arguments);
        Command::try_parse_from(all).unwrap().run
    }

    #[test]
    fn a_written_configuration_reads_back() {
        let run = parse(&["--device", "gpu:2", "--edge-features", "random:172"]);
        let text = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<RunConfig>(&text).unwrap(), run);
        let unknown = text.replacen('{', "{\"sede\":1,", 1);
        let error = serde_json::from_str::<RunConfig>(&unknown).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `sede`"),
            "{error}"
        );
    }

    #[test]
    fn every_range_is_checked() {
        for (option, value) in [
            ("--epochs", "0"),
            ("--batch-size", "0"),
            ("--fanout", "0"),
            ("--fanout", "65"),
            ("--layers", "0"),
            ("--layers", "5"),
            ("--mail-slots", "0"),
            ("--mail-slots", "65"),
            ("--width", "0"),
            ("--time-width", "0"),
            ("--time-width", "151"),
            ("--heads", "0"),
            ("--heads", "3"),
            ("--dropout", "1"),
            ("--attention-dropout", "-0.5"),
            ("--learning-rate", "NaN"),
            ("--node-epochs", "0"),
            ("--node-batch-size", "0"),
            ("--node-learning-rate", "0"),
            ("--task", "node"),
            ("--data", ""),
            ("--threads", "0"),
            ("--candidates", "7"),
            ("--epochs", "18446744073709551615"),
            ("--node-epochs", "18446744073709551615"),
            ("--batch-size", "18446744073709551615"),
            ("--node-batch-size", "18446744073709551615"),
            ("--fanout", "9223372036854775808"),
            ("--mail-slots", "9223372036854775808"),
            ("--heads", "9223372036854775808"),
            ("--width", "18446744073709551614"),
            ("--time-width", "18446744073709551615"),
            ("--queue-depth", "18446744073709551615"),
            ("--edge-features", "random:18446744073709551615"),
            ("--node-features", "random:18446744073709551615"),
            ("--threads", "100000"),
        ] {
            let argument = format!("{option}={value}");
            assert!(parse(&[&argument]).validate().is_err(), "{argument}");
        }
        assert_eq!(parse(&[]).validate(), Ok(()));
    }
}
