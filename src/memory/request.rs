//! What a batch asks of the node memory.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::batch::Layout;
use crate::graph::Queries;

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
    /// The roots whose ages tell which are old to a mitigation: the batch's, also where others are
    /// asked for beside it.
    pub aged: Queries<'a>,
}

impl<'a> MemoryRequest<'a> {
    /// What the layout of `roots` asks.
    pub fn of(layout: &'a Layout, roots: Queries<'a>) -> MemoryRequest<'a> {
        let innermost = layout.innermost();
        MemoryRequest {
            rows: Queries {
                node: &innermost.node,
                time: &innermost.query_time,
            },
            roots,
            root_row: &layout.root_row,
            aged: roots,
        }
    }
}
