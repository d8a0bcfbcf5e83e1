//! Training: the stages of an iteration, the optimiser, and the loop over epochs.

pub(crate) mod adam;
pub(crate) mod divergence;
pub mod epochs;
pub mod evaluation;
pub mod iteration;
mod keeping;
pub mod node_classification;
pub(crate) mod observer;
pub(crate) mod pair_scores;
pub mod pass;
pub(crate) mod progress;
pub mod trainer;
pub mod upload;
