//! Node and edge features of a stream, gathered on the host for a batch.
//!
//! Rows are gathered once for each distinct event or node of a batch; kernels reach them
//! by index. A width of 0 means that there are none. Tables of the stream stay mapped: what is
//! in RAM of them is what the operating system keeps. Booleans stay packed until they are on
//! the device. Tables may also lie on the device, whole or the rows that were wanted last ([`resident`]): then a
//! batch's rows are gathered there.

mod followed;
pub(crate) mod resident;
mod rows;
mod scale;
mod slots;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use burn::tensor::Device;
use mspipe_datasets::{EventLog, FeatureTable};
use serde::{Deserialize, Serialize};

pub(crate) use followed::{FollowedRows, RowsToKeep};
pub use rows::{FeatureRows, RowValues};
pub use scale::FeatureScale;
pub(crate) use slots::{ROW_BYTES, SLOT_BYTES};

use crate::graph::{EventId, NodeId};
use crate::kernels::costs;
use crate::kernels::cpu::{room, zeroed};
use crate::kernels::feature_rows::Stored;
use crate::parallel;
use resident::{Ahead, ResidentTable};

/// Where edge or node features come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FeatureSource {
    /// None.
    Zero,
    /// Standard-normal numbers of this width, drawn from the run's seed.
    Random(usize),
    /// Those of the stream.
    File,
    /// Those of the stream, each column standardised by the training part; see [`FeatureScale`].
    Standardized,
}

impl FeatureSource {
    /// Whether they are the stream's own.
    pub(crate) fn of_stream(self) -> bool {
        matches!(self, FeatureSource::File | FeatureSource::Standardized)
    }
}

impl FromStr for FeatureSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "zero" => Ok(FeatureSource::Zero),
            "file" => Ok(FeatureSource::File),
            "standardize" => Ok(FeatureSource::Standardized),
            _ => text
                .strip_prefix("random:")
                .and_then(|width| width.parse().ok())
                .filter(|&width: &usize| width > 0)
                .map(FeatureSource::Random)
                .ok_or_else(|| {
                    format!("found '{text}', expected zero, file, standardize or random:WIDTH")
                }),
        }
    }
}

impl TryFrom<String> for FeatureSource {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<FeatureSource> for String {
    fn from(source: FeatureSource) -> String {
        source.to_string()
    }
}

impl fmt::Display for FeatureSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FeatureSource::Zero => f.write_str("zero"),
            FeatureSource::Random(width) => write!(f, "random:{width}"),
            FeatureSource::File => f.write_str("file"),
            FeatureSource::Standardized => f.write_str("standardize"),
        }
    }
}

/// The features that a run uses.
#[derive(Debug, Clone)]
pub struct Features {
    edge: Table,
    node: Table,
    /// What edge features are standardised by.
    edge_scale: Option<Arc<FeatureScale>>,
    /// Edge and node features that lie on a device too.
    resident: [Option<Arc<ResidentTable>>; 2],
}

/// Keeps the seeds of random edge and node features apart.
const NODE_SEED: u64 = 0x6e6f_6465;

impl Features {
    /// Edge and node features of `log`; `seed` draws random ones.
    pub fn new(
        log: &Arc<EventLog>,
        edge: FeatureSource,
        node: FeatureSource,
        seed: u64,
    ) -> Features {
        let own = |table: Option<&FeatureTable>, mapped: Table| match table {
            Some(table) if is_used(table) => mapped,
            _ => Table::None,
        };
        Features {
            edge_scale: None,
            resident: [None, None],
            edge: match edge {
                FeatureSource::Zero => Table::None,
                FeatureSource::Random(width) => Table::random(log.events(), width, seed),
                FeatureSource::File | FeatureSource::Standardized => {
                    own(log.edge_features(), Table::Edges(log.clone()))
                }
            },
            node: match node {
                FeatureSource::Zero => Table::None,
                FeatureSource::Random(width) => Table::random(log.nodes(), width, seed ^ NODE_SEED),
                FeatureSource::File | FeatureSource::Standardized => {
                    own(log.node_features(), Table::Nodes(log.clone()))
                }
            },
        }
    }

    /// The same with edge features that are standardised by `scale`, if there is one.
    #[must_use]
    pub(crate) fn with_edge_scale(self, scale: Option<FeatureScale>) -> Features {
        Features {
            edge_scale: scale.map(Arc::new),
            ..self
        }
    }

    /// Widths of edge and node features from these sources; draws and reads nothing.
    pub(crate) fn widths(log: &EventLog, edge: FeatureSource, node: FeatureSource) -> [usize; 2] {
        let width = |source, own: Option<&FeatureTable>| match source {
            FeatureSource::Zero => 0,
            FeatureSource::Random(width) => width,
            FeatureSource::File | FeatureSource::Standardized => own
                .filter(|table| is_used(table))
                .map_or(0, FeatureTable::width),
        };
        [
            width(edge, log.edge_features()),
            width(node, log.node_features()),
        ]
    }

