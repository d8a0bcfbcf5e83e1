//! What a batch asks of the node memory.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::batch::Layout;
use crate::graph::{EventId, NodeId, Queries};

/// When a memory row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryWrite {
    /// When its node has an event (TGN, TGL); negatives and past neighbours never write.
    #[value(help = "When its node has an event (TGN, TGL); negatives never write")]
    Event,
    /// Whenever it is read (TGLite): every fetched row goes through the updater, with an
    /// empty mail if it has none, and is kept. Negatives and past neighbours write too.
    #[value(help = "Whenever it is read, even as a negative (TGLite)")]
    Read,
}

/// What a batch asks of the node memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryRequest<'a> {
    /// Node and query time of each row; no times with
    /// [`TimeDelta::Message`](crate::batch::TimeDelta::Message).
    pub rows: Queries<'a>,
    /// The roots that are asked for.
    pub roots: Queries<'a>,
    /// The row of each root.
    pub root_row: &'a [i32],
    /// In training, the batch's first event: only then stale memory is corrected, from events before it.
    pub trains_from: Option<EventId>,
    /// What the batch will write, where it is known.
    pub written: Option<Written<'a>>,
}

/// Nodes whose memory a batch writes, each once; one entry a node.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// The node.
    pub node: &'a [NodeId],
    /// Its memory row.
    pub row: &'a [i32],
    /// The side that it is written as: 0 source, 1 destination.
    pub side: &'a [u8],
}

impl<'a> MemoryRequest<'a> {
    /// What the layout of `roots` asks, outside of training.
    pub fn of(layout: &'a Layout, roots: Queries<'a>) -> MemoryRequest<'a> {
        let innermost = layout.innermost();
        MemoryRequest {
            rows: Queries {
                node: &innermost.node,
                time: &innermost.query_time,
            },
            roots,
            root_row: &layout.root_row,
            trains_from: None,
            written: Some(Written {
                node: &layout.last_writers.node,
                row: &layout.last_writers.row,
                side: &layout.written_side,
            }),
        }
    }

    /// The same in training on the batch that begins at `first`.
    pub fn training_from(self, first: EventId) -> MemoryRequest<'a> {
        MemoryRequest {
            trains_from: Some(first),
            ..self
        }
    }
}
