//! Node memory: what each node remembers between batches.
//!
//! Rows and mail live where the [`MemoryStore`] keeps them; times live on the host in a
//! [`clock::NodeTimes`], because they do not depend on weights, must be exact to the tick
//! (Δt ω reaches 10^6 and its cosine is wrong when Δt is off by one rounding), and WGSL
//! has no 64-bit integers.
//!
//! Invariant: a fetch sees exactly the commits made before it; negatives never write,
//! unless [`MemoryWrite::Read`] is asked for.
//! What this module does not do: decide *when* to fetch and commit ([`crate::pipeline`]).

pub mod device;
pub mod host;
pub mod node_memory;
pub mod node_times;
pub mod saved;
pub mod similarity;
pub mod write_back;

use burn::tensor::Tensor;
use thiserror::Error;

use crate::batch::{LastWriters, Layout, MailRouting};
use crate::graph::Queries;

/// When a memory row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryWrite {
    /// When its node has an event (TGN, TGL); negatives and past neighbours never write.
    Event,
    /// Whenever it is read (TGLite): every fetched row goes through the updater, with an
    /// empty mail if it has none, and is kept. Negatives and past neighbours write too.
    Read,
}

/// What a batch asks of the node memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryRequest<'a> {
    /// Node and query time of each row; no times with
    /// [`TimeDelta::Message`](crate::batch::TimeDelta::Message).
    pub rows: Queries<'a>,
    /// The batch's roots.
    pub roots: Queries<'a>,
    /// The row of each root.
    pub root_row: &'a [i32],
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
        }
    }
}

/// Memory of the rows that a batch needs.
#[derive(Debug, Clone)]
pub struct FetchedMemory {
    /// Memory rows, `[rows, width]`.
    pub memory: Tensor<2>,
    /// Mail, `[mail rows, slots x mail width]`.
    pub mail: Tensor<2>,
    /// Row of `mail` of each row, `[rows]`. A memory with one slot per node has one per row; with
    /// several, rows of one node share the node's, as they are many numbers.
    pub mail_row: Vec<i32>,
    /// Times that belong to them.
    pub times: node_times::FetchedTimes,
}

/// What a batch writes back, its rows on the device.
#[derive(Debug)]
pub struct MemoryCommit {
    /// Updated memory of each fetched row, `[rows, width]`.
    pub memory: Tensor<2>,
    /// Edge features of the batch's event rows, `[event rows, edge width]`.
    pub edge: Tensor<2>,
    /// Whose memory is written.
    pub last_writers: LastWriters,
    /// Who gets which mail.
    pub mail_routing: MailRouting,
    /// Times fetched with the rows.
    pub times: node_times::FetchedTimes,
}

/// The first commits that wrote numbers that are not finite, as
/// [`version`](MemoryStore::version) counts them, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NotFinite {
    /// Into a memory row or what mail holds of one.
    pub rows: Option<u64>,
    /// Into what mail holds of edge features.
    pub features: Option<u64>,
}

impl NotFinite {
    /// From the numbers of [`MemoryStore::watched`].
    pub fn read(numbers: [f32; 2]) -> NotFinite {
        let [rows, features] = numbers.map(|first| (first != 0.0).then_some(first as u64));
        NotFinite { rows, features }
    }
}

/// Why memory could not be written.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// Rows could not be read from the device.
    #[error("device: {0}")]
    Device(String),
}

/// The numbers of a tensor, row-major.
///
/// # Errors
/// When the device does not hand them over.
pub fn read(tensor: Tensor<2>) -> Result<Vec<f32>, MemoryError> {
    let failed = |error: &dyn std::fmt::Debug| MemoryError::Device(format!("{error:?}"));
    let data = tensor.try_into_data().map_err(|error| failed(&error))?;
    data.try_into_vec().map_err(|error| failed(&error))
}

/// A place that keeps memory rows, mail and times.
pub trait MemoryStore {
    /// Memory of the rows that a batch needs.
    fn fetch(&self, request: MemoryRequest<'_>) -> FetchedMemory;

    /// Writes a batch's memory rows and mail.
    ///
    /// # Errors
    /// When the device does not hand the rows over.
    fn commit(&mut self, commit: MemoryCommit) -> Result<(), MemoryError>;

    /// Number of commits since the last reset.
    fn version(&self) -> u64;

    /// What was written since the last reset and is not finite, as the numbers that
    /// [`NotFinite::read`] takes, `[2]`; not yet read from the device.
    fn watched(&self) -> Tensor<1>;

    /// Forgets everything: zero rows, empty mail, no times.
    fn reset(&mut self);
}
