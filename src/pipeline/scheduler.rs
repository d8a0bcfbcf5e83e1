//! The k of each iteration, chosen while a training runs.
//!
//! Rules. k may change only at iterations whose number in the epoch is a multiple of
//! [`BLOCK`]; the choice is made when such an iteration is the next one to read memory, from
//! the medians of each step's last [`WINDOW`] times. The first [`DISCARDED`] iterations of a
//! training are not measured (caches, kernels being compiled), and until each step has
//! [`ENOUGH`] times k stays 1, which keeps the measuring itself exact. When k grows, versions
//! stand still until they are k behind; when it shrinks, they jump: they never go backwards.
//!
//! Invariant: each iteration's version is asked for once and in order, so what was used is what
//! the ledger has. The choice depends on measured times; a replay of the ledger doesn't.
//! Source: MSPipe, section 3.3 (online schedule); the rules of change are this project's.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::cycle::Cycle;
use super::ledger::{Decision, LedgerLine, Replay, ReplayError};
use super::profile::{MEASURING_SLACK, Profile, Queue, Residency};
use super::queue::QueueIteration;
use super::schedule::{MOST_ONLINE, Schedule};
use super::step::{Lane, Step};
use super::turns::{self, Running, Turns};
use super::votes::Votes;

/// k may change at iterations that are a multiple of this.
pub const BLOCK: usize = 16;
/// Times of each step that a median is taken of.
pub(crate) const WINDOW: usize = 32;
/// Iterations at the start of a run that are not measured.
pub(crate) const DISCARDED: usize = 4;
/// Times of each step that the first choice needs.
pub(crate) const ENOUGH: usize = 8;

/// Share of a period that a round trip has to explain for it to be what the iterations wait for.
const EXPLAINED: f64 = 0.9;

/// Of so many times one is that quick or slow that reading as late as possible reckons with it.
const QUARTER: usize = 4;

/// Last times of one step.
#[derive(Debug, Clone, Default)]
struct Times {
    seen: usize,
    last: VecDeque<Duration>,
}

impl Times {
    fn add(&mut self, time: Duration) {
        self.seen += 1;
        if self.seen <= DISCARDED {
            return;
        }
        if self.last.len() == WINDOW {
            self.last.pop_front();
        }
        self.last.push_back(time);
    }

    /// Whether there are enough of them to choose by.
    fn enough(&self) -> bool {
        self.last.len() >= ENOUGH
    }

    /// The median; zero for a step that this schedule doesn't have.
    fn median(&self) -> Duration {
        self.one_in(2)
    }

    /// The largest of the smallest of which one in `parts` is.
    fn one_in(&self, parts: usize) -> Duration {
        self.nth(self.last.len() / parts)
    }

    /// The smallest of the largest of which one in `parts` is.
    fn all_but_one_in(&self, parts: usize) -> Duration {
        self.nth((self.last.len() - self.last.len() / parts).saturating_sub(1))
    }

