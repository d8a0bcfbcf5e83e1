//! The command line: subcommands, and what people see of them.

mod audit;
mod compare;
mod data;
mod devices;
mod embed;
mod eval;
mod export;
mod predict;
mod report;
mod schedule;
mod score;
#[cfg(feature = "serve")]
mod serve;
mod table;
mod top_k;
mod train;
mod update;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mspipe::{console, device};

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
    /// Compare the tests of two settings, seed by seed
    Compare(compare::CompareArgs),
    /// Check that no score depends on what it must not see
    Audit(audit::AuditArgs),
    /// Import, describe, check and fetch event streams
    Data(data::DataArgs),
    /// Write the weights of a run, or a state that needs no stream, as safetensors
    Export(export::ExportArgs),
    /// Simulate and measure the pipeline's schedules
    Schedule(schedule::ScheduleArgs),
    /// List the adapters of this machine
    Devices(devices::DevicesArgs),
}

/// Runs a parsed command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // Warnings of the GPU runtime are failed launches: never hide them.
    device::heed_log(console::Stderr::default);
    match cli.command {
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args).map(|()| ExitCode::SUCCESS),
        Command::Score(args) => score::run(&args).map(|()| ExitCode::SUCCESS),
        Command::TopK(args) => top_k::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Embed(args) => embed::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Update(args) => update::run(&args).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Compare(args) => compare::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Audit(args) => audit::run(args),
        Command::Data(args) => data::run(args).map(|()| ExitCode::SUCCESS),
        Command::Export(args) => export::run(args).map(|()| ExitCode::SUCCESS),
        Command::Schedule(args) => schedule::run(args).map(|()| ExitCode::SUCCESS),
        Command::Devices(args) => devices::run(args).map(|()| ExitCode::SUCCESS),
    }
}
