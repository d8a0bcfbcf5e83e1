//! One batch: the events themselves and everything that is computed from them on the CPU.
//!
//! An [`EventBatch`] is a range of the stream with one negative per event. Its *root nodes* are
//! src ‖ dst ‖ neg: with `n` events, event `i` has the roots `i`, `n + i` and `2 n + i`, all queried
//! at the event's time. [`mfg::Mfg`] is the layout of one sampled layer, [`last_writers::LastWriters`] says
//! which event writes which node's memory, [`mail_routing::MailRouting`] which mail goes to which node,
//! and [`layout::Layout`] holds all of them for a batch.
//!
//! Neither features nor memory rows are touched here; `mfg` says which rows are needed.

use std::ops::Range;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::graph::{EventColumns, NodeId, Queries, Timestamp};

pub mod distinct;
mod index_table;
pub mod last_writers;
pub mod layout;
pub mod mail_routing;
pub mod mfg;

pub use distinct::Distinct;
pub use last_writers::{LastWriter, LastWriters};
pub use layout::{Layout, LayoutRule};
pub use mail_routing::{Mail, MailAggregation, MailList, MailOrder, MailRouting, MailRule};
pub use mfg::{Mfg, MfgScratch, Slot};

/// Events of one iteration with their negatives; all columns have the length of `events`.
///
/// A negative has the event's own source, unless `neg_src` names another: such a pair is scored
/// beside the batch and its source is no root of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventBatch {
    /// Position in the stream; event ids are these numbers.
    pub events: Range<usize>,
    /// Sources.
    pub src: Vec<NodeId>,
    /// Destinations.
    pub dst: Vec<NodeId>,
    /// Negatives, one per event.
    pub neg: Vec<NodeId>,
    /// Sources of the negatives, where these are not the events' own.
    pub neg_src: Option<Vec<NodeId>>,
    /// Times in ticks, ascending.
    pub time: Vec<Timestamp>,
}

impl EventBatch {
    /// Cuts `events` out of a stream's columns.
    ///
    /// # Panics
    /// If the columns are shorter than `events.end`, or `neg` is not as long as `events`.
    pub fn cut(
        events: Range<usize>,
        src: &[NodeId],
        dst: &[NodeId],
        time: &[Timestamp],
        neg: Vec<NodeId>,
    ) -> EventBatch {
        assert_eq!(neg.len(), events.len(), "one negative per event");
        EventBatch {
            src: src[events.clone()].to_vec(),
            dst: dst[events.clone()].to_vec(),
            time: time[events.clone()].to_vec(),
            neg,
            neg_src: None,
            events,
        }
    }

    /// Those of its events at the places `within`, counted from its first.
    pub(crate) fn part(&self, within: Range<usize>) -> EventBatch {
        let first = self.events.start;
        let nodes = |column: &[NodeId]| column[within.clone()].to_vec();
        EventBatch {
            events: first + within.start..first + within.end,
            src: nodes(&self.src),
            dst: nodes(&self.dst),
            neg: nodes(&self.neg),
            neg_src: self.neg_src.as_deref().map(nodes),
            time: self.time[within.clone()].to_vec(),
        }
    }

    /// The source of each negative.
    pub(crate) fn negative_sources(&self) -> &[NodeId] {
        self.neg_src.as_deref().unwrap_or(&self.src)
    }

    /// Its events as columns.
    pub fn columns(&self) -> EventColumns<'_> {
        EventColumns {
            src: &self.src,
            dst: &self.dst,
            time: &self.time,
        }
    }

    /// The ends src ‖ dst of its events, `[2 * events]`.
    pub(crate) fn ends(&self) -> Roots {
        Roots {
            node: [&self.src[..], &self.dst].concat(),
            time: self.time.repeat(2),
        }
    }

    /// The root nodes src ‖ dst ‖ neg, `[3 * events]`.
    pub fn roots(&self) -> Roots {
        Roots {
            node: [&self.src[..], &self.dst, &self.neg].concat(),
            time: self.time.repeat(3),
        }
    }
}

/// Root nodes of a batch and their query times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// `[roots]`: the nodes.
    pub node: Vec<NodeId>,
    /// `[roots]`: their query times, in ticks.
    pub time: Vec<Timestamp>,
}

impl Roots {
    /// What is asked of samplers and memory.
    pub fn queries(&self) -> Queries<'_> {
        Queries {
            node: &self.node,
            time: &self.time,
        }
    }
}

/// Which difference of times a memory updater gets, and with it what one of its rows is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeDelta {
    /// Mail time − last update, as in TGN's paper: one updater row per node.
    #[value(help = "Between a node's last two events (TGN's paper); one updater row per node")]
    Message,
    /// Query time − last update, as in TGL and MSPipe: one updater row per (node, query time).
    #[value(
        help = "From a node's last event to the query (TGL, MSPipe); one updater row per (node, time)"
    )]
    Query,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_sources_then_destinations_then_negatives() {
        let nodes = |ids: [u32; 4]| ids.map(NodeId);
        let (src, dst) = (nodes([1, 2, 3, 4]), nodes([5, 6, 7, 8]));
        let batch = EventBatch::cut(
            1..3,
            &src,
            &dst,
            &[10, 20, 30, 40],
            vec![NodeId(9), NodeId(9)],
        );
        let roots = batch.roots();
        assert_eq!(roots.node, [2, 3, 6, 7, 9, 9].map(NodeId));
        assert_eq!(roots.time, [20, 30, 20, 30, 20, 30]);
    }
}
