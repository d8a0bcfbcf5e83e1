//! Node and edge features of a stream, gathered on the host for a batch.
//!
//! Rows are gathered once for each distinct event or node of a batch; kernels reach them
//! by index. A width of 0 means that there are none.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use mspipe_datasets::{EventLog, FeatureTable};
use serde::{Deserialize, Serialize};

use crate::graph::{EventId, NodeId};

/// Where edge features come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EdgeFeatureSource {
    /// None: mails and keys hold no edge part.
    Zero,
    /// Standard-normal numbers of this width, drawn from the run's seed.
    Random(usize),
    /// Those of the stream.
    File,
}

impl FromStr for EdgeFeatureSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "zero" => Ok(EdgeFeatureSource::Zero),
            "file" => Ok(EdgeFeatureSource::File),
            _ => text
                .strip_prefix("random:")
                .and_then(|width| width.parse().ok())
                .filter(|&width: &usize| width > 0)
                .map(EdgeFeatureSource::Random)
                .ok_or_else(|| format!("found '{text}', expected zero, file or random:WIDTH")),
        }
    }
}

impl TryFrom<String> for EdgeFeatureSource {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<EdgeFeatureSource> for String {
    fn from(source: EdgeFeatureSource) -> String {
        source.to_string()
    }
}

impl fmt::Display for EdgeFeatureSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EdgeFeatureSource::Zero => f.write_str("zero"),
            EdgeFeatureSource::Random(width) => write!(f, "random:{width}"),
            EdgeFeatureSource::File => f.write_str("file"),
        }
    }
}

/// The features that a run uses.
#[derive(Debug, Clone)]
pub struct Features {
    log: Arc<EventLog>,
    source: EdgeFeatureSource,
    random: Option<Arc<FeatureTable>>,
    file_is_zero: bool,
}

impl Features {
    /// Features of `log`; `seed` draws random ones.
    pub fn new(log: Arc<EventLog>, source: EdgeFeatureSource, seed: u64) -> Features {
        let random = match source {
            EdgeFeatureSource::Random(width) => Some(Arc::new(FeatureTable::random_normal(
                log.events(),
                width,
                seed,
            ))),
            EdgeFeatureSource::Zero | EdgeFeatureSource::File => None,
        };
        let file_is_zero = log.edge_features().is_some_and(FeatureTable::all_zero);
        Features {
            file_is_zero,
            log,
            source,
            random,
        }
    }

    fn edge_table(&self) -> Option<&FeatureTable> {
        match self.source {
            EdgeFeatureSource::Zero => None,
            EdgeFeatureSource::Random(_) => self.random.as_deref(),
            // A column of zeros stands for "no features" in published files.
            EdgeFeatureSource::File if self.file_is_zero => None,
            EdgeFeatureSource::File => self.log.edge_features(),
        }
    }

    /// Width of an edge feature row, 0 for none.
    pub fn edge_width(&self) -> usize {
        self.edge_table().map_or(0, FeatureTable::width)
    }

    /// Width of a node feature row, 0 for none.
    pub fn node_width(&self) -> usize {
        self.log.node_features().map_or(0, FeatureTable::width)
    }

    /// Edge features of `events`, `[events, edge width]`.
    pub fn edge_rows(&self, events: &[EventId]) -> Vec<f32> {
        gather(self.edge_table(), bytemuck::cast_slice(events))
    }

    /// Node features of `nodes`, `[nodes, node width]`.
    pub fn node_rows(&self, nodes: &[NodeId]) -> Vec<f32> {
        gather(self.log.node_features(), bytemuck::cast_slice(nodes))
    }
}

fn gather(table: Option<&FeatureTable>, ids: &[u32]) -> Vec<f32> {
    let Some(table) = table else {
        return Vec::new();
    };
    let mut rows = vec![0.0; ids.len() * table.width()];
    table.gather_into(ids, &mut rows);
    rows
}
