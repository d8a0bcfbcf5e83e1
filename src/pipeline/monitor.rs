//! What the threads of a run share: the flow, behind one lock.
//!
//! Invariants: whoever changes the flow wakes all that wait; the first failure ends all lanes
//! after the step that they are in; a panic in any lane is a failure, so that nobody waits for
//! a thread that is gone.
//! It knows nothing of what steps do, nor of what they hand on.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Clock;
use super::ending::{Proceed, RunError};
use super::flow::{Flow, Next};
use super::queue::QueueIteration;
use super::step::{Lane, Step};
use super::trace::Record;

/// How often a waiting worker of rayon's pool looks for work: seldom enough to cost nothing.
const LOOK_FOR_WORK: Duration = Duration::from_micros(500);

struct Shared<'s, E> {
    flow: Flow<'s>,
    failure: Option<RunError<E>>,
    /// Threads that wait, and a number that changes when they are woken.
    waiting: usize,
    wakings: u64,
    /// Lanes on other threads than the caller's that have not ended.
    others: usize,
}

/// A run's flow, to be driven by one thread a lane.
pub(super) struct Monitor<'s, 'c, E> {
    shared: Mutex<Shared<'s, E>>,
    changed: Condvar,
    clock: &'c dyn Clock,
    /// The epoch's number of the run's first iteration.
    first: usize,
}

impl<'s, 'c, E> Monitor<'s, 'c, E> {
    /// For this many lanes, that of the device among them.
    pub(super) fn new(flow: Flow<'s>, first: usize, lanes: usize, clock: &'c dyn Clock) -> Self {
        Monitor {
            shared: Mutex::new(Shared {
                flow,
                failure: None,
                waiting: 0,
                wakings: 0,
                others: lanes - 1,
            }),
            changed: Condvar::new(),
            clock,
            first,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared<'s, E>> {
        // A panic while the lock was held has been noted as a failure.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, shared: &mut Shared<'s, E>) {
        if shared.waiting > 0 {
            // Counted here and not by the woken, so that none of them seems to be still
            // waiting once this thread has let go of the lock.
            self.clock.threads_run(shared.waiting);
            shared.waiting = 0;
            shared.wakings += 1;
            self.changed.notify_all();
        }
    }

    /// Runs all steps of a lane; that of the device ends last. `work` is given the step and the
    /// epoch's number of the iteration, and returns the bytes that it moved.
    ///
    /// The clock must have counted the calling thread already.
    pub(super) fn drive(&self, lane: Lane, work: &mut dyn FnMut(Step, usize) -> Result<u64, E>) {
        let current = Cell::new(None);
        let driven = panic::catch_unwind(AssertUnwindSafe(|| {
            self.drive_unguarded(lane, &current, work);
        }));
        if let Err(payload) = driven {
            self.fail(RunError::Panicked {
                lane,
                at: current.get(),
                message: panic_message(&*payload),
            });
        }
        self.leave(lane);
    }

    /// The thread of a lane has ended, or could not be started. That of the device waits for the
    /// others: here and not in the threads' join, where the caller couldn't work for the pool.
    pub(super) fn leave(&self, lane: Lane) {
        let mut shared = self.lock();
        if lane == Lane::Device {
            while shared.others > 0 {
                shared = self.wait(shared);
            }
        } else {
            shared.others -= 1;
            self.wake(&mut shared);
        }
        drop(shared);
        self.clock.thread_stops();
    }

    fn drive_unguarded(
        &self,
        lane: Lane,
        current: &Cell<Option<(Step, usize)>>,
        work: &mut dyn FnMut(Step, usize) -> Result<u64, E>,
    ) {
        let mut shared = self.lock();
        while shared.failure.is_none() {
            match shared.flow.next(lane, self.clock.now()) {
                Next::Over => return,
                Next::Wait => shared = self.wait(shared),
                Next::Until(time) => {
                    drop(shared);
                    self.clock.sleep(time.saturating_sub(self.clock.now()));
                    shared = self.lock();
                }
                Next::Run(step, nth) => {
                    let iteration = self.first + nth;
                    current.set(Some((step, iteration)));
                    shared.flow.begin(lane, step, self.clock.now());
                    self.wake(&mut shared);
                    drop(shared);
                    let done = work(step, iteration);
                    shared = self.lock();
                    match done {
                        Ok(bytes) => shared.flow.end(lane, step, self.clock.now(), bytes),
                        Err(error) => {
                            let failure = RunError::Stage {
                                stage: step.stage(),
                                iteration,
                                error,
                            };
                            shared.failure.get_or_insert(failure);
                        }
                    }
                    self.wake(&mut shared);
                }
            }
        }
    }

    /// Waits until another lane has gone on.
    ///
    /// The caller's thread may be a worker of rayon's pool. If it just slept, the pool would have
    /// one worker less for what the other lanes do in parallel, and with a single worker they
    /// would wait for it for ever; so it does their work while it waits.
    fn wait<'a>(
        &'a self,
        mut shared: MutexGuard<'a, Shared<'s, E>>,
    ) -> MutexGuard<'a, Shared<'s, E>> {
        let wakings = shared.wakings;
        shared.waiting += 1;
        self.clock.thread_stops();
        let in_pool = rayon::current_thread_index().is_some();
        while shared.wakings == wakings {
            if in_pool {
                drop(shared);
                let helped = rayon::yield_now() == Some(rayon::Yield::Executed);
                shared = self.lock();
                if !helped && shared.wakings == wakings {
                    let waited = self.changed.wait_timeout(shared, LOOK_FOR_WORK);
                    shared = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            } else {
                let waited = self.changed.wait(shared);
                shared = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
        shared
    }

    /// Ends the run, for this reason if it is the first.
    pub(super) fn fail(&self, failure: RunError<E>) {
        let mut shared = self.lock();
        shared.failure.get_or_insert(failure);
        self.wake(&mut shared);
    }

    /// What the device's queue did.
    pub(super) fn device_ran(&self, ran: Vec<QueueIteration>) {
        if !ran.is_empty() {
            let mut shared = self.lock();
            ran.into_iter().for_each(|ran| shared.flow.device_ran(ran));
        }
    }

    /// Does what was said after an iteration (the epoch's number).
    pub(super) fn follow(&self, proceed: Proceed, iteration: usize) {
        let mut shared = self.lock();
        let nth = iteration - self.first;
        match proceed {
            Proceed::Go => return,
            Proceed::Stop => shared.flow.stop_after(nth),
            Proceed::Pause => shared.flow.pause_after(nth),
        }
        self.wake(&mut shared);
    }

    /// What happened, and the first failure, once no thread drives a lane any more.
    pub(super) fn finish(self) -> (Record, Option<RunError<E>>) {
        let shared = self
            .shared
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        (shared.flow.finish(), shared.failure)
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}
