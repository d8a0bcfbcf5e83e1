//! `mspipe schedule`: what each schedule gives on a stage profile, computed or measured.
//!
//! Trains nothing and opens no device.

mod measure;
mod profile;
mod simulate;

use clap::{Args, Subcommand};

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
    /// Run the executor with sleeping stages, and compare its period with the computed one
    Measure(measure::MeasureArgs),
}

/// Runs the command.
pub(crate) fn run(args: ScheduleArgs) -> anyhow::Result<()> {
    match args.command {
        ScheduleCommand::Simulate(args) => simulate::run(&args),
        ScheduleCommand::Measure(args) => measure::run(&args),
    }
}

/// Lays out a table; all columns but the first stand right.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let widths = rows.iter().map(|row| row[column].chars().count());
            let width = widths.max().unwrap_or(0);
            line += &match column {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
