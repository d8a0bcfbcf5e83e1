//! Runs steps of iterations on several threads, one a lane, or one after the other.
//!
//! | thread | memory on the device | memory on the host |
//! |---|---|---|
//! | sampler | `Sample` | `Sample` |
//! | fetcher | `Features` | `Features`, `Gather`, `Send` |
//! | the caller's | `Gather`, `Train`, `Apply` | `Upload`, `Train` (or `Begin`, `Finish`), `ReadBack` |
//! | receiver | | `Receive` |
//! | updater | | `Apply` |
//!
//! It knows of a batch only its iteration's number: whoever owns the data gives it one closure
//! a lane ([`Lanes`]), and what one lane hands to another lies beside these.
//!
//! Invariants: what may run when is decided by [`super::flow`] alone, so results don't depend on
//! timing; only the caller's thread talks to the device; an error or a panic of any step ends
//! the run with its message, after the steps under way have ended; after a run that ended
//! well or was stopped, the updates of all trained iterations are applied; after one that was
//! paused, those are left that no iteration was to see yet.
//!
//! After an error, updates are whole but those of the last iterations may be missing: start
//! again from a checkpoint. A step that never returns is not interrupted.
//! Source: MSPipe, Algorithm 1.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::thread;

use super::clock::Clock;
use super::ending::{Proceed, RunError};
use super::flow::Flow;
use super::monitor::Monitor;
use super::profile::Residency;
use super::queue::{QueueIteration, QueueTimes};
use super::scheduler::Scheduler;
use super::step::{Lane, Step};
use super::trace::{Record, Span};

/// A part of an epoch that is run at once.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The epoch.
    pub epoch: u64,
    /// Its iterations to run.
    pub iterations: Range<usize>,
    /// Iterations just before them whose updates a pause left unapplied.
    pub unapplied: usize,
}

impl Segment {
    /// The iterations that the flow counts: those with updates to apply.
    fn counted(&self) -> Range<usize> {
        self.iterations.start.saturating_sub(self.unapplied)..self.iterations.end
    }
}

/// What each lane does in a step of an iteration, whose number is the epoch's; it returns the
/// bytes that it moved, for the trace.
///
/// A lane is called in the order of its steps, never twice at once. A step must come to an end
/// by itself: nothing interrupts it. `Gather` and `Apply` never run at the same time, whatever
/// lanes they belong to.
pub struct Lanes<'a, E> {
    /// Stage 1.
    pub sampler: &'a mut (dyn FnMut(Step, usize) -> Result<u64, E> + Send),
    /// Stage 2, and the first part of stage 3 with memory on the host.
    pub fetcher: &'a mut (dyn FnMut(Step, usize) -> Result<u64, E> + Send),
    /// Waits for the updated rows of stage 5 with memory on the host; else it is not called.
    pub receiver: &'a mut (dyn FnMut(Step, usize) -> Result<u64, E> + Send),
    /// The last part of stage 5 with memory on the host; else it is not called.
    pub updater: &'a mut (dyn FnMut(Step, usize) -> Result<u64, E> + Send),
    /// What talks to the device; on the caller's thread.
    pub device: &'a mut dyn FnMut(Step, usize) -> Result<u64, E>,
}

/// How to run.
#[derive(Clone, Copy)]
pub struct Executor<'c> {
    /// Iterations that may be ready ahead of the thread that takes them.
    pub queue_depth: NonZeroUsize,
    /// Iterations of a run, from its start, whose spans are kept.
    pub traced: usize,
    /// Tells the time.
    pub clock: &'c dyn Clock,
    /// Tells what the device's queue does, if it has one and somebody measures it.
    pub queue: Option<&'c dyn QueueTimes>,
}

