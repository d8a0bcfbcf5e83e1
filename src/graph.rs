//! Vocabulary of a temporal graph: who interacted with whom, and when.
//!
//! An *event* is one timestamped (source, destination) interaction; its [`EventId`] is its position
//! in the stream. Events are sorted by time, and equal times keep file order.
//!
//! Features, labels and file formats are not part of this module: it takes plain slices, so that
//! samplers can be tested on a graph drawn by hand. The id types are transparent over `u32`, so a
//! column of a stream becomes a slice of ids by `bytemuck::cast_slice`, without a copy.

use bytemuck::{Pod, Zeroable};

pub(crate) mod csr;
#[cfg(test)]
pub(crate) mod drawn_streams;
pub(crate) mod sharded;
pub(crate) mod tcsr;

pub(crate) use csr::Csr;
pub use tcsr::{GraphError, History, Tcsr};

/// A node of the stream, dense from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct NodeId(pub u32);

/// Position of an event in the stream, from 0; a smaller id is never later in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct EventId(pub u32);

impl NodeId {
    /// The id as an index into a table of nodes.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl EventId {
    /// The id as an index into a table of events.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Time in ticks: the coarsest decimal fraction of the stream's unit that represents it exactly.
pub type Timestamp = i64;

/// Columns of a stream, all of one length; position is the [`EventId`].
#[derive(Clone, Copy, Debug, Default)]
pub struct EventColumns<'a> {
    /// Sources.
    pub src: &'a [NodeId],
    /// Destinations.
    pub dst: &'a [NodeId],
    /// Times in ticks, ascending.
    pub time: &'a [Timestamp],
}

/// Nodes, each with the time at which its past or its memory is asked for; both columns have the same
/// length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queries<'a> {
    /// The nodes.
    pub node: &'a [NodeId],
    /// Their query times, in ticks.
    pub time: &'a [Timestamp],
}

/// Whose history an event enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directions {
    /// The source sees the destination and the destination sees the source. A self loop enters its
    /// node's history twice, as in TGL with `add_reverse` and in PyG.
    Both,
    /// Only the source sees the destination (TGL without `add_reverse`).
    SourceOnly,
}
