//! The lanes of the pipeline in training: which lane runs what of the five [stages](super::iteration).
//!
//! [`train`] gives the executor a closure a lane; what one lane hands to another lies in its channels.
//!
//! An emulated link adds the time that it would take for the bytes of each transfer: of the
//! features at the end of `fetch_features`, of the rows in `Send`, of the updated rows in
//! `Receive`. It sleeps on the threads of these steps and changes no number.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread;

use burn::tensor::Tensor;

use super::error::{StageError, failed_rank};
use super::iteration::{Fetched, Gathered, OnDevice, Prepared, Sampled, Training, exchanged};
use super::joint::Senders;
use super::pass::Pass;
use super::queue_times::Stopwatch;
use super::ranks::Ranks;
use super::submission;
use crate::memory::device::DeviceMemory;
use crate::memory::host::HostMemory;
use crate::memory::node_memory::NodeMemory;
use crate::memory::write_back::{Pending, Update};
use crate::memory::{MemoryCommit, MemoryStore};
use crate::pipeline::Stage;
use crate::pipeline::ending::{Proceed, RunError};
use crate::pipeline::executor::{Executor, Lanes, Segment};
use crate::pipeline::link::Link;
use crate::pipeline::scheduler::Scheduler;
use crate::pipeline::step::Step;
use crate::pipeline::trace::Record;
use crate::profiler;

/// Bytes that a step moved.
type Moved = Result<u64, StageError>;

/// Iterations to train, and how.
pub(super) struct Plan<'a> {
    pub(super) executor: Executor<'a>,
    pub(super) scheduler: &'a mut Scheduler,
    pub(super) segment: Segment,
    pub(super) pass: &'a Pass,
    /// A slower bus than the device's own, to be emulated where memory lies in RAM.
    pub(super) emulated_link: Option<Link>,
    /// Measures the device's queue, if it has one.
    pub(super) stopwatch: Option<&'a Stopwatch<'a>>,
    /// The other ranks, if there are any.
    pub(super) ranks: Option<&'a Ranks>,
}

/// Runs a step of the device's thread, measured where somebody does.
fn measured(
    stopwatch: Option<&Stopwatch<'_>>,
    step: Step,
    iteration: usize,
    work: impl FnOnce() -> Moved,
) -> Moved {
    match stopwatch {
        Some(stopwatch) => stopwatch.step(step, iteration, work),
        None => work(),
    }
}

/// What to do after an iteration; is given the run, what the memory watched, and the
/// iteration.
pub(super) type Follow<'p> =
    &'p mut dyn FnMut(&mut Training<'_>, &dyn Fn() -> Tensor<1>, usize) -> Proceed;

/// What ran, and the first failure of a stage or a thread, or a ledger that can't be replayed.
pub(super) type Ran = (Record, Option<RunError<StageError>>);

/// Trains iterations of a pass. `unapplied` are the updates that a pause left, before the run and
/// after it; also after one that another rank has ended.
pub(super) fn train(
    plan: Plan<'_>,
    memory: &mut NodeMemory,
    training: &mut Training<'_>,
    unapplied: &mut Vec<Update>,
    proceed: Follow<'_>,
) -> Ran {
    match memory {
        NodeMemory::Device(memory) => train_on_device(plan, memory, training, unapplied, proceed),
        NodeMemory::Host(memory) => train_on_host(plan, memory, training, unapplied, proceed),
    }
}

