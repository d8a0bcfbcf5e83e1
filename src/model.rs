//! Memory-based models: from fetched rows to embeddings and updated memory.
//!
//! A model never touches the node memory itself: it gets the rows that were fetched for
//! a batch ([`ModelInput`]) and returns updated rows beside the embeddings
//! ([`ModelOutput`]). What has to be fetched for it, and where its mail goes, its
//! [`ModelNeeds`] say. So every model runs under any staleness and residency.

pub(crate) mod apan;
pub mod init;
pub(crate) mod jodie;
pub(crate) mod link_predictor;
pub(crate) mod mailbox_attention;
pub(crate) mod memory_updater;
pub mod node_features;
pub(crate) mod temporal_attention;
pub mod tgl_weights;
pub(crate) mod tgn;
pub(crate) mod time_encoding;
pub(crate) mod time_projection;

use std::fmt;

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::batch::TimeDelta;
use crate::kernels::dropout::Dropout;
use crate::kernels::gather_rows::Uses;
use crate::kernels::temporal_attention::AttentionSlots;
use apan::Apan;
use init::Initializer;
use jodie::Jodie;
use link_predictor::LinkPredictor;
use tgn::Tgn;

/// A model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelName {
    /// Temporal Graph Network: GRU memory, temporal attention over past events
    Tgn,
    /// RNN memory, embeddings that drift with time; no neighbours
    Jodie,
    /// Attention over a mailbox; mail goes to neighbours too
    Apan,
}

impl fmt::Display for ModelName {
    /// The name that `--model` takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.write_str(value.get_name()),
            None => Ok(()),
        }
    }
}

/// Which model, its widths and probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelConfig {
    /// Which model.
    pub name: ModelName,
    /// Width of a memory row and of an embedding.
    pub width: usize,
    /// Width of a time encoding.
    pub time_width: usize,
    /// Width of an edge feature row, 0 for none.
    pub edge_width: usize,
    /// Width of a node feature row, 0 for none.
    pub node_width: usize,
    /// Attention layers of a model that has them.
    pub layers: usize,
    /// Attention heads; must divide the width.
    pub heads: usize,
    /// Mail slots per node, in a model that has several.
    pub mail_slots: usize,
    /// Whether frequencies and phases of time encodings are trained.
    pub train_time_encoding: bool,
    /// Probability of dropout after a layer's output product.
    pub dropout: f32,
    /// Probability of dropout of attention weights.
    pub attention_dropout: f32,
}

impl ModelConfig {
    /// Width of a mail: own row, peer's row, edge features.
    pub fn mail_width(&self) -> usize {
        2 * self.width + self.edge_width
    }

    /// What has to be fetched for the model, and where its mail goes.
    pub fn needs(&self) -> ModelNeeds {
        let recurrent = ModelNeeds {
            layers: 0,
            mail_slots: 1,
            attends_to_mail: false,
            mail_to_neighbors: false,
            time_delta: TimeDelta::Message,
        };
        match self.name {
            ModelName::Tgn => ModelNeeds {
                layers: self.layers,
                ..recurrent
            },
            ModelName::Jodie => recurrent,
            ModelName::Apan => ModelNeeds {
                layers: 0,
                mail_slots: self.mail_slots,
                attends_to_mail: true,
                mail_to_neighbors: true,
                // A mail's age at the query is all that an embedding knows of the query.
                time_delta: TimeDelta::Query,
            },
        }
    }
}

/// What a model needs of a batch's layout and of the node memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelNeeds {
    /// Attention layers over sampled past events, 0 for none.
    pub layers: usize,
    /// Mail slots per node.
    pub mail_slots: usize,
    /// Whether the updater attends to each piece of mail: [`ModelInput::mailbox`].
    pub attends_to_mail: bool,
    /// Whether nodes of sampled past events get mail too.
    pub mail_to_neighbors: bool,
    /// The time difference that suits the model, unless a protocol asks for another.
    pub time_delta: TimeDelta,
}

