//! `state.safetensors`: what answers need of a run that has ended, in one file.
//!
//! | arrays | what they hold |
//! |---|---|
//! | `model.*`, `pair_history.*` | weights of the best epoch by TGL's names; the encoding of pair histories |
//! | `memory.*` | rows, mail and times of each node, and of one that was never seen |
//! | `nodes.*` | the ids of the nodes, and who was a destination |
//! | `later.*` | of the events that came after those of the stream: the last ones, and features of those that sampling reaches |
//! | `graph.*` | whom sampling reaches from each node among them, and who has met whom |
//! | `histories.*` | how nodes and pairs stand that had one: counts, the last event, sums |
//! | `stream.*` | in a self-contained state: ends and times of all events, the features that sampling needs of them, node features |
//!
//! The header says which stream it stands on and the settings that a score depends on.
//!
//! Invariants: as those of a checkpoint, whose format it has; numbers are moved, never computed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mspipe_datasets::whole_file::Existing;
use mspipe_datasets::{DataError, EventLog};
use serde::{Deserialize, Serialize};

use super::error::PredictError;
use super::nodes::{Nodes, SavedNodes};
use crate::checkpoint::{self, Arrays, Header, Unfit};
use crate::config::RunConfig;
use crate::features::Features;
use crate::graph::tcsr::NewerEntries;
use crate::memory::host::HostMemory;
use crate::model::ModelConfig;
use crate::model::tgl_weights::NamedTensor;
use crate::run_folder::Dataset;
use crate::sampling::pair_history::SavedStates;
use crate::train::histories;
use crate::train::stream::Columns;

/// Version of what the arrays mean.
const VERSION: u32 = 2;

/// What a state says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// Version of what the arrays mean; a checkpoint has no such entry.
    pub(super) state: u32,
    /// The stream that the run was made on.
    pub(super) data: Dataset,
    /// Ticks of its unit of time.
    pub(super) ticks_per_unit: i64,
    /// Time of its first event.
    pub(super) first: i64,
    /// Events of the stream that come before the later ones.
    pub(super) base: usize,
    /// All events, the later ones too.
    pub(super) events: usize,
    /// Events that memory has followed, later ones too.
    pub(super) followed: usize,
    /// Whether ids are text, and nodes of two kinds.
    pub(super) text_ids: bool,
    pub(super) two_kinds: bool,
    /// Whether it needs no stream.
    pub(super) self_contained: bool,
    /// Late events that were moved to the end, and those that were refused.
    pub(super) late: [u64; 2],
    /// What the edge features are called that the model reads, if the stream's file has said so; earlier states
    /// lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) feature_names: Option<Vec<String>>,
    pub(super) model: ModelConfig,
    pub(super) config: RunConfig,
}

impl Standing {
    /// Takes from `log` what its edge features are called, if the model reads them.
    ///
    /// # Errors
    /// When the names that the store keeps can't be read.
    pub(super) fn name_features(&mut self, log: &EventLog) -> Result<(), DataError> {
        if self.config.stream.edge_features.of_stream() && self.model.edge_width > 0 {
            self.feature_names = log.names()?.edge_features;
        }
        Ok(())
    }

    /// Of a run on `data` with these settings, of whose stream `base` events were followed.
    pub(super) fn new(
        config: &RunConfig,
        model: ModelConfig,
        data: &Dataset,
        nodes: &Nodes,
        [ticks_per_unit, first]: [i64; 2],
        base: usize,
    ) -> Standing {
        Standing {
            state: VERSION,
            data: data.clone(),
            ticks_per_unit,
            first,
            base,
            events: base,
            followed: base,
            text_ids: nodes.are_text(),
            two_kinds: nodes.are_two_kinds(),
            self_contained: false,
            late: [0; 2],
            feature_names: None,
            model,
            config: config.clone(),
        }
    }
}

/// The events of a stream as columns, with features of some.
#[derive(Debug, Clone, Default)]
pub(super) struct Events {
    pub(super) columns: Columns,
    /// The events whose features are kept, ascending.
    pub(super) rows: Vec<u32>,
    /// Their features, `[rows, width]`.
    pub(super) edge: Vec<f32>,
}

