//! When the device's queue did what its thread encoded, for the pipeline: by timestamps between the
//! steps, or where an adapter has none by waiting at them.
//!
//! Not every iteration is measured: a measured step ends with a flush and two small submissions, and a
//! step that is waited for overlaps with nothing. Timestamps are taken of the first [`ALL_OF`]
//! iterations, which a trace is to show, and of every [`ONE_IN`]th; waiting is done in [`BLOCK`]
//! iterations of every [`BLOCK_EVERY`]. Invariant: no result depends on it.
//!
//! What it can't see: a step's begin is when the queue came to it, which on an idle queue is before its
//! first launch is submitted; the scheduler allows for that. Nor does it see a queue that waits for
//! more within a step.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use burn::tensor::Device;

use crate::device::queue::{self, GpuQueue, QueueClock, Stamps};
use crate::pipeline::clock::WallClock;
use crate::pipeline::profile::Residency;
use crate::pipeline::queue::{QueueIteration, QueueSpan, QueueTimes};
use crate::pipeline::step::Step;

/// Iterations of a part of an epoch, from its start, that are all measured.
const ALL_OF: usize = 32;
/// Of those after them one in so many.
const ONE_IN: usize = 4;
/// Iterations that are waited for, where there are no timestamps; those before are not measured.
const BLOCK: Range<usize> = 2..14;
/// From one block to the next.
const BLOCK_EVERY: usize = 256;
/// Iterations that may be waited for at once.
const UNREAD: usize = 8;

/// How a queue is measured.
enum Method {
    Stamps(QueueClock),
    Waiting,
}

/// A step as the host saw it.
struct Encoded {
    step: Step,
    submitted: Instant,
    encoded: Instant,
    /// When it was waited for, if it was.
    ended: Option<Instant>,
}

/// An iteration under way or through.
struct Measured {
    iteration: usize,
    steps: Vec<Encoded>,
    stamps: Option<Stamps>,
}

#[derive(Default)]
struct State {
    current: Option<Measured>,
    asked: VecDeque<Measured>,
    spare: Vec<Stamps>,
}

/// Measures a device's queue, step by step.
pub(super) struct Stopwatch<'c> {
    queue: GpuQueue,
    device: Device,
    method: Method,
    clock: &'c WallClock,
    first: usize,
    last: Step,
    state: RefCell<State>,
}

