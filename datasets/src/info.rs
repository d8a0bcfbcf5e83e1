//! The figures that describe a stream (`mspipe data info`).
//!
//! Everything is counted, nothing is taken from a manifest. Counting repeats
//! takes 8 bytes of memory an event.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::manifest::{Manifest, Measured, Mismatch};
use crate::stream::event_log::{EventLog, NO_LABEL, occurrence};
use crate::stream::features::{FeatureSource, FeatureTable, FeatureType};

/// Figures of one stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Info {
    /// Name of the stream.
    pub name: String,
    /// Where it came from.
    pub origin: String,
    /// Whether it was generated.
    pub synthetic: bool,
    /// Number of events.
    pub events: usize,
    /// Number of nodes, with or without events.
    pub nodes: usize,
    /// Distinct source nodes.
    pub sources: usize,
    /// Distinct destination nodes.
    pub destinations: usize,
    /// Whether no node is both.
    pub bipartite: bool,
    /// Time of the first event, in ticks.
    pub first_time: i64,
    /// Time of the last event, in ticks.
    pub last_time: i64,
    /// Ticks in one unit of the stream.
    pub ticks_per_unit: i64,
    /// Share of events whose (source, destination) pair occurred before.
    pub repeat_ratio: f64,
    /// Edge features, if any.
    pub edge_features: Option<FeatureInfo>,
    /// Node features, if any.
    pub node_features: Option<FeatureInfo>,
    /// Events with a state label other than 0; None if the stream has no labels.
    pub positive_labels: Option<usize>,
    /// Sizes of the split.
    pub split: SplitInfo,
    /// What a user should know of how the stream was read.
    pub notes: Vec<String>,
    /// SHA-256 of the content.
    pub hash: String,
    /// Folder of the store, if the stream is mapped from one.
    pub store: Option<PathBuf>,
    /// Bytes of the store on disk.
    pub store_bytes: Option<u64>,
}

/// Figures of a feature table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureInfo {
    /// Values in a row.
    pub width: usize,
    /// How they are stored.
    #[serde(rename = "type")]
    pub feature_type: FeatureType,
    /// Where they live.
    pub source: FeatureSource,
    /// Bytes as stored.
    pub bytes: u64,
    /// Bytes it takes as f32, the type in which rows are used.
    pub bytes_as_f32: u64,
    /// Whether every value is zero: the stream has no real features.
    pub all_zero: bool,
}

/// Sizes of the three parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitInfo {
    /// `roll column` or `chronological 70/15/15`.
    pub rule: String,
    /// Training events.
    pub train: usize,
    /// Validation events.
    pub val: usize,
    /// Test events.
    pub test: usize,
}

impl Info {
    /// Counts everything.
    pub fn of(log: &EventLog) -> Info {
        let split = log.split();
        let count = |ids: &[u32]| {
            occurrence(ids, log.nodes())
                .into_iter()
                .filter(|&occurs| occurs)
                .count()
        };
        Info {
            name: log.name().to_owned(),
            origin: log.origin().to_owned(),
            synthetic: log.synthetic(),
            events: log.events(),
            nodes: log.nodes(),
            sources: count(log.src()),
            destinations: count(log.dst()),
            bipartite: log.bipartite(),
            first_time: log.time().first().copied().unwrap_or(0),
            last_time: log.time().last().copied().unwrap_or(0),
            ticks_per_unit: log.ticks_per_unit(),
            repeat_ratio: repeat_ratio(log),
            edge_features: log.edge_features().map(FeatureInfo::of),
            node_features: log.node_features().map(FeatureInfo::of),
            positive_labels: log.labels().map(|labels| {
                labels
                    .iter()
                    .filter(|&&label| label != 0 && label != NO_LABEL)
                    .count()
            }),
            split: SplitInfo {
                rule: match (log.split_rule, log.roll()) {
                    (Some(rule), _) => rule.to_string(),
                    (None, Some(_)) => "roll column".to_owned(),
                    (None, None) => "chronological 70/15/15".to_owned(),
                },
                train: split.train.len(),
                val: split.val.len(),
                test: split.test.len(),
            },
            notes: log.notes().to_vec(),
            hash: log.hash().to_owned(),
            store: log.store().map(Path::to_path_buf),
            store_bytes: log.store().and_then(folder_bytes),
        }
    }

    /// Compares these figures with those of a manifest.
    pub fn mismatches(&self, manifest: &Manifest) -> Vec<Mismatch> {
        manifest.verify(&self.measured())
    }

    /// What is to be said of `mismatch` where it is that a copy of a data set is without its features:
    /// such copies are about, and their events are the data set's.
    pub(crate) fn without_features(&self, mismatch: &Mismatch) -> Option<String> {
        let none = self
            .edge_features
            .as_ref()
            .is_none_or(|table| table.all_zero);
        (mismatch.statistic == "edge_feature_width" && none).then(|| {
            format!(
                "this copy is without the data set's {} features per event; its events are good for all that \
                 uses none (--edge-features zero or random:WIDTH), but numbers that were published with \
                 features are not comparable",
                mismatch.expected
            )
        })
    }

    /// The figures that manifests have.
    pub(crate) fn measured(&self) -> Measured {
        let whole = |n: usize| i64::try_from(n).ok();
        let width = |table: &Option<FeatureInfo>| whole(table.as_ref().map_or(0, |t| t.width));
        Measured {
            events: whole(self.events),
            nodes: whole(self.nodes),
            sources: whole(self.sources),
            destinations: whole(self.destinations),
            edge_feature_width: width(&self.edge_features),
            node_feature_width: width(&self.node_features),
            positive_labels: self.positive_labels.and_then(whole),
            first_time: Some(self.first_time.div_euclid(self.ticks_per_unit)),
            last_time: Some(self.last_time.div_euclid(self.ticks_per_unit)),
        }
    }

    /// A time in ticks as a decimal in the stream's unit, exactly.
    pub fn time_in_units(&self, ticks: i64) -> String {
        let decimals = self.ticks_per_unit.ilog10() as u8;
        crate::fields::decimal::Decimal {
            mantissa: ticks,
            scale: decimals,
        }
        .to_string()
    }
}

impl FeatureInfo {
    fn of(table: &FeatureTable) -> FeatureInfo {
        FeatureInfo {
            width: table.width(),
            feature_type: table.feature_type(),
            source: table.source(),
            bytes: table.as_bytes().len() as u64,
            bytes_as_f32: table.rows() as u64 * table.width() as u64 * 4,
            all_zero: table.all_zero(),
        }
    }
}

fn repeat_ratio(log: &EventLog) -> f64 {
    if log.events() == 0 {
        return 0.0;
    }
    let mut pairs: Vec<u64> = log
        .src()
        .par_iter()
        .zip(log.dst())
        .map(|(&src, &dst)| u64::from(src) << 32 | u64::from(dst))
        .collect();
    pairs.par_sort_unstable();
    let distinct = 1 + pairs
        .par_windows(2)
        .filter(|pair| pair[0] != pair[1])
        .count();
    (log.events() - distinct) as f64 / log.events() as f64
}

fn folder_bytes(folder: &Path) -> Option<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder).ok()? {
        total += entry.ok()?.metadata().ok()?.len();
    }
    Some(total)
}