    /// Bytes of a row of edge and of node features from these sources as a device holds them; draws and reads
    /// nothing.
    pub(crate) fn resident_row_bytes(log: &EventLog, [edge, node]: [FeatureSource; 2]) -> [u64; 2] {
        let own = [log.edge_features(), log.node_features()];
        let widths = Features::widths(log, edge, node);
        [0, 1].map(|of| {
            let packed = |table: &FeatureTable| table.gather_words(&[]).is_some();
            let as_words = [edge, node][of] == FeatureSource::File && own[of].is_some_and(packed);
            let stored = match as_words {
                true => Stored::Booleans,
                false => Stored::Numbers,
            };
            4 * stored.words_of(widths[of]) as u64
        })
    }

    /// Rows of a stream that is followed, of its events and of its nodes, in place of tables.
    pub(crate) fn followed(edge: FollowedRows, node: FollowedRows) -> Features {
        Features {
            edge: Table::Followed(edge),
            node: Table::Followed(node),
            edge_scale: None,
            resident: [None, None],
        }
    }

    /// The same with room on `device` (without autodiff) for so many `slots` of the first `rows` rows of edge and of
    /// node features, which batches then take theirs from; one without slots stays in RAM.
    ///
    /// # Panics
    /// When they are those of a stream that is followed.
    #[must_use]
    pub(crate) fn on_device(
        self,
        rows: [usize; 2],
        slots: [usize; 2],
        device: &Device,
    ) -> Features {
        let followed = |table: &Table| matches!(table, Table::Followed(_));
        assert!(!followed(&self.edge) && !followed(&self.node), "they grow");
        let host = Features {
            resident: [None, None],
            ..self.clone()
        };
        let of_nodes = host.clone();
        let edge = Box::new(move |ids: &[u32]| host.edge_rows(bytemuck::cast_slice(ids)));
        let node = Box::new(move |ids: &[u32]| of_nodes.node_rows(bytemuck::cast_slice(ids)));
        let edge = ResidentTable::new(rows[0], slots[0], edge, device);
        let node = ResidentTable::new(rows[1], slots[1], node, device);
        Features {
            resident: [edge, node].map(|table| table.map(Arc::new)),
            ..self
        }
    }

    /// The tables of edge and of node features on a device.
    pub(crate) fn resident(&self) -> [Option<&ResidentTable>; 2] {
        self.resident.each_ref().map(Option::as_deref)
    }

    /// The rows of events and of nodes, if they are of a stream that is followed.
    pub(crate) fn followed_rows(&mut self) -> Option<[&mut FollowedRows; 2]> {
        match (&mut self.edge, &mut self.node) {
            (Table::Followed(edge), Table::Followed(node)) => Some([edge, node]),
            _ => None,
        }
    }

    /// Those of events, to look at.
    pub(crate) fn followed_edge(&self) -> Option<&FollowedRows> {
        match &self.edge {
            Table::Followed(edge) => Some(edge),
            _ => None,
        }
    }

    /// Bytes in RAM of a stream that is followed.
    pub(crate) fn followed_bytes(&self) -> u64 {
        let bytes = |table: &Table| match table {
            Table::Followed(rows) => rows.bytes(),
            _ => 0,
        };
        bytes(&self.edge) + bytes(&self.node)
    }

    /// The same of the first `events` events and `nodes` nodes of a stream that is followed from there on;
    /// edge features are not scaled.
    pub(crate) fn to_follow(&self, events: usize, nodes: usize) -> Features {
        let none = |count| FollowedRows::kept(count, 0, Vec::new(), Vec::new());
        let rows = |table: &Table, count: usize| match table {
            Table::None => none(count),
            Table::Random(table) => FollowedRows::drawn(table, count),
            Table::Edges(log) => FollowedRows::of_events(log, count),
            Table::Nodes(log) => FollowedRows::of_nodes(log, count),
            Table::Followed(rows) => rows.clone(),
        };
        Features::followed(rows(&self.edge, events), rows(&self.node, nodes))
    }

    /// The rows of `events` and of `nodes`, `[ids, width]` each, not scaled.
    pub(crate) fn unscaled(&self, events: &[u32], nodes: &[u32]) -> [Vec<f32>; 2] {
        let rows = |table: &Table, ids: &[u32]| table.gather(ids).first(ids.len());
        [rows(&self.edge, events), rows(&self.node, nodes)]
    }

    /// Width of an edge feature row, 0 for none.
    pub fn edge_width(&self) -> usize {
        self.edge.width()
    }

    /// Width of a node feature row, 0 for none.
    pub(crate) fn node_width(&self) -> usize {
        self.node.width()
    }

