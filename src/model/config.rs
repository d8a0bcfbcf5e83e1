//! Which model it is, how wide, and what it needs of a batch.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::batch::TimeDelta;

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

impl ModelName {
    /// The time difference that suits it, unless a protocol asks for another.
    pub fn time_delta(self) -> TimeDelta {
        match self {
            ModelName::Tgn | ModelName::Jodie => TimeDelta::Message,
            // A mail's age at the query is all that an embedding knows of the query.
            ModelName::Apan => TimeDelta::Query,
        }
    }

    /// Whether it has attention layers over sampled past events.
    pub fn has_layers(self) -> bool {
        self == ModelName::Tgn
    }

    /// Whether it attends to each piece of mail of a node.
    pub fn attends_to_mail(self) -> bool {
        self == ModelName::Apan
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
    /// Statistics of a pair's past events that the link predictor reads, 0 for none.
    pub pair_history: usize,
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
            attends_to_mail: self.name.attends_to_mail(),
            mail_to_neighbors: false,
            time_delta: self.name.time_delta(),
        };
        match self.name {
            ModelName::Tgn => ModelNeeds {
                layers: self.layers,
                ..recurrent
            },
            ModelName::Jodie => recurrent,
            ModelName::Apan => ModelNeeds {
                mail_slots: self.mail_slots,
                mail_to_neighbors: true,
                ..recurrent
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
    /// Whether the updater attends to each piece of mail: [`super::ModelInput::mailbox`].
    pub attends_to_mail: bool,
    /// Whether nodes of sampled past events get mail too.
    pub mail_to_neighbors: bool,
    /// The time difference that suits the model, unless a protocol asks for another.
    pub time_delta: TimeDelta,
}
