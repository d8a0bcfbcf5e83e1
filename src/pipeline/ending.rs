//! How a run is ended early, and why it ends otherwise.

use std::io;

use thiserror::Error;

use super::Stage;
use super::ledger::ReplayError;
use super::step::{Lane, Step};

/// Why a run ended early.
#[derive(Debug, Error)]
pub enum RunError<E> {
    /// A stage failed.
    #[error("iteration {iteration}, {stage}: {error}")]
    Stage {
        /// The stage.
        stage: Stage,
        /// Iteration of the epoch, from 0.
        iteration: usize,
        /// Why.
        error: E,
    },
    /// A thread panicked.
    #[error("the {} thread panicked{}: {message}; this is a bug in mspipe", lane.name(), place(at))]
    Panicked {
        /// The thread.
        lane: Lane,
        /// What it ran, and for which iteration of the epoch.
        at: Option<(Step, usize)>,
        /// What it said.
        message: String,
    },
    /// A thread could not be started.
    #[error("cannot start the {} thread: {error}; use --schedule sequential, which needs none", lane.name())]
    Thread {
        /// The thread.
        lane: Lane,
        /// Why.
        error: io::Error,
    },
    /// The ledger to replay does not fit.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

fn place(at: &Option<(Step, usize)>) -> String {
    at.map_or_else(String::new, |(step, iteration)| {
        format!(" in {} of iteration {iteration}", step.stage())
    })
}

/// What to do once an iteration has been trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proceed {
    /// Continue.
    Go,
    /// End the run here, with all updates applied.
    Stop,
    /// End the run as soon as what has read memory is trained, and hand out the updates that
    /// no iteration was to see yet. A run that continues with them changes no number.
    Pause,
}
