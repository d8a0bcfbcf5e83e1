//! `mspipe-bench`: one subcommand per check or measurement.

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use mspipe::config::RunConfig;
use mspipe::device::{self, DeviceSettings};
use mspipe::{console, interrupt};
use mspipe_bench::accept::{self, AcceptConfig};
use mspipe_bench::check::{self, CheckConfig};
use mspipe_bench::compare;
use mspipe_bench::length::{self, LengthConfig};
use mspipe_bench::matmul::MatmulReport;
use mspipe_bench::peers::{self, PeersConfig};
use mspipe_bench::recording::Recording;
use mspipe_bench::reproduce::{self, ReproduceConfig};
use mspipe_bench::schedules::{self, ScheduleGrid};
use mspipe_bench::serve::{self, ServeConfig};
use mspipe_bench::{parity, speed, startup};
use mspipe_datasets::whole_file::{self, Existing};
use serde::Serialize;

/// As in `mspipe` itself, so that the same program is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Checks and measurements of mspipe.
#[derive(Parser)]
#[command(name = "mspipe-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Replay a recorded training run of TGL and compare every number
    ///
    /// Exits with 1 when a number is outside its tolerance, with 2 when the replay itself
    /// was not possible.
    Parity(Printed<ParityArgs>),
    /// Measure f32 matrix products (19800 x 472 x 300), the unit of speed comparisons
    Matmul(Printed<DeviceSettings>),
    /// Measure training events per second, divided by the machine's GFLOP/s
    ///
    /// Takes the options of `mspipe train`. Trains at least two epochs; the first is not
    /// counted. Nothing is kept.
    #[command(after_help = SPEED_EXAMPLE, mut_arg("epochs", five))]
    Speed(Box<Printed<RunConfig>>),
    /// Measure training events per second in streams of different lengths
    ///
    /// Takes the options of `mspipe train`, but --streams in place of --data. Trains stretches
    /// of --events events at three places of each stream.
    #[command(after_help = LENGTH_EXAMPLE, mut_arg("epochs", five))]
    Length(Box<Printed<LengthConfig>>),
    /// Measure the time from the start of the program to the end of the first training iteration
    ///
    /// Takes the options of `mspipe train`. A stream that is converted for the first time, and a
    /// driver that compiles its shaders for the first time, take longer.
    #[command(after_help = STARTUP_EXAMPLES, mut_arg("epochs", five))]
    Startup(Box<Printed<RunConfig>>),
    /// Compare schedules and mitigations of staleness: speed, k, stall, test AP
    ///
    /// Trains with every schedule, place of node memory, mitigation and seed, and prints one
    /// table. Takes the options of `mspipe train`; --schedule, --memory, --mitigation, --keep,
    /// --quantile and --seeds take lists.
    /// Ended and started again, it continues after the last finished run.
    #[command(after_help = SCHEDULES_EXAMPLES, mut_arg("epochs", five))]
    Schedules(Box<SchedulesArgs>),
    /// Run the experiments of MSPipe's evaluation and write a report
    ///
    /// Trains what the recipes of `bench-harness/recipes` ask for and writes report.html (one
    /// page that needs no network), report.md and report.json. A data set whose files are not
    /// there is replaced by a generated stream, and called SYNTHETIC. Ended and started again,
    /// it continues after the last finished run.
    #[command(after_help = REPRODUCE_EXAMPLES)]
    Reproduce(ReproduceConfig),
    /// Tell whether a measurement is faster or slower than another
    ///
    /// Takes the JSON of schedules or reproduce, or folders with runs. Refuses
    /// measurements of different settings, streams or machines.
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(Printed<CompareArgs>),
    /// Train small fixed recipes and compare them with what was recorded
    ///
    /// Fails, with exit code 1, when loss curve, AP, staleness or negatives are not what they
    /// were. --record records them again, after a change that is meant to change them.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Printed<CheckConfig>),
    /// Check and measure everything on a device: does it work here, and how fast?
    ///
    /// Adapters and limits; shaders and gradients against their definitions; three models
    /// against the CPU device; kernels, speed, schedules and a profile, measured. Continues
    /// after failures, writes accept.json and accept.html (one page that needs no network) and
    /// exits with 1 where a check does not hold. Needs no data, no sources and no compiler.
    #[command(after_help = ACCEPT_EXAMPLES)]
    Accept(Printed<AcceptConfig>),
    /// Train TGN with PyG and with mspipe, in turns, and compare speed and AP
    ///
    /// Both train the same stream on the CPU with the same settings, negatives, threads and
    /// metric, one epoch each in turns. What still differs is printed below the table.
    #[command(after_help = PEERS_EXAMPLES, mut_arg("epochs", five))]
    Peers(Box<Printed<PeersConfig>>),
    /// Measure what `mspipe serve` follows and answers, and what it holds of memory
    ///
    /// Starts the program on the CPU with a run, sends events and questions over loopback, alone
    /// and together, and prints rates and latencies. Nothing is kept.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<Printed<ServeConfig>>),
}

