//! `mspipe schedule staleness`: what each k does to the memory of a stream, without training.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueHint};
use mspipe::config::ReadingSettings;
use mspipe::numbers::whole;
use mspipe::pipeline::schedule::Schedule;
use mspipe::pipeline::staleness::{percent, stale_rows};
use mspipe::report::chart::{Lines, Point, Series, Size};
use mspipe::what_if::staleness::{EndPoints, StreamStaleness, count};
use mspipe::{console, interrupt};
use mspipe_datasets::whole_file::{self, Existing};
use mspipe_datasets::{EventLog, OpenOptions};
use rayon::prelude::*;
use serde::Serialize;

use super::super::table::table;

const EXAMPLES: &str = "\
Examples:
  mspipe schedule staleness --data wikipedia.csv --batch-size 600 --k 1,2,3,5,10
  mspipe schedule staleness --data wikipedia.csv --batch-size 200,600 --chart lost.svg
  mspipe schedule staleness --data mine.txt --json

One epoch over the stream's training part, counted and not trained: iteration i sees exactly the
updates up to i − k. A node keeps one piece of mail (TGN, JODIE). Mail that is overwritten before
an update has absorbed it is lost. Of the rest, some is in rows that are overwritten by rows made
without it: what is missing in the end is in no row that is left. A row that is written from memory
that lacked updates of its own node is stale. Steps are mail absorbed per row written, as things are
and with --mitigation catch-up, which loses nothing. docs/staleness.md says more.";

/// Arguments of `mspipe schedule staleness`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StalenessArgs {
    /// Event stream, as for `mspipe train`
    #[arg(long, value_name = "SOURCE", value_hint = ValueHint::AnyPath)]
    data: String,

    /// Events per batch; several, separated by commas, are compared
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "600",
          value_parser = whole::<u32>(1..=4_294_967_295))]
    batch_size: Vec<u32>,

    /// Staleness bounds, separated by commas; 1 is not stale
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_value = "1,2,3,5,10",
          value_parser = whole::<u16>(1..=10_000))]
    k: Vec<u16>,

    /// Use only the first N events of the stream
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=4_294_967_295))]
    limit_events: Option<usize>,

    /// Write a chart of lost and missing mail and of stale rows against k, as SVG
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,

    /// Replace the file of --chart if it exists
    #[arg(long)]
    force: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reading: ReadingSettings,
}

/// What one batch size and k give.
#[derive(Debug, Serialize)]
struct Line {
    batch_size: u32,
    k: u16,
    #[serde(flatten)]
    counts: StreamStaleness,
}

#[derive(Debug, Serialize)]
struct Counted {
    data: String,
    synthetic: bool,
    /// Events of the training part, which are counted.
    events: usize,
    nodes: usize,
    staleness: Vec<Line>,
}

impl Counted {
    /// The stream's name, marked if it is synthetic.
    fn name(&self) -> String {
        let mark = if self.synthetic { " (SYNTHETIC)" } else { "" };
        format!("{}{mark}", self.data)
    }
}

impl Line {
    fn lost(&self) -> f64 {
        let memory = &self.counts.memory;
        percent(memory.mail_lost, memory.mail_overwritten)
    }

    fn missing(&self) -> f64 {
        percent(
            self.counts.mail_missing,
            self.counts.memory.mail_overwritten,
        )
    }

    fn stale(&self) -> f64 {
        let (rows, stale) = stale_rows(&self.counts.memory.rows_written);
        percent(stale, rows)
    }
}