    fn nth(&self, at: usize) -> Duration {
        let mut sorted: Vec<Duration> = self.last.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// Last times of a device that works behind a queue, and of taking over its rows. What a step takes
/// the thread says nothing about these, since both overlap.
#[derive(Debug, Clone, Default)]
struct QueueTimes {
    encode: Times,
    kernels: Times,
    /// Up to the updated memory, where it is written early.
    updater: Times,
    up: Times,
    down: Times,
    /// Of all steps.
    work: Times,
    /// Of those before the rest of training, where memory is written early.
    before_rest: Times,
    /// That the queue was busy with what came before, at the step that found it least busy.
    waits: Times,
    /// The ways to the updated rows and to the end of training.
    back: Way,
    trained: Way,
    /// From when the rows were there until they were taken.
    receive: Times,
}

/// Times of a way through the device, see [`QueueIteration::way_to`].
#[derive(Debug, Clone, Default)]
struct Way {
    all: Times,
    /// Of iterations that found the queue idle. Those that had to wait had their first submission
    /// encoded meanwhile, so their way seems shorter than it is.
    idle: Times,
}

impl Way {
    fn add(&mut self, way: Option<Duration>, idle: bool) {
        let Some(way) = way else {
            return;
        };
        self.all.add(way);
        if idle {
            self.idle.add(way);
        }
    }

    fn median(&self) -> Duration {
        self.all.median().max(self.idle.median())
    }
}

impl QueueTimes {
    fn add(&mut self, iteration: &QueueIteration, received: Option<Range<Duration>>) {
        let copies = |step: Step| step.queue_lane() == Lane::Bus;
        let waited = iteration.waited();
        self.encode.add(iteration.encode());
        self.work.add(iteration.work(|_| true));
        self.kernels.add(iteration.work(|step| !copies(step)));
        self.updater.add(iteration.work(|step| step == Step::Begin));
        self.up.add(iteration.work(|step| step == Step::Upload));
        self.down.add(iteration.work(|step| step == Step::ReadBack));
        let before_rest = iteration.work(|step| step != Step::Finish);
        self.before_rest.add(before_rest);
        self.waits.add(iteration.least_waited());
        let (idle, way) = (waited.is_zero(), |step| iteration.way_to(step));
        self.back.add(way(Step::ReadBack), idle);
        self.trained.add(way(Step::Finish), idle);
        let ready = iteration.end_of(Step::ReadBack).unwrap_or_default();
        let taken = received.map_or(Duration::ZERO, |taken| {
            taken.end.saturating_sub(ready.max(taken.start))
        });
        self.receive.add(taken);
    }
}

/// What an iteration reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ReadPoint {
    /// Its staleness.
    pub k: usize,
    /// Updates of the run (not of the epoch) that it sees.
    pub version: usize,
    /// A choice that was made for it.
    pub decision: Option<Box<Decision>>,
}

/// Chooses k, over the pipeline's passes of one run.
#[derive(Debug, Clone)]
pub struct Scheduler {
    schedule: Schedule,
    memory: Residency,
    replay: Option<Replay>,
    /// Whether iterations overlap, where that is to be tried.
    turns: Option<Turns>,
    /// k of the replayed iterations of this run.
    replayed: Vec<usize>,
    k: usize,
    times: [Times; Step::COUNT],
    /// Of a device that has a queue.
    queue: Option<QueueTimes>,
    /// What is agreed on with others, if any run the same iterations.
    together: Option<Arc<Votes>>,
    /// When the device's thread began the last iterations with the k in force.
    begins: VecDeque<Duration>,
    epoch: u64,
    first: usize,
    version: usize,
}

impl Scheduler {
    /// For a run with memory at `memory`.
    ///
    /// # Errors
    /// When the ledger to replay can't be read.
    pub fn new(schedule: Schedule, memory: Residency) -> Result<Scheduler, ReplayError> {
        let replay = match &schedule {
            Schedule::Replay(path) => Some(Replay::read(path)?),
            _ => None,
        };
        let k = match schedule {
            Schedule::Staleness(k) => k,
            Schedule::Freshest(Some(k)) if memory == Residency::Host => k,
            _ => 1,
        };
        Ok(Scheduler {
            schedule,
            memory,
            replay,
            turns: None,
            replayed: Vec::new(),
            k,
            times: Default::default(),
            queue: None,
            together: None,
            begins: VecDeque::new(),
            epoch: 0,
            first: 0,
            version: 0,
        })
    }

    /// The same, which with `auto` also tries whether iterations should overlap at all. Whoever runs
    /// them must do so in parts: see [`part`](Self::part) and [`ran`](Self::ran).
    #[must_use]
    pub(crate) fn trying_turns(mut self) -> Scheduler {
        self.turns = (self.schedule == Schedule::Auto).then(Turns::default);
        self
    }

    /// The same for one of several that run the same iterations and have to pause after the same one,
    /// whatever each has begun to read.
    #[must_use]
    pub(crate) fn together(self) -> Scheduler {
        Scheduler {
            together: Some(Arc::default()),
            ..self
        }
    }

    /// Where this one and the others agree on k, if there are others and it is chosen from measured times.
    pub(crate) fn votes(&self) -> Option<Arc<Votes>> {
        self.together.clone().filter(|_| self.schedule.online())
    }

    /// The last iteration that anybody may have begun to read memory for when iteration `nth` has been
    /// trained, if several run the same ones.
    pub(super) fn read_at_most(&self, nth: usize) -> Option<usize> {
        let replayed = self.replayed.iter().copied().max();
        // Others may be at another k already, or not yet.
        let k = match self.schedule.online() {
            true => MOST_ONLINE,
            false => replayed.unwrap_or(self.k),
        };
        // Its own update is written early, or after it has been trained.
        let ahead = k - usize::from(!self.early());
        let reads_ahead = self.memory == Residency::Host;
        (self.together.is_some()).then_some(nth + if reads_ahead { ahead } else { 0 })
    }

