//! The CPU kernels: what the CPU device runs. Same names and arithmetic as the shaders.
//!
//! CPU kernels are multi-threaded over rows or roots and vectorised for the processor at run
//! time ([`multiversion`]). Each output number is summed in an order that depends on
//! neither threads nor vector width, and operations are fused where the source says `mul_add`
//! and nowhere else, so a CPU kernel's bits are the same on every processor.

pub(crate) mod activation;
pub(crate) mod adam;
pub(crate) mod clip_scale;
pub(crate) mod cosine;
pub(crate) mod counter_hash;
pub(crate) mod gru_gates;
mod history_gradients;
pub(crate) mod link_predictor;
pub(crate) mod link_scores;
pub(crate) mod output_norm;
pub(crate) mod products;
pub(crate) mod recurrent_cell;
pub(crate) mod rnn_gates;
pub(crate) mod rows;
pub(crate) mod temporal_attention;
pub(crate) mod time_encoding;
pub(crate) mod time_projection;
pub(crate) mod vector;

/// Numbers still to be written. A batch's tables have megabytes: to clear them first, on one
/// thread, would take as long as some of the operations.
pub(crate) type Unwritten = [std::mem::MaybeUninit<f32>];

/// Room for `len` numbers in an empty vector, whose length the caller sets when all are written.
pub(crate) fn room(numbers: &mut Vec<f32>, len: usize) -> &mut Unwritten {
    numbers.reserve_exact(len);
    &mut numbers.spare_capacity_mut()[..len]
}

/// Zeros, written by the task that continues with them.
pub(crate) fn zeroed(numbers: &mut Unwritten) -> &mut [f32] {
    numbers.fill(std::mem::MaybeUninit::new(0.0));
    // SAFETY: all have just been written.
    unsafe { numbers.assume_init_mut() }
}

/// A row of a row-major table. Sliced by its width, so that the compiler knows its length and
/// loops over columns vectorise.
#[inline]
pub(crate) fn row(table: &[f32], index: usize, width: usize) -> &[f32] {
    &table[index * width..][..width]
}
