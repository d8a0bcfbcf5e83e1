//! `mspipe data`: import, describe, check, list and fetch event streams.
//!
//! Prints tables for people, JSON with `--json`; everything else is
//! `mspipe-datasets`. Of training it knows only the estimate of memory.

mod cache;
mod list;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueHint};
use indicatif::{HumanBytes, HumanCount};
use mspipe::config::{ReadingSettings, RunConfig};
use mspipe::console;
use mspipe::interrupt;
use mspipe::numbers::whole;
use mspipe::session;
use mspipe::session::footprint::Footprint;
use mspipe_datasets::export::export;
use mspipe_datasets::fetch::{FetchOptions, fetch};
use mspipe_datasets::manifest::Manifest;
use mspipe_datasets::{EventLog, FeatureInfo, Finding, Info, OpenOptions, Severity, check, import};
use serde::Serialize;

use super::report;

const SOURCES: &str = "A SOURCE is a file of events, or - for standard input (text with commas, tabs, semicolons or white space, also .gz, .bz2, .xz, .zst or .zip; \
                       Parquet), a folder of Parquet parts, a folder in TGL's or DGB's layout \
                       (edges.csv or ml_*.csv with features beside it), a folder of raw GDELT files, a \
                       store that `mspipe data import` wrote, the name of a data set (see `mspipe data list`), or \
                       synthetic:NAME[:scale=X][:seed=N].";

/// Arguments of `mspipe data`.
#[derive(Debug, Args)]
#[command(after_help = SOURCES)]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
    /// Folder with the data sets, as NAME/FILE.
    ///
    /// Without it: $MSPIPE_DATA_DIR, else the folder `data` in the cache.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    data_dir: Option<PathBuf>,
    /// Folder for converted and generated streams; can be deleted at any time.
    ///
    /// Without it: $MSPIPE_CACHE_DIR, else `mspipe` in the system's cache folder.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    cache_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Convert a stream into a memory-mapped store.
    ///
    /// Training converts what it needs automatically, into the cache. Import to keep a store under a name
    /// of your own, to sort a stream, or to add feature files.
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Describe a stream, and estimate the RAM and device memory that training on it needs.
    #[command(after_help = INFO_EXAMPLES)]
    Info(ReadArgs),
    /// Look for defects: unsorted times, duplicates, constant features, gaps.
    ///
    /// Ends with exit code 1 if there is a finding of severity `error`.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(ReadArgs),
    /// Export a stream as one table, .csv or .parquet.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// List the known data sets and generators, and which data sets are present.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List cached conversions and the leftovers of interrupted ones; remove them.
    ///
    /// Every command that takes a SOURCE caches its conversion, so later starts are instant. The
    /// data sets themselves are not touched.
    #[command(after_help = cache::EXAMPLES)]
    Cache(cache::CacheArgs),
    /// Download data sets.
    ///
    /// Resumes an interrupted download. The file is read and compared with the data set's known figures
    /// (and checksum, where one is published) before it gets its name.
    #[command(after_help = FETCH_EXAMPLES)]
    Fetch {
        /// Names from `mspipe data list`.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  mspipe data import wikipedia.csv
  mspipe data import mine.txt --sort --to mine.mspipe
  mspipe data import payments.csv --columns src=payer,dst=payee,time=when,label=fraud
  mspipe data import edges.csv --edge-feature-file edge_features.pt
  mspipe data import events.parquet --edge-feature-file arrays.npz:edge
  zcat mine.csv.gz | mspipe data import - --to mine.mspipe
  mspipe data import gdelt-folder --format gdelt --sort --to gdelt.mspipe";

const INFO_EXAMPLES: &str = "\
Examples:
  mspipe data info synthetic:wikipedia
  mspipe data info wikipedia.csv --json";

const CHECK_EXAMPLES: &str = "\
Examples:
  mspipe data check wikipedia
  mspipe data check payments.csv --columns src=payer,dst=payee,time=when
  mspipe data check mine.txt --json";

const EXPORT_EXAMPLES: &str = "\
Examples:
  mspipe data export wikipedia --to wikipedia.parquet
  mspipe data export mine.mspipe --to mine.csv";

const FETCH_EXAMPLES: &str = "\
Examples:
  mspipe data fetch wikipedia
  mspipe data fetch tgbl-wiki
  mspipe data fetch mooc lastfm --data-dir /big/disk";

#[derive(Debug, Args)]
struct ImportArgs {
    #[command(flatten)]
    raw: RawArgs,
    /// Folder to create for the store; without it NAME.mspipe in the current folder.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    to: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    raw: RawArgs,
    /// The file to write; its extension, .csv or .parquet, selects the format.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct ReadArgs {
    #[command(flatten)]
    raw: RawArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RawArgs {
    /// File, folder, data set or synthetic:NAME.
    #[arg(value_hint = ValueHint::AnyPath)]
    source: String,
    /// Edge features, one row per event: .npy, .npz (FILE.npz:NAME) or PyTorch's .pt.
    #[arg(
        long,
        visible_alias = "edge-features",
        value_name = "FILE",
        help_heading = "Files of events"
    )]
    edge_feature_file: Option<PathBuf>,
    /// Node features, one row per node: .npy, .npz (FILE.npz:NAME) or PyTorch's .pt.
    #[arg(
        long,
        visible_alias = "node-features",
        value_name = "FILE",
        help_heading = "Files of events"
    )]
    node_feature_file: Option<PathBuf>,
    /// Largest ratio of unpacked to packed size of a compressed text [default: 300].
    #[arg(
        long,
        value_name = "N",
        value_parser = whole::<u64>(1..=u64::MAX),
        help_heading = "Files of events"
    )]
    unpack_ratio: Option<u64>,
    #[command(flatten)]
    reading: ReadingSettings,
}

