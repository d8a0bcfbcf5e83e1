//! Test measures of runs that differ by their seeds alone, and the comparison of two such sets.
//!
//! What a measure is, `summary.json` says: each number below its keys that begin with `test`, but for
//! counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{CONFIG, Dataset, RunFolderError, SUMMARY, failed_read};
use crate::eval::Spread;

/// Numbers of a test that are no measures.
const COUNTS: [&str; 3] = ["events", "new_nodes", "candidates"];

/// Settings that say what a measure is measured on and how: the same in all runs whose measures stand
/// side by side. What a version does not know is null; the batch is that of all ranks.
pub(super) const SETTING: [&str; 7] = [
    "protocol",
    "candidates",
    "hide_batch",
    "eval_seed",
    "batch_size",
    "limit_events",
    "reading",
];

/// Results of runs that differ by their seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverSeeds {
    /// `seeds`.
    pub task: String,
    /// The stream.
    pub data: Dataset,
    /// The model.
    pub model: String,
    /// What the numbers were measured under.
    pub protocol: Value,
    /// Events per batch.
    pub batch_size: usize,
    /// Seed of each run.
    pub seeds: Vec<u64>,
    /// Each measure of the test, over the seeds.
    pub measures: BTreeMap<String, Spread>,
}

/// Two sets of runs, by the seeds that both have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Whether the stream was generated.
    pub synthetic: bool,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// What differs between the settings, as `name: one, other`.
    pub differ: Vec<String>,
    /// Each measure that both have: the first set's, the second set's, and the second less the first,
    /// seed by seed.
    pub measures: BTreeMap<String, [Spread; 3]>,
}

/// Why runs can't be put side by side.
#[derive(Debug, Error)]
pub enum OverSeedsError {
    /// Files.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// There is no finished run.
    #[error(
        "{}: holds no finished run of link prediction: {reason}; give a folder of mspipe train, with \
         --seeds or without",
        path.display()
    )]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Numbers that can't be compared.
    #[error(
        "{}: its {key} is {found}, and that of {} is {expected}: their numbers can't be compared",
        path.display(),
        other.display()
    )]
    OtherSetting {
        /// The folder.
        path: PathBuf,
        /// The other one.
        other: PathBuf,
        /// Which setting.
        key: &'static str,
        /// What it is.
        found: String,
        /// What the other one has.
        expected: String,
    },
    /// Nothing in common.
    #[error(
        "{} has seeds {found:?}, {} has {expected:?}: none in common, and only runs with the same seed \
         are compared",
        path.display(),
        other.display()
    )]
    OtherSeeds {
        /// A folder.
        path: PathBuf,
        /// The other one.
        other: PathBuf,
        /// Its seeds.
        found: Vec<u64>,
        /// Those of the other one.
        expected: Vec<u64>,
    },
}

/// A folder with its settings, whose batch is that of all ranks, and its summary.
struct Finished {
    path: PathBuf,
    config: Value,
    summary: Value,
}

impl Finished {
    fn read(path: &Path) -> Result<Finished, OverSeedsError> {
        let no_run = |reason: String| OverSeedsError::NoRun {
            path: path.to_owned(),
            reason,
        };
        let read = |name: &str| -> Result<Value, OverSeedsError> {
            let file = path.join(name);
            if !file.exists() {
                return Err(no_run(format!("there is no {name}")));
            }
            let text = fs::read_to_string(&file).map_err(|error| failed_read(&file, error))?;
            serde_json::from_str(&text)
                .map_err(|error| no_run(format!("its {name} can't be read: {error}")))
        };
        let summary = read(SUMMARY)?;
        // What a run resolves of its settings, its own folder has.
        let mut config = match summary["seeds"][0].as_u64() {
            Some(seed) => read(&format!("seed-{seed}/{CONFIG}"))?,
            None => read(CONFIG)?,
        };
        // The settings have a rank's share of it.
        config["batch_size"] = summary["batch_size"].clone();
        match summary["task"].as_str() {
            Some("link" | "seeds") => Ok(Finished {
                path: path.to_owned(),
                config,
                summary,
            }),
            task => Err(no_run(format!("its task is {}", task.unwrap_or("missing")))),
        }
    }

    /// Fails unless the numbers of both are of one setting.
    fn must_match(&self, other: &Finished) -> Result<(), OverSeedsError> {
        // A stream that was moved may have another name.
        let of = |finished: &Finished, key: &str| match key {
            "data" => finished.summary["data"]["hash"].clone(),
            key => finished.config[key].clone(),
        };
        for key in ["data"].into_iter().chain(SETTING) {
            let (found, expected) = (of(self, key), of(other, key));
            if found != expected {
                let say = |of: &Finished, value: &Value| match key {
                    "data" => of.stream(),
                    _ => value.to_string(),
                };
                return Err(OverSeedsError::OtherSetting {
                    path: self.path.clone(),
                    other: other.path.clone(),
                    key,
                    found: say(self, &found),
                    expected: say(other, &expected),
                });
            }
        }
        Ok(())
    }

    /// Its stream: what it is called, and the beginning of its SHA-256, as the same name may be of another.
    fn stream(&self) -> String {
        let of = |key: &str| self.summary["data"][key].as_str().unwrap_or("unknown");
        format!("'{}' (SHA-256 {:.12}…)", of("name"), of("hash"))
    }

