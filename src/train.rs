//! Training: the stages of an iteration, the optimiser, and the loop over epochs.

pub mod classification;
pub(crate) mod divergence;
pub mod ended;
pub mod epochs;
pub mod error;
pub mod evaluation;
pub(crate) mod following;
pub mod histories;
pub mod iteration;
mod joint;
pub mod keeping;
pub mod learning_rate;
pub mod metrics;
pub mod observer;
pub mod optimizer;
pub(crate) mod pair_scores;
pub(crate) mod pair_statistics;
pub mod pass;
pub mod probes;
pub(crate) mod progress;
mod queue_times;
pub mod ranks;
pub(crate) mod saving;
pub mod stream;
mod submission;
pub mod trainer;
pub mod upload;
