//! `mspipe schedule simulate`: every schedule on given stage times.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use mspipe::pipeline::Stage;
use mspipe::pipeline::profile::{Profile, Residency};
use mspipe::pipeline::schedule::Schedule;
use mspipe::pipeline::scheduler::Scheduler;
use mspipe::pipeline::trace::Record;
use mspipe::report::chart::Timeline;
use mspipe::what_if::recurrences::delayed_fetch;
use mspipe::what_if::simulator::simulate;
use mspipe::{console, interrupt};
use mspipe_datasets::whole_file::{self, Existing};
use serde::Serialize;

use super::super::table::table;
use super::profile::ProfileArgs;

const EXAMPLES: &str = "\
Examples:
  The paper's kind of profile, training being the bottleneck:
    mspipe schedule simulate --stages sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2
  A run as measured, as if its memory crossed another bus:
    mspipe schedule simulate --profile runs/tgn-1 --link 12GB/s,20us \\
        --bytes fetch_memory=36MiB,update_memory=4MiB
  A chart of one schedule, and the same for ui.perfetto.dev:
    mspipe schedule simulate --stages … --schedule staleness:2 --gantt chart.svg --trace trace.json
  What reading as late as possible gives where memory may be up to 3 updates old:
    mspipe schedule simulate --stages … --schedule freshest:3 --gantt chart.svg

k: iteration i reads memory in which exactly the updates up to i − k are applied; 1 is not stale. With
freshest the k of an iteration is what it came to, and the one shown is the last one's.
Each stage takes exactly its time and each thread has a core of its own; a machine whose few cores
do everything gains less.";

/// Arguments of `mspipe schedule simulate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SimulateArgs {
    #[command(flatten)]
    profile: ProfileArgs,

    /// Iterations to simulate; periods are of the last half
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(40..=100_000))]
    iterations: u32,

    /// Schedule that --gantt and --trace draw, and that the table also has
    #[arg(long, default_value = "mspipe")]
    schedule: Schedule,

    /// Write a chart of some iterations as SVG
    #[arg(long, value_name = "FILE.svg")]
    gantt: Option<PathBuf>,

    /// Iterations in the chart, towards the end
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=30))]
    gantt_iterations: u8,

    /// Write the spans for chrome://tracing or ui.perfetto.dev
    #[arg(long, value_name = "FILE.json")]
    trace: Option<PathBuf>,

    /// Replace the files of --gantt and --trace if they exist
    #[arg(long)]
    force: bool,

    /// Print JSON; times are in seconds
    #[arg(long)]
    json: bool,
}

/// One schedule's line.
#[derive(Debug, Serialize)]
struct Line {
    schedule: Schedule,
    /// Simulated period in s.
    period: f64,
    /// Closed form in s; a replay has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_period: Option<f64>,
    /// Staleness of the last iteration.
    k: usize,
    speedup_over_sequential: f64,
    speedup_over_prefetch: f64,
    /// Share of the period in which nothing trains.
    train_idle: f64,
}

#[derive(Debug, Serialize)]
struct Simulation {
    stages: Profile,
    memory: Residency,
    iterations: u32,
    schedules: Vec<Line>,
    /// What the paper's recurrences with delayed fetches settle at, memory being on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    recurrences_k: Option<usize>,
}

