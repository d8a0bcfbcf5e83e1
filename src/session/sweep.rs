//! A sweep: runs that differ in some settings, one after the other, of which the best on validation is
//! chosen.
//!
//! Each run is one as any other, in a folder of its own below the sweep's. Which runs there are follows from
//! the sweep's file, and what a run gave from its folder, so that a sweep that was interrupted is
//! continued by starting it again. The test has no part in the choice: it is shown of the chosen run alone.

mod check;
mod choice;
mod error;
mod file;
mod plan;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use mspipe_datasets::Stop;
use mspipe_datasets::whole_file::{self, Existing};
use serde::Serialize;
use serde_json::Value;

pub use choice::Method;
pub use error::SweepError;
pub use plan::{SweepPlan, Trial};

use super::seeds::train_in;
use super::{SeedsObserver, SessionError};
use crate::config::{self, MachineSettings, SourceSettings};
use crate::run_folder::RunFolderError;
use crate::run_folder::listing::{self, FoundRun, RunState};

/// The sweep's file, as its folder keeps it.
const PLAN: &str = "sweep.toml";

/// What came of a trial.
#[derive(Debug, Clone, Serialize)]
pub struct TrialResult {
    /// What it is called.
    pub name: String,
    /// What it has of the settings that are tried, by name.
    #[serde(serialize_with = "plan::by_name")]
    pub values: Vec<(String, String)>,
    /// Epochs that it was allowed.
    pub epochs: usize,
    /// Epochs that it was trained: fewer where it ended early, by `patience` or as it diverged.
    pub trained_epochs: usize,
    /// The best epoch by the measure, from 1.
    pub best_epoch: Option<usize>,
    /// The measure of that epoch's validation; none of a run that diverged.
    pub val: Option<f64>,
    /// Why it gave nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Its folder.
    pub folder: PathBuf,
}

/// What came of a sweep.
#[derive(Debug, Clone, Serialize)]
pub struct SweepResult {
    /// How settings were chosen.
    pub method: Method,
    /// The measure of the validation part that chooses.
    pub measure: String,
    /// The trials that were trained longest, the best first; those of equal measure in their order.
    pub trials: Vec<TrialResult>,
    /// Those that were ended early: those that went on the furthest first, and the better ones of equals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<TrialResult>,
    /// The folder of the best.
    pub best: PathBuf,
    /// The test of the best, by the same measure.
    pub test: Option<f64>,
    /// Whether the stream was generated.
    pub synthetic: bool,
    /// The page of the sweep.
    pub report: PathBuf,
}

/// Trains what `plan` says and its folder has not yet.
///
/// # Errors
/// See [`SessionError`] and [`SweepError`].
pub fn run_sweep(
    plan: &SweepPlan,
    stop: &Stop,
    observer: &mut impl SeedsObserver,
) -> Result<SweepResult, SessionError> {
    check_sweep(plan, stop)?;
    keep_plan(plan)?;
    let _unfinished = stop.unfinished();
    let mut left: Vec<usize> = (0..plan.trials.len()).collect();
    let mut dropped = Vec::new();
    let mut turn = 0;
    for (nth, rung) in plan.rungs().iter().enumerate() {
        let mut done = Vec::with_capacity(left.len());
        for &trial in &left {
            let folder = plan.folder(trial, nth);
            let mut own = plan.trials[trial].clone();
            if plan.halves() {
                own.config.training.epochs = *rung;
            }
            turn += 1;
            observer.is_next(&folder, turn, plan.runs());
            done.push((trial, train_one(own, &folder, stop, observer)?));
        }
        // A stable order: equals stay in theirs. What gave nothing is last.
        let key = |result: &TrialResult| result.val.unwrap_or(f64::NEG_INFINITY);
        done.sort_by(|(_, a), (_, b)| key(b).total_cmp(&key(a)));
        let is_last = nth + 1 == plan.rungs().len();
        if is_last {
            let trials = done.into_iter().map(|(_, result)| result).collect();
            return finished(plan, trials, dropped);
        }
        let kept = done.len().div_ceil(plan.keep());
        dropped.extend(done.split_off(kept).into_iter().map(|(_, result)| result));
        left = done.into_iter().map(|(trial, _)| trial).collect();
        left.sort_unstable();
    }
    unreachable!("there is a rung")
}

