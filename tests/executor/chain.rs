//! Stages whose every result depends on exactly which updates had been applied when: the
//! memory is a chain of hashes, so one update too many or too few changes all that follow.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mspipe::pipeline::ending::{Proceed, RunError};
use mspipe::pipeline::executor::{Executor, Lanes, Segment};
use mspipe::pipeline::profile::Residency;
use mspipe::pipeline::scheduler::Scheduler;
use mspipe::pipeline::step::Step;
use mspipe::pipeline::trace::Record;

/// Called at the beginning of each step.
pub(crate) type Hook<'a> = &'a (dyn Fn(Step, usize) -> Result<(), String> + Sync);

/// The tables: how many updates were applied, and the chain's last link.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tables {
    pub(crate) version: usize,
    pub(crate) link: u64,
}

/// One link of the chain.
pub(crate) fn mix(link: u64, value: u64) -> u64 {
    (link ^ value)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_add(value)
}

/// A batch on its way through the stages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    iteration: usize,
    /// Updates that it saw, and what it became.
    version: usize,
    value: u64,
}

/// What a lane took over and has not handed on.
type Held = Option<Batch>;

/// The memory, with what was trained on it.
pub(crate) struct Chain<'a> {
    hook: Hook<'a>,
    pub(crate) tables: Mutex<Tables>,
    /// Updates seen and loss of each iteration.
    pub(crate) losses: Vec<(usize, u64)>,
    /// Updates that are not applied, in order.
    pub(crate) unapplied: VecDeque<Batch>,
}

