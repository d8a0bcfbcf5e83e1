//! Node memory: what each node remembers between batches.
//!
//! Rows and mails live where the [`MemoryStore`] keeps them; times live on the host in a
//! [`clock::NodeClock`], because they do not depend on weights, must be exact to the tick
//! (Δt ω reaches 10^6 and its cosine is wrong when Δt is off by one rounding), and WGSL
//! has no 64-bit integers.
//!
//! Invariant: a fetch sees exactly the commits made before it; negatives never write,
//! unless [`MemoryWrite::Read`] is asked for.
//! What this module does not do: decide *when* to fetch and commit ([`crate::pipeline`]).

pub mod clock;
pub mod device;

use burn::tensor::Tensor;

use crate::batch::winners::Winners;
use crate::graph::{NodeId, Timestamp};

/// When a memory row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryWrite {
    /// When its node has an event (TGN, TGL); negatives and past neighbours never write.
    Event,
    /// Whenever it is read (TGLite): every fetched row goes through the updater, with an
    /// empty mail if it has none, and is kept. Negatives and past neighbours write too.
    Read,
}

/// Memory of the rows that a batch needs.
#[derive(Debug, Clone)]
pub struct FetchedMemory {
    /// Memory rows, `[rows, width]`.
    pub memory: Tensor<2>,
    /// Mails, `[rows, mail width]`.
    pub mail: Tensor<2>,
    /// Times that belong to them.
    pub times: clock::FetchedTimes,
}

/// What a batch writes back: the rows of its winners.
#[derive(Debug)]
pub struct MemoryCommit<'a> {
    /// Updated memory of each fetched row, `[rows, width]`.
    pub memory: Tensor<2>,
    /// Edge features of the batch's event rows, `[event rows, edge width]`.
    pub edge: Tensor<2>,
    /// Last event of each node of the batch.
    pub winners: &'a Winners,
    /// Times fetched with the rows.
    pub times: &'a clock::FetchedTimes,
}

/// A place that keeps memory rows, mails and times.
pub trait MemoryStore {
    /// Memory of `node` (one entry a row); `query_time` is each row's time with
    /// [`TimeDelta::Query`](crate::batch::TimeDelta::Query) and empty with `Message`.
    fn fetch(&self, node: &[NodeId], query_time: &[Timestamp]) -> FetchedMemory;

    /// Writes a batch's winners.
    fn commit(&mut self, commit: MemoryCommit<'_>);

    /// Number of commits since the last reset.
    fn version(&self) -> u64;

    /// Forgets everything: zero rows, zero mails, no times.
    fn reset(&mut self);
}
