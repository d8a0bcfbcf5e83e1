//! Long work without Python's lock.
//!
//! Only Python's main thread runs its signal handlers, and only when it asks. So the work has a thread of its
//! own, and the one that called waits for it, looks for signals and calls back: an exception, Ctrl-C's or a
//! callback's, requests a [`Stop`], and is raised when the work has ended.

use std::any::Any;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel,
};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use mspipe_datasets::{Stop, Stopped};
use pyo3::prelude::*;
use rayon::Yield;
use serde_json::Value;

use super::error::raised;

/// How often somebody who waits looks for a signal.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long a thread of the pool sleeps that waits and has nothing else to do.
const MOMENT: Duration = Duration::from_millis(1);

/// Of the thread that works, as much as a main thread has.
const STACK_BYTES: usize = 8 << 20;

/// The process that has worked first; 0 is none.
static WORKED_IN: AtomicU32 = AtomicU32::new(0);

/// Refuses a process that was made by fork from one that has worked: threads are not copied, and whoever
/// waited for those of the pool would wait for ever.
fn has_its_threads() -> PyResult<()> {
    let own = std::process::id();
    match WORKED_IN.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed) {
        Err(first) if first != own => Err(raised(
            "this process was made by fork from one that had used mspipe, and has none of its threads; start it with \
             multiprocessing's \"spawn\" or \"forkserver\" instead (multiprocessing.get_context(\"spawn\"), of a DataLoader \
             multiprocessing_context=\"spawn\")",
        )),
        _ => Ok(()),
    }
}

thread_local! {
    /// Whether this thread hears what a training tells, which waits for it.
    static HEARS: Cell<bool> = const { Cell::new(false) };
}

/// Whether who calls does so while a training waits for it.
pub(crate) fn is_awaited() -> bool {
    HEARS.get()
}

/// Trainings that have begun.
static BEGUN: Mutex<usize> = Mutex::new(0);
/// One of them has ended.
static ENDED: Condvar = Condvar::new();

/// What a training has while it lasts; there are as many as the pool has threads. A thread whose training waits for a
/// callback would take one more on top of it, and go on only when that one has ended.
pub(crate) struct Turn(());

impl Turn {
    /// Waits for one.
    pub(crate) fn take(stop: &Stop) -> Result<Turn, Stopped> {
        let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
        while *begun >= rayon::current_num_threads() {
            stop.check()?;
            begun = match ENDED.wait_timeout(begun, PATIENCE) {
                Ok((begun, _)) => begun,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        *begun += 1;
        Ok(Turn(()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *BEGUN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_all();
    }
}

/// Something that the work tells.
struct Told {
    kind: &'static str,
    value: Value,
    /// Dropped when it was heard.
    _heard: Option<SyncSender<()>>,
}

/// Tells what happens.
#[derive(Clone)]
pub(crate) struct Teller(Sender<Told>);

impl Teller {
    /// Tells it, and continues.
    pub(crate) fn tell(&self, kind: &'static str, value: Value) {
        self.send(kind, value, None);
    }

    /// Tells it, and waits until it was heard: who hears it may want to stop the work here.
    pub(crate) fn tell_and_wait(&self, kind: &'static str, value: Value) {
        let (heard, until) = sync_channel(0);
        self.send(kind, value, Some(heard));
        // Nothing is sent, the other end is dropped.
        while until.try_recv() == Err(TryRecvError::Empty) {
            // Who hears it may use a model, and this may be the only thread of the pool that answers.
            match rayon::yield_now() {
                Some(Yield::Executed) => {}
                Some(Yield::Idle) => thread::sleep(MOMENT),
                None => drop(until.recv()),
            }
        }
    }

    fn send(&self, kind: &'static str, value: Value, heard: Option<SyncSender<()>>) {
        let told = Told {
            kind,
            value,
            _heard: heard,
        };
        // Whoever hears it stays until this is dropped.
        let _ = self.0.send(told);
    }
}

/// Does `work`, and calls `hear` with the kind and the JSON of what it tells. `stop` is requested when
/// `hear` or a signal raises; what was raised stands beside the work's own result.
pub(crate) fn supervised<T: Send>(
    py: Python<'_>,
    stop: &Stop,
    hear: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(Teller) -> T + Send,
) -> PyResult<(T, Option<PyErr>)> {
    has_its_threads()?;
    let (sender, told) = channel();
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("mspipe".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, move || work(Teller(sender)))
            .map_err(raised)?;
        let exception = heard(py, stop, hear, told);
        match py.detach(|| worker.join()) {
            Ok(result) => Ok((result, exception)),
            Err(panic) => Err(raised(format!(
                "a fault of mspipe, please report it: {}",
                text(&*panic)
            ))),
        }
    })
}

/// Hears all that is told until the work has ended; returns the first exception.
fn heard(
    py: Python<'_>,
    stop: &Stop,
    hear: Option<&Bound<'_, PyAny>>,
    mut told: Receiver<Told>,
) -> Option<PyErr> {
    let mut exception = None;
    loop {
        let next;
        (told, next) = py.detach(move || {
            let next = told.recv_timeout(PATIENCE);
            (told, next)
        });
        let heard = match (&next, hear) {
            (Err(RecvTimeoutError::Disconnected), _) => return exception,
            (Ok(told), Some(hear)) if exception.is_none() => {
                let before = HEARS.replace(true);
                let heard = hear.call1((told.kind, told.value.to_string()));
                HEARS.set(before);
                heard.map(drop)
            }
            _ => Ok(()),
        };
        if let Err(error) = heard.and_then(|()| py.check_signals()) {
            stop.request();
            exception.get_or_insert(error);
        }
    }
}

/// Does `work` on the thread that calls, without Python's lock: short work, which no signal ends.
pub(crate) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    has_its_threads()?;
    Ok(py.detach(work))
}

/// Does `work` as [`supervised`] does, which tells nothing; an exception comes first.
pub(crate) fn quiet<T: Send, E: std::fmt::Display + Send>(
    py: Python<'_>,
    stop: &Stop,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> PyResult<T> {
    let (result, exception) = supervised(py, stop, None, |_teller| work())?;
    match exception {
        Some(exception) => Err(exception),
        None => result.map_err(raised),
    }
}

/// What a panic said.
fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    let text = owned.or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked")
}
