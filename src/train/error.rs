//! Why a run, an iteration or an evaluation ends early.

use std::fmt::{self, Display};
use std::io;
use std::ops::Range;

use mspipe_datasets::Stopped;
use thiserror::Error;

use crate::eval::metrics::MetricError;
use crate::memory::MemoryError;
use crate::pipeline::ending::RunError;
use crate::pipeline::ledger::ReplayError;
use crate::ranks::RankError;
use crate::sampling::NegativeError;

/// Why a run ended.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A stage of a training iteration failed, or a thread of the pipeline.
    #[error("epoch {epoch}, {error}")]
    Run {
        /// Epoch, from 1.
        epoch: usize,
        /// What failed.
        error: RunError<StageError>,
    },
    /// The schedule to replay can't be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The weights could not be evaluated.
    #[error(transparent)]
    Evaluation(#[from] EvalError),
    /// Something is not a number any more.
    #[error(
        "epoch {epoch}, iteration {iteration}: {what}; the run diverged and ends here. {}. {}",
        what.remedy(), Sound(*kept)
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Iteration of the epoch, from 0.
        iteration: usize,
        /// What is not finite.
        what: Diverged,
        /// Place of the last checkpoint, which is from before.
        kept: Option<(usize, usize)>,
    },
    /// A stop was requested.
    #[error("interrupted after epoch {epoch}, iteration {iteration}; {kept}")]
    Interrupted {
        /// Epoch, from 1.
        epoch: usize,
        /// Iteration of the epoch, from 0.
        iteration: usize,
        /// What became of its state.
        kept: Kept,
    },
    /// Something could not be written down.
    #[error(transparent)]
    Observer(io::Error),
    /// Another rank has ended.
    #[error(transparent)]
    Rank(#[from] RankError),
    /// The same or a failed evaluation, in a run that keeps its state.
    #[error("{error}. {left}")]
    Leaves {
        /// What came of it here.
        error: Box<TrainError>,
        /// What is left of the run.
        left: Left,
    },
}

impl TrainError {
    /// Whether another rank has ended, and nothing here has failed.
    pub(super) fn is_of_rank(&self) -> bool {
        match self {
            TrainError::Rank(_) | TrainError::Evaluation(EvalError::Stage(StageError::Rank(_))) => {
                true
            }
            TrainError::Run { error, .. } => failed_rank(error),
            _ => false,
        }
    }

    /// Whether the run can go on from its last checkpoint once whatever failed beside it is mended.
    pub fn can_be_mended(&self) -> bool {
        matches!(
            self,
            TrainError::Observer(_) | TrainError::Run { .. } | TrainError::Leaves { .. }
        )
    }

    /// Whether an evaluation has failed, here or on another rank: it has changed nothing of what was trained. Not where
    /// the device did, which may have nothing to give any more.
    pub(super) fn is_of_evaluation(&self) -> bool {
        match self {
            TrainError::Evaluation(error) => {
                !matches!(error, EvalError::Device(_) | EvalError::Stopped(_))
            }
            _ => false,
        }
    }

    /// Whether numbers of the run are none any more: with other settings the same stream may be trained on.
    pub(crate) fn is_divergence(&self) -> bool {
        match self {
            TrainError::Diverged { .. }
            | TrainError::Evaluation(
                EvalError::Stage(StageError::Unsound(_))
                | EvalError::Metric(MetricError::NotFinite { .. }),
            ) => true,
            TrainError::Leaves { error, .. } => error.is_divergence(),
            _ => false,
        }
    }
}

/// Whether iterations ended since another rank has.
pub(super) fn failed_rank(error: &RunError<StageError>) -> bool {
    let of_rank = |error: &StageError| matches!(error, StageError::Rank(_));
    matches!(error, RunError::Stage { error, .. } if of_rank(error))
}

/// The device did not hand over what a checkpoint needs.
pub(super) fn device_failed(error: impl Display) -> TrainError {
    TrainError::Evaluation(EvalError::Device(error.to_string()))
}

