//! The kernels of mspipe: an operation is a file of `operations/`, its WGSL for the GPU is in
//! `shaders/`, its kernel for the CPU in `cpu/`, all of one name. Beside them is what all of
//! them need: texts and launches ([`wgsl`]), which of them an adapter runs ([`choice`]), tensors of
//! the CPU backend as slices, how a backward hangs to a result, and what a call costs ([`costs`]).
//!
//! Invariants: no atomics, no data-dependent order of additions, so the same inputs
//! give the same bits on one device; indices, shapes and limits are checked on the
//! host before a launch, because WGSL runs without bounds checks.
//!
//! Everything data-dependent (unique rows, inverse indices, last writers) is computed on
//! the CPU by [`crate::batch`]; nothing here sorts or searches.

mod autodiff;
pub mod choice;
pub mod costs;
pub(crate) mod cpu;
mod flex;
mod operations;
pub mod wgsl;

pub use operations::{
    adam, clip_scale, dropout, gather_rows, link_predictor, link_scores, mail_update,
    memory_gather, memory_update, output_norm, products, recurrent_cell, temporal_attention,
    time_encoding, time_projection, unpack_bits,
};
use wgsl::KernelSpec;

/// Every WGSL kernel, with the constants of the variants that the tests validate.
pub const ALL: &[&KernelSpec] = &[
    &memory_gather::FORWARD,
    &memory_update::FORWARD,
    &mail_update::FORWARD,
    &unpack_bits::FORWARD,
    &gather_rows::FORWARD,
    &gather_rows::SEGMENT_SUM,
    &time_encoding::FORWARD,
    &time_encoding::BACKWARD,
    &time_projection::FORWARD,
    &time_projection::BACKWARD,
    &operations::gru_gates::FORWARD,
    &operations::gru_gates::BACKWARD,
    &operations::rnn_gates::FORWARD,
    &operations::rnn_gates::BACKWARD,
    &link_scores::FORWARD,
    &link_scores::LOSS,
    &link_scores::BACKWARD,
    &link_scores::BACKWARD_SUMS,
    &output_norm::FORWARD,
    &output_norm::BACKWARD,
    &output_norm::BACKWARD_SUMS,
    &temporal_attention::FORWARD,
    &temporal_attention::BACKWARD,
    &temporal_attention::BACKWARD_ROWS,
    &products::cube::PRODUCT,
    &products::cube::COLUMN_SUMS,
    &dropout::FORWARD,
    &adam::FORWARD,
    &clip_scale::SQUARES,
    &clip_scale::SCALE,
];