    /// Whether an iteration of one of several may read memory before the one before it has been trained.
    pub(crate) fn reads_ahead(&self) -> bool {
        self.read_at_most(0).is_some_and(|last| last > 0)
    }

    /// Whether iterations follow one another.
    pub(super) fn in_turn(&self) -> bool {
        let turns = self.turns.as_ref();
        self.schedule == Schedule::Sequential
            || turns.is_some_and(|turns| turns.running() == Running::InTurn)
    }

    /// The end of the part of `iterations` that is to be run next.
    pub(crate) fn part(&self, iterations: Range<usize>) -> usize {
        let part = self.turns.as_ref().map(Turns::part);
        part.map_or(iterations.end, |part| {
            iterations.end.min(iterations.start.saturating_add(part))
        })
    }

    /// A part ran: its iterations were trained at these moments, and their ledger is this one, where
    /// it says how they ran if that is tried.
    pub(crate) fn ran(&mut self, moments: &[Duration], ledger: &mut [LedgerLine]) {
        let Some(turns) = &mut self.turns else {
            return;
        };
        for line in &mut *ledger {
            line.running = Some(turns.running());
        }
        if let Some(first) = ledger.first_mut() {
            first.choice = turns.take_choice();
        }
        turns.ran(moments);
    }

    /// Whether a run of `epochs` epochs with so many iterations each, which may end after `needed`,
    /// can be scheduled so.
    ///
    /// # Errors
    /// When the ledger to replay is of other iterations.
    pub(crate) fn check(
        &self,
        epochs: usize,
        needed: usize,
        iterations: usize,
    ) -> Result<(), ReplayError> {
        match &self.replay {
            Some(replay) => replay.check(epochs as u64, needed as u64, iterations),
            None => Ok(()),
        }
    }

    /// Continues with the staleness `k` that an earlier part of the run had last; times are
    /// measured again. A fixed bound and a replay don't need it.
    pub(crate) fn resume(&mut self, k: usize) {
        if self.schedule.online() {
            self.k = k.max(1);
        }
    }

    /// The same with this k for the first iterations of the run, whatever was measured.
    #[cfg(test)]
    pub(crate) fn with_k(mut self, k: usize, iterations: usize) -> Scheduler {
        self.replayed = vec![k; iterations];
        self
    }

    /// The staleness in force.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Says which iterations of which epoch the next run is about. All earlier updates of the
    /// epoch are applied when it begins; after a pause, the run's first iterations are those
    /// whose updates were left unapplied.
    ///
    /// # Errors
    /// When the ledger to replay does not have them.
    pub(crate) fn begin(
        &mut self,
        epoch: u64,
        iterations: Range<usize>,
    ) -> Result<(), ReplayError> {
        if let Some(replay) = &self.replay {
            self.replayed = replay.of(epoch, iterations.clone())?;
        }
        self.begins.clear();
        self.epoch = epoch;
        self.first = iterations.start;
        self.version = 0;
        Ok(())
    }

    /// The schedule.
    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Where memory lies.
    pub fn memory(&self) -> Residency {
        self.memory
    }

    /// The epoch of the run.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether memory is written back before training has ended. On the device there is
    /// nothing to gain by it: reading, training and writing are one queue.
    pub fn early(&self) -> bool {
        self.memory == Residency::Host && self.schedule.early() && !self.in_turn()
    }

    /// Whether an iteration reads the newest memory that is ready. On the device every update is, since
    /// reading, training and writing are one queue.
    pub(super) fn freshest(&self) -> bool {
        self.memory == Residency::Host && matches!(self.schedule, Schedule::Freshest(_))
    }

    /// What the run's iteration `nth` (from 0) reads, or the oldest that it may read; to be asked once
    /// each, in order.
    pub(crate) fn read_point(&mut self, nth: usize) -> ReadPoint {
        let mut decision = None;
        if let Some(k) = self.replayed.get(nth) {
            self.k = *k;
        } else if self.schedule.online() && (self.first + nth).is_multiple_of(BLOCK) {
            decision = match self.votes() {
                Some(votes) => self.agreed(&votes, self.first + nth),
                None => self.decide(),
            };
        }
        self.version = self.version.max((nth + 1).saturating_sub(self.k));
        ReadPoint {
            k: nth + 1 - self.version,
            version: self.version,
            decision,
        }
    }