/// Refuses a folder that holds something else and, before a sweep has begun a run, what any of them would refuse
/// at its start: a stream that is not there, memory that does not suffice. Writes nothing into the folder.
///
/// # Errors
/// See [`SessionError`] and [`SweepError`].
pub fn check_sweep(plan: &SweepPlan, stop: &Stop) -> Result<(), SessionError> {
    let mut inside = names_in(&plan.out)?;
    // What a killed program left of the file.
    inside.retain(|name| !whole_file::is_temporary(name));
    let begun = inside.iter().any(|name| is_of_runs(name));
    if inside.iter().any(|name| name == PLAN) {
        if begun && !is_kept(plan) {
            let path = plan.out.clone();
            return Err(SweepError::Other { path }.into());
        }
    } else if !inside.is_empty() {
        let path = plan.out.clone();
        return Err(SweepError::Taken { path }.into());
    }
    if begun {
        return Ok(());
    }
    check::check_trials(plan, stop)
}

/// Whether a name in a sweep's folder is of its runs.
fn is_of_runs(name: &str) -> bool {
    name.starts_with("run-") || name.starts_with("rung-")
}

/// What is in a folder; nothing where there is none.
fn names_in(folder: &Path) -> Result<Vec<String>, SweepError> {
    let failed = |error| SweepError::Folder {
        path: folder.to_owned(),
        error,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let name = |entry: io::Result<fs::DirEntry>| -> io::Result<String> {
        Ok(entry?.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect::<io::Result<_>>().map_err(failed)
}

/// Whether the file that the folder keeps trains the same as `plan`.
fn is_kept(plan: &SweepPlan) -> bool {
    let path = plan.out.join(PLAN);
    let Ok(text) = fs::read_to_string(&path) else {
        return false;
    };
    text == plan.text || SweepPlan::of_text(&path, text).is_ok_and(|kept| kept.trains_as(plan))
}

/// Writes the sweep's file into its folder, which holds nothing else or the same sweep.
fn keep_plan(plan: &SweepPlan) -> Result<(), SessionError> {
    fs::create_dir_all(&plan.out).map_err(|error| SweepError::Folder {
        path: plan.out.clone(),
        error,
    })?;
    whole_file::write(&plan.out.join(PLAN), Existing::Replace, |file| {
        file.write_all(plan.text.as_bytes())
    })
    .map_err(RunFolderError::File)?;
    Ok(())
}

/// Refuses to continue a run that was begun with other settings than it is to have: a file that the sweep's names
/// has changed since. Where the stream lies, and what the machine gives, may change.
fn check_settings(begun: &FoundRun, trial: &Trial) -> Result<(), SweepError> {
    let now = FoundRun::begun(&begun.folder, &trial.name, trial.config.clone());
    let own = [
        config::options::<SourceSettings>(),
        config::options::<MachineSettings>(),
    ]
    .concat();
    let is_free = |name: &str| {
        // However many ranks share a batch.
        let free = listing::changes_no_number(name) || name == "ranks";
        free || own.iter().any(|free| free.as_str() == name)
    };
    let differs = |(name, value): &(&String, &Value)| {
        // What is null, the run decides.
        !is_free(name) && !value.is_null() && begun.settings.get(*name) != Some(value)
    };
    let say = |(name, _): (&String, &Value)| {
        let (then, now) = (begun.written(name), now.written(name));
        format!("{name} was {then} and is {now}")
    };
    let changed: Vec<String> = now.settings.iter().filter(differs).map(say).collect();
    match changed.is_empty() {
        true => Ok(()),
        false => Err(SweepError::Changed {
            path: begun.folder.clone(),
            changed,
        }),
    }
}

/// Trains a trial, unless its folder has its result.
fn train_one(
    trial: Trial,
    folder: &Path,
    stop: &Stop,
    observer: &mut impl SeedsObserver,
) -> Result<TrialResult, SessionError> {
    let result = |failed: Option<String>| -> Result<TrialResult, SessionError> {
        let run = match FoundRun::read(folder, &trial.name) {
            // One that diverged at once may have left nothing.
            Err(RunFolderError::NoRun { .. }) if failed.is_some() => None,
            read => Some(read?),
        };
        let best = run.as_ref().filter(|_| failed.is_none());
        let best = best.and_then(FoundRun::best);
        Ok(TrialResult {
            name: trial.name.clone(),
            values: trial.values.clone(),
            epochs: trial.config.training.epochs,
            trained_epochs: run.as_ref().map_or(0, FoundRun::trained_epochs),
            best_epoch: best.map(|(epoch, _)| epoch),
            val: best.map(|(_, value)| value),
            failed,
            folder: folder.to_owned(),
        })
    };
    match FoundRun::read(folder, &trial.name) {
        Ok(begun) => {
            check_settings(&begun, &trial)?;
            match begun.state {
                RunState::Ended => return result(None),
                RunState::Diverged => return result(begun.failed().map(str::to_owned)),
                RunState::Running | RunState::Stopped => {}
            }
        }
        Err(RunFolderError::NoRun { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    match train_in(folder, trial.config.clone(), stop, observer) {
        Ok(()) => result(None),
        // A learning rate that is too large is a result of a sweep, and no end of it.
        Err(SessionError::Train(error)) if error.is_divergence() => {
            let reason = error.to_string();
            observer.diverged(&reason);
            result(Some(reason))
        }
        Err(error) => Err(error),
    }
}

/// The run of a trial, as its folder has it, or as far as its settings say where it left none.
fn found(plan: &SweepPlan, trial: &TrialResult) -> Result<FoundRun, RunFolderError> {
    let folder = &trial.folder;
    let below = folder.strip_prefix(&plan.out).unwrap_or(folder);
    let name = below.display().to_string();
    let Some(reason) = &trial.failed else {
        return FoundRun::read(folder, &name);
    };
    let settings = plan.trials.iter().find(|of| of.name == trial.name);
    let run = match (FoundRun::read(folder, &name), settings) {
        (Err(RunFolderError::NoRun { .. }), Some(of)) => {
            let mut config = of.config.clone();
            config.training.epochs = trial.epochs;
            FoundRun::begun(folder, &name, config)
        }
        (read, _) => read?,
    };
    Ok(run.diverged(reason))
}

/// Those that went on the furthest first, and the better ones of equals.
fn longest_first(mut dropped: Vec<TrialResult>) -> Vec<TrialResult> {
    let key = |of: &TrialResult| of.val.unwrap_or(f64::NEG_INFINITY);
    dropped.sort_by(|a, b| {
        let order = b.epochs.cmp(&a.epochs);
        order.then(key(b).total_cmp(&key(a)))
    });
    dropped
}

/// The result, with its page.
fn finished(
    plan: &SweepPlan,
    trials: Vec<TrialResult>,
    dropped: Vec<TrialResult>,
) -> Result<SweepResult, SessionError> {
    let best = match trials.first() {
        Some(best) if best.val.is_some() => best.folder.clone(),
        _ => {
            let failed = trials.first().and_then(|first| first.failed.clone());
            return Err(SweepError::NoResult {
                path: plan.out.clone(),
                first: failed.unwrap_or_default(),
            }
            .into());
        }
    };
    let dropped = longest_first(dropped);
    let all = trials.iter().chain(&dropped);
    let found = all.map(|trial| found(plan, trial));
    let found = found.collect::<Result<Vec<FoundRun>, RunFolderError>>()?;
    let names = plan.names();
    let title = format!("Sweep over {}", names.join(", "));
    let report = plan.out.join("report.html");
    let page = listing::page(&title, found.clone(), Some(&best));
    whole_file::write(&report, Existing::Replace, |file| {
        file.write_all(page.as_bytes())
    })
    .map_err(RunFolderError::File)?;
    let chosen = found.iter().find(|run| run.folder == best);
    let result = SweepResult {
        method: plan.method,
        measure: chosen.map_or("", FoundRun::measure).to_owned(),
        trials,
        dropped,
        best,
        test: chosen.and_then(FoundRun::test),
        synthetic: chosen.is_some_and(FoundRun::is_synthetic),
        report,
    };
    whole_file::write(&plan.out.join("sweep.json"), Existing::Replace, |file| {
        serde_json::to_writer_pretty(&mut *file, &result)?;
        file.write_all(b"\n")
    })
    .map_err(RunFolderError::File)?;
    Ok(result)
}
