//! `state.safetensors`: what answers need of a run that has ended, in one file.
//!
//! | arrays | what they hold |
//! |---|---|
//! | `model.*`, `pair_history.*` | weights of the best epoch by TGL's names; the encoding of pair histories |
//! | `memory.*` | rows, mail and times of each node, and of one that was never seen |
//! | `nodes.*` | the ids of the nodes, and who was a destination |
//! | `later.*` | events that came after those of the stream: ends, times, the features that sampling needs of them |
//! | `stream.*` | in a self-contained state: ends and times of all events, the features that sampling needs of them, node features |
//!
//! The header says which stream it stands on and the settings that a score depends on.
//!
//! Invariants: as those of a checkpoint, whose format it has; numbers are moved, never computed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use mspipe_datasets::whole_file::Existing;
use serde::{Deserialize, Serialize};

use super::error::PredictError;
use super::nodes::{Nodes, SavedNodes};
use crate::checkpoint::{self, Arrays, Header, Unfit};
use crate::config::RunConfig;
use crate::memory::host::HostMemory;
use crate::model::ModelConfig;
use crate::model::tgl_weights::{NamedTensor, Unread};
use crate::run_folder::Dataset;

/// Version of what the arrays mean.
const VERSION: u32 = 1;

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
    /// Events that memory has followed, later ones too.
    pub(super) followed: usize,
    /// Whether ids are text, and nodes of two kinds.
    pub(super) text_ids: bool,
    pub(super) two_kinds: bool,
    /// Whether it needs no stream.
    pub(super) self_contained: bool,
    /// Late events that were moved to the end, and those that were refused.
    pub(super) late: [u64; 2],
    pub(super) model: ModelConfig,
    pub(super) config: RunConfig,
}

impl Standing {
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
            followed: base,
            text_ids: nodes.are_text(),
            two_kinds: nodes.are_two_kinds(),
            self_contained: false,
            late: [0; 2],
            model,
            config: config.clone(),
        }
    }
}

/// Events as columns, with features of some.
#[derive(Debug, Clone, Default)]
pub(super) struct Events {
    pub(super) src: Vec<u32>,
    pub(super) dst: Vec<u32>,
    pub(super) time: Vec<i64>,
    /// Places in these columns of the events whose features are kept, ascending.
    pub(super) rows: Vec<u32>,
    /// Their features, `[rows, width]`.
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

/// All that is written.
pub(super) struct Written<'a> {
    pub(super) standing: &'a Standing,
    pub(super) weights: &'a [Unread],
    pub(super) constants: &'a BTreeMap<String, NamedTensor>,
    pub(super) memory: &'a HostMemory,
    pub(super) nodes: &'a Nodes,
    pub(super) later: &'a Events,
    pub(super) contained: Option<&'a Contained>,
}

impl Written<'_> {
    /// Writes `path`, which appears when it is whole.
    ///
    /// # Errors
    /// When it can't be written, or `existing` keeps what is there.
    pub(super) fn write(&self, path: &Path, existing: Existing) -> Result<(), PredictError> {
        let run = serde_json::to_value(self.standing).map_err(|error| unwritable(path, error))?;
        let nodes: SavedNodes = self.nodes.save();
        let memory = self.memory.save();
        let mut arrays = Arrays::default();
        for tensor in self.weights {
            let read = || tensor.read().map_err(io::Error::other);
            arrays.put_made(format!("model.{}", tensor.name()), tensor.shape(), read);
        }
        for (name, tensor) in self.constants {
            arrays.put(name, &tensor.shape, &tensor.values);
        }
        memory.put(&mut arrays, "memory.");
        nodes.put(&mut arrays);
        put_events(&mut arrays, "later.", self.later);
        if let Some(contained) = self.contained {
            put_events(&mut arrays, "stream.", &contained.events);
            arrays.put_column("stream.node", &contained.node[..]);
        }
        let header = Header::new(0, 0, run);
        Ok(checkpoint::write_file(path, existing, &header, &arrays)?)
    }
}

