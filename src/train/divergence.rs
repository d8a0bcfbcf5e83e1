//! Whether what a run computes is still made of numbers, and where it stopped to be.
//!
//! Kernels let NaN and infinity pass, so that a loss, a score or an embedding of them is not
//! finite. What does not show there at once is remembered where it is written: the first step
//! with gradients or weights that are not finite by [`Optimizer`](super::optimizer::Optimizer), the first commit
//! of such rows or mail by the memory. These four numbers are read in the same transfer as the
//! losses, so they cost no launch, no wait and no read-back of their own, and each checkpoint is
//! written after them.

use burn::tensor::Tensor;

use super::error::{Diverged, EvalError, StageError, TrainError, Unsound, device_failed};
use super::iteration::Training;
use super::observer::{Observer, TrainEvent, tell};
use super::pass::Pass;
use super::upload::read;
use crate::batch::EventBatch;
use crate::device;
use crate::memory::write_back::Update;
use crate::memory::{MemoryStore, NotFinite};

/// Reads the losses of an epoch with what is watched beside them.
pub(super) struct LossReader {
    /// Epoch, from 1.
    pub(super) epoch: usize,
    /// Place of the last checkpoint.
    pub(super) kept: Option<(usize, usize)>,
}

impl LossReader {
    /// Reads the unread losses of `work` and what the optimiser and the memory watched, in one
    /// transfer, adds the losses to `losses`, those of the epoch so far, and hands them on.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] at the first iteration with something that is not finite; when the
    /// device does not answer or `observer` fails.
    pub(super) fn read(
        &self,
        work: &mut Training<'_>,
        watched_memory: Tensor<1>,
        losses: &mut Vec<f32>,
        observer: &mut Observer<'_>,
    ) -> Result<(), TrainError> {
        let first = losses.len();
        let unread = std::mem::take(&mut work.unread);
        let end = first + unread.len();
        let optimizer = work.trainer.optimizer();
        let watched_steps = optimizer.watched();
        let stepped = watched_steps.is_some();
        // Losses last: work that was not done is told where what it should have written is read, and joined tensors are as
        // good as the last of them.
        let all = watched_steps.into_iter().chain([watched_memory]);
        let mut watched = read(Tensor::cat(all.chain(unread).collect(), 0))?;
        if device::has_failed() {
            return Err(device_failed("a part of the work was not done"));
        }
        losses.extend(watched.split_off(watched.len() - (end - first)));
        check_counts(&watched)?;

        let (steps, memory) = watched.split_at(if stepped { 2 } else { 0 });
        // Each iteration makes a step; `losses` are those of the last so many.
        let before = (optimizer.steps() as usize).saturating_sub(end);
        let mut found: Vec<_> = diverged(&losses[first..], steps, before + first)
            .map(|(at, what)| (first + at, what))
            .into_iter()
            .collect();
        let written = NotFinite::read([memory[0], memory[1]]);
        for (commit, what) in [
            (written.rows, Diverged::Memory),
            (written.features, Diverged::Features),
        ] {
            found.extend(commit.map(|commit| (commit as usize - 1, what)));
        }
        let earliest = found
            .into_iter()
            .min_by_key(|(at, what)| (*at, what.order()));
        if let Some((iteration, _)) = earliest {
            losses.truncate(iteration + 1);
        }
        let read = TrainEvent::Losses {
            epoch: self.epoch,
            first,
            losses: losses.get(first..).unwrap_or_default(),
        };
        tell(observer, read)?;
        earliest.map_or(Ok(()), |(iteration, what)| Err(self.error(iteration, what)))
    }

    /// Fails if one of the updates that wait for their turn has numbers that are not finite; the
    /// last of them is of the iteration before `end`.
    pub(super) fn check_unapplied(
        &self,
        unapplied: &[Update],
        end: usize,
    ) -> Result<(), TrainError> {
        let finite = |numbers: &[f32]| numbers.iter().all(|number| number.is_finite());
        for (iteration, update) in (end - unapplied.len()..).zip(unapplied) {
            if !finite(&update.rows) {
                return Err(self.error(iteration, Diverged::Memory));
            }
            if !finite(update.back.edge()) {
                return Err(self.error(iteration, Diverged::Features));
            }
        }
        Ok(())
    }

    fn error(&self, iteration: usize, what: Diverged) -> TrainError {
        TrainError::Diverged {
            epoch: self.epoch,
            iteration,
            what,
            kept: self.kept,
        }
    }
}

/// Fails if one of the numbers that are watched is neither 0 nor the place of a step or a commit, from 1: whatever
/// should have written it was not done, and what it says of divergence is nothing.
fn check_counts(watched: &[f32]) -> Result<(), EvalError> {
    let counts = |number: &f32| *number >= 0.0 && number.fract() == 0.0;
    match watched.iter().all(counts) {
        true => Ok(()),
        false => Err(EvalError::Device(
            "what it should have counted is no number of steps: a part of the work was not done"
                .to_owned(),
        )),
    }
}

/// The first of consecutive iterations with a loss, or a step in `steps` (see
/// [`Optimizer::watched`](super::optimizer::Optimizer::watched)), that is not finite; so many steps were made
/// `before`.
pub(super) fn diverged(losses: &[f32], steps: &[f32], before: usize) -> Option<(usize, Diverged)> {
    let loss = losses.iter().position(|loss| !loss.is_finite());
    let loss = loss.map(|at| (at, Diverged::Loss(losses[at])));
    let steps = steps.iter().zip([Diverged::Gradient, Diverged::Weights]);
    let steps = steps.filter(|(step, _)| **step != 0.0);
    let steps = steps.map(|(&step, what)| ((step as usize - 1).saturating_sub(before), what));
    let found = loss.into_iter().chain(steps);
    found.min_by_key(|(at, what)| (*at, what.order()))
}

/// Fails if one of the scores of `events` with their `with` is not finite; there may be several an
/// event, one after the other.
pub(super) fn check_scores(
    batch: &EventBatch,
    with: &'static str,
    scores: &[f32],
) -> Result<(), Unsound> {
    match scores.iter().position(|score| !score.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let each = (scores.len() / batch.events.len().max(1)).max(1);
            Err(Unsound::Score {
                event: batch.events.start + at / each,
                with,
                score: scores[at],
            })
        }
    }
}

/// Fails if `memory`, which had made `before` commits when `pass` began, was written with numbers
/// that are not finite. Reads two numbers from the device.
pub(super) fn check_memory(
    memory: &dyn MemoryStore,
    before: u64,
    pass: &Pass,
) -> Result<(), EvalError> {
    let numbers = read(memory.watched())?;
    check_counts(&numbers)?;
    let written = NotFinite::read([numbers[0], numbers[1]]);
    let (commit, what) = match (written.rows, written.features) {
        (Some(rows), features) if features.is_none_or(|features| rows <= features) => {
            (rows, Diverged::Memory)
        }
        (_, Some(features)) => (features, Diverged::Features),
        (_, None) => return Ok(()),
    };
    let batch = (commit - 1).saturating_sub(before) as usize;
    let events = pass.batch_events(batch);
    Err(StageError::Unsound(Unsound::Written { events, what }).into())
}
