//! Rust twins of the WGSL kernels: what the CPU device runs, and what the shaders are
//! tested against. Same names, same arithmetic.
//!
//! Twins are multi-threaded over rows or roots and vectorised for the processor at run
//! time ([`multiversion`]). Each output number is summed in an order that depends on
//! neither threads nor vector width, and no operation is fused, so a twin's bits are the
//! same on every processor.

pub mod activation;
pub mod adam;
pub mod cosine;
pub mod counter_hash;
pub mod gru_gates;
pub mod link_scores;
pub mod output_norm;
pub mod products;
pub mod rnn_gates;
pub mod rows;
pub mod temporal_attention;
pub mod time_encoding;
pub mod vector;

/// A row of a row-major table. Sliced by its width, so that the compiler knows its length and
/// loops over columns vectorise.
#[inline]
pub(crate) fn row(table: &[f32], index: usize, width: usize) -> &[f32] {
    &table[index * width..][..width]
}
