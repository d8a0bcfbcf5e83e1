//! Why a classification ends early, and where.

use std::{fmt, io};

use thiserror::Error;

use crate::eval::metrics::MetricError;
use crate::train::error::{Diverged, EvalError, Kept, StageError};

/// Why labels could not be classified.
#[derive(Debug, Error)]
pub enum ClassificationError {
    /// The stream has no labels.
    #[error(
        "{stream}: has no labels of events; --task node and edge need a stream with them, such as JODIE's \
         wikipedia.csv, reddit.csv and mooc.csv. Labels are whole numbers: write words as 0, 1, …; a column whose fields \
         are all empty has none. Where a column of another name has them, give --columns label=NAME, and train the \
         encoder with it too: a column that was a feature can't become the label later"
    )]
    NoLabels {
        /// Name of the stream.
        stream: String,
    },
    /// One label alone.
    #[error(
        "{stream}: all labels are {label}, so there is nothing to learn; take another column or stream"
    )]
    OneLabel {
        /// Name of the stream.
        stream: String,
        /// The label.
        label: i32,
    },
    /// Numbers that are no labels.
    #[error(
        "{stream}: has {found} different labels, expected {most} at most; such a column is a number and no \
         label: take another one (--columns label=NAME)"
    )]
    Classes {
        /// Name of the stream.
        stream: String,
        /// Different labels.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// A part in which all labels are equal.
    #[error(
        "{stream}: the {part} part has {found} among {events} events; it needs {needed}: divide the stream \
         elsewhere (--split), take more of it where --limit-events leaves some out, or take another one"
    )]
    OneClass {
        /// Name of the stream.
        stream: String,
        /// The part.
        part: &'static str,
        /// Its labels.
        found: String,
        /// Its labelled events.
        events: usize,
        /// What there must be.
        needed: &'static str,
    },
    /// The stream could not be embedded, or the device stopped answering.
    #[error(transparent)]
    Embedding(#[from] EvalError),
    /// The classifier's scores could not be measured.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// The classifier is not made of numbers any more.
    #[error(
        "epoch {epoch} of the classifier, batch {batch}: {what}; it diverged and ends here. Try a \
         smaller --node-learning-rate"
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Batch of the epoch, from 0.
        batch: usize,
        /// What is not finite.
        what: Diverged,
    },
    /// A stop was requested.
    #[error("interrupted {place}; {kept}")]
    Interrupted {
        /// Where.
        place: Place,
        /// What became of its state.
        kept: Kept,
    },
    /// Something could not be written down.
    #[error(transparent)]
    Observer(io::Error),
}

impl From<StageError> for ClassificationError {
    fn from(error: StageError) -> ClassificationError {
        ClassificationError::Embedding(error.into())
    }
}

/// How far a classification is: epoch 0 is the pass over the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Epoch of the classifier, from 1; 0 while events are embedded.
    pub epoch: usize,
    /// Batches of it that are done.
    pub batch: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { epoch, batch } = self;
        match epoch {
            0 => write!(f, "after {batch} batches were embedded"),
            _ => write!(
                f,
                "in epoch {epoch} of the classifier, after {batch} batches"
            ),
        }
    }
}
