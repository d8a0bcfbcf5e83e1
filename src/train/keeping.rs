//! When the state of a run is kept, and what became of it.

use std::io;
use std::time::Instant;

use super::error::Kept;
use super::progress::Progress;
use crate::checkpoint::Every;
use crate::pipeline::ending::Proceed;

/// When the state of a run is kept.
pub struct Keeping {
    every: Every,
    /// When the last one was tried.
    since: Instant,
    /// Of the last one that was written.
    pub(super) last: Option<(usize, usize)>,
    /// What of the last epoch's trace and charts could not be written, if anything.
    pub(super) unrecorded: Option<String>,
    /// Whether the best weights may not be in their file.
    pub(super) weights_due: bool,
}

impl Keeping {
    /// So often, and at the end of each epoch.
    pub fn new(every: Every) -> Keeping {
        Keeping {
            every,
            since: Instant::now(),
            last: None,
            unrecorded: None,
            weights_due: false,
        }
    }

    /// The run begins at `progress`, which is kept already if anything is trained.
    pub(super) fn begin(&mut self, progress: &Progress) {
        self.since = Instant::now();
        self.last = progress.place_if_begun();
        // The run that wrote the checkpoint may have failed to write them.
        self.weights_due = progress.has_best();
    }

    /// Whether a run keeps its state at all.
    pub(super) fn keeps(&self) -> bool {
        self.every != Every::Never
    }

    /// Whether a checkpoint is due after `trained` iterations of an epoch, in a run of the pipeline that
    /// began at iteration `first`.
    pub(super) fn is_due(&self, first: usize, trained: usize) -> bool {
        self.every.is_due(first, trained, self.since)
    }

    /// Whether the state of a classification is due at the end of an epoch of the classifier: these are
    /// short, and the state has the embeddings of all labels.
    pub(super) fn is_due_after_epoch(&self) -> bool {
        match self.every {
            Every::Time(time) => self.since.elapsed() >= time,
            Every::Iterations(_) | Every::Epoch => true,
            Every::Never => false,
        }
    }

    /// How a run of the pipeline continues after an iteration of an epoch that has more.
    pub(super) fn proceed(&self, [stopping, due]: [bool; 2]) -> Proceed {
        match (stopping, due) {
            (true, _) if !self.keeps() => Proceed::Stop,
            (false, false) => Proceed::Go,
            _ => Proceed::Pause,
        }
    }

    /// What became of the state of `place` is known: `kept`.
    pub(super) fn tried(&mut self, place: (usize, usize), kept: io::Result<()>) -> Kept {
        // After a failure too: the next try is due when the next checkpoint is.
        self.since = Instant::now();
        match kept {
            Ok(()) => {
                self.last = Some(place);
                Kept::Whole
            }
            Err(error) => Kept::Failed(error),
        }
    }

    /// What became of the state of `place`, where the last checkpoint was due.
    pub(super) fn kept(&self, place: (usize, usize)) -> Kept {
        match self.every {
            Every::Never => Kept::Nothing,
            _ if self.last == Some(place) => Kept::Whole,
            _ => Kept::Missing,
        }
    }
}
