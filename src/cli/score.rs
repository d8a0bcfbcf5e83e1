//! `mspipe score`: what a run says of pairs.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use mspipe::console;
use mspipe::session::predict::{Pair, Predictor, Score};
use mspipe_datasets::asked::{self, Cells, ColumnKind};
use serde::Serialize;

use super::predict::{Asked, Columns, Output, counted, note_ahead, note_header, when};

const EXAMPLES: &str = "\
Examples:
  Pairs of a file, at the times of its rows:
    mspipe score runs/wikipedia-tgn-1 --pairs pairs.csv --out scores.csv
  Pairs without times, all at one:
    mspipe score runs/wikipedia-tgn-1 --pairs pairs.csv --at 2678400
  From another program, and on to the next:
    printf 'src,dst\\nalice,p1\\n' | mspipe score runs/shop-tgn-1 --pairs - | sort -t, -k4

The table has columns for source and destination (as in the run's stream; src, dst; user_id,
item_id; …) and may have one for the time; ids are those of the run's stream. Out come the same
rows in the same order:
  logit  the model's own number: the larger, the likelier the pair
  score  its sigmoid, from 0 to 1: how surely the model tells the pair from a pair with a random
         destination. It is NOT the probability that the two interact: that depends on how many
         others could, and on how long one waits.
  known  which of the two have had an event: both, src, dst or none; of others the model knows
         nothing.
Asking changes nothing. No row depends on another.";

/// Arguments of `mspipe score`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    asked: Asked,

    /// The pairs: csv (packed or not) or Parquet; - for standard input
    #[arg(long, value_name = "FILE|-")]
    pairs: PathBuf,

    #[command(flatten)]
    columns: Columns,

    /// Time of pairs without one, in the stream's unit or as a date; not before the last event that
    /// memory has followed [default: just after it]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,

    /// Where to: a .csv or .parquet file; - for csv on standard output
    #[arg(long, value_name = "FILE|-", default_value = "-")]
    out: PathBuf,

    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,

    /// Print what was done as JSON; needs --out FILE
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Scored {
    pairs: usize,
    known: usize,
    events: usize,
    out: PathBuf,
}

/// Scores and writes.
pub(crate) fn run(args: &ScoreArgs) -> anyhow::Result<()> {
    let out = Output::checked("--out", &args.out, args.force)?;
    if args.json && out.is_standard() {
        bail!("--json: the scores themselves go to standard output; give --out FILE");
    }
    let predictor = args.asked.open()?;
    let at = when(&predictor, args.at.as_deref())?;
    let rows = args.columns.asked(&predictor).pairs(&args.pairs)?;
    note_header(&predictor, &rows);
    if let (Some(at), Some(_)) = (&args.at, &rows.time) {
        bail!(
            "--at {at}: {} has times of its own; leave --at out, or the column (--columns src=…,dst=… \
             names the others)",
            rows.path.display()
        );
    }
    let times = match &rows.time {
        Some(times) => times.clone(),
        None => vec![at; rows.src.len()],
    };
    if let Some(latest) = rows
        .time
        .as_ref()
        .and_then(|_| (0..times.len()).max_by_key(|&row| times[row]))
    {
        note_ahead(&predictor, &rows.place(latest), times[latest]);
    }
    let scores = scores(&predictor, &rows, &times)?;
    let known: Vec<&'static str> = scores.iter().map(|score| known(*score)).collect();
    let logit: Vec<f32> = scores.iter().map(|score| score.logit).collect();
    let score: Vec<f32> = scores.iter().map(|score| score.score).collect();
    let text = predictor.ids_are_text();
    let ticks_per_unit = predictor.ticks_per_unit();
    let columns = [
        ("src", ColumnKind::Keys { text }),
        ("dst", ColumnKind::Keys { text }),
        ("time", ColumnKind::Times { ticks_per_unit }),
        ("logit", ColumnKind::Floats),
        ("score", ColumnKind::Floats),
        ("known", ColumnKind::Words),
    ];
    let cells = [
        Cells::Keys(&rows.src),
        Cells::Keys(&rows.dst),
        Cells::Times(&times),
        Cells::Floats(&logit),
        Cells::Floats(&score),
        Cells::Words(&known),
    ];
    out.write(
        columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec(),
        &cells,
    )?;
    let done = Scored {
        pairs: scores.len(),
        known: known.iter().filter(|known| **known == "both").count(),
        events: predictor.events(),
        out: out.path().to_owned(),
    };
    if args.json {
        return Ok(console::json(&done)?);
    }
    console::note(format!(
        "{} scored after {}; both nodes are known of {}",
        counted(done.pairs, "pair"),
        counted(done.events, "event"),
        done.known
    ));
    Ok(())
}

/// The scores of all rows; a row that can't be asked for is named.
fn scores(predictor: &Predictor, rows: &asked::Asked, times: &[i64]) -> anyhow::Result<Vec<Score>> {
    let pairs: Vec<Pair> = (rows.src.iter().zip(&rows.dst).zip(times))
        .map(|((src, dst), &time)| Pair {
            src: src.clone(),
            dst: dst.clone(),
            time,
        })
        .collect();
    if let Some(row) = times.iter().position(|&time| !predictor.can_ask_at(time)) {
        // The same error for the row alone, with its line.
        let error = predictor.score(&pairs[row..=row]);
        let reason = error.err().map_or(String::new(), |error| error.to_string());
        bail!(
            "{}: {}",
            rows.place(row),
            reason.trim_start_matches("pair 0: ")
        );
    }
    Ok(predictor.score(&pairs)?)
}

/// Which of the two have had an event.
fn known(score: Score) -> &'static str {
    match score.known {
        [true, true] => "both",
        [true, false] => "src",
        [false, true] => "dst",
        [false, false] => "none",
    }
}
