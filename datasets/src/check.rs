//! Looks for what makes a stream unusable or its numbers doubtful (`mspipe data check`).
//!
//! Works on stores, data sets, generated streams and raw files. A raw file is
//! read into a temporary store, continuing where an import would stop, so that all
//! defects are counted. A line that cannot be read at all is an error of `check`
//! itself. Nothing is repaired.

use std::collections::BTreeSet;

use rayon::prelude::*;
use serde::Serialize;

use crate::error::{DataError, quoted};
use crate::files::scratch::{self, Scratch};
use crate::import::conversion::Converted;
use crate::import::intake::{Defects, Observed};
use crate::import::open::Source;
use crate::import::options::OpenOptions;
use crate::import::source::RawSource;
use crate::info::Info;
use crate::manifest::Manifest;
use crate::stop::Stop;
use crate::stream::event_log::{EventLog, IdSpaces, occurrence};
use crate::stream::features::FeatureTable;

/// Features beyond this in size are named: standardised ones are below 100, and products of
/// much larger ones with their likes leave the range of f32.
const LARGE: f32 = 1e6;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The stream is refused, or results on it are wrong.
    Error,
    /// Results may mean something else than they seem to.
    Warning,
    /// Worth knowing.
    Note,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A fixed name, such as `unsorted-times`.
    pub code: &'static str,
    /// How many events, columns, ids… are concerned.
    pub count: u64,
    /// What was found and what to do.
    pub message: String,
}

/// Checks a source (see [`EventLog::open`]); the worst findings come first.
///
/// # Errors
/// Any [`DataError`] that prevents reading, such as a malformed line.
pub fn check(spec: &str, options: &OpenOptions) -> Result<Vec<Finding>, DataError> {
    let mut findings = Findings::default();
    match Source::find(spec, options, None)? {
        Source::Raw(raw) => {
            convert_for_a_look(&raw, options, |converted| {
                findings.observed(&converted.observed, &converted.log, options.sort);
                if let Some(columns) = &converted.columns {
                    let message = format!("the same by hand: --columns {columns}");
                    findings.add(Severity::Note, "columns", 1, message);
                }
                findings.log(&converted.log, Manifest::find(spec));
            })?;
        }
        Source::Store(_) | Source::Synthetic(_) => {
            let log = EventLog::open(spec, options)?;
            findings.store(&log, &options.stop)?;
            findings.log(&log, None);
        }
    }
    findings.0.sort_by_key(|finding| finding.severity);
    Ok(findings.0)
}

/// The figures of the file `spec`, read into a store that is gone afterwards.
///
/// # Errors
/// As [`check`].
pub(crate) fn measure(spec: &str, options: &OpenOptions) -> Result<Info, DataError> {
    match Source::find(spec, options, None)? {
        Source::Raw(raw) => convert_for_a_look(&raw, options, |converted| Info::of(&converted.log)),
        Source::Store(_) | Source::Synthetic(_) => Ok(Info::of(&EventLog::open(spec, options)?)),
    }
}

