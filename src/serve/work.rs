//! A request for events to be followed, and what becomes of it.

use std::sync::mpsc::SyncSender;

use crate::session::predict::{NewEvent, Updated};

/// A request for events to be followed.
pub(super) struct Work {
    pub(super) source: String,
    pub(super) seq: Option<u64>,
    pub(super) events: Vec<NewEvent>,
    pub(super) reply: SyncSender<Reply>,
}

/// What becomes of it.
#[derive(Debug)]
pub(super) enum Reply {
    /// It is on disk, and memory has followed it.
    Followed(Updated),
    /// It was followed before; the last number of its source.
    Repeated { last: u64 },
    /// Its number is that of the last request, which had other events.
    Other { seq: u64 },
    /// Its number is not the next one.
    Gap { expected: u64 },
    /// It can't be followed.
    Refused(String),
    /// It has an event that is too far ahead.
    TooFar(String),
    /// It may be asked again.
    Failed(String),
    /// The server ends; it may or may not be followed.
    Ending(String),
}
