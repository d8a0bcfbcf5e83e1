//! What goes wrong on a device after it was opened: its memory runs out, the driver loses it, a piece of work
//! fails.
//!
//! wgpu tells of it by callbacks, burn and cubecl by a line in the log and nothing else, on threads of their
//! own; what is under way then fails later and elsewhere, in words that don't say why, or not at all. So
//! the first cause is kept here, and [`on_device_thread`](super::on_device_thread) returns it in place of
//! whatever came of the work.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::{Device, ExecutionError};
use indicatif::HumanBytes;
use thiserror::Error;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

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
        "{adapter} binds at most {} at once, and a tensor has more: try a smaller --batch-size, --fanout or \
         --width, or --device cpu ({reason})",
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

/// How long a device that failed is given to end what it was doing.
const NEWS: Duration = Duration::from_secs(2);

/// The first failure of one device.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    adapter: String,
    /// Bytes that it has, where its driver tells.
    memory: Option<u64>,
    /// Bytes of the largest buffer that a kernel can bind.
    most: u64,
    first: Arc<Mutex<Option<DeviceFailure>>>,
}

impl Watch {
    /// Of a device whose largest buffer has `most` bytes.
    pub(super) fn new(adapter: &str, memory: Option<u64>, most: u64) -> Watch {
        Watch {
            adapter: adapter.to_owned(),
            memory,
            most,
            first: Arc::default(),
        }
    }

    /// Listens to what wgpu says of `device`, in place of who has listened before: cubecl, whose listener
    /// panics. So does this one, after it has kept the error: what is under way must not go on
    /// with a buffer that is none, and the panic ends it on the thread that asked for it. (No panic hook is
    /// told: the run ends with the error.)
    fn listen(&self, device: &wgpu::Device) {
        let watch = self.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            let reason = error.to_string();
            watch.keep(match error {
                wgpu::Error::OutOfMemory { .. } => watch.no_memory(),
                _ => watch.of(reason.clone()),
            });
            panic::resume_unwind(Box::new(format!("wgpu: {reason}")));
        }));
        let watch = self.clone();
        device.set_device_lost_callback(move |_, reason| watch.lose(reason));
    }

    fn no_memory(&self) -> DeviceFailure {
        DeviceFailure::NoMemory {
            adapter: self.adapter.clone(),
            memory: self.memory,
        }
    }

    /// Of a reason in the words of wgpu or cubecl.
    fn of(&self, reason: String) -> DeviceFailure {
        let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        let adapter = self.adapter.clone();
        if says(&["out of device memory"]) {
            self.no_memory()
        } else if says(&[
            "binding size",
            "Buffer size",
            "can't allocate buffer of size",
        ]) {
            DeviceFailure::TooLarge {
                adapter,
                most: self.most,
                reason,
            }
        } else {
            DeviceFailure::Undone { adapter, reason }
        }
    }

    /// Keeps that the device is lost, whatever was kept before: buffers of a lost device are refused with
    /// other words, and sooner than wgpu tells why.
    fn lose(&self, reason: String) {
        let mut first = locked(&self.first);
        if !matches!(*first, Some(DeviceFailure::Lost { .. })) {
            *first = Some(self.lost(reason));
        }
    }

    /// wgpu tells of a loss when it is asked for news and all work has ended, as it has unless something
    /// failed. Whoever asks first has the listener called, on a thread of his own, so what looks like
    /// a consequence is given a moment.
    fn wait_for_news(&self, wgpu: &wgpu::Device) {
        let until = Instant::now() + NEWS;
        loop {
            // What came of the work is told by the listeners.
            let _ = wgpu.poll(wgpu::PollType::Wait {
                submission_index: None,
                timeout: Some(NEWS),
            });
            let first = locked(&self.first);
            let consequence = matches!(&*first, Some(DeviceFailure::Undone { reason, .. })
                if reason.contains("is invalid"));
            drop(first);
            if !consequence || Instant::now() > until {
                return;
            }
            thread::sleep(NEWS / 100);
        }
    }

    fn lost(&self, reason: String) -> DeviceFailure {
        DeviceFailure::Lost {
            adapter: self.adapter.clone(),
            reason,
        }
    }

    fn keep(&self, failure: DeviceFailure) {
        let mut first = locked(&self.first);
        first.get_or_insert(failure);
    }

    /// The first failure, which is then forgotten: a lost device before all that follows from it; what wgpu
    /// told; what burn says of the device once it has done all that it was given; what was only logged.
    fn take(&self, device: &Device, wgpu: &wgpu::Device) -> Option<DeviceFailure> {
        let synced = panic::catch_unwind(AssertUnwindSafe(|| device.sync()));
        self.wait_for_news(wgpu);
        let mut first = locked(&self.first);
        let (kept, logged) = (first.take(), logged());
        drop(first);
        match synced {
            _ if matches!(kept, Some(DeviceFailure::Lost { .. })) => kept,
            Ok(Err(ExecutionError::DevicePoisoned { reason })) => {
                Some(self.lost(cause_of(&reason)))
            }
            Ok(Err(error)) => kept.or_else(|| Some(self.of(cause_of(&error.to_string())))),
            Ok(Ok(())) => kept.or_else(|| logged.map(|reason| self.of(reason))),
            Err(_) => kept.or_else(|| Some(self.of("its thread has stopped".to_owned()))),
        }
    }
}

