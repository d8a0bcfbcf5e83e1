//! `mspipe train --seeds`: several runs, one after the other, and a table of all.

use std::io;
use std::path::Path;

use mspipe::config::RunConfig;
use mspipe::console;
use mspipe::device::ComputeDevice;
use mspipe::interrupt;
use mspipe::report::run as run_report;
use mspipe::run_folder::{OverSeeds, RunFolder, RunFolderError, Summary};
use mspipe::session::{self, SeedsObserver, Session, SessionError};
use mspipe::train::observer::TrainEvent;

use super::super::report;
use super::progress::{Progress, print_summary, say_page};

/// Shows each run as one alone is shown.
struct Shown {
    json: bool,
}

impl SeedsObserver for Shown {
    type Run = Box<dyn FnMut(TrainEvent<'_>) -> io::Result<()>>;

    fn begins(
        &mut self,
        session: &Session,
        device: &ComputeDevice,
        folder: &RunFolder,
        place: Option<(usize, usize)>,
    ) -> Result<Self::Run, RunFolderError> {
        if !self.json {
            console::news(format!("seed      {}", session.config().training.seed));
        }
        let mut progress = Progress::begin(session, device, folder, self.json);
        if let Some((epoch, iteration)) = place {
            progress.say(&format!(
                "resumed   in epoch {epoch}, at iteration {iteration}"
            ));
        }
        Ok(Box::new(move |event: TrainEvent<'_>| progress.see(event)))
    }

    fn ended(&mut self, summary: &Summary, folder: &RunFolder) {
        if !self.json {
            print_summary(summary, folder);
        }
        say_page(run_report::write(folder.path()), self.json);
    }
}

/// Trains with each seed.
pub(super) fn run(config: &RunConfig, json: bool) -> anyhow::Result<()> {
    let trained = session::run_seeds(config, &interrupt::stop(), &mut Shown { json });
    say(trained, config.output.out.as_deref(), json)
}

/// Continues with the runs of `folder`.
pub(super) fn resume(
    folder: &Path,
    change: impl FnOnce(&mut RunConfig) -> Result<(), mspipe::config::ConfigError>,
    json: bool,
) -> anyhow::Result<()> {
    let trained = session::resume_seeds(folder, change, &interrupt::stop(), &mut Shown { json });
    say(trained, Some(folder), json)
}

fn say(
    trained: Result<(OverSeeds, RunFolder), SessionError>,
    out: Option<&Path>,
    json: bool,
) -> anyhow::Result<()> {
    let (all, folder) = match (trained, out) {
        (Err(error @ SessionError::Train(_)), Some(out)) if out.exists() => {
            let error = anyhow::Error::from(error);
            let out = out.display();
            anyhow::bail!("{error:#}\nresume with: mspipe train --resume {out}")
        }
        (trained, _) => trained?,
    };
    if json {
        return Ok(console::json(&all)?);
    }
    console::news(report::over_seeds(&all));
    let summary = folder.path().join("summary.json");
    console::news(format!("written   {}", summary.display()));
    Ok(())
}
