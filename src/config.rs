//! Settings of a run: one struct for the command line, the resolved configuration that a
//! run writes down, and what may be read back.

mod by_protocol;
mod candidates;
mod effect;
mod error;
mod feature_place;
mod given;
mod layers;
mod limits;
mod listing;
mod max_time;
mod nearest;
mod of_model;
mod parts;
mod settings_file;
mod written;

use std::fs;
use std::path::Path;

use clap::{Args, Command, FromArgMatches};
use mspipe_datasets::OpenOptions;
use serde_json::{Map, Value};

use crate::device::{DeviceChoice, DeviceSettings};

pub use by_protocol::name_of;
pub(crate) use candidates::CandidateSource;
pub use effect::Purpose;
pub use error::ConfigError;
pub use feature_place::FeaturePlace;
pub use given::GivenConfig;
pub use layers::options;
pub(crate) use layers::{PlacedSetting, same_setting};
pub use limits::start_threads;
pub use listing::{Kind, defaults, in_lines, kind_of, schema, to_toml};
pub use max_time::MaxTime;
pub use nearest::the_nearest;
pub use parts::{
    LogName, MachineSettings, MitigationName, ModelSettings, NodeSettings, OutputSettings,
    PipelineSettings, Protocol, ProtocolSettings, ReadingSettings, SamplerName, SeedsSettings,
    SourceSettings, StartSettings, StreamSettings, Switch, Task, TimeEncodingName,
    TrainingSettings,
};
pub(crate) use settings_file::{Found, of_toml as toml_value};

/// Settings of a training run.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(mut_args(by_protocol::decide))]
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

    // Not of the machine's settings: another device, or other kernels on it, has other bits.
    /// The device and how it is opened.
    #[command(flatten)]
    pub device: DeviceSettings,

    /// How it is trained.
    #[command(flatten)]
    pub training: TrainingSettings,

    /// What the numbers are measured under.
    #[command(flatten)]
    pub protocol: ProtocolSettings,

    /// How a classifier of labels is trained.
    #[command(flatten)]
    pub node: NodeSettings,

    /// What is used of the stream.
    #[command(flatten)]
    pub stream: StreamSettings,

    /// What is written.
    #[command(flatten)]
    pub output: OutputSettings,

    /// What the machine gives.
    #[command(flatten)]
    pub machine: MachineSettings,

    /// How iterations overlap, where node memory lies, and what is done about staleness.
    #[command(flatten)]
    pub pipeline: PipelineSettings,

    /// What is to be said of options that were given and change nothing
    #[arg(skip)]
    pub without_effect: Vec<String>,
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
        serde_json::from_str(&text).map_err(|error| {
            let reason = error.to_string();
            failed(match reason.split_once(", expected one of ") {
                // All names there are say no more.
                Some((unknown, _)) => format!(
                    "{unknown}, which this version does not know; the file is of another program or version"
                ),
                None => reason.replace("expected usize", "expected a whole number"),
            })
        })
    }

    /// All settings by the names of their options, those of groups too, as `config.json` has them.
    ///
    /// # Errors
    /// When one can't be written: a path that is no text.
    pub fn by_name(&self) -> Result<Map<String, Value>, serde_json::Error> {
        let mut all = Map::new();
        // Through its text: as a value, 0.1 of 32 bits becomes 0.10000000149011612.
        let text = serde_json::to_string(self)?;
        if let Value::Object(settings) = serde_json::from_str(&text)? {
            for (name, value) in settings {
                match value {
                    Value::Object(group) => all.extend(group),
                    value => all.extend([(name, value)]),
                }
            }
        }
        Ok(all)
    }

    /// Whether the device or the bus is emulated, so that times are not those of real hardware.
    pub fn emulates(&self) -> bool {
        let software = matches!(self.device.choice, DeviceChoice::Software(_));
        software || self.pipeline.emulate_link.is_some()
    }

    /// Whether the link predictor reads pair histories.
    pub fn pair_history(&self) -> Switch {
        self.model
            .pair_history
            .unwrap_or_else(|| self.default_pair_history())
    }

    /// Whether it does unless told otherwise.
    pub(crate) fn default_pair_history(&self) -> Switch {
        self.protocol.name.pair_history()
    }

    /// Seed of what an evaluation draws.
    pub fn eval_seed(&self) -> u64 {
        self.protocol.eval_seed.unwrap_or(self.training.seed)
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
    use std::collections::BTreeSet;

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
        let options = options.iter().map(|option| option.as_str());
        // What `mspipe train` alone has.
        let options = BTreeSet::from_iter(options.chain(["seeds"]));
        assert_eq!(
            BTreeSet::from_iter(names.iter().map(String::as_str)),
            options
        );
    }

    #[test]
    fn several_runs_need_a_folder_and_a_number() {
        let with = |seeds, arguments: &[&str]| {
            let mut config = parse(arguments);
            config.start.seeds = Some(seeds);
            config.validate()
        };
        assert!(with(2, &[]).is_err(), "no folder");
        assert!(with(0, &["--out", "runs"]).is_err());
        assert!(with(2, &["--out", "runs", "--task", "node"]).is_err());
        assert_eq!(with(2, &["--out", "runs"]), Ok(()));
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
            ("--weight-decay", "-1"),
            ("--weight-decay", "10000"),
            ("--clip-norm", "0"),
            ("--clip-norm", "NaN"),
            ("--clip-norm", "1e39"),
            ("--monitor", "val-mrr"),
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
