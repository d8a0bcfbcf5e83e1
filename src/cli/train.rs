//! `mspipe train`: progress on stderr, results on stdout.

mod node;

use std::io;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use mspipe::checkpoint::LAST;
use mspipe::config::given::GivenConfig;
use mspipe::config::{RunConfig, Task};
use mspipe::device::ComputeDevice;
use mspipe::pipeline::trace::Record;
use mspipe::report::run::{self as run_report, RunReportError};
use mspipe::run_folder::{RunFolder, Summary};
use mspipe::session::{self, Session, SessionError};
use mspipe::train::epochs::{EpochRecord, Observer, TrainError};

use super::{print, print_json, report};

const EXAMPLES: &str = "\
Examples:
  No file and no GPU needed; the stream is generated:
    mspipe train --data synthetic:wikipedia:scale=0.1 --epochs 3
  A real stream on the CPU, without edge features:
    mspipe train --data wikipedia.csv --device cpu --epochs 5 --edge-features zero
  As TGL measures (all-node negatives, Δt up to the query):
    mspipe train --data wikipedia.csv --protocol tgl
  On from the weights of a run, with its settings, or from TGL's:
    mspipe train --init runs/wikipedia-tgn-1 --epochs 3
    mspipe train --init models/wiki_tgn.pkl --data wikipedia.csv --protocol tgl
  MSPipe: memory in RAM, its reading and writing overlap training:
    mspipe train --data wikipedia.csv --memory host --schedule mspipe
  The same as over a slower bus, to see what a schedule hides (on a CPU too):
    mspipe train --data wikipedia.csv --memory host --schedule mspipe --emulate-link 12GB/s,20us
  What each operation of an iteration costs, against what the machine reaches:
    mspipe train --data synthetic:wikipedia:scale=0.1 --device cpu --epochs 2 --profile
  On where a run was ended, with its settings; its numbers are those of an uninterrupted one:
    mspipe train --resume runs/wikipedia-tgn-1
  What a training takes of RAM and VRAM, before it is started:
    mspipe train --data synthetic:gdelt:scale=0.1 --model apan --dry-run
  State labels (who gets banned?) on the embeddings of a run:
    mspipe train --task node --init runs/wikipedia-tgn-1

Writes config.json, metrics.jsonl (the loss of each iteration, the metrics of each epoch),
ledger.jsonl (how stale the memory was that each iteration read), trace.json (for
ui.perfetto.dev), timeline.svg, weights.safetensors (of the best epoch by validation AP; not
with --task node), checkpoint.safetensors and checkpoint-previous.safetensors (for --resume, see
docs/checkpoints.md), summary.json and report.html (all of it as one page, with charts; not with
--task node) into the run's folder. Ctrl-C ends after the current iteration and its checkpoint,
exit code 130; a second one ends at once.";

/// Exit code after Ctrl-C, as shells give it.
const INTERRUPTED: u8 = 130;

/// Arguments of `mspipe train`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    settings: GivenConfig,

    /// Go on with a run that has not ended, with its settings; only --data (if the stream was
    /// moved), --threads and --checkpoint-every may be given too
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,

    /// Print summary.json on stdout instead of text
    #[arg(long)]
    json: bool,

    /// Only tell what the training takes of RAM and of the device's memory; exit code 1 if it
    /// won't fit
    #[arg(long)]
    dry_run: bool,
}

