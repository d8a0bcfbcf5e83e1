//! Settings as given on the command line and in files, possibly on top of those of an earlier run.
//!
//! A run that weights are taken from brings the settings that it was made with: its model,
//! stream, features, seed and protocol, so that its weights meet what they were trained on.
//! What is given, on the command line or in a file, comes before them, defaults after them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches, Id};

use super::effect::{Purpose, without_effect};
use super::layers::{PlacedSetting, options};
use super::{
    ConfigError, MachineSettings, RunConfig, SourceSettings, Task, by_protocol, layers, limits,
};
use crate::pipeline::profile::Residency;
use crate::pipeline::schedule::Schedule;
use crate::ranks::Launch;

/// What a person needs first, which `-h` shows; `--help` shows all.
const FIRST: [&str; 11] = [
    "data",
    "model",
    "epochs",
    "batch_size",
    "learning_rate",
    "protocol",
    "schedule",
    "device",
    "out",
    "config",
    "set",
];

/// Where settings come from besides the options of their names.
#[derive(Debug, Clone, Default, PartialEq, Args)]
struct FilesSettings {
    /// Settings from this file, TOML or a run's config.json, by the names of their options
    ///
    /// From the weakest to the strongest: defaults, the run of --init, this file, --set, options. 'mspipe
    /// config --defaults' prints such a file.
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,

    /// Change a setting, as a file would; may be given several times
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Settings")]
    set: Vec<String>,
}

/// The settings of a command line and of the files that it names, and which of them were given.
#[derive(Debug, Clone)]
pub struct GivenConfig {
    /// With defaults for what was not given.
    config: RunConfig,
    /// What was given, alone.
    given: ArgMatches,
    /// What is still to be read.
    files: FilesSettings,
    /// Where each setting stands that is not of the command line.
    places: BTreeMap<String, String>,
    /// Those of a file.
    of_file: Vec<String>,
}

impl GivenConfig {
    /// With what `--config` and `--set` say.
    ///
    /// # Errors
    /// A file that can't be read, an unknown name, a value that its option does not take.
    pub fn read(self) -> Result<GivenConfig, ConfigError> {
        if self.files == FilesSettings::default() {
            return Ok(self);
        }
        let FilesSettings { config, set } = &self.files;
        let set = set.iter().map(|word| PlacedSetting::of_set(word));
        let set = set.collect::<Result<Vec<_>, _>>()?;
        GivenConfig::layered(config.as_deref(), &set, &self.given)
    }

    fn layered(
        file: Option<&Path>,
        set: &[PlacedSetting],
        given: &ArgMatches,
    ) -> Result<GivenConfig, ConfigError> {
        let layered = layers::layered(file, set, given)?;
        let mut read = GivenConfig::of_read(&layered.matches);
        (read.places, read.of_file) = (layered.places, layered.of_file);
        Ok(read)
    }

    /// What was read once.
    fn of_read(matches: &ArgMatches) -> GivenConfig {
        match GivenConfig::from_arg_matches(matches) {
            Ok(read) => read,
            Err(error) => unreachable!("it was read once: {error}"),
        }
    }

    /// Begins with the weights `init`, as `--init` does.
    #[must_use]
    pub fn with_init(mut self, init: &Path) -> GivenConfig {
        self.config.start.init = Some(init.to_owned());
        self
    }