/// What a model reads of one batch.
///
/// A row is a node whose memory the batch needs (`time_delta = message`), or a (node,
/// time) pair (`query`).
#[derive(Debug, Clone)]
pub struct ModelInput {
    /// Memory of each row, `[rows, width]`.
    pub memory: Tensor<2>,
    /// Mail, `[mail rows, slots x mail width]`: one per row, or those that `mailbox` refers to.
    pub mail: Tensor<2>,
    /// Time since the last update of each row, `[rows]`, in the stream's unit.
    pub delta_t: Tensor<1>,
    /// 1 where the row goes through the updater, 0 where it keeps its memory, `[rows]`.
    pub active: Tensor<1, Int>,
    /// Where a row's mail is and how old, if the updater attends to each of them.
    pub mailbox: Option<MailboxInput>,
    /// Node features of each row, `[rows, node width]`, if the stream has any.
    pub node_features: Option<Tensor<2>>,
    /// Time since the last event of each root over the time since the stream's start,
    /// `[roots]`, roots being src ‖ dst ‖ neg.
    pub root_recency: Tensor<1>,
    /// Layers, the innermost first: its rows are the memory's, and its roots are the rows
    /// of the next layer; the last one's roots are the batch's.
    pub layers: Vec<LayerInput>,
}

/// Mail as the attention kernel takes past events.
#[derive(Debug, Clone)]
pub struct MailboxInput {
    /// `[rows, slots, 4]`: 0, place among the mail, bits of the f32 time since, query row.
    pub slot: Tensor<3, Int>,
    /// `[queries]`: a row with the memory of each query. Rows of one node share it.
    pub query: Tensor<1, Int>,
    /// Rows that use each query.
    pub query_uses: Uses,
}

/// One sampled layer.
#[derive(Debug, Clone)]
pub struct LayerInput {
    /// Row of each root, `[roots]`; the rows of roots come before all others.
    pub root_row: Tensor<1, Int>,
    /// Roots that use each of their rows.
    pub root_uses: Uses,
    /// Sampled past events of each root; none where the model needs none.
    pub slots: AttentionSlots,
    /// Edge features of the batch's events and of the sampled ones, `[event rows, edge width]`.
    pub edge: Tensor<2>,
}

/// What a model makes of a batch.
#[derive(Debug, Clone)]
pub struct ModelOutput {
    /// Updated memory of each row, `[rows, width]`.
    pub memory: Tensor<2>,
    /// Embedding of each root, `[roots, width]`.
    pub embedding: Tensor<2>,
}

/// Seed and counter of an iteration's dropouts; `None` in evaluation.
pub(crate) type DropoutKey = Option<(u64, u32)>;

/// The draws of one of a model's dropouts, which have distinct `stream` numbers; none in
/// evaluation.
fn draws(key: DropoutKey, probability: f64, stream: u32) -> Dropout {
    key.map_or(Dropout::OFF, |(seed, iteration)| {
        Dropout::new(probability as f32, seed, stream, iteration)
    })
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
}

/// Logits of a batch, `[events]` for its events and for their negatives, and the loss on them.
#[derive(Debug, Clone)]
pub struct Logits {
    /// Of (src, dst).
    pub positive: Tensor<1>,
    /// Of (src, neg).
    pub negative: Tensor<1>,
    loss: Tensor<1>,
}

impl LinkModel {
    /// Model and predictor with initial weights.
    pub fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> LinkModel {
        LinkModel {
            model: Model::new(config, init),
            predictor: LinkPredictor::new(config, init),
        }
    }

    /// Logits of the batch and the updated rows.
    pub(crate) fn forward(&self, input: &ModelInput, key: DropoutKey) -> (Logits, Tensor<2>) {
        let output = self.model.forward(input, key);
        (self.predictor.forward(output.embedding), output.memory)
    }
}
