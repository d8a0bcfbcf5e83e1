//! One adapter, opened once, and one thread that does all work on it.
//!
//! burn's streams belong to threads and libtest runs each test on a thread of its own, so
//! tests hand closures to this thread, which runs one after the other.

use std::any::Any;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};

use burn::tensor::Device;
use mspipe::device::{ComputeDevice, DeviceError, Kernels};
use tracing::field::{Field, Visit};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
#[cfg(test)]
use tracing_subscriber::{Registry, reload};

type Panic = Box<dyn Any + Send>;
type Work = Box<dyn FnOnce(&Result<ComputeDevice, DeviceError>) + Send>;

/// Runs `work` on the device thread and returns its result; panics as it panicked, when
/// the device can't be opened, and when burn, wgpu or a validation layer logged a warning meanwhile.
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce(&Device) -> T + Send + 'static) -> T {
    static QUEUE: OnceLock<Sender<Work>> = OnceLock::new();
    let queue = QUEUE.get_or_init(|| {
        let (send, receive) = channel();
        std::thread::spawn(move || serve(&receive));
        send
    });
    let (reply, result) = channel::<Result<T, Panic>>();
    let work: Work = Box::new(move |device| {
        let device = match device {
            Ok(device) => device,
            Err(error) => {
                let _ = reply.send(Err(Box::new(error.to_string())));
                return;
            }
        };
        keep_validation();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let value = work(&device.device);
            // Drivers speak of what was only submitted before this returns.
            device.device.sync().unwrap();
            value
        }));
        let warnings = take_warnings();
        let outcome = match outcome {
            Ok(_) if !warnings.is_empty() => Err(Box::new(warnings.join("\n")) as Panic),
            outcome => outcome,
        };
        let _ = reply.send(outcome);
    });
    queue.send(work).unwrap();
    match result.recv().unwrap() {
        Ok(value) => value,
        Err(panic) => match panic.downcast::<String>() {
            Ok(message) => panic!("{message}"),
            Err(panic) => resume_unwind(panic),
        },
    }
}

static KERNELS: OnceLock<Kernels> = OnceLock::new();

/// The kernels that the device runs; asked for after some work on it.
pub(crate) fn kernels() -> Kernels {
    *KERNELS.get().expect("the device was opened")
}

fn serve(work: &Receiver<Work>) {
    // The level is what wgpu asks the validation layer for. A program may have a subscriber already.
    let subscriber = tracing_subscriber::registry().with(level());
    #[cfg(test)]
    let subscriber = subscriber.with(super::calls::Calls);
    let _ = subscriber.with(Warnings).try_init();
    let device = mspipe::device::open(crate::device_settings());
    if let Ok(device) = &device {
        say(&format!("adapter: {}", device.adapter));
        if let Some(kernels) = device.kernels {
            KERNELS.set(kernels).unwrap();
            say(&format!("kernels {kernels}"));
        }
    }
    for work in work {
        work(&device);
    }
}

#[cfg(not(test))]
fn level() -> LevelFilter {
    LevelFilter::WARN
}

#[cfg(test)]
type LevelLayer = reload::Layer<LevelFilter, Registry>;

/// Changes what is heard of what is logged.
#[cfg(test)]
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

#[cfg(test)]
fn level() -> LevelLayer {
    let (level, handle) = LevelLayer::new(LevelFilter::WARN);
    LEVEL.get_or_init(|| handle);
    level
}

/// From now on what is logged is heard down to `level`.
#[cfg(test)]
pub(super) fn hear(level: LevelFilter) {
    let all = level == LevelFilter::TRACE;
    log::set_max_level(if all {
        log::LevelFilter::Trace
    } else {
        log::LevelFilter::Warn
    });
    LEVEL.get().unwrap().reload(level).unwrap();
}

/// Warnings and errors that were logged. burn reports a failed launch only so, and in the data that is
/// read afterwards; the validation layer only so.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What was logged since it was last asked, or is kept by [`keep_validation`].
pub(crate) fn take_warnings() -> Vec<String> {
    std::mem::take(&mut *WARNINGS.lock().unwrap())
}

/// Forgets what was logged between tests, but for messages of the validation layer: a loader warns of
/// drivers that it can't load, and CPU tests run beside this thread.
fn keep_validation() {
    let mut warnings = WARNINGS.lock().unwrap();
    warnings.retain(|warning| warning.contains("VALIDATION ["));
}

/// Not eprintln!, which libtest captures.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The validation layer of Debian 12 (1.3.239) says so of every module: it does not know WGSL as a
/// language that modules are made from, which wgpu names in them where `WGPU_DEBUG` is set.
const UNKNOWN_LANGUAGE: &str = "SPIR-V module not valid: Invalid source language operand: 10";

struct Warnings;

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > tracing::Level::WARN {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        // What the validation layer says of objects comes in records of their own.
        if !message.0.contains(UNKNOWN_LANGUAGE) && !message.0.starts_with("message: \t") {
            WARNINGS.lock().unwrap().push(message.0);
        }
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        let _ = write!(self.0, "{}: {value:?} ", field.name());
    }
}
