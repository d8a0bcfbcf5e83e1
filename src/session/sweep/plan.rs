//! Which runs a sweep has: its file, and the settings that follow from it.
//!
//! A grid has every combination of the values in the order of their names, the last one changing first. A
//! random sweep draws each run's values from the sweep's seed and the run's number, so that more
//! runs leave the earlier ones as they are. Successive halving trains all of either briefly and the better
//! part of them longer, each anew.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use toml::{Spanned, Value};

use crate::config::{ConfigError, PlacedSetting, RunConfig, Task};
use crate::sampling::counter_rng::RandomStreams;

/// Most runs of a sweep.
const MOST: usize = 10_000;

/// Settings that a sweep does not try: what runs are measured on, and where they lie. (Batch sizes it does, though
/// memory is followed batch by batch in an evaluation too: they are what people try.)
const MEASURED_BY: [&str; 11] = [
    "data",
    "task",
    "protocol",
    "candidates",
    "hide_batch",
    "eval_seed",
    "monitor",
    "limit_events",
    "split",
    "split_at",
    "out",
];

/// What the draws of a sweep are for.
const PURPOSE: &[u8; 8] = b"sweep   ";

/// How settings are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Every combination.
    #[default]
    Grid,
    /// Drawn.
    Random,
}

/// A file of a sweep.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepFile {
    out: PathBuf,
    #[serde(default)]
    method: Method,
    /// How many are drawn.
    runs: Option<usize>,
    /// What they are drawn from.
    #[serde(default)]
    seed: u64,
    /// A file of settings that all runs have.
    config: Option<PathBuf>,
    /// More of them, which come before those of the file.
    #[serde(default)]
    settings: BTreeMap<String, Spanned<Value>>,
    /// What is tried.
    values: BTreeMap<String, Spanned<Value>>,
    halving: Option<Halving>,
}

/// Successive halving.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Halving {
    /// Epochs of the first rung; each further one has `keep` times as many, up to the settings' own.
    epochs: usize,
    /// One of so many goes on.
    #[serde(default = "three")]
    keep: usize,
}

fn three() -> usize {
    3
}

/// One run of a sweep.
#[derive(Debug, Clone)]
pub struct Trial {
    /// `run-007`.
    pub name: String,
    /// What it has of the settings that are tried, by name.
    pub values: Vec<(String, String)>,
    /// All of its settings.
    pub config: RunConfig,
}

/// All runs of a sweep.
#[derive(Debug, Clone)]
pub struct SweepPlan {
    /// The folder of all.
    pub out: PathBuf,
    /// How they were chosen.
    pub method: Method,
    /// In their order.
    pub trials: Vec<Trial>,
    /// The sweep's file, as it is.
    pub(super) text: String,
    halving: Option<Halving>,
}

/// Why there is no sweep.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The file can't be read.
    #[error("{}: can't be read as a sweep: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Something in it is wrong.
    #[error("{place}: {reason}")]
    At {
        /// `sweep.toml:3`.
        place: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A setting.
    #[error(transparent)]
    Setting(#[from] ConfigError),
    /// The folder can't be made.
    #[error("{}: can't be made or read: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The folder is of another sweep.
    #[error(
        "{}: holds a sweep of another file (its sweep.toml differs); give another 'out', or that file",
        path.display()
    )]
    Other {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is of something else.
    #[error("{}: is not empty and holds no sweep; give another 'out'", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing came of it.
    #[error("{}: no run of the sweep has given a number: all diverged", path.display())]
    NoResult {
        /// The folder.
        path: PathBuf,
    },
}

/// What is tried of a setting.
enum Choice {
    List(Vec<String>),
    /// Both ends, whether by their logarithm, and whether whole.
    Range {
        from: f64,
        to: f64,
        log: bool,
        whole: bool,
    },
}

/// A setting that is tried.
struct Tried {
    name: String,
    choice: Choice,
    place: String,
}