    fn over_seeds(self) -> Result<OverSeeds, OverSeedsError> {
        match self.summary["task"].as_str() {
            Some("seeds") => {
                serde_json::from_value(self.summary).map_err(|error| OverSeedsError::NoRun {
                    path: self.path,
                    reason: format!("its {SUMMARY} can't be read: {error}"),
                })
            }
            _ => OverSeeds::of_runs(&[self]),
        }
    }
}

impl OverSeeds {
    /// Of the finished runs in these folders.
    ///
    /// # Errors
    /// When one has not ended or is of another setting.
    pub fn read(folders: &[PathBuf]) -> Result<OverSeeds, OverSeedsError> {
        let runs: Result<Vec<_>, _> = folders.iter().map(|path| Finished::read(path)).collect();
        OverSeeds::of_runs(&runs?)
    }

    fn of_runs(runs: &[Finished]) -> Result<OverSeeds, OverSeedsError> {
        let first = &runs[0];
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut seeds = Vec::new();
        for run in runs {
            run.must_match(first)?;
            seeds.push(run.summary["seed"].as_u64().unwrap_or(0));
            for (name, value) in measures(&run.summary) {
                values.entry(name).or_default().push(value);
            }
        }
        // What one run lacks (a measure of new nodes, where there are none) has no mean.
        values.retain(|_, of| of.len() == runs.len());
        let spreads = values.into_iter().map(|(name, of)| (name, Spread::of(of)));
        let summary = &first.summary;
        let unreadable = |error: serde_json::Error| OverSeedsError::NoRun {
            path: first.path.clone(),
            reason: format!("its {SUMMARY} can't be read: {error}"),
        };
        Ok(OverSeeds {
            task: "seeds".to_owned(),
            data: Dataset::deserialize(&summary["data"]).map_err(unreadable)?,
            model: summary["model"].as_str().unwrap_or_default().to_owned(),
            protocol: summary["protocol"].clone(),
            batch_size: usize::deserialize(&summary["batch_size"]).map_err(unreadable)?,
            seeds,
            measures: spreads.collect(),
        })
    }

    /// Its measures for some of its seeds alone.
    fn values(&self, measure: &str, seeds: &[u64]) -> Option<Vec<f64>> {
        let values = &self.measures.get(measure)?.values;
        let of = |seed| self.seeds.iter().position(|own| own == seed);
        seeds
            .iter()
            .map(|seed| values.get(of(seed)?).copied())
            .collect()
    }
}

impl Comparison {
    /// Of the runs in two folders, with `--seeds` or without.
    ///
    /// # Errors
    /// When one holds no finished run; when their numbers are of other settings or share no seed.
    pub fn read(folders: [&Path; 2]) -> Result<Comparison, OverSeedsError> {
        let [one, other] = [Finished::read(folders[0])?, Finished::read(folders[1])?];
        other.must_match(&one)?;
        let differ = differences(&one.config, &other.config);
        let [one, other] = [one.over_seeds()?, other.over_seeds()?];
        let shared = one.seeds.iter().filter(|seed| other.seeds.contains(seed));
        let seeds: Vec<u64> = shared.copied().collect();
        if seeds.is_empty() {
            return Err(OverSeedsError::OtherSeeds {
                path: folders[0].to_owned(),
                other: folders[1].to_owned(),
                found: one.seeds,
                expected: other.seeds,
            });
        }
        let mut measures = BTreeMap::new();
        for name in one.measures.keys() {
            let (Some(a), Some(b)) = (one.values(name, &seeds), other.values(name, &seeds)) else {
                continue;
            };
            let differences = a.iter().zip(&b).map(|(a, b)| b - a).collect();
            measures.insert(name.clone(), [a, b, differences].map(Spread::of));
        }
        Ok(Comparison {
            synthetic: one.data.synthetic,
            seeds,
            differ,
            measures,
        })
    }
}

/// The settings that differ, but for those of the machine and for seeds and folders.
fn differences(one: &Value, other: &Value) -> Vec<String> {
    const OWN: [&str; 5] = ["out", "seed", "seeds", "threads", "checkpoint_every"];
    let written = |value: &Value| {
        let text = value.as_str().map(str::to_owned);
        text.unwrap_or_else(|| value.to_string())
    };
    let mut found = Vec::new();
    let names = one.as_object().into_iter().chain(other.as_object());
    let mut names: Vec<&String> = names.flat_map(|settings| settings.keys()).collect();
    names.sort();
    names.dedup();
    for name in names
        .into_iter()
        .filter(|name| !OWN.contains(&name.as_str()))
    {
        // What an earlier version did not write is null here.
        let (a, b) = (&one[name.as_str()], &other[name.as_str()]);
        if a != b {
            found.push(format!("{name}: {}, {}", written(a), written(b)));
        }
    }
    found
}

/// The measures of a run's test, by their place in its summary.
fn measures(summary: &Value) -> Vec<(String, f64)> {
    fn collect(name: &str, value: &Value, found: &mut Vec<(String, f64)>) {
        match value {
            Value::Number(number) => found.extend(number.as_f64().map(|of| (name.to_owned(), of))),
            Value::Object(fields) => {
                for (key, value) in fields
                    .iter()
                    .filter(|(key, _)| !COUNTS.contains(&key.as_str()))
                {
                    collect(&format!("{name}.{key}"), value, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    let tests = summary.as_object().into_iter().flatten();
    for (key, value) in tests.filter(|(key, _)| key.starts_with("test")) {
        collect(key, value, &mut found);
    }
    found
}
