//! `mspipe train`: progress on stderr, results on stdout.

mod labels;
mod progress;
mod seeds;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::{anyhow, bail};
use clap::{Arg, Args, ValueHint};
use mspipe::checkpoint::LAST;
use mspipe::config::{GivenConfig, Purpose, RunConfig, SeedsSettings, Task};
use mspipe::ranks::{Launch, Started};
use mspipe::report::run as run_report;
use mspipe::run_folder::RunFolder;
use mspipe::session::footprint::Footprint;
use mspipe::session::{self, Session, SessionError};
use mspipe::train::error::TrainError;
use mspipe::train::observer::TrainEvent;
use mspipe::{console, interrupt};

use progress::{Progress, print_summary, say_page};

use super::report;

const FEW: &str = "\
Examples:
  No file and no GPU needed; the stream is generated:
    mspipe train --data synthetic:wikipedia:scale=0.1 --epochs 3
  A real stream on the CPU:
    mspipe train --data wikipedia.csv --device cpu
  Resume a run where it ended, with the numbers of an uninterrupted run:
    mspipe train --resume runs/wikipedia-tgn-1

These are what a person needs first; 'mspipe train --help' has all options and more examples.";

const EXAMPLES: &str = "\
Examples:
  No file and no GPU needed; the stream is generated:
    mspipe train --data synthetic:wikipedia:scale=0.1 --epochs 3
  A real stream on the CPU, without edge features:
    mspipe train --data wikipedia.csv --device cpu --epochs 5 --edge-features zero
  As TGL measures (all-node negatives, Δt up to the query):
    mspipe train --data wikipedia.csv --protocol tgl
  Start from the weights of a run, with its settings, or from TGL's:
    mspipe train --init runs/wikipedia-tgn-1 --epochs 3
    mspipe train --init models/wiki_tgn.pkl --data wikipedia.csv --protocol tgl
  MSPipe: memory in RAM, with reads and writes that overlap training:
    mspipe train --data wikipedia.csv --memory host --schedule mspipe
  The same over an emulated, slower bus, to see what a schedule hides (on a CPU too):
    mspipe train --data wikipedia.csv --memory host --schedule mspipe --emulate-link 12GB/s,20us
  Features that a GPU's memory has no room for: the rows that were wanted last lie there:
    mspipe train --data wikipedia.csv --edge-features random:172 --features device:50MB
  Cost of each operation of an iteration, against the machine's limits:
    mspipe train --data synthetic:wikipedia:scale=0.1 --device cpu --epochs 2 --profile
  Long training that ends when it no longer helps, or before the batch system's limit:
    mspipe train --data wikipedia.csv --epochs 50 --patience 5 --lr-schedule cosine --max-time 2h
  Five seeds: mean and standard deviation of the test (mspipe compare A B compares two such):
    mspipe train --data wikipedia.csv --seeds 5 --out runs/five
  Four processes that share each batch of 600, as one would train with it (docs/ranks.md):
    mpirun -n 4 mspipe train --data wikipedia.csv --batch-size 150 --ranks mpi
  Resume a run where it ended, with its settings and the numbers of an uninterrupted run:
    mspipe train --resume runs/wikipedia-tgn-1
  Estimate the RAM and VRAM that a run needs, without starting it:
    mspipe train --data synthetic:gdelt:scale=0.1 --model apan --dry-run
  Settings from a file, one of them changed ('mspipe config --defaults' prints such a file):
    mspipe train --config run.toml --set learning_rate=3e-4
  The settings of another run, its seed alone changed:
    mspipe train --config runs/wikipedia-tgn-1/config.json --seed 1
  State labels (who gets banned?) on the embeddings of a run:
    mspipe train --task node --init runs/wikipedia-tgn-1
  Labels of events (which payment is fraud?), rare classes weighing more:
    mspipe train --task edge --init runs/payments-tgn-1 --balance weights