impl SweepPlan {
    /// Reads a sweep's file.
    ///
    /// # Errors
    /// When it can't be read, something in it is wrong, or a combination is one that no run takes.
    pub fn read(path: &Path) -> Result<SweepPlan, SweepError> {
        let text = fs::read_to_string(path).map_err(|error| SweepError::File {
            path: path.to_owned(),
            error,
        })?;
        let place = |at: usize| {
            let line = 1 + text[..at.min(text.len())].matches('\n').count();
            format!("{}:{line}", path.display())
        };
        let file: SweepFile = toml::from_str(&text).map_err(|error| SweepError::At {
            place: place(error.span().map_or(0, |span| span.start)),
            reason: error.message().trim_end().to_owned(),
        })?;
        let shared = shared(&file, &place)?;
        let tried = tried(&file, &place)?;
        let combinations = combinations(&file, &tried).map_err(|reason| SweepError::At {
            place: place(0),
            reason,
        })?;
        let mut trials = Vec::with_capacity(combinations.len());
        for (nth, values) in combinations.into_iter().enumerate() {
            let own = tried
                .iter()
                .zip(&values)
                .map(|(tried, value)| PlacedSetting {
                    name: tried.name.clone(),
                    value: value.clone(),
                    place: tried.place.clone(),
                });
            let all: Vec<PlacedSetting> = shared.iter().cloned().chain(own).collect();
            let config = RunConfig::from_settings(file.config.as_deref(), &all)?;
            check_run(&config).map_err(|reason| SweepError::At {
                place: place(0),
                reason,
            })?;
            let names = tried.iter().map(|tried| tried.name.clone());
            trials.push(Trial {
                name: format!("run-{:03}", nth + 1),
                values: names.zip(values).collect(),
                config,
            });
        }
        Ok(SweepPlan {
            out: file.out,
            method: file.method,
            trials,
            text,
            halving: file.halving,
        })
    }

    /// The names of what is tried.
    pub(super) fn names(&self) -> Vec<&str> {
        let first = self.trials.first();
        let values = first.into_iter().flat_map(|trial| &trial.values);
        values.map(|(name, _)| name.as_str()).collect()
    }

    /// Epochs of each rung.
    pub fn rungs(&self) -> Vec<usize> {
        let all = self.trials.iter().map(|trial| trial.config.training.epochs);
        let most = all.max().unwrap_or(1);
        let Some(halving) = self.halving else {
            return vec![most];
        };
        let (mut epochs, mut left) = (halving.epochs.max(1), self.trials.len());
        let mut rungs = Vec::new();
        while epochs < most && left > 1 {
            rungs.push(epochs);
            epochs = epochs.saturating_mul(self.keep());
            left = left.div_ceil(self.keep());
        }
        rungs.push(epochs.min(most));
        rungs
    }

    /// One of so many goes on to the next rung.
    pub(super) fn keep(&self) -> usize {
        self.halving.map_or(1, |halving| halving.keep.max(2))
    }

    /// The folder of a trial on a rung, from 0.
    pub(super) fn folder(&self, trial: usize, rung: usize) -> PathBuf {
        let name = &self.trials[trial].name;
        match self.halving {
            Some(_) => self.out.join(format!("rung-{}", rung + 1)).join(name),
            None => self.out.join(name),
        }
    }
}

/// Refuses settings that are not those of one run of link prediction.
fn check_run(config: &RunConfig) -> Result<(), String> {
    if config.start.seeds.is_some() {
        return Err(
            "'seeds' is of mspipe train; to try several, give seed = [0, 1, 2] in [values]"
                .to_owned(),
        );
    }
    match config.start.task {
        Task::Link => Ok(()),
        task => Err(format!(
            "task: found {}, expected link: a sweep trains link prediction alone; classify labels by a run of mspipe \
             train for each setting",
            task.name()
        )),
    }
}

