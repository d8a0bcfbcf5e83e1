//! Files of events: which format one has, and a reader for each.

pub(crate) mod detect;
pub(crate) mod format;
pub(crate) mod gdelt;
pub(crate) mod parquet_events;
pub(crate) mod table;