Writes config.json, metrics.jsonl (the loss of each iteration, the metrics of each epoch), \
ledger.jsonl (how stale the memory was that each iteration read), trace.json (for \
ui.perfetto.dev), timeline.svg, weights.safetensors (of the best epoch by --monitor; not \
with --task node and edge), checkpoint.safetensors and checkpoint-previous.safetensors (for --resume, see \
docs/checkpoints.md), summary.json and report.html (all of it as one page, with charts) into the run's folder.

Ctrl-C, SIGTERM and SIGHUP (a terminal that closes) end a run after the current iteration, or the \
current batch of an evaluation, and its checkpoint; exit code 130, 143, 129. A second one ends it \
at once. A conversion that is interrupted leaves nothing behind.";

/// Arguments of `mspipe train`.
#[derive(Debug, Args)]
#[command(after_help = FEW, after_long_help = EXAMPLES, mut_args(first))]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    settings: GivenConfig,

    /// Resume a run that has not ended, with its settings
    ///
    /// Only --data, --edge-feature-file and --node-feature-file (if the stream was moved), --threads,
    /// --checkpoint-every, --max-time, --profile, --no-memory-check and --ranks (any number that divides the
    /// run's batches) may be given too.
    #[arg(
        long,
        value_name = "RUN",
        value_hint = ValueHint::DirPath,
        help_heading = "Run",
        conflicts_with = "seeds"
    )]
    resume: Option<PathBuf>,

    #[command(flatten)]
    seeds: SeedsSettings,

    /// Print summary.json on stdout instead of text
    #[arg(long, help_heading = "Run", hide_short_help = true)]
    json: bool,

    /// Only estimate the RAM and device memory that the run needs, and check what it begins with;
    /// exit code 1 if it won't fit or can't begin
    #[arg(long, help_heading = "Run", hide_short_help = true)]
    dry_run: bool,
}

/// Shows in `-h` what matters to a training run alone, beside what all commands with settings show.
fn first(option: Arg) -> Arg {
    match option.get_id().as_str() {
        "task" | "init" | "log" => option.hide_short_help(false),
        _ => option,
    }
}