/// The settings that are tried.
fn tried(file: &SweepFile, place: &dyn Fn(usize) -> String) -> Result<Vec<Tried>, SweepError> {
    let plain = |name: &str| name.replace('-', "_");
    let mut tried: Vec<Tried> = Vec::new();
    for (name, value) in &file.values {
        let at = place(value.span().start);
        let wrong = |reason| SweepError::At {
            place: at.clone(),
            reason,
        };
        if MEASURED_BY.contains(&plain(name).as_str()) {
            return Err(wrong(format!(
                "{name}: says what runs are measured on, so that those of a sweep could not be compared; give it in \
                 [settings]"
            )));
        }
        let same = |other: &str| plain(other) == plain(name);
        if file.settings.keys().any(|other| same(other))
            || tried.iter().any(|other| same(&other.name))
        {
            return Err(wrong(format!("{name}: is given twice; once is enough")));
        }
        tried.push(Tried {
            name: name.clone(),
            choice: choice(name, value.get_ref()).map_err(wrong)?,
            place: at,
        });
    }
    Ok(tried)
}

/// The settings that all runs have; `place` names the line of a byte.
fn shared(
    file: &SweepFile,
    place: &dyn Fn(usize) -> String,
) -> Result<Vec<PlacedSetting>, SweepError> {
    let one = |(name, value): (&String, &Spanned<Value>)| {
        let place = place(value.span().start);
        match written(value.get_ref()) {
            Ok(text) => Ok(PlacedSetting {
                name: name.clone(),
                value: text,
                place,
            }),
            Err(found) => Err(SweepError::At {
                place,
                reason: format!("{name}: found {found}, expected one value"),
            }),
        }
    };
    file.settings.iter().map(one).collect()
}

/// A value as an option takes it, or what it is instead of one.
fn written(value: &Value) -> Result<String, &'static str> {
    Ok(match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(on) => on.to_string(),
        Value::Datetime(time) => time.to_string(),
        Value::Array(_) => return Err("a list"),
        Value::Table(_) => return Err("a table"),
    })
}

/// What is tried of a setting: a list, or `{ from = …, to = …, log = true }`.
fn choice(name: &str, value: &Value) -> Result<Choice, String> {
    let expected = "a list of values, or { from = 1e-4, to = 1e-2, log = true }";
    let wrong = |found: &str| format!("{name}: found {found}, expected {expected}");
    match value {
        Value::Array(values) if values.is_empty() => Err(wrong("an empty list")),
        Value::Array(values) => {
            let all: Result<Vec<String>, &str> = values.iter().map(written).collect();
            let all = all.map_err(wrong)?;
            let again = (1..all.len()).find(|&nth| all[..nth].contains(&all[nth]));
            match again {
                Some(nth) => Err(wrong(&format!("{} twice", all[nth]))),
                None => Ok(Choice::List(all)),
            }
        }
        Value::Table(table) => {
            let number = |key: &str| match table.get(key) {
                Some(Value::Integer(number)) => Some((*number as f64, true)),
                Some(Value::Float(number)) => Some((*number, false)),
                _ => None,
            };
            let log = table
                .get("log")
                .is_some_and(|log| *log == Value::Boolean(true));
            let known = ["from", "to", "log"];
            if let Some(other) = table.keys().find(|key| !known.contains(&key.as_str())) {
                return Err(wrong(&format!("'{other}' in its table")));
            }
            match (number("from"), number("to")) {
                (Some((from, a)), Some((to, b))) if from < to && !(log && from <= 0.0) => {
                    Ok(Choice::Range {
                        from,
                        to,
                        log,
                        whole: a && b,
                    })
                }
                (Some(_), Some(_)) if log => Err(wrong(
                    "a logarithmic range whose ends are not above 0 and rising",
                )),
                (Some(_), Some(_)) => Err(wrong("a range that does not rise")),
                _ => Err(wrong("a table without from and to")),
            }
        }
        other => Err(wrong(&written(other).unwrap_or_default())),
    }
}

