//! `mspipe-bench`: one subcommand a check or measurement.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use mspipe::config::RunConfig;
use mspipe::device::{self, DeviceChoice};
use mspipe_bench::matmul::MatmulReport;
use mspipe_bench::parity;
use mspipe_bench::recording::Recording;
use mspipe_bench::speed;
use serde::Serialize;

/// As in `mspipe` itself, so that the same program is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    Parity(ParityArgs),
    /// Measure f32 matrix products (19800 x 472 x 300), the unit of speed comparisons
    Matmul(MatmulArgs),
    /// Measure training events per second, divided by the machine's GFLOP/s
    ///
    /// Takes the options of `mspipe train`. Trains at least two epochs; the first is not
    /// counted. Nothing is kept.
    #[command(after_help = SPEED_EXAMPLE)]
    Speed(Box<SpeedArgs>),
}

const SPEED_EXAMPLE: &str = "\
Example:
  mspipe-bench speed --data wikipedia --device cpu --edge-features random:172 --epochs 4";

#[derive(Args)]
struct ParityArgs {
    /// Recording (safetensors)
    file: PathBuf,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct MatmulArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct SpeedArgs {
    #[command(flatten)]
    run: RunConfig,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Common {
    /// Device to use: auto, cpu, gpu, gpu:N or software
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn print<T: Serialize>(json: bool, report: &T, text: impl std::fmt::Display) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        println!("{text}");
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Parity(ParityArgs { file, common }) => {
            let report = parity::replay(&Recording::read(&file)?, common.device)?;
            print(common.json, &report, &report)?;
            Ok(if report.passed {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Matmul(MatmulArgs { common }) => {
            let report = device::on_device_thread(|| -> Result<MatmulReport> {
                let opened = device::open(common.device)?;
                MatmulReport::measure(&opened.device, &opened.adapter)
            })??;
            let [rows, inner, columns] = report.size;
            let text = format!(
                "{:.1} GFLOP/s ({rows} x {inner} x {columns}, f32, median of {}) on {}",
                report.gflops, report.runs, report.device
            );
            print(common.json, &report, text)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Speed(args) => {
            let report = speed::measure(args.run)?;
            print(args.json, &report, &report)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