impl Executor<'_> {
    /// Runs iterations of an epoch.
    ///
    /// `proceed` is called on the caller's thread when an iteration has been trained, with its
    /// number. Its own update may not be applied yet.
    ///
    /// # Errors
    /// The first failure of a step or a thread, or a ledger that can't be replayed.
    pub fn run<E: Send>(
        &self,
        scheduler: &mut Scheduler,
        segment: Segment,
        lanes: Lanes<'_, E>,
        proceed: impl FnMut(usize) -> Proceed,
    ) -> Result<Record, RunError<E>> {
        let (record, failure) = self.attempt(scheduler, segment, lanes, proceed);
        failure.map_or(Ok(record), Err)
    }

    /// The same; of a run that fails, what happened until then and the failure.
    pub fn attempt<E: Send>(
        &self,
        scheduler: &mut Scheduler,
        segment: Segment,
        lanes: Lanes<'_, E>,
        mut proceed: impl FnMut(usize) -> Proceed,
    ) -> (Record, Option<RunError<E>>) {
        let mut record = Record::default();
        if let Err(error) = scheduler.begin(segment.epoch, segment.counted()) {
            return (record, Some(error.into()));
        }
        if scheduler.in_turn() {
            self.clock.threads_run(1);
            let ran = self.run_in_turn(scheduler.memory(), segment, lanes, proceed, &mut record);
            self.clock.thread_stops();
            return (record, ran.err());
        }
        let lanes_used = Lane::threads(scheduler.memory());
        let trained = Step::trained(scheduler.memory(), scheduler.early());
        let mut flow = Flow::new(
            scheduler,
            segment.iterations.start,
            segment.iterations.len(),
            self.queue_depth.get(),
            self.traced,
            self.clock.now(),
        )
        .after_pause(segment.unapplied);
        if self.queue.is_some() {
            flow.expect_queue();
        }
        let monitor = Monitor::new(flow, segment.counted().start, lanes_used.len(), self.clock);
        let run = &monitor;
        let others = [
            (Lane::Sampler, lanes.sampler),
            (Lane::Fetcher, lanes.fetcher),
            (Lane::Receiver, lanes.receiver),
            (Lane::Updater, lanes.updater),
        ];
        thread::scope(|scope| {
            self.clock.threads_run(lanes_used.len());
            for (lane, work) in others
                .into_iter()
                .filter(|(lane, _)| lanes_used.contains(lane))
            {
                let thread = thread::Builder::new().name(format!("mspipe-{}", lane.name()));
                let started = thread.spawn_scoped(scope, move || run.drive(lane, work));
                if let Err(error) = started {
                    run.fail(RunError::Thread { lane, error });
                    run.leave(lane);
                }
            }
            run.drive(Lane::Device, &mut |step, iteration| {
                let bytes = (lanes.device)(step, iteration)?;
                run.device_ran(self.device_ran(false));
                if step == trained {
                    run.follow(proceed(iteration), iteration);
                }
                Ok(bytes)
            });
        });
        monitor.device_ran(self.device_ran(true));
        monitor.finish()
    }

    /// What the device's queue did; with `all`, waits for what it still does.
    fn device_ran(&self, all: bool) -> Vec<QueueIteration> {
        self.queue.map_or_else(Vec::new, |queue| queue.take(all))
    }

    /// Iterations in turn: one lane that does every step, so that each iteration sees all
    /// updates before it. A stage is one span, with the bytes of its last step.
    fn run_in_turn<E>(
        &self,
        memory: Residency,
        segment: Segment,
        lanes: Lanes<'_, E>,
        mut proceed: impl FnMut(usize) -> Proceed,
        record: &mut Record,
    ) -> Result<(), RunError<E>> {
        let mut work = |step: Step, iteration| {
            let done = match step.lane(memory) {
                Lane::Sampler => (lanes.sampler)(step, iteration),
                Lane::Fetcher => (lanes.fetcher)(step, iteration),
                Lane::Receiver => (lanes.receiver)(step, iteration),
                Lane::Updater => (lanes.updater)(step, iteration),
                Lane::Device | Lane::Gpu | Lane::Bus => (lanes.device)(step, iteration),
            };
            done.map_err(|error| RunError::Stage {
                stage: step.stage(),
                iteration,
                error,
            })
        };
        let first = segment.iterations.start;
        for iteration in segment.counted().take(segment.unapplied) {
            work(Step::Apply, iteration)?;
        }
        for iteration in segment.iterations {
            let mut begin = self.clock.now();
            let steps = Step::in_turn(memory);
            for of_stage in steps.chunk_by(|step, next| step.stage() == next.stage()) {
                let mut bytes = 0;
                for step in of_stage {
                    bytes = work(*step, iteration)?;
                    if *step == Step::Begin {
                        record.updater += self.clock.now() - begin;
                    }
                }
                let end = self.clock.now();
                let span = Span {
                    lane: Lane::Device,
                    step: Step::whole(of_stage[0].stage()),
                    iteration,
                    begin,
                    end,
                    bytes,
                };
                record.add_in_turn(segment.epoch, span, iteration - first < self.traced);
                begin = end;
            }
            let ran = self.device_ran(false);
            record.add_queues(ran, first + self.traced);
            if proceed(iteration) != Proceed::Go {
                break;
            }
        }
        let ran = self.device_ran(true);
        record.add_queues(ran, first + self.traced);
        Ok(())
    }
}
