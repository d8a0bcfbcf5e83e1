//! What staleness does to memory and gradients, measured while a run trains (`--probe-every`).
//!
//! A second node memory follows each epoch with the weights that the run has in that moment, and is never
//! stale: it reads the updates of all iterations before (k = 1). Every so many iterations the gradient of the
//! batch is taken with both memories. Invariant: the run's own numbers stay what they are; all that a probe
//! knows begins anew with each epoch, so that a run that resumes between two epochs finds the same.
//!
//! What is found, and why these quantities: [`Probe`].

use std::num::NonZeroUsize;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::error::StageError;
use super::flat;
use super::trainer::{Begun, Trainer};
use crate::memory;
use crate::memory::node_memory::NodeMemory;
use crate::model::{LinkModel, ModelInput};
use crate::pipeline::probe::Probe;

/// What probes a run.
pub struct Probes {
    every: NonZeroUsize,
    /// Memory that is not stale; none outside of an epoch that was begun with it.
    fresh: Option<NodeMemory>,
    /// Of the iteration under way, if it is probed.
    under_way: Option<UnderWay>,
    /// The epoch's first batch that was probed.
    fixed: Option<FixedBatch>,
    found: Vec<Probe>,
}

/// An iteration's forward pass with memory that is not stale.
struct UnderWay {
    trained: usize,
    memory_error: f64,
    begun: Begun,
    input: ModelInput,
}

/// A batch whose gradient is taken again and again, with the weights of the last time.
struct FixedBatch {
    input: ModelInput,
    weights: Vec<f32>,
    gradient: Vec<f32>,
}

impl Probes {
    /// Probes each `every`-th iteration.
    pub fn new(every: NonZeroUsize) -> Probes {
        Probes {
            every,
            fresh: None,
            under_way: None,
            fixed: None,
            found: Vec::new(),
        }
    }

    /// An epoch begins with `memory`, which knows nothing yet.
    pub(super) fn begin_epoch(&mut self, memory: &NodeMemory) {
        self.fresh = Some(memory.clone());
    }

    /// An epoch has ended: its memory is given back before an evaluation takes one.
    pub(super) fn end_epoch(&mut self) {
        (self.fresh, self.fixed) = (None, None);
    }

    /// Whether it follows the epoch under way, which it does from its beginning or not at all.
    pub(super) fn follows(&self) -> bool {
        self.fresh.is_some()
    }

    /// What was found since it was asked last.
    pub(super) fn take(&mut self) -> Vec<Probe> {
        std::mem::take(&mut self.found)
    }

    /// Memory that is not stale, within an epoch that began with it.
    pub(super) fn fresh(&mut self) -> Option<&mut NodeMemory> {
        self.fresh.as_mut()
    }

    /// Whether the `trained`-th iteration of the run is probed.
    pub(super) fn is_due(&self, trained: usize) -> bool {
        trained.is_multiple_of(self.every.get())
    }

    /// Keeps the forward pass of the iteration under way with memory that is not stale, until there are
    /// gradients; `rows` of its roots are those of the run and those of this pass, `[roots, width]`.
    pub(super) fn keep(
        &mut self,
        trained: usize,
        rows: [Tensor<2>; 2],
        begun: Begun,
        input: ModelInput,
    ) -> Result<(), StageError> {
        let [stale, right] = rows.map(memory::read);
        self.under_way = Some(UnderWay {
            trained,
            memory_error: relative_error(&stale?, &right?),
            begun,
            input,
        });
        Ok(())
    }

    /// Compares the run's gradients of the iteration under way, before its step.
    pub(super) fn compare(
        &mut self,
        trainer: &Trainer,
        gradients: &GradientsParams,
    ) -> Result<(), StageError> {
        let Some(under_way) = self.under_way.take() else {
            return Ok(());
        };
        let UnderWay {
            trained,
            memory_error,
            begun,
            input,
        } = under_way;
        let stale = gradient(trainer.model(), gradients)?;
        let (_, gradients) = trainer.backward(begun, &input);
        let right = gradient(trainer.model(), &gradients)?;
        let smoothness = self.smoothness(trainer, input)?;
        self.found.push(Probe {
            trained,
            memory_error,
            gradient_error: relative_error(&stale, &right),
            squared_gradient: squared(stale.iter().map(|&g| f64::from(g))),
            smoothness,
        });
        Ok(())
    }

    /// How much the gradient of the fixed batch, which `input` is if there is none, has changed for how much
    /// the weights have.
    fn smoothness(
        &mut self,
        trainer: &Trainer,
        input: ModelInput,
    ) -> Result<Option<f64>, StageError> {
        let before = self.fixed.take();
        let input = match &before {
            Some(fixed) => fixed.input.clone(),
            None => input,
        };
        let (_, gradients) = trainer.backward(trainer.begin(&input, None), &input);
        let weights = weights(trainer.model())?;
        let gradient = gradient(trainer.model(), &gradients)?;
        let slope = before.map(|before| {
            distance(&gradient, &before.gradient) / distance(&weights, &before.weights)
        });
        self.fixed = Some(FixedBatch {
            input,
            weights,
            gradient,
        });
        Ok(slope.filter(|slope| slope.is_finite()))
    }
}

/// The weights of `model`, read.
fn weights(model: &LinkModel) -> Result<Vec<f32>, memory::MemoryError> {
    let parameters = flat::parameters(model).into_iter();
    read(parameters.map(|(_, weight)| weight).collect())
}

/// The gradients of all its weights, read; zeros where there is none.
fn gradient(
    model: &LinkModel,
    gradients: &GradientsParams,
) -> Result<Vec<f32>, memory::MemoryError> {
    read(flat::gradients(model, gradients).0)
}

fn read(parts: Vec<Tensor<1>>) -> Result<Vec<f32>, memory::MemoryError> {
    let numbers = Tensor::cat(parts, 0);
    let count = numbers.dims()[0];
    memory::read(numbers.reshape([1, count]))
}

fn squared(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.map(|number| number * number).sum()
}

/// ‖a − b‖.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let both = a.iter().zip(b);
    squared(both.map(|(&a, &b)| f64::from(a) - f64::from(b))).sqrt()
}

/// ‖found − right‖ / ‖right‖; 0 where both are 0, as of memory that nothing was written to.
fn relative_error(found: &[f32], right: &[f32]) -> f64 {
    match distance(found, right) {
        0.0 => 0.0,
        wrong => wrong / squared(right.iter().map(|&number| f64::from(number))).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_relative_to_what_is_right() {
        assert_eq!(relative_error(&[3.0, 0.0], &[3.0, 4.0]), 0.8);
        assert_eq!(relative_error(&[0.0; 2], &[0.0; 2]), 0.0);
        assert_eq!(relative_error(&[1.0], &[0.0]), f64::INFINITY);
        assert_eq!(distance(&[1.0, 2.0], &[4.0, 6.0]), 5.0);
    }
}