    /// Takes note of the time that a step took.
    pub(super) fn observe(&mut self, step: Step, time: Duration) {
        self.times[step as usize].add(time);
    }

    /// Takes note that the device's thread begins an iteration.
    pub(super) fn observe_begin(&mut self, now: Duration) {
        if self.begins.len() == WINDOW {
            self.begins.pop_front();
        }
        self.begins.push_back(now);
        if let Some(votes) = self.votes() {
            votes.propose(self.choice().map(|decision| decision.k));
        }
    }

    /// Time of an iteration with the k in force, as far as it is known.
    fn period(&self) -> Option<Duration> {
        let begins: Vec<Duration> = self.begins.iter().copied().collect();
        turns::period(&begins)
    }

    /// The device has a queue, whose times will be told.
    pub(super) fn expect_queue(&mut self) {
        self.queue.get_or_insert_default();
    }

    /// Takes note of what the queue took for an iteration, and of when its rows were received.
    pub(super) fn observe_queue(
        &mut self,
        iteration: &QueueIteration,
        received: Option<Range<Duration>>,
    ) {
        let queue = self.queue.get_or_insert_default();
        queue.add(iteration, received);
    }

    fn time(&self, steps: &[Step]) -> Duration {
        let times = steps.iter().map(|step| self.times[*step as usize].median());
        times.sum()
    }

    /// How long after the device has begun an iteration the memory of the next one should begin to be
    /// read, to be there just when the device is free. `None` where that can't be told, or reading takes
    /// longer than training: then it should begin at once.
    ///
    /// Quick training and slow reading are reckoned with, since a device that waits costs more than
    /// memory that is read a little early.
    pub(super) fn read_after_begin(&self) -> Option<Duration> {
        let device = [Step::Upload, Step::Train, Step::ReadBack];
        let quick: Duration = device.iter().map(|step| self.quick(*step)).sum();
        self.times[Step::Train as usize]
            .enough()
            .then(|| quick.checked_sub(self.slow_read()))?
    }

    /// The same for a device with a queue, counted from when it was through with the iteration
    /// `ahead` (at least 1) before that one whose memory is to be read.
    pub(super) fn read_after_end(&self, ahead: usize) -> Option<Duration> {
        let queue = self
            .queue
            .as_ref()
            .filter(|_| self.times[Step::Train as usize].enough())?;
        let work = queue.work.one_in(QUARTER);
        let work = self.period().map_or(work, |period| work.min(period));
        // The thread encodes before the queue has something to do.
        let before = self.slow_read() + queue.encode.median() + queue.receive.median();
        (work * (ahead - 1) as u32).checked_sub(before)
    }

    fn quick(&self, step: Step) -> Duration {
        self.times[step as usize].one_in(QUARTER)
    }

    fn slow_read(&self) -> Duration {
        let slow = |step| self.times[step as usize].all_but_one_in(QUARTER);
        slow(Step::Gather) + slow(Step::Send)
    }

    /// What bounds the period, and the stage times, as measured; `None` while there are too few times.
    pub(crate) fn measured(&self) -> Option<(Cycle, Profile)> {
        let steps = Step::of(self.memory, self.early());
        if !steps.iter().all(|step| self.times[*step as usize].enough()) {
            return None;
        }
        match &self.queue {
            None => Some(self.of_a_thread()),
            Some(queue) if queue.work.enough() => Some(self.of_a_queue(queue)),
            Some(_) => None,
        }
    }

    /// Of a device whose thread does the work. What the thread does for another stage counts where it
    /// keeps the thread busy: uploads are time of the device.
    fn of_a_thread(&self) -> (Cycle, Profile) {
        let known = self.time(&[Step::Upload, Step::Begin, Step::ReadBack]);
        let train = known + self.time(&[Step::Train, Step::Finish]);
        let update = self.time(&[Step::Receive, Step::Apply]);
        let fetch = self.time(&[Step::Gather, Step::Send]);
        let [sample, features] = [Step::Sample, Step::Features].map(|step| self.time(&[step]));
        let times = [sample, features, fetch, train, update];
        // A late write-back doesn't tell when the updated memory is known.
        let updater = if self.early() { known } else { train };
        let profile = Profile::new(times, updater);
        (profile.cycle(self.memory, self.early()), profile)
    }

