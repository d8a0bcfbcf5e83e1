//! Runs [`Stages`] on several threads.
//!
//! | thread | memory on the device | memory on the host |
//! |---|---|---|
//! | sampler | `sample` | `sample` |
//! | fetcher | `fetch_features` | `fetch_features`, `gather`, `send` |
//! | the caller's | `fetch_memory`, `train`, `update_memory` | `upload`, `train` (or `begin`, `finish`), `read_back` |
//! | updater | | `receive`, `apply` |
//!
//! Invariants: what may run when is decided by [`super::flow`] alone, so results don't depend on
//! timing; only the caller's thread talks to the device; an error or a panic of any stage ends
//! the run with its message, after the steps under way have ended; after a run that ended
//! well or was stopped, the updates of all trained iterations are applied; after one that was
//! paused, those are handed out that are not.
//!
//! After an error, updates are whole but those of the last iterations may be missing: start
//! again from a checkpoint. A stage that never returns is not interrupted.
//! Source: MSPipe, Algorithm 1.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use thiserror::Error;

use super::clock::Clock;
use super::flow::{Flow, Lane, Step};
use super::ledger::ReplayError;
use super::monitor::Monitor;
use super::schedule::Schedule;
use super::scheduler::Scheduler;
use super::trace::Record;
use super::{HostStages, Stage, Stages, sequential};

/// Why a run ended early.
#[derive(Debug, Error)]
pub enum RunError<E> {
    /// A stage failed.
    #[error("iteration {iteration}, {stage}: {error}")]
    Stage {
        /// The stage.
        stage: Stage,
        /// Iteration of the epoch, from 0.
        iteration: usize,
        /// Why.
        error: E,
    },
    /// A thread panicked.
    #[error("the {} thread panicked{}: {message}; this is a fault of the program", lane.name(), place(at))]
    Panicked {
        /// The thread.
        lane: Lane,
        /// What it ran, and for which iteration of the epoch.
        at: Option<(Step, usize)>,
        /// What it said.
        message: String,
    },
    /// A thread could not be started.
    #[error("cannot start the {} thread: {error}; use --schedule sequential, which needs none", lane.name())]
    Thread {
        /// The thread.
        lane: Lane,
        /// Why.
        error: io::Error,
    },
    /// The ledger to replay does not fit.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

fn place(at: &Option<(Step, usize)>) -> String {
    at.map_or_else(String::new, |(step, iteration)| {
        format!(" in {} of iteration {iteration}", step.stage())
    })
}

/// What to do once an iteration has been trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proceed {
    /// Go on.
    Go,
    /// End the run here, with all updates applied.
    Stop,
    /// End the run as soon as what has read memory is trained, and hand out the updates that
    /// no iteration was to see yet. A run that goes on with them changes no number.
    Pause,
}

/// A part of an epoch that is run at once.
#[derive(Debug)]
pub struct Segment<U> {
    /// The epoch.
    pub epoch: u64,
    /// Its iterations to run.
    pub iterations: Range<usize>,
    /// Updates of the iterations just before, as a pause handed them out.
    pub unapplied: Vec<U>,
}

impl<U> Segment<U> {
    /// Iterations with all updates before them applied.
    pub fn new(epoch: u64, iterations: Range<usize>) -> Segment<U> {
        Segment {
            epoch,
            iterations,
            unapplied: Vec::new(),
        }
    }

    /// The same after a pause that left `unapplied`.
    #[must_use]
    pub fn with(self, unapplied: Vec<U>) -> Segment<U> {
        Segment { unapplied, ..self }
    }

    /// The iterations that the flow counts: those with updates to apply.
    pub(super) fn counted(&self) -> Range<usize> {
        let first = self.iterations.start.saturating_sub(self.unapplied.len());
        first..self.iterations.end
    }
}

/// What a run gave.
#[derive(Debug)]
pub struct Ended<U> {
    /// What happened.
    pub record: Record,
    /// After a pause, the updates that are not applied, in order.
    pub unapplied: Vec<U>,
}

impl<U> From<Record> for Ended<U> {
    fn from(record: Record) -> Ended<U> {
        Ended {
            record,
            unapplied: Vec::new(),
        }
    }
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
}

