//! Settings of a run: one struct for the command line, the resolved configuration that a
//! run writes down, and what may be read back.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::device::DeviceChoice;
use crate::features::FeatureSource;

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
}

/// A model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelName {
    /// Temporal Graph Network: GRU memory, temporal attention
    Tgn,
}

/// What a number is measured under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Destination-only negatives, both edge directions, Δt between a node's events
    Default,
    /// As TGL: negatives from all nodes, source-to-destination edges, Δt up to the query
    Tgl,
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

/// Which time difference the memory updater gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeDeltaName {
    /// Between a node's last two events (TGN's paper); one updater row a node
    Message,
    /// From a node's last event to the query (TGL, MSPipe); one updater row a (node, time)
    Query,
}

/// When a memory row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryWriteName {
    /// When its node has an event (TGN, TGL); negatives never write
    Event,
    /// Whenever it is read, by a negative too (TGLite)
    Read,
}

/// What overlaps with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleName {
    /// Nothing overlaps; memory is never stale
    Sequential,
}

/// Settings of a training run.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Event stream: a file, a store folder, a data set's name, or synthetic:NAME[:scale=X]
    #[arg(long, value_name = "PATH|NAME|synthetic:NAME")]
    pub data: String,

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

    /// Edge features: zero (none), random:WIDTH, or file (the stream's own, if it has any)
    #[arg(long, value_name = "zero|random:WIDTH|file", default_value = "file")]
    pub edge_features: FeatureSource,

    /// Node features: zero (none), random:WIDTH (an identity of each node, as TGLite's
    /// examples draw for Wikipedia), or file (the stream's own, if it has any)
    #[arg(long, value_name = "zero|random:WIDTH|file", default_value = "file")]
    pub node_features: FeatureSource,

    /// Folder of the run; must not hold a run yet [default: runs/DATA-MODEL-NUMBER]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// What overlaps with what
    #[arg(long, value_enum, default_value = "sequential")]
    pub schedule: ScheduleName,

    /// Which past events a root sees
    #[arg(long, value_enum, default_value = "recent", help_heading = "Model")]
    pub sampler: SamplerName,

    /// Time difference for the memory updater [default: message, tgl: query]
    #[arg(long, value_enum, help_heading = "Model")]
    pub time_delta: Option<TimeDeltaName>,

    /// When a node's memory is written
    #[arg(long, value_enum, default_value = "event", help_heading = "Model")]
    pub memory_write: MemoryWriteName,

    /// Past events sampled for a root
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

    /// Use only the first N events of the stream
    #[arg(long, value_name = "N")]
    pub limit_events: Option<usize>,

    /// Worker threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,

    /// Evaluate the test part after each epoch too (on a copy of the memory)
    #[arg(long)]
    pub eval_test_each_epoch: bool,
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
        let positive = [
            ("epochs", self.epochs),
            ("batch-size", self.batch_size),
            ("fanout", self.fanout),
            ("width", self.width),
            ("time-width", self.time_width),
            ("heads", self.heads),
        ];
        if let Some((option, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return fail(option, "0".to_owned(), "at least 1");
        }
        if self.threads == Some(0) {
            return fail("threads", "0".to_owned(), "at least 1");
        }
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
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            let found = self.learning_rate.to_string();
            return fail("learning-rate", found, "a number above 0");
        }
        // The attention kernel keeps its slots' time encodings in workgroup memory.
        if self.fanout * self.time_width > 1500 {
            let found = format!("{} with time width {}", self.fanout, self.time_width);
            return fail("fanout", found, "fanout x time width up to 1500");
        }
        if self.fanout * self.heads > 128 {
            let found = format!("{} with {} heads", self.fanout, self.heads);
            return fail("fanout", found, "fanout x heads up to 128");
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
        let all = ["test", "--data", "x"].iter().chain(arguments);
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
            ("--width", "0"),
            ("--time-width", "0"),
            ("--time-width", "151"),
            ("--heads", "0"),
            ("--heads", "3"),
            ("--dropout", "1"),
            ("--attention-dropout", "-0.5"),
            ("--learning-rate", "NaN"),
            ("--threads", "0"),
        ] {
            let argument = format!("{option}={value}");
            assert!(parse(&[&argument]).validate().is_err(), "{argument}");
        }
        assert_eq!(parse(&[]).validate(), Ok(()));
    }
}
