//! One file for each operation: dispatch trait (burn's backend extension), call of its CPU kernel, backward, and the
//! function on tensors that the models call. What launches its shaders is in `gpu/`.

pub mod adam;
pub mod attention_layer;
pub mod clip_scale;
pub mod dropout;
pub mod feature_rows;
pub mod gather_rows;
pub mod link_predictor;
pub mod link_scores;
pub mod mail_update;
pub mod memory_gather;
pub mod memory_update;
pub mod output_norm;
pub(crate) mod parts;
pub mod place_rows;
pub mod products;
pub mod recurrent_cell;
pub mod root_norm;
pub mod temporal_attention;
pub mod time_encoding;
pub mod unpack_bits;
