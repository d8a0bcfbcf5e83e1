//! The only place that writes to stdout and stderr.
//!
//! | call | for | where it can't be written |
//! |---|---|---|
//! | [`product`] | what a command was asked for | an error |
//! | [`news`] | how a run fares; its files have all of it | said once on stderr, the run continues |
//! | [`note`] | warnings, progress, errors, on stderr | nothing: there is nowhere left to say it |
//!
//! A reader of stdout that has seen enough (`| head`) is never an error: what it does not read is
//! dropped. The standard library's macros panic instead, which would end a run of hours because
//! of a line about it; a lint keeps them out.
//!
//! Control characters of names that come from outside are shown, not obeyed (see
//! [`mspipe_datasets::printable()`]).

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use mspipe_datasets::printable;
use serde::Serialize;
use thiserror::Error;

/// Why stdout did not take what a command was asked for.
#[derive(Debug, Error)]
pub enum PrintError {
    /// The disk is full, the terminal is gone …
    #[error("the answer can't be written to stdout: {0}")]
    Stdout(io::Error),
    /// It is no JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Writes what the command was asked for to stdout; `text` brings its own line breaks.
///
/// # Errors
/// [`PrintError::Stdout`], but not if the reader has gone.
pub fn product(text: impl Display) -> Result<(), PrintError> {
    write(&text.to_string()).map_err(PrintError::Stdout)
}

/// As [`product`], a value as JSON.
///
/// # Errors
/// As [`product`].
pub fn json(value: &impl Serialize) -> Result<(), PrintError> {
    product(serde_json::to_string_pretty(value)? + "\n")
}

/// Writes a line about a run to stdout.
pub fn news(line: impl Display) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if let Err(error) = write(&format!("{line}\n"))
        && !SAID.swap(true, Ordering::Relaxed)
    {
        note(format!(
            "warning: stdout can't be written: {error}; continuing without it"
        ));
    }
}

/// Writes a line to stderr.
pub fn note(line: impl Display) {
    part(format!("{line}\n"));
}

/// Writes to stderr what is no whole line yet.
pub fn part(text: impl Display) {
    // A terminal that was closed: nobody is there to be told.
    let _ = io::stderr().write_all(printable(&text.to_string()).as_bytes());
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    unless_gone(
        out.write_all(printable(text).as_bytes())
            .and_then(|()| out.flush()),
    )
}

/// A reader that has gone is no failure.
fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A command line that clap ends: help and version are a product, anything else is a refusal.
/// Returns the exit code.
///
/// # Errors
/// As [`product`].
pub(crate) fn ended_by_clap(error: &clap::Error) -> Result<u8, PrintError> {
    let printed = error.print().and_then(|()| io::stdout().flush());
    match error.use_stderr() {
        true => Ok(2),
        false => unless_gone(printed).map(|()| 0).map_err(PrintError::Stdout),
    }
}

/// stderr for libraries that write by themselves: what it does not take is dropped.
#[derive(Debug, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