    /// Changes the settings of a run that is to continue by those that were given.
    ///
    /// # Errors
    /// When one was given that is not of the machine or of the stream's place, nor other ranks that share
    /// the run's batches: it would change what the run gives. When ranks can't share them equally.
    pub fn change_run(&self, run: &mut RunConfig) -> Result<(), ConfigError> {
        for (name, given) in [
            ("config", self.files.config.is_some()),
            ("set", !self.files.set.is_empty()),
        ] {
            if given {
                return Err(ConfigError::OfRun(name.to_owned()));
            }
        }
        let own = options::<RunConfig>();
        let free = [options::<SourceSettings>(), options::<MachineSettings>()].concat();
        // Other ranks share the same batches.
        let free = |id: &Id| free.contains(id) || id.as_str() == "ranks";
        let settled = |id: &&Id| own.contains(id) && !free(id);
        if let Some(option) = self.given.ids().find(settled) {
            return Err(ConfigError::OfRun(option.as_str().replace('_', "-")));
        }
        let (batch, before) = (run.training.batch_events(), run.training.ranks);
        self.put_into(run);
        // Refused where it has no effect; earlier versions only told of it, and may have written it down.
        if run.start.task != Task::Link && !self.was_given("max_time") {
            run.machine.max_time = None;
        }
        if run.training.ranks == Some(Launch::Mpi(None)) {
            // As many as before: how many there are now is not known yet.
            run.training.ranks = match before {
                Some(Launch::Mpi(Some(_))) => before,
                _ => {
                    return Err(ConfigError::Range {
                        option: "ranks",
                        found: "mpi".to_owned(),
                        expected: "mpi:R with the number of processes, as the run had no MPI before",
                    });
                }
            };
        }
        let ranks = run.training.ranks();
        if !batch.is_multiple_of(ranks) {
            return Err(ConfigError::Range {
                option: "ranks",
                found: format!("{ranks} ranks for a batch of {batch}"),
                expected: "a number of ranks that divides the events of the run's batches",
            });
        }
        run.training.batch_size = batch / ranks;
        Ok(())
    }

    /// The weights to begin with.
    pub fn init(&self) -> Option<&Path> {
        self.config.start.init.as_deref()
    }

    /// The settings: those of the run that `--init` names, if it names one, changed by what
    /// was given; what is done, on what machine and what is written is never the other run's. What
    /// was given and has no effect on what the settings are for is noted.
    ///
    /// # Errors
    /// Those of [`GivenConfig::read`]; a setting of a file that is out of range; when the run's
    /// settings can't be read; when there is no run and no file, and no stream was given, which only a
    /// run brings.
    pub fn resolve(self, purpose: Purpose) -> Result<RunConfig, ConfigError> {
        match self.resolved(purpose)? {
            // What is wrong in a file is said with its line; anything else is said when the run begins.
            (_, Some(wrong @ ConfigError::At { .. })) => Err(wrong),
            (config, _) => Ok(config),
        }
    }

    /// The settings, and why no run has them together, with the place in a file where there is one.
    fn resolved(self, purpose: Purpose) -> Result<(RunConfig, Option<ConfigError>), ConfigError> {
        let read = self.read()?;
        let (given, places) = (read.given.clone(), read.places.clone());
        let (at_default, kept) = (read.at_default(), read.kept_from_file());
        let seeds = given.try_get_one::<usize>("seeds").ok().flatten().copied();
        let mut config = read.merged(purpose)?;
        config.start.seeds = seeds.filter(|_| purpose == Purpose::Train);
        let told = given
            .ids()
            .filter(|id| !at_default.iter().any(|name| id.as_str() == name));
        config.without_effect = without_effect(told, &config, purpose);
        config.without_effect.extend(kept);
        let refused = config.refused();
        let placed = refused.map(|error| error.placed(&places).unwrap_or(error));
        Ok((config, placed))
    }

    /// Settings of a file that are as by default: a file may name all, and nothing is to be said of those.
    fn at_default(&self) -> Vec<String> {
        let all = |config: &RunConfig| config.by_name().unwrap_or_default();
        let (default, own) = (all(&RunConfig::default()), all(&self.config));
        let same = |name: &&String| default.get(*name) == own.get(*name);
        let names = self.of_file.iter().filter(same);
        names.cloned().collect()
    }

