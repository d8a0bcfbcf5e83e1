//! `mspipe compare`: what one setting gives less another one, seed by seed.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use mspipe::console;
use mspipe::run_folder::Comparison;

use super::report;

const EXAMPLES: &str = "\
Examples:
  Does a cosine schedule help? Five seeds each, then the differences:
    mspipe train --data wikipedia.csv --seeds 5 --out constant
    mspipe train --data wikipedia.csv --seeds 5 --out cosine --lr-schedule cosine
    mspipe compare constant cosine

Runs with the same seed share initial weights, order and negatives, so that their difference varies
less than either. The interval is of the mean difference: percentile bootstrap over seeds, 10,000
samples, widened by the root of n / (n - 1); with fewer than five seeds it is a hint, no more. An
interval without 0 says that the difference is larger than training's own variation.
Runs whose numbers mean something else (another stream, split, protocol, candidates, batch size) are
refused; all other settings that differ are listed.";

/// Arguments of `mspipe compare`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// Folder of a finished run, or of several (train --seeds)
    #[arg(value_hint = ValueHint::DirPath)]
    one: PathBuf,

    /// The same of another setting
    #[arg(value_hint = ValueHint::DirPath)]
    other: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Compares and prints.
pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let comparison = Comparison::read([&args.one, &args.other])?;
    if args.json {
        return Ok(console::json(&comparison)?);
    }
    Ok(console::product(report::comparison(&comparison))?)
}