/// What is kept of the events that came after those of the stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Later {
    /// The last ones.
    pub(super) newest: Columns,
    pub(super) graph: NewerEntries,
    /// Of nodes and of pairs, where the model reads pair histories.
    pub(super) histories: Option<[SavedStates; 2]>,
    /// The events whose features are kept, ascending.
    pub(super) rows: Vec<u32>,
    /// Their features as they were read, `[rows, width]`.
    pub(super) edge: Vec<f32>,
}

/// What is kept of the stream, so that it need not be there.
#[derive(Debug, Clone, Default)]
pub(super) struct Contained {
    /// All events before the later ones.
    pub(super) events: Events,
    /// Node features, `[nodes of the stream, width]`.
    pub(super) node: Vec<f32>,
}

/// What is written of the stream, so that it need not be there.
pub(super) struct ToContain {
    /// All events before the later ones.
    pub(super) columns: Arc<Columns>,
    /// The events whose features are written, ascending.
    pub(super) rows: Vec<u32>,
    /// Nodes of the stream.
    pub(super) nodes: usize,
}

/// A predictor at a moment, which can be written down while memory follows what comes.
pub(crate) struct Snapshot {
    pub(super) standing: Standing,
    pub(super) weights: BTreeMap<String, NamedTensor>,
    pub(super) constants: BTreeMap<String, NamedTensor>,
    pub(super) memory: HostMemory,
    pub(super) nodes: SavedNodes,
    pub(super) later: Later,
    pub(super) contained: Option<ToContain>,
    /// Where feature rows are; shared with whoever goes on.
    pub(super) features: Features,
}

impl Snapshot {
    /// Writes `path`, which appears when it is whole.
    ///
    /// # Errors
    /// When it can't be written, or `existing` keeps what is there.
    pub(crate) fn write(&self, path: &Path, existing: Existing) -> Result<(), PredictError> {
        let run = serde_json::to_value(&self.standing).map_err(|error| unwritable(path, error))?;
        let (memory, node) = (self.memory.save(), self.node_features());
        let mut arrays = Arrays::default();
        for (name, tensor) in &self.weights {
            arrays.put(format!("model.{name}"), &tensor.shape, &tensor.values);
        }
        for (name, tensor) in &self.constants {
            arrays.put(name, &tensor.shape, &tensor.values);
        }
        memory.put(&mut arrays, "memory.");
        self.nodes.put(&mut arrays);
        self.later.put(&mut arrays);
        self.put_edge(&mut arrays, "later.", &self.later.rows);
        if let Some(contained) = &self.contained {
            put_columns(&mut arrays, "stream.", &contained.columns);
            self.put_edge(&mut arrays, "stream.", &contained.rows);
            arrays.put_column("stream.node", &node[..]);
        }
        let header = Header::new(0, 0, run);
        Ok(checkpoint::write_file(path, existing, &header, &arrays)?)
    }

    /// Features of the nodes of the stream, if the state is to contain them.
    fn node_features(&self) -> Vec<f32> {
        let nodes = self
            .contained
            .as_ref()
            .map_or(0, |contained| contained.nodes);
        let nodes: Vec<u32> = (0..nodes as u32).collect();
        let [_, node] = self.features.unscaled(&[], &nodes);
        node
    }

    /// The features of the events `rows`, read some at a time.
    fn put_edge<'a>(&'a self, arrays: &mut Arrays<'a>, prefix: &str, rows: &'a [u32]) {
        /// Rows at a time.
        const ROWS: usize = 1024;
        arrays.put_column(format!("{prefix}row"), rows);
        let numbers = rows.len() * self.features.edge_width();
        arrays.put_written(format!("{prefix}edge"), &[numbers], move |out| {
            rows.chunks(ROWS).try_for_each(|rows| {
                let [edge, _] = self.features.unscaled(rows, &[]);
                out.write_all(bytemuck::cast_slice(&edge))
            })
        });
    }
}

