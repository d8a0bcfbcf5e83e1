//! Event streams for mspipe: readers, a memory-mapped store, manifests, synthetic streams.
//!
//! | module | what it holds |
//! |---|---|
//! | [`event_log`], `column` | one stream in memory or mapped: [`EventLog`] |
//! | [`features`] | [`FeatureTable`]: f32, f16 or packed booleans |
//! | [`split`] | [`Split`]: training, validation, test |
//! | [`open`] | [`OpenOptions`], from a name to a log, the cache |
//! | [`detect`] | [`Format`], told from a file's content |
//! | `jodie_csv`, `snap_text`, `tgl_csv`, [`npy`] | one file format each |
//! | `lines`, `decimal`, `raw_event`, `intake`, `conversion` | from lines to columns, exactly |
//! | [`store`] | the folder of columns and its writer |
//! | [`mod@import`], [`info`], [`mod@check`] | `mspipe data import`, `info`, `check` |
//! | [`manifest`], [`fetch`] | what is known of each data set; downloading it |
//! | [`synthetic`], `random` | generated streams with published counts |
//! | `progress` | progress bars of conversions |
//!
//! A stream's life: `open` finds what a name stands for; `detect` and a reader
//! pass its lines to `intake`; the store's writer checks, hashes and renames; the
//! resulting [`EventLog`] is a map of the store's files. The crate knows nothing
//! of graphs, models or devices.

pub mod check;
mod column;
mod conversion;
mod decimal;
pub mod detect;
mod error;
pub mod event_log;
pub mod features;
pub mod fetch;
pub mod import;
pub mod info;
mod intake;
mod jodie_csv;
mod lines;
pub mod manifest;
pub mod npy;
pub mod open;
mod progress;
mod random;
mod raw_event;
mod snap_text;
pub mod split;
pub mod store;
pub mod synthetic;
mod tgl_csv;

pub use check::{Finding, Severity, check};
pub use detect::Format;
pub use error::DataError;
pub use event_log::{EventLog, EventLogParts, IdSpaces};
pub use features::{FeatureSource, FeatureTable, FeatureType};
pub use import::{Report, import};
pub use info::{FeatureInfo, Info, SplitInfo};
pub use open::OpenOptions;
pub use split::Split;
pub use synthetic::SyntheticSpec;
