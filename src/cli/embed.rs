//! `mspipe embed`: embeddings of nodes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};
use mspipe::console;
use mspipe::session::predict::{Predictor, Side};
use mspipe_datasets::NodeKey;
use mspipe_datasets::asked::{Cells, ColumnKind, End, TableFormat};
use mspipe_datasets::whole_file::{self, Existing};
use serde::Serialize;

use super::predict::{Asked, NamedColumns, Output, STANDARD, counted, note_header, when};

const EXAMPLES: &str = "\
Examples:
  All nodes, as a table of their ids and numbers:
    mspipe embed runs/wikipedia-tgn-1 --to embeddings.parquet
  The nodes of a file, as a NumPy array whose rows are in the file's order:
    mspipe embed runs/wikipedia-tgn-1 --nodes users.csv --at 2678400 --to users.npy

An embedding is what the model knows of a node at a time, from its memory and its past. Where
sources and destinations are nodes of two kinds, a file whose column is called item, dst, … names
destinations (or --side destination), and one with a column side, as embed writes it, says it of
each node. Rows of a .npy file are in the order of the nodes given; without --nodes in that of
all.csv by 'mspipe embed RUN --to all.csv'. Asking changes nothing.";

/// Arguments of `mspipe embed`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    asked: Asked,

    /// The nodes: a file with one in each line (csv, Parquet), - for standard input [default: all]
    #[arg(long, value_name = "FILE|-")]
    nodes: Option<PathBuf>,

    #[command(flatten)]
    columns: NamedColumns,

    /// Of which kind they are, where sources and destinations are of two [default: as a column side or the
    /// column's name says, else sources]
    #[arg(long, value_enum)]
    side: Option<SideName>,

    /// When, in the stream's unit or as a date; not before the last event that memory has followed
    /// [default: just after it]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,

    /// Where to: .npy (float32, a row per node), .csv or .parquet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,

    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,

    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SideName {
    /// Sources
    Source,
    /// Destinations
    Destination,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Embedded {
    to: PathBuf,
    nodes: usize,
    /// Of these, nodes that have had no event.
    unknown: usize,
    width: usize,
}

/// Nodes of both kinds, in one order.
struct Rows {
    keys: Vec<NodeKey>,
    sides: Vec<Side>,
}

/// Embeds and writes.
pub(crate) fn run(args: &EmbedArgs) -> anyhow::Result<()> {
    let npy = args
        .to
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("npy"));
    let existing = Existing::forced(args.force);
    let out = match npy {
        true => {
            whole_file::check(&args.to, existing)?;
            None
        }
        false if args.to == Path::new(STANDARD) => bail!("--to -: give a file"),
        false if TableFormat::of(&args.to).is_none() => bail!(
            "--to {}: the extension selects the format; .npy, .csv and .parquet are known",
            args.to.display()
        ),
        false => Some(Output::checked("--to", &args.to, args.force)?),
    };
    let predictor = args.asked.open()?;
    let at = when(&predictor, args.at.as_deref())?;
    let rows = rows(args, &predictor)?;
    let values = embedded(&predictor, &rows, at)?;
    let width = predictor.width();
    match out {
        None => whole_file::write(&args.to, existing, |file| {
            file.write_all(&npy_header(rows.keys.len(), width))?;
            values
                .iter()
                .try_for_each(|value| file.write_all(&value.to_le_bytes()))
        })?,
        Some(out) => table(&predictor, &out, &rows, &values)?,
    }
    let done = Embedded {
        to: args.to.clone(),
        nodes: rows.keys.len(),
        unknown: unknown(&predictor, &rows)?,
        width,
    };
    if args.json {
        return Ok(console::json(&done)?);
    }
    console::note(format!(
        "{} of {} numbers written to {}; {} of nodes that have had no event",
        counted(done.nodes, "embedding"),
        done.width,
        done.to.display(),
        done.unknown
    ));
    if npy && args.nodes.is_none() {
        console::note(
            "rows are in the order in which embed --to all.csv writes the nodes with their ids",
        );
    }
    Ok(())
}

