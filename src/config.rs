//! Settings of a run: one struct for the command line, the resolved configuration that a
//! run writes down, and what may be read back.

mod candidates;
mod given;
mod limits;
mod parts;
mod written;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command, FromArgMatches};
use mspipe_datasets::OpenOptions;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::device::DeviceChoice;

pub(crate) use candidates::CandidateSource;
pub use given::{GivenConfig, options};
pub use limits::start_threads;
pub use parts::{
    MachineSettings, MitigationName, ModelSettings, NodeSettings, OutputSettings, PipelineSettings,
    Protocol, ProtocolSettings, ReadingSettings, SamplerName, SourceSettings, StartSettings,
    StreamSettings, Task, TimeEncodingName, TrainingSettings,
};
use written::Written;

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
        "--{0} can't be given with --resume, which resumes with the settings of the run; to start \
         a run with its weights and other settings: --init RUN"
    )]
    OfRun(String),
    /// There is no run.
    #[error(
        "{}: holds no run (there is no {}); give a folder that mspipe train has written, or a weights \
         file",
        run.display(),
        run.join("config.json").display()
    )]
    NoRun {
        /// The folder.
        run: PathBuf,
    },
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
#[serde(from = "Written", into = "Written")]
pub struct RunConfig {
    /// Where the stream lies.
    #[command(flatten)]
    pub source: SourceSettings,

    /// What is trained, and from where on.
    #[command(flatten)]
    pub start: StartSettings,

    /// The model.
    #[command(flatten)]
    pub model: ModelSettings,

    // Not of the machine's settings: another device has other bits.
    /// Device: auto, cpu, gpu, gpu:N or software
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,

    /// How it is trained.
    #[command(flatten)]
    pub training: TrainingSettings,

    /// What the numbers are measured under.
    #[command(flatten)]
    pub protocol: ProtocolSettings,

    /// How a node classifier is trained.
    #[command(flatten)]
    pub node: NodeSettings,

    /// What is used of the stream.
    #[command(flatten)]
    pub stream: StreamSettings,

    /// What the machine gives.
    #[command(flatten)]
    pub machine: MachineSettings,

    /// What is written.
    #[command(flatten)]
    pub output: OutputSettings,

    /// How iterations overlap, where node memory lies, and what is done about staleness.
    #[command(flatten)]
    pub pipeline: PipelineSettings,
}

/// Those of a command line without an option.
impl Default for RunConfig {
    fn default() -> RunConfig {
        let command = RunConfig::augment_args(Command::new("mspipe").no_binary_name(true));
        let none: [&str; 0] = [];
        match RunConfig::from_arg_matches(&command.get_matches_from(none)) {
            Ok(config) => config,
            Err(error) => unreachable!("every option has a default: {error}"),
        }
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
        if self.source.data.is_empty() {
            return Err(ConfigError::Missing {
                option: "data",
                expected: "give a file, a data set's name, or synthetic:wikipedia for a generated \
                           stream",
            });
        }
        if self.start.task == Task::Node && self.start.init.is_none() {
            return Err(ConfigError::Missing {
                option: "init",
                expected: "--task node classifies embeddings; give the folder of a link \
                           prediction run, or a weights file",
            });
        }
        if let (Some(candidates), false) = (
            &self.protocol.candidates,
            self.protocol.name == Protocol::Tgb,
        ) {
            return fail(
                "candidates",
                candidates.to_string(),
                "--protocol tgb with it: no other protocol ranks",
            );
        }
        if self.output.profile && self.start.task == Task::Node {
            return fail("profile", "given".to_owned(), "--task link with it");
        }
        limits::check(self)?;
        self.pipeline.validate()?;
        if !self.model.width.is_multiple_of(self.model.heads) {
            let found = format!("{} with {} heads", self.model.width, self.model.heads);
            return fail("width", found, "a multiple of --heads");
        }
        for (option, p) in [
            ("dropout", self.model.dropout),
            ("attention-dropout", self.model.attention_dropout),
        ] {
            if !(0.0..1.0).contains(&p) {
                return fail(option, p.to_string(), "at least 0 and below 1");
            }
        }
        for (option, rate) in [
            ("learning-rate", self.training.learning_rate),
            ("node-learning-rate", self.node.learning_rate),
        ] {
            if !(rate > 0.0 && rate.is_finite()) {
                return fail(option, rate.to_string(), "a number above 0");
            }
        }
        // The attention kernel keeps its slots' time encodings in workgroup memory.
        for (option, slots) in [
            ("fanout", self.model.fanout),
            ("mail-slots", self.model.mail_slots),
        ] {
            if slots * self.model.time_width > 1500 {
                let found = format!("{slots} with time width {}", self.model.time_width);
                return fail(option, found, "a product with the time width up to 1500");
            }
            if slots * self.model.heads > 128 {
                let found = format!("{slots} with {} heads", self.model.heads);
                return fail(option, found, "a product with the heads up to 128");
            }
        }
        Ok(())
    }

    /// All settings by the names of their options, those of groups too.
    ///
    /// # Errors
    /// When one can't be written: a path that is no text.
    pub fn by_name(&self) -> Result<Map<String, Value>, serde_json::Error> {
        let mut all = Map::new();
        if let Value::Object(settings) = serde_json::to_value(self)? {
            for (name, value) in settings {
                match value {
                    Value::Object(group) => all.extend(group),
                    value => all.extend([(name, value)]),
                }
            }
        }
        Ok(all)
    }

    /// How the run's stream is opened.
    pub(crate) fn stream_options(&self) -> OpenOptions {
        OpenOptions {
            edge_features: self.source.edge_feature_file.clone(),
            node_features: self.source.node_feature_file.clone(),
            ..self.stream.reading.options()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> RunConfig {
        let command = RunConfig::augment_args(Command::new("test").no_binary_name(true));
        let all = [&["--data=x"], arguments].concat();
        let matches = command.args_override_self(true).get_matches_from(all);
        RunConfig::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn every_option_is_written_under_its_name() {
        let names: Vec<String> = parse(&[])
            .by_name()
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let options = options::<RunConfig>();
        assert_eq!(names.len(), options.len());
        for option in options {
            assert!(
                names.iter().any(|name| *name == option.as_str()),
                "{option}"
            );
        }
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
