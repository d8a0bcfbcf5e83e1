//! `mspipe sweep`: several settings, one after the other, and a table of all.

use std::io;
use std::path::PathBuf;

use clap::Args;
use mspipe::device::ComputeDevice;
use mspipe::run_folder::{RunFolder, RunFolderError, Summary};
use mspipe::session::{
    self, SeedsObserver, Session, SessionError, SweepPlan, SweepResult, TrialResult,
};
use mspipe::train::observer::TrainEvent;
use mspipe::{console, interrupt};

use super::report::SYNTHETIC;
use super::table::table;

const EXAMPLES: &str = "\
Examples:
  Train what a file says, and once more to continue what was interrupted:
    mspipe sweep sweep.toml
  Only list its runs:
    mspipe sweep sweep.toml --dry-run

A file of a sweep:
    out = \"sweeps/rate\"       # a folder per run is made below it
    method = \"grid\"           # every combination; or \"random\", with runs = 20
    [settings]                # of all runs; or config = \"run.toml\" above
    data = \"wikipedia\"
    epochs = 20
    [values]                  # what is tried
    learning_rate = [1e-4, 1e-3, 1e-2]
    batch_size = [200, 600]
    [halving]                 # optional: all for 2 epochs, the best third anew
    epochs = 2                # for 6, a third of those for 18, and so on
    keep = 3
  Ranges of a random sweep, from which each run draws:
    learning_rate = { from = 1e-4, to = 1e-2, log = true }
    width = { from = 32, to = 128, step = 32 }

The best is chosen by the validation part alone (--monitor); the test is shown of that one run. A run that \
diverges is last. Paths in the file count from the current folder, as those of options do. docs/runs.md says \
more.";

/// Arguments of `mspipe sweep`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SweepArgs {
    /// The file that says what is tried
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Only list the runs
    #[arg(long)]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Says a line when a run begins, after each epoch of it, and when it ends.
struct Shown {
    json: bool,
}

impl Shown {
    fn say(&self, line: impl std::fmt::Display) {
        match self.json {
            true => console::note(line),
            false => console::news(line),
        }
    }
}

impl SeedsObserver for Shown {
    type Run = Box<dyn FnMut(TrainEvent<'_>) -> io::Result<()>>;

    fn begins(
        &mut self,
        _session: &Session,
        _device: &ComputeDevice,
        folder: &RunFolder,
        place: Option<(usize, usize)>,
    ) -> Result<Self::Run, RunFolderError> {
        let path = folder.path().display();
        self.say(match place {
            Some((epoch, iteration)) => {
                format!("resumed   {path} in epoch {epoch}, at iteration {iteration}")
            }
            None => format!("run       {path}"),
        });
        Ok(Box::new(|event: TrainEvent<'_>| {
            if let TrainEvent::Warning(warning) = event {
                console::note(format!("warning: {warning}"));
            }
            Ok(())
        }))
    }

    fn ended(&mut self, summary: &Summary, _folder: &RunFolder) {
        let epochs = summary.epochs.len();
        let val = summary.epochs[summary.best_epoch - 1].val;
        let value = summary.monitor.of(&val);
        let (best, monitor) = (summary.best_epoch, summary.monitor);
        self.say(format!(
            "  {monitor} {value:.4} in epoch {best} of {epochs}"
        ));
    }
}

/// Trains and prints.
pub(crate) fn run(args: &SweepArgs) -> anyhow::Result<()> {
    let plan = SweepPlan::read(&args.file)?;
    for note in &plan.notes {
        console::note(format!("note: {note}"));
    }
    if args.dry_run {
        let mut rows = vec![head(&plan.trials[0].values, &[])];
        for trial in &plan.trials {
            let values = trial.values.iter().map(|(_, value)| value.clone());
            rows.push([trial.name.clone()].into_iter().chain(values).collect());
        }
        let rungs: Vec<String> = plan.rungs().iter().map(usize::to_string).collect();
        let text = table(&rows, |column| column > 0);
        let epochs = rungs.join(", ");
        return Ok(console::product(format!("{text}epochs: {epochs}\n"))?);
    }
    let swept = session::run_sweep(&plan, &interrupt::stop(), &mut Shown { json: args.json });
    let result = match swept {
        Err(error @ SessionError::Train(_)) => {
            let error = anyhow::Error::from(error);
            let file = args.file.display();
            anyhow::bail!("{error:#}\ncontinue with: mspipe sweep {file}")
        }
        swept => swept?,
    };
    match args.json {
        true => Ok(console::json(&result)?),
        false => Ok(console::product(as_text(&result))?),
    }
}

fn head(values: &[(String, String)], more: &[&str]) -> Vec<String> {
    let names = values.iter().map(|(name, _)| name.clone());
    let more = more.iter().map(|name| (*name).to_owned());
    ["run".to_owned()]
        .into_iter()
        .chain(names)
        .chain(more)
        .collect()
}

/// A table of all runs, the best first, and what is to be said of it.
fn as_text(result: &SweepResult) -> String {
    let measure = format!("val {}", result.measure);
    let mut rows = vec![head(
        &result.trials[0].values,
        &["epochs", "best epoch", &measure],
    )];
    let dash = || "-".to_owned();
    let row = |trial: &TrialResult| -> Vec<String> {
        let values = trial.values.iter().map(|(_, value)| value.clone());
        let numbers = [
            trial.epochs.to_string(),
            trial
                .best_epoch
                .map_or_else(dash, |epoch| epoch.to_string()),
            trial.val.map_or_else(dash, |val| format!("{val:.4}")),
        ];
        let name = [trial.name.clone()].into_iter();
        name.chain(values).chain(numbers).collect()
    };
    // Those that went on the furthest first.
    let dropped = result.dropped.iter().rev();
    let mut dropped: Vec<&TrialResult> = dropped.collect();
    dropped.sort_by(|a, b| {
        (b.epochs, b.val)
            .partial_cmp(&(a.epochs, a.val))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    rows.extend(result.trials.iter().chain(dropped).map(row));
    let mut text = table(&rows, |column| column > 0);
    let failed = result.trials.iter().chain(&result.dropped);
    for trial in failed {
        if let Some(reason) = &trial.failed {
            text += &format!("{}: {reason}\n", trial.name);
        }
    }
    let measure = &result.measure;
    text += &format!("best      {}, by validation\n", result.best.display());
    if let Some(test) = result.test {
        text += &format!("test      {measure} {test:.4}, of that run alone\n");
    }
    text += &format!("report    {}\n", result.report.display());
    if result.synthetic {
        text += &format!("{SYNTHETIC}\n");
    }
    text
}
