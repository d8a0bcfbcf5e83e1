//! Runs of a folder side by side: how far each is, what it is worth, and which settings differ.
//!
//! It reads `config.json`, `metrics.jsonl` and `summary.json`; a run that is still written is shown as far
//! as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use super::over_seeds::SETTING;
use super::{CONFIG, DIVERGED, LOCK, METRICS, RunFolderError, SUMMARY, failed_read};
use crate::config::{self, ConfigError, ReadingSettings, RunConfig, Task};
use crate::eval::Monitor;
use crate::numbers::shortest;
use crate::report::comparison::{self, GroupOfPage, RunOfPage};
use crate::report::labels;

/// Settings that change no number of a run.
const FREE: [&str; 6] = [
    "out",
    "seeds",
    "threads",
    "checkpoint_every",
    "log",
    "probe_every",
];

/// Whether no number of a run depends on the setting of this name.
pub(crate) fn changes_no_number(setting: &str) -> bool {
    FREE.contains(&setting)
}

/// Settings that are shown of all runs where ranks have shared the batches of any.
const OF_RANKS: [&str; 2] = ["ranks", "batch_size"];

/// Folders are looked for this deep.
const DEPTH: usize = 12;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It has its summary.
    Ended,
    /// A program writes into its folder.
    Running,
    /// It has no summary, and nobody writes into it.
    Stopped,
    /// It ended because its weights or losses were no numbers any more.
    Diverged,
}

impl RunState {
    /// All of them.
    pub const ALL: [RunState; 4] = [
        RunState::Ended,
        RunState::Running,
        RunState::Stopped,
        RunState::Diverged,
    ];

    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            RunState::Ended => "ended",
            RunState::Running => "running",
            RunState::Stopped => "stopped",
            RunState::Diverged => "diverged",
        }
    }
}

/// What the folder of a run says.
#[derive(Debug, Clone)]
pub struct FoundRun {
    /// The folder.
    pub folder: PathBuf,
    /// Its path below the folder that was looked through, or its own name.
    pub name: String,
    /// How far it is.
    pub state: RunState,
    /// When its settings were written, where the system tells.
    pub started: Option<SystemTime>,
    /// What chooses its best epoch.
    pub monitor: Monitor,
    /// Passes that it may have.
    pub of_epochs: usize,
    /// All settings, by the names of their options; the batch is that of all ranks, and the ranks are those of
    /// the end.
    pub settings: Map<String, Value>,
    /// The same.
    config: RunConfig,
    /// Why it gave nothing, where that is known.
    failed: Option<String>,
    epochs: Vec<Value>,
    losses: Vec<f64>,
    summary: Option<Value>,
}

impl FoundRun {
    /// The run in `folder`, called `name`.
    ///
    /// # Errors
    /// When its settings can't be read.
    pub fn read(folder: &Path, name: &str) -> Result<FoundRun, RunFolderError> {
        let file = folder.join(CONFIG);
        if !file.exists() {
            return Err(RunFolderError::NoRun {
                path: folder.to_owned(),
            });
        }
        let config = RunConfig::read(&file).map_err(RunFolderError::Settings)?;
        let metadata = fs::metadata(&file).and_then(|metadata| metadata.modified());
        let Metrics {
            epochs,
            losses,
            diverged,
            ranks,
        } = Metrics::read(&folder.join(METRICS))?;
        let summary = summary(&folder.join(SUMMARY))?;
        let mut begun = FoundRun::begun(folder, name, config);
        if let Some(last) = ranks {
            begun.settings.insert("ranks".to_owned(), last);
        }
        let state = state(folder, summary.is_some(), diverged.is_some());
        Ok(FoundRun {
            state,
            failed: diverged.filter(|_| state == RunState::Diverged),
            started: metadata.ok(),
            epochs,
            losses,
            summary,
            ..begun
        })
    }

