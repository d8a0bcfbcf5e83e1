//! The `mspipe` program: parse, run, print the error chain, exit code.

mod cli;

use std::process::ExitCode;

use mspipe::interrupt;

/// A run allocates and frees the same megabytes each iteration; the system's allocator
/// gives such blocks back to the kernel each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the bindings leave out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    quiet_mesa();
    // SAFETY: sets a number of the allocator; no other thread runs yet. Freed blocks stay
    // with the process: an iteration takes as many again, and the kernel would have to
    // clear each page that it hands out (a quarter of APAN's time).
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    interrupt::run(1, cli::run)
}

/// Without a desktop session, Mesa's device-select layer prints an error for each instance
/// that is opened (it looks for a Wayland display). It only reorders adapters for desktops.
fn quiet_mesa() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
