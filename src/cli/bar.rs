//! The bar of a run that trains: how much of an epoch is done, how fast, and how long the rest takes.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressState, ProgressStyle};

/// How often it is drawn, whatever happens.
const TICK: Duration = Duration::from_millis(200);

/// A bar on a terminal; nothing elsewhere.
pub(super) struct Bar {
    bar: ProgressBar,
    /// Whoever draws it meanwhile goes with this.
    drawn: Option<Sender<()>>,
    /// Events of the epoch that were done before this program began with it: a run that resumes has some.
    before: Arc<AtomicU64>,
    batch_size: usize,
    /// Whether an iteration of the epoch has been told.
    moved: bool,
}

impl Bar {
    /// None yet, of a run with batches of so many events.
    pub(super) fn new(batch_size: usize) -> Bar {
        Bar {
            bar: ProgressBar::hidden(),
            drawn: None,
            before: Arc::default(),
            batch_size,
            moved: false,
        }
    }

    /// An epoch begins, with so many iterations; `name` stands before its bar.
    pub(super) fn epoch(&mut self, name: String, iterations: usize) {
        self.clear();
        (self.before, self.moved) = (Arc::default(), false);
        self.bar = ProgressBar::new((iterations * self.batch_size) as u64);
        let template = "{prefix} {wide_bar} {percent:>3} % {rate} {msg} {rest}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            let before = self.before.clone();
            let rate = move |state: &ProgressState, out: &mut dyn Write| {
                let rate = per_second(state, before.load(Ordering::Relaxed));
                let _ = write!(out, "{} events/s", HumanCount(rate as u64));
            };
            let before = self.before.clone();
            let rest = move |state: &ProgressState, out: &mut dyn Write| {
                let left = state.len().unwrap_or(0).saturating_sub(state.pos());
                let rate = per_second(state, before.load(Ordering::Relaxed));
                if rate > 0.0 {
                    let left = Duration::from_secs_f64(left as f64 / rate);
                    let _ = write!(out, "{:#} left", HumanDuration(left));
                }
            };
            self.bar
                .set_style(style.with_key("rate", rate).with_key("rest", rest));
        }
        self.bar.set_prefix(name);
        self.drawn = draw(&self.bar);
    }

    /// So many events of the epoch are done.
    pub(super) fn done(&mut self, events: usize) {
        if !self.moved {
            let before = events.saturating_sub(self.batch_size) as u64;
            self.before.store(before, Ordering::Relaxed);
            self.moved = true;
        }
        self.bar.set_position(events as u64);
    }

    /// Says something beside the bar.
    pub(super) fn message(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Something begins of which nobody knows how long it takes.
    pub(super) fn spinner(&mut self, text: String) {
        self.clear();
        self.bar = ProgressBar::new_spinner();
        self.bar.set_message(text);
        self.drawn = draw(&self.bar);
    }

    /// It is gone.
    pub(super) fn clear(&mut self) {
        self.bar.finish_and_clear();
        drop(self.drawn.take());
    }

    /// Prints while the bar is out of the way.
    pub(super) fn beside(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

/// Draws `bar` until the returned end is dropped, where it is seen. Not by indicatif's own thread, for want of which it
/// panics: without one, the bar is drawn when it is told something.
fn draw(bar: &ProgressBar) -> Option<Sender<()>> {
    if bar.is_hidden() {
        return None;
    }
    let (stays, gone) = mpsc::channel();
    let bar = bar.clone();
    let drawing = move || {
        while gone.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) && !bar.is_finished() {
            bar.tick();
        }
    };
    let thread = thread::Builder::new().name("mspipe-bar".to_owned());
    thread.spawn(drawing).is_ok().then_some(stays)
}

/// Events per second since the bar began, but for those `before`.
fn per_second(state: &ProgressState, before: u64) -> f64 {
    let seconds = state.elapsed().as_secs_f64();
    let done = state.pos().saturating_sub(before);
    if seconds > 0.0 {
        done as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_draws_what_is_not_seen() {
        assert!(draw(&ProgressBar::hidden()).is_none());
    }
}