/// Runs the training.
pub(crate) fn run(args: TrainArgs) -> anyhow::Result<ExitCode> {
    static STOP: AtomicBool = AtomicBool::new(false);
    let json = args.json;
    if args.dry_run {
        return dry_run(args.settings.resolve()?, json);
    }
    let stop_once = || {
        if STOP.swap(true, Ordering::Relaxed) {
            // Whoever asks twice does not want to wait; the last checkpoint is whole.
            process::exit(INTERRUPTED.into());
        }
    };
    // Where to go on if it fails.
    let run = OnceLock::new();
    let result = if let Some(folder) = &args.resume {
        ctrlc::set_handler(stop_once).context("Ctrl-C handler")?;
        let change = |config: &mut RunConfig| args.settings.change_run(config);
        session::resume(folder, change, &STOP, |session, device, folder, place| {
            run.get_or_init(|| folder.path().to_owned());
            let progress = Progress::begin(session, device, folder, json);
            progress.say(&match place {
                Some((epoch, iteration)) => {
                    format!("resumed   in epoch {epoch}, at iteration {iteration}")
                }
                None => "resumed   at the start: there is no checkpoint yet".to_owned(),
            });
            Ok(progress)
        })
    } else {
        let config = args.settings.resolve()?;
        if config.task == Task::Node {
            // Nothing half done is left behind, so that Ctrl-C may simply end it.
            return node::run(config, json).map(|()| ExitCode::SUCCESS);
        }
        ctrlc::set_handler(stop_once).context("Ctrl-C handler")?;
        session::run(config, &STOP, |session, device, folder| {
            run.get_or_init(|| folder.path().to_owned());
            Ok(Progress::begin(session, device, folder, json))
        })
    };
    let goes_on = run.get().filter(|run| run.join(LAST).exists());
    let hint = goes_on.map(|run| format!("go on with: mspipe train --resume {}", run.display()));
    match result {
        Ok((summary, folder)) => {
            let page = run_report::write(folder.path());
            if json {
                print_json(&summary)?;
            } else {
                print_summary(&summary, &folder);
            }
            say_page(page, json);
            Ok(ExitCode::SUCCESS)
        }
        Err(SessionError::Train(error @ TrainError::Interrupted { .. })) => {
            eprintln!("{error}");
            if let Some(hint) = hint {
                eprintln!("{hint}");
            }
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(SessionError::Train(error @ (TrainError::Observer(_) | TrainError::Run { .. }))) => {
            let error = anyhow::Error::from(error);
            Err(match hint {
                Some(hint) => anyhow!("{error:#}\nwhen that is mended, {hint}"),
                None => error,
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Where the report is, or why there is none: the training itself is whole without it.
fn say_page(page: Result<PathBuf, RunReportError>, json: bool) {
    match page {
        Ok(page) if !json => println!("report    {}", page.display()),
        Ok(_) => {}
        Err(error) => eprintln!("report: {error}"),
    }
}

/// Prints what the training would take.
fn dry_run(config: RunConfig, json: bool) -> anyhow::Result<ExitCode> {
    let footprint = session::footprint(config)?;
    if json {
        print_json(&footprint)?;
    } else {
        print(&report::footprint(&footprint))?;
    }
    footprint.check()?;
    Ok(ExitCode::SUCCESS)
}

/// Progress bar and metrics of a training.
struct Progress {
    bar: ProgressBar,
    folder: RunFolder,
    /// Of the timeline.
    title: String,
    epochs: usize,
    batch_size: usize,
    json: bool,
}

impl Progress {
    fn begin(
        session: &Session,
        device: &ComputeDevice,
        folder: &RunFolder,
        json: bool,
    ) -> Progress {
        let config = session.config();
        if !json {
            println!("{}", report::head(session, device));
            if let Some(link) = &config.pipeline.emulate_link {
                println!("{}", report::emulated(link));
            }
            println!("run       {}", folder.path().display());
        } else {
            session
                .notes
                .iter()
                .for_each(|note| eprintln!("note: {note}"));
        }
        Progress {
            bar: ProgressBar::hidden(),
            folder: folder.clone(),
            title: timeline_title(session),
            epochs: config.epochs,
            batch_size: config.batch_size,
            json,
        }
    }

    fn say(&self, text: &str) {
        if !self.json {
            self.bar.suspend(|| println!("{text}"));
        }
    }
}

/// What a timeline shows.
fn timeline_title(session: &Session) -> String {
    let (config, data) = (session.config(), &session.data);
    let mark = if data.synthetic { " (SYNTHETIC)" } else { "" };
    let pipeline = &config.pipeline;
    let link = pipeline.emulate_link.as_ref();
    let link = link.map_or_else(String::new, |link| format!(", EMULATED link {link}"));
    format!(
        "{}{mark}, {}, {}{link}",
        data.name, config.model, pipeline.schedule
    )
}

impl Observer for Progress {
    fn epoch_begins(&mut self, epoch: usize, iterations: usize) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::new((iterations * self.batch_size) as u64);
        let template = "{prefix} {wide_bar} {percent:>3} % {per_sec} {msg} {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{} events/s", HumanCount(state.per_sec() as u64));
            };
            self.bar.set_style(style.with_key("per_sec", rate));
        }
        self.bar
            .set_prefix(format!("epoch {epoch}/{}", self.epochs));
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn iteration(&mut self, _iteration: usize, events: usize) {
        self.bar.set_position(events as u64);
    }

    fn losses(&mut self, _epoch: usize, _first: usize, losses: &[f32]) -> io::Result<()> {
        if let Some(last) = losses.last() {
            self.bar.set_message(format!("loss {last:.4}"));
        }
        Ok(())
    }

    fn epoch_recorded(&mut self, record: &Record) -> io::Result<()> {
        self.folder.write_timeline(record, &self.title)
    }

    fn evaluation_begins(&mut self, part: &str) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::new_spinner();
        self.bar.set_message(format!("evaluating the {part} part"));
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn epoch_done(&mut self, epoch: usize, record: &EpochRecord) -> io::Result<()> {
        self.bar.finish_and_clear();
        let mut line = format!(
            "epoch {epoch:<3} loss {:.4}  val {}  {} events/s, {}",
            record.train_loss,
            report::metrics(&record.val),
            HumanCount(record.events_per_s as u64),
            HumanDuration(Duration::from_secs_f64(record.train_seconds)),
        );
        let below = |label: &str, metrics: String| format!("\n{:21}  {label} {metrics}", "");
        line.push_str(&below("new", report::inductive(&record.val)));
        if let Some(test) = &record.test {
            line.push_str(&below("test", report::metrics(test)));
        }
        self.say(&line);
        Ok(())
    }

    fn warn(&mut self, message: &str) {
        self.bar.suspend(|| eprintln!("warning: {message}"));
    }
}

fn print_summary(summary: &Summary, folder: &RunFolder) {
    let with = format!(" with the weights of epoch {}", summary.best_epoch);
    println!("{}", report::test(&summary.test, &summary.edgebank, &with));
    let stages: Vec<String> = summary
        .stage_seconds
        .iter()
        .map(|(stage, seconds)| format!("{stage} {:.2} s", seconds.as_f64().unwrap_or(0.0)))
        .collect();
    println!("stages    {}", stages.join(", "));
    let ks: Vec<String> = summary
        .staleness
        .iter()
        .map(|(k, iterations)| format!("k = {k} in {} iterations", HumanCount(*iterations as u64)))
        .collect();
    println!(
        "schedule  {}: {}, training waited {:.2} s",
        summary.schedule,
        ks.join(", "),
        summary.stall_seconds
    );
    if let Some(link) = &summary.emulated_link {
        println!("{}", report::emulated(link));
    }
    if let Some(profile) = &summary.profile {
        println!("{profile}");
    }
    if summary.data.synthetic {
        println!("{}", report::SYNTHETIC);
    }
    if let Some(missing) = &summary.not_written {
        println!("missing   {missing}");
    }
    println!("written   {}", folder.path().join("summary.json").display());
}
