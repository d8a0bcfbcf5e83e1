//! `mspipe audit`: changes the stream where a score must not see it, and compares bits.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Arg, Args, ValueHint};
use mspipe::audit::Check;
use mspipe::config::{GivenConfig, MitigationName, Purpose, name_of};
use mspipe::numbers::whole;
use mspipe::session::audited;
use mspipe::{console, interrupt};

use super::bar::Bar;
use super::report;

const EXAMPLES: &str = "\
Examples:
  A model on the head of a stream, with initial weights:
    mspipe audit --data wikipedia.csv --model tgn
  The settings and weights of a run:
    mspipe audit runs/wikipedia-tgn-1
  More of the stream, changed around more events:
    mspipe audit --data wikipedia.csv --model apan --limit-events 10000 --probes 20";

const FIRST: &str = "\
These are what a person needs first; 'mspipe audit --help' has all options and more examples.";

const MORE: &str = "  \
  Another protocol and another sampler; for a script:
    mspipe audit --data wikipedia.csv --protocol tgb --sampler uniform --json

The first 2,000 events (or --limit-events) are replayed in batches of at most 100, each time with a \
part of the stream changed that scores must not depend on. Scores are compared bit by bit. \
docs/audit.md lists what is checked, and what can't be.

The exit code is 0 if no rule is violated and 1 if there is a finding.";

/// Said beside findings with the one setting that has them by definition.
const KNOWS_TRAINING: &str = "\
--mitigation similarity-released uses the whole training part by definition (similar nodes are
computed from it in advance); see docs/audit.md
";

/// An option with what `-h` shows of the settings of a run that this command takes.
fn first(option: Arg) -> Arg {
    match option.get_id().as_str() {
        "epochs" | "batch_size" | "learning_rate" | "schedule" | "out" => {
            option.hide_short_help(true)
        }
        "init" | "limit_events" => option.hide_short_help(false),
        _ => option,
    }
}

/// Arguments of `mspipe audit`.
#[derive(Debug, Args)]
#[command(
    after_help = format!("{EXAMPLES}\n\n{FIRST}"),
    after_long_help = format!("{EXAMPLES}\n{MORE}"),
    mut_args(first)
)]
pub(crate) struct AuditArgs {
    /// Folder of a run: its weights and its settings, which options change
    #[arg(value_hint = ValueHint::DirPath)]
    run: Option<PathBuf>,

    #[command(flatten)]
    settings: GivenConfig,

    /// Events that the stream is changed around
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = whole::<u16>(1..=10_000))]
    probes: u16,

    /// Print the checks and findings as JSON
    #[arg(long)]
    json: bool,
}

/// Audits and prints.
pub(crate) fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let settings = args.settings.read()?;
    let settings = match args.run {
        Some(_) if settings.init().is_some() => {
            bail!("both a run and --init are given; give one of them")
        }
        Some(run) => settings.with_init(&run),
        None => settings,
    };
    let mut bar = Bar::new(0);
    bar.spinner(String::new());
    let mut head = String::new();
    let config = settings.resolve(Purpose::Audit)?;
    let (schedule, mitigation) = (config.pipeline.schedule.clone(), config.pipeline.mitigation);
    let audited = audited::audit(
        config,
        args.probes.into(),
        &interrupt::stop(),
        |session, device| {
            head = report::head(session, device);
            |check: Check| bar.message(format!("{check}: {}", check.rule()))
        },
    );
    bar.clear();
    let summary = audited?;
    let code = ExitCode::from(u8::from(!summary.passed));
    if args.json {
        report::say_notes(&summary.setting.notes);
        console::json(&summary)?;
        return Ok(code);
    }
    let (setting, report) = (&summary.setting, &summary.report);
    let mut text = format!(
        "{head}\nmodel     {}, batches of {} events, changed around {} events; schedule {schedule}, mitigation {}\n\n{report}\n",
        setting.model,
        setting.batch_size,
        summary.probes,
        name_of(&mitigation)
    );
    text.push_str(&match report.failed().len() {
        0 => "no finding\n".to_owned(),
        failed => format!("{failed} of {} checks have findings\n", report.checks.len()),
    });
    if mitigation == MitigationName::SimilarityReleased && !summary.passed {
        text.push_str(KNOWS_TRAINING);
    }
    console::product(&text)?;
    Ok(code)
}
