//! Training: the stages of an iteration, the optimiser, and the loop over epochs.

pub mod adam;
pub mod divergence;
pub mod epochs;
pub mod evaluation;
pub mod iteration;
mod keeping;
pub mod node_classification;
pub mod observer;
pub mod pair_scores;
pub mod pass;
pub mod progress;
pub mod trainer;
pub mod upload;