    /// A run of these settings that has written nothing else.
    pub(crate) fn begun(folder: &Path, name: &str, mut config: RunConfig) -> FoundRun {
        let given = config.training.monitor;
        let monitor = given.unwrap_or_else(|| config.protocol.name.monitor());
        // What a run found out is no setting.
        config.stream.edge_scale = None;
        config.without_effect = Vec::new();
        let mut settings = config.by_name().unwrap_or_default();
        if config.training.ranks.is_some() {
            let batch = config.training.batch_events();
            settings.insert("batch_size".to_owned(), batch.into());
        }
        FoundRun {
            folder: folder.to_owned(),
            name: name.to_owned(),
            state: RunState::Stopped,
            started: None,
            monitor,
            of_epochs: match config.start.task {
                Task::Link => config.training.epochs,
                Task::Node | Task::Edge => config.node.epochs,
            },
            settings,
            config,
            failed: None,
            epochs: Vec::new(),
            losses: Vec::new(),
            summary: None,
        }
    }

    /// The same, which ended because its numbers were none any more: whatever it had reached before is no
    /// result.
    #[must_use]
    pub(crate) fn diverged(mut self, reason: &str) -> FoundRun {
        (self.state, self.failed) = (RunState::Diverged, Some(reason.to_owned()));
        self
    }

    /// Why it gave nothing, if it diverged.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// What it trains.
    pub fn task(&self) -> Task {
        self.config.start.task
    }

    /// Whether the setting of this name changes what it does.
    pub fn acts(&self, setting: &str) -> bool {
        self.config.acts(setting)
    }

    /// Epochs that are trained and validated.
    pub fn trained_epochs(&self) -> usize {
        self.epochs.len()
    }

    /// The measure that its numbers are of: its name, and where metrics have it.
    fn measured(&self) -> (&'static str, &'static str) {
        match (self.task(), self.monitor) {
            (Task::Node | Task::Edge, _) => {
                let says = self.summary.as_ref().or(self.epochs.first());
                labels::measure(says.unwrap_or(&Value::Null))
            }
            (_, Monitor::ValAuc) => ("AUC", "/auc"),
            (_, Monitor::ValMrr) => ("MRR", "/ranking/mrr"),
            (_, Monitor::ValApBatchMean) => ("batch AP", "/ap_batch_mean"),
            (_, Monitor::ValAp) => ("AP", "/ap"),
        }
    }

    /// The name of the measure that its numbers are of.
    pub fn measure(&self) -> &'static str {
        self.measured().0
    }

    /// The measure in metrics.
    fn of(&self, metrics: &Value) -> Option<f64> {
        metrics.pointer(self.measured().1)?.as_f64()
    }

    /// The measure of each epoch's validation; NaN where there is none.
    fn validations(&self) -> Vec<f64> {
        let of = |epoch: &Value| self.of(&epoch["val"]).unwrap_or(f64::NAN);
        self.epochs.iter().map(of).collect()
    }

    /// The best epoch so far, from 1, and the measure of its validation: the earliest of equals.
    pub fn best(&self) -> Option<(usize, f64)> {
        if self.state == RunState::Diverged {
            return None;
        }
        let all = self.validations().into_iter().enumerate();
        let better = |best: Option<(usize, f64)>, (nth, value): (usize, f64)| match best {
            Some((_, most)) if value.is_nan() || value <= most => best,
            _ if value.is_nan() => best,
            _ => Some((nth + 1, value)),
        };
        all.fold(None, better)
    }

    /// The measure of the test, once it has ended.
    pub fn test(&self) -> Option<f64> {
        self.of(&self.summary.as_ref()?["test"])
    }

    /// Mean training events per second of its epochs.
    pub fn events_per_s(&self) -> Option<f64> {
        let each = |epoch: &Value| epoch["events_per_s"].as_f64();
        let all: Vec<f64> = self.epochs.iter().filter_map(each).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    }

    /// What it calls its stream.
    fn data(&self) -> &str {
        &self.config.source.data
    }

    /// Whether its stream was generated.
    pub fn is_synthetic(&self) -> bool {
        self.data().starts_with("synthetic:")
    }

    /// Whether its times are of an adapter or a bus that was emulated.
    pub fn is_emulated(&self) -> bool {
        self.config.emulates()
    }

    /// The losses that are drawn: of each iteration, or of each epoch of a classifier. What diverged would
    /// leave no room for the others.
    fn course(&self) -> Vec<f64> {
        let loss = |epoch: &Value| epoch["train_loss"].as_f64();
        match (self.state, self.task()) {
            (RunState::Diverged, _) => Vec::new(),
            (_, Task::Link) => self.losses.clone(),
            (_, Task::Node | Task::Edge) => self.epochs.iter().filter_map(loss).collect(),
        }
    }

    /// What a page of several runs shows of it; its settings are those of `differing`.
    fn of_page(&self, differing: &[String]) -> RunOfPage {
        let test = self.summary.as_ref().map(|summary| &summary["test"]);
        let at = |name: &str| test.and_then(|test| test[name].as_f64());
        RunOfPage {
            name: self.name.clone(),
            state: format!(
                "{}, {} of {} epochs",
                self.state.name(),
                self.trained_epochs(),
                self.of_epochs
            ),
            is_synthetic: self.is_synthetic(),
            is_emulated: self.is_emulated(),
            settings: differing.iter().map(|name| self.written(name)).collect(),
            measure: self.measure().to_owned(),
            failed: self.failed.clone(),
            validations: match self.state {
                RunState::Diverged => Vec::new(),
                _ => self.validations(),
            },
            losses: self.course(),
            best: self.best(),
            test: self.test(),
            test_ap: at("ap"),
            test_auc: at("auc"),
            events_per_s: self.events_per_s(),
        }
    }

    /// A setting as it is shown; one that does not act is none.
    pub fn written(&self, setting: &str) -> String {
        match self.settings.get(setting).filter(|_| self.acts(setting)) {
            None | Some(Value::Null) => "-".to_owned(),
            Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) if number.is_f64() => {
                number.as_f64().map_or_else(String::new, shortest)
            }
            Some(other) => other.to_string(),
        }
    }
}

