//! Progress of conversions on stderr: shown after a second, and only on a terminal.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::printable::printable;

/// Work that ends sooner shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar that stays hidden for the first second.
pub(crate) struct Progress {
    bar: ProgressBar,
    start: Instant,
    shown: bool,
}

impl Progress {
    /// Progress in bytes.
    pub(crate) fn bytes(message: String, total: u64) -> Progress {
        Progress::new(
            message,
            Some(total),
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
        )
    }

    /// Progress in events.
    pub(crate) fn events(message: String, total: u64) -> Progress {
        Progress::new(
            message,
            Some(total),
            "{msg} {wide_bar} {human_pos}/{human_len} events, {per_sec}, {eta} left",
        )
    }

    /// Progress in bytes of what has no known end.
    pub(crate) fn unbounded(message: String) -> Progress {
        Progress::new(message, None, "{msg} {bytes} {bytes_per_sec}")
    }

    fn new(message: String, total: Option<u64>, template: &str) -> Progress {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        // The templates are constants; a bar without style is still a bar.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(printable(&message).into_owned());
        Progress {
            bar,
            start: Instant::now(),
            shown: false,
        }
    }

    pub(crate) fn advance(&mut self, amount: u64) {
        self.bar.inc(amount);
        if !self.shown && self.start.elapsed() > PATIENCE {
            self.shown = true;
            // Hidden by itself when stderr is not a terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A reader that reports what passes through it.
pub(crate) struct ProgressReader<R> {
    inner: R,
    progress: Progress,
}

impl<R> ProgressReader<R> {
    pub(crate) fn new(inner: R, progress: Progress) -> ProgressReader<R> {
        ProgressReader { inner, progress }
    }
}

impl<R: Read> Read for ProgressReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.advance(count as u64);
        Ok(count)
    }
}
