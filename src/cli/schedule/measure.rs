//! `mspipe schedule measure`: the executor with stages that only sleep, against the timing
//! model. What remains between the two is what the executor and the system's timers cost.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use mspipe::console;
use mspipe::device;
use mspipe::numbers::whole;
use mspipe::pipeline::Stage;
use mspipe::pipeline::clock::WallClock;
use mspipe::pipeline::executor::Executor;
use mspipe::pipeline::profile::{Profile, Residency};
use mspipe::pipeline::schedule::Schedule;
use mspipe::pipeline::step::Step;
use mspipe::pipeline::trace::Record;
use mspipe::what_if::sleeping::{Failure, Sleeper};
use serde::Serialize;

use super::super::table::table;
use super::profile::ProfileArgs;

const EXAMPLES: &str = "\
Examples:
  Training is the bottleneck:
    mspipe schedule measure --stages sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2
  Transfers are:
    mspipe schedule measure --stages sample=3,fetch_features=6,fetch_memory=6,train=8,update_memory=7
  What a thread that dies in the middle of an epoch looks like:
    mspipe schedule measure --stages … --schedule mspipe --fail fetch_memory:20:panic

Timers wake threads late, by 0.1 ms or more. `of what was slept` compares with the period predicted
of the stage times as they came out: what is left is the executor's own loss.";

/// Arguments of `mspipe schedule measure`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MeasureArgs {
    #[command(flatten)]
    profile: ProfileArgs,

    /// Iterations of each schedule; periods are of the last half
    #[arg(long, default_value_t = 120, value_parser = whole::<u32>(40..=100_000))]
    iterations: u32,

    /// Measure only this schedule
    #[arg(long)]
    schedule: Option<Schedule>,

    /// Let a stage fail in an iteration (from 0), to see how a run ends then
    #[arg(long, value_name = "STAGE:ITERATION:error|panic")]
    fail: Option<Failure>,

    /// Print JSON; times are in seconds
    #[arg(long)]
    json: bool,
}

/// Nobody waits longer for stages that only sleep.
const LONGEST_S: f64 = 3600.0;

/// One schedule's line.
#[derive(Debug, Serialize)]
struct Line {
    schedule: Schedule,
    k: usize,
    predicted_period: f64,
    measured_period: f64,
    /// Predicted ÷ measured: 1 is perfect.
    reached: f64,
    /// The same with the period predicted of the stage times as they came out: what is left
    /// is the executor's own loss.
    reached_of_slept: f64,
}

#[derive(Debug, Serialize)]
struct Measurement {
    stages: Profile,
    memory: Residency,
    schedules: Vec<Line>,
}

/// Runs the measurements.
pub(super) fn run(args: &MeasureArgs) -> anyhow::Result<()> {
    let profile = args.profile.profile()?;
    let memory = args.profile.memory();
    let schedules = match &args.schedule {
        Some(Schedule::Replay(_)) => bail!(
            "a replay has no predicted period; expected sequential, prefetch, staleness:K, mspipe, freshest, \
             freshest:K, exact-overlap or auto"
        ),
        Some(schedule) => vec![schedule.clone()],
        None => Schedule::COMPARED.to_vec(),
    };
    if let Some(failure) = args.fail
        && failure.iteration >= args.iterations as usize
    {
        bail!(
            "--fail is in iteration {}, expected one of 0 to {}; or give more --iterations",
            failure.iteration,
            args.iterations - 1
        );
    }
    let sleeps =
        profile.in_turn(memory).as_secs_f64() * f64::from(args.iterations) * schedules.len() as f64;
    if sleeps > LONGEST_S {
        bail!(
            "--iterations {} of these stages sleep for up to {:.0} hours, expected at most one hour; \
             give shorter stages, or one --schedule",
            args.iterations,
            sleeps / 3600.0
        );
    }
    let mut lines = Vec::new();
    for schedule in schedules {
        let name = schedule.to_string();
        let line = device::on_device_thread(|| measure(args, &profile, schedule));
        lines.push(line.map_err(Into::into).flatten().context(name)?);
    }
    let measurement = Measurement {
        stages: profile,
        memory,
        schedules: lines,
    };
    if args.json {
        return Ok(console::json(&measurement)?);
    }
    let mut rows = vec![
        [
            "schedule",
            "k",
            "predicted",
            "measured",
            "reached",
            "of what was slept",
        ]
        .map(str::to_owned),
    ];
    rows.extend(measurement.schedules.iter().map(|line| {
        [
            line.schedule.to_string(),
            line.k.to_string(),
            format!("{:.3} ms", line.predicted_period * 1e3),
            format!("{:.3} ms", line.measured_period * 1e3),
            format!("{:.1} %", 100.0 * line.reached),
            format!("{:.1} %", 100.0 * line.reached_of_slept),
        ]
    }));
    let what = args.profile.describe(&profile);
    Ok(console::product(format!(
        "{what}\n\n{}",
        table(&rows, |column| column > 0)
    ))?)
}

/// Measures one schedule; as in a run, on the thread that a device would belong to.
fn measure(args: &MeasureArgs, profile: &Profile, schedule: Schedule) -> anyhow::Result<Line> {
    let memory = args.profile.memory();
    let iterations = args.iterations as usize;
    let sleeper = Sleeper {
        profile: *profile,
        memory,
        failure: args.fail,
    };
    let executor = Executor {
        queue_depth: NonZeroUsize::new(args.profile.queue_depth()).unwrap_or(NonZeroUsize::MIN),
        traced: iterations,
        clock: &WallClock::start(),
        queue: None,
    };
    let record = sleeper.run(&executor, schedule.clone(), iterations)?;
    let period = |profile: &Profile| -> anyhow::Result<f64> {
        let period = schedule.period(profile, memory).context("a replay")?;
        Ok(period.as_secs_f64())
    };
    let predicted = period(profile)?;
    let slept = period(&slept(&record, profile, iterations))?;
    let measured = record.period().context("too few iterations")?.as_secs_f64();
    Ok(Line {
        k: record.ledger.last().map_or(1, |line| line.k),
        predicted_period: predicted,
        measured_period: measured,
        reached: predicted / measured,
        reached_of_slept: slept / measured,
        schedule,
    })
}

/// Mean time of each stage in the last half, as it came out: timers wake threads late.
fn slept(record: &Record, profile: &Profile, iterations: usize) -> Profile {
    if profile.queue().is_some() {
        // What threads slept on its behalf says little about a device that works beside them.
        return *profile;
    }
    let half = iterations / 2;
    let mean = |counts: &dyn Fn(Step) -> bool| -> Duration {
        let spans = record.spans.iter();
        let spans = spans.filter(|span| span.iteration >= half && counts(span.step));
        let time: Duration = spans.map(|span| span.end - span.begin).sum();
        time.div_f64((iterations - half) as f64)
    };
    let begun = mean(&|step| step == Step::Begin);
    let updater = if begun.is_zero() {
        profile.updater()
    } else {
        begun
    };
    Profile::new(
        Stage::ALL.map(|stage| mean(&|step| step.stage() == stage)),
        updater,
    )
}