/// The runs below `base`, by name, and what is to be said of folders that can't be read.
///
/// # Errors
/// When `base` itself can't be read.
pub fn runs_below(base: &Path) -> Result<(Vec<FoundRun>, Vec<String>), RunFolderError> {
    let (mut runs, mut unread, mut too_deep) = (Vec::new(), Vec::new(), 0);
    // A folder that links lead to once more is one; by its own path where that is below the base too.
    let (mut seen, mut links) = (BTreeSet::new(), Vec::new());
    fs::read_dir(base).map_err(|error| failed_read(base, error))?;
    let mut open = vec![(base.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop().or_else(|| links.pop()) {
        if !seen.insert(folder.canonicalize().unwrap_or_else(|_| folder.clone())) {
            continue;
        }
        let is_run = folder.join(CONFIG).is_file();
        let below = folder.strip_prefix(base).unwrap_or(&folder);
        let name = match below.as_os_str().is_empty() {
            true => name_of(&folder),
            false => below.display().to_string(),
        };
        if is_run {
            match FoundRun::read(&folder, &name) {
                // Of several seeds, each is a run below it.
                Ok(run) if run.settings.get("seeds").is_some_and(Value::is_u64) => {}
                Ok(run) => {
                    runs.push(run);
                    continue;
                }
                Err(error) => {
                    unread.push(short(&error));
                    continue;
                }
            }
        }
        // What can't be looked into holds no run of this user.
        let inside = fs::read_dir(&folder).into_iter().flatten().flatten();
        let folders = inside.map(|entry| entry.path());
        for path in folders.filter(|path| path.is_dir()) {
            match depth < DEPTH {
                true if path.is_symlink() => links.push((path, depth + 1)),
                true => open.push((path, depth + 1)),
                false => too_deep += 1,
            }
        }
    }
    if too_deep > 0 {
        unread.push(format!(
            "{too_deep} folders that lie more than {DEPTH} below {}",
            base.display()
        ));
    }
    runs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((runs, unread))
}

/// What a list says of a folder that can't be read as a run.
fn short(error: &RunFolderError) -> String {
    match error {
        // Of a list it helps nobody where else settings could come from.
        RunFolderError::Settings(ConfigError::Run { path, reason }) => format!(
            "{}: can't be read as the settings of a run of this version: {reason}",
            path.display()
        ),
        other => other.to_string(),
    }
}

/// What a run has written at its end; none where it has not ended.
fn summary(path: &Path) -> Result<Option<Value>, RunFolderError> {
    let damaged = |error: serde_json::Error| {
        let reason = format!("it is no summary of a run: {error}");
        failed_read(path, io::Error::other(reason))
    };
    match fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed_read(path, error)),
    }
}

