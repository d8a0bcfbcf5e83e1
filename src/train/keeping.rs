//! When the state of a run is kept, and what became of it.

use std::fmt;
use std::time::Instant;

use crate::checkpoint::{CheckpointError, Every};

/// What became of the state of a training that was interrupted.
#[derive(Debug)]
pub enum Kept {
    /// A checkpoint has it.
    Whole,
    /// No checkpoints were asked for.
    Nothing,
    /// Its checkpoint could not be written.
    Failed(CheckpointError),
    /// The same, as was warned of at that time.
    Missing,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Whole => f.write_str("a checkpoint of it is written"),
            Kept::Nothing => f.write_str(
                "losses up to there are written, but no checkpoint (--checkpoint-every never)",
            ),
            Kept::Missing => f.write_str("its checkpoint is missing, as a warning said before"),
            Kept::Failed(error) => write!(f, "its checkpoint is missing: {error}"),
        }
    }
}

/// What is left of a run that diverged.
pub(super) struct Sound(pub(super) Option<(usize, usize)>);

impl fmt::Display for Sound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((epoch, iteration)) => write!(
                f,
                "The last checkpoint, of epoch {epoch}, iteration {iteration}, is from before and stays"
            ),
            None => f.write_str("There is no checkpoint from before"),
        }
    }
}

/// When checkpoints are due.
pub(super) struct Keeping {
    pub(super) every: Every,
    /// When the last one was tried.
    pub(super) since: Instant,
    /// Of the last one that was written.
    pub(super) last: Option<(usize, usize)>,
    /// What of the last epoch's trace and charts could not be written, if anything.
    pub(super) unrecorded: Option<String>,
    /// Whether the best weights may not be in their file.
    pub(super) weights_due: bool,
}

impl Keeping {
    /// From now on; the state of `last` is kept already.
    pub(super) fn new(every: Every, last: Option<(usize, usize)>) -> Keeping {
        Keeping {
            every,
            since: Instant::now(),
            last,
            unrecorded: None,
            weights_due: false,
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
