//! `mspipe schedule`: what each schedule gives on a stage profile, computed or measured, and what its
//! staleness does to a stream.
//!
//! Trains nothing and opens no device.

mod measure;
mod profile;
mod simulate;
mod staleness;

use clap::{Args, Subcommand};
use serde::Serialize;

/// Arguments of `mspipe schedule`.
#[derive(Debug, Args)]
pub(crate) struct ScheduleArgs {
    #[command(subcommand)]
    command: ScheduleCommand,
}

#[derive(Debug, Subcommand)]
enum ScheduleCommand {
    /// Compute period, staleness and speed-up of every schedule for given stage times
    Simulate(simulate::SimulateArgs),
    /// Count what each staleness does to a stream's memory: lost mail, stale rows; nothing is trained
    Staleness(staleness::StalenessArgs),
    /// Run the executor with sleeping stages, and compare its period with the computed one
    Measure(measure::MeasureArgs),
}

/// What `simulate` finds, if that is the command.
///
/// # Errors
/// What it refuses.
pub(super) fn simulated(args: &ScheduleArgs) -> anyhow::Result<Option<impl Serialize + use<>>> {
    match &args.command {
        ScheduleCommand::Simulate(args) => simulate::simulation(args).map(Some),
        _ => Ok(None),
    }
}

/// Runs the command.
pub(crate) fn run(args: ScheduleArgs) -> anyhow::Result<()> {
    match args.command {
        ScheduleCommand::Simulate(args) => simulate::run(&args),
        ScheduleCommand::Staleness(args) => staleness::run(args),
        ScheduleCommand::Measure(args) => measure::run(&args),
    }
}