/// The last part of a path, or all of it where it has none.
pub fn name_of(folder: &Path) -> String {
    let name = folder.file_name();
    name.map_or_else(
        || folder.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// The settings in which runs differ, in the order in which they are written; not those that change no
/// number, nor those that a run has without effect.
pub fn differing(runs: &[FoundRun]) -> Vec<String> {
    settings_of(runs, |name| differs(runs, name))
}

/// Whether runs differ in a setting that changes numbers.
fn differs(runs: &[FoundRun], name: &str) -> bool {
    let acting = runs.iter().filter(|run| run.acts(name));
    let mut values = acting.map(|run| run.settings.get(name));
    let first = values.next();
    !FREE.contains(&name) && values.any(|value| Some(value) != first)
}

/// The settings that stand beside each of several runs: those in which they differ, and who shared the batches.
fn shown(runs: &[FoundRun]) -> Vec<String> {
    let set = |run: &FoundRun| run.settings.get("ranks").is_some_and(Value::is_string);
    let shared = runs.iter().any(set);
    settings_of(runs, |name| {
        differs(runs, name) || shared && OF_RANKS.contains(&name)
    })
}

/// The settings for which this holds, in the order in which they are written.
fn settings_of(runs: &[FoundRun], holds: impl Fn(&str) -> bool) -> Vec<String> {
    let names = runs.first().map(|run| run.settings.keys());
    let names = names.into_iter().flatten();
    names.filter(|name| holds(name)).cloned().collect()
}

/// Runs of one task, whose numbers are of one kind.
#[derive(Debug, Clone)]
pub struct OfTask {
    /// The task.
    pub task: Task,
    /// In the order in which they were given.
    pub runs: Vec<FoundRun>,
    /// The settings in which they differ, and who shared their batches where ranks did.
    pub differing: Vec<String>,
    /// What keeps the numbers of these runs from being compared.
    pub incomparable: Vec<String>,
}

impl OfTask {
    /// What its runs do.
    pub fn title(&self) -> &'static str {
        match self.task {
            Task::Link => "Link prediction",
            Task::Node => "Labels of nodes",
            Task::Edge => "Labels of events",
        }
    }
}

/// Runs by their task.
pub fn by_task(runs: Vec<FoundRun>) -> Vec<OfTask> {
    let mut left = runs;
    let mut groups = Vec::new();
    for task in [Task::Link, Task::Node, Task::Edge] {
        let (runs, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|run| run.task() == task);
        left = others;
        if runs.is_empty() {
            continue;
        }
        groups.push(OfTask {
            task,
            differing: shown(&runs),
            incomparable: incomparable(&runs),
            runs,
        });
    }
    groups
}

/// A page of runs side by side; of a choice by validation, the test is shown of the `chosen` run alone.
pub fn page(title: &str, runs: Vec<FoundRun>, chosen: Option<&Path>) -> String {
    let group = |group: OfTask| {
        let of_page = |run: &FoundRun| {
            let mut page = run.of_page(&group.differing);
            if chosen.is_some_and(|chosen| chosen != run.folder) {
                (page.test, page.test_ap, page.test_auc) = (None, None, None);
            }
            page
        };
        GroupOfPage {
            title: group.title().to_owned(),
            runs: group.runs.iter().map(of_page).collect(),
            losses_of: match group.task {
                Task::Link => "iteration",
                Task::Node | Task::Edge => "epoch",
            },
            chosen: group
                .runs
                .iter()
                .find(|run| chosen.is_some_and(|chosen| chosen == run.folder))
                .map(|run| run.name.clone()),
            differing: group.differing,
            incomparable: group.incomparable,
        }
    };
    let groups: Vec<GroupOfPage> = by_task(runs).into_iter().map(group).collect();
    comparison::document(title, &groups).to_html()
}

/// What keeps the numbers of runs from being compared: settings that say what they are measured on, in
/// which the runs differ.
pub fn incomparable(runs: &[FoundRun]) -> Vec<String> {
    // How a stream is read is one group of settings, and each of it a name of its own here.
    let read_by = config::options::<ReadingSettings>();
    let mut names: Vec<String> = differing(runs)
        .into_iter()
        .filter(|name| {
            SETTING.contains(&name.as_str()) || read_by.iter().any(|own| own.as_str() == name)
        })
        .collect();
    if streams(runs) > 1 {
        names.insert(0, "stream".to_owned());
    }
    names
}

/// How many streams runs are of. One that has ended knows its stream by what is in it; any other is of the same
/// stream as one that has if both call it the same.
fn streams(runs: &[FoundRun]) -> usize {
    let hash = |run: &FoundRun| {
        let summary = run.summary.as_ref()?;
        summary["data"]["hash"].as_str().map(str::to_owned)
    };
    let known: BTreeMap<&str, String> = runs
        .iter()
        .filter_map(|run| Some((run.data(), hash(run)?)))
        .collect();
    let stream = |run: &FoundRun| {
        let name = run.data();
        hash(run)
            .or_else(|| known.get(name).cloned())
            .unwrap_or_else(|| name.to_owned())
    };
    runs.iter().map(stream).collect::<BTreeSet<_>>().len()
}

/// What a file of metrics holds.
#[derive(Default)]
struct Metrics {
    epochs: Vec<Value>,
    losses: Vec<f64>,
    /// Why the run diverged, if it did.
    diverged: Option<String>,
    /// The ranks that the run was resumed by last, if they were others than before.
    ranks: Option<Value>,
}

impl Metrics {
    /// Reads it; a line that is being written is left out.
    fn read(path: &Path) -> Result<Metrics, RunFolderError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed_read(path, error)),
        };
        let mut found = Metrics::default();
        let lines = text.lines().map(serde_json::from_str::<Value>);
        for line in lines.map_while(Result::ok) {
            found.losses.extend(line["loss"].as_f64());
            found.diverged = line[DIVERGED].as_str().map(str::to_owned);
            found.ranks = line.get("ranks").cloned().or(found.ranks);
            if line.get("val").is_some() {
                found.epochs.push(line);
            }
        }
        Ok(found)
    }
}