const REPRODUCE_EXAMPLES: &str = "\
Examples:
  Minutes on two cores, no file needed; see reproduction-quick/report.html:
    mspipe-bench reproduce --quick
  One data set, everything (hours on a GPU):
    mspipe-bench reproduce --data wikipedia --out reproduction
  One experiment, fewer epochs, on the CPU:
    mspipe-bench reproduce --data wikipedia --recipe speed-up --epochs 3 --edge-features random:172 --device cpu
  A report on what is finished of a running reproduction:
    mspipe-bench reproduce --data wikipedia --out reproduction --finished";

const COMPARE_EXAMPLES: &str = "\
Examples:
  mspipe-bench compare before/report.json now/report.json
  mspipe-bench compare tables/monday tables/tuesday
  mspipe-bench compare laptop.json server.json --force";

const CHECK_EXAMPLES: &str = "\
Examples:
  mspipe-bench check
  mspipe-bench check --device software
  mspipe-bench check --device cpu --record";

const ACCEPT_EXAMPLES: &str = "\
Examples:
  The first GPU, under 10 minutes:
    mspipe-bench accept --out accept
  Another one, under 2 minutes, the report as JSON on standard output:
    mspipe-bench accept --device gpu:1 --quick --out accept --json
  Only the shaders, on a processor that emulates a GPU:
    mspipe-bench accept --device software --part checks --part parity --out accept";

const SPEED_EXAMPLE: &str = "\
Example:
  mspipe-bench speed --data wikipedia --device cpu --edge-features random:172 --epochs 4";

const LENGTH_EXAMPLE: &str = "\
Example:
  mspipe-bench length --streams synthetic:gdelt:scale=0.001,synthetic:gdelt:scale=0.1 --device cpu --epochs 3";

const STARTUP_EXAMPLES: &str = "\
Examples:
  On the CPU:
    mspipe-bench startup --data wikipedia --device cpu --edge-features random:172
  On llvmpipe with an empty shader cache (Linux):
    MESA_SHADER_CACHE_DIR=$(mktemp -d) mspipe-bench startup --data wikipedia --device software";

const SCHEDULES_EXAMPLES: &str = "\
Examples:
  A few minutes, on a generated stream:
    mspipe-bench schedules --data synthetic:wikipedia:scale=0.1 --epochs 2 --seeds 0 --out tables/small
  A real stream, all schedules, three seeds, numbers into a file:
    mspipe-bench schedules --data wikipedia --device cpu --epochs 5 --out tables/wikipedia --json schedules.json
  A schedule without and with the staleness mitigation, beside sequential:
    mspipe-bench schedules --data wikipedia --device cpu --memory device --schedule sequential,staleness:3 \\
        --mitigation none,similarity --keep 1,0.95,0.9,0.8,0.5 --quantile 0.99,0.9,0.5 --out tables/mitigation
  As on a slower bus (every row says EMULATED):
    mspipe-bench schedules --data wikipedia --memory host --emulate-link 1GB/s,20us --out tables/slow-bus

Columns: events/s is the median over epochs but the first, and over seeds; / G divides by the
GFLOP/s of a matrix product at that time; k is the most frequent staleness; stall is the share of
training time that the device thread waited for its input; train the share in that stage; test AP
the pooled one, mean ± standard deviation over seeds; speed-up is over sequential, same memory;
quantile and λ as --quantile and --keep; rows corrected is the mean of an iteration.";

const PEERS_EXAMPLES: &str = "\
Examples:
  An environment with PyG, once (Windows: pyg\\Scripts\\python):
    python3 -m venv pyg
    pyg/bin/python -m pip install torch torch_geometric
  A real stream, the same random edge features for both:
    mspipe-bench peers --python pyg/bin/python --data wikipedia --edge-features random:172 --epochs 3
  Half a minute, numbers as JSON:
    mspipe-bench peers --python pyg/bin/python --data wikipedia --limit-events 30000 --epochs 2 --json

Columns: training events/s from batch preparation to weight update, no evaluation; the median leaves
the first epoch out; ratio is mspipe's over PyG's, its median that of the epochs' ratios.";

const SERVE_EXAMPLES: &str = "\
Examples:
  A model of Wikipedia's size, three times 20 seconds:
    mspipe train --data synthetic:wikipedia --device cpu --epochs 1 --out wikipedia
    mspipe-bench serve wikipedia
  What five million events with new nodes leave in RAM:
    mspipe-bench serve wikipedia --part growth --clients 1 -- --save-every 1000000";

