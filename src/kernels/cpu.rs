//! The CPU kernels: what the CPU device runs, and what the shaders are
//! tested against. Same names, same arithmetic.
//!
//! CPU kernels are multi-threaded over rows or roots and vectorised for the processor at run
//! time ([`multiversion`]). Each output number is summed in an order that depends on
//! neither threads nor vector width, and operations are fused where the source says `mul_add`
//! and nowhere else, so a CPU kernel's bits are the same on every processor.

pub mod activation;
pub mod adam;
pub mod cosine;
pub mod counter_hash;
pub mod gru_gates;
pub mod link_predictor;
pub mod link_scores;
pub mod output_norm;
pub mod products;
pub mod recurrent_cell;
pub mod rnn_gates;
pub mod rows;
pub mod temporal_attention;
pub mod time_encoding;
pub mod time_projection;
pub mod vector;

/// Numbers still to be written. A batch's tables have megabytes: to clear them first, on one
/// thread, would take as long as some of the operations.
pub(crate) type Unwritten = [std::mem::MaybeUninit<f32>];

/// Room for `len` numbers in an empty vector, whose length the caller sets when all are written.
pub(crate) fn room(numbers: &mut Vec<f32>, len: usize) -> &mut Unwritten {
    numbers.reserve_exact(len);
    &mut numbers.spare_capacity_mut()[..len]
}

/// A row of a row-major table. Sliced by its width, so that the compiler knows its length and
/// loops over columns vectorise.
#[inline]
pub(crate) fn row(table: &[f32], index: usize, width: usize) -> &[f32] {
    &table[index * width..][..width]
}