    /// What is to be said where the protocol was given apart from a file: which of its rules the file
    /// overrules.
    fn kept_from_file(&self) -> Option<String> {
        let of_file = |name: &str| self.of_file.iter().any(|other| other == name);
        if of_file("protocol") || !self.was_given("protocol") {
            return None;
        }
        let protocol = self.config.protocol.name;
        let all = self.config.by_name().unwrap_or_default();
        // What the protocol and the model decide together.
        let mut alone = self.config.clone();
        alone.model.time_delta = None;
        let time_delta = (alone.time_delta() != self.config.time_delta()).then_some("time_delta");
        let kept: Vec<String> = by_protocol::decided_otherwise(protocol, all)
            .chain(time_delta)
            .filter(|name| of_file(name))
            .map(|name| name.replace('_', "-"))
            .collect();
        (!kept.is_empty()).then(|| {
            let names = kept.join(", ");
            let protocol = protocol.name();
            format!("{names}: as the file of settings has them; --protocol {protocol} alone would decide otherwise")
        })
    }

    fn merged(self, purpose: Purpose) -> Result<RunConfig, ConfigError> {
        let Some(run) = self.init() else {
            return Ok(self.config);
        };
        let file = run.join("config.json");
        if !file.exists() {
            return match self.config.source.data.is_empty() && !run.is_file() {
                true => Err(ConfigError::NoRun {
                    run: run.to_owned(),
                }),
                false => Ok(self.config),
            };
        }
        let mut config = RunConfig::read(&file)?;
        let columns = config.stream.reading.columns.clone();
        if purpose != Purpose::Train || self.config.start.task != Task::Link {
            // One process does it, with the batches that the ranks of the run have shared.
            config.training.batch_size = config.training.batch_events();
            config.training.ranks = None;
        }
        self.put_into(&mut config);
        let RunConfig {
            source,
            start,
            machine,
            output,
            ..
        } = self.config;
        (config.start, config.machine, config.output) = (start, machine, output);
        config.start.data_of_init = source.data.is_empty();
        config.start.columns_of_init = Some(columns);
        Ok(config)
    }

    /// Puts what was given into `config`.
    fn put_into(&self, config: &mut RunConfig) {
        // Of the two ways to divide a stream, the one that was given holds.
        let reading = &mut config.stream.reading;
        if self.given.contains_id("split_at") {
            reading.split = None;
        }
        if self.given.contains_id("split") {
            reading.split_at = None;
        }
        if let Err(error) = config.update_from_arg_matches(&self.given) {
            unreachable!("it was read once: {error}");
        }
        // Of another protocol, not of the run's.
        if self.was_given("protocol") && !self.was_given("hide_batch") {
            config.protocol.hide_batch = None;
        }
        // The default of a run with memory on the device and without ranks, where it has k = 1 whatever it measures.
        let pipeline = &mut config.pipeline;
        let on_device = pipeline.memory == Residency::Device;
        let other = self.was_given("memory") || self.was_given("ranks") && on_device;
        if other && !self.was_given("schedule") && pipeline.schedule == Schedule::Auto {
            pipeline.schedule = Schedule::Sequential;
        }
    }

    fn was_given(&self, option: &str) -> bool {
        self.given.ids().any(|id| id.as_str() == option)
    }
}

impl RunConfig {
    /// Those of a run with what a file says and then `settings`, and why no run has them together, if none has.
    ///
    /// # Errors
    /// Those of [`GivenConfig::resolve`] for a setting that is wrong by itself, with its place.
    pub(crate) fn from_settings(
        file: Option<&Path>,
        settings: &[PlacedSetting],
    ) -> Result<(RunConfig, Option<ConfigError>), ConfigError> {
        RunConfig::given_by(file, settings)?.resolved(Purpose::Train)
    }

    /// What [`RunConfig::validate`] refuses, but for a stream that is still to be given.
    fn refused(&self) -> Option<ConfigError> {
        let mut checked = self.clone();
        if checked.source.data.is_empty() {
            "-".clone_into(&mut checked.source.data);
        }
        checked.validate().err()
    }

    /// Those for `purpose` with `settings`, names and values as `--set` has them; `init` among them brings
    /// the settings of its run.
    ///
    /// # Errors
    /// Those of [`GivenConfig::resolve`], beginning with the setting.
    pub fn of_names(
        settings: &[(String, String)],
        purpose: Purpose,
    ) -> Result<RunConfig, ConfigError> {
        let placed = settings.iter().map(|(name, value)| PlacedSetting {
            name: name.clone(),
            value: value.clone(),
            place: format!("{name}={value}"),
        });
        let placed: Vec<PlacedSetting> = placed.collect();
        RunConfig::given_by(None, &placed)?.resolve(purpose)
    }

