//! From recipes to runs: each setting is trained once, whatever recipes ask for it.
//!
//! Runs on one stream with the same features share a folder. A data set whose files are
//! not there is replaced by its stand-in, which every number of it then says.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args as _, Command, FromArgMatches as _};
use mspipe::config::{RunConfig, name_of};
use mspipe::model::ModelName;
use mspipe_datasets::OpenOptions;
use mspipe_datasets::manifest::Manifest;
use serde_json::Value;

use super::recipe::{Base, Recipe, Stream};
use crate::grid::{Group, Training, folder_name};

/// Which training a recipe asks for, and where its cell will be.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Number of the recipe.
    pub(super) recipe: usize,
    /// Name of its stream.
    pub(super) stream: String,
    /// Its values of what the recipe varies.
    pub(super) variant: Vec<String>,
    /// Number of its arm.
    pub(super) arm: usize,
    /// Numbers of its group and of its training in it.
    pub(super) training: (usize, usize),
}

/// All that is to be trained, and what for.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) groups: Vec<Group>,
    pub(super) asked: Vec<Asked>,
}

/// What the command line changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    /// Streams instead of the recipes' own: names, files, `synthetic:…`.
    pub(super) data: Vec<String>,
    /// Seeds instead of the recipes' own.
    pub(super) seeds: Vec<u64>,
    /// Options that come last.
    pub(super) options: Vec<String>,
}

