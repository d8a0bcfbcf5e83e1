//! What an iteration costs: calls, time, bytes and floating-point operations of each of our
//! operations, for `--profile`.
//!
//! burn's backend traits are static functions, so a recorder can't be handed to them. It
//! belongs to the thread instead: all tensor work of a run is on one
//! ([`crate::device::on_device_thread`]), and two runs on two threads don't mix. Off, an
//! operation reads one flag of its thread.
//!
//! Time is what the calling thread spent between beginning and end of the operation. On the
//! CPU device that is the work; on a GPU it is what enqueuing costs, and nothing is waited for.
//! Bytes and operations are counted from shapes: each input read once, each output written
//! once, every slot full, a cosine or a root as one operation. What burn does by itself is not
//! seen here; [`report`] shows it as the remainder of the stage.

pub mod machine;
pub mod report;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::parallel;

/// What an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One with a shader and a CPU kernel.
    Kernel,
    /// A matrix product.
    Product,
    /// A step of the optimiser.
    Optimizer,
    /// Reading or writing of the node memory's tables.
    Memory,
    /// A tensor made of a vector.
    Upload,
}

impl Kind {
    /// Whether it runs in the stage `train`, rather than in those that move memory.
    pub(crate) fn in_training(self) -> bool {
        !matches!(self, Kind::Memory | Kind::Upload)
    }
}

/// What an operation moves and computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Bytes read and written.
    pub bytes: u64,
    /// Floating-point operations.
    pub flops: u64,
}

impl Work {
    /// Of `numbers` of 4 bytes read or written and `flops` operations.
    pub fn new(numbers: usize, flops: usize) -> Work {
        Work {
            bytes: 4 * numbers as u64,
            flops: flops as u64,
        }
    }

    /// As one number: see [`parallel`].
    pub(crate) fn one(self) -> u64 {
        self.bytes + self.flops / parallel::FLOPS
    }
}

/// What all calls of one operation took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// The operation.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Calls.
    pub calls: u64,
    /// Launches of our shaders in them.
    pub launches: u64,
    /// Time of the calling thread.
    pub time: Duration,
    /// What they moved and computed.
    pub work: Work,
}

/// What a thread has recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Each operation, in the order of first calls.
    pub operations: Vec<Total>,
    /// Launches of our shaders.
    pub launches: u64,
    /// Time of the calling thread to enqueue them.
    pub launch_time: Duration,
    /// Nanoseconds of each of the first 2^20 of them.
    pub launch_ns: Vec<u32>,
    /// Times that what had been enqueued was submitted on purpose.
    pub submissions: u64,
}

/// Launches whose times are kept.
const KEPT_LAUNCHES: usize = 1 << 20;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static RECORDED: RefCell<Recorded> = const {
        RefCell::new(Recorded {
            operations: Vec::new(),
            launches: 0,
            launch_time: Duration::ZERO,
            launch_ns: Vec::new(),
            submissions: 0,
        })
    };
    /// The launch under way.
    static LAUNCHING: Cell<Option<&'static str>> = const { Cell::new(None) };
    /// Launches since the last submission on purpose.
    static PENDING: Cell<u64> = const { Cell::new(0) };
}

/// Turns recording of the calling thread on or off; what it has recorded is kept.
pub fn set_recording(on: bool) {
    ON.set(on);
}

/// What the calling thread has recorded; recording starts afresh.
pub fn take() -> Recorded {
    RECORDED.take()
}

/// All that the calling thread has enqueued is submitted.
pub(crate) fn submitted() {
    PENDING.set(0);
    if ON.get() {
        RECORDED.with_borrow_mut(|recorded| recorded.submissions += 1);
    }
}

/// Launches of our shaders that the calling thread has enqueued, while it recorded, since all was
/// submitted on purpose. The device may not know of them yet.
pub fn pending() -> u64 {
    PENDING.get()
}

/// An operation under way; it ends when this is dropped.
#[must_use = "the operation ends when this is dropped"]
pub(crate) struct Operation(Option<Under>);

