//! Pickles, interpreted without calling anything: one machine for all files that have one.
//!
//! `operations` reads them one operation at a time, `machine` interprets those that tensors and
//! arrays need, and what a reader makes of functions and types it says with `Objects`. Names of
//! functions stay names; a call that a reader does not know is refused. `checkpoint` goes through
//! whole PyTorch files for a reader that is not ours.
//!
//! Invariants: nesting, stack and memory are bounded whatever the bytes are (`Limits`); a length
//! that a file claims reserves nothing before its bytes have come; errors say at which byte.
//!
//! Source: CPython's `Lib/pickletools.py`.

mod checkpoint;
mod machine;
mod operations;

use std::io;

use indicatif::HumanBytes;

use crate::ram;

pub use checkpoint::check_checkpoint;
pub(crate) use machine::{Objects, Value, interpret};

/// What is wrong with bytes that end early or contradict themselves.
pub(crate) const CUT_OFF: &str = "the pickle is damaged or cut off";

/// Why a pickle is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PickleError {
    /// Its bytes can't be had.
    #[error("its pickle can't be read: {0}")]
    Read(io::Error),
    /// It is damaged, too large, or nothing that is known.
    #[error("{found} (at byte {at} of the pickle)")]
    Wrong {
        /// Where the operation begins.
        at: u64,
        /// What was found.
        found: String,
    },
}

impl From<io::Error> for PickleError {
    fn from(error: io::Error) -> PickleError {
        PickleError::Read(error)
    }
}

/// What a pickle may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Tuples in tuples.
    depth: usize,
    /// Values and marks on the stack.
    stack: usize,
    /// Bytes of memory in all.
    bytes: u64,
    /// Bytes of the file.
    file: u64,
}

impl Limits {
    /// Arrays are three tuples deep.
    const DEPTH: usize = 16;
    /// Python hands over 1,000 keys and values at once.
    const STACK: usize = 4096;
    /// Dictionaries of short arrays take some 12 bytes a byte: what is memoized is kept.
    const BYTES_A_BYTE: u64 = 32;
    /// So much is never too much.
    const HARMLESS: u64 = 1 << 24;

    /// For a pickle in a file of `file` bytes: memory that this size explains, and half of the
    /// RAM that there is at most.
    pub(crate) fn of_file(file: u64) -> Limits {
        let explained = file.saturating_mul(Limits::BYTES_A_BYTE);
        Limits {
            depth: Limits::DEPTH,
            stack: Limits::STACK,
            bytes: Room::within_ram(explained.saturating_add(Limits::HARMLESS)),
            file,
        }
    }

    fn room(&self) -> Room {
        Room {
            left: self.bytes,
            limit: self.bytes,
            file: self.file,
        }
    }
}

/// Memory that a pickle may still take.
pub(crate) struct Room {
    left: u64,
    limit: u64,
    file: u64,
}

impl Room {
    /// `bytes`, but no more than half of the RAM that there is.
    fn within_ram(bytes: u64) -> u64 {
        const SMALL: u64 = 1 << 26;
        if bytes <= SMALL {
            return bytes;
        }
        bytes.min((ram::available_bytes() / 2).max(SMALL))
    }

    /// Takes `bytes` before they are allocated.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), String> {
        self.check(bytes)?;
        self.left -= bytes;
        Ok(())
    }

    /// Refuses `bytes` that there is no room for.
    fn check(&self, bytes: u64) -> Result<(), String> {
        if bytes <= self.left {
            return Ok(());
        }
        Err(format!(
            "its values take more than {} of memory, which a file of {} does not explain or this \
             machine does not have",
            HumanBytes(self.limit),
            HumanBytes(self.file)
        ))
    }
}