fn rows(args: &EmbedArgs, predictor: &Predictor) -> anyhow::Result<Rows> {
    let side = args.side.map(|side| match side {
        SideName::Source => Side::Source,
        SideName::Destination => Side::Destination,
    });
    let of_end = |end: End| match end {
        End::Source => Side::Source,
        End::Destination => Side::Destination,
    };
    if let Some(path) = &args.nodes {
        let wanted = args.side.map(|side| match side {
            SideName::Source => End::Source,
            SideName::Destination => End::Destination,
        });
        let asked = args.columns.asked(predictor).nodes(path, wanted)?;
        note_header(predictor, &asked);
        let sides = match (asked.ends, side) {
            (Some(_), Some(_)) => bail!(
                "--side: {} has a column side, which says it of each node; leave one of them out",
                asked.path.display()
            ),
            (Some(ends), None) => ends.into_iter().map(of_end).collect(),
            (None, side) => {
                let named = asked.end.map_or(Side::Source, of_end);
                vec![side.unwrap_or(named); asked.src.len()]
            }
        };
        return Ok(Rows {
            sides,
            keys: asked.src,
        });
    }
    let all = predictor
        .nodes()
        .map(|(key, kind)| (key, kind.unwrap_or(Side::Source)));
    let wanted = all.filter(|(_, kind)| side.is_none_or(|side| side == *kind));
    let (keys, sides) = wanted.unzip();
    Ok(Rows { keys, sides })
}

/// How many of the nodes have had no event.
fn unknown(predictor: &Predictor, rows: &Rows) -> anyhow::Result<usize> {
    let mut unknown = 0;
    for (key, side) in rows.keys.iter().zip(&rows.sides) {
        unknown += usize::from(!predictor.knows(key, *side)?);
    }
    Ok(unknown)
}

/// Embeddings in the order of the rows.
fn embedded(predictor: &Predictor, rows: &Rows, at: i64) -> anyhow::Result<Vec<f32>> {
    let mut values = Vec::with_capacity(rows.keys.len() * predictor.width());
    let mut first = 0;
    for same in rows.sides.chunk_by(|a, b| a == b) {
        let keys = &rows.keys[first..first + same.len()];
        values.extend(predictor.embed(keys, same[0], at)?);
        first += same.len();
    }
    Ok(values)
}

fn table(predictor: &Predictor, out: &Output, rows: &Rows, values: &[f32]) -> anyhow::Result<()> {
    let width = predictor.width();
    let text = predictor.ids_are_text();
    let mut columns = vec![("node".to_owned(), ColumnKind::Keys { text })];
    let words: Vec<&'static str> = rows
        .sides
        .iter()
        .map(|side| match side {
            Side::Source => "source",
            Side::Destination => "destination",
        })
        .collect();
    let numbers: Vec<Vec<f32>> = (0..width)
        .map(|at| values.iter().skip(at).step_by(width).copied().collect())
        .collect();
    let mut cells = vec![Cells::Keys(&rows.keys)];
    if predictor.has_two_kinds() {
        columns.push(("side".to_owned(), ColumnKind::Words));
        cells.push(Cells::Words(&words));
    }
    columns.extend((0..width).map(|at| (format!("e{at}"), ColumnKind::Floats)));
    cells.extend(numbers.iter().map(|column| Cells::Floats(column)));
    out.write(columns, &cells)
}

/// What a `.npy` file of float32 `[rows, width]` begins with.
/// Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
fn npy_header(rows: usize, width: usize) -> Vec<u8> {
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    // Magic, version and length take 10 bytes; all of it is a multiple of 64 and ends with a line break.
    let padded = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text.extend(std::iter::repeat_n(' ', padded - text.len() - 1));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((padded as u16).to_le_bytes());
    header.extend(text.bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_begins_at_a_multiple_of_64() {
        for rows in [0, 7, 123_456_789] {
            let header = npy_header(rows, 100);
            assert_eq!(header.len() % 64, 0);
            assert_eq!(header.last(), Some(&b'\n'));
        }
    }
}