impl Later {
    fn put<'a>(&'a self, arrays: &mut Arrays<'a>) {
        put_columns(arrays, "later.", &self.newest);
        let graph = &self.graph;
        arrays.put_column("graph.owner", &graph.owner[..]);
        arrays.put_column("graph.other", &graph.other[..]);
        arrays.put_column("graph.event", &graph.event[..]);
        arrays.put_column("graph.time", &graph.time[..]);
        arrays.put_column("graph.met_node", &graph.met_node[..]);
        arrays.put_column("graph.met_other", &graph.met_other[..]);
        if let Some(states) = &self.histories {
            histories::put_states(arrays, "histories.", states);
        }
    }

    fn take(arrays: &mut Arrays<'_>, histories: bool) -> Result<Later, Unfit> {
        let mut later = arrays.take_group("later.");
        let mut graph = arrays.take_group("graph.");
        Ok(Later {
            newest: take_columns(&mut later)?,
            rows: later.take_column("row")?,
            edge: later.take_column("edge")?,
            graph: NewerEntries {
                owner: graph.take_column("owner")?,
                other: graph.take_column("other")?,
                event: graph.take_column("event")?,
                time: graph.take_column("time")?,
                met_node: graph.take_column("met_node")?,
                met_other: graph.take_column("met_other")?,
            },
            histories: match histories {
                true => Some(histories::take_states(
                    &mut arrays.take_group("histories."),
                )?),
                false => None,
            },
        })
    }
}

fn unwritable(path: &Path, error: serde_json::Error) -> PredictError {
    PredictError::NoState {
        path: path.to_owned(),
        found: format!("its settings can't be written: {error}"),
    }
}

fn put_columns<'a>(arrays: &mut Arrays<'a>, prefix: &str, columns: &'a Columns) {
    arrays.put_column(format!("{prefix}src"), &columns.src[..]);
    arrays.put_column(format!("{prefix}dst"), &columns.dst[..]);
    arrays.put_column(format!("{prefix}time"), &columns.time[..]);
}

fn take_columns(group: &mut Arrays<'_>) -> Result<Columns, Unfit> {
    Ok(Columns {
        src: group.take_column("src")?,
        dst: group.take_column("dst")?,
        time: group.take_column("time")?,
    })
}

/// What a state holds.
pub(super) struct State {
    pub(super) standing: Standing,
    pub(super) arrays: Arrays<'static>,
    pub(super) nodes: Nodes,
    pub(super) later: Later,
    pub(super) contained: Option<Contained>,
}

impl State {
    /// The state in the file `path`.
    ///
    /// # Errors
    /// When it can't be read, is something else, or its arrays contradict one another.
    pub(super) fn read(path: &Path) -> Result<State, PredictError> {
        let no_state = |found: String| PredictError::NoState {
            path: path.to_owned(),
            found,
        };
        let file = checkpoint::read(path)?;
        let version = file.header.run.get("state").and_then(|v| v.as_u64());
        match version {
            None => return Err(no_state("is a checkpoint, and not a state".to_owned())),
            Some(found) if found != u64::from(VERSION) => {
                return Err(PredictError::StateVersion {
                    path: path.to_owned(),
                    found,
                    producer: file.header.producer,
                    expected: VERSION,
                });
            }
            Some(_) => {}
        }
        let standing: Standing = serde_json::from_value(file.header.run.clone())
            .map_err(|error| no_state(format!("its settings can't be read: {error}")))?;
        let mut arrays = file.arrays;
        let parts = Parts::take(&mut arrays, &standing);
        let (nodes, later, contained) =
            parts
                .and_then(|parts| parts.checked(&standing))
                .map_err(|error| PredictError::Unfit {
                    path: path.to_owned(),
                    error,
                })?;
        Ok(State {
            standing,
            arrays,
            nodes,
            later,
            contained,
        })
    }
}

/// The arrays that are no weights and no memory.
struct Parts(Nodes, Later, Option<Contained>);

fn wrong<T>(name: &str, reason: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit::Contradiction {
        name: name.to_owned(),
        reason: reason.into(),
    })
}

impl Parts {
    fn take(arrays: &mut Arrays<'_>, standing: &Standing) -> Result<Parts, Unfit> {
        let (text, two) = (standing.text_ids, standing.two_kinds);
        let nodes = Nodes::take(&mut arrays.take_group("nodes."), text, two)?;
        let later = Later::take(arrays, standing.model.pair_history > 0)?;
        let mut stream = arrays.take_group("stream.");
        let contained = match standing.self_contained {
            true => Some(Contained {
                node: stream.take_column("node")?,
                events: Events {
                    columns: take_columns(&mut stream)?,
                    rows: stream.take_column("row")?,
                    edge: stream.take_column("edge")?,
                },
            }),
            false => None,
        };
        Ok(Parts(nodes, later, contained))
    }

