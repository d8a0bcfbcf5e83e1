//! `mspipe eval`: evaluates given weights, without training.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Arg, Args, ValueHint};
use mspipe::config::{GivenConfig, Purpose};
use mspipe::eval::EQUAL_SCORES;
use mspipe::session::Measured;
use mspipe::session::scores::ScoresTo;
use mspipe::{console, interrupt, session};
use mspipe_datasets::whole_file::Existing;

use super::bar::Bar;
use super::predict::table_format;
use super::report;

const FEW: &str = "\
Examples:
  The weights of a run, on its own stream and with its own settings:
    mspipe eval runs/wikipedia-tgn-1
  With a batch's earlier events visible, whatever the run was trained with:
    mspipe eval runs/wikipedia-tgn-1 --hide-batch off
  TGL's checkpoint as TGL measures it:
    mspipe eval --init models/wiki_tgn.pkl --data wikipedia.csv --protocol tgl

These are what a person needs first; 'mspipe eval --help' has all options and more examples.";

const EXAMPLES: &str = "\
Examples:
  The weights of a run, on its own stream and with its own settings:
    mspipe eval runs/wikipedia-tgn-1
  The same on the CPU:
    mspipe eval runs/wikipedia-tgn-1 --device cpu
  Weights from a file (the settings are given as for train; random features need the seed
  that they were trained with):
    mspipe eval --init tgn.safetensors --data wikipedia.csv --edge-features random:172
  With a batch's earlier events visible, whatever the run was trained with:
    mspipe eval runs/wikipedia-tgn-1 --hide-batch off
  Every score that the numbers are made of:
    mspipe eval runs/wikipedia-tgn-1 --scores scores.parquet
  TGL's checkpoint as TGL measures it:
    mspipe eval --init models/wiki_tgn.pkl --data wikipedia.csv --protocol tgl

The weights do not change. The memory is built by replaying the training part; validation and \
test follow with that memory, the test with both pools of negatives. A training run builds its \
memory while the weights still change, so the numbers that it prints differ slightly.";

/// An option with what `-h` shows of the settings of a run that this command takes.
fn first(option: Arg) -> Arg {
    match option.get_id().as_str() {
        "epochs" | "batch_size" | "learning_rate" | "schedule" | "out" => {
            option.hide_short_help(true)
        }
        "init" | "hide_batch" => option.hide_short_help(false),
        _ => option,
    }
}

/// Arguments of `mspipe eval`.
#[derive(Debug, Args)]
#[command(after_help = FEW, after_long_help = EXAMPLES, mut_args(first))]
pub(crate) struct EvalArgs {
    /// Folder of a run: its weights and its settings, which options change
    #[arg(value_hint = ValueHint::DirPath)]
    run: Option<PathBuf>,

    #[command(flatten)]
    settings: GivenConfig,

    /// Measure the test part alone; the validation part only builds the memory
    #[arg(long)]
    test_only: bool,

    /// Write every score to this table, .csv or .parquet: of each event, of its negative from each pool,
    /// and of the candidates where the protocol ranks
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,

    /// Replace the table of --scores if it exists
    #[arg(long, requires = "scores")]
    force: bool,

    /// Print the numbers as JSON
    #[arg(long)]
    json: bool,
}

/// Where the scores go.
fn scores_to(path: &Path, force: bool) -> anyhow::Result<ScoresTo> {
    let existing = Existing::forced(force);
    Ok(ScoresTo {
        path: path.to_owned(),
        format: table_format("--scores", path, existing)?,
        existing,
    })
}

/// Evaluates and prints.
pub(crate) fn run(args: EvalArgs) -> anyhow::Result<()> {
    let settings = args.settings.read()?;
    let settings = match (args.run, settings.init()) {
        (Some(run), None) if !run.is_file() => settings.with_init(&run),
        (Some(run), None) => bail!(
            "{}: is not a run folder; give a weights file with --init FILE, and its settings",
            run.display()
        ),
        (Some(_), Some(_)) => bail!("both a run and --init are given; give one of them"),
        (None, Some(_)) => settings,
        (None, None) => bail!("no weights are given; give the folder of a run, or --init FILE"),
    };
    let json = args.json;
    let measured = match args.test_only {
        true => Measured::Test,
        false => Measured::ValidationAndTest,
    };
    let scores = args
        .scores
        .as_deref()
        .map(|path| scores_to(path, args.force));
    let scores = scores.transpose()?;
    let mut bar = Bar::new(0);
    bar.spinner(String::new());
    let mut head = String::new();
    let summary = session::evaluate(
        settings.resolve(Purpose::Eval)?,
        measured,
        scores.as_ref(),
        &interrupt::stop(),
        |session, device| {
            head = report::head(session, device);
            |part: &str| bar.message(format!("going over the {part} part"))
        },
    )?;
    bar.clear();
    if json {
        report::say_notes(&summary.setting.notes);
        return Ok(console::json(&summary)?);
    }
    let mut text = format!("{head}\n");
    if let Some(val) = &summary.val {
        text.push_str(&format!(
            "val       {}, negatives from {}\n  new     {}\n",
            report::metrics(val),
            val.negatives,
            report::inductive(val)
        ));
    }
    text.push_str(&report::test(
        &summary.test,
        &summary.edgebank,
        &summary.counts,
        "",
    ));
    text.push('\n');
    text.push_str(
        "memory    built by replaying the training part with these weights; the numbers of a training run, \
         whose weights still changed, differ slightly\n",
    );
    if summary.val.as_ref().is_some_and(|val| val.equal_scores)
        || summary.test.own_pool.equal_scores
    {
        text.push_str(&format!("warning: {EQUAL_SCORES}\n"));
    }
    if summary.setting.data.synthetic {
        text.push_str(report::SYNTHETIC);
        text.push('\n');
    }
    Ok(console::product(&text)?)
}