/// Memory on the device: reading it and writing it are steps of the device's lane.
fn train_on_device(
    plan: Plan<'_>,
    memory: &mut DeviceMemory,
    training: &mut Training<'_>,
    unapplied: &mut Vec<Update>,
    proceed: Follow<'_>,
) -> Ran {
    let waiting = unapplied.drain(..).map(|update| memory.upload(update));
    let mut commits: VecDeque<MemoryCommit> = waiting.collect();
    let (pass, stopwatch) = (plan.pass, plan.stopwatch);
    let (to_fetcher, sampled) = mpsc::channel();
    let (to_device, prepared) = mpsc::channel();
    let mut fetched = None;
    let on_device = RefCell::new((training, memory));
    let (executor, scheduler) = (plan.executor, plan.scheduler);
    let (record, failure) = executor.attempt(
        scheduler,
        plan.segment,
        Lanes {
            sampler: &mut sampler(pass, plan.ranks, to_fetcher),
            fetcher: &mut move |_, _| {
                let batch = pass.fetch_features(take(&sampled));
                let bytes = batch.bytes();
                hand(&to_device, batch);
                Ok(bytes)
            },
            device: &mut |step, iteration| {
                let (training, memory) = &mut *on_device.borrow_mut();
                measured(stopwatch, step, iteration, || {
                    match step {
                        Step::Gather => {
                            let mut batch: Prepared = take(&prepared);
                            batch.read_times(memory.node_times());
                            batch.read_trends(|request| memory.trends_of(request));
                            fetched = Some(pass.fetch_memory(batch, *memory, training.device));
                        }
                        Step::Train => {
                            let batch: Fetched = held(&mut fetched);
                            let width = memory.width();
                            commits.push_back(match batch.joint {
                                None => training.train(iteration, batch)?,
                                Some(_) => {
                                    let update = training.train_jointly(iteration, batch, width)?;
                                    memory.upload(update)
                                }
                            });
                        }
                        _ => {
                            memory.commit(held(&mut commits.pop_front()))?;
                            // The last of an iteration: what follows may have to wait for its batch.
                            submission::flush(training.device)?;
                        }
                    }
                    Ok(0)
                })
            },
            receiver: &mut |_, _| Ok(0),
            updater: &mut |_, _| Ok(0),
        },
        |iteration| {
            let (training, memory) = &mut *on_device.borrow_mut();
            proceed(training, &|| memory.watched(), iteration)
        },
    );
    let left = match failure.as_ref().is_none_or(failed_rank) {
        true => hand_out(commits, &record, unapplied),
        false => Ok(()),
    };
    (record, failure.or(left.err()))
}

/// Hands out the updates of the last iterations of a run that are not applied.
///
/// # Errors
/// When the device does not hand over their rows.
fn hand_out(
    commits: VecDeque<MemoryCommit>,
    record: &Record,
    unapplied: &mut Vec<Update>,
) -> Result<(), RunError<StageError>> {
    let end = record.ledger.last().map_or(0, |line| line.iteration + 1);
    for (iteration, commit) in (end.saturating_sub(commits.len())..).zip(commits) {
        let update = commit.into_update().map_err(|error| RunError::Stage {
            stage: Stage::UpdateMemory,
            iteration,
            error: error.into(),
        })?;
        unapplied.push(update);
    }
    Ok(())
}

/// Memory in RAM: the fetcher reads it and the updater writes it, so that both can overlap
/// training.
fn train_on_host(
    plan: Plan<'_>,
    memory: &mut HostMemory,
    training: &mut Training<'_>,
    unapplied: &mut Vec<Update>,
    proceed: Follow<'_>,
) -> Ran {
    let updates = Mutex::new(VecDeque::from(std::mem::take(unapplied)));
    let host = Host {
        pass: plan.pass,
        width: memory.width(),
        memory: RwLock::new(memory),
        emulated_link: plan.emulated_link,
        ranks: plan.ranks,
    };
    let (to_fetcher, sampled) = mpsc::channel();
    let (to_device, gathered) = mpsc::channel();
    let (to_receiver, pending) = mpsc::channel();
    let training = RefCell::new(training);
    let (executor, scheduler) = (plan.executor, plan.scheduler);
    let ran = executor.attempt(
        scheduler,
        plan.segment,
        Lanes {
            sampler: &mut sampler(plan.pass, plan.ranks, to_fetcher),
            fetcher: &mut host.fetcher(sampled, to_device),
            device: &mut device(
                (plan.pass, plan.stopwatch),
                &training,
                gathered,
                to_receiver,
            ),
            receiver: &mut host.receiver(pending, &updates),
            updater: &mut host.updater(&updates),
        },
        |iteration| proceed(*training.borrow_mut(), &|| host.read().watched(), iteration),
    );
    let updates = updates.into_inner();
    *unapplied = updates.unwrap_or_else(PoisonError::into_inner).into();
    ran
}

fn sampler(
    pass: &Pass,
    ranks: Option<&Ranks>,
    to_fetcher: Sender<Sampled>,
) -> impl FnMut(Step, usize) -> Moved + Send {
    let share = ranks.map(Ranks::share);
    move |_, iteration| {
        let sampled = match share {
            None => pass.sample(iteration)?,
            Some(share) => pass.sample_share(iteration, share)?,
        };
        hand(&to_fetcher, sampled);
        Ok(0)
    }
}

/// What the lanes beside the device's work with when memory lies in RAM.
struct Host<'a> {
    pass: &'a Pass,
    /// The executor orders who reads and who writes, so nobody ever waits.
    memory: RwLock<&'a mut HostMemory>,
    emulated_link: Option<Link>,
    /// Width of a memory row.
    width: usize,
    ranks: Option<&'a Ranks>,
}