/// Epochs of a measurement: as many as tell a speed, not until nothing more is learnt.
fn five(epochs: clap::Arg) -> clap::Arg {
    epochs
        .help("Passes over the training events")
        .default_value("5")
        .hide_default_value(false)
}

/// A command whose report is printed, as text or as JSON.
#[derive(Args)]
struct Printed<C: Args> {
    #[command(flatten)]
    config: C,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ParityArgs {
    /// Recording (safetensors)
    file: PathBuf,
    #[command(flatten)]
    device: DeviceSettings,
}

/// Where a table goes beside the screen.
#[derive(Args)]
struct JsonFile {
    /// Write rows and all runs to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Replace the file of --json if it exists
    #[arg(long)]
    force: bool,
}

impl JsonFile {
    /// Refuses a file that must not be written, before the work for it is done.
    fn check(&self) -> Result<()> {
        match &self.json {
            Some(file) => Ok(whole_file::check(file, Existing::forced(self.force))?),
            None => Ok(()),
        }
    }
}

#[derive(Args)]
struct SchedulesArgs {
    #[command(flatten)]
    grid: ScheduleGrid,
    #[command(flatten)]
    json: JsonFile,
}

#[derive(Args)]
struct CompareArgs {
    /// Measurement to compare with
    before: PathBuf,
    /// Measurement to compare
    now: PathBuf,
    /// Compare what should not be compared, and say so
    #[arg(long)]
    force: bool,
}

fn print<T: Serialize + Display>(json: bool, report: &T) -> Result<()> {
    match json {
        true => console::json(report)?,
        false => console::product(format!("{report}\n"))?,
    }
    Ok(())
}

/// The table on standard output, everything into a file.
fn print_table<T: Serialize + Display>(report: &T, to: &JsonFile) -> Result<()> {
    // The file has it all, whether anybody reads the table or not.
    let printed = console::product(format!("{report}\n"));
    if let Some(file) = &to.json {
        let text = serde_json::to_string_pretty(report)? + "\n";
        whole_file::write(file, Existing::forced(to.force), |file| {
            file.write_all(text.as_bytes())
        })?;
    }
    Ok(printed?)
}

fn main() -> ExitCode {
    let begin = Instant::now();
    // SAFETY: no other thread runs yet.
    unsafe { device::quiet_mesa() };
    // SAFETY: as in `mspipe` itself: sets a number before any other thread runs.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    interrupt::run(2, |cli: Cli| {
        device::heed_log(console::Stderr::default);
        run(cli.command, begin)
    })
}

fn run(command: Command, begin: Instant) -> Result<ExitCode> {
    let mut passed = true;
    match command {
        Command::Parity(Printed { config, json }) => {
            let recording = Recording::read(&config.file)?;
            let report = parity::replay(&recording, config.device)?;
            passed = report.passed;
            print(json, &report)?;
        }
        Command::Matmul(Printed { config, json }) => {
            let report = device::on_device_thread(|| -> Result<MatmulReport> {
                let opened = device::open(config)?;
                MatmulReport::measure(&opened.device, &opened.adapter)
            })??;
            print(json, &report)?;
        }
        Command::Speed(args) => print(args.json, &speed::measure(args.config)?)?,
        Command::Length(args) => print(args.json, &length::measure(args.config)?)?,
        Command::Startup(args) => print(args.json, &startup::measure(args.config, begin)?)?,
        Command::Schedules(args) => {
            args.json.check()?;
            print_table(&schedules::measure(args.grid)?, &args.json)?;
        }
        Command::Reproduce(config) => console::news(reproduce::run(&config)?.page.display()),
        Command::Compare(Printed { config, json }) => {
            let CompareArgs { before, now, force } = config;
            print(json, &compare::compare(&before, &now, force)?)?;
        }
        Command::Check(Printed { config, json }) => {
            let report = check::run(&config)?;
            passed = report.passed;
            print(json, &report)?;
        }
        Command::Accept(Printed { config, json }) => match config.child() {
            Some((part, file)) => accept::run_part(part, &config.asked(part), file).map(drop)?,
            None => {
                let report = accept::run(&config)?;
                passed = report.held;
                print(json, &report).with_context(|| report.kept(&config))?;
            }
        },
        Command::Peers(args) => print(args.json, &peers::measure(args.config)?)?,
        Command::Serve(args) => print(args.json, &serve::measure(&args.config)?)?,
    }
    Ok(match passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn measurements_train_five_epochs_unless_told_otherwise() {
        let epochs = |options: &str| match Cli::parse_from(options.split(' ')).command {
            Command::Speed(args) => args.config.training.epochs,
            _ => unreachable!("speed"),
        };
        assert_eq!(epochs("mspipe-bench speed --data x"), 5);
        assert_eq!(epochs("mspipe-bench speed --data x --epochs 7"), 7);
    }
}
