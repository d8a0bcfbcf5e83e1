//! `mspipe train`: progress on stderr, results on stdout.

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use mspipe::config::RunConfig;
use mspipe::device::ComputeDevice;
use mspipe::eval::LinkMetrics;
use mspipe::run_folder::{MetricsLog, RunFolder, RunFolderError, Summary};
use mspipe::session::{self, Session, SessionError};
use mspipe::train::epochs::{EpochRecord, Observer, TrainError};

const EXAMPLES: &str = "\
Examples:
  No file and no GPU needed; the stream is generated:
    mspipe train --data synthetic:wikipedia:scale=0.1 --epochs 3
  A real stream on the CPU, without edge features:
    mspipe train --data wikipedia.csv --device cpu --epochs 5 --edge-features zero
  As TGL measures (all-node negatives, Δt up to the query):
    mspipe train --data wikipedia.csv --protocol tgl

Writes config.json, metrics.jsonl (the loss of each iteration, the metrics of each epoch)
and summary.json into the run's folder. Ctrl-C ends after the current iteration, exit code 130.";

/// Exit code after Ctrl-C, as shells give it.
const INTERRUPTED: u8 = 130;

/// Arguments of `mspipe train`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    run: RunConfig,

    /// Print summary.json on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the training.
pub(crate) fn run(args: TrainArgs) -> anyhow::Result<ExitCode> {
    static STOP: AtomicBool = AtomicBool::new(false);
    ctrlc::set_handler(|| STOP.store(true, Ordering::Relaxed)).context("Ctrl-C handler")?;
    let json = args.json;
    let result = session::run(args.run, &STOP, |session, device, folder| {
        Progress::begin(session, device, folder, json)
    });
    match result {
        Ok((summary, _)) if json => {
            println!("{}", serde_json::to_string_pretty(&summary)?);
            Ok(ExitCode::SUCCESS)
        }
        Ok((summary, folder)) => {
            print_summary(&summary, &folder);
            Ok(ExitCode::SUCCESS)
        }
        Err(SessionError::Train(error @ TrainError::Interrupted { .. })) => {
            eprintln!("{error}");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) => Err(error.into()),
    }
}

/// Progress bar and metrics of a training.
struct Progress {
    bar: ProgressBar,
    log: MetricsLog,
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
    ) -> Result<Progress, RunFolderError> {
        let config = session.config();
        if !json {
            let data = &session.data;
            let kind = if data.synthetic {
                " (SYNTHETIC: generated, not observed)"
            } else {
                ""
            };
            println!(
                "stream    {}{kind}: {} events, {} nodes, features: {} an event, {} a node",
                data.name,
                HumanCount(data.events as u64),
                HumanCount(data.nodes as u64),
                data.edge_width,
                data.node_width
            );
            let split = &session.split;
            println!(
                "split     {} training, {} validation, {} test events",
                HumanCount(split.train.len() as u64),
                HumanCount(split.val.len() as u64),
                HumanCount(split.test.len() as u64)
            );
            println!("device    {}: {}", device.backend, device.adapter);
            println!("run       {}", folder.path().display());
        }
        Ok(Progress {
            bar: ProgressBar::hidden(),
            log: folder.metrics()?,
            epochs: config.epochs,
            batch_size: config.batch_size,
            json,
        })
    }

    fn say(&self, text: &str) {
        if !self.json {
            self.bar.suspend(|| println!("{text}"));
        }
    }
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

    fn losses(&mut self, epoch: usize, first: usize, losses: &[f32]) -> io::Result<()> {
        if let Some(last) = losses.last() {
            self.bar.set_message(format!("loss {last:.4}"));
        }
        self.log.losses(epoch, first, losses)
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
            metrics(&record.val),
            HumanCount(record.events_per_s as u64),
            HumanDuration(Duration::from_secs_f64(record.train_seconds)),
        );
        if let Some(test) = &record.test {
            line.push_str(&format!("\n          {:>11}  test {}", "", metrics(test)));
        }
        self.say(&line);
        self.log.epoch(epoch, record)
    }
}

fn metrics(metrics: &LinkMetrics) -> String {
    format!(
        "AP {:.4} (batch mean {:.4}) AUC {:.4}",
        metrics.ap, metrics.ap_batch_mean, metrics.auc
    )
}

fn print_summary(summary: &Summary, folder: &RunFolder) {
    println!(
        "test      {} with the weights of epoch {}",
        metrics(&summary.test),
        summary.best_epoch
    );
    println!(
        "EdgeBank  AP {:.4} on validation, {:.4} on test (no learning: has the pair been seen?)",
        summary.edgebank.val_ap, summary.edgebank.test_ap
    );
    let stages: Vec<String> = summary
        .stage_seconds
        .iter()
        .map(|(stage, seconds)| format!("{stage} {:.2} s", seconds.as_f64().unwrap_or(0.0)))
        .collect();
    println!("stages    {}", stages.join(", "));
    if summary.data.synthetic {
        println!(
            "These numbers are of a SYNTHETIC stream and say nothing about the real data set."
        );
    }
    println!("written   {}", folder.path().join("summary.json").display());
}