impl<'c> Stopwatch<'c> {
    /// For iterations from `first` of an epoch; `None` for a device without a queue. Waits for the
    /// queue once.
    pub(super) fn new(
        device: &Device,
        clock: &'c WallClock,
        first: usize,
        memory: Residency,
        early: bool,
    ) -> Option<Stopwatch<'c>> {
        let queue = queue::of(device)?;
        let method = match QueueClock::of(&queue) {
            Some(clock) => Method::Stamps(clock),
            None => Method::Waiting,
        };
        Some(Stopwatch {
            queue,
            device: device.clone(),
            method,
            clock,
            first,
            last: match (memory, early) {
                (Residency::Device, _) => Step::Apply,
                (Residency::Host, true) => Step::Finish,
                (Residency::Host, false) => Step::ReadBack,
            },
            state: RefCell::default(),
        })
    }

    fn measures(&self, iteration: usize) -> bool {
        let nth = iteration - self.first;
        match self.method {
            Method::Stamps(_) => nth < ALL_OF || nth.is_multiple_of(ONE_IN),
            Method::Waiting => BLOCK.contains(&(nth % BLOCK_EVERY)),
        }
    }

    /// Runs a step of the device's thread, measured if its iteration is.
    pub(super) fn step<T>(&self, step: Step, iteration: usize, work: impl FnOnce() -> T) -> T {
        if !self.begin(step, iteration) {
            return work();
        }
        let submitted = Instant::now();
        let done = work();
        self.end(step, submitted);
        done
    }

    /// Whether the step is measured; then it begins.
    fn begin(&self, step: Step, iteration: usize) -> bool {
        let state = &mut *self.state.borrow_mut();
        if matches!(step, Step::Upload | Step::Gather) {
            let room = state.asked.len() < UNREAD;
            // With memory on the device its update may come later, or not at all. With memory on the
            // host only a pause leaves steps out; such an iteration is forgotten.
            let unfinished = state.current.take();
            if let Some(measured) = unfinished.filter(|_| step == Step::Gather) {
                self.ask(measured, state);
            }
            if self.measures(iteration) && room {
                state.current = Some(Measured {
                    iteration,
                    steps: Vec::new(),
                    stamps: match self.method {
                        Method::Waiting => None,
                        Method::Stamps(_) => state
                            .spare
                            .pop()
                            .or_else(|| Stamps::new(&self.queue, STEPS)),
                    },
                });
            }
        }
        let Some(measured) = &mut state.current else {
            return false;
        };
        if measured.iteration != iteration {
            return false;
        }
        match &mut measured.stamps {
            Some(stamps) => stamps.write(&self.queue),
            None => self.wait(),
        }
        true
    }

    fn end(&self, step: Step, submitted: Instant) {
        let state = &mut *self.state.borrow_mut();
        let Some(measured) = &mut state.current else {
            return;
        };
        self.flush();
        let encoded = Instant::now();
        let ended = match &mut measured.stamps {
            Some(stamps) => {
                stamps.write(&self.queue);
                None
            }
            None => {
                self.wait();
                Some(Instant::now())
            }
        };
        measured.steps.push(Encoded {
            step,
            submitted,
            encoded,
            ended,
        });
        if step == self.last
            && let Some(measured) = state.current.take()
        {
            self.ask(measured, state);
        }
    }

    fn ask(&self, mut measured: Measured, state: &mut State) {
        if let Some(stamps) = &mut measured.stamps {
            stamps.ask(&self.queue);
        }
        state.asked.push_back(measured);
    }

    /// What can't be submitted is reported by the read that then fails.
    fn flush(&self) {
        let _reported_elsewhere = self.device.flush();
    }

    fn wait(&self) {
        self.flush();
        let _reported_elsewhere = self.queue.submitted().wait();
    }

    /// Spans of an iteration with its ticks, on the run's clock.
    fn spans(&self, measured: &Measured, ticks: &[u64]) -> Option<Vec<QueueSpan>> {
        let span = |(nth, step): (usize, &Encoded)| {
            let [begin, end] = match (&self.method, step.ended) {
                (Method::Stamps(clock), _) => {
                    [2 * nth, 2 * nth + 1].map(|at| ticks.get(at).map(|tick| clock.time(*tick)))
                }
                (Method::Waiting, ended) => [Some(step.submitted), ended],
            };
            let [submitted, encoded] = [step.submitted, step.encoded].map(|at| self.clock.at(at));
            // The clocks agree but for some µs; nothing begins before it was submitted.
            let begin = self.clock.at(begin?).max(submitted);
            Some(QueueSpan {
                step: step.step,
                submitted,
                encoded,
                begin,
                end: self.clock.at(end?).max(begin),
            })
        };
        measured.steps.iter().enumerate().map(span).collect()
    }
}

/// Stamps of an iteration: two of each step.
const STEPS: u32 = 10;

impl QueueTimes for Stopwatch<'_> {
    fn take(&self, all: bool) -> Vec<QueueIteration> {
        let state = &mut *self.state.borrow_mut();
        if all && !state.asked.is_empty() {
            let _reported_elsewhere = self.queue.submitted().wait();
        }
        let mut through = Vec::new();
        while let Some(measured) = state.asked.front_mut() {
            let ticks = match &mut measured.stamps {
                Some(stamps) => match stamps.read(&self.queue) {
                    Some(ticks) => ticks,
                    None => break,
                },
                None => Vec::new(),
            };
            let Some(measured) = state.asked.pop_front() else {
                break;
            };
            let spans = self.spans(&measured, &ticks);
            state.spare.extend(measured.stamps);
            if let Some(spans) = spans {
                through.push(QueueIteration {
                    iteration: measured.iteration,
                    spans,
                    in_turn: matches!(self.method, Method::Waiting),
                });
            }
        }
        through
    }
}