fn unwritable(path: &Path, error: serde_json::Error) -> PredictError {
    PredictError::NoState {
        path: path.to_owned(),
        found: format!("its settings can't be written: {error}"),
    }
}

fn put_events<'a>(arrays: &mut Arrays<'a>, prefix: &str, events: &'a Events) {
    arrays.put_column(format!("{prefix}src"), &events.src[..]);
    arrays.put_column(format!("{prefix}dst"), &events.dst[..]);
    arrays.put_column(format!("{prefix}time"), &events.time[..]);
    arrays.put_column(format!("{prefix}row"), &events.rows[..]);
    arrays.put_column(format!("{prefix}edge"), &events.edge[..]);
}

/// What a state holds.
pub(super) struct State {
    pub(super) standing: Standing,
    pub(super) arrays: Arrays<'static>,
    pub(super) nodes: Nodes,
    pub(super) later: Events,
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
                let producer = &file.header.producer;
                return Err(no_state(format!(
                    "is a state of version {found}, by {producer}, and this mspipe reads {VERSION}"
                )));
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
struct Parts(Nodes, Events, Option<Contained>);

impl Parts {
    fn take(arrays: &mut Arrays<'_>, standing: &Standing) -> Result<Parts, Unfit> {
        let (text, two) = (standing.text_ids, standing.two_kinds);
        let nodes = Nodes::take(&mut arrays.take_group("nodes."), text, two)?;
        let later = take_events(&mut arrays.take_group("later."))?;
        let mut stream = arrays.take_group("stream.");
        let contained = match standing.self_contained {
            true => Some(Contained {
                node: stream.take_column("node")?,
                events: take_events(&mut stream)?,
            }),
            false => None,
        };
        Ok(Parts(nodes, later, contained))
    }

    /// Refuses what contradicts itself: lengths, ids, order.
    fn checked(self, standing: &Standing) -> Result<(Nodes, Events, Option<Contained>), Unfit> {
        let Parts(nodes, later, contained) = self;
        let wrong = |name: &str, reason: String| {
            Err(Unfit::Contradiction {
                name: name.to_owned(),
                reason,
            })
        };
        let width = standing.model.edge_width;
        let check = |name: &str, events: &Events| {
            let (count, rows) = (events.time.len(), &events.rows);
            let known = |ids: &[u32]| ids.iter().all(|&id| (id as usize) < nodes.len());
            if [events.src.len(), events.dst.len()] != [count; 2]
                || events.edge.len() != rows.len() * width
            {
                return wrong(
                    name,
                    format!("has columns of other lengths than its {count} events"),
                );
            }
            if !known(&events.src) || !known(&events.dst) {
                return wrong(
                    name,
                    format!("has nodes beyond the {} that there are", nodes.len()),
                );
            }
            let ascending = rows.windows(2).all(|pair| pair[0] < pair[1]);
            if !ascending || rows.last().is_some_and(|&row| row as usize >= count) {
                return wrong(
                    name,
                    format!("has features of other events than its {count}"),
                );
            }
            match events.time.is_sorted() {
                true => Ok(()),
                false => wrong(name, "has times out of order".to_owned()),
            }
        };
        check("later.time", &later)?;
        if standing.followed > standing.base + later.time.len() {
            wrong(
                "later.time",
                "lacks events that memory has followed".to_owned(),
            )?;
        }
        if let Some(contained) = &contained {
            check("stream.time", &contained.events)?;
            if contained.events.time.len() != standing.base {
                wrong("stream.time", format!("is not of {} events", standing.base))?;
            }
            if contained.node.len() != standing.data.nodes * standing.model.node_width {
                wrong("stream.node", "has not a row for each node".to_owned())?;
            }
        }
        Ok((nodes, later, contained))
    }
}

fn take_events(group: &mut Arrays<'_>) -> Result<Events, Unfit> {
    Ok(Events {
        src: group.take_column("src")?,
        dst: group.take_column("dst")?,
        time: group.take_column("time")?,
        rows: group.take_column("row")?,
        edge: group.take_column("edge")?,
    })
}