    /// Edge features of `events`, `[events, edge width]`.
    pub fn edge_rows(&self, events: &[EventId]) -> FeatureRows {
        let rows = self.edge.gather(bytemuck::cast_slice(events));
        match &self.edge_scale {
            Some(scale) => rows.scaled(scale),
            None => rows,
        }
    }

    /// Node features of `nodes`, `[nodes, node width]`.
    pub fn node_rows(&self, nodes: &[NodeId]) -> FeatureRows {
        self.node.gather(bytemuck::cast_slice(nodes))
    }
}

impl Features {
    /// Edge features of `events` for a batch.
    pub(crate) fn edge_batch(&self, events: &[EventId]) -> BatchRows {
        let ids = bytemuck::cast_slice(events);
        BatchRows::resident(&self.resident[0], ids)
            .unwrap_or_else(|| BatchRows::Gathered(self.edge_rows(events)))
    }

    /// Node features of `nodes` for a batch.
    pub(crate) fn node_batch(&self, nodes: &[NodeId]) -> BatchRows {
        let ids = bytemuck::cast_slice(nodes);
        BatchRows::resident(&self.resident[1], ids)
            .unwrap_or_else(|| BatchRows::Gathered(self.node_rows(nodes)))
    }
}

/// A column of zeros stands for "no features" in published files.
pub(crate) fn is_used(table: &FeatureTable) -> bool {
    table.width() > 0 && !table.all_zero()
}

/// One of the two tables: drawn, the stream's own, or what is kept of one that is followed.
#[derive(Debug, Clone)]
enum Table {
    None,
    Random(Arc<FeatureTable>),
    Edges(Arc<EventLog>),
    Nodes(Arc<EventLog>),
    Followed(FollowedRows),
}

impl Table {
    fn random(rows: usize, width: usize, seed: u64) -> Table {
        Table::Random(Arc::new(FeatureTable::random_normal(rows, width, seed)))
    }

    fn get(&self) -> Option<&FeatureTable> {
        match self {
            Table::None | Table::Followed(_) => None,
            Table::Random(table) => Some(table),
            Table::Edges(log) => log.edge_features(),
            Table::Nodes(log) => log.node_features(),
        }
    }

    fn width(&self) -> usize {
        match self {
            Table::Followed(rows) => rows.width(),
            table => table.get().map_or(0, FeatureTable::width),
        }
    }

    fn gather(&self, ids: &[u32]) -> FeatureRows {
        match self {
            Table::Followed(rows) => FeatureRows {
                rows: ids.len(),
                width: rows.width(),
                values: RowValues::Floats(rows.gather(ids)),
            },
            table => gather(table.get(), ids),
        }
    }
}

/// Rows that one task gathers.
const ROWS: usize = 64;

fn gather(table: Option<&FeatureTable>, ids: &[u32]) -> FeatureRows {
    let width = table.map_or(0, FeatureTable::width);
    let values = match table.map(|table| (table, table.gather_words(ids))) {
        None => RowValues::Floats(Vec::new()),
        Some((_, Some(words))) => RowValues::Words(bytemuck::allocation::cast_vec(words)),
        Some((table, None)) => {
            let _part = parallel::part("features");
            let (mut rows, len) = (Vec::new(), ids.len() * width);
            let chunks = room(&mut rows, len).chunks_mut(ROWS * width.max(1));
            parallel::for_each(chunks.zip(ids.chunks(ROWS)).collect(), |(rows, ids)| {
                parallel::task(|| costs::gather(ids.len(), width).one());
                table.gather_into(ids, zeroed(rows));
            });
            // SAFETY: the chunks cover all rows, and each has been written.
            unsafe { rows.set_len(len) };
            RowValues::Floats(rows)
        }
    };
    FeatureRows {
        rows: ids.len(),
        width,
        values,
    }
}

/// Rows of a batch, before they are on the device.
#[derive(Debug, Clone)]
pub(crate) enum BatchRows {
    /// Gathered on the host.
    Gathered(FeatureRows),
    /// Which rows they are of a table on the device.
    Resident {
        /// The table.
        table: Arc<ResidentTable>,
        /// The rows.
        ids: Vec<u32>,
        /// What it lacked of them.
        ahead: Ahead,
    },
}

impl BatchRows {
    fn resident(table: &Option<Arc<ResidentTable>>, ids: &[u32]) -> Option<BatchRows> {
        let table = table.clone()?;
        Some(BatchRows::Resident {
            ahead: table.ahead(ids),
            ids: ids.to_vec(),
            table,
        })
    }

    /// Values of a row.
    pub(crate) fn width(&self) -> usize {
        match self {
            BatchRows::Gathered(rows) => rows.width,
            BatchRows::Resident { table, .. } => table.width(),
        }
    }

    /// Bytes that an upload moves, as far as that is known before the batch is packed.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            BatchRows::Gathered(rows) => rows.bytes(),
            BatchRows::Resident { ids, ahead, .. } => 4 * ids.len() as u64 + ahead.bytes(),
        }
    }
}
