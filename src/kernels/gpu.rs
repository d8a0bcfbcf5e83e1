//! What runs on a GPU, in programs with the feature `gpu`: each operation's WGSL and its launches in a file of the
//! operation's name, and what all of them need: texts and launches ([`wgsl`]), and which kernels a device runs.

mod adam;
mod attention_layer;
mod chunks;
mod clip_scale;
mod dropout;
mod feature_rows;
mod gather_rows;
mod gru_gates;
mod link_predictor;
mod link_scores;
mod mail_update;
mod memories;
mod memory_gather;
mod memory_update;
mod output_norm;
mod parts;
mod place_rows;
mod product;
mod products;
mod recurrent_cell;
mod rnn_gates;
mod root_norm;
pub(crate) mod settled;
mod temporal_attention;
mod time_encoding;
mod unpack_bits;
pub mod wgsl;

use wgsl::KernelSpec;

/// Every WGSL kernel, with the constants of the variants that the tests validate.
pub const ALL: &[&KernelSpec] = &[
    &memory_gather::FORWARD,
    &memory_update::FORWARD,
    &mail_update::FORWARD,
    &unpack_bits::FORWARD,
    &feature_rows::FORWARD,
    &place_rows::FORWARD,
    &gather_rows::FORWARD,
    &gather_rows::SEGMENT_SUM,
    &gather_rows::PIECE_SUMS,
    &time_encoding::FORWARD,
    &time_encoding::BACKWARD,
    &gru_gates::FORWARD,
    &gru_gates::BACKWARD,
    &rnn_gates::FORWARD,
    &rnn_gates::BACKWARD,
    &link_scores::FORWARD,
    &link_scores::LOSS,
    &link_scores::BACKWARD,
    &link_scores::BACKWARD_SUMS,
    &root_norm::FORWARD,
    &root_norm::BACKWARD,
    &output_norm::FORWARD,
    &output_norm::BACKWARD,
    &output_norm::BACKWARD_SUMS,
    &temporal_attention::FORWARD,
    &temporal_attention::BACKWARD,
    &temporal_attention::BACKWARD_ROWS,
    &attention_layer::QUERY_ROW,
    &attention_layer::QUERY_ROW_BACKWARD,
    &product::BY_WORKGROUP,
    &product::BY_INVOCATION,
    &product::COLUMN_SUMS,
    &dropout::FORWARD,
    &dropout::RELU_BACKWARD,
    &adam::FORWARD,
    &clip_scale::SQUARES,
    &clip_scale::SCALE,
];
