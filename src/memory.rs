//! Node memory: what each node remembers between batches.
//!
//! Rows and mail live where the [`MemoryStore`] keeps them; times live on the host in a
//! [`node_times::NodeTimes`], because they do not depend on weights, must be exact to the tick
//! (Δt ω reaches 10^6 and its cosine is wrong when Δt is off by one rounding), and WGSL
//! has no 64-bit integers.
//!
//! Invariant: a fetch sees exactly the commits made before it; negatives never write,
//! unless [`MemoryWrite::Read`] is asked for.
//! What this module does not do: decide *when* to fetch and commit ([`crate::pipeline`]).

pub mod backlog;
pub mod device;
pub mod host;
pub mod node_memory;
pub mod node_times;
mod request;
pub mod saved;
pub mod similarity;
mod store;
pub mod trends;
pub(crate) mod write_back;

pub use request::{MemoryRequest, MemoryWrite, Written};
pub use store::{
    BegunFetch, FetchedMemory, MemoryCommit, MemoryError, MemoryStore, NotFinite, UnreadRows, read,
};