/// Counts and prints.
pub(super) fn run(args: StalenessArgs) -> anyhow::Result<()> {
    if let Some(path) = &args.chart {
        if path.extension().is_none_or(|ending| ending != "svg") {
            bail!(
                "--chart {}: expected a name that ends in .svg, which is what is written",
                path.display()
            );
        }
        whole_file::check(path, Existing::forced(args.force))?;
    }
    let options = OpenOptions {
        stop: interrupt::stop(),
        ..args.reading.options()
    };
    let log = EventLog::open(&args.data, &options)?;
    let limit = args.limit_events.unwrap_or(usize::MAX);
    let train = log.split_of(limit.min(log.events())).train;
    if train.is_empty() {
        bail!("{}: the training part has no events", log.name());
    }
    let (batch_sizes, bounds) = (once(&args.batch_size), once(&args.k));
    let asked: Vec<(u32, u16)> = (batch_sizes.iter())
        .flat_map(|&batch_size| bounds.iter().map(move |&k| (batch_size, k)))
        .collect();
    let counted: Result<Vec<Line>, _> = asked
        .into_par_iter()
        .map(|(batch_size, k)| {
            let stream = EndPoints {
                src: &log.src()[train.clone()],
                dst: &log.dst()[train.clone()],
                nodes: log.nodes(),
                batch_size: batch_size as usize,
            };
            let counts = count(stream, Schedule::Staleness(usize::from(k)))?;
            Ok::<_, mspipe::pipeline::ledger::ReplayError>(Line {
                batch_size,
                k,
                counts,
            })
        })
        .collect();
    let counted = Counted {
        data: log.name().to_owned(),
        synthetic: log.synthetic(),
        events: train.len(),
        nodes: log.nodes(),
        staleness: counted?,
    };
    if let Some(path) = &args.chart {
        let _unfinished = interrupt::stop().unfinished();
        let chart = chart(&counted, &batch_sizes);
        whole_file::write(path, Existing::forced(args.force), |file| {
            file.write_all(chart.as_bytes())
        })?;
    }
    if args.json {
        return Ok(console::json(&counted)?);
    }
    Ok(console::product(text(&args, &counted))?)
}

/// Each of them once, in their order.
fn once<T: Copy + PartialEq>(asked: &[T]) -> Vec<T> {
    let mut all = Vec::new();
    for &one in asked {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

fn text(args: &StalenessArgs, counted: &Counted) -> String {
    let mut rows = vec![
        [
            "batch",
            "k",
            "mail overwritten",
            "lost",
            "",
            "missing in the end",
            "",
            "rows written",
            "stale",
            "updates lacked",
            "steps",
            "catch-up",
        ]
        .map(str::to_owned),
    ];
    rows.extend(counted.staleness.iter().map(|line| {
        let memory = &line.counts.memory;
        let (written, _) = stale_rows(&memory.rows_written);
        let lacked: u64 = (0..)
            .zip(&memory.rows_written)
            .map(|(n, rows)| n * rows)
            .sum();
        let per_row = |count: u64| format!("{:.2}", count as f64 / written.max(1) as f64);
        [
            line.batch_size.to_string(),
            line.k.to_string(),
            memory.mail_overwritten.to_string(),
            memory.mail_lost.to_string(),
            format!("{:.1} %", line.lost()),
            line.counts.mail_missing.to_string(),
            format!("{:.1} %", line.missing()),
            written.to_string(),
            format!("{:.1} %", line.stale()),
            per_row(lacked),
            per_row(line.counts.updater_steps),
            per_row(line.counts.catch_up_steps),
        ]
    }));
    let mut text = format!(
        "{}: {} training events, {} nodes; mail and rows are counted by node and batch;\n\
         updates lacked and steps are per row written\n\n{}",
        counted.name(),
        counted.events,
        counted.nodes,
        table(&rows, |column| column > 0)
    );
    if let Some(path) = &args.chart {
        text += &format!("written {}\n", path.display());
    }
    text
}

/// Shares against k, three lines for each batch size.
fn chart(counted: &Counted, batch_sizes: &[u32]) -> String {
    type Share = fn(&Line) -> f64;
    let shares: [(&str, Share); 3] = [
        ("mail lost", Line::lost),
        ("mail missing in the end", Line::missing),
        ("rows written stale", Line::stale),
    ];
    let mut series = Vec::new();
    for &batch_size in batch_sizes {
        for (name, share) in shares {
            let name = match batch_sizes.len() {
                1 => name.to_owned(),
                _ => format!("{name}, batch {batch_size}"),
            };
            let lines = counted.staleness.iter();
            let mut points: Vec<Point> = lines
                .filter(|line| line.batch_size == batch_size)
                .map(|line| Point {
                    x: f64::from(line.k),
                    y: share(line),
                    deviation: None,
                })
                .collect();
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            series.push(Series {
                name,
                color: series.len() + 1,
                points,
            });
        }
    }
    Lines {
        title: format!("Staleness of {}", counted.name()),
        x_name: "k".to_owned(),
        y_name: "% of mail overwritten, of rows written".to_owned(),
        series,
        at_points: true,
        from_zero: true,
        size: Size::Wide,
        ..Lines::default()
    }
    .document()
}
