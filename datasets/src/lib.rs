//! Event streams for mspipe: readers, a memory-mapped store, manifests, synthetic streams.
//!
//! | module | what it holds |
//! |---|---|
//! | `stream` | one stream in memory or mapped: [`EventLog`], [`FeatureTable`], [`Names`], [`Split`] |
//! | `import` | from a name to files to a log: [`OpenOptions`], sources, conversion, [`mod@import`] |
//! | `schema` | which column holds what: by hand ([`reading`]), and by names |
//! | `formats` | [`Format`] and its detection; events of text, of Parquet, of GDELT |
//! | `fields` | from bytes to an event's exact values |
//! | [`arrays`] | features in files of their own: `.npy`, `.npz`, `.pt` |
//! | [`pickle`] | pickles, interpreted in bounded memory |
//! | [`asked`] | ids and times as people give them; tables of pairs and nodes that are asked for |
//! | [`candidates`] | recorded destinations that each event is ranked among |
//! | `store` | the folder of columns and its writer; [`cache`], the conversions that are kept |
//! | `files` | files opened once, packed or not; checksums; folders of work in progress |
//! | [`info`], [`mod@check`], [`export`] | `mspipe data info`, `check`, `export` |
//! | [`manifest`], [`fetch`] | what is known of each data set; downloading it |
//! | [`synthetic`], `random` | generated streams with published counts |
//! | [`ram`] | how much memory there is |
//! | `progress`, [`mod@printable`] | progress bars of conversions; text that is safe to print |
//! | [`stop`] | a request to end long work early |
//! | [`whole_file`] | files that appear under their name only when they are whole |
//!
//! A stream's life: `open` finds what a name stands for; `detect` and a reader
//! pass its lines to `intake`; the store's writer checks, hashes and renames; the
//! resulting [`EventLog`] is a map of the store's files. The crate knows nothing
//! of graphs, models or devices.

pub mod arrays;
pub mod asked;
pub mod candidates;
pub mod check;
mod error;
pub mod export;
pub mod fetch;
mod fields;
mod files;
mod formats;
pub mod import;
pub mod info;
pub mod manifest;
pub mod own_file;
pub mod pickle;
pub mod printable;
mod progress;
pub mod ram;
mod random;
mod schema;
pub mod stop;
mod store;
mod stream;
pub mod synthetic;
pub mod whole_file;

pub use asked::NodeKey;
pub use check::{Finding, Severity, check};
pub use error::{DataError, Place};
pub use formats::format::Format;
pub use import::options::OpenOptions;
pub use import::table::{MomentUnit, TableColumn, TableValues};
pub use import::{Report, import};
pub use info::{FeatureInfo, Info, SplitInfo};
pub use printable::printable;
pub use schema::reading::{self, Reading};
pub use stop::{Stop, Stopped};
pub use store::cache;
pub use stream::event_log::{EventLog, EventLogParts, IdSpaces, MAX_TIME, NO_LABEL};
pub use stream::features::{FeatureSource, FeatureTable, FeatureType};
pub use stream::names::{Names, Unmatched, places_of};
pub use stream::split::{self, Split, SplitRule};
pub use synthetic::SyntheticSpec;