fn convert_for_a_look<T>(
    raw: &RawSource,
    options: &OpenOptions,
    look: impl FnOnce(&Converted) -> T,
) -> Result<T, DataError> {
    let _unfinished = options.stop.unfinished();
    let cache = options.cache_folder()?;
    scratch::sweep(&cache);
    let folder = Scratch::create_in(&cache)?;
    let mut converted = raw.convert(Defects::Record, &folder.path().join("checked"))?;
    converted.log.split_rule = options.split;
    Ok(look(&converted))
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, code: &'static str, count: u64, message: String) {
        if count > 0 {
            self.0.push(Finding {
                severity,
                code,
                count,
                message,
            });
        }
    }

    fn observed(&mut self, observed: &Observed, log: &EventLog, sort: bool) {
        if let Some(first) = &observed.first_unsorted {
            let message = format!(
                "events that precede the one before them: {} of {}{}, first: {first}",
                observed.unsorted,
                log.events(),
                if sort { " (--sort sorts them)" } else { "" }
            );
            let severity = match sort {
                true => Severity::Note,
                false => Severity::Error,
            };
            self.add(severity, "unsorted-times", observed.unsorted, message);
        }
        if let Some(first) = &observed.first_not_finite {
            let message = format!(
                "feature rows or values that are NaN or infinite: {}, first: {first}",
                observed.not_finite
            );
            self.add(
                Severity::Error,
                "non-finite-features",
                observed.not_finite,
                message,
            );
        }
    }

    fn store(&mut self, log: &EventLog, stop: &Stop) -> Result<(), DataError> {
        let found = log.content_hash(stop)?;
        if found != log.hash() {
            let message = format!(
                "the content's SHA-256 is {found}, meta.json says {}; delete the store and import the stream again",
                log.hash()
            );
            self.add(Severity::Error, "hash-mismatch", 1, message);
        }
        for (name, table) in tables(log) {
            let count = not_finite(table);
            self.add(
                Severity::Error,
                "non-finite-features",
                count,
                format!("values of the {name} that are NaN or infinite: {count}"),
            );
        }
        Ok(())
    }

    /// What can be said of any log.
    fn log(&mut self, log: &EventLog, manifest: Option<&Manifest>) {
        for note in log.notes() {
            self.add(Severity::Note, "import-note", 1, note.clone());
        }
        self.duplicates(log);
        self.self_loops(log);
        self.boundaries(log);
        self.id_gaps(log);
        self.lonely_nodes(log);
        let names = log.names().unwrap_or_default();
        let names = [names.edge_features, names.node_features];
        for ((name, table), columns) in [
            ("edge features", log.edge_features()),
            ("node features", log.node_features()),
        ]
        .into_iter()
        .zip(names)
        {
            if let Some(table) = table {
                self.constant_columns(name, table, columns.as_deref());
                self.large_values(name, table, columns.as_deref());
            }
        }
        if log.edge_features().is_none() {
            let message =
                "the stream has no edge features; models use zeros or random ones instead"
                    .to_owned();
            self.add(Severity::Note, "no-edge-features", 1, message);
        }
        let Some(manifest) = manifest else { return };
        let info = Info::of(log);
        for mismatch in info.mismatches(manifest) {
            if let Some(message) = info.without_features(&mismatch) {
                self.add(Severity::Warning, "without-features", 1, message);
                continue;
            }
            let message = format!("not the data set that is known under this name: {mismatch}");
            self.add(Severity::Error, "manifest-mismatch", 1, message);
        }
    }

    fn duplicates(&mut self, log: &EventLog) {
        let (count, first) = duplicate_events(log);
        let message = format!(
            "events equal to an earlier one in source, destination, time, label and features: {count}{}; \
             a model is trained on them twice, and a test event seen before is no prediction",
            first.map_or(String::new(), |event| format!(" (first: event {event})"))
        );
        self.add(Severity::Warning, "duplicate-events", count, message);
    }

    fn self_loops(&mut self, log: &EventLog) {
        let count = log
            .src()
            .par_iter()
            .zip(log.dst())
            .filter(|(src, dst)| src == dst)
            .count() as u64;
        self.add(
            Severity::Note,
            "self-loops",
            count,
            format!("events from a node to itself: {count}"),
        );
    }

    fn boundaries(&mut self, log: &EventLog) {
        let (time, split) = (log.time(), log.split());
        let boundaries: BTreeSet<usize> = [split.val.start, split.test.start].into();
        for at in boundaries
            .into_iter()
            .filter(|&at| at > 0 && at < time.len())
        {
            let tied = time[at];
            if time[at - 1] != tied {
                continue;
            }
            let first = time.partition_point(|&t| t < tied);
            let end = time.partition_point(|&t| t <= tied);
            let message = format!(
                "the split before event {at} divides {} events of equal time ({} before it, {} after); \
                 a model can see one side of a moment while it is tested on the other",
                end - first,
                at - first,
                end - at
            );
            self.add(
                Severity::Note,
                "ties-across-split",
                (end - first) as u64,
                message,
            );
        }
    }

    fn id_gaps(&mut self, log: &EventLog) {
        let Some(originals) = log.original_ids() else {
            return;
        };
        let spaces = match log.id_spaces() {
            IdSpaces::One => vec![("node ids", originals)],
            IdSpaces::Two { sources } => vec![
                ("source ids", &originals[..sources]),
                ("destination ids", &originals[sources..]),
            ],
        };
        for (what, ids) in spaces {
            let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else {
                continue;
            };
            let missing = (last - first).saturating_sub(ids.len() as u64 - 1);
            let message = format!(
                "{what} between {first} and {last} that do not occur: {missing}; ids were made dense, which is harmless unless other files use the original ones"
            );
            self.add(Severity::Note, "id-gaps", missing, message);
        }
    }

    fn lonely_nodes(&mut self, log: &EventLog) {
        let (is_source, is_destination) = (
            occurrence(log.src(), log.nodes()),
            occurrence(log.dst(), log.nodes()),
        );
        let count = is_source
            .iter()
            .zip(&is_destination)
            .filter(|(s, d)| !**s && !**d)
            .count() as u64;
        self.add(
            Severity::Note,
            "nodes-without-events",
            count,
            format!("nodes without any event: {count} of {}", log.nodes()),
        );
    }

    fn large_values(&mut self, name: &str, table: &FeatureTable, columns: Option<&[String]>) {
        let Some((count, row, column, value)) = large_values(table) else {
            return;
        };
        let message = format!(
            "rows of the {name} with a value beyond {LARGE:e} in size: {count}, first: row {row} with \
             {value:e} in {}; a model may diverge on them, or see nothing else: train with --edge-features \
             standardize, scale the column, or take its logarithm",
            column_name(columns, column)
        );
        self.add(Severity::Warning, "large-features", count, message);
    }

    fn constant_columns(&mut self, name: &str, table: &FeatureTable, columns: Option<&[String]>) {
        if table.all_zero() {
            let message = format!(
                "all {} values of the {name} [{}, {}] are zero: the stream carries no real features",
                table.rows() * table.width(),
                table.rows(),
                table.width()
            );
            return self.add(
                Severity::Warning,
                "zero-features",
                table.width() as u64,
                message,
            );
        }
        let constant = constant_columns(table);
        let shown: Vec<String> = (constant.iter().take(5))
            .map(|&column| column_name(columns, column))
            .collect();
        let dots = if constant.len() > shown.len() {
            ", …"
        } else {
            ""
        };
        let message = format!(
            "columns of the {name} with the same value in every row: {} of {} ({}{dots}); they carry no information",
            constant.len(),
            table.width(),
            shown.join(", ")
        );
        self.add(
            Severity::Warning,
            "constant-feature-columns",
            constant.len() as u64,
            message,
        );
    }
}

