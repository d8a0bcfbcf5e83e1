//! Settings as given on the command line, possibly on top of those of an earlier run.
//!
//! A run that weights are taken from brings the settings that it was made with: its model,
//! stream, features, seed and protocol, so that its weights meet what they were trained on.
//! Options given on the command line come before them, defaults after them.

use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::Value;

use super::{ConfigError, RunConfig};

/// Settings that belong to a run alone, or to the machine that it runs on.
const NOT_BROUGHT: [&str; 7] = [
    "task",
    "init",
    "out",
    "threads",
    "checkpoint_every",
    "profile",
    "no_memory_check",
];

/// Settings, with the names of those that the command line gave.
#[derive(Debug, Clone)]
pub struct GivenConfig {
    config: RunConfig,
    given: Vec<String>,
}

impl GivenConfig {
    /// Begins with the weights `init`, as `--init` does.
    #[must_use]
    pub fn with_init(mut self, init: &Path) -> GivenConfig {
        self.config.init = Some(init.to_owned());
        self
    }

    /// Changes the settings of a run that is to go on by those that were given.
    ///
    /// # Errors
    /// When one was given that would change its numbers.
    pub fn change_run(self, run: &mut RunConfig) -> Result<(), ConfigError> {
        let settings = serde_json::to_value(&self.config).unwrap_or_default();
        for name in &self.given {
            match name.as_str() {
                "data" => run.data.clone_from(&self.config.data),
                "threads" => run.threads = self.config.threads,
                "checkpoint_every" => run.checkpoint_every = self.config.checkpoint_every,
                name if has(&settings, name) => {
                    return Err(ConfigError::OfRun(name.replace('_', "-")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The weights to begin with.
    pub fn init(&self) -> Option<&Path> {
        self.config.init.as_deref()
    }

    /// The settings: those of the run that `--init` names, if it names one, changed by what
    /// was given.
    ///
    /// # Errors
    /// When the run's settings can't be read.
    pub fn resolve(self) -> Result<RunConfig, ConfigError> {
        let file = match &self.config.init {
            Some(run) if run.is_dir() => run.join("config.json"),
            _ => return Ok(self.config),
        };
        if !file.exists() {
            return Ok(self.config);
        }
        let failed = |reason: String| ConfigError::Run {
            path: file.clone(),
            reason,
        };
        // Read as settings first, so that a file of another kind is told from a bad option.
        let run = RunConfig::read(&file)?;
        let json = |config: &RunConfig| {
            serde_json::to_value(config).map_err(|error| failed(error.to_string()))
        };
        let mut settings = json(&run)?;
        self.change(&mut settings, json(&self.config)?);
        let mut config: RunConfig =
            serde_json::from_value(settings).map_err(|error| failed(error.to_string()))?;
        config.data_of_init = !self.given.iter().any(|name| name == "data");
        Ok(config)
    }

    /// Puts what was given into `settings`, in groups of settings too.
    fn change(&self, settings: &mut Value, own: Value) {
        let (Value::Object(settings), Value::Object(own)) = (settings, own) else {
            return;
        };
        for (name, value) in own {
            let chosen = NOT_BROUGHT.contains(&name.as_str()) || self.given.contains(&name);
            match settings.get_mut(&name) {
                Some(group) if value.is_object() => self.change(group, value),
                _ if chosen => {
                    settings.insert(name, value);
                }
                _ => {}
            }
        }
    }
}

/// Whether there is a setting `name`, in a group of settings too.
fn has(settings: &Value, name: &str) -> bool {
    settings.as_object().is_some_and(|settings| {
        settings.contains_key(name) || settings.values().any(|group| has(group, name))
    })
}

impl FromArgMatches for GivenConfig {
    fn from_arg_matches(matches: &ArgMatches) -> Result<GivenConfig, clap::Error> {
        let config = RunConfig::from_arg_matches(matches)?;
        let given = matches
            .ids()
            .map(|id| id.as_str())
            .filter(|name| matches.value_source(name) == Some(ValueSource::CommandLine))
            .map(str::to_owned)
            .collect();
        Ok(GivenConfig { config, given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = GivenConfig::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for GivenConfig {
    fn augment_args(command: Command) -> Command {
        RunConfig::augment_args(command)
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

    use super::super::{Every, MemoryPlaceName, ModelName};
    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        run: GivenConfig,
    }

    fn resolve(arguments: &[&str]) -> Result<RunConfig, ConfigError> {
        let all = ["test"].iter().chain(arguments);
        Program::try_parse_from(all).unwrap().run.resolve()
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
        assert_eq!(config.pipeline.memory, MemoryPlaceName::Host);
        assert_eq!(config.pipeline.queue_depth, 5);
        assert_eq!((config.data.as_str(), config.seed), ("x", 7));
        assert!(config.data_of_init);
        assert_eq!((config.model, config.heads), (ModelName::Jodie, 2));
        assert_eq!((config.out, config.threads), (None, None));
        assert_eq!(config.init.as_deref(), Some(folder.path()));
        assert_eq!(config.task, super::super::Task::Node);

        let other = resolve(&["--init", run, "--data", "y", "--seed", "0"]).unwrap();
        assert_eq!((other.data.as_str(), other.seed), ("y", 0));
        assert!(!other.data_of_init);
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
        assert_eq!((moved.data.as_str(), moved.seed), ("y", 7));
        assert_eq!(
            (moved.threads, moved.checkpoint_every),
            (Some(3), Every::Iterations(50))
        );
        assert_eq!(change(&[]).unwrap().checkpoint_every, Every::default());
        for option in [["--seed", "7"], ["--queue-depth", "3"], ["--out", "there"]] {
            let error = change(&option).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{} can't be given", option[0])),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_brings_no_settings_and_a_damaged_run_is_named() {
        let folder = TempDir::new().unwrap();
        let config = resolve(&["--init", "weights.safetensors", "--data", "x"]).unwrap();
        assert_eq!(config.model, ModelName::Tgn);
        fs::write(folder.path().join("config.json"), "{\"sede\": 1}").unwrap();
        let error = resolve(&["--init", folder.path().to_str().unwrap()]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("config.json: "), "{message}");
        assert!(message.contains("unknown field `sede`"), "{message}");
    }
}