    /// Of a device that works behind a queue: its round trip is measured, not put together of times
    /// that overlap.
    fn of_a_queue(&self, queue: &QueueTimes) -> (Cycle, Profile) {
        let on_host = self.memory == Residency::Host;
        let fetch = self.time(&[Step::Gather, Step::Send]);
        let apply = self.time(&[Step::Apply]);
        let receive = queue.receive.median();
        // Where the queue finds nothing to do within an iteration, that seems to be work; but no lane
        // works longer than the period.
        let work = queue.work.median();
        let work = self.period().map_or(work, |period| work.min(period));
        let mut lanes = vec![
            (Lane::Sampler, self.time(&[Step::Sample])),
            (Lane::Fetcher, self.time(&[Step::Features])),
            (Lane::Device, queue.encode.median()),
            (Lane::Gpu, work),
        ];
        let mut round_trips = [Duration::ZERO; 2];
        if on_host {
            lanes[1].1 += fetch;
            lanes.push((Lane::Receiver, receive));
            // Reading and writing the tables exclude each other.
            lanes.push((Lane::Updater, self.time(&[Step::Gather]) + apply));
            let transfers = fetch + receive + apply;
            round_trips[0] = transfers + queue.back.median();
            if self.early() {
                round_trips[1] = transfers + queue.trained.median() + queue.before_rest.median();
            }
        }
        (
            Cycle::new(&lanes, round_trips),
            self.queued_profile(queue, fetch, receive + apply),
        )
    }

    fn queued_profile(&self, queue: &QueueTimes, fetch: Duration, update: Duration) -> Profile {
        let (fetch, update) = match self.memory {
            Residency::Host => (fetch, update),
            // The thread only encodes them, and the queue's time for them is among the kernels'.
            Residency::Device => Default::default(),
        };
        let [sample, features] = [Step::Sample, Step::Features].map(|step| self.time(&[step]));
        let kernels = queue.kernels.median();
        let updater = match self.early() {
            true => queue.updater.median(),
            false => kernels,
        };
        Profile::new([sample, features, fetch, kernels, update], updater).with_queue(Queue {
            encode: queue.encode.median(),
            up: queue.up.median(),
            down: queue.down.median(),
            ..Queue::default()
        })
    }

    /// Whether iterations wait for memory with the k in force: nothing is busy all the time, and the
    /// round trip explains that.
    ///
    /// It says so where the busiest lane can't be told well enough: what a queue does for an
    /// iteration that finds it idle seems to take as long as its first submission is awaited.
    fn stalled(&self, cycle: &Cycle) -> bool {
        let (Some(queue), Some(period)) = (&self.queue, self.period()) else {
            return false;
        };
        let slack = period.mul_f64(MEASURING_SLACK);
        // Of k iterations that are under way together, the first finds it idle then.
        let queue_idle = queue.waits.one_in(QUARTER) < slack;
        let others_idle = cycle.busiest_but_the_queue + slack < period;
        queue_idle && others_idle && cycle.round_trips(self.k) > period.mul_f64(EXPLAINED)
    }

    /// The k that was agreed on for the block that begins with `iteration`, with what this one measured.
    fn agreed(&mut self, votes: &Votes, iteration: usize) -> Option<Box<Decision>> {
        let k = votes.for_block(self.epoch, iteration)?;
        self.put_in_force(k);
        let own = self.measured();
        own.map(|(cycle, measured)| Box::new(Decision { k, cycle, measured }))
    }

    fn decide(&mut self) -> Option<Box<Decision>> {
        let decision = self.choice()?;
        self.put_in_force(decision.k);
        Some(Box::new(decision))
    }

    fn put_in_force(&mut self, k: usize) {
        if k != self.k {
            self.begins.clear();
        }
        self.k = k;
    }

