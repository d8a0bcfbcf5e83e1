//! `mspipe update`: memory follows new events, without training.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use indicatif::HumanCount;
use mspipe::session::predict::{Late, MaxJump};
use mspipe::{console, interrupt};
use mspipe_datasets::whole_file::{self, Existing};
use mspipe_datasets::{EventLog, OpenOptions};
use serde::Serialize;

use super::predict::{Asked, Columns, STANDARD};
use super::report::say_notes;

const EXAMPLES: &str = "\
Examples:
  Yesterday's events; the run itself stays as it is:
    mspipe update runs/shop-tgn-1 --events 2024-05-01.csv --to shop.safetensors
  And today's, into the same state:
    mspipe update shop.safetensors --events 2024-05-02.csv --to shop.safetensors --force
  Then ask it:
    mspipe top-k shop.safetensors --sources alice --k 10

The file is read as 'mspipe train --data' reads one, with the columns and the ids of the run's
stream; features are taken by their names, in any order. Nodes that were never seen become new ones.
The weights do not change. Memory follows in batches of as many events as in training, so that what
comes out is what an evaluation over the same events in the same batches has in memory.";

/// Arguments of `mspipe update`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    asked: Asked,

    /// The new events: a file in any format that --data reads, - for standard input
    #[arg(long, value_name = "FILE|-")]
    events: PathBuf,

    #[command(flatten)]
    columns: Columns,

    /// What becomes of events that are earlier than the last one
    #[arg(long, value_enum, default_value = "refuse")]
    late: LateName,

    /// How far an event may be ahead of the one before it, in the stream's unit; a file with one that is
    /// further is refused. stream: as far as the stream is long that the run was made on; off: any
    #[arg(long, value_name = "TIME|stream|off", default_value = "stream")]
    max_jump: String,

    /// Sort the file's events by time if they are not sorted
    #[arg(long)]
    sort: bool,

    /// File of the state to write; its name ends with .safetensors
    #[arg(long, value_name = "STATE")]
    to: PathBuf,

    /// Replace STATE if it exists
    #[arg(long)]
    force: bool,

    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum LateName {
    /// They are left out, and counted
    Refuse,
    /// They are taken as events of the last one's time, and counted
    Accept,
}

impl From<LateName> for Late {
    fn from(name: LateName) -> Late {
        match name {
            LateName::Refuse => Late::Refuse,
            LateName::Accept => Late::Accept,
        }
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Updated {
    to: PathBuf,
    /// Events followed.
    events: usize,
    late_accepted: usize,
    late_refused: usize,
    new_nodes: usize,
    /// All so far.
    total_events: usize,
    last_time: Option<String>,
}

/// Follows and writes.
pub(crate) fn run(args: &UpdateArgs) -> anyhow::Result<()> {
    check_target(&args.to, args.force)?;
    let mut predictor = args.asked.open()?;
    // The conversion of a file that is read once is of no later use.
    let cache = tempfile::tempdir().context("the folder of temporary files can't be written")?;
    let options = OpenOptions {
        sort: args.sort,
        reading: args.columns.events(&predictor),
        cache_dir: Some(cache.path().to_owned()),
        stop: interrupt::stop(),
        ..OpenOptions::default()
    };
    let log = EventLog::open(&args.events.to_string_lossy(), &options)?;
    say_notes(log.notes());
    let shown = || match args.events == Path::new(STANDARD) {
        true => "stdin".to_owned(),
        false => args.events.display().to_string(),
    };
    if let Some(note) = predictor.feature_note(&log).with_context(shown)? {
        say_notes(&[format!("{}: {note}", shown())]);
    }
    let most = MaxJump::from(&args.max_jump[..]);
    predictor.check_ahead(&log, &most).with_context(shown)?;
    let updated = predictor
        .update_from(&log, args.late.into())
        .with_context(shown)?;
    let unfinished = interrupt::stop().unfinished();
    predictor.save(&args.to, false, Existing::forced(args.force))?;
    drop(unfinished);
    let done = Updated {
        to: args.to.clone(),
        events: updated.events,
        late_accepted: updated.moved,
        late_refused: updated.refused,
        new_nodes: updated.new_nodes,
        total_events: predictor.events(),
        last_time: predictor.last().map(|last| predictor.time_text(last)),
    };
    if args.json {
        return Ok(console::json(&done)?);
    }
    console::news(text(&done));
    Ok(())
}

fn text(done: &Updated) -> String {
    let count = |count: usize| HumanCount(count as u64);
    let events = |of: usize| match of {
        1 => "event",
        _ => "events",
    };
    format!(
        "followed  {} {}, {} of them late; {} late {} left out\nnodes     {} new\nmemory    \
         after {} {}, the last at {}\nwritten   {}",
        count(done.events),
        events(done.events),
        count(done.late_accepted),
        count(done.late_refused),
        events(done.late_refused),
        count(done.new_nodes),
        count(done.total_events),
        events(done.total_events),
        done.last_time.as_deref().unwrap_or("no time"),
        done.to.display()
    )
}

/// Refuses a target that must not be written.
pub(super) fn check_target(to: &Path, force: bool) -> anyhow::Result<()> {
    if to.extension().is_none_or(|end| end != "safetensors") {
        bail!(
            "--to {}: only safetensors are written; expected a name that ends with .safetensors",
            to.display()
        );
    }
    Ok(whole_file::check(to, Existing::forced(force))?)
}
