//! A sweep: runs that differ in some settings, one after the other, of which the best on validation is
//! chosen.
//!
//! Each run is one as any other, in a folder of its own below the sweep's. Which runs there are follows from
//! the sweep's file, and what a run gave from its folder, so that a sweep that was interrupted is
//! continued by starting it again. The test has no part in the choice: it is shown of the chosen run alone.

mod choice;
mod error;
mod file;
mod plan;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use mspipe_datasets::Stop;
use mspipe_datasets::whole_file::{self, Existing};
use serde::Serialize;

pub use choice::Method;
pub use error::SweepError;
pub use plan::{SweepPlan, Trial};

use super::seeds::train_in;
use super::{SeedsObserver, SessionError};
use crate::run_folder::RunFolderError;
use crate::run_folder::listing::{self, FoundRun};
use crate::train::error::TrainError;

/// The sweep's file, as its folder keeps it.
const PLAN: &str = "sweep.toml";

/// What came of a trial.
#[derive(Debug, Clone, Serialize)]
pub struct TrialResult {
    /// What it is called.
    pub name: String,
    /// What it has of the settings that are tried, by name.
    pub values: Vec<(String, String)>,
    /// Epochs that it was allowed.
    pub epochs: usize,
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
    /// Those that were ended early, by rung.
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
    keep_plan(plan)?;
    let _unfinished = stop.unfinished();
    let mut left: Vec<usize> = (0..plan.trials.len()).collect();
    let mut dropped = Vec::new();
    for (nth, rung) in plan.rungs().iter().enumerate() {
        let mut done = Vec::with_capacity(left.len());
        for &trial in &left {
            let folder = plan.folder(trial, nth);
            let result = train_one(&plan.trials[trial], *rung, &folder, stop, observer)?;
            done.push((trial, result));
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

/// Writes the sweep's file into its folder, or compares it with the one that is there.
fn keep_plan(plan: &SweepPlan) -> Result<(), SessionError> {
    let kept = plan.out.join(PLAN);
    match fs::read_to_string(&kept) {
        Ok(text) if text == plan.text => return Ok(()),
        Ok(_) => {
            return Err(SweepError::Other {
                path: plan.out.clone(),
            }
            .into());
        }
        Err(_) => {}
    }
    let failed = |error| {
        SessionError::from(SweepError::Folder {
            path: plan.out.clone(),
            error,
        })
    };
    fs::create_dir_all(&plan.out).map_err(failed)?;
    let inside = fs::read_dir(&plan.out).map_err(failed)?;
    if inside.flatten().next().is_some() {
        return Err(SweepError::Taken {
            path: plan.out.clone(),
        }
        .into());
    }
    whole_file::write(&kept, Existing::Keep, |file| {
        file.write_all(plan.text.as_bytes())
    })
    .map_err(RunFolderError::File)?;
    Ok(())
}

/// Trains a trial for at most `epochs`, unless its folder has its result.
fn train_one(
    trial: &Trial,
    epochs: usize,
    folder: &Path,
    stop: &Stop,
    observer: &mut impl SeedsObserver,
) -> Result<TrialResult, SessionError> {
    let result = |failed: Option<String>| -> Result<TrialResult, SessionError> {
        let best = match &failed {
            None => FoundRun::read(folder, &trial.name)?.best(),
            Some(_) => None,
        };
        Ok(TrialResult {
            name: trial.name.clone(),
            values: trial.values.clone(),
            epochs,
            best_epoch: best.map(|(epoch, _)| epoch),
            val: best.map(|(_, value)| value),
            failed,
            folder: folder.to_owned(),
        })
    };
    if folder.join("summary.json").exists() {
        return result(None);
    }
    let mut config = trial.config.clone();
    config.training.epochs = epochs;
    match train_in(folder, config, stop, observer) {
        Ok(()) => result(None),
        // A learning rate that is too large is a result of a sweep, and no end of it.
        Err(SessionError::Train(error @ TrainError::Diverged { .. })) => {
            result(Some(error.to_string()))
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

/// The result, with its page.
fn finished(
    plan: &SweepPlan,
    trials: Vec<TrialResult>,
    dropped: Vec<TrialResult>,
) -> Result<SweepResult, SessionError> {
    let best = match trials.first() {
        Some(best) if best.val.is_some() => best.folder.clone(),
        _ => {
            return Err(SweepError::NoResult {
                path: plan.out.clone(),
            }
            .into());
        }
    };
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
