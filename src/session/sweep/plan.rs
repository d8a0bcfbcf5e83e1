//! Which runs a sweep has: its file, and the settings that follow from it.
//!
//! A grid has every combination of the values in the order of their names, the last one changing first. A
//! random sweep draws each run's values from the sweep's seed and the run's number, so that more
//! runs leave the earlier ones as they are. Successive halving trains all of either briefly and the better
//! part of them longer, each anew.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::choice::{Method, Tried};
use super::error::SweepError;
use super::file::{Halving, MOST, SweepFile, Text};
use crate::config::{self, ConfigError, Kind, PlacedSetting, RunConfig, Task, same_setting};
use crate::ranks::Launch;
use crate::sampling::counter_rng::RandomStreams;

/// What the draws of a sweep are for.
const PURPOSE: &[u8; 8] = b"sweep   ";

/// Draws for one run, until its settings are such that a run takes.
const DRAWS: usize = 100;

/// Most bytes of a sweep's file. What has no end would be read for ever.
const MOST_BYTES: u64 = 16 << 20;

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// `run-007`.
    pub name: String,
    /// What it has of the settings that are tried, by name.
    #[serde(serialize_with = "by_name")]
    pub values: Vec<(String, String)>,
    /// All of its settings.
    #[serde(skip)]
    pub config: RunConfig,
}

impl Trial {
    /// `width = 21, heads = 2`.
    pub fn shown(&self) -> String {
        let each = self.values.iter();
        let each = each.map(|(name, value)| format!("{name} = {value}"));
        each.collect::<Vec<_>>().join(", ")
    }
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
    /// What the user should know of how they came about.
    pub notes: Vec<String>,
    /// The sweep's file.
    pub(super) path: PathBuf,
    /// What stands in it.
    pub(super) text: String,
    halving: Option<Halving>,
}

impl SweepPlan {
    /// Reads a sweep's file. Paths in it count from the current folder, as those of options do.
    ///
    /// # Errors
    /// When it can't be read, something in it is wrong, or a combination is one that no run takes.
    pub fn read(path: &Path) -> Result<SweepPlan, SweepError> {
        let text = read(path).map_err(|error| SweepError::File {
            path: path.to_owned(),
            error,
        })?;
        SweepPlan::of_text(path, text)
    }

    /// That of the text of the file at `path`.
    pub(super) fn of_text(path: &Path, text: String) -> Result<SweepPlan, SweepError> {
        let whole = Text { path, text: &text };
        let file = SweepFile::read(&whole)?;
        let (trials, mut notes) = match file.method {
            Method::Grid => (grid(&file, &whole)?, Vec::new()),
            Method::Random => random(&file, &whole)?,
        };
        notes.extend(without_effect(&trials));
        notes.extend(other_folder(&file, &trials));
        let plan = SweepPlan {
            out: file.out,
            method: file.method,
            trials,
            notes,
            halving: file.halving,
            path: path.to_owned(),
            text: String::new(),
        };
        plan.check_halving(&whole)?;
        Ok(SweepPlan { text, ..plan })
    }

