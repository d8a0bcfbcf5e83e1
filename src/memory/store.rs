//! A place that keeps memory: what it hands out, and what it takes.

use burn::tensor::Tensor;
use thiserror::Error;

use super::node_times::{FetchedTimes, NodeTimes};
use super::request::MemoryRequest;
use crate::batch::{LastWriters, MailRouting};
use crate::device;
use crate::kernels::packing::{Packing, Sent};

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
    /// Mail that is absorbed before it, `[mail, mail width]`, as [`FetchedTimes::backlog`] has it.
    pub earlier_mail: Option<Tensor<2>>,
    /// Sums of past changes, `[trends, width]`, of the rows that [`FetchedTimes::trends`] names.
    pub trends: Option<Tensor<2>>,
    /// Times that belong to them.
    pub times: FetchedTimes,
}

/// Memory that is being fetched: what there is to write to the device is packed, and times are known.
#[derive(Debug)]
pub enum BegunFetch<'a> {
    /// All is there.
    Done(Box<FetchedMemory>),
    /// Its rows are still to be read, of tables on the device.
    OnDevice(Box<dyn UnreadRows + 'a>),
}

/// Rows that are still to be read.
pub trait UnreadRows: std::fmt::Debug {
    /// As [`FetchedMemory`] will have them: its times, and its mail rows.
    fn times(&self) -> (&FetchedTimes, &[i32]);

    /// Reads them, when what was packed for them is there.
    fn finish(self: Box<Self>, sent: &mut Sent) -> FetchedMemory;
}

impl BegunFetch<'_> {
    /// As [`FetchedMemory`] will have them: its times, and its mail rows.
    pub fn times(&self) -> (&FetchedTimes, &[i32]) {
        match self {
            BegunFetch::Done(fetched) => (&fetched.times, &fetched.mail_row),
            BegunFetch::OnDevice(fetch) => fetch.times(),
        }
    }

    /// The rows, when what was packed for them has been written.
    pub fn finish(self, sent: &mut Sent) -> FetchedMemory {
        match self {
            BegunFetch::Done(fetched) => *fetched,
            BegunFetch::OnDevice(fetch) => fetch.finish(sent),
        }
    }
}

/// What a batch writes back, its rows on the device.
#[derive(Debug)]
pub struct MemoryCommit {
    /// Updated memory of each fetched row, `[rows, width]`.
    pub memory: Tensor<2>,
    /// Changes of the rows that [`FetchedTimes::trends`] names, `[trends, width]`, if there are any.
    pub changes: Option<Tensor<2>>,
    /// Edge features of the batch's event rows, `[event rows, edge width]`.
    pub edge: Tensor<2>,
    /// Whose memory is written.
    pub last_writers: LastWriters,
    /// Who gets which mail.
    pub mail_routing: MailRouting,
    /// Times fetched with the rows.
    pub times: FetchedTimes,
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
    device::read(tensor).map_err(MemoryError::Device)
}

/// A place that keeps memory rows, mail and times.
pub trait MemoryStore {
    /// Memory of the rows that a batch needs.
    fn fetch(&self, request: MemoryRequest<'_>) -> FetchedMemory;

    /// The same in two steps, so that what it writes to the device goes there with other things.
    fn begin_fetch(&self, request: MemoryRequest<'_>, packing: &mut Packing) -> BegunFetch<'_> {
        let _ = packing;
        BegunFetch::Done(Box::new(self.fetch(request)))
    }

    /// Writes a batch's memory rows and mail.
    ///
    /// # Errors
    /// When the device does not hand the rows over.
    fn commit(&mut self, commit: MemoryCommit) -> Result<(), MemoryError>;

    /// When its rows were written and its mail was.
    fn node_times(&self) -> &NodeTimes;

    /// Number of commits since the last reset.
    fn version(&self) -> u64;

    /// What was written since the last reset and is not finite, as the numbers that
    /// [`NotFinite::read`] takes, `[2]`; not yet read from the device.
    fn watched(&self) -> Tensor<1>;

    /// Forgets everything: zero rows, empty mail, no times.
    fn reset(&mut self);
}