    /// Refuses what contradicts itself: lengths, ids, order.
    fn checked(self, standing: &Standing) -> Result<(Nodes, Later, Option<Contained>), Unfit> {
        let Parts(nodes, later, contained) = self;
        let (base, all) = (standing.base, standing.events);
        later.check(nodes.len(), standing)?;
        if standing.followed < base || standing.followed > all {
            wrong("later.time", "belongs to events that there are not")?;
        }
        if let Some(contained) = &contained {
            let Events {
                columns,
                rows,
                edge,
            } = &contained.events;
            check_columns("stream.time", columns, nodes.len())?;
            check_rows("stream.row", rows, edge, 0..base, standing)?;
            if columns.time.len() != base {
                wrong("stream.time", format!("is not of {base} events"))?;
            }
            if contained.node.len() != standing.data.nodes * standing.model.node_width {
                wrong("stream.node", "has not a row for each node")?;
            }
        }
        Ok((nodes, later, contained))
    }
}

impl Later {
    fn check(&self, nodes: usize, standing: &Standing) -> Result<(), Unfit> {
        let all = standing.events;
        check_columns("later.time", &self.newest, nodes)?;
        // Of the last event that was followed on.
        let least = all - all.min(standing.followed.saturating_sub(1).max(standing.base));
        let most = all.saturating_sub(standing.base);
        if !(least..=most).contains(&self.newest.time.len()) {
            wrong("later.time", format!("has not the last of {most} events"))?;
        }
        check_rows(
            "later.row",
            &self.rows,
            &self.edge,
            standing.base..all,
            standing,
        )?;
        let graph = &self.graph;
        let entries = graph.owner.len();
        if [graph.other.len(), graph.event.len(), graph.time.len()] != [entries; 3]
            || graph.met_node.len() != graph.met_other.len()
        {
            wrong("graph.owner", "has another length than its other columns")?;
        }
        let named = [
            &graph.owner,
            &graph.other,
            &graph.met_node,
            &graph.met_other,
        ];
        if named
            .into_iter()
            .flatten()
            .any(|&node| node as usize >= nodes)
        {
            wrong(
                "graph.owner",
                format!("has nodes beyond the {nodes} that there are"),
            )?;
        }
        if (graph.event.iter()).any(|&event| !(standing.base..all).contains(&(event as usize))) {
            wrong("graph.event", "has events that did not come later")?;
        }
        let follows = |at: usize| {
            graph.owner[at - 1] < graph.owner[at]
                || graph.owner[at - 1] == graph.owner[at]
                    && graph.event[at - 1] <= graph.event[at]
                    && graph.time[at - 1] <= graph.time[at]
        };
        match (1..entries).all(follows) {
            true => Ok(()),
            false => wrong("graph.event", "is out of order"),
        }
    }
}

fn check_columns(name: &str, columns: &Columns, nodes: usize) -> Result<(), Unfit> {
    let count = columns.time.len();
    if [columns.src.len(), columns.dst.len()] != [count; 2] {
        return wrong(
            name,
            format!("has columns of other lengths than its {count} events"),
        );
    }
    let mut ends = columns.src.iter().chain(&columns.dst);
    if ends.any(|&node| node as usize >= nodes) {
        return wrong(name, format!("has nodes beyond the {nodes} that there are"));
    }
    match columns.time.is_sorted() {
        true => Ok(()),
        false => wrong(name, "has times out of order"),
    }
}

fn check_rows(
    name: &str,
    rows: &[u32],
    edge: &[f32],
    events: std::ops::Range<usize>,
    standing: &Standing,
) -> Result<(), Unfit> {
    let known = rows.iter().all(|&row| events.contains(&(row as usize)));
    let ascending = rows.windows(2).all(|pair| pair[0] < pair[1]);
    match known && ascending && edge.len() == rows.len() * standing.model.edge_width {
        true => Ok(()),
        false => wrong(
            name,
            format!("has features of others than the events {events:?}"),
        ),
    }
}
