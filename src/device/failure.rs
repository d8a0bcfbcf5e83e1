//! What goes wrong on a device after it was opened: its memory runs out, the driver loses it, a piece of work
//! fails. How that is noticed is in `gpu/watch.rs` and `gpu/log.rs`; the CPU device fails nowhere but where it is
//! called.

use indicatif::HumanBytes;
use thiserror::Error;

/// Why a device that was open does no more.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeviceFailure {
    /// It had no room for a buffer.
    #[error(
        "{adapter} has no memory left ({}); try --memory host, which keeps node memory in RAM, a smaller \
         --batch-size or --fanout, or --device cpu",
        told(*memory)
    )]
    NoMemory {
        /// Its name.
        adapter: String,
        /// Bytes that it has in all, where its driver tells.
        memory: Option<u64>,
    },
    /// A buffer is larger than it takes.
    #[error(
        "{adapter} binds at most {} at once, and a tensor has more: try a smaller --batch-size, --fanout, --width or \
         --mail-slots, fewer columns of features, or --device cpu; where only the test was left, 'mspipe eval RUN \
         --test-only' has it with these ({reason})",
        HumanBytes(*most)
    )]
    TooLarge {
        /// Its name.
        adapter: String,
        /// Bytes of the largest buffer that a kernel can bind.
        most: u64,
        /// wgpu's words.
        reason: String,
    },
    /// The driver gave it up.
    #[error(
        "the driver has lost {adapter} ({reason}): it was reset, or removed, or its work took too long. A run \
         with checkpoints continues with 'mspipe train --resume RUN'; if it is lost again, a smaller \
         --batch-size makes its work shorter, and --device cpu needs no GPU"
    )]
    Lost {
        /// Its name.
        adapter: String,
        /// wgpu's words.
        reason: String,
    },
    /// A piece of work was not done.
    #[error(
        "{adapter} did not do a part of its work, so that no result after it can be trusted: {reason}; try \
         another driver or adapter, or --device cpu"
    )]
    Undone {
        /// Its name.
        adapter: String,
        /// The words of wgpu, burn or cubecl.
        reason: String,
    },
}

fn told(memory: Option<u64>) -> String {
    match memory {
        Some(bytes) => format!("it has {} in all", HumanBytes(bytes)),
        None => "its driver does not tell how much it has".to_owned(),
    }
}
