//! Settings that can't be used.

use std::collections::BTreeMap;
use std::path::PathBuf;

use thiserror::Error;

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
    #[error("{} can't be started: {reason}; give fewer with --threads", match threads {
        Some(threads) => format!("{threads} threads"),
        None => "as many threads as there are cores".to_owned(),
    })]
    Threads {
        /// What was given.
        threads: Option<usize>,
        /// Why.
        reason: String,
    },
    /// An option that a run has settled.
    #[error(
        "--{0} can't be given with --resume, which resumes with the settings of the run; to start \
         a run with its weights and other settings: --init RUN"
    )]
    OfRun(String),
    /// A setting of a file or of `--set`.
    #[error("{place}: {reason}")]
    At {
        /// `run.toml:3`, `--set epochs=three`.
        place: String,
        /// What was found there, and what was expected.
        reason: String,
    },
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

impl ConfigError {
    /// The same with the place where the setting stands, if it is one of these, by name.
    pub(super) fn placed(&self, places: &BTreeMap<String, String>) -> Option<ConfigError> {
        let (ConfigError::Range { option, .. } | ConfigError::Missing { option, .. }) = self else {
            return None;
        };
        Some(ConfigError::At {
            place: places.get(&option.replace('-', "_"))?.clone(),
            reason: self.to_string(),
        })
    }
}