/// What became of the state of a run that was interrupted.
#[derive(Debug)]
pub enum Kept {
    /// A checkpoint has it.
    Whole,
    /// No checkpoints were asked for.
    Nothing,
    /// Its checkpoint could not be written.
    Failed(io::Error),
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

/// What is left of a run that another rank or a failed evaluation has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// All that was trained: a checkpoint of this place, epoch and iterations.
    Whole((usize, usize)),
    /// The last checkpoint, if there is one.
    Last(Option<(usize, usize)>),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Left::Whole((epoch, iteration)) => write!(
                f,
                "A checkpoint of epoch {epoch}, iteration {iteration} is written: nothing that was trained is lost"
            ),
            Left::Last(place) => Sound(place).fmt(f),
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

/// What is not finite, in the order in which an iteration comes to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Diverged {
    /// Updated rows of the node memory.
    Memory,
    /// The edge features of its events.
    Features,
    /// The loss.
    Loss(f32),
    /// A gradient, or its square.
    Gradient,
    /// A weight after the step.
    Weights,
}

impl Diverged {
    pub(super) fn order(self) -> u8 {
        match self {
            Diverged::Memory => 0,
            Diverged::Features => 1,
            Diverged::Loss(_) => 2,
            Diverged::Gradient => 3,
            Diverged::Weights => 4,
        }
    }

    /// What may help.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Diverged::Features => {
                "Look for such features with 'mspipe data check': fix the stream, or leave them out with \
                 --edge-features zero"
            }
            _ => {
                "Try a smaller --learning-rate; if that does not help, look with 'mspipe data \
                 check' for features that are very large"
            }
        }
    }
}

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Diverged::Features => f.write_str("edge features of its events are NaN or infinite"),
            Diverged::Memory => f.write_str("the updated node memory is NaN or infinite"),
            Diverged::Loss(loss) => write!(f, "the loss is {loss}"),
            Diverged::Gradient => {
                f.write_str("the gradient is NaN, or so large that its square is infinite")
            }
            Diverged::Weights => f.write_str("the optimiser's step made weights NaN or infinite"),
        }
    }
}

/// Something that a pass with fixed weights made and that is not finite.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Unsound {
    /// A score.
    #[error(
        "evaluation: the score of event {event} with its {with} is {score}: the features that it is made of, \
         or the weights, are not finite or too large; look with 'mspipe data check' at the \
         features, or train with a smaller --learning-rate"
    )]
    Score {
        /// The event, from 0.
        event: usize,
        /// `destination`, `negative` or `candidate`.
        with: &'static str,
        /// The score.
        score: f32,
    },
    /// An embedding.
    #[error(
        "evaluation: the embedding of the source of event {event} has {value} in it: the features that it is \
         made of, or the weights, are not finite or too large; look with 'mspipe data check' at \
         the features, or train with a smaller --learning-rate"
    )]
    Embedding {
        /// The event, from 0.
        event: usize,
        /// The number.
        value: f32,
    },
    /// What a batch wrote.
    #[error("evaluation: events {} to {}: {what}. {}", events.start, events.end - 1, what.remedy())]
    Written {
        /// Events of the batch, from 0.
        events: Range<usize>,
        /// [`Diverged::Memory`] or [`Diverged::Features`].
        what: Diverged,
    },
}

/// Why an evaluation failed.
#[derive(Debug, Error)]
pub enum EvalError {
    /// A stage failed, or something that it made is not finite.
    #[error(transparent)]
    Stage(StageError),
    /// Scores could not be measured.
    #[error("evaluation: {0}")]
    Metric(MetricError),
    /// The device stopped answering.
    #[error("device: {0}")]
    Device(String),
    /// It was asked to end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Whoever was told the scores failed.
    #[error("the scores can't be written: {0}")]
    Sink(io::Error),
}

impl From<StageError> for EvalError {
    fn from(error: StageError) -> EvalError {
        match error {
            StageError::Stopped(stopped) => EvalError::Stopped(stopped),
            error => EvalError::Stage(error),
        }
    }
}

impl From<MetricError> for EvalError {
    fn from(error: MetricError) -> EvalError {
        EvalError::Metric(error)
    }
}

/// Why an iteration failed.
#[derive(Debug, Error)]
pub enum StageError {
    /// Negatives could not be drawn.
    #[error(transparent)]
    Negatives(#[from] NegativeError),
    /// Memory could not be written.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Scores have no rank.
    #[error("evaluation: {0}")]
    Unranked(MetricError),
    /// Another rank has ended.
    #[error(transparent)]
    Rank(#[from] RankError),
    /// With fixed weights, something is not finite.
    #[error(transparent)]
    Unsound(#[from] Unsound),
    /// It was asked to end, in the middle of what is scored beside a batch.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<MetricError> for StageError {
    fn from(error: MetricError) -> StageError {
        StageError::Unranked(error)
    }
}
