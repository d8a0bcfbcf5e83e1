//! The kernels of mspipe: WGSL in `shaders/` for the GPU, a CPU kernel in
//! [`mod@cpu`] for the CPU, one file here for each operation.
//!
//! An operation file holds the dispatch trait (burn's backend extension), the WGSL
//! launch, the call of the CPU kernel, the hand-written backward and the function on
//! tensors that the models call.
//!
//! Invariants: no atomics, no data-dependent order of additions, so the same inputs
//! give the same bits on one device; indices, shapes and limits are checked on the
//! host before a launch, because WGSL runs without bounds checks.
//!
//! Everything data-dependent (unique rows, inverse indices, last writers) is computed on
//! the CPU by [`crate::batch`]; nothing here sorts or searches.

pub mod adam;
pub mod costs;
pub mod cpu;
pub mod dropout;
mod flex;
pub mod gather_rows;
pub mod gru_gates;
pub mod head_products;
pub mod linear;
pub mod link_predictor;
pub mod link_scores;
pub mod mail_update;
pub mod memory_gather;
pub mod memory_update;
pub mod output_norm;
pub mod products;
pub mod recurrent_cell;
pub mod rnn_gates;
pub mod temporal_attention;
pub mod time_encoding;
pub mod time_projection;
pub mod unpack_bits;
pub mod wgsl;

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
    &gru_gates::FORWARD,
    &gru_gates::BACKWARD,
    &rnn_gates::FORWARD,
    &rnn_gates::BACKWARD,
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
    &products::PRODUCT,
    &products::COLUMN_SUMS,
    &dropout::FORWARD,
    &adam::FORWARD,
];
