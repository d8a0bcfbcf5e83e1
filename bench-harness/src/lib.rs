//! Checks and measurements of mspipe that are no part of training.
//!
//! | module | command | what it answers |
//! |---|---|---|
//! | [`parity`] | `mspipe-bench parity FILE` | does mspipe compute what TGL computed? |
//! | [`matmul`] | `mspipe-bench matmul` | how fast is this machine's matrix product? |
//! | [`speed`] | `mspipe-bench speed` | how fast is training, for such a machine? |
//!
//! [`recording`] reads the files that `parity` replays.

pub mod matmul;
pub mod parity;
pub mod recording;
pub mod speed;
