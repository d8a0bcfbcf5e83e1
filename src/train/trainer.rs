//! A model with its optimiser: forward, backward, step.

use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::adam::Adam;
use crate::model::{DropoutKey, LinkModel, Logits, MemoryModel, ModelInput};

/// What one batch gave, without autodiff.
#[derive(Debug, Clone)]
pub struct BatchOutput {
    /// Scores of its events and of their negatives.
    pub logits: Logits,
    /// Loss, `[1]`; not yet read from the device.
    pub loss: Tensor<1>,
    /// Updated memory of its rows, `[rows, width]`.
    pub memory: Tensor<2>,
}

/// A model in training.
pub struct Trainer<M: MemoryModel> {
    /// Taken out during a step, so that parameters are written in place.
    model: Option<LinkModel<M>>,
    optimizer: Adam,
}

impl<M: MemoryModel> Trainer<M> {
    /// Trains `model`, whose parameters are on a device with autodiff.
    pub fn new(model: LinkModel<M>, learning_rate: f64) -> Trainer<M> {
        Trainer {
            model: Some(model),
            optimizer: Adam::new(learning_rate),
        }
    }

    /// The model as it is now.
    pub fn model(&self) -> &LinkModel<M> {
        match &self.model {
            Some(model) => model,
            None => unreachable!("a step puts the model back"),
        }
    }

    /// Forward and backward of a batch.
    pub fn backward(&self, input: &ModelInput, key: DropoutKey) -> (BatchOutput, GradientsParams) {
        let (logits, memory) = self.model().forward(input, key);
        let loss = logits.loss();
        let gradients = GradientsParams::from_grads(loss.backward(), self.model());
        let output = BatchOutput {
            logits: Logits {
                positive: logits.positive.inner(),
                negative: logits.negative.inner(),
            },
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
pub fn evaluate<M: MemoryModel>(model: &LinkModel<M>, input: &ModelInput) -> BatchOutput {
    let (logits, memory) = model.forward(input, None);
    BatchOutput {
        loss: logits.loss(),
        logits,
        memory,
    }
}