impl Executor<'_> {
    /// Runs iterations of an epoch with memory on the device. `host` must be what
    /// [`Stages::host`] gives.
    ///
    /// `proceed` is called on the caller's thread when an iteration has been trained, with its
    /// number. Its own update may not be applied yet.
    ///
    /// # Errors
    /// The first failure of a stage or a thread, or a ledger that can't be replayed.
    pub fn run_on_device<S: Stages>(
        &self,
        host: &S::Host,
        stages: &mut S,
        scheduler: &mut Scheduler,
        segment: Segment<S::Trained>,
        mut proceed: impl FnMut(&mut S, usize) -> Proceed,
    ) -> Result<Ended<S::Trained>, RunError<S::Error>> {
        scheduler.begin(segment.epoch, segment.counted())?;
        if *scheduler.schedule() == Schedule::Sequential {
            let apply = |stages: &mut S, update| stages.update_memory(update);
            return sequential::run_recorded(self, stages, scheduler, segment, apply, proceed);
        }
        let monitor = self.monitor(scheduler, &segment);
        let (to_fetcher, sampled) = mpsc::channel();
        let (to_device, prepared) = mpsc::channel();
        let mut fetched = None;
        let mut trained = VecDeque::from(segment.unapplied);
        thread::scope(|scope| {
            let run = &monitor;
            let sampler = move || run.drive(Lane::Sampler, sample::<S>(host, to_fetcher));
            let fetcher = move || {
                run.drive(Lane::Fetcher, |_, _| {
                    let prepared = S::fetch_features(host, take(&sampled))?;
                    let bytes = S::prepared_bytes(&prepared);
                    hand(&to_device, prepared);
                    Ok(bytes)
                });
            };
            self.clock.threads_run(3);
            self.spawn(scope, run, Lane::Sampler, sampler);
            self.spawn(scope, run, Lane::Fetcher, fetcher);
            run.drive(Lane::Device, |step, iteration| {
                match step {
                    Step::Gather => fetched = Some(stages.fetch_memory(take(&prepared))?),
                    Step::Train => {
                        trained.push_back(stages.train(held(&mut fetched))?);
                        run.follow(proceed(stages, iteration), iteration);
                    }
                    _ => stages.update_memory(held(&mut trained.pop_front()))?,
                }
                Ok(0)
            });
        });
        Ok(Ended {
            record: monitor.finish()?,
            unapplied: trained.into(),
        })
    }

    /// Runs iterations of an epoch with memory on the host; the rest as
    /// [`run_on_device`](Self::run_on_device).
    ///
    /// # Errors
    /// The first failure of a stage or a thread, or a ledger that can't be replayed.
    pub fn run_on_host<S: HostStages>(
        &self,
        host: &S::Host,
        stages: &mut S,
        scheduler: &mut Scheduler,
        segment: Segment<S::Received>,
        mut proceed: impl FnMut(&mut S, usize) -> Proceed,
    ) -> Result<Ended<S::Received>, RunError<S::Error>> {
        scheduler.begin(segment.epoch, segment.counted())?;
        if *scheduler.schedule() == Schedule::Sequential {
            let apply = |_: &mut S, update| S::apply(host, update);
            return sequential::run_recorded(self, stages, scheduler, segment, apply, proceed);
        }
        let early = scheduler.early();
        let monitor = self.monitor(scheduler, &segment);
        let (to_fetcher, sampled) = mpsc::channel();
        let (to_device, gathered) = mpsc::channel();
        let (to_updater, pending) = mpsc::channel();
        let mut unapplied = VecDeque::from(segment.unapplied);
        let received = &mut unapplied;
        thread::scope(|scope| {
            let run = &monitor;
            let sampler = move || run.drive(Lane::Sampler, sample::<S>(host, to_fetcher));
            let fetcher = move || {
                let (mut prepared, mut rows) = (None, None);
                run.drive(Lane::Fetcher, |step, _| {
                    match step {
                        Step::Features => {
                            let features = S::fetch_features(host, take(&sampled))?;
                            let bytes = S::prepared_bytes(&features);
                            prepared = Some(features);
                            return Ok(bytes);
                        }
                        Step::Gather => rows = Some(S::gather(host, held(&mut prepared))?),
                        _ => {
                            let sent = S::send(host, held(&mut rows))?;
                            let bytes = S::gathered_bytes(&sent);
                            hand(&to_device, sent);
                            return Ok(bytes);
                        }
                    }
                    Ok(0)
                });
            };
            let updater = move || {
                run.drive(Lane::Updater, |step, _| match step {
                    Step::Receive => {
                        let rows = S::receive(host, take(&pending))?;
                        let bytes = S::received_bytes(&rows);
                        received.push_back(rows);
                        Ok(bytes)
                    }
                    _ => S::apply(host, held(&mut received.pop_front())).map(|()| 0),
                });
            };
            self.clock.threads_run(4);
            self.spawn(scope, run, Lane::Sampler, sampler);
            self.spawn(scope, run, Lane::Fetcher, fetcher);
            self.spawn(scope, run, Lane::Updater, updater);
            let (mut fetched, mut begun, mut trained) = (None, None, None);
            run.drive(Lane::Device, |step, iteration| {
                match step {
                    Step::Upload => fetched = Some(stages.upload(take(&gathered))?),
                    Step::Train => trained = Some(stages.train(held(&mut fetched))?),
                    Step::Begin => {
                        let (rest, rows) = stages.begin(held(&mut fetched))?;
                        (begun, trained) = (Some(rest), Some(rows));
                    }
                    Step::ReadBack => hand(&to_updater, stages.read_back(held(&mut trained))?),
                    _ => stages.finish(held(&mut begun))?,
                }
                let last = if early { Step::Finish } else { Step::ReadBack };
                if step == last {
                    run.follow(proceed(stages, iteration), iteration);
                }
                Ok(0)
            });
        });
        Ok(Ended {
            record: monitor.finish()?,
            unapplied: unapplied.into(),
        })
    }

    fn monitor<'a, E, U>(
        &'a self,
        scheduler: &'a mut Scheduler,
        segment: &Segment<U>,
    ) -> Monitor<'a, 'a, E> {
        let flow = Flow::new(
            scheduler,
            segment.iterations.start,
            segment.iterations.len(),
            self.queue_depth.get(),
            self.traced,
            self.clock.now(),
        )
        .after_pause(segment.unapplied.len());
        Monitor::new(flow, segment.counted().start, self.clock)
    }

    fn spawn<'scope, E: Send + 'scope>(
        &self,
        scope: &'scope thread::Scope<'scope, '_>,
        monitor: &Monitor<'_, '_, E>,
        lane: Lane,
        work: impl FnOnce() + Send + 'scope,
    ) {
        let name = format!("mspipe-{}", lane.name());
        monitor.count_thread(true);
        if let Err(error) = thread::Builder::new().name(name).spawn_scoped(scope, work) {
            monitor.count_thread(false);
            monitor.fail(RunError::Thread { lane, error });
            self.clock.thread_stops();
        }
    }
}

/// The sampler's work.
fn sample<'a, S: Stages>(
    host: &'a S::Host,
    to_fetcher: Sender<S::Sampled>,
) -> impl FnMut(Step, usize) -> Result<u64, S::Error> + 'a
where
    S::Sampled: 'a,
{
    move |_, iteration| {
        hand(&to_fetcher, S::sample(host, iteration)?);
        Ok(0)
    }
}

/// Hands a batch on. Nobody takes it if the run ends; then it is dropped.
fn hand<T>(to: &Sender<T>, batch: T) {
    let _dropped_at_the_end_of_a_run = to.send(batch);
}

/// Takes the next batch, which the flow says is there.
fn take<T>(from: &Receiver<T>) -> T {
    match from.try_recv() {
        Ok(batch) => batch,
        Err(_) => unreachable!("a step began before the step that it follows"),
    }
}

/// Takes what the lane's step before left.
fn held<T>(slot: &mut Option<T>) -> T {
    match slot.take() {
        Some(value) => value,
        None => unreachable!("a step began before the step that it follows"),
    }
}