/// The values of each run, in the order of what is tried.
fn combinations(file: &SweepFile, tried: &[Tried]) -> Result<Vec<Vec<String>>, String> {
    if tried.is_empty() {
        return Err("there is nothing in [values], and so nothing to try".to_owned());
    }
    match (file.method, file.runs) {
        (Method::Grid, Some(_)) => {
            Err("'runs' is of method = \"random\"; a grid has all combinations".to_owned())
        }
        (Method::Grid, None) => {
            let mut all: Vec<Vec<String>> = vec![Vec::new()];
            for tried in tried {
                let Choice::List(values) = &tried.choice else {
                    let name = &tried.name;
                    return Err(format!(
                        "{name} is a range, and a grid has lists; give its values, or method = \"random\""
                    ));
                };
                if all.len().saturating_mul(values.len()) > MOST {
                    return Err(format!("more than {MOST} combinations; give fewer values"));
                }
                let with = |earlier: &Vec<String>| -> Vec<Vec<String>> {
                    let add = |value: &String| [&earlier[..], std::slice::from_ref(value)].concat();
                    values.iter().map(add).collect()
                };
                all = all.iter().flat_map(with).collect();
            }
            Ok(all)
        }
        (Method::Random, None | Some(0)) => {
            Err("method = \"random\" needs runs = N, at least 1".to_owned())
        }
        (Method::Random, Some(runs)) if runs > MOST => {
            Err(format!("runs is {runs}, expected 1 to {MOST}"))
        }
        (Method::Random, Some(runs)) => {
            let streams = RandomStreams::new(file.seed, 0, PURPOSE);
            let draw = |run: usize| -> Vec<String> {
                let each = tried.iter().enumerate();
                each.map(|(nth, tried)| {
                    let mut random = streams.at(run as u64, nth as u32);
                    match &tried.choice {
                        Choice::List(values) => {
                            values[random.u32_below(values.len() as u32) as usize].clone()
                        }
                        Choice::Range {
                            from,
                            to,
                            log,
                            whole,
                        } => drawn(f64::from(random.f32_unit()), (*from, *to), *log, *whole),
                    }
                })
                .collect()
            };
            Ok((0..runs).map(draw).collect())
        }
    }
}