impl Plan {
    /// What `base` asks for, with cells below `folder`.
    ///
    /// # Errors
    /// Options that `mspipe train` does not take.
    pub(super) fn new(base: &Base, changes: &Changes, folder: &Path) -> Result<Plan> {
        let mut plan = Plan::default();
        for (number, recipe) in base.recipes.iter().enumerate() {
            for stream in streams(recipe, &changes.data) {
                let own = stream_options(base.streams.get(stream), stream)?;
                plan.add(base, changes, folder, (number, recipe), (stream, &own))
                    .with_context(|| format!("recipe '{}'", recipe.name))?;
            }
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        base: &Base,
        changes: &Changes,
        folder: &Path,
        (number, recipe): (usize, &Recipe),
        (stream, own): (&str, &str),
    ) -> Result<()> {
        let plain = settings_of(&[&base.options, own], &changes.options)?;
        let seeds = match changes.seeds.as_slice() {
            [] => &recipe.seeds,
            some => some,
        };
        for seed in seeds {
            let seed = format!("--seed {seed}");
            for variant in combinations(&recipe.vary) {
                for (arm, (_, options)) in recipe.arms.iter().enumerate() {
                    let mut words = vec![&*base.options, own, &recipe.options, &seed];
                    words.extend(variant.iter().map(|option| option.as_str()));
                    words.push(options);
                    let config = settings_of(&words, &changes.options)?;
                    let group = folder.join(group_name(stream, &plain, &config));
                    let training = Training {
                        label: label(stream, &plain, &config)?,
                        work: work(&config),
                        config,
                    };
                    let training = self.place(group, training);
                    self.asked.push(Asked {
                        recipe: number,
                        stream: stream.to_owned(),
                        variant: variant.iter().map(|option| value_of(option)).collect(),
                        arm,
                        training,
                    });
                }
            }
        }
        Ok(())
    }

    /// Where a run is in its group; it is put there if it is new.
    fn place(&mut self, folder: PathBuf, training: Training) -> (usize, usize) {
        let known = self.groups.iter().position(|group| group.folder == folder);
        let group = known.unwrap_or_else(|| {
            let trainings = Vec::new();
            self.groups.push(Group { folder, trainings });
            self.groups.len() - 1
        });
        let trainings = &mut self.groups[group].trainings;
        let known = trainings
            .iter()
            .position(|known| known.config == training.config);
        let place = known.unwrap_or_else(|| {
            trainings.push(training);
            trainings.len() - 1
        });
        (group, place)
    }
}

/// The streams of a recipe, or those asked for: of those with a name the ones that it has.
fn streams<'a>(recipe: &'a Recipe, asked: &'a [String]) -> Vec<&'a str> {
    if asked.is_empty() {
        return recipe.data.iter().map(String::as_str).collect();
    }
    let known: Vec<&str> = asked
        .iter()
        .filter(|name| recipe.data.contains(name) || !is_data_set(name))
        .map(String::as_str)
        .collect();
    match known.is_empty() {
        // A recipe that would have no stream left takes the first one asked for.
        true => vec![&asked[0]],
        false => known,
    }
}

fn is_data_set(name: &str) -> bool {
    Manifest::find(name).is_some()
}

/// Options that open a stream: the real one where its files are there.
fn stream_options(known: Option<&Stream>, name: &str) -> Result<String> {
    let Some(stream) = known else {
        return Ok(format!("--data {name}"));
    };
    Ok(match is_here(name)? {
        true => stream.real.clone(),
        false => stream.stand_in.clone(),
    })
}

/// Whether the own files of a data set are there.
///
/// # Errors
/// When no folder is known where they could be.
pub(crate) fn is_here(name: &str) -> Result<bool> {
    let Some(manifest) = Manifest::find(name) else {
        return Ok(false);
    };
    let folder = OpenOptions::default().data_folder()?;
    Ok(manifest.local_file(&folder).is_file())
}

/// Settings of these options of `mspipe train`; later ones come before earlier ones.
///
/// # Errors
/// An option that it does not take.
pub(crate) fn settings_of(options: &[&str], last: &[String]) -> Result<RunConfig> {
    let command = Command::new("recipe")
        .no_binary_name(true)
        .args_override_self(true);
    let words = options
        .iter()
        .flat_map(|options| options.split_whitespace());
    let matches = RunConfig::augment_args(command)
        .try_get_matches_from(words.chain(last.iter().map(String::as_str)))?;
    Ok(RunConfig::from_arg_matches(&matches)?)
}

/// Every choice of one option from each list.
fn combinations(lists: &[Vec<String>]) -> Vec<Vec<&String>> {
    lists.iter().fold(vec![Vec::new()], |all, list| {
        all.iter()
            .flat_map(|chosen| {
                list.iter().map(move |option| {
                    let mut more = chosen.clone();
                    more.push(option);
                    more
                })
            })
            .collect()
    })
}

/// How an option is called in tables: by its value, where that says what it is.
fn value_of(option: &str) -> String {
    let plain = option.trim_start_matches("--");
    match plain.split_once(' ') {
        Some(("model" | "schedule", value)) => value.to_owned(),
        Some((name, value)) => format!("{} {value}", name.replace('-', " ")),
        None => plain.to_owned(),
    }
}

/// The folder of runs that may be compared: same stream, same features.
fn group_name(stream: &str, plain: &RunConfig, config: &RunConfig) -> String {
    let mut name = stream.to_owned();
    if config.stream.edge_features != plain.stream.edge_features {
        name += &format!(" edge features {}", config.stream.edge_features);
    }
    if config.stream.node_features != plain.stream.node_features {
        name += &format!(" node features {}", config.stream.node_features);
    }
    folder_name(&name)
}

/// What sets a run apart: stream, model, place, schedule, whatever differs from the
/// stream's plain settings, seed.
fn label(stream: &str, plain: &RunConfig, config: &RunConfig) -> Result<String> {
    const NAMED: [&str; 4] = ["model", "memory", "schedule", "seed"];
    let (before, now) = (plain.by_name()?, config.by_name()?);
    let mut label = format!(
        "{stream}, {}, memory {}, {}",
        config.model.name,
        name_of(&config.pipeline.memory),
        config.pipeline.schedule
    );
    for (name, value) in now {
        if before.get(&name) != Some(&value) && !NAMED.contains(&name.as_str()) {
            let text = match value {
                Value::String(text) => text,
                // An f32 becomes a long f64 on its way.
                Value::Number(number) => number.as_f64().map_or(number.to_string(), |value| {
                    ((value * 1e6).round() / 1e6).to_string()
                }),
                other => other.to_string(),
            };
            label += &format!(", {} {text}", name.replace('_', " "));
        }
    }
    Ok(label + &format!(", seed {}", config.training.seed))
}

/// About how long a run takes, in any unit. Small batches are slower per event.
fn work(config: &RunConfig) -> f64 {
    let model = match config.model.name {
        ModelName::Tgn | ModelName::Apan => 1.0,
        ModelName::Jodie => 0.2,
    };
    let batch = 1.0 + 60.0 / config.training.batch_size as f64;
    // One epoch's time for validation, test and preparing.
    model
        * batch
        * (config.training.epochs as f64 + 1.0)
        * events(&config.source.data, config.stream.limit_events)
}

/// About how many events a stream has; 10^5 where nothing is known.
fn events(data: &str, limit: Option<usize>) -> f64 {
    let (name, scale) = match data.strip_prefix("synthetic:") {
        Some(rest) => {
            let scale = rest.split(':').find_map(|part| part.strip_prefix("scale="));
            let name = rest.split(':').next().unwrap_or(rest);
            (
                name,
                scale.and_then(|scale| scale.parse().ok()).unwrap_or(1.0),
            )
        }
        None => (data, 1.0),
    };
    let known = Manifest::find(name).and_then(|manifest| manifest.statistics.events.value);
    let all = known.map_or(1e5, |events| events as f64) * scale;
    limit.map_or(all, |limit| all.min(limit as f64))
}