fn tables(log: &EventLog) -> impl Iterator<Item = (&'static str, &FeatureTable)> {
    [
        ("edge features", log.edge_features()),
        ("node features", log.node_features()),
    ]
    .into_iter()
    .filter_map(|(name, table)| table.map(|t| (name, t)))
}

/// Events equal to an earlier one, and the first of them.
fn duplicate_events(log: &EventLog) -> (u64, Option<usize>) {
    let (src, dst, time) = (log.src(), log.dst(), log.time());
    let features = log
        .edge_features()
        .filter(|t| t.rows() > 0)
        .map(|t| (t.as_bytes(), t.as_bytes().len() / t.rows()));
    let row = |event: usize| features.map(|(bytes, size)| &bytes[event * size..(event + 1) * size]);
    let label = |event: usize| log.labels().map(|labels| labels[event]);
    let mut found = (0, None::<usize>);
    let mut group = Vec::new();
    let mut start = 0;
    while start < time.len() {
        let end = start
            + time[start..]
                .iter()
                .take_while(|&&t| t == time[start])
                .count();
        if end - start > 1 {
            group.clear();
            group.extend(start..end);
            group.sort_unstable_by_key(|&e| (src[e], dst[e], label(e), row(e), e));
            for pair in group.windows(2) {
                let (a, b) = (pair[0], pair[1]);
                if (src[a], dst[a], label(a), row(a)) == (src[b], dst[b], label(b), row(b)) {
                    found = (found.0 + 1, Some(found.1.map_or(b, |first| first.min(b))));
                }
            }
        }
        start = end;
    }
    found
}

/// Columns with the same value in every row.
fn constant_columns(table: &FeatureTable) -> Vec<usize> {
    let width = table.width();
    if table.rows() < 2 || width == 0 {
        return Vec::new();
    }
    let mut first = vec![0.0; width];
    table.row_into(0, &mut first);
    let varies = (1..table.rows())
        .into_par_iter()
        .fold(
            || (vec![false; width], vec![0.0; width]),
            |(mut varies, mut row), i| {
                table.row_into(i, &mut row);
                for ((varies, value), first) in varies.iter_mut().zip(&row).zip(&first) {
                    *varies |= value != first;
                }
                (varies, row)
            },
        )
        .map(|(varies, _)| varies)
        .reduce(
            || vec![false; width],
            |a, b| a.iter().zip(&b).map(|(a, b)| a | b).collect(),
        );
    (0..width).filter(|&column| !varies[column]).collect()
}

/// The name of a column of features, or its number from 0 where it has none.
fn column_name(names: Option<&[String]>, column: usize) -> String {
    match names.and_then(|names| names.get(column)) {
        Some(name) => quoted(name.as_bytes()),
        None => format!("column {column}"),
    }
}

/// Rows with a finite value beyond [`LARGE`] in size: how many, the first, and its first such column
/// and value.
fn large_values(table: &FeatureTable) -> Option<(u64, usize, usize, f32)> {
    let large = |value: &f32| value.is_finite() && value.abs() > LARGE;
    (0..table.rows())
        .into_par_iter()
        .map_init(
            || vec![0.0; table.width()],
            |row, i| {
                table.row_into(i, row);
                row.iter()
                    .position(large)
                    .map(|column| (1, i, column, row[column]))
            },
        )
        .reduce(
            || None,
            |a, b| match (a, b) {
                (Some(a), Some(b)) => {
                    let first = if a.1 < b.1 { a } else { b };
                    Some((a.0 + b.0, first.1, first.2, first.3))
                }
                (a, b) => a.or(b),
            },
        )
}

fn not_finite(table: &FeatureTable) -> u64 {
    (0..table.rows())
        .into_par_iter()
        .map_init(
            || vec![0.0; table.width()],
            |row, i| {
                table.row_into(i, row);
                row.iter().filter(|x| !x.is_finite()).count() as u64
            },
        )
        .sum()
}
