//! A stream in memory or mapped: its columns, features, names and division.

pub(crate) mod column;
pub(crate) mod event_log;
pub(crate) mod features;
pub(crate) mod names;
pub mod split;
