//! Checks and measurements of mspipe that are no part of training.
//!
//! | module | command | what it answers |
//! |---|---|---|
//! | [`parity`] | `mspipe-bench parity FILE` | does mspipe compute what TGL computed? |
//! | [`matmul`] | `mspipe-bench matmul` | how fast is this machine's matrix product? |
//! | [`speed`] | `mspipe-bench speed` | how fast is training, for such a machine? |
//! | [`length`] | `mspipe-bench length` | does an event cost more in a longer stream? |
//! | [`schedules`] | `mspipe-bench schedules` | what is each schedule worth, and the mitigation? |
//! | [`startup`] | `mspipe-bench startup` | how long until the first iteration has ended? |
//! | [`peers`] | `mspipe-bench peers` | is it faster than PyG on this machine? |
//! | [`reproduce`] | `mspipe-bench reproduce` | what do the paper's experiments give on this machine? |
//! | [`compare`] | `mspipe-bench compare A B` | which of two measurements is faster? |
//! | [`serve`] | `mspipe-bench serve RUN` | how many events does a server follow, and how long does an answer take? |
//! | [`check`] | `mspipe-bench check` | do small runs still give what they gave? |
//! | [`accept`] | `mspipe-bench accept` | does it work on this device, and how fast? |
//!
//! [`recording`] reads the files that `parity` replays; [`grid`] does the runs of `schedules`,
//! `reproduce` and `check`, [`cell`] is what one of them gave. [`iterations`] trains iteration by iteration, for
//! `startup` and the benches; [`kernels`] has each kernel with inputs for the benches. [`machine`] names what numbers were measured on.

pub mod accept;
pub mod cell;
pub mod check;
pub mod compare;
pub mod grid;
pub mod iterations;
pub mod kernels;
pub mod length;
pub mod machine;
pub mod matmul;
pub mod parity;
pub mod peers;
pub mod recording;
pub mod reproduce;
pub mod schedules;
pub mod serve;
pub mod speed;
pub mod startup;
