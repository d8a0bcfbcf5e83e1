//! Errors of the GPU runtime that are only logged, or met where something is read.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// What a lock holds, also after a panic: a failure must be told all the same.
pub(super) fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The innermost cause that an error of burn or cubecl names, in one line without its backtrace, or the
/// words that there is none.
pub(super) fn cause_of(error: &str) -> String {
    let before = error.split("\nBacktrace").next().unwrap_or(error);
    let cause = before.rsplit("Caused by:\n").next().unwrap_or(before);
    let lines = cause.lines().map(str::trim);
    let backtrace = |line: &str| line.starts_with("0: ") || line.starts_with("No backtrace");
    let words: Vec<_> = lines.take_while(|line| !backtrace(line)).collect();
    words.join(" ")
}

/// The first error that was only logged, or met when something was read, since the last look.
static LOGGED: Mutex<Option<String>> = Mutex::new(None);

/// That error, which is then forgotten: it belongs to the device that is asked first.
pub(super) fn taken() -> Option<String> {
    locked(&LOGGED).take()
}

/// Keeps what burn said when something could not be read: why it was not written.
pub fn heed(error: &impl fmt::Display) {
    let mut first = locked(&LOGGED);
    first.get_or_insert_with(|| cause_of(&error.to_string()));
}

/// Whether there is one.
pub(super) fn has_error() -> bool {
    locked(&LOGGED).is_some()
}

/// Heeds the errors of a log. Of it only warnings are looked at: what it does not ask for is not even formatted.
pub(crate) fn heed_errors<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Heed.with_filter(LevelFilter::WARN)
}

/// Keeps what is only logged.
struct Heed;

impl<S: Subscriber> Layer<S> for Heed {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said {
            target: event.metadata().target().to_owned(),
            message: String::new(),
        };
        event.record(&mut said);
        if said.is_failure(*event.metadata().level()) {
            heed(&said.message);
        }
    }
}

/// A line of the log, wherever it comes from: those of the crate `log` carry their target in a field.
struct Said {
    target: String,
    message: String,
}

impl Said {
    /// Whether work was not done: a shader or a pipeline that was refused, a lost device, a task that
    /// panicked on the device's thread. (What drivers say while they are looked for is none.)
    fn is_failure(&self, level: Level) -> bool {
        let from = |name: &str| self.target.starts_with(name);
        let of_runtime = ["cubecl", "burn", "wgpu_core"].into_iter().any(from);
        match level {
            Level::ERROR => of_runtime,
            _ => from("cubecl_common::device"),
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "log.target" => value.clone_into(&mut self.target),
            "message" => value.clone_into(&mut self.message),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_logged_is_a_failure_where_work_was_not_done() {
        let said = |target: &str| Said {
            target: target.to_owned(),
            message: String::new(),
        };
        for (target, level, failure) in [
            ("cubecl_wgpu::backend::base", Level::ERROR, true),
            ("wgpu_core::device", Level::ERROR, true),
            ("cubecl_common::device::handle::channel", Level::WARN, true),
            ("cubecl_wgpu::compute::stream", Level::WARN, false),
            // A loader that complains of another vendor's driver.
            ("wgpu_hal::vulkan::instance", Level::ERROR, false),
            ("mspipe", Level::ERROR, false),
        ] {
            assert_eq!(said(target).is_failure(level), failure, "{target}");
        }
    }

    #[test]
    fn the_cause_is_told_without_its_backtrace() {
        let error = "An IO error happened\nCaused by:\n  no room\n  at all\nBacktrace:\n  0: main";
        assert_eq!(cause_of(error), "no room at all");
        let error =
            "An IO error happened\nCaused by:\n  can't allocate buffer of size: 9\n   0: main";
        assert_eq!(cause_of(error), "can't allocate buffer of size: 9");
        let error = "Caused by:\n  no room\nNo backtrace available\n\n  Asked at:\n  No backtrace available";
        assert_eq!(cause_of(error), "no room");
        assert_eq!(cause_of("plain"), "plain");
    }
}
