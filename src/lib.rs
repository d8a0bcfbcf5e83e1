//! mspipe trains memory-based temporal graph neural networks on any GPU that wgpu
//! reaches, and on the CPU.
//!
//! `ARCHITECTURE.md` in the repository is the map: what each module holds, what always holds, and the life of one batch.

pub mod audit;
pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod console;
pub mod device;
pub mod eval;
pub mod features;
pub mod graph;
pub mod interrupt;
pub mod kernels;
pub mod memory;
pub mod model;
pub mod pipeline;
pub mod profiler;
pub mod report;
pub mod run_folder;
pub mod sampling;
pub mod session;
pub mod train;
pub mod weights;
pub mod what_if;
