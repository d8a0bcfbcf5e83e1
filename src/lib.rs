//! mspipe trains memory-based temporal graph neural networks on any GPU that wgpu
//! reaches, and on the CPU.
//!
//! # Modules
//!
//! | module | what it holds |
//! |---|---|
//! | [`graph`] | ids, times, the stream's events by node (T-CSR) |
//! | [`sampling`] | past events and negatives, from counter-based random numbers |
//! | [`batch`] | a batch's layout: unique rows, indices, winners |
//! | [`features`] | node and edge features of a batch |
//! | [`memory`] | memory rows, mails and times of nodes |
//! | [`kernels`] | WGSL kernels, their Rust twins and backwards |
//! | [`model`] | TGN and its parts |
//! | [`weights`] | weights in files: safetensors, PyTorch's checkpoints |
//! | [`pipeline`] | the five stages of an iteration and what runs them |
//! | [`train`] | the stages over a stream, the optimiser, the epochs |
//! | [`eval`] | metrics and EdgeBank |
//! | [`device`] | adapters, the device thread |
//! | [`config`], [`session`], [`run_folder`] | settings, putting it all together, what a run writes |
//!
//! # The life of one batch
//!
//! [`train::stages::PassStages`] has the five stages in order:
//!
//! 1. `sample` (host): [`batch::EventBatch::cut`] takes the events, [`sampling`] draws
//!    negatives and past events, [`batch::Mfg::build`] finds the unique rows and all
//!    indices, [`batch::Winners::of`] the last event of each node.
//! 2. `fetch_features` (host): [`features::Features`] gathers the rows of its events.
//! 3. `fetch_memory` (device thread, as all that follows): [`memory::MemoryStore::fetch`]
//!    gathers memory, mails and exact time differences; [`train::upload`] makes tensors.
//! 4. `train`: [`model::MemoryModel::forward`], loss, backward, Adam
//!    ([`train::trainer::Trainer`]).
//! 5. `update_memory`: [`memory::MemoryStore::commit`] writes the winners' rows and mails.
//!
//! [`pipeline::sequential::run`] runs them one after the other;
//! [`train::epochs::TrainLoop`] goes over epochs, validation and test.

pub mod batch;
pub mod config;
pub mod device;
pub mod eval;
pub mod features;
pub mod graph;
pub mod kernels;
pub mod memory;
pub mod model;
pub mod pipeline;
pub mod run_folder;
pub mod sampling;
pub mod session;
pub mod train;
pub mod weights;
