//! A model with its optimiser: forward, backward, step.

use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::optimizer::{Optimizer, OptimizerRule};
use crate::model::{DropoutKey, LinkModel, Logits, ModelInput};

/// Results of one batch, without autodiff.
#[derive(Debug, Clone)]
pub struct BatchOutput {
    /// Scores of its events and of their negatives.
    pub logits: Logits,
    /// Loss, `[1]`; not yet read from the device.
    pub loss: Tensor<1>,
    /// Updated memory of its rows, `[rows, width]`.
    pub memory: Tensor<2>,
}

/// A forward pass that has come to the updated memory rows.
#[derive(Debug, Clone)]
pub struct Begun {
    /// With autodiff.
    memory: Tensor<2>,
    key: DropoutKey,
    /// What the loss gains, with autodiff.
    incoherence: Option<Tensor<1>>,
    changes: Option<Tensor<2>>,
}

impl Begun {
    /// Updated memory of each row, `[rows, width]`, without autodiff.
    pub(crate) fn memory(&self) -> Tensor<2> {
        self.memory.clone().inner()
    }

    /// Changes of the rows that have trends, `[trends, width]`, without autodiff.
    pub(crate) fn changes(&self) -> Option<Tensor<2>> {
        self.changes.clone()
    }
}

/// A model in training.
pub struct Trainer {
    /// Taken out during a step, so that parameters are written in place.
    model: Option<LinkModel>,
    optimizer: Optimizer,
}

impl Trainer {
    /// Trains `model`, whose parameters are on a device with autodiff, by `rule`.
    pub fn new(model: LinkModel, rule: OptimizerRule) -> Trainer {
        Trainer {
            model: Some(model),
            optimizer: Optimizer::new(rule),
        }
    }

    /// Continues with an optimiser that has made steps.
    pub(crate) fn resume(model: LinkModel, optimizer: Optimizer) -> Trainer {
        Trainer {
            model: Some(model),
            optimizer,
        }
    }

    /// The optimiser.
    pub(crate) fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// The model as it is now.
    pub fn model(&self) -> &LinkModel {
        match &self.model {
            Some(model) => model,
            None => unreachable!("a step puts the model back"),
        }
    }

    /// The forward pass as far as the updated memory rows, which are all that is written
    /// back.
    pub fn begin(&self, input: &ModelInput, key: DropoutKey) -> Begun {
        let LinkModel { model, pres, .. } = self.model();
        let memory = model.update(input, key);
        let begun = Begun {
            memory,
            key,
            incoherence: None,
            changes: None,
        };
        let (Some(pres), Some(trends)) = (pres, &input.trends) else {
            return begun;
        };
        let smoothed = pres.smooth(begun.memory, &input.memory, trends);
        Begun {
            memory: smoothed.memory,
            incoherence: smoothed.incoherence,
            changes: Some(smoothed.changes),
            ..begun
        }
    }

    /// The rest of the forward pass, and the backward pass.
    pub fn backward(&self, begun: Begun, input: &ModelInput) -> (BatchOutput, GradientsParams) {
        let Begun {
            memory,
            key,
            incoherence,
            ..
        } = begun;
        let model = self.model();
        let embedding = model.model.embed(memory.clone(), input, key);
        let logits = model
            .predictor
            .forward(embedding, input.pair_history.clone());
        let loss = match incoherence {
            Some(incoherence) => logits.loss() + incoherence,
            None => logits.loss(),
        };
        let gradients = GradientsParams::from_grads(loss.backward(), self.model());
        let output = BatchOutput {
            logits: logits.inner(),
            loss: loss.inner(),
            memory: memory.inner(),
        };
        (output, gradients)
    }

    /// One optimiser step.
    pub fn step(&mut self, gradients: GradientsParams) {
        self.model = self
            .model
            .take()
            .map(|model| self.optimizer.step(model, gradients));
    }
}

/// Forward of a batch without autodiff; `model` and `input` are on a plain device.
pub(crate) fn evaluate(model: &LinkModel, input: &ModelInput) -> BatchOutput {
    let (logits, memory) = model.forward(input, None);
    BatchOutput {
        loss: logits.loss(),
        logits,
        memory,
    }
}
