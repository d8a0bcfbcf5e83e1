//! The stream that sampling reads: one that was opened and never changes, or one that is followed
//! and grows.

use std::sync::Arc;

use mspipe_datasets::EventLog;

use crate::graph::{EventColumns, NodeId, Timestamp};

/// See the module.
#[derive(Clone)]
pub enum Stream {
    /// As it was opened.
    Opened(Arc<EventLog>),
    /// With what came since.
    Followed(FollowedStream),
}

/// The columns of a stream that grows, in RAM: 16 bytes per event.
#[derive(Debug, Clone, Default)]
pub struct FollowedStream {
    /// Its name.
    pub(crate) name: String,
    /// Nodes that may be asked for.
    pub(crate) nodes: usize,
    /// Ticks of its unit of time.
    pub(crate) ticks_per_unit: i64,
    /// Source of each event.
    pub(crate) src: Vec<u32>,
    /// Destination of each event.
    pub(crate) dst: Vec<u32>,
    /// Time of each event, ascending.
    pub(crate) time: Vec<Timestamp>,
}

impl Stream {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Stream::Opened(log) => log.name(),
            Stream::Followed(stream) => &stream.name,
        }
    }

    /// Number of nodes; ids are `0..nodes`.
    pub fn nodes(&self) -> usize {
        match self {
            Stream::Opened(log) => log.nodes(),
            Stream::Followed(stream) => stream.nodes,
        }
    }

    /// Nodes that tables are made for: more than there are where nodes may come, so that not each of
    /// them needs new tables.
    pub(crate) fn room(&self) -> usize {
        match self {
            Stream::Opened(log) => log.nodes(),
            Stream::Followed(stream) => stream.nodes.next_power_of_two(),
        }
    }

    /// Ticks of its unit of time.
    pub fn ticks_per_unit(&self) -> i64 {
        match self {
            Stream::Opened(log) => log.ticks_per_unit(),
            Stream::Followed(stream) => stream.ticks_per_unit,
        }
    }

    /// Number of events.
    pub fn events(&self) -> usize {
        self.time().len()
    }

    /// Source node of each event.
    pub fn src(&self) -> &[u32] {
        match self {
            Stream::Opened(log) => log.src(),
            Stream::Followed(stream) => &stream.src,
        }
    }

    /// Destination node of each event.
    pub fn dst(&self) -> &[u32] {
        match self {
            Stream::Opened(log) => log.dst(),
            Stream::Followed(stream) => &stream.dst,
        }
    }

    /// Time of each event in ticks.
    pub fn time(&self) -> &[Timestamp] {
        match self {
            Stream::Opened(log) => log.time(),
            Stream::Followed(stream) => &stream.time,
        }
    }

    /// State label of the source at each event; a stream that is followed has none.
    pub fn labels(&self) -> Option<&[i32]> {
        match self {
            Stream::Opened(log) => log.labels(),
            Stream::Followed(_) => None,
        }
    }

    /// Its columns.
    pub(crate) fn columns(&self) -> EventColumns<'_> {
        EventColumns {
            src: bytemuck::cast_slice::<u32, NodeId>(self.src()),
            dst: bytemuck::cast_slice::<u32, NodeId>(self.dst()),
            time: self.time(),
        }
    }
}

impl From<Arc<EventLog>> for Stream {
    fn from(log: Arc<EventLog>) -> Stream {
        Stream::Opened(log)
    }
}
