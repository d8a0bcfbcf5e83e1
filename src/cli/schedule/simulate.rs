//! `mspipe schedule simulate`: every schedule on given stage times.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use mspipe::numbers::whole;
use mspipe::pipeline::Stage;
use mspipe::pipeline::profile::{Profile, Residency};
use mspipe::pipeline::schedule::Schedule;
use mspipe::pipeline::scheduler::Scheduler;
use mspipe::pipeline::trace::Record;
use mspipe::report::chart::Timeline;
use mspipe::what_if::ranks::Team;
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
  What more ranks give, each with the same batch, on a network of 10 Gbit/s:
    mspipe schedule simulate --stages … --ranks 64 --network 1.25GB/s,30us
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
    #[arg(long, default_value_t = 300, value_parser = whole::<u32>(40..=100_000))]
    iterations: u32,

    /// Schedule that --gantt and --trace draw, and that the table also has
    #[arg(long, default_value = "mspipe")]
    schedule: Schedule,

    /// Write a chart of some iterations as SVG
    #[arg(long, value_name = "FILE.svg")]
    gantt: Option<PathBuf>,

    /// Iterations in the chart, towards the end
    #[arg(long, default_value_t = 8, value_parser = whole::<u8>(1..=30))]
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

/// So many ranks, each with the same batch.
#[derive(Debug, Serialize)]
struct RanksLine {
    ranks: usize,
    /// Time to exchange gradients, in s.
    gradients: f64,
    /// Time to exchange updated rows, in s.
    rows: f64,
    /// Simulated period at k = 1, in s.
    period_in_step: f64,
    /// Events per second and rank at k = 1, over those of a rank alone.
    efficiency_in_step: f64,
    /// The smallest staleness that hides what can be hidden.
    k: usize,
    /// Simulated period with it, in s.
    period: f64,
    /// The same with it.
    efficiency: f64,
}

/// What 1, 2, 4, … ranks up to those of `team` give.
fn scaling(args: &SimulateArgs, team: Team) -> anyhow::Result<Vec<RanksLine>> {
    let (alone, memory) = (args.profile.alone()?, args.profile.memory());
    let period = |profile: &Profile, k| -> anyhow::Result<f64> {
        let mut scheduler = Scheduler::new(Schedule::Staleness(k), memory)?;
        let (depth, iterations) = (args.profile.queue_depth(), args.iterations as usize);
        let record = simulate(profile, &mut scheduler, depth, iterations)?;
        Ok(record.period().map_or(0.0, |period| period.as_secs_f64()))
    };
    let smallest = |profile: &Profile| profile.minimal_staleness(memory, false, 0.0);
    let best = [period(&alone, 1)?, period(&alone, smallest(&alone))?];
    let powers = (0..)
        .map(|power| 1 << power)
        .take_while(|&ranks| ranks < team.ranks);
    let line = |ranks| -> anyhow::Result<RanksLine> {
        let team = Team { ranks, ..team };
        let profile = team.profile(&alone);
        let k = smallest(&profile);
        let periods = [period(&profile, 1)?, period(&profile, k)?];
        let share = |nth: usize| {
            if periods[nth] > 0.0 {
                best[nth] / periods[nth]
            } else {
                1.0
            }
        };
        Ok(RanksLine {
            ranks,
            gradients: team.gradients().as_secs_f64(),
            rows: team.rows().as_secs_f64(),
            period_in_step: periods[0],
            efficiency_in_step: share(0),
            k,
            period: periods[1],
            efficiency: share(1),
        })
    };
    powers.chain([team.ranks]).map(line).collect()
}

/// The lines as a table.
fn scaling_text(lines: &[RanksLine]) -> String {
    let heads = [
        "ranks",
        "gradients",
        "rows",
        "k",
        "period",
        "efficiency",
        "k",
        "period",
        "efficiency",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    let time = |seconds| format!("{:.3?}", Duration::from_secs_f64(seconds));
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    rows.extend(lines.iter().map(|line| {
        [
            line.ranks.to_string(),
            time(line.gradients),
            time(line.rows),
            "1".to_owned(),
            time(line.period_in_step),
            percent(line.efficiency_in_step),
            line.k.to_string(),
            time(line.period),
            percent(line.efficiency),
        ]
    }));
    format!("\n{}", table(&rows, |_| true))
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Simulation {
    stages: Profile,
    memory: Residency,
    iterations: u32,
    schedules: Vec<Line>,
    /// What the paper's recurrences with delayed fetches settle at, memory being on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    recurrences_k: Option<usize>,
    /// What more ranks give.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranks: Vec<RanksLine>,
}

/// The iterations under one schedule.
fn record(args: &SimulateArgs, profile: &Profile, schedule: &Schedule) -> anyhow::Result<Record> {
    let mut scheduler = Scheduler::new(schedule.clone(), args.profile.memory())?;
    let (depth, iterations) = (args.profile.queue_depth(), args.iterations as usize);
    Ok(simulate(profile, &mut scheduler, depth, iterations)?)
}

/// Simulates every schedule.
pub(super) fn simulation(args: &SimulateArgs) -> anyhow::Result<Simulation> {
    let profile = args.profile.profile()?;
    let memory = args.profile.memory();
    let mut compared = Schedule::COMPARED.to_vec();
    if args.profile.team().is_some() {
        // Ranks can't train with them.
        compared.retain(|schedule| !matches!(schedule, Schedule::Freshest(_) | Schedule::Auto));
    }
    if !compared.contains(&args.schedule) {
        compared.push(args.schedule.clone());
    }
    let mut lines = Vec::new();
    let sequential = profile.in_turn(memory).as_secs_f64();
    let prefetch = profile.period(memory, false, 1).as_secs_f64();
    let ratio = |of: f64, to: f64| if to > 0.0 { of / to } else { 1.0 };
    for schedule in compared {
        let record = record(args, &profile, &schedule)?;
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
    Ok(Simulation {
        stages: profile,
        memory,
        iterations: args.iterations,
        schedules: lines,
        recurrences_k,
        ranks: match args.profile.team() {
            Some(team) => scaling(args, team)?,
            None => Vec::new(),
        },
    })
}

/// Simulates and prints.
pub(super) fn run(args: &SimulateArgs) -> anyhow::Result<()> {
    check_targets(args)?;
    let simulation = simulation(args)?;
    if args.gantt.is_some() || args.trace.is_some() {
        draw(args, &record(args, &simulation.stages, &args.schedule)?)?;
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
    if !simulation.ranks.is_empty() {
        text += &scaling_text(&simulation.ranks);
    }
    for path in [&args.gantt, &args.trace].into_iter().flatten() {
        text += &format!("written {}\n", path.display());
    }
    text
}
