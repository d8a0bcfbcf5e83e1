//! Event streams for mspipe: readers, a memory-mapped store, manifests, synthetic streams.
//!
//! | module | what it holds |
//! |---|---|
//! | [`event_log`], `column` | one stream in memory or mapped: [`EventLog`] |
//! | [`features`] | [`FeatureTable`]: f32, f16 or packed booleans |
//! | [`names`] | [`Names`] of nodes and feature columns |
//! | [`split`] | [`Split`]: training, validation, test |
//! | [`open`], `source` | [`OpenOptions`], from a name to files to a log, the cache |
//! | [`detect`] | [`Format`], told from a file's content |
//! | [`reading`], `schema` | which column holds what: by hand, and by names |
//! | `table`, `tgl_labels`, `parquet_events`, `gdelt` | events of text, of Parquet, of GDELT |
//! | [`candidates`] | recorded destinations that each event is ranked among |
//! | [`mod@array`], `npy`, `npz`, `torch` | features in files of their own |
//! | [`pickle`] | pickles, interpreted in bounded memory |
//! | `input_file`, `scratch`, `checksum` | files opened once, folders of work in progress, checksums |
//! | [`ram`] | how much memory there is |
//! | [`cache`] | what conversions are kept, `mspipe data cache` |
//! | `packed`, `lines`, `lfs`, `node_names`, `decimal`, `calendar` | from bytes to fields |
//! | `raw_event`, `intake`, `conversion` | from fields to columns, exactly |
//! | [`store`] | the folder of columns and its writer |
//! | [`mod@import`], [`info`], [`mod@check`], [`export`] | `mspipe data import`, `info`, `check`, `export` |
//! | [`manifest`], [`fetch`] | what is known of each data set; downloading it |
//! | [`synthetic`], `random` | generated streams with published counts |
//! | `progress`, [`mod@printable`] | progress bars of conversions; text that is safe to print |
//! | [`stop`] | a request to end long work early |
//! | [`whole_file`] | files that appear under their name only when they are whole |
//!
//! A stream's life: `open` finds what a name stands for; `detect` and a reader
//! pass its lines to `intake`; the store's writer checks, hashes and renames; the
//! resulting [`EventLog`] is a map of the store's files. The crate knows nothing
//! of graphs, models or devices.

pub mod array;
pub mod cache;
mod calendar;
pub mod candidates;
pub mod check;
mod checksum;
mod column;
mod conversion;
mod decimal;
pub mod detect;
mod error;
pub mod event_log;
pub mod export;
pub mod features;
pub mod fetch;
mod gdelt;
pub mod import;
pub mod info;
mod input_file;
mod intake;
mod lfs;
mod lines;
pub mod manifest;
pub mod names;
mod node_names;
mod npy;
mod npz;
pub mod open;
mod packed;
mod parquet_events;
pub mod pickle;
pub mod printable;
mod progress;
pub mod ram;
mod random;
mod raw_event;
pub mod reading;
mod schema;
mod scratch;
mod source;
pub mod split;
pub mod stop;
pub mod store;
pub mod synthetic;
mod table;
mod tgl_labels;
mod torch;
pub mod whole_file;

pub use check::{Finding, Severity, check};
pub use detect::Format;
pub use error::{DataError, Place};
pub use event_log::{EventLog, EventLogParts, IdSpaces, MAX_TIME};
pub use features::{FeatureSource, FeatureTable, FeatureType};
pub use import::{Report, import};
pub use info::{FeatureInfo, Info, SplitInfo};
pub use names::Names;
pub use open::OpenOptions;
pub use printable::printable;
pub use reading::Reading;
pub use split::{Split, SplitRule};
pub use stop::{Stop, Stopped};
pub use synthetic::SyntheticSpec;
