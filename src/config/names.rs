//! The words that options take, each with its help text.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A model that tells which pairs of nodes interact
    Link,
    /// A classifier of state labels, on embeddings by the model of --init
    Node,
}

/// What an epoch of node classification goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BalanceName {
    /// All training events
    None,
    /// All positive ones and as many negative ones, drawn anew each epoch
    Sample,
}

/// What a number is measured under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Destination-only negatives, both edge directions, Δt between a node's events
    Default,
    /// As TGL: negatives from all nodes, source-to-destination edges, Δt up to the query
    Tgl,
    /// As TGB: each destination is ranked among --candidates (MRR, ties averaged), which also
    /// chooses the epoch; events of a batch don't see one another. TGB's batch size is 200
    Tgb,
    /// As DyGLib: tested with pairs of the past too (historical and inductive negatives).
    /// DyGLib's batch size is 200
    Dyglib,
}

/// Which past events a root sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SamplerName {
    /// The most recent ones
    Recent,
    /// Uniform over the past, without replacement
    Uniform,
}

/// Which time difference the memory updater gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeDeltaName {
    /// Between a node's last two events (TGN's paper); one updater row a node
    Message,
    /// From a node's last event to the query (TGL, MSPipe); one updater row a (node, time)
    Query,
}

/// When a memory row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryWriteName {
    /// When its node has an event (TGN, TGL); negatives never write
    Event,
    /// Whenever it is read, by a negative too (TGLite)
    Read,
}

/// What becomes of several mails for one node in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailAggregationName {
    /// The last one is kept (TGN, TGL)
    Last,
    /// Their mean is kept
    Mean,
}

/// Whether frequencies and phases of time encodings are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeEncodingName {
    /// Trained with the other weights (TGN, TGL)
    Trained,
    /// Kept as they start, from 1 down to 10^-9
    Fixed,
}
