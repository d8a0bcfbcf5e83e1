//! Memory-based models: from fetched rows to embeddings and updated memory.
//!
//! A model never touches the node memory itself: it gets the rows that were fetched for
//! a batch ([`ModelInput`]) and returns updated rows beside the embeddings
//! ([`ModelOutput`]). What has to be fetched for it, and where its mail goes, its
//! [`ModelNeeds`] say. So every model runs under any staleness and residency.

pub(crate) mod apan;
mod config;
pub mod init;
mod input;
pub(crate) mod jodie;
pub(crate) mod link_predictor;
pub(crate) mod mailbox_attention;
pub(crate) mod memory_updater;
pub mod node_features;
pub mod pres;
pub(crate) mod temporal_attention;
pub mod tgl_weights;
pub(crate) mod tgn;
pub(crate) mod time_encoding;
pub(crate) mod time_projection;

use burn::module::Module;
use burn::tensor::Tensor;

use apan::Apan;
use init::Initializer;
use jodie::Jodie;
use link_predictor::LinkPredictor;
use pres::Pres;
use tgn::Tgn;

pub use config::{ModelConfig, ModelName, ModelNeeds};
pub use input::{BacklogInput, DropoutKey, LayerInput, MailboxInput, ModelInput, TrendInput};
pub use link_predictor::{Logits, OfSources};

/// What a model makes of a batch.
#[derive(Debug, Clone)]
pub struct ModelOutput {
    /// Updated memory of each row, `[rows, width]`.
    pub memory: Tensor<2>,
    /// Embedding of each root, `[roots, width]`.
    pub embedding: Tensor<2>,
}

/// A memory-based temporal graph neural network.
#[derive(Module, Debug)]
pub enum Model {
    /// See [`tgn`].
    Tgn(Tgn),
    /// See [`jodie`].
    Jodie(Jodie),
    /// See [`apan`].
    Apan(Apan),
}

impl Model {
    /// The model of `config` with initial weights; the same seed gives the same bits on any device.
    pub(crate) fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> Model {
        match config.name {
            ModelName::Tgn => Model::Tgn(Tgn::new(config, init)),
            ModelName::Jodie => Model::Jodie(Jodie::new(config, init)),
            ModelName::Apan => Model::Apan(Apan::new(config, init)),
        }
    }

    /// Updated memory of each row, `[rows, width]`: all that is written back.
    pub(crate) fn update(&self, input: &ModelInput, key: DropoutKey) -> Tensor<2> {
        match self {
            Model::Tgn(model) => model.updater.forward(input),
            Model::Jodie(model) => model.updater.forward(input),
            Model::Apan(model) => model.updater.forward(input, key),
        }
    }

    /// Embedding of each root, `[roots, width]`, from the updated rows `memory`.
    pub(crate) fn embed(
        &self,
        memory: Tensor<2>,
        input: &ModelInput,
        key: DropoutKey,
    ) -> Tensor<2> {
        match self {
            Model::Tgn(model) => model.embed(memory, input, key),
            Model::Jodie(model) => model.embed(memory, input),
            Model::Apan(model) => model.embed(memory, input),
        }
    }

    /// Whether an embedding depends on the time of the query by more than its row of memory.
    pub(crate) fn reads_query_time(&self) -> bool {
        match self {
            Model::Tgn(model) => !model.layers.is_empty(),
            Model::Jodie(_) => true,
            Model::Apan(_) => false,
        }
    }

    /// Updates the rows and embeds the roots.
    pub fn forward(&self, input: &ModelInput, key: DropoutKey) -> ModelOutput {
        let memory = self.update(input, key);
        ModelOutput {
            embedding: self.embed(memory.clone(), input, key),
            memory,
        }
    }
}

/// A model with the predictor that is trained on top of it.
#[derive(Module, Debug)]
pub struct LinkModel {
    /// Makes embeddings.
    pub model: Model,
    /// Scores pairs of embeddings.
    pub predictor: LinkPredictor,
    /// Smooths rows in training, where that is asked for.
    pub pres: Option<Pres>,
}

impl LinkModel {
    /// Model and predictor with initial weights.
    pub fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> LinkModel {
        LinkModel {
            model: Model::new(config, init),
            predictor: LinkPredictor::new(config, init),
            pres: None,
        }
    }

    /// The same that smooths rows in training, beginning with γ = `keep` and with β = `coherence`.
    pub fn with_pres(self, keep: f32, coherence: f64) -> LinkModel {
        let device = self.predictor.output_bias.val().device();
        LinkModel {
            pres: Some(Pres::new(keep, coherence, &device)),
            ..self
        }
    }

    /// Logits of the batch and the updated rows.
    pub(crate) fn forward(&self, input: &ModelInput, key: DropoutKey) -> (Logits, Tensor<2>) {
        let output = self.model.forward(input, key);
        let history = input.pair_history.clone();
        (
            self.predictor.forward(output.embedding, history),
            output.memory,
        )
    }
}