fn state(folder: &Path, ended: bool, diverged: bool) -> RunState {
    let is_locked = || {
        let lock = File::open(folder.join(LOCK)).map(|file| file.try_lock_shared());
        matches!(lock, Ok(Err(TryLockError::WouldBlock)))
    };
    match ended {
        true => RunState::Ended,
        false if is_locked() => RunState::Running,
        false if diverged => RunState::Diverged,
        false => RunState::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A run with these settings and validation APs; ended where it has a test.
    fn run(folder: &Path, seed: u64, aps: &[f64], test: Option<f64>) {
        let mut config = RunConfig::default();
        config.training.seed = seed;
        config.source.data = "synthetic:wikipedia".to_owned();
        fs::create_dir_all(folder).unwrap();
        let text = serde_json::to_string(&config).unwrap();
        fs::write(folder.join(CONFIG), text).unwrap();
        let mut lines = "{\"epoch\":1,\"iteration\":0,\"loss\":0.5}\n".to_owned();
        for (nth, ap) in aps.iter().enumerate() {
            let epoch = nth + 1;
            lines += &format!(
                "{{\"epoch\":{epoch},\"val\":{{\"ap\":{ap}}},\"events_per_s\":{epoch}}}\n"
            );
        }
        fs::write(folder.join(METRICS), lines + "{\"epo").unwrap();
        if let Some(ap) = test {
            let text = format!("{{\"test\":{{\"ap\":{ap}}},\"data\":{{\"hash\":\"a\"}}}}");
            fs::write(folder.join(SUMMARY), text).unwrap();
        }
    }

    #[test]
    fn runs_are_found_with_progress_and_best_epoch() {
        let base = TempDir::new().unwrap();
        run(&base.path().join("b"), 1, &[0.5, 0.75, 0.75], Some(0.625));
        run(&base.path().join("deep/a"), 0, &[], None);
        fs::create_dir(base.path().join("other")).unwrap();
        fs::create_dir(base.path().join("wrong")).unwrap();
        fs::write(base.path().join("wrong").join(CONFIG), "{").unwrap();
        let (runs, unread) = runs_below(base.path()).unwrap();
        assert_eq!(unread.len(), 1, "{unread:?}");
        let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names, ["b", "deep/a"]);
        assert_eq!(runs[0].best(), Some((2, 0.75)));
        assert_eq!((runs[0].test(), runs[1].test()), (Some(0.625), None));
        assert_eq!(runs[0].events_per_s(), Some(2.0));
        assert_eq!(runs[0].trained_epochs(), 3);
        assert_eq!(runs[0].losses, [0.5]);
        let states = [runs[0].state, runs[1].state];
        assert_eq!(states, [RunState::Ended, RunState::Stopped]);
        assert_eq!(differing(&runs), ["seed"]);
        assert_eq!(incomparable(&runs), [""; 0]);
        assert_eq!((runs[0].best(), runs[1].best()), (Some((2, 0.75)), None));
    }

    #[test]
    fn runs_of_several_tasks_are_apart_and_have_their_own_settings() {
        let base = TempDir::new().unwrap();
        run(&base.path().join("a"), 0, &[0.5], None);
        run(&base.path().join("b"), 1, &[0.5], None);
        let begun = |name: &str, task, epochs, layers| {
            let mut config = RunConfig::default();
            config.source.data = "synthetic:wikipedia".to_owned();
            (config.start.task, config.node.epochs) = (task, epochs);
            (config.model.layers, config.training.learning_rate) = (layers, 0.5);
            FoundRun::begun(Path::new(name), name, config)
        };
        let (mut runs, _) = runs_below(base.path()).unwrap();
        runs.extend([
            begun("c", Task::Edge, 5, 1),
            begun("d", Task::Edge, 6, 1),
            begun("e", Task::Node, 5, 2),
        ]);
        let groups = by_task(runs);
        let names = |group: &OfTask| -> Vec<String> {
            group.runs.iter().map(|run| run.name.clone()).collect()
        };
        let all: Vec<_> = groups
            .iter()
            .map(|group| (group.title(), names(group)))
            .collect();
        let expected =
            |names: &[&str]| -> Vec<String> { names.iter().map(|&of| of.to_owned()).collect() };
        assert_eq!(
            all,
            [
                ("Link prediction", expected(&["a", "b"])),
                ("Labels of nodes", expected(&["e"])),
                ("Labels of events", expected(&["c", "d"])),
            ]
        );
        // The learning rate of link prediction has no effect on labels, the classifier's epochs none on it.
        assert_eq!(groups[0].differing, ["seed"]);
        assert_eq!(groups[2].differing, ["node_epochs"]);
        assert_eq!(groups[2].runs[0].written("node_epochs"), "5");
        assert_eq!(groups[0].runs[0].written("node_epochs"), "-");
    }

    #[test]
    fn a_run_that_diverged_has_no_result_and_its_reason() {
        let base = TempDir::new().unwrap();
        run(base.path(), 0, &[0.75], None);
        let read = FoundRun::read(base.path(), "run-003").unwrap();
        let page = page(
            "Two",
            vec![read.clone(), read.diverged("the loss is inf")],
            None,
        );
        assert!(page.contains("diverged, 1 of 50 epochs"), "{page}");
        assert!(page.contains("the loss is inf"));
        assert_eq!(page.matches("0.7500").count(), 1);
    }

    #[test]
    fn settings_of_32_bits_are_shown_as_they_were_given() {
        let base = TempDir::new().unwrap();
        run(base.path(), 0, &[], None);
        let read = FoundRun::read(base.path(), "a").unwrap();
        assert_eq!(read.written("dropout"), "0.1");
        assert_eq!(read.written("columns"), "-");
        assert_eq!(read.settings["mitigation_keep"], serde_json::json!(0.9));
    }

    #[cfg(unix)]
    #[test]
    fn a_run_that_links_lead_to_is_listed_once() {
        use std::os::unix::fs::symlink;
        let base = TempDir::new().unwrap();
        run(&base.path().join("a/b/c/d/e/f/run"), 0, &[], None);
        let elsewhere = TempDir::new().unwrap();
        run(&elsewhere.path().join("run"), 0, &[], None);
        symlink(base.path(), base.path().join("loop")).unwrap();
        symlink(
            base.path().join("a/b/c/d/e/f/run"),
            base.path().join("a/last"),
        )
        .unwrap();
        symlink(elsewhere.path(), base.path().join("other")).unwrap();
        let (runs, unread) = runs_below(base.path()).unwrap();
        let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names, ["a/b/c/d/e/f/run", "other/run"]);
        assert!(unread.is_empty());
        let deep: PathBuf = std::iter::repeat_n("d", DEPTH + 2).collect();
        fs::create_dir_all(base.path().join(deep)).unwrap();
        let (_, unread) = runs_below(base.path()).unwrap();
        assert_eq!(unread.len(), 1, "{unread:?}");
        assert!(unread[0].starts_with("1 folders that lie more than 12 below "));
    }

    #[test]
    fn runs_of_other_streams_are_not_compared_whether_they_have_ended_or_not() {
        let begun = |data: &str| {
            let mut config = RunConfig::default();
            config.source.data = data.to_owned();
            FoundRun::begun(Path::new(data), data, config)
        };
        let ended = |data: &str, hash: &str| FoundRun {
            summary: Some(serde_json::json!({"data": {"hash": hash}})),
            ..begun(data)
        };
        let said = |runs: &[FoundRun]| incomparable(runs);
        assert_eq!(said(&[ended("a", "1"), begun("b")]), ["stream"]);
        assert_eq!(said(&[begun("a"), begun("b")]), ["stream"]);
        assert_eq!(said(&[ended("a", "1"), ended("a", "2")]), ["stream"]);
        // One that was moved, one that has not ended.
        let none = [""; 0];
        assert_eq!(said(&[ended("a", "1"), ended("b", "1"), begun("a")]), none);
        assert_eq!(said(&[begun("a"), begun("a")]), none);
        let mut split = begun("a");
        split.settings["time_unit"] = "ms".into();
        assert_eq!(said(&[begun("a"), split]), ["time_unit"]);
    }

    #[test]
    fn what_is_damaged_or_of_another_program_is_told_in_a_line() {
        let base = TempDir::new().unwrap();
        run(&base.path().join("a"), 0, &[0.5], Some(0.5));
        fs::write(base.path().join("a").join(SUMMARY), "{").unwrap();
        let other = base.path().join("b");
        fs::create_dir(&other).unwrap();
        fs::write(other.join(CONFIG), "{\"architectures\": [\"Bert\"]}").unwrap();
        let (runs, unread) = runs_below(base.path()).unwrap();
        assert!(runs.is_empty());
        assert_eq!(unread.len(), 2, "{unread:?}");
        let of = |name: &str| unread.iter().find(|said| said.contains(name)).unwrap();
        assert!(of("summary.json").contains("it is no summary of a run"));
        let said = of("config.json");
        assert!(
            said.contains("unknown field `architectures`") && said.len() < 300,
            "{said}"
        );
    }

    #[test]
    fn a_run_says_by_itself_that_it_diverged() {
        let base = TempDir::new().unwrap();
        run(base.path(), 0, &[0.75], None);
        let path = base.path().join(METRICS);
        let text = fs::read_to_string(&path).unwrap();
        let whole = text.trim_end_matches("{\"epo").to_owned();
        fs::write(
            &path,
            format!("{whole}{{\"diverged\":\"the loss is NaN\"}}\n"),
        )
        .unwrap();
        let read = || FoundRun::read(base.path(), "a").unwrap();
        assert_eq!(read().state, RunState::Diverged);
        assert_eq!(
            (read().failed(), read().best()),
            (Some("the loss is NaN"), None)
        );
        // It goes on from an earlier checkpoint.
        let more = "{\"diverged\":\"x\"}\n{\"epoch\":2,\"iteration\":0,\"loss\":0.5}\n";
        fs::write(&path, whole + more).unwrap();
        assert_eq!(read().state, RunState::Stopped);
    }

    #[test]
    fn one_that_is_written_is_running() {
        let base = TempDir::new().unwrap();
        run(base.path(), 0, &[0.5], None);
        let lock = File::create(base.path().join(LOCK)).unwrap();
        let state = || FoundRun::read(base.path(), "a").unwrap().state;
        assert_eq!(state(), RunState::Stopped);
        lock.try_lock().unwrap();
        assert_eq!(state(), RunState::Running);
    }
}
