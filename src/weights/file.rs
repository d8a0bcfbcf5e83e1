//! What a weights file holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::tgl_weights::NamedTensor;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightFile {
    /// Its tensors by name.
    pub tensors: BTreeMap<String, NamedTensor>,
    /// The model that they belong to, if the file says it.
    pub model: Option<ModelDescription>,
    /// What every name in the file begins with because of how the model was run (`module.`), taken
    /// off in `tensors`; empty mostly.
    pub prefix: String,
}

/// What a file written by [`write()`](super::write()) says of its model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelDescription {
    /// Its name, as `--model` takes it.
    pub model: String,
    /// Width of a memory row and of an embedding.
    pub width: usize,
    /// Width of a time encoding.
    pub time_width: usize,
    /// Width of an edge feature row, 0 for none.
    pub edge_width: usize,
    /// Width of a node feature row, 0 for none.
    pub node_width: usize,
    /// Layers of sampled neighbours.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Kind of its time encoding.
    pub time_encoding: String,
    /// Statistics of a pair that its link predictor reads; a model without says nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pair_history: usize,
    /// SHA-256 of the stream that it was trained on; files of earlier versions don't say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}