/// Runs `mspipe data`.
///
/// # Errors
/// What the command could not do, or a [`Severity::Error`] found by `check`.
pub(crate) fn run(args: DataArgs) -> anyhow::Result<()> {
    let folders = OpenOptions {
        data_dir: args.data_dir,
        cache_dir: args.cache_dir,
        stop: interrupt::stop(),
        ..OpenOptions::default()
    };
    match args.command {
        DataCommand::Import(args) => import_stream(args, folders),
        DataCommand::Info(args) => describe(args, folders),
        DataCommand::Check(args) => check_stream(args, folders),
        DataCommand::Export(args) => export_stream(args, folders),
        DataCommand::List { json } => {
            let list = list::of(&folders)?;
            if json {
                Ok(console::json(&list)?)
            } else {
                Ok(console::product(list.table())?)
            }
        }
        DataCommand::Cache(args) => cache::run(args, &folders.cache_folder()?),
        DataCommand::Fetch { names } => fetch_all(&names, &folders),
    }
}

fn import_stream(ImportArgs { raw, to }: ImportArgs, folders: OpenOptions) -> anyhow::Result<()> {
    let to = to.unwrap_or_else(|| default_store(&raw.source));
    let (source, options) = raw.into_options(folders);
    let report = import(&source, &options, &to)?;
    let mut text = format!("imported {source} into {}\n", report.store.display());
    // Those of the stream stand in the table.
    let own = report.info.notes.as_slice();
    text += &notes(report.notes.iter().filter(|note| !own.contains(note)));
    // The store is there, whether anybody reads of it or not.
    console::news((text + "\n" + &info_table(&report.info)).trim_end());
    Ok(())
}

fn describe(ReadArgs { raw, json }: ReadArgs, folders: OpenOptions) -> anyhow::Result<()> {
    let (source, options) = raw.into_options(folders);
    let log = EventLog::open(&source, &options)?;
    let described = Described {
        info: Info::of(&log),
        training: default_training(&source, log),
    };
    if json {
        return Ok(console::json(&described)?);
    }
    let mut text = info_table(&described.info);
    if let Some(training) = &described.training {
        text += "\nwith the default settings (for others: mspipe train --dry-run), ";
        text += &report::footprint(training);
    }
    Ok(console::product(&text)?)
}

fn check_stream(ReadArgs { raw, json }: ReadArgs, folders: OpenOptions) -> anyhow::Result<()> {
    let (source, options) = raw.into_options(folders);
    let findings = check(&source, &options)?;
    if json {
        console::json(&findings)?;
    } else {
        console::product(findings_text(&source, &findings))?;
    }
    match findings
        .iter()
        .filter(|f| f.severity == Severity::Error)
        .count()
    {
        0 => Ok(()),
        1 => bail!("{source}: 1 error found"),
        errors => bail!("{source}: {errors} errors found"),
    }
}

fn export_stream(args: ExportArgs, folders: OpenOptions) -> anyhow::Result<()> {
    let (source, options) = args.raw.into_options(folders);
    let log = EventLog::open(&source, &options)?;
    let done = export(&log, &args.to, args.force)?;
    let (events, path) = (HumanCount(done.events as u64), done.path.display());
    let mut text = format!("exported {events} events of {source} to {path}\n");
    text += &notes(log.notes().iter().chain(&done.notes));
    // The file is there, whether anybody reads of it or not.
    console::news(text.trim_end());
    Ok(())
}

fn fetch_all(names: &[String], folders: &OpenOptions) -> anyhow::Result<()> {
    let options = FetchOptions {
        cache_dir: folders.cache_dir.clone(),
        stop: folders.stop.clone(),
        ..FetchOptions::new(folders.data_folder()?)
    };
    // All names first: a slip in the last one must not show after an hour of downloading.
    let manifests = names
        .iter()
        .map(|name| find(name))
        .collect::<anyhow::Result<Vec<_>>>()?;
    for manifest in manifests {
        console::news(fetch(manifest, &options)?);
    }
    Ok(())
}