impl<'a> Chain<'a> {
    pub(crate) fn new(hook: Hook<'a>) -> Chain<'a> {
        Chain {
            hook,
            tables: Mutex::default(),
            losses: Vec::new(),
            unapplied: VecDeque::new(),
        }
    }

    /// Runs iterations of an epoch on top of what a pause left unapplied.
    pub(crate) fn run(
        &mut self,
        executor: &Executor<'_>,
        scheduler: &mut Scheduler,
        segment: Segment,
        proceed: impl FnMut(usize) -> Proceed,
    ) -> Result<Record, RunError<String>> {
        match scheduler.memory() {
            Residency::Device => self.run_on_device(executor, scheduler, segment, proceed),
            Residency::Host => self.run_on_host(executor, scheduler, segment, proceed),
        }
    }

    fn run_on_device(
        &mut self,
        executor: &Executor<'_>,
        scheduler: &mut Scheduler,
        segment: Segment,
        proceed: impl FnMut(usize) -> Proceed,
    ) -> Result<Record, RunError<String>> {
        let (hook, tables) = (self.hook, &self.tables);
        let (to_fetcher, sampled) = mpsc::channel();
        let (to_device, ready) = mpsc::channel();
        let caller = thread::current().id();
        let mut held = None;
        let lanes = Lanes {
            sampler: &mut |step, iteration| {
                to_fetcher.send(sample(hook, step, iteration)?).ok();
                Ok(0)
            },
            fetcher: &mut move |step, iteration| {
                to_device
                    .send(pass_on(hook, &sampled, step, iteration)?)
                    .ok();
                Ok(24)
            },
            receiver: &mut |step, _| panic!("{step:?} with memory on the device"),
            updater: &mut |step, _| panic!("{step:?} with memory on the device"),
            device: &mut |step, iteration| {
                assert_eq!(
                    caller,
                    thread::current().id(),
                    "one thread talks to the device"
                );
                match step {
                    Step::Gather => {
                        let batch = pass_on(hook, &ready, step, iteration)?;
                        held = Some(batch.with(read(tables)));
                    }
                    Step::Train => {
                        let batch = go_on(hook, &mut held, step, iteration)?;
                        self.losses.push((batch.version, batch.value));
                        self.unapplied.push_back(batch);
                    }
                    Step::Apply => {
                        let mut update = self.unapplied.pop_front();
                        write(tables, go_on(hook, &mut update, step, iteration)?);
                    }
                    _ => panic!("{step:?} with memory on the device"),
                }
                Ok(0)
            },
        };
        executor.run(scheduler, segment, lanes, proceed)
    }

    fn run_on_host(
        &mut self,
        executor: &Executor<'_>,
        scheduler: &mut Scheduler,
        segment: Segment,
        proceed: impl FnMut(usize) -> Proceed,
    ) -> Result<Record, RunError<String>> {
        let (hook, tables) = (self.hook, &self.tables);
        let (to_fetcher, sampled) = mpsc::channel();
        let (to_device, ready) = mpsc::channel();
        let (to_updater, pending) = mpsc::channel();
        let unapplied = &Mutex::new(&mut self.unapplied);
        let (mut prepared, mut gathered): (Held, Held) = (None, None);
        let lanes = Lanes {
            sampler: &mut |step, iteration| {
                to_fetcher.send(sample(hook, step, iteration)?).ok();
                Ok(0)
            },
            fetcher: &mut move |step, iteration| {
                match step {
                    Step::Features => {
                        prepared = Some(pass_on(hook, &sampled, step, iteration)?);
                        return Ok(24);
                    }
                    Step::Gather => {
                        let before = read(tables);
                        let batch = go_on(hook, &mut prepared, step, iteration)?;
                        assert_eq!(read(tables), before, "nobody writes while this reads");
                        gathered = Some(batch.with(before));
                    }
                    Step::Send => {
                        to_device
                            .send(go_on(hook, &mut gathered, step, iteration)?)
                            .ok();
                        return Ok(24);
                    }
                    _ => panic!("{step:?} is not of the fetcher"),
                }
                Ok(0)
            },
            receiver: &mut move |step, iteration| {
                assert_eq!(step, Step::Receive, "of the receiver");
                let update = pass_on(hook, &pending, step, iteration)?;
                unapplied.lock().unwrap().push_back(update);
                Ok(24)
            },
            updater: &mut |step, iteration| match step {
                Step::Apply => {
                    let mut update = unapplied.lock().unwrap().pop_front();
                    write(tables, go_on(hook, &mut update, step, iteration)?);
                    Ok(0)
                }
                _ => panic!("{step:?} is not of the updater"),
            },
            device: &mut device(hook, ready, to_updater, &mut self.losses),
        };
        executor.run(scheduler, segment, lanes, proceed)
    }

    /// Applies what a pause left.
    pub(crate) fn apply_all(&mut self) {
        for update in std::mem::take(&mut self.unapplied) {
            write(&self.tables, update);
        }
    }
}

impl Batch {
    /// After it has read the tables.
    fn with(self, Tables { version, link }: Tables) -> Batch {
        Batch {
            version,
            value: mix(link, self.value),
            ..self
        }
    }
}

fn sample(hook: Hook<'_>, step: Step, iteration: usize) -> Result<Batch, String> {
    assert_eq!(step, Step::Sample, "of the sampler");
    hook(step, iteration)?;
    Ok(Batch {
        iteration,
        version: 0,
        value: iteration as u64,
    })
}

/// What the device does with memory on the host.
fn device<'l>(
    hook: Hook<'l>,
    ready: mpsc::Receiver<Batch>,
    to_updater: mpsc::Sender<Batch>,
    losses: &'l mut Vec<(usize, u64)>,
) -> impl FnMut(Step, usize) -> Result<u64, String> + 'l {
    let caller = thread::current().id();
    let (mut fetched, mut trained): (Held, Held) = (None, None);
    move |step, iteration| {
        assert_eq!(
            caller,
            thread::current().id(),
            "one thread talks to the device"
        );
        match step {
            Step::Upload => fetched = Some(pass_on(hook, &ready, step, iteration)?),
            Step::Begin => {
                trained = fetched;
                go_on(hook, &mut fetched.clone(), step, iteration)?;
            }
            Step::Train | Step::Finish => {
                let batch = go_on(hook, &mut fetched, step, iteration)?;
                losses.push((batch.version, batch.value));
                if step == Step::Train {
                    trained = Some(batch);
                }
            }
            Step::ReadBack => {
                to_updater
                    .send(go_on(hook, &mut trained, step, iteration)?)
                    .ok();
            }
            _ => panic!("{step:?} is not of the device"),
        }
        Ok(0)
    }
}

/// A step on the batch that another lane has handed on.
fn pass_on(
    hook: Hook<'_>,
    from: &mpsc::Receiver<Batch>,
    step: Step,
    iteration: usize,
) -> Result<Batch, String> {
    go_on(hook, &mut from.try_recv().ok(), step, iteration)
}

/// A step on the batch that the lane holds.
fn go_on(hook: Hook<'_>, held: &mut Held, step: Step, iteration: usize) -> Result<Batch, String> {
    let batch = held.take().expect("a step before the one that it follows");
    assert_eq!(batch.iteration, iteration, "{step:?} of another batch");
    hook(step, iteration)?;
    Ok(batch)
}

/// Reads the tables; the executor promises that nobody writes them.
fn read(tables: &Mutex<Tables>) -> Tables {
    *tables.try_lock().expect("a read beside a write")
}

fn write(tables: &Mutex<Tables>, update: Batch) {
    let mut tables = tables.try_lock().expect("a write beside a read");
    assert_eq!(update.iteration, tables.version, "updates are in order");
    *tables = Tables {
        version: tables.version + 1,
        link: mix(tables.link, update.value),
    };
}

/// A time for each step and iteration, up to `up_to`, from a seed.
pub(crate) fn random_time(seed: u64, step: Step, iteration: usize, up_to: Duration) -> Duration {
    let bits = mix(mix(seed, step as u64 + 1), iteration as u64 + 1);
    up_to.mul_f64((bits >> 11) as f64 / (1u64 << 53) as f64)
}