/// The adapters that this process has opened; they stay open.
static OPEN: Mutex<Vec<Open>> = Mutex::new(Vec::new());

/// One of them, as burn and as wgpu know it.
#[derive(Clone)]
struct Open {
    burn: Device,
    wgpu: wgpu::Device,
    watch: Watch,
}

/// From now on [`take`] asks this device too, and `watch` listens to it.
pub(super) fn add(burn: &Device, wgpu: &wgpu::Device, watch: Watch) {
    watch.listen(wgpu);
    let mut open = locked(&OPEN);
    open.push(Open {
        burn: burn.clone(),
        wgpu: wgpu.clone(),
        watch,
    });
}

/// Whether a failure of an open device has been told or logged since the last [`take`]. Costs no wait.
pub(crate) fn has_failed() -> bool {
    let open = locked(&OPEN);
    let told = |watch: &Watch| watch.first.lock().is_ok_and(|first| first.is_some());
    let logged = locked(&LOGGED);
    open.iter()
        .any(|device| logged.is_some() || told(&device.watch))
}

/// The first failure of any open device since the last call; waits until they have done what they were
/// given. Called on the thread that gave it to them.
pub(super) fn take() -> Option<DeviceFailure> {
    let open = locked(&OPEN).clone();
    open.iter()
        .find_map(|device| device.watch.take(&device.burn, &device.wgpu))
}

/// What a lock holds, also after a panic: a failure must be told all the same.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The innermost cause that an error of burn or cubecl names, in one line without its backtrace, or the
/// words that there is none.
fn cause_of(error: &str) -> String {
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
fn logged() -> Option<String> {
    locked(&LOGGED).take()
}

/// Keeps what burn said when something could not be read: why it was not written.
pub fn heed(error: &impl fmt::Display) {
    let mut first = locked(&LOGGED);
    first.get_or_insert_with(|| cause_of(&error.to_string()));
}

/// From now on warnings and errors of the log (or what `RUST_LOG` says) are written to `writer`, and errors
/// of the GPU runtime end the run whose device they are of. Called once, by a program's `main`.
pub fn heed_log<W>(writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let shown = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let shown = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_filter(shown);
    // Heed looks at warnings alone: what it does not ask for is not even formatted.
    let heed = Heed.with_filter(LevelFilter::WARN);
    tracing_subscriber::registry().with(shown).with(heed).init();
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

    #[test]
    fn the_first_failure_is_kept_and_sizes_have_their_own_advice() {
        let watch = Watch::new("a card", Some(8 << 30), 128 << 20);
        let kept = || watch.first.lock().unwrap().clone();
        assert_eq!(kept(), None);
        let too_large = watch.of("Buffer binding size 1 exceeds the limit".to_owned());
        watch.keep(too_large.clone());
        watch.keep(watch.of("another".to_owned()));
        assert_eq!(kept(), Some(too_large.clone()));
        assert_eq!(
            too_large.to_string(),
            "a card binds at most 128.00 MiB at once, and a tensor has more: try a smaller --batch-size, \
             --fanout or --width, or --device cpu (Buffer binding size 1 exceeds the limit)"
        );
        watch.lose("reset".to_owned());
        watch.lose("dropped".to_owned());
        watch.keep(too_large);
        assert_eq!(kept(), Some(watch.lost("reset".to_owned())));
    }
}
