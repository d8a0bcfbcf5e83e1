//! The command line: subcommands, and what people see of them.

mod audit;
mod bar;
mod compare;
mod config;
mod data;
mod devices;
mod embed;
mod eval;
mod export;
mod predict;
mod report;
mod runs;
mod schedule;
mod score;
#[cfg(feature = "serve")]
mod serve;
mod shell;
mod sweep;
mod table;
mod top_k;
mod train;
mod update;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::{CommandFactory, Parser, Subcommand};
use mspipe::{console, device, interrupt};
use serde_json::Value;

const EXAMPLES: &str = "\
Examples:
  mspipe train --data synthetic:wikipedia:scale=0.1 --epochs 3
  mspipe train --data wikipedia.csv --device cpu --edge-features zero
  mspipe audit --data wikipedia.csv --model tgn
  mspipe top-k runs/wikipedia-tgn-1 --sources 1,2,3 --k 10
  mspipe export runs/wikipedia-tgn-1 --to tgn.safetensors
  mspipe devices
  mspipe data info wikipedia.csv

RUST_LOG=info shows the log messages of the underlying libraries.";

/// Trains memory-based temporal graph neural networks on any GPU, and on the CPU.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model on an event stream
    Train(train::TrainArgs),
    /// Train with several settings and choose the best on validation
    Sweep(sweep::SweepArgs),
    /// Evaluate given weights on an event stream, without training
    Eval(eval::EvalArgs),
    /// Score pairs by what a run has learnt
    Score(score::ScoreArgs),
    /// Rank all destinations for some sources
    TopK(top_k::TopKArgs),
    /// Write embeddings of nodes
    Embed(embed::EmbedArgs),
    /// Have the memory of a run follow new events, without training
    Update(update::UpdateArgs),
    /// Answer over HTTP while events come in
    #[cfg(feature = "serve")]
    Serve(serve::ServeArgs),
    /// List runs: how far they are, what they are worth, which settings differ
    Runs(runs::RunsArgs),
    /// Write the page of a run again, or of several runs side by side
    Report(runs::ReportArgs),
    /// Compare the tests of two settings, seed by seed
    Compare(compare::CompareArgs),
    /// Check that no score depends on what it must not see
    Audit(audit::AuditArgs),
    /// Import, describe, check and fetch event streams
    Data(data::DataArgs),
    /// Write the weights of a run, or a state that needs no stream, as safetensors
    Export(export::ExportArgs),
    /// Print settings as a file: all with their defaults, or those that a run would have
    Config(config::ConfigArgs),
    /// Simulate and measure the pipeline's schedules
    Schedule(schedule::ScheduleArgs),
    /// List the adapters of this machine
    Devices(devices::DevicesArgs),
    /// Print what a shell needs to complete command lines
    Completions(shell::CompletionsArgs),
    /// Print or write the manual pages
    Man(shell::ManArgs),
}

/// All of the program for a command line that begins with the program's name: parse, run, print the
/// error chain, exit code.
pub fn program(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    interrupt::run_with(words, 1, run)
}

/// What `devices` and `schedule simulate` print with `--json`, for those who call them from another
/// program; `words` is the command line without the program's name.
///
/// # Errors
/// What the command refuses; another command.
pub fn answer(words: &[String]) -> anyhow::Result<Value> {
    let words = ["mspipe".to_owned()].into_iter().chain(words.to_vec());
    // Without the usage of a command line, which nobody has typed.
    let refused = |error: clap::Error| {
        let text = error.to_string();
        let said = text.split("\n\nUsage:").next().unwrap_or_default();
        let said = said.split("\n\nFor more").next().unwrap_or_default();
        anyhow!("{}", said.trim_start_matches("error: ").trim_end())
    };
    let found = match Cli::try_parse_from(words).map_err(refused)?.command {
        Command::Devices(_) => serde_json::to_value(devices::list()?)?,
        Command::Schedule(args) => match schedule::simulated(&args)? {
            Some(simulation) => serde_json::to_value(simulation)?,
            None => bail!("expected devices or schedule simulate"),
        },
        _ => bail!("expected devices or schedule simulate"),
    };
    Ok(found)
}

/// Runs a parsed command.
fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // Warnings of the GPU runtime are failed launches: never hide them.
    device::heed_log(console::Stderr::default);
    match cli.command {
        Command::Train(args) => train::run(args),
        Command::Sweep(args) => sweep::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Eval(args) => eval::run(args).map(|()| ExitCode::SUCCESS),
        Command::Score(args) => score::run(&args).map(|()| ExitCode::SUCCESS),
        Command::TopK(args) => top_k::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Embed(args) => embed::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Update(args) => update::run(&args).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Runs(args) => runs::list(&args).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => runs::page(&args).map(|()| ExitCode::SUCCESS),
        Command::Compare(args) => compare::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Audit(args) => audit::run(args),
        Command::Data(args) => data::run(args).map(|()| ExitCode::SUCCESS),
        Command::Export(args) => export::run(args).map(|()| ExitCode::SUCCESS),
        Command::Config(args) => config::run(args).map(|()| ExitCode::SUCCESS),
        Command::Completions(args) => {
            shell::completions(&args, Cli::command()).map(|()| ExitCode::SUCCESS)
        }
        Command::Man(args) => shell::man(&args, Cli::command()).map(|()| ExitCode::SUCCESS),
        Command::Schedule(args) => schedule::run(args).map(|()| ExitCode::SUCCESS),
        Command::Devices(args) => devices::run(args).map(|()| ExitCode::SUCCESS),
    }
}
