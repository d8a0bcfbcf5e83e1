//! Signals that ask the program to end: Ctrl-C, a batch system's SIGTERM, a terminal that closes.
//!
//! All act alike. The first one [requests](Stop::request) a stop; a program that has nothing to
//! remove or to keep ([`Stop::unfinished`]) ends at once, any other within the iteration or the
//! piece that it is in. A second one ends it at once, unless it is another SIGHUP: a closing
//! terminal and its shell send one each. The exit code is 128 and the signal's number, as shells
//! have it.
//!
//! | | Unix | Windows | exit code |
//! |---|---|---|---|
//! | asked to end | SIGINT | Ctrl-C, Ctrl-Break | 130 |
//! | terminal closed | SIGHUP | the console window is closed | 129 |
//! | told to end | SIGTERM | log-off, shutdown | 143 |
//!
//! A signal that was ignored when the program began stays ignored: `nohup` ignores SIGHUP, a shell
//! SIGINT for what it runs in the background. Windows gives a program whose console is closed some
//! five seconds, whatever it does.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Context;
use clap::Parser;
use mspipe_datasets::Stop;

use crate::console;

static STOP: OnceLock<Stop> = OnceLock::new();

/// Exit code of the first signal; 0 before.
static CODE: AtomicU8 = AtomicU8::new(0);

/// All of a program: parses its command line, listens, does `work`, and prints the error that ends
/// it, with all its causes. Returns the exit code: that of the signal that ended the program, or
/// `failure` for another error.
pub fn run<C: Parser>(failure: u8, work: impl FnOnce(C) -> anyhow::Result<ExitCode>) -> ExitCode {
    run_with(std::env::args_os(), failure, work)
}

/// The same with a command line that begins with the program's name.
pub fn run_with<C: Parser>(
    words: impl IntoIterator<Item = OsString>,
    failure: u8,
    work: impl FnOnce(C) -> anyhow::Result<ExitCode>,
) -> ExitCode {
    let ended = match C::try_parse_from(words) {
        Ok(command) => listen()
            .context("can't listen for signals")
            .and_then(|()| work(command)),
        Err(error) => console::ended_by_clap(&error)
            .map(ExitCode::from)
            .map_err(Into::into),
    };
    match (ended, exit_code()) {
        (Ok(code), _) => code,
        (Err(error), Some(code)) => {
            console::note(format!("{error:#}"));
            ExitCode::from(code)
        }
        (Err(error), None) => {
            console::note(format!("error: {error:#}"));
            ExitCode::from(failure)
        }
    }
}

/// Begins to listen. What is to end early takes [`stop`].
///
/// # Errors
/// When the system refuses.
fn listen() -> io::Result<()> {
    STOP.get_or_init(Stop::default);
    system::listen()
}

/// The stop that signals request; in a program that does not [`run()`] here it never comes.
pub fn stop() -> Stop {
    STOP.get_or_init(Stop::default).clone()
}

/// The exit code of a program that ends because of a signal, if one has come to it or to a rank that it trains
/// with.
fn exit_code() -> Option<u8> {
    let own = Some(CODE.load(Ordering::SeqCst)).filter(|&code| code != 0);
    own.or_else(|| STOP.get()?.exit_code())
}

/// What a handler does: atomics only. Whether the program is to end at once.
fn received(code: u8, hastens: bool) -> bool {
    let first = CODE
        .compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst)
        .is_ok();
    let Some(stop) = STOP.get() else {
        return true;
    };
    stop.request_for(code);
    (!first && hastens) || !stop.has_unfinished()
}

#[cfg(unix)]
mod system {
    use std::io;

    use nix::libc;
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

    pub(super) fn listen() -> io::Result<()> {
        // A file that may not grow any more (`ulimit -f`) is then an error like a full disk, and not the
        // end of the program.
        let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        // SAFETY: no handler is installed.
        unsafe { sigaction(Signal::SIGXFSZ, &ignore) }?;
        let handler = SigHandler::Handler(on_signal);
        // Reads and writes in progress when a signal comes continue.
        let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            // SAFETY: the handler calls what may be called in one: atomics and `_exit`.
            let before = unsafe { sigaction(signal, &action) }?;
            if matches!(before.handler(), SigHandler::SigIgn) {
                // SAFETY: as it was before.
                unsafe { sigaction(signal, &before) }?;
            }
        }
        Ok(())
    }

    extern "C" fn on_signal(signal: libc::c_int) {
        // Signals have small numbers.
        let code = 128 + signal as u8;
        if super::received(code, signal != libc::SIGHUP) {
            // SAFETY: ends the process without running anything of it.
            unsafe { libc::_exit(code.into()) }
        }
    }
}

#[cfg(windows)]
mod system {
    use std::io;
    use std::thread;
    use std::time::Duration;

    use windows_sys::Win32::System::Console::{
        CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, SetConsoleCtrlHandler,
    };
    use windows_sys::core::BOOL;

    pub(super) fn listen() -> io::Result<()> {
        // SAFETY: the handler is a function of this program, and runs on a thread of its own.
        match unsafe { SetConsoleCtrlHandler(Some(on_event), 1) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    unsafe extern "system" fn on_event(event: u32) -> BOOL {
        let asked = matches!(event, CTRL_C_EVENT | CTRL_BREAK_EVENT);
        let code = match event {
            _ if asked => 130,
            CTRL_CLOSE_EVENT => 129,
            _ => 143,
        };
        if super::received(code, asked) {
            std::process::exit(code.into());
        }
        // Of all other events, the system ends the program when the handler returns.
        while !asked {
            thread::sleep(Duration::from_secs(1));
        }
        1
    }
}

#[cfg(not(any(unix, windows)))]
mod system {
    pub(super) fn listen() -> std::io::Result<()> {
        Ok(())
    }
}