impl<'a> Host<'a> {
    fn read(&self) -> RwLockReadGuard<'_, &'a mut HostMemory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the time of one transfer over the emulated link, if there is one.
    fn transfer(&self, bytes: u64) -> Moved {
        if let Some(link) = self.emulated_link {
            thread::sleep(link.time(bytes));
        }
        Ok(bytes)
    }

    /// Stage 2, and stage 3 as far as the rows lie ready for the device.
    fn fetcher(
        &self,
        sampled: Receiver<Sampled>,
        to_device: Sender<Gathered>,
    ) -> impl FnMut(Step, usize) -> Moved + Send {
        let (mut prepared, mut gathered) = (None, None);
        move |step, _| match step {
            Step::Features => {
                let batch = prepared.insert(self.pass.fetch_features(take(&sampled)));
                self.transfer(batch.bytes())
            }
            Step::Gather => {
                let batch: Prepared = held(&mut prepared);
                let features = &self.pass.sampling.features;
                gathered = Some(batch.gather(&self.read(), features));
                Ok(0)
            }
            _ => {
                let batch: Gathered = held(&mut gathered);
                let moved = self.transfer(batch.rows.bytes());
                hand(&to_device, batch);
                moved
            }
        }
    }

    /// Stage 5 from where the updated rows are on their way to the host until they are there.
    fn receiver<'u>(
        &'u self,
        pending: Receiver<(Pending, Option<Senders>)>,
        updates: &'u Mutex<VecDeque<Update>>,
    ) -> impl FnMut(Step, usize) -> Moved + Send {
        move |_, _| {
            let (pending, senders) = take(&pending);
            let update = pending.receive()?;
            let moved = self.transfer(update.bytes());
            let update = exchanged(self.ranks, update, senders, self.width)?;
            lock(updates).push_back(update);
            moved
        }
    }

    /// The rest of stage 5.
    fn updater<'u>(
        &'u self,
        updates: &'u Mutex<VecDeque<Update>>,
    ) -> impl FnMut(Step, usize) -> Moved + Send {
        move |_, _| {
            let update = held(&mut lock(updates).pop_front());
            let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
            memory.apply(&update);
            Ok(0)
        }
    }
}

/// Updates that were received and not applied, in order. The executor says when there is one.
fn lock(updates: &Mutex<VecDeque<Update>>) -> MutexGuard<'_, VecDeque<Update>> {
    updates.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the device does when memory lies in RAM: the upload of stage 3, stage 4, and the beginning
/// of stage 5, which need not wait for the rest of stage 4.
fn device<'d>(
    (pass, stopwatch): (&'d Pass, Option<&'d Stopwatch<'d>>),
    training: &'d RefCell<&mut Training<'_>>,
    gathered: Receiver<Gathered>,
    to_receiver: Sender<(Pending, Option<Senders>)>,
) -> impl FnMut(Step, usize) -> Moved + 'd {
    let (mut fetched, mut begun, mut trained) = (None, None, None);
    move |step, iteration| {
        let training = &mut *training.borrow_mut();
        measured(stopwatch, step, iteration, || {
            match step {
                Step::Upload => {
                    fetched = Some(pass.upload(take(&gathered), training.device));
                    submission::flush(training.device)?;
                }
                Step::Train | Step::Begin | Step::Finish => {
                    if step != Step::Finish {
                        let (batch, own_edge): (Fetched, _) = held(&mut fetched);
                        let forward = training.begin(iteration, &batch)?;
                        let weight = batch.weight();
                        let made = (forward.memory(), forward.changes());
                        let (input, back) = batch.write_back(own_edge, made);
                        trained = Some(back);
                        begun = Some((forward, input, weight));
                    }
                    if step != Step::Begin {
                        let (forward, input, weight) = held(&mut begun);
                        training.finish(forward, &input, weight)?;
                    }
                    if step == Step::Finish {
                        submission::flush(training.device)?;
                    }
                }
                _ => {
                    let OnDevice {
                        back,
                        rows,
                        senders,
                    } = held(&mut trained);
                    hand(&to_receiver, (Pending::begin(back, rows)?, senders));
                    profiler::submitted();
                }
            }
            Ok(0)
        })
    }
}

/// Hands a batch on. Nobody takes it if the run ends; then it is dropped.
fn hand<T>(to: &Sender<T>, batch: T) {
    let _dropped_at_the_end_of_a_run = to.send(batch);
}

/// Takes the next batch, which the executor says is there.
fn take<T>(from: &Receiver<T>) -> T {
    held(&mut from.try_recv().ok())
}

/// Takes what the lane's step before left.
fn held<T>(slot: &mut Option<T>) -> T {
    match slot.take() {
        Some(value) => value,
        None => unreachable!("a step began before the step that it follows"),
    }
}
