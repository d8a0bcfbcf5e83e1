//! The kernels of mspipe: an operation is a file of `operations/`, its WGSL for the GPU is in
//! `shaders/`, what launches that in `gpu/`, its kernel for the CPU in `cpu/`, all of one name. Beside them
//! is what all of them need: which of them an adapter runs ([`choice`]), tensors of the CPU backend as
//! slices, how a backward hangs to a result, and what a call costs ([`costs`]).
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
mod float_list;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
mod operations;
pub mod packing;

#[cfg(feature = "gpu")]
pub use gpu::{ALL, wgsl};
use operations::parts;
pub use operations::{
    adam, attention_layer, clip_scale, dropout, feature_rows, gather_rows, link_predictor,
    link_scores, mail_update, memory_gather, memory_update, output_norm, place_rows, products,
    recurrent_cell, root_norm, temporal_attention, time_encoding, unpack_bits,
};