/// Runs the simulations.
pub(super) fn run(args: &SimulateArgs) -> anyhow::Result<()> {
    check_targets(args)?;
    let profile = args.profile.profile()?;
    let memory = args.profile.memory();
    let record = |schedule: &Schedule| -> anyhow::Result<Record> {
        let mut scheduler = Scheduler::new(schedule.clone(), memory)?;
        let (depth, iterations) = (args.profile.queue_depth(), args.iterations as usize);
        Ok(simulate(&profile, &mut scheduler, depth, iterations)?)
    };
    let mut compared = Schedule::COMPARED.to_vec();
    if !compared.contains(&args.schedule) {
        compared.push(args.schedule.clone());
    }
    let mut lines = Vec::new();
    let sequential = profile.in_turn(memory).as_secs_f64();
    let prefetch = profile.period(memory, false, 1).as_secs_f64();
    let ratio = |of: f64, to: f64| if to > 0.0 { of / to } else { 1.0 };
    for schedule in compared {
        let record = record(&schedule)?;
        let period = record.period().map_or(0.0, |period| period.as_secs_f64());
        lines.push(Line {
            period,
            expected_period: schedule.period(&profile, memory).map(|p| p.as_secs_f64()),
            k: record.ledger.last().map_or(1, |line| line.k),
            speedup_over_sequential: ratio(sequential, period),
            speedup_over_prefetch: ratio(prefetch, period),
            train_idle: 1.0 - ratio(profile.of(Stage::Train).as_secs_f64(), period),
            schedule,
        });
    }
    let recurrences_k = (memory == Residency::Host)
        .then(|| {
            delayed_fetch(
                &profile,
                args.profile.queue_depth(),
                args.iterations as usize,
            )
        })
        .and_then(|iterations| Some(iterations.last()?.k));
    let simulation = Simulation {
        stages: profile,
        memory,
        iterations: args.iterations,
        schedules: lines,
        recurrences_k,
    };
    if args.gantt.is_some() || args.trace.is_some() {
        draw(args, &record(&args.schedule)?)?;
    }
    if args.json {
        return Ok(console::json(&simulation)?);
    }
    Ok(console::product(text(args, &simulation))?)
}

/// Refuses files that must not be written, before any is.
fn check_targets(args: &SimulateArgs) -> anyhow::Result<()> {
    let read = args.profile.file();
    for path in [&args.gantt, &args.trace].into_iter().flatten() {
        whole_file::check(path, Existing::forced(args.force))?;
        if read
            .as_ref()
            .is_some_and(|read| whole_file::is_same(read, path))
        {
            bail!(
                "{}: is the file that --profile reads; give another name",
                path.display()
            );
        }
    }
    if let (Some(gantt), Some(trace)) = (&args.gantt, &args.trace)
        && whole_file::is_same(gantt, trace)
    {
        bail!(
            "{}: --gantt and --trace both name it; give two names",
            gantt.display()
        );
    }
    Ok(())
}

fn draw(args: &SimulateArgs, record: &Record) -> anyhow::Result<()> {
    let _unfinished = interrupt::stop().unfinished();
    let existing = Existing::forced(args.force);
    if let Some(path) = &args.gantt {
        // The last iterations are not followed by others that would fill the chart.
        const AFTER: usize = 10;
        let last = args.iterations as usize - AFTER;
        let first = last - usize::from(args.gantt_iterations);
        let chart = Timeline {
            title: format!("{}, simulated", args.schedule),
            iterations: first..last,
        };
        let chart = chart.svg(record)?;
        whole_file::write(path, existing, |file| file.write_all(chart.as_bytes()))?;
    }
    if let Some(path) = &args.trace {
        whole_file::write(path, existing, |file| record.write_chrome(file))?;
    }
    Ok(())
}

fn text(args: &SimulateArgs, simulation: &Simulation) -> String {
    let mut rows = vec![
        [
            "schedule",
            "k",
            "period",
            "× sequential",
            "× prefetch",
            "train idle",
        ]
        .map(str::to_owned),
    ];
    rows.extend(simulation.schedules.iter().map(|line| {
        [
            line.schedule.to_string(),
            line.k.to_string(),
            format!("{:.3?}", Duration::from_secs_f64(line.period)),
            format!("{:.2}", line.speedup_over_sequential),
            format!("{:.2}", line.speedup_over_prefetch),
            format!("{:.0} %", 100.0 * line.train_idle),
        ]
    }));
    let mut text = format!(
        "{}\n\n{}",
        args.profile.describe(&simulation.stages),
        table(&rows, |column| column > 0)
    );
    if let Some(k) = simulation.recurrences_k {
        text +=
            &format!("\nThe paper's recurrences, fetching memory as late as possible: k = {k}.\n");
    }
    for path in [&args.gantt, &args.trace].into_iter().flatten() {
        text += &format!("written {}\n", path.display());
    }
    text
}
