//! What draws of negatives depend on, and why there may be none: common to all ways of drawing them.

use std::ops::Range;

use thiserror::Error;

/// Part of the stream that negatives are drawn for; parts draw independently of one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitPart {
    /// Training events.
    Train = 0,
    /// Validation events.
    Validation = 1,
    /// Test events.
    Test = 2,
}

/// What a draw depends on, besides the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NegativeKey {
    /// Seed; for evaluation a fixed one, so that every run is judged by the same negatives.
    pub seed: u64,
    /// Epoch, so that every epoch of training draws afresh; 0 for evaluation.
    pub epoch: u64,
    /// Part of the stream.
    pub split: SplitPart,
}

/// Why there are no negatives.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NegativeError {
    /// A pool without a node.
    #[error("negative pool: it is empty; give at least one event or node to draw from")]
    EmptyPool,
    /// A batch in which every pair occurs.
    #[error(
        "negatives of the past: events {}..{} and those of their times are all {sources} x \
         {destinations} pairs of sources and destinations that there are, so that none is left to \
         draw; give a smaller --batch-size, a stream with more nodes, or another --protocol than \
         dyglib",
        events.start, events.end
    )]
    NoPairLeft {
        /// The batch.
        events: Range<usize>,
        /// Distinct sources of the stream.
        sources: usize,
        /// Distinct destinations.
        destinations: usize,
    },
    /// Events for which no negative was recorded.
    #[error(
        "fixed negatives: events {}..{} asked for, {}..{} recorded; \
         record negatives for the whole split",
        asked.start, asked.end, recorded.start, recorded.end
    )]
    NotRecorded {
        /// Events asked for.
        asked: Range<usize>,
        /// Events that have a negative.
        recorded: Range<usize>,
    },
    /// An event that there is nothing to rank against.
    #[error(
        "candidates: event {event} has none; record at least one for each event of the validation \
         and the test part, or draw them from a pool of more than one destination"
    )]
    NoCandidates {
        /// The event.
        event: usize,
    },
}