    /// What it would choose now.
    fn choice(&self) -> Option<Decision> {
        let (cycle, measured) = self.measured()?;
        let mut k = cycle.minimal_staleness(MEASURING_SLACK);
        if self.memory == Residency::Host && self.stalled(&cycle) {
            k = k.max(self.k + 1);
        }
        k = k.min(MOST_ONLINE);
        Some(Decision { k, cycle, measured })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduler(schedule: Schedule) -> Scheduler {
        let mut scheduler = Scheduler::new(schedule, Residency::Host).unwrap();
        scheduler.begin(1, 0..1000).unwrap();
        scheduler
    }

    #[test]
    fn a_fixed_bound_begins_fresh() {
        let mut fixed = scheduler(Schedule::Staleness(3));
        let reads: Vec<_> = (0..5)
            .map(|nth| fixed.read_point(nth))
            .map(|read| (read.k, read.version))
            .collect();
        assert_eq!(reads, [(1, 0), (2, 0), (3, 0), (3, 1), (3, 2)]);
    }

    #[test]
    fn k_changes_at_blocks_and_versions_never_go_back() {
        let mut online = scheduler(Schedule::Mspipe);
        let mut versions = Vec::new();
        for nth in 0..4 * BLOCK {
            // Training takes 10 ms; reading and writing memory 2 ms each, later 6 ms.
            let transfer = if nth < 2 * BLOCK { 2 } else { 6 };
            let read = online.read_point(nth);
            assert_eq!(read.decision.is_some(), nth % BLOCK == 0 && nth > 0);
            for step in Step::of(Residency::Host, false) {
                let time = match step {
                    Step::Train => 10,
                    Step::Send | Step::Receive => transfer,
                    _ => 0,
                };
                online.observe(*step, Duration::from_millis(time));
            }
            versions.push((read.k, read.version));
        }
        assert_eq!(versions[BLOCK - 1].0, 1);
        assert_eq!(versions[BLOCK].0, 2);
        assert_eq!(versions[3 * BLOCK - 1].0, 2);
        // Half of the window is of the new times by now.
        assert_eq!(versions[3 * BLOCK].0, 3);
        assert!(versions.is_sorted_by_key(|(_, version)| *version));
    }

    /// One waits for memory and the other does not: both read with the k of the one that waits, from the same block
    /// on, whenever they ask for it.
    #[test]
    fn several_read_with_the_largest_k_that_one_would_choose() {
        let slow = scheduler(Schedule::Mspipe).together();
        let quick = scheduler(Schedule::Mspipe).together();
        let (mut all, mut read) = ([(slow, 6), (quick, 1)], [Vec::new(), Vec::new()]);
        for nth in 0..3 * BLOCK {
            for (scheduler, transfer) in &mut all {
                scheduler.observe_begin(Duration::from_millis(10 * nth as u64));
                for step in Step::of(Residency::Host, false) {
                    let time = match step {
                        Step::Train => 10,
                        Step::Send | Step::Receive => *transfer,
                        _ => 0,
                    };
                    scheduler.observe(*step, Duration::from_millis(time));
                }
            }
            let votes = all.each_ref().map(|(scheduler, _)| scheduler.votes());
            let votes = votes.map(Option::unwrap);
            let most = votes.each_ref().map(|votes| votes.own()).into_iter().max();
            if let Some(Some(k)) = most {
                votes.iter().for_each(|votes| votes.agree(1, nth, k));
            }
            // The one asks at once, the other when more was agreed on.
            for ((scheduler, _), (read, behind)) in all.iter_mut().zip(read.iter_mut().zip([0, 9]))
            {
                if let Some(asked) = nth.checked_sub(behind) {
                    scheduler.read_point(asked);
                    read.push(scheduler.k());
                }
            }
        }
        assert_eq!(read[0][..read[1].len()], read[1]);
        assert_eq!(read[0][..BLOCK], [1; BLOCK]);
        assert!(
            read[1][2 * BLOCK..].iter().all(|&k| k == 3),
            "{:?}",
            read[1]
        );
        assert_eq!(all[1].0.choice().unwrap().k, 2);
    }

    #[test]
    fn outliers_and_first_iterations_do_not_count() {
        let mut times = Times::default();
        for time in [900, 800, 700, 600, 10, 11, 500, 12, 13] {
            times.add(Duration::from_millis(time));
        }
        assert_eq!(times.median(), Duration::from_millis(12));
    }

    #[test]
    fn exact_overlap_has_an_early_write_back_on_the_host_only() {
        assert!(scheduler(Schedule::ExactOverlap).early());
        let device = Scheduler::new(Schedule::Auto, Residency::Device).unwrap();
        assert!(!device.early());
    }
}