/// What `mspipe data info` tells.
#[derive(Serialize)]
struct Described {
    #[serde(flatten)]
    info: Info,
    /// The memory that a run with the default settings needs; None where the stream is too small for it.
    training: Option<Footprint>,
}

fn notes<'a>(notes: impl Iterator<Item = &'a String>) -> String {
    notes.map(|note| format!("note: {note}\n")).collect()
}

fn default_training(source: &str, log: EventLog) -> Option<Footprint> {
    let mut run = RunConfig::default();
    run.source.data = source.to_owned();
    session::estimate_on(log, run).ok()
}

impl RawArgs {
    fn into_options(self, folders: OpenOptions) -> (String, OpenOptions) {
        let options = OpenOptions {
            edge_features: self.edge_feature_file,
            node_features: self.node_feature_file,
            unpack_ratio: self.unpack_ratio,
            data_dir: folders.data_dir,
            cache_dir: folders.cache_dir,
            stop: folders.stop,
            ..self.reading.options()
        };
        (self.source, options)
    }
}

fn find(name: &str) -> anyhow::Result<&'static Manifest> {
    Manifest::find(name).with_context(|| {
        let known: Vec<&str> = Manifest::all().iter().map(|m| m.name.as_str()).collect();
        format!("{name}: no such data set; known are {}", known.join(", "))
    })
}

/// `wiki/edges.csv` becomes `edges.mspipe`, `synthetic:mooc:scale=2` becomes `synthetic-mooc-scale-2.mspipe`.
fn default_store(source: &str) -> PathBuf {
    let stem = match source {
        "-" => "stdin".to_owned(),
        _ if source.starts_with("synthetic:") => source.replace([':', '='], "-"),
        _ => PathBuf::from(source)
            .file_stem()
            .map_or(source.to_owned(), |s| s.to_string_lossy().into_owned()),
    };
    PathBuf::from(format!("{stem}.mspipe"))
}

fn features(table: Option<&FeatureInfo>) -> String {
    match table {
        None => "none".to_owned(),
        Some(t) => format!(
            "{} {}, {} ({} as f32){}",
            t.width,
            t.feature_type.name(),
            HumanBytes(t.bytes),
            HumanBytes(t.bytes_as_f32),
            if t.all_zero { ", all zero" } else { "" }
        ),
    }
}

fn info_table(info: &Info) -> String {
    let count = |n: usize| HumanCount(n as u64).to_string();
    let span = (info.last_time as f64 - info.first_time as f64) / info.ticks_per_unit as f64;
    let mut rows = vec![
        (
            "name",
            match info.synthetic {
                true => format!("{} (synthetic: generated, not recorded)", info.name),
                false => info.name.clone(),
            },
        ),
        ("origin", info.origin.clone()),
        ("events", count(info.events)),
        ("nodes", count(info.nodes)),
        ("sources", count(info.sources)),
        ("destinations", count(info.destinations)),
        (
            "bipartite",
            if info.bipartite { "yes" } else { "no" }.to_owned(),
        ),
        (
            "time",
            format!(
                "{} to {} (span {span}, {} ticks per unit)",
                info.time_in_units(info.first_time),
                info.time_in_units(info.last_time),
                count(info.ticks_per_unit as usize)
            ),
        ),
        (
            "repeated pairs",
            format!("{:.1} % of the events", 100.0 * info.repeat_ratio),
        ),
        ("edge features", features(info.edge_features.as_ref())),
        ("node features", features(info.node_features.as_ref())),
        (
            "positive labels",
            info.positive_labels.map_or("no labels".to_owned(), count),
        ),
        (
            "split",
            format!(
                "{} / {} / {} ({})",
                count(info.split.train),
                count(info.split.val),
                count(info.split.test),
                info.split.rule
            ),
        ),
        ("content sha256", info.hash.clone()),
    ];
    rows.extend(info.notes.iter().map(|note| ("note", note.clone())));
    if let (Some(store), Some(bytes)) = (&info.store, info.store_bytes) {
        rows.push((
            "store",
            format!("{}, {}", store.display(), HumanBytes(bytes)),
        ));
    }
    rows.iter().fold(String::new(), |text, (name, value)| {
        text + &format!("{name:<16} {value}\n")
    })
}

/// What a check without complaints is worth.
const LOOKED_FOR: &str = "looked for: times that fall, equal events, features that are no numbers, constant, zero or very \
                          large ones, events from a node to itself, moments that the split divides, gaps of ids, nodes \
                          without events\n";

fn findings_text(source: &str, findings: &[Finding]) -> String {
    if findings.is_empty() {
        return format!("{source}: no findings\n{LOOKED_FOR}");
    }
    let none = findings.iter().all(|f| f.severity == Severity::Note);
    let end = match none {
        true => format!("no error and no warning\n{LOOKED_FOR}"),
        false => String::new(),
    };
    let lines = findings.iter().fold(String::new(), |text, f| {
        let severity = match f.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        text + &format!("{severity:<8} {:<26} {}\n", f.code, f.message)
    });
    lines + &end
}
