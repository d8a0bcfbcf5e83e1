//! `mspipe-bench` as a user runs it.

#![allow(clippy::print_stdout, reason = "tests say what they measured")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

// A device checked and measured as a whole.
mod accept;
// Recordings of TGL, and one whose numbers are worked out by hand.
mod parity;
// PyG beside mspipe, where there is a Python with it.
mod peers;
// The recipes, and what compares and checks their numbers.
mod reproduce;
// Tables of schedules and mitigations.
mod schedules;
// A folder of its own for a test, and the program in it.
mod workdir;
