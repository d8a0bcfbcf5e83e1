//! Work that threads share: tasks of a kernel or of a batch's layout, threads that stay awake between them, and a
//! count of what is divided and what is not.
//!
//! Tasks are made by sizes alone and write what is theirs, so that no result depends on the number of threads or on who
//! does what.

mod awake;
mod count;
mod tasks;

pub use count::{Part, counted};

pub(crate) use awake::without_looking;
pub(crate) use count::{FLOPS, LINE, UnderWay, alone, part, task};
pub(crate) use tasks::{both, for_each, map};