    /// Refuses a first rung that is as long as the last one.
    fn check_halving(&self, text: &Text<'_>) -> Result<(), SweepError> {
        let most = self.most_epochs();
        match self.halving {
            Some(Halving { at, epochs, .. }) if epochs >= most => Err(text.at(
                at,
                format!(
                    "epochs: found {epochs}, expected fewer than a whole run has ({most}, by 'epochs' in \
                     [settings]): no run would be ended early"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Whether `other` trains the same, whatever else its file says.
    pub(super) fn trains_as(&self, other: &SweepPlan) -> bool {
        let halving = |of: &SweepPlan| of.halving.map(|halving| (halving.epochs, halving.keep));
        (self.method, &self.trials, halving(self)) == (other.method, &other.trials, halving(other))
    }

    /// Epochs of the longest run.
    fn most_epochs(&self) -> usize {
        let all = self.trials.iter().map(|trial| trial.config.training.epochs);
        all.max().unwrap_or(1)
    }

    /// Whether runs are ended early, and trained anew for longer.
    pub fn halves(&self) -> bool {
        self.halving.is_some()
    }

    /// How often a run is trained, over all rungs.
    pub fn runs(&self) -> usize {
        let (mut left, mut all) = (self.trials.len(), 0);
        for _ in self.rungs() {
            all += left;
            left = left.div_ceil(self.keep());
        }
        all
    }

    /// The names of what is tried.
    pub(super) fn names(&self) -> Vec<&str> {
        let first = self.trials.first();
        let values = first.into_iter().flat_map(|trial| &trial.values);
        values.map(|(name, _)| name.as_str()).collect()
    }

    /// Most epochs of the runs of each rung.
    pub fn rungs(&self) -> Vec<usize> {
        let most = self.most_epochs();
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

/// The text of a sweep's file.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    file.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MOST_BYTES {
        true => Err(io::Error::other("it has more than 16 MiB")),
        false => Ok(text),
    }
}

/// Values by their names, numbers as numbers.
pub(super) fn by_name<S: Serializer>(
    values: &[(String, String)],
    to: S,
) -> Result<S::Ok, S::Error> {
    let typed = |(name, text): &(String, String)| {
        let name = name.replace('-', "_");
        let value = match config::kind_of(&name) {
            Some(Kind::Whole | Kind::Number | Kind::Switch) => serde_json::from_str(text).ok(),
            _ => None,
        };
        (name, value.unwrap_or_else(|| Value::from(text.as_str())))
    };
    to.collect_map(values.iter().map(typed))
}

/// What is to be said of settings that were given and change nothing, and in how many of the runs.
fn without_effect(trials: &[Trial]) -> Vec<String> {
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for said in trials.iter().flat_map(|trial| &trial.config.without_effect) {
        *all.entry(said).or_default() += 1;
    }
    let say = |(said, runs): (&str, usize)| match runs == trials.len() {
        true => said.to_owned(),
        false => format!("{said} ({runs} of {} runs)", trials.len()),
    };
    all.into_iter().map(say).collect()
}

/// What is to be said of a folder that the file of settings gives: no run of the sweep has it.
fn other_folder(file: &SweepFile, trials: &[Trial]) -> Option<String> {
    let out = trials.first()?.config.output.out.as_ref()?;
    let of = file.config.as_ref()?;
    Some(format!(
        "'out' of {} ({}) has no effect: the runs of a sweep lie below its own",
        of.display(),
        out.display()
    ))
}

/// Refuses settings that are not those of one run of link prediction: the name of the setting, and why.
fn check_run(config: &RunConfig) -> Result<(), (&'static str, String)> {
    if config.start.seeds.is_some() {
        let reason = "seeds: is of mspipe train; to try several, give seed = [0, 1, 2] in [values]";
        return Err(("seeds", reason.to_owned()));
    }
    if let Some(ranks @ Launch::Mpi(_)) = config.training.ranks {
        let reason = format!(
            "ranks: found {ranks}, expected threads:R: an MPI job has one run, a sweep several; start a job of mspipe \
             train for each setting"
        );
        return Err(("ranks", reason));
    }
    match config.start.task {
        Task::Link => Ok(()),
        task => Err((
            "task",
            format!(
                "task: found {}, expected link: a sweep trains link prediction alone; classify labels by a run of \
                 mspipe train for each setting",
                task.name()
            ),
        )),
    }
}

/// Where a setting is given: in the sweep's file, or in the one that it names.
fn place_of(name: &str, all: &[PlacedSetting], file: &SweepFile, text: &Text<'_>) -> String {
    let own = all
        .iter()
        .rev()
        .find(|setting| same_setting(&setting.name, name));
    match (own, &file.config) {
        (Some(setting), _) => setting.place.clone(),
        (None, Some(config)) => config.display().to_string(),
        (None, None) => text.place(0),
    }
}

/// The trial of these values, or why no run has such settings together.
fn trial(
    file: &SweepFile,
    nth: usize,
    values: Vec<String>,
    text: &Text<'_>,
) -> Result<Result<Trial, ConfigError>, SweepError> {
    let own = file.tried.iter().zip(&values);
    let own = own.map(|(tried, value)| PlacedSetting {
        name: tried.name.clone(),
        value: value.clone(),
        place: tried.place.clone(),
    });
    let all: Vec<PlacedSetting> = file.settings.iter().cloned().chain(own).collect();
    let (config, refused) = RunConfig::from_settings(file.config.as_deref(), &all)?;
    check_run(&config).map_err(|(name, reason)| SweepError::At {
        place: place_of(name, &all, file, text),
        reason,
    })?;
    let trial = Trial {
        name: format!("run-{:03}", nth + 1),
        values: named(&file.tried, values),
        config,
    };
    Ok(refused.map_or(Ok(trial), Err))
}

fn named(tried: &[Tried], values: Vec<String>) -> Vec<(String, String)> {
    let names = tried.iter().map(|tried| tried.name.clone());
    names.zip(values).collect()
}

/// `width = 21, heads = 2`.
fn shown(tried: &[Tried], values: &[String]) -> String {
    let each = tried.iter().zip(values);
    let each = each.map(|(tried, value)| format!("{} = {value}", tried.name));
    each.collect::<Vec<_>>().join(", ")
}

/// An error of settings that no run has together.
fn refused(error: ConfigError, file: &SweepFile, values: &str) -> SweepError {
    let (place, reason) = match error {
        ConfigError::At { place, reason } => (place, reason),
        // Of what is not in the file: what is tried does not go with it.
        other => (file.tried[0].place.clone(), other.to_string()),
    };
    SweepError::At {
        place,
        reason: format!("{reason} (the run with {values})"),
    }
}

/// Every combination.
fn grid(file: &SweepFile, text: &Text<'_>) -> Result<Vec<Trial>, SweepError> {
    if file.runs.is_some() {
        return Err(text.at(
            file.places.runs,
            "runs: is of method = \"random\"; a grid has all combinations".to_owned(),
        ));
    }
    if file.tried.is_empty() {
        return Err(text.at(file.places.values, NOTHING.to_owned()));
    }
    let mut all: Vec<Vec<String>> = vec![Vec::new()];
    for tried in &file.tried {
        let Some(values) = tried.choice.all() else {
            return Err(SweepError::At {
                place: tried.place.clone(),
                reason: format!(
                    "{} is a range, and a grid has lists; give its values, a step (whole numbers), or method = \
                     \"random\"",
                    tried.name
                ),
            });
        };
        if all.len().saturating_mul(values.len()) > MOST {
            return Err(text.at(
                file.places.values,
                format!("more than {MOST} combinations; give fewer values"),
            ));
        }
        let with = |earlier: &Vec<String>| -> Vec<Vec<String>> {
            let add = |value: &String| [&earlier[..], std::slice::from_ref(value)].concat();
            values.iter().map(add).collect()
        };
        all = all.iter().flat_map(with).collect();
    }
    let mut trials = Vec::with_capacity(all.len());
    for (nth, values) in all.into_iter().enumerate() {
        let values_shown = shown(&file.tried, &values);
        let trial = trial(file, nth, values, text)?;
        trials.push(trial.map_err(|error| refused(error, file, &values_shown))?);
    }
    Ok(trials)
}

const NOTHING: &str = "there is nothing in [values], and so nothing to try";

/// As many as the file says, each drawn until it is one that a run takes, and what is to be said of that.
fn random(file: &SweepFile, text: &Text<'_>) -> Result<(Vec<Trial>, Vec<String>), SweepError> {
    if file.tried.is_empty() {
        return Err(text.at(file.places.values, NOTHING.to_owned()));
    }
    let Some(runs) = file.runs else {
        let reason = "method = \"random\" needs runs = N, at least 1";
        return Err(text.at(file.places.method, reason.to_owned()));
    };
    let streams = RandomStreams::new(file.seed, 0, PURPOSE);
    let draw = |run: usize, nth_draw: usize| -> Vec<String> {
        let first = nth_draw * file.tried.len();
        let each = file.tried.iter().enumerate();
        each.map(|(nth, tried)| {
            let mut random = streams.at(run as u64, (first + nth) as u32);
            tried.choice.draw(&mut random)
        })
        .collect()
    };
    let (mut trials, mut again, mut first) = (Vec::with_capacity(runs), 0_usize, None);
    for run in 0..runs {
        for nth_draw in 0..DRAWS {
            let values = draw(run, nth_draw);
            let values_shown = shown(&file.tried, &values);
            let error = match trial(file, run, values, text)? {
                Ok(trial) => {
                    trials.push(trial);
                    break;
                }
                Err(error) => refused(error, file, &values_shown),
            };
            if nth_draw + 1 == DRAWS {
                return Err(error);
            }
            again += 1;
            first.get_or_insert(error);
        }
    }
    let note = first.map(|error| {
        format!("{again} draws were settings that no run takes, and were drawn again; the first: {error}")
    });
    Ok((trials, note.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn what_no_run_takes_is_drawn_again_and_said() {
        let text = |runs: usize| {
            format!(
                "out = \"o\"\nmethod = \"random\"\nruns = {runs}\n[values]\nwidth = {{ from = 2, to = 64 }}\n\
                 heads = {{ from = 1, to = 4 }}\n"
            )
        };
        let many = read(&text(64)).unwrap();
        for trial in &many.trials {
            let model = &trial.config.model;
            assert_eq!(model.width % model.heads, 0);
            assert_eq!(
                trial.values[1],
                ("width".to_owned(), model.width.to_string())
            );
        }
        let [note] = &many.notes[..] else {
            panic!("{:?}", many.notes)
        };
        assert!(
            note.contains(" draws were settings that no run takes")
                && note.contains(" heads, expected a multiple of --heads"),
            "{note}"
        );
        // More runs leave the earlier ones as they are.
        let few = read(&text(5)).unwrap();
        for (few, many) in few.trials.iter().zip(&many.trials) {
            assert_eq!(few.values, many.values);
        }
        // With a step nothing is refused.
        let stepped = text(64)
            .replace("to = 64 }", "to = 64, step = 2 }")
            .replace("from = 1, to = 4", "from = 1, to = 2");
        let stepped = read(&stepped).unwrap();
        assert_eq!(stepped.notes, [""; 0]);
        assert!(
            stepped
                .trials
                .iter()
                .all(|trial| trial.config.model.width % 2 == 0)
        );
        // Where the default of another setting is in the way, too.
        let heads =
            "out = \"o\"\nmethod = \"random\"\nruns = 9\n[values]\nheads = { from = 1, to = 5 }\n";
        let heads = read(heads).unwrap();
        assert!(
            heads
                .trials
                .iter()
                .all(|trial| trial.config.model.heads != 3)
        );
        let never = refused(&text(3).replace("from = 1, to = 4", "from = 65, to = 99"));
        assert!(
            never.contains("heads, expected a multiple of --heads (the run with heads = "),
            "{never}"
        );
    }

    #[test]
    fn what_changes_nothing_is_told() {
        let notes = |text: &str| read(text).unwrap().notes;
        assert_eq!(
            notes("out = \"o\"\n[settings]\nmodel = \"jodie\"\n[values]\nmail_slots = [2, 3]\n"),
            ["--mail-slots has no effect with --model jodie"]
        );
        assert_eq!(
            notes("out = \"o\"\n[values]\nmail_slots = [2, 3]\nmodel = [\"apan\", \"jodie\"]\n"),
            ["--mail-slots has no effect with --model jodie (2 of 4 runs)"]
        );
    }

    #[test]
    fn words_that_change_nothing_make_no_other_sweep() {
        let text = "out = \"o\"\n[values]\nwidth = [16, 32]\n";
        let plan = read(text).unwrap();
        for same in ["# why\n", "# why\r\n"] {
            assert!(plan.trains_as(&read(&format!("{same}{text}")).unwrap()));
        }
        for other in [
            text.replace("32", "48"),
            text.replace("32", "32, 48"),
            format!("{text}[halving]\nepochs = 1\n"),
        ] {
            assert!(!plan.trains_as(&read(&other).unwrap()), "{other}");
        }
    }

    #[test]
    fn each_run_has_the_epochs_that_are_tried() {
        let plan = read("out = \"o\"\n[values]\nepochs = [2, 5]\n").unwrap();
        let epochs = plan.trials.iter().map(|trial| trial.config.training.epochs);
        assert_eq!(epochs.collect::<Vec<_>>(), [2, 5]);
        assert!(!plan.halves());
        assert_eq!((plan.rungs(), plan.runs()), (vec![5], 2));
    }

    #[test]
    fn a_grid_has_every_step_of_a_range() {
        let plan =
            read("out = \"o\"\n[values]\nwidth = { from = 16, to = 70, step = 16 }\n").unwrap();
        let widths = plan.trials.iter().map(|trial| trial.config.model.width);
        assert_eq!(widths.collect::<Vec<_>>(), [16, 32, 48, 64]);
    }

    #[test]
    fn large_and_small_numbers_are_short() {
        let plan = read("out = \"o\"\n[values]\nlearning_rate = [1e-7, 1e-3, 1e30]\n").unwrap();
        let values = plan.trials.iter().map(|trial| trial.values[0].1.as_str());
        assert_eq!(values.collect::<Vec<_>>(), ["1e-7", "0.001", "1e30"]);
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
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let head = "out = \"o\"\n";
        let below = WRONG
            .iter()
            .map(|(text, expected)| (format!("{head}{text}"), expected));
        let whole = WRONG_WHOLE
            .iter()
            .map(|(text, expected)| ((*text).to_owned(), expected));
        for (text, expected) in below.chain(whole) {
            let said = refused(&text);
            assert!(said.starts_with(expected), "{text}: {said}");
        }
    }

    #[rustfmt::skip]
    const WRONG_WHOLE: &[(&str, &str)] = &[
        ("[values]\nwidth = [16]\n", "1: 'out' is missing: the folder"),
        ("out = \n", "1: is no TOML: "),
    ];

    /// Below a first line that gives the folder.
    #[rustfmt::skip]
    const WRONG: &[(&str, &str)] = &[
        ("", "1: there is nothing in [values]"),
        ("method = \"best\"\n[values]\nwidth = [16]\n", "2: method: found 'best', expected grid or random"),
        ("[values]\nwidht = [16]\n", "3: unknown setting 'widht'; the nearest is 'width'"),
        ("[values]\nwidth = [16, 0]\n", "3: --width is 0, expected 1 to 16,384"),
        ("[settings]\nmodel = \"tgm\"\n[values]\nwidth = [16]\n",
         "3: model: found 'tgm', expected one of tgn, jodie, apan"),
        ("[values]\nwidth = { from = 16, to = 32 }\n", "3: width is a range, and a grid has lists"),
        ("method = \"random\"\n[values]\nwidth = [16]\n", "2: method = \"random\" needs runs = N"),
        ("runs = 3\n[values]\nwidth = [16]\n", "2: runs: is of method = \"random\""),
        ("[values]\nwidth = { from = 0, to = 32, log = true }\n",
         "3: width: found a logarithmic range that begins at or below 0"),
        ("[values]\n", "2: there is nothing in [values]"),
        ("metod = \"grid\"\n", "2: unknown name 'metod'; the nearest is 'method'"),
        ("batch-size = 8\n[values]\nwidth = [16]\n",
         "2: 'batch-size' is a setting: put it below [settings], or below [values]"),
        ("[values]\nwidth = [16]\n[halving]\nepoch = 2\n",
         "5: unknown name 'epoch' in [halving]; the nearest is 'epochs'"),
        ("[values]\nwidth = { from = 16, to = 64, stepp = 2 }\n",
         "3: width: unknown name 'stepp' in its range; the nearest is 'step'"),
        ("[values]\nwidth = { from = 16, to = 64, step = 0 }\n",
         "3: width: step: found '0', expected a whole number from 1 to 4,294,967,295"),
        ("[values]\ndropout = { from = 0.1, to = 0.5, step = 1 }\n",
         "3: dropout: found a step between ends that are not whole"),
        ("method = \"random\"\nruns = \"three\"\n",
         "3: runs: found 'three', expected a whole number from 1 to 10,000"),
        ("[settings]\nepochs = \"many\"\n[values]\nwidth = [16]\n",
         "3: epochs: found 'many', expected a whole number from 1 to 1,000,000"),
        ("[settings]\nheads = 3\n[values]\nwidth = [16]\n",
         "5: --width is 16 with 3 heads, expected a multiple of --heads (the run with width = 16)"),
        ("[values]\nheads = [3]\n",
         "3: --width is 100 with 3 heads, expected a multiple of --heads (the run with heads = 3)"),
        ("[values]\nmodel = [\"tgn\", \"jodie\"]\nlayers = [1, 2]\n",
         "4: --layers is 2, expected 1 for this model, which has no attention layers (the run with layers = 2, model = jodie)"),
        ("[settings]\nsplit = \"0.5,0.2\"\nsplit-at = \"1,2\"\n[values]\nwidth = [16]\n",
         "4: split-at: can't be given with split ("),
        ("[values]\nprotocol = [\"tgl\", \"tgb\"]\n", "3: protocol: says what runs are measured on"),
        ("[values]\nwidth = [16, 32, 16]\n", "3: width: found 16 twice, expected a list of values"),
        ("[settings]\nbatch-size = 8\n[values]\nbatch_size = [16]\n", "5: batch_size: is given twice"),
        // A file that is there: weights are not read yet.
        ("[settings]\ntask = \"edge\"\ninit = \"Cargo.toml\"\n[values]\nwidth = [16]\n",
         "3: task: found edge, expected link"),
        ("[settings]\nbatch_size = 8\nseeds = 3\n[values]\nwidth = [16]\n", "4: seeds: is of mspipe train"),
        ("[settings]\nout = \"x\"\n[values]\nwidth = [16]\n", "3: out: is no setting of a sweep's runs"),
        ("[values]\nout = [\"x\", \"y\"]\n", "3: out: is no setting of a sweep's runs"),
        ("[values]\ntime_unit = [\"s\", \"ms\"]\n", "3: time_unit: says what runs are measured on"),
        ("[settings]\nepochs = 20\n[values]\nwidth = [16, 32]\n[halving]\nkeep = 2\nepochs = 20\n",
         "8: epochs: found 20, expected fewer than a whole run has (20, by 'epochs' in [settings])"),
        ("[values]\nepochs = [4, 8]\n[halving]\nepochs = 2\n",
         "3: epochs: [halving] says for how many epochs each run is trained"),
    ];
}
