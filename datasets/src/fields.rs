//! From the bytes of a line to an event's exact values.

pub(crate) mod calendar;
pub(crate) mod decimal;
pub(crate) mod lines;
pub(crate) mod node_names;
pub(crate) mod raw_event;
