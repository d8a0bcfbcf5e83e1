//! What every operation computes, in f64, in the plainest words: scalar loops that share nothing with
//! the program. CPU kernels and shaders are compared with these (`kernels.rs`), not with each other.
//!
//! Numbers come as f32, as the kernels get them, and are f64 from then on. Tables are row-major.
//! Each file has what the forward computes and, where the program has a hand-written backward, the
//! gradients of its inputs from `grad`, the gradient of its output. (Finite differences of the
//! kernels themselves, in `gradients.rs`, keep both from the same mistake.)

pub(crate) mod adam;
pub(crate) mod attention_layer;
pub(crate) mod counter_hash;
pub(crate) mod dropout;
pub(crate) mod feature_rows;
pub(crate) mod gather_rows;
pub(crate) mod head_products;
pub(crate) mod linear;
pub(crate) mod link_predictor;
pub(crate) mod output_norm;
pub(crate) mod place_rows;
pub(crate) mod recurrent_cell;
pub(crate) mod temporal_attention;
pub(crate) mod time_encoding;
pub(crate) mod time_projection;
pub(crate) mod unpack_bits;

/// The same numbers in f64.
pub(crate) fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|number| f64::from(*number)).collect()
}