/// The number at a share of a range, with at most four digits.
fn drawn(share: f64, (from, to): (f64, f64), log: bool, whole: bool) -> String {
    let value = match log {
        true => (from.ln() + share * (to / from).ln()).exp(),
        false => from + share * (to - from),
    };
    if whole {
        return format!("{:.0}", value.round().clamp(from, to));
    }
    let short: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    short.clamp(from, to).to_string()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn read(text: &str) -> Result<SweepPlan, SweepError> {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("sweep.toml");
        fs::write(&path, text).unwrap();
        SweepPlan::read(&path)
    }

    /// What is said of a file, after its place.
    fn refused(text: &str) -> String {
        let said = read(text).unwrap_err().to_string();
        let at = said
            .find("sweep.toml:")
            .map_or(0, |at| at + "sweep.toml:".len());
        said[at..].to_owned()
    }

    #[test]
    fn a_grid_has_every_combination() {
        let plan = read(
            "out = \"o\"\n[settings]\nepochs = 9\n[values]\nwidth = [16, 32]\n\
             learning_rate = [1e-3, 1e-2, 1e-1]\n",
        )
        .unwrap();
        assert_eq!(plan.trials.len(), 6);
        let values = |nth: usize| -> Vec<&str> {
            let all = plan.trials[nth].values.iter();
            all.map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(values(0), ["0.001", "16"]);
        assert_eq!(values(1), ["0.001", "32"]);
        assert_eq!(values(5), ["0.1", "32"]);
        let config = &plan.trials[5].config;
        assert_eq!((config.model.width, config.training.epochs), (32, 9));
        assert_eq!(config.training.learning_rate, 0.1);
        assert_eq!(plan.rungs(), [9]);
        assert_eq!(plan.folder(4, 0), Path::new("o/run-005"));
    }

    #[test]
    fn draws_stay_within_their_range_and_depend_on_seed_and_run_alone() {
        let text = |runs: usize, seed: u64| {
            format!(
                "out = \"o\"\nmethod = \"random\"\nruns = {runs}\nseed = {seed}\n[values]\n\
                 learning_rate = {{ from = 1e-4, to = 1e-2, log = true }}\n\
                 width = {{ from = 2, to = 64 }}\nheads = [1, 2]\n"
            )
        };
        let mut heads = [0; 2];
        let values = |plan: &SweepPlan| -> Vec<Vec<(String, String)>> {
            plan.trials
                .iter()
                .map(|trial| trial.values.clone())
                .collect()
        };
        // A width of an odd number has no two heads.
        let odd = text(64, 1);
        assert!(refused(&odd).contains("--width is"), "{}", refused(&odd));
        let even = |runs, seed| {
            text(runs, seed)
                .replace("heads = [1, 2]", "layers = [1, 2]")
                .replace("[values]", "[settings]\nheads = 1\n[values]")
        };
        let many = read(&even(64, 1)).unwrap();
        let mut below = 0;
        for trial in &many.trials {
            let (rate, width) = (
                trial.config.training.learning_rate,
                trial.config.model.width,
            );
            assert!((1e-4..=1e-2).contains(&rate) && (2..=64).contains(&width));
            below += usize::from(rate < 1e-3);
            heads[trial.config.model.layers - 1] += 1;
        }
        // By logarithm, half of them lie below the geometric mean.
        assert!((20..=44).contains(&below), "{below}");
        assert!(heads.iter().all(|count| *count > 16), "{heads:?}");
        let few = read(&even(5, 1)).unwrap();
        assert_eq!(values(&few), values(&many)[..5]);
        assert_ne!(values(&read(&even(5, 2)).unwrap()), values(&few));
    }

    #[test]
    fn rungs_grow_and_end_at_the_settings_own() {
        let rungs = |halving: &str| {
            let text = format!(
                "out = \"o\"\n[settings]\nepochs = 20\n[values]\nseed = [0, 1, 2, 3, 4, 5, 6, 7, 8]\n\
                 [halving]\n{halving}"
            );
            read(&text).unwrap().rungs()
        };
        assert_eq!(rungs("epochs = 2\n"), [2, 6, 18]);
        assert_eq!(rungs("epochs = 5\nkeep = 2\n"), [5, 10, 20]);
        assert_eq!(rungs("epochs = 30\n"), [20]);
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let head = "out = \"o\"\n";
        for (text, expected) in [
            ("[values]\nwidth = [16]\n", "1: missing field `out`"),
            (
                &format!("{head}method = \"best\"\n[values]\nwidth = [16]\n"),
                "2: unknown variant `best`",
            ),
            (
                &format!("{head}[values]\nwidht = [16]\n"),
                "3: unknown setting 'widht'; the nearest is 'width'",
            ),
            (
                &format!("{head}[values]\nwidth = [16, 0]\n"),
                "3: --width is 0, expected 1 to 16,384",
            ),
            (
                &format!("{head}[settings]\nmodel = \"tgm\"\n[values]\nwidth = [16]\n"),
                "3: model: found 'tgm', expected one of tgn, jodie, apan",
            ),
            (
                &format!("{head}[values]\nwidth = {{ from = 16, to = 32 }}\n"),
                "1: width is a range, and a grid has lists",
            ),
            (
                &format!("{head}method = \"random\"\n[values]\nwidth = [16]\n"),
                "1: method = \"random\" needs runs = N",
            ),
            (
                &format!("{head}[values]\nwidth = {{ from = 0, to = 32, log = true }}\n"),
                "3: width: found a logarithmic range whose ends are not above 0 and rising",
            ),
            (
                &format!("{head}[values]\n"),
                "1: there is nothing in [values]",
            ),
            (
                &format!("{head}[values]\nprotocol = [\"tgl\", \"tgb\"]\n"),
                "3: protocol: says what runs are measured on",
            ),
            (
                &format!("{head}[values]\nwidth = [16, 32, 16]\n"),
                "3: width: found 16 twice, expected a list of values",
            ),
            (
                &format!("{head}[settings]\nbatch-size = 8\n[values]\nbatch_size = [16]\n"),
                "5: batch_size: is given twice",
            ),
            (
                &format!(
                    // A file that is there: weights are not read yet.
                    "{head}[settings]\ntask = \"edge\"\ninit = \"Cargo.toml\"\n[values]\nwidth = [16]\n"
                ),
                "1: task: found edge, expected link",
            ),
        ] {
            let said = refused(text);
            assert!(said.starts_with(expected), "{text}: {said}");
        }
    }
}
