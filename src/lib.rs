//! mspipe trains memory-based temporal graph neural networks on any GPU that wgpu
//! reaches, and on the CPU.
//!
//! `ARCHITECTURE.md` in the repository is the map: what each module holds, what always holds, and the life of one batch.
//!
//! # As a library
//!
//! A program trains on a stream, its own events or a file's, with the settings of the command line
//! ([`RunConfig`]), is told what happens ([`TrainEvent`]), and gets what the run gave ([`Summary`]):
//!
//! ```
//! use std::sync::Arc;
//! use mspipe::{DeviceChoice, EventLog, EventLogParts, RunConfig};
//!
//! # let folder = tempfile::tempdir()?;
//! // 400 events between 20 sources and 10 destinations.
//! let log = Arc::new(EventLog::from_parts(EventLogParts {
//!     name: "mine".to_owned(),
//!     nodes: 30,
//!     src: (0..400).map(|event| event % 20).collect(),
//!     dst: (0..400).map(|event| 20 + event % 10).collect(),
//!     time: (0..400).collect(),
//!     ..EventLogParts::default()
//! })?);
//! let mut config = RunConfig {
//!     device: DeviceChoice::Cpu.into(),
//!     ..RunConfig::default()
//! };
//! config.model.width = 8;
//! config.training.epochs = 1;
//! config.training.batch_size = 50;
//! config.output.out = Some(folder.path().join("run"));
//! let (summary, run) = mspipe::train_on(&log, config.clone(), |_event| Ok(()))?;
//!
//! // Its weights, with a memory that is built by them alone.
//! config.start.init = Some(run.path().to_owned());
//! let measured = mspipe::evaluate_on(&log, config)?;
//! let [trained, measured] = [summary.test, measured.test].map(|test| test.own_pool.ap);
//! assert!((0.0..=1.0).contains(&trained) && (0.0..=1.0).contains(&measured));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/` has more of it. What this page re-exports is what other programs are to use. The
//! modules below are public for this project's own tests and measurements, and change without
//! notice.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "texts of modules are for those who work on them"
)]

// The command line names the library as other programs do.
extern crate self as mspipe;

pub mod audit;
pub mod batch;
pub mod checkpoint;
pub mod cli;
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
pub mod numbers;
pub mod parallel;
pub mod pipeline;
pub mod profiler;
pub mod ranks;
pub mod report;
pub mod run_folder;
pub mod sampling;
#[cfg(feature = "serve")]
pub mod serve;
pub mod session;
pub mod train;
pub mod weights;
pub mod what_if;

pub use mspipe_datasets::{DataError, EventLog, EventLogParts, FeatureTable, NodeKey, OpenOptions};

pub use config::{ConfigError, Protocol, RunConfig, SamplerName};
pub use device::{DeviceChoice, DeviceSettings, KernelChoice, LimitsChoice};
pub use eval::{LinkMetrics, RankMetrics};
pub use features::FeatureSource;
pub use model::ModelName;
pub use pipeline::profile::Residency;
pub use pipeline::schedule::Schedule;
pub use run_folder::{EvalSummary, RunFolder, Summary};
pub use session::predict::{
    Late, LoadOptions, MaxJump, NewEvent, Pair, PredictError, Predictor, Ranked, Score, Side,
    Updated,
};
pub use session::{SessionError, evaluate_on, train_on};
pub use train::metrics::TestMetrics;
pub use train::observer::{EpochRecord, TrainEvent};