struct Under {
    name: &'static str,
    kind: Kind,
    work: Work,
    launches: u64,
    begin: Instant,
    part: parallel::UnderWay,
}

/// Begins an operation. `work` is asked only where somebody records.
pub(crate) fn operation(name: &'static str, kind: Kind, work: impl FnOnce() -> Work) -> Operation {
    Operation(ON.get().then(|| Under {
        name,
        kind,
        work: work(),
        launches: RECORDED.with_borrow(|recorded| recorded.launches),
        begin: Instant::now(),
        part: parallel::part(name),
    }))
}

impl Drop for Operation {
    fn drop(&mut self) {
        let Some(under) = self.0.take() else {
            return;
        };
        let time = under.begin.elapsed();
        under.part.whole(under.work.one());
        RECORDED.with_borrow_mut(|recorded| {
            let launches = recorded.launches - under.launches;
            let operations = &mut recorded.operations;
            let at = operations
                .iter()
                .position(|total| total.name == under.name)
                .unwrap_or_else(|| {
                    operations.push(Total {
                        name: under.name,
                        kind: under.kind,
                        calls: 0,
                        launches: 0,
                        time: Duration::ZERO,
                        work: Work::default(),
                    });
                    operations.len() - 1
                });
            let total = &mut operations[at];
            total.calls += 1;
            total.launches += launches;
            total.time += time;
            total.work.bytes += under.work.bytes;
            total.work.flops += under.work.flops;
        });
    }
}

/// A launch of a shader under way; it ends when this is dropped.
#[must_use = "the launch ends when this is dropped"]
pub(crate) struct Launch(Option<Instant>);

/// Begins to enqueue a launch of the shader of this name.
#[cfg_attr(
    not(feature = "gpu"),
    allow(dead_code, reason = "the CPU launches nothing")
)]
pub(crate) fn launch(name: &'static str) -> Launch {
    Launch(ON.get().then(|| {
        LAUNCHING.set(Some(name));
        Instant::now()
    }))
}

/// The shader of ours that the calling thread, which records, launches at this moment, if it does: what
/// watches burn's launches is told apart by it.
pub fn launching() -> Option<&'static str> {
    LAUNCHING.get()
}

impl Drop for Launch {
    fn drop(&mut self) {
        if let Some(begin) = self.0 {
            let time = begin.elapsed();
            LAUNCHING.set(None);
            PENDING.set(PENDING.get() + 1);
            RECORDED.with_borrow_mut(|recorded| {
                recorded.launches += 1;
                recorded.launch_time += time;
                if recorded.launch_ns.len() < KEPT_LAUNCHES {
                    let ns = u32::try_from(time.as_nanos()).unwrap_or(u32::MAX);
                    recorded.launch_ns.push(ns);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_nothing_is_recorded_and_no_work_is_counted() {
        drop(operation("x", Kind::Kernel, || {
            unreachable!("not asked for")
        }));
        drop(launch("z"));
        assert_eq!(take(), Recorded::default());
    }

    #[test]
    fn calls_work_and_launches_add_up() {
        set_recording(true);
        for numbers in [1, 10] {
            let _operation = operation("x", Kind::Kernel, || Work::new(numbers, 3));
            drop(launch("z"));
        }
        drop(operation("y", Kind::Memory, Work::default));
        drop(launch("z"));
        set_recording(false);
        drop(operation("y", Kind::Memory, Work::default));
        let recorded = take();
        let [x, y] = &recorded.operations[..] else {
            panic!("{recorded:?}");
        };
        assert_eq!((x.name, x.calls, x.launches), ("x", 2, 2));
        assert_eq!(x.work, Work::new(11, 6));
        assert_eq!((y.name, y.calls, y.launches), ("y", 1, 0));
        assert_eq!(recorded.launches, 3);
        assert_eq!(pending(), 3);
        submitted();
        assert_eq!(pending(), 0);
        assert_eq!(take(), Recorded::default());
    }
}