    fn given_by(
        file: Option<&Path>,
        settings: &[PlacedSetting],
    ) -> Result<GivenConfig, ConfigError> {
        let none: [&str; 0] = [];
        let nothing = layers::settings().get_matches_from(none);
        let given = GivenConfig::of_read(&nothing).given;
        GivenConfig::layered(file, settings, &given)
    }
}

impl FromArgMatches for GivenConfig {
    fn from_arg_matches(matches: &ArgMatches) -> Result<GivenConfig, clap::Error> {
        let mut given = matches.clone();
        for id in matches.ids().map(Id::as_str) {
            if matches.value_source(id) != Some(ValueSource::CommandLine)
                && let Err(error) = given.try_clear_id(id)
            {
                unreachable!("it is one of them: {error}");
            }
        }
        let read = |id| matches.try_contains_id(id).unwrap_or(false);
        Ok(GivenConfig {
            config: RunConfig::from_arg_matches(matches)?,
            given,
            files: match read("config") || read("set") {
                true => FilesSettings::from_arg_matches(matches)?,
                false => FilesSettings::default(),
            },
            places: BTreeMap::new(),
            of_file: Vec::new(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = GivenConfig::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for GivenConfig {
    fn augment_args(command: Command) -> Command {
        let command = FilesSettings::augment_args(RunConfig::augment_args(command));
        // `-1` is a number out of range, which is told with what is expected, and no unknown option.
        command.mut_args(|arg| {
            let first = FIRST.contains(&arg.get_id().as_str());
            limits::read_here(arg)
                .allow_negative_numbers(true)
                .hide_short_help(!first)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        RunConfig::augment_args_for_update(command)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;
    use tempfile::TempDir;

    use super::*;
    use crate::checkpoint::Every;
    use crate::model::ModelName;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        run: GivenConfig,
    }

    fn resolve(arguments: &[&str]) -> Result<RunConfig, ConfigError> {
        let all = ["test"].iter().chain(arguments);
        Program::try_parse_from(all)
            .unwrap()
            .run
            .resolve(Purpose::Train)
    }

    #[test]
    fn a_negative_number_is_out_of_range_and_no_unknown_option() {
        let config = resolve(&["--data", "x", "--clip-norm", "-1"]).unwrap();
        let error = config.validate().unwrap_err();
        assert!(error.to_string().contains("clip-norm"), "{error}");
        let [program, data] = ["test", "--data=x"];
        let parsed = Program::try_parse_from([program, data, "--epochs", "-1"]);
        let said = parsed.err().unwrap().to_string();
        assert!(said.contains("invalid value '-1'"), "{said}");
    }

    #[test]
    fn options_come_before_the_run_and_the_run_before_defaults() {
        let folder = TempDir::new().unwrap();
        let run = folder.path().to_str().unwrap();
        let first = ["--data", "x", "--model", "jodie", "--seed", "7"];
        let more = [
            "--heads",
            "4",
            "--out",
            "there",
            "--threads",
            "3",
            "--memory",
            "host",
        ];
        let made = resolve(&[&first[..], &more].concat()).unwrap();
        let text = serde_json::to_string(&made).unwrap();
        fs::write(folder.path().join("config.json"), &text).unwrap();

        let own = ["--heads", "2", "--task", "node", "--queue-depth", "5"];
        let config = resolve(&[&["--init", run], &own[..]].concat()).unwrap();
        // Groups of settings are merged too.
        assert_eq!(config.pipeline.memory, Residency::Host);
        assert_eq!(config.pipeline.queue_depth, 5);
        assert_eq!(
            (config.source.data.as_str(), config.training.seed),
            ("x", 7)
        );
        assert!(config.start.data_of_init);
        assert_eq!(
            (config.model.name, config.model.heads),
            (ModelName::Jodie, 2)
        );
        assert_eq!((config.output.out, config.machine.threads), (None, None));
        assert_eq!(config.start.init.as_deref(), Some(folder.path()));
        assert_eq!(config.start.task, super::super::Task::Node);

        // Of the two ways to divide the stream, the one that is given holds.
        let of = |option: &str, value: &str| {
            let config = resolve(&["--init", run, option, value]).unwrap();
            let text = serde_json::to_string(&config).unwrap();
            fs::write(folder.path().join("config.json"), text).unwrap();
            let reading = config.stream.reading;
            (reading.split.is_some(), reading.split_at.is_some())
        };
        assert_eq!(of("--split", "0.5,0.2"), (true, false));
        assert_eq!(of("--split-at", "5,7"), (false, true));
        assert_eq!(of("--split", "0.5,0.2"), (true, false));

        let other = resolve(&["--init", run, "--data", "y", "--seed", "0"]).unwrap();
        assert_eq!((other.source.data.as_str(), other.training.seed), ("y", 0));
        assert!(!other.start.data_of_init);
    }

    #[test]
    fn a_run_goes_on_with_its_own_settings() {
        let change = |arguments: &[&str]| {
            let all = ["test"].iter().chain(arguments);
            let mut run = resolve(&["--data", "x", "--seed", "7"]).unwrap();
            let given = Program::try_parse_from(all).unwrap().run;
            given.change_run(&mut run).map(|()| run)
        };
        let moved = change(&["--data", "y", "--threads", "3", "--checkpoint-every", "50"]).unwrap();
        assert_eq!((moved.source.data.as_str(), moved.training.seed), ("y", 7));
        assert_eq!(
            (moved.machine.threads, moved.machine.checkpoint_every),
            (Some(3), Every::Iterations(50))
        );
        assert_eq!(
            change(&[]).unwrap().machine.checkpoint_every,
            Every::default()
        );
        let files = [
            "--edge-feature-file",
            "e.npy",
            "--node-feature-file",
            "n.npy",
        ];
        let moved = change(&[&files[..], &["--no-memory-check"]].concat()).unwrap();
        let of_stream = [
            moved.source.edge_feature_file,
            moved.source.node_feature_file,
        ];
        assert_eq!(of_stream, [Some("e.npy".into()), Some("n.npy".into())]);
        assert!(moved.machine.no_memory_check && moved.source.data == "x");
        assert!(change(&["--profile"]).unwrap().machine.profile);
        for option in [
            &["--seed", "7"][..],
            &["--queue-depth", "3"],
            &["--out", "there"],
            &["--device", "auto"],
        ] {
            let error = change(option).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{} can't be given", option[0])),
                "{error}"
            );
        }
    }

    #[test]
    fn where_no_run_is_what_was_looked_for_is_told() {
        let folder = TempDir::new().unwrap();
        let nothing = folder.path().join("nope");
        for run in [folder.path(), &nothing] {
            let error = resolve(&["--init", run.to_str().unwrap()]).unwrap_err();
            let message = error.to_string();
            let looked_for = run.join("config.json").display().to_string();
            assert!(
                message.contains(&looked_for) && message.contains("mspipe train"),
                "{message}"
            );
        }
        // A folder with weights alone needs a stream.
        assert!(resolve(&["--init", folder.path().to_str().unwrap(), "--data", "x"]).is_ok());
    }

    #[test]
    fn a_file_brings_no_settings_and_a_damaged_run_is_named() {
        let folder = TempDir::new().unwrap();
        let config = resolve(&["--init", "weights.safetensors", "--data", "x"]).unwrap();
        assert_eq!(config.model.name, ModelName::Tgn);
        fs::write(folder.path().join("config.json"), "{\"sede\": 1}").unwrap();
        let error = resolve(&["--init", folder.path().to_str().unwrap()]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("config.json: "), "{message}");
        assert!(message.contains("unknown field `sede`"), "{message}");
    }
}
