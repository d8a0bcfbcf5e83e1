//! `mspipe top-k`: the destinations that suit sources best.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use mspipe::console;
use mspipe::numbers::whole;
use mspipe::session::predict::{Predictor, Ranked, Side};
use mspipe_datasets::NodeKey;
use mspipe_datasets::asked::{self, Cells, ColumnKind, End};
use serde::Serialize;

use super::predict::{Asked, NamedColumns, Output, STANDARD, note_header, when};

const EXAMPLES: &str = "\
Examples:
  The ten best destinations for one source, just after the last event:
    mspipe top-k runs/shop-tgn-1 --sources alice --k 10
  For the sources of a file (its column of sources, or the only one), without whom each has met:
    mspipe top-k runs/wikipedia-tgn-1 --sources users.csv --at 2678400 --k 20 --exclude-seen --out best.parquet

All destinations of the stream so far are scored for each source; of equal scores the one that was
seen first comes first. 'mspipe score --help' says what logit and score are. Asking changes nothing.";

/// Arguments of `mspipe top-k`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TopKArgs {
    #[command(flatten)]
    asked: Asked,

    /// The sources: a file with one in each line (csv, Parquet), - for standard input, or ids with
    /// commas between them
    #[arg(long, value_name = "FILE|a,b,c", allow_hyphen_values = true)]
    sources: String,

    #[command(flatten)]
    columns: NamedColumns,

    /// When, in the stream's unit or as a date; not before the last event that memory has followed
    /// [default: just after it]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,

    /// Destinations of each source
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = whole::<usize>(0..=u64::MAX))]
    k: usize,

    /// Leave out destinations that the source has had an event with
    #[arg(long)]
    exclude_seen: bool,

    /// Where to: a .csv or .parquet file; - for csv on standard output
    #[arg(long, value_name = "FILE|-", default_value = "-")]
    out: PathBuf,

    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,

    /// Print the answers as JSON
    #[arg(long, conflicts_with = "out")]
    json: bool,
}

/// What `--json` prints of each source.
#[derive(Debug, Serialize)]
struct Best {
    src: String,
    known: bool,
    best: Vec<BestOne>,
}

#[derive(Debug, Serialize)]
struct BestOne {
    dst: String,
    logit: f32,
    score: f32,
}

/// Ranks and writes.
pub(crate) fn run(args: &TopKArgs) -> anyhow::Result<()> {
    let out = Output::checked("--out", &args.out, args.force)?;
    let predictor = args.asked.open()?;
    let at = when(&predictor, args.at.as_deref())?;
    let sources = sources(&predictor, args)?;
    let mut ranked: Vec<(bool, Vec<Ranked>)> = Vec::with_capacity(sources.len());
    for source in &sources {
        let best = predictor.top_k(source, at, args.k, args.exclude_seen)?;
        ranked.push((predictor.knows(source, Side::Source)?, best));
    }
    if args.json {
        let best = sources
            .iter()
            .zip(ranked)
            .map(|(source, (known, best))| Best {
                src: source.to_string(),
                known,
                best: best
                    .into_iter()
                    .map(|one| BestOne {
                        dst: one.node.to_string(),
                        logit: one.logit,
                        score: one.score,
                    })
                    .collect(),
            });
        return Ok(console::json(&best.collect::<Vec<_>>())?);
    }
    write(&predictor, &out, &sources, &ranked)?;
    let unknown = ranked.iter().filter(|(known, _)| !known).count();
    if unknown > 0 {
        let what = "what is best for anybody";
        console::note(match (unknown, sources.len()) {
            (1, 1) => format!("the source has had no event: what is best for it is {what}"),
            (1, all) => {
                format!("1 of {all} sources has had no event: what is best for it is {what}")
            }
            (_, all) => format!(
                "{unknown} of {all} sources have had no event: what is best for them is {what}"
            ),
        });
    }
    Ok(())
}

fn write(
    predictor: &Predictor,
    out: &Output,
    sources: &[NodeKey],
    ranked: &[(bool, Vec<Ranked>)],
) -> anyhow::Result<()> {
    let (mut src, mut dst, mut rank) = (Vec::new(), Vec::new(), Vec::new());
    let (mut logit, mut score) = (Vec::new(), Vec::new());
    for (source, (_, best)) in sources.iter().zip(ranked) {
        for (place, one) in (1..).zip(best) {
            src.push(source.clone());
            rank.push(place);
            dst.push(one.node.clone());
            logit.push(one.logit);
            score.push(one.score);
        }
    }
    let text = predictor.ids_are_text();
    let columns = [
        ("src", ColumnKind::Keys { text }),
        ("rank", ColumnKind::Counts),
        ("dst", ColumnKind::Keys { text }),
        ("logit", ColumnKind::Floats),
        ("score", ColumnKind::Floats),
    ];
    out.write(
        columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec(),
        &[
            Cells::Keys(&src),
            Cells::Counts(&rank),
            Cells::Keys(&dst),
            Cells::Floats(&logit),
            Cells::Floats(&score),
        ],
    )
}

/// The sources: those of a file, or ids with commas between them.
fn sources(predictor: &Predictor, args: &TopKArgs) -> anyhow::Result<Vec<NodeKey>> {
    let given = &args.sources;
    let path = Path::new(given);
    if given == STANDARD || path.exists() && !path.is_dir() {
        let rows = args
            .columns
            .asked(predictor)
            .nodes(path, Some(End::Source))?;
        note_header(predictor, &rows);
        let ends = rows.ends.as_deref().unwrap_or_default();
        if let Some(row) = ends.iter().position(|end| *end == End::Destination) {
            bail!(
                "{}: side is destination; expected sources, for which destinations are ranked",
                rows.place(row)
            );
        }
        return Ok(rows.src);
    }
    let ids = given.split(',').map(str::trim).filter(|id| !id.is_empty());
    let mut keys = Vec::new();
    for id in ids {
        let Some(key) = asked::key(id, predictor.ids_are_text()) else {
            bail!(
                "--sources {given}: there is no such file, and the id {id:?} is no whole number, as all ids of \
                 the run's stream are"
            );
        };
        if is_like_a_file(id) && !predictor.knows(&key, Side::Source)? {
            bail!(
                "--sources {id}: there is no such file, and no source is called so; the id of one that has had no \
                 event can come from a file, or from standard input (-)"
            );
        }
        keys.push(key);
    }
    match keys.is_empty() {
        true => bail!("--sources: no node is named"),
        false => Ok(keys),
    }
}

/// Whether somebody who writes this may mean a file, or another option.
fn is_like_a_file(id: &str) -> bool {
    const ENDS: [&str; 12] = [
        "csv", "tsv", "txt", "parquet", "pq", "npy", "json", "gz", "bz2", "xz", "zst", "zip",
    ];
    let path = Path::new(id);
    let end = path
        .extension()
        .and_then(|end| end.to_str())
        .unwrap_or_default();
    let is_end = ENDS.iter().any(|known| end.eq_ignore_ascii_case(known));
    is_end || id.contains(std::path::is_separator) || id.starts_with("--") || path.is_dir()
}
