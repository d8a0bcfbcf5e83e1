//! The `mspipe` program: its allocator, and the command line.

use std::process::ExitCode;

use mspipe::cli;

/// A run allocates and frees the same megabytes each iteration; the system's allocator
/// gives such blocks back to the kernel each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the bindings leave out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    // SAFETY: no other thread runs yet.
    unsafe { mspipe::device::quiet_mesa() };
    // Freed blocks stay with the process: an iteration takes as many again, and the kernel would have
    // to clear each page that it hands out (a quarter of APAN's time). A server lives for months, and
    // each time that a table grows leaves the one before: what is not taken again for a second goes.
    let serves = std::env::args_os()
        .nth(1)
        .is_some_and(|command| command == "serve");
    let delay_ms = if serves { 1000 } else { -1 };
    // SAFETY: sets a number of the allocator; no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, delay_ms) };
    cli::program(std::env::args_os())
}
