//! Several runs that differ by their seeds: each in a folder of its own below one, which then holds
//! what they give together.
//!
//! The folder's `config.json` has the settings with the number of seeds; its `summary.json` is written
//! when all runs have ended. What is interrupted resumes run by run.

use std::io;
use std::path::{Path, PathBuf};

use mspipe_datasets::Stop;

use super::{Session, SessionError, runs};
use crate::config::{ConfigError, RunConfig};
use crate::device::ComputeDevice;
use crate::run_folder::{OverSeeds, RunFolder, RunFolderError, Summary};
use crate::train::observer::TrainEvent;

/// What is told of the runs of several seeds.
pub trait SeedsObserver: Send {
    /// Is told what happens in one run.
    type Run: FnMut(TrainEvent<'_>) -> io::Result<()>;

    /// A run begins; `place` is where it resumes, epoch and iteration, if it does.
    ///
    /// # Errors
    /// Ends it.
    fn begins(
        &mut self,
        session: &Session,
        device: &ComputeDevice,
        folder: &RunFolder,
        place: Option<(usize, usize)>,
    ) -> Result<Self::Run, RunFolderError>;

    /// A run has ended.
    fn ended(&mut self, summary: &Summary, folder: &RunFolder);

    /// It is the turn of the run in `folder`, the `nth` of all, from 1; one that has its result already does not
    /// begin.
    fn is_next(&mut self, _folder: &Path, _nth: usize, _of: usize) {}

    /// A run has diverged, and the next one begins.
    fn diverged(&mut self, _reason: &str) {}
}

/// Trains for link prediction with each seed from the settings' own on, as many as they say, in
/// folders of `out`.
///
/// # Errors
/// See [`SessionError`].
pub fn run_seeds(
    config: &RunConfig,
    stop: &Stop,
    observer: &mut impl SeedsObserver,
) -> Result<(OverSeeds, RunFolder), SessionError> {
    config.validate()?;
    RunFolder::check(config)?;
    let _unfinished = stop.unfinished();
    // What its protocol decides is written down, as each run does, so that the two compare.
    let mut config = config.clone();
    config.protocol.hide_batch = Some(config.protocol.hides_batch());
    let config = &config;
    let folder = RunFolder::create(config, "")?;
    match train_seeds(config, &folder, stop, observer) {
        Ok(all) => Ok((all, folder)),
        Err(error) => {
            if !seed_folders(config, folder.path())
                .iter()
                .any(|run| run.exists())
            {
                folder.remove_unused();
            }
            Err(error)
        }
    }
}

/// Continues with the runs in `folder`: trains those that have not ended. `change` may change
/// settings that change no number.
///
/// # Errors
/// See [`SessionError`].
pub fn resume_seeds(
    folder: &Path,
    change: impl FnOnce(&mut RunConfig) -> Result<(), ConfigError>,
    stop: &Stop,
    observer: &mut impl SeedsObserver,
) -> Result<(OverSeeds, RunFolder), SessionError> {
    let (folder, mut config) = RunFolder::open(folder)?;
    change(&mut config)?;
    let _unfinished = stop.unfinished();
    let all = train_seeds(&config, &folder, stop, observer)?;
    Ok((all, folder))
}

/// The folders of the runs of `config` below `folder`, by seed.
fn seed_folders(config: &RunConfig, folder: &Path) -> Vec<PathBuf> {
    let seeds = config.start.seeds.unwrap_or(0) as u64;
    (0..seeds)
        .map(|nth| folder.join(format!("seed-{}", config.training.seed + nth)))
        .collect()
}

fn train_seeds(
    config: &RunConfig,
    folder: &RunFolder,
    stop: &Stop,
    observer: &mut impl SeedsObserver,
) -> Result<OverSeeds, SessionError> {
    let folders = seed_folders(config, folder.path());
    for (nth, path) in folders.iter().enumerate() {
        if path.join("summary.json").exists() {
            continue;
        }
        let mut own = config.clone();
        own.training.seed += nth as u64;
        own.start.seeds = None;
        train_in(path, own, stop, observer)?;
    }
    let all = OverSeeds::read(&folders)?;
    folder.write_summary(&all)?;
    Ok(all)
}

/// Trains the run of `config` in the folder `path`, or goes on with the one that was begun there, with the
/// stream's place and the machine of `config`.
pub(super) fn train_in(
    path: &Path,
    mut config: RunConfig,
    stop: &Stop,
    observer: &mut impl SeedsObserver,
) -> Result<(), SessionError> {
    let (summary, run) = if path.join("config.json").exists() {
        let change = |run: &mut RunConfig| {
            run.source.clone_from(&config.source);
            run.machine.clone_from(&config.machine);
            Ok(())
        };
        runs::resume(path, change, stop, |session, device, folder, place| {
            observer.begins(session, device, folder, place)
        })?
    } else {
        config.output.out = Some(path.to_owned());
        runs::run(config, stop, |session, device, folder| {
            observer.begins(session, device, folder, None)
        })?
    };
    observer.ended(&summary, &run);
    Ok(())
}
