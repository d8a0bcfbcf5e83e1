//! `mspipe sweep`: several settings, one after the other, and a table of all.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use mspipe::device::ComputeDevice;
use mspipe::run_folder::{RunFolder, RunFolderError, Summary};
use mspipe::session::{
    self, SeedsObserver, Session, SessionError, SweepPlan, SweepResult, Trial, TrialResult,
};
use mspipe::train::observer::TrainEvent;
use mspipe::{console, interrupt};
use serde_json::{Value, json};

use super::bar::Bar;
use super::report::{self, SYNTHETIC};
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

    /// Only list the runs, once all are checked
    #[arg(long)]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Says a line when a run begins, after each epoch of it, and when it ends; with a bar between them on a terminal.
struct Shown<'a> {
    plan: &'a SweepPlan,
    json: bool,
    /// The run whose turn it is: its folder, its number from 1, and how many there are.
    turn: (PathBuf, usize, usize),
    /// Notes that were said: most are of all runs.
    noted: BTreeSet<String>,
}

impl Shown<'_> {
    fn say(&self, line: impl std::fmt::Display) {
        say(self.json, line);
    }

    /// The trial whose turn it is.
    fn trial(&self) -> Option<&Trial> {
        let name = self.turn.0.file_name()?.to_str()?;
        self.plan.trials.iter().find(|trial| trial.name == name)
    }
}

/// Progress is no part of what `--json` prints.
fn say(json: bool, line: impl std::fmt::Display) {
    match json {
        true => console::note(line),
        false => console::news(line),
    }
}

impl SeedsObserver for Shown<'_> {
    type Run = Box<dyn FnMut(TrainEvent<'_>) -> io::Result<()>>;

    fn begins(
        &mut self,
        session: &Session,
        device: &ComputeDevice,
        folder: &RunFolder,
        place: Option<(usize, usize)>,
    ) -> Result<Self::Run, RunFolderError> {
        let config = session.config();
        // The plan has told of those.
        let told = &config.without_effect;
        for note in report::notes(session, device) {
            if !told.contains(&note) && self.noted.insert(note.clone()) {
                console::note(format!("note: {note}"));
            }
        }
        let (_, nth, of) = self.turn;
        let values = self.trial().map_or_else(String::new, Trial::shown);
        let path = folder.path().display();
        self.say(format!("run       {nth} of {of}: {path} ({values})"));
        if let Some((epoch, iteration)) = place {
            self.say(format!(
                "resumed   in epoch {epoch}, at iteration {iteration}"
            ));
        }
        let (json, epochs) = (self.json, config.training.epochs);
        let mut bar = Bar::new(config.training.batch_events());
        Ok(Box::new(move |event: TrainEvent<'_>| {
            match event {
                TrainEvent::EpochBegins { epoch, iterations } => {
                    let name = format!("run {nth}/{of}, epoch {epoch}/{epochs}");
                    bar.epoch(name, iterations);
                }
                TrainEvent::Iteration { events, .. } => bar.done(events),
                TrainEvent::EvaluationBegins(part) => {
                    bar.spinner(format!("run {nth}/{of}, evaluating the {part} part"));
                }
                TrainEvent::EpochDone { epoch, record } => {
                    bar.clear();
                    let line = report::epoch(epoch, record);
                    bar.beside(|| say(json, format!("  {line}")));
                }
                TrainEvent::Warning(warning) => {
                    bar.beside(|| console::note(format!("warning: {warning}")));
                }
                _ => {}
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

    fn is_next(&mut self, folder: &Path, nth: usize, of: usize) {
        self.turn = (folder.to_owned(), nth, of);
    }

    fn diverged(&mut self, reason: &str) {
        self.say(format!("  diverged: {reason}"));
    }
}

/// Trains and prints.
pub(crate) fn run(args: &SweepArgs) -> anyhow::Result<()> {
    let plan = SweepPlan::read(&args.file)?;
    for note in &plan.notes {
        console::note(format!("note: {note}"));
    }
    if args.dry_run {
        session::check_sweep(&plan, &interrupt::stop())?;
        return match args.json {
            true => Ok(console::json(&planned(&plan))?),
            false => Ok(console::product(listed(&plan))?),
        };
    }
    let mut shown = Shown {
        plan: &plan,
        json: args.json,
        turn: (PathBuf::new(), 0, 0),
        noted: BTreeSet::new(),
    };
    let result = match session::run_sweep(&plan, &interrupt::stop(), &mut shown) {
        Ok(result) => result,
        // Of the sweep itself, before a run or after all of them.
        Err(error) if shown.turn.1 == 0 || matches!(error, SessionError::Sweep(_)) => {
            return Err(error.into());
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            let (run, file) = (shown.turn.0.display(), args.file.display());
            let values = shown.trial().map_or_else(String::new, Trial::shown);
            anyhow::bail!("{run} ({values}): {error:#}\ncontinue with: mspipe sweep {file}")
        }
    };
    match args.json {
        true => Ok(console::json(&result)?),
        false => Ok(console::product(as_text(&result))?),
    }
}

/// The runs that there would be.
fn listed(plan: &SweepPlan) -> String {
    let mut rows = vec![head(&plan.trials[0].values, &[])];
    for trial in &plan.trials {
        let values = trial.values.iter().map(|(_, value)| value.clone());
        rows.push([trial.name.clone()].into_iter().chain(values).collect());
    }
    let text = table(&rows, |column| column > 0);
    let rungs: Vec<String> = plan.rungs().iter().map(usize::to_string).collect();
    let is_epochs = |(name, _): &(String, String)| name == "epochs";
    match plan.trials[0].values.iter().any(is_epochs) {
        true => text,
        false => format!("{text}epochs: {}\n", rungs.join(", ")),
    }
}

/// The same for a script.
fn planned(plan: &SweepPlan) -> Value {
    json!({
        "method": plan.method,
        "out": plan.out,
        "rungs": plan.rungs(),
        "runs": plan.runs(),
        "trials": plan.trials,
        "notes": plan.notes,
    })
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
        &["trained", "best epoch", &measure],
    )];
    let dash = || "-".to_owned();
    let row = |trial: &TrialResult| -> Vec<String> {
        let values = trial.values.iter().map(|(_, value)| value.clone());
        let numbers = [
            format!("{}/{}", trial.trained_epochs, trial.epochs),
            trial
                .best_epoch
                .map_or_else(dash, |epoch| epoch.to_string()),
            trial.val.map_or_else(dash, |val| format!("{val:.4}")),
        ];
        let name = [trial.name.clone()].into_iter();
        name.chain(values).chain(numbers).collect()
    };
    let all = result.trials.iter().chain(&result.dropped);
    rows.extend(all.clone().map(row));
    let mut text = table(&rows, |column| column > 0);
    for trial in all {
        if let Some(reason) = &trial.failed {
            text += &format!("{}: {reason}\n", trial.name);
        }
    }
    let measure = &result.measure;
    let tries_batches = |(name, _): &(String, String)| name.replace('-', "_") == "batch_size";
    if result.trials[0].values.iter().any(tries_batches) {
        text += "note      an evaluation follows the events batch by batch: part of what batch_size changes is the \
                 measurement\n";
    }
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
