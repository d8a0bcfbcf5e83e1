//! The options of a grid on the command line: those of a training, some of which take lists.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches, Args as _, Command};
use mspipe::config::RunConfig;

/// Makes an option of a training take several values, separated by commas.
pub(crate) fn several(option: Arg) -> Arg {
    option.action(ArgAction::Append).value_delimiter(',')
}

/// The values of such an option, each once.
pub(crate) fn values<T: Clone + PartialEq + Send + Sync + 'static>(
    matches: &ArgMatches,
    option: &str,
) -> Vec<T> {
    let mut values: Vec<T> = Vec::new();
    for value in matches.get_many::<T>(option).into_iter().flatten() {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    values
}

/// Options of a training that a grid has no use for.
const NODE_CLASSIFICATION: [&str; 5] = [
    "task",
    "node_epochs",
    "node_batch_size",
    "node_learning_rate",
    "balance",
];

/// The options of a link prediction training, with several seeds and a folder for all of them.
pub(crate) fn options(command: Command) -> Command {
    let training = RunConfig::augment_args(command)
        .mut_arg("seed", |option| {
            several(option)
                .long("seeds")
                .visible_alias("seed")
                .default_values(["0", "1", "2"])
                .help("Seeds to train with, separated by commas")
        })
        .mut_arg("init", |option| {
            option.help("Begin with the weights of a run's folder or of a file")
        })
        .mut_arg("out", |option| {
            option
                .required(true)
                .help("Folder of the trainings; those that are finished in it are not run again")
        });
    NODE_CLASSIFICATION
        .into_iter()
        .fold(training, |command, unused| {
            command.mut_arg(unused, |option| option.hide(true))
        })
}

/// The folder of a grid.
pub(crate) fn folder(run: &RunConfig) -> Result<PathBuf> {
    run.out
        .clone()
        .context("--out is missing: give a folder for the trainings")
}