/// Trains.
pub(crate) fn run(args: TrainArgs) -> anyhow::Result<ExitCode> {
    let json = args.json;
    if let Some(folder) = &args.resume {
        check_folder_of_rank(folder)?;
    }
    if args.dry_run {
        return dry_run(args);
    }
    if let Some(folder) = &args.resume
        && let Some(ended) = resume_other(folder, &args)
    {
        return ended;
    }
    let stop = interrupt::stop();
    // How to continue if it fails.
    let run: OnceLock<(PathBuf, String)> = OnceLock::new();
    let result = if let Some(folder) = &args.resume {
        let change = |config: &mut RunConfig| {
            args.settings.change_run(config)?;
            note_processes(config, true);
            Ok(())
        };
        session::resume(folder, change, &stop, |session, device, folder, place| {
            run.get_or_init(|| begun(session, folder));
            let mut progress = Progress::begin(session, device, folder, json);
            progress.say(&resumed_at(place));
            Ok(move |event: TrainEvent<'_>| progress.see(event))
        })
    } else {
        let config = args.settings.resolve(Purpose::Train)?;
        note_processes(&config, false);
        if config.start.task != Task::Link {
            return labels::run(config, json);
        }
        if config.start.seeds.is_some() {
            return seeds::run(&config, json).map(|()| ExitCode::SUCCESS);
        }
        session::run(config, &stop, |session, device, folder| {
            run.get_or_init(|| begun(session, folder));
            let mut progress = Progress::begin(session, device, folder, json);
            Ok(move |event: TrainEvent<'_>| progress.see(event))
        })
    };
    let goes_on = run.get().filter(|(run, _)| run.join(LAST).exists());
    let hint = goes_on.map(|(_, command)| format!("resume with: {command}"));
    match result {
        Ok((summary, folder)) => {
            let unfinished = stop.unfinished();
            let page = run_report::write(folder.path());
            drop(unfinished);
            if json {
                console::json(&summary)?;
            } else {
                print_summary(&summary, &folder);
            }
            say_page(page, json);
            Ok(ExitCode::SUCCESS)
        }
        Err(SessionError::Beside) => Ok(ExitCode::SUCCESS),
        Err(SessionError::Train(error @ TrainError::Interrupted { .. })) => Err(match hint {
            Some(hint) => anyhow!("{error}\n{hint}"),
            None => error.into(),
        }),
        Err(SessionError::Train(error)) if error.can_be_mended() => {
            let error = anyhow::Error::from(error);
            Err(match hint {
                Some(hint) => anyhow!("{error:#}\nonce that is fixed, {hint}"),
                None => error,
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Where a run continues, by epoch and iteration.
fn resumed_at(place: Option<(usize, usize)>) -> String {
    match place {
        Some((epoch, iteration)) => format!("resumed   in epoch {epoch}, at iteration {iteration}"),
        None => "resumed   at the start: there is no checkpoint yet".to_owned(),
    }
}

/// Says of processes that were started together that they share nothing, if they don't; the first of them does.
fn note_processes(config: &RunConfig, resumed: bool) {
    let started = Started::together().filter(|started| started.number == 0);
    let Some(Started {
        processes, said_by, ..
    }) = started
    else {
        return;
    };
    let without = match (config.training.ranks, resumed) {
        (Some(Launch::Mpi(_)), _) => return,
        (_, false) => "mpi each trains a run of its own".to_owned(),
        (_, true) => {
            format!("mpi:{processes} each resumes this run by itself, which one alone can")
        }
    };
    console::note(format!(
        "note: {processes} processes were started together ({said_by}); without --ranks {without}"
    ));
}

/// Refuses a process that lacks the folder of the run that it is to resume together with others, which have it.
fn check_folder_of_rank(folder: &Path) -> anyhow::Result<()> {
    let others = Started::together().filter(|started| started.number > 0);
    if let Some(Started { number, .. }) = others
        && !folder.join("config.json").exists()
    {
        let folder = folder.display();
        bail!(
            "rank {number} ended: {folder}: holds no run here (there is no {folder}/config.json); the machine of each \
             rank needs the folder of the run under the same name"
        );
    }
    Ok(())
}

/// The folder of a run, and the command that continues with it by as many ranks.
fn begun(session: &Session, folder: &RunFolder) -> (PathBuf, String) {
    let path = folder.path();
    let command = match session.config().training.ranks {
        None => format!("mspipe train --resume {}", path.display()),
        Some(ranks) => {
            let written = RunConfig::read(&path.join("config.json"));
            let written = written.ok().and_then(|config| config.training.ranks);
            ranks.resume_command(path, written)
        }
    };
    (path.to_owned(), command)
}

/// Continues with what is no single run of link prediction.
fn resume_other(folder: &Path, args: &TrainArgs) -> Option<anyhow::Result<ExitCode>> {
    let run = RunConfig::read(&folder.join("config.json")).ok()?;
    let change = |config: &mut RunConfig| args.settings.change_run(config);
    if run.start.seeds.is_some() {
        return Some(seeds::resume(folder, change, args.json).map(|()| ExitCode::SUCCESS));
    }
    (run.start.task != Task::Link).then(|| labels::resume(folder, change, args.json))
}

/// Prints the memory that the run would need, and begins it as far as nothing is trained.
fn dry_run(args: TrainArgs) -> anyhow::Result<ExitCode> {
    let json = args.json;
    let mut printed = Ok(());
    let print = |footprint: &Footprint, notes: &[String]| {
        report::say_notes(notes);
        printed = match json {
            true => console::json(footprint),
            false => console::product(report::footprint(footprint)),
        };
    };
    let stop = interrupt::stop();
    let begun = match &args.resume {
        Some(folder) => {
            let change = |config: &mut RunConfig| {
                args.settings.change_run(config)?;
                note_processes(config, true);
                Ok(())
            };
            session::dry_resume(folder, change, &stop, print)
        }
        None => {
            let config = args.settings.resolve(Purpose::Train)?;
            note_processes(&config, false);
            session::dry_run(config, &stop, print)
        }
    };
    printed?;
    match begun {
        // Rank 0 has said it all.
        Ok(()) | Err(SessionError::Beside) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}
