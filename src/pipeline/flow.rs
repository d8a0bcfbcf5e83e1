//! Which step may begin when: the rules of the pipeline, without threads and without time.
//!
//! The executor and the simulator both ask [`Flow`] what a lane may do next, and tell it what
//! began and ended; so a schedule that the simulator draws is one that the executor keeps.
//!
//! Invariants:
//! * **Version rule.** Iteration i gathers when exactly the updates up to i − k_i are applied:
//!   `apply(i − k_i)` has ended before `gather(i)` begins, and `apply(i − k_i + 1)` begins only
//!   after `gather(i)` has ended. The steps around these points (sends, receives) overlap.
//! * **Freshest.** With a schedule that reads the newest memory, `gather(i)` begins when all updates up
//!   to i − k_i are applied or later, as late as training lets it, and what is applied when it begins
//!   is what it reads: the k that is logged counts that, and a replay of it is under the version rule.
//!   No update waits for a read that has not begun.
//! * Each lane runs its steps in the order of iterations.
//! * At most `depth` iterations are ahead of the lane that takes them. Updates need no bound of
//!   their own: at most k are under way. With one, a queue shorter than k could deadlock:
//!   `apply(j)` waits for `gather(j + k − 1)`, which waits for training to continue.
//! * After the last iteration, or a stop, all updates of trained iterations get applied. After a
//!   pause those are not that no iteration was to see yet: so a run that continues from there with
//!   them reads the same versions as one that never paused.
//!
//! Source: MSPipe, Algorithm 1, with the bound as a rule in both directions.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::ledger::LedgerLine;
use super::profile::Residency;
use super::queue::QueueIteration;
use super::scheduler::{ReadPoint, Scheduler};
use super::step::{Lane, Step};
use super::trace::{Record, Span};

/// Iterations whose receiving is remembered until the queue's times are told: more than are ever
/// under way.
const KEPT_RECEIVES: usize = 256;

/// What a lane does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// This step of the run's iteration of this number (from 0).
    Run(Step, usize),
    /// Nothing until another lane has gone on.
    Wait,
    /// Nothing until this time.
    Until(Duration),
    /// Nothing any more.
    Over,
}

/// When memory should be read at the latest.
#[derive(Debug, Clone, Copy)]
enum Latest {
    /// At this time.
    At(Duration),
    /// That is known once the device has begun the iteration before.
    Unknown,
}

/// A lane's step under way, or when its last one ended.
#[derive(Debug, Clone, Copy)]
enum LaneState {
    Idle { since: Duration },
    Busy { began: Duration },
}

/// The state of a run.
#[derive(Debug)]
pub(crate) struct Flow<'s> {
    scheduler: &'s mut Scheduler,
    memory: Residency,
    early: bool,
    depth: usize,
    first: usize,
    end: usize,
    begun: [usize; Step::COUNT],
    ended: [usize; Step::COUNT],
    /// Of the iterations that have read or are the next to.
    reads: Vec<ReadPoint>,
    lanes: [LaneState; Lane::ALL.len()],
    stalls: Vec<Duration>,
    /// When the device's thread began its last iteration.
    device_began: Duration,
    /// Whether the device works behind a queue.
    queued: bool,
    /// When the rows of the last iterations were received, up to the last that were.
    received: VecDeque<Range<Duration>>,
    /// What the device's queue did for iterations whose rows were not received yet.
    device_ran: VecDeque<QueueIteration>,
    traced: usize,
    /// Iterations before the run whose updates were left unapplied; the first of the run's.
    unapplied: usize,
    pausing: bool,
    record: Record,
}

impl<'s> Flow<'s> {
    /// `iterations` of them, the first of which is iteration `first` of the epoch that the
    /// scheduler was told to begin. Spans of the first `traced` are kept.
    pub(crate) fn new(
        scheduler: &'s mut Scheduler,
        first: usize,
        iterations: usize,
        depth: usize,
        traced: usize,
        now: Duration,
    ) -> Flow<'s> {
        Flow {
            memory: scheduler.memory(),
            early: scheduler.early(),
            scheduler,
            depth: depth.max(1),
            first,
            end: iterations,
            begun: [0; Step::COUNT],
            ended: [0; Step::COUNT],
            reads: Vec::new(),
            lanes: [LaneState::Idle { since: now }; Lane::ALL.len()],
            stalls: Vec::new(),
            device_began: now,
            queued: false,
            received: VecDeque::new(),
            device_ran: VecDeque::new(),
            traced,
            unapplied: 0,
            pausing: false,
            record: Record::default(),
        }
    }

    /// The same after a pause that left `unapplied` updates: they are the first iterations of
    /// the run, on top of those that it was made with, and only their updates are still to be
    /// applied.
    #[must_use]
    pub(crate) fn after_pause(mut self, unapplied: usize) -> Flow<'s> {
        self.begun = [unapplied; Step::COUNT];
        self.begun[Step::Apply as usize] = 0;
        self.ended = self.begun;
        self.reads = vec![ReadPoint::default(); unapplied];
        self.unapplied = unapplied;
        self.first -= unapplied;
        self.end += unapplied;
        self
    }

    /// What `lane` may do next. It changes nothing but that a k may get chosen.
    pub(crate) fn next(&mut self, lane: Lane, now: Duration) -> Next {
        let next = match (lane, self.memory) {
            (Lane::Sampler, _) => self.next_of_sampler(),
            (Lane::Fetcher, Residency::Host) => self.next_of_fetcher(now),
            (Lane::Fetcher, Residency::Device) => self.next_features(Step::Gather),
            (Lane::Device, Residency::Host) => self.next_of_device(),
            (Lane::Device, Residency::Device) => self.next_of_device_with_memory(),
            (Lane::Receiver, Residency::Host) => self.next_of_receiver(),
            (Lane::Updater, Residency::Host) => self.next_of_updater(),
            (Lane::Receiver | Lane::Updater, Residency::Device) | (Lane::Gpu | Lane::Bus, _) => {
                Next::Over
            }
        };
        match next {
            Next::Run(_, nth) if nth >= self.end => Next::Over,
            next => next,
        }
    }

    fn ended(&self, step: Step) -> usize {
        self.ended[step as usize]
    }

    fn begun(&self, step: Step) -> usize {
        self.begun[step as usize]
    }

    /// `step` of iteration `nth` if `ready`; once there is no such iteration, nothing.
    fn run_if(&self, ready: bool, step: Step, nth: usize) -> Next {
        if ready || nth >= self.end {
            Next::Run(step, nth)
        } else {
            Next::Wait
        }
    }

    fn next_of_sampler(&self) -> Next {
        let nth = self.ended(Step::Sample);
        let room = nth - self.begun(Step::Features) < self.depth;
        self.run_if(room, Step::Sample, nth)
    }

    /// `taken`: the step that takes a batch from the fetcher.
    fn next_features(&self, taken: Step) -> Next {
        let nth = self.ended(Step::Features);
        let room = nth - self.begun(taken) < self.depth;
        let ready = room && self.ended(Step::Sample) > nth;
        self.run_if(ready, Step::Features, nth)
    }

    fn next_of_fetcher(&mut self, now: Duration) -> Next {
        let gathered = self.ended(Step::Gather);
        if self.ended(Step::Send) < gathered {
            return Next::Run(Step::Send, self.ended(Step::Send));
        }
        if gathered < self.ended(Step::Features) {
            if self.scheduler.freshest() && gathered < self.end {
                return self.next_freshest(gathered, now);
            }
            let ready = gathered < self.end && self.ended(Step::Apply) == self.next_version();
            return self.run_if(ready, Step::Gather, gathered);
        }
        self.next_features(Step::Upload)
    }

    /// Iteration `nth` is the next to gather, and reads the newest memory as late as it may.
    fn next_freshest(&mut self, nth: usize, now: Duration) -> Next {
        let applied = self.ended(Step::Apply);
        // Neither while an update is being written.
        if applied < self.next_version() || applied < self.begun(Step::Apply) {
            return Next::Wait;
        }
        match self.latest_read(nth) {
            Some(Latest::At(time)) if time > now => Next::Until(time),
            Some(Latest::Unknown) => Next::Wait,
            _ => Next::Run(Step::Gather, nth),
        }
    }

    /// When the memory of iteration `nth` should begin to be read for the device not to wait for it;
    /// `None` for at once.
    fn latest_read(&self, nth: usize) -> Option<Latest> {
        if self.queued {
            let received = self.received.back()?;
            let ahead = nth + 1 - self.ended(Step::Receive);
            let after = self.scheduler.read_after_end(ahead)?;
            return Some(Latest::At(received.end + after));
        }
        if nth == self.unapplied {
            return None;
        }
        let after = self.scheduler.read_after_begin()?;
        Some(match self.begun(Step::Upload) == nth {
            true => Latest::At(self.device_began + after),
            false => Latest::Unknown,
        })
    }

    fn next_of_device(&self) -> Next {
        let steps = match self.early {
            true => &[Step::Upload, Step::Begin, Step::ReadBack, Step::Finish][..],
            false => &[Step::Upload, Step::Train, Step::ReadBack][..],
        };
        // The first step that is behind the one before it.
        for pair in steps.windows(2) {
            if self.ended(pair[1]) < self.ended(pair[0]) {
                return Next::Run(pair[1], self.ended(pair[1]));
            }
        }
        let nth = self.ended(Step::Upload);
        self.run_if(self.ended(Step::Send) > nth, Step::Upload, nth)
    }

    fn next_of_device_with_memory(&mut self) -> Next {
        let nth = self.ended(Step::Gather);
        let applied = self.ended(Step::Apply);
        if self.ended(Step::Train) < nth {
            return Next::Run(Step::Train, self.ended(Step::Train));
        }
        if nth >= self.end {
            return match self.pausing {
                true => Next::Over,
                false => Next::Run(Step::Apply, applied),
            };
        }
        if applied < self.next_version() {
            return Next::Run(Step::Apply, applied);
        }
        self.run_if(self.ended(Step::Features) > nth, Step::Gather, nth)
    }

    /// It waits for the device, on a thread of its own: an update that may be written meanwhile must
    /// not wait behind that.
    fn next_of_receiver(&self) -> Next {
        let nth = self.ended(Step::Receive);
        self.run_if(self.ended(Step::ReadBack) > nth, Step::Receive, nth)
    }

    fn next_of_updater(&mut self) -> Next {
        let (nth, gathered) = (self.ended(Step::Apply), self.ended(Step::Gather));
        if self.pausing && gathered >= self.end {
            return Next::Over;
        }
        // Also after a stop, when what is being gathered will not be used.
        let quiet = self.begun(Step::Gather) == gathered;
        let ready = self.ended(Step::Receive) > nth
            && quiet
            && (gathered >= self.end || self.scheduler.freshest() || self.next_version() > nth);
        self.run_if(ready, Step::Apply, nth)
    }

    /// Updates that the next iteration to gather sees, at least.
    fn next_version(&mut self) -> usize {
        let nth = self.ended(Step::Gather);
        if self.reads.len() == nth {
            self.reads.push(self.scheduler.read_point(nth));
        }
        self.reads[nth].version
    }

    /// `lane` begins what [`next`](Self::next) said.
    pub(crate) fn begin(&mut self, lane: Lane, step: Step, now: Duration) {
        let nth = self.begun[step as usize];
        self.begun[step as usize] += 1;
        let first = match self.memory {
            Residency::Host => Step::Upload,
            Residency::Device => Step::Gather,
        };
        if step == first {
            self.scheduler.observe_begin(now);
            self.device_began = now;
        }
        if step == Step::Gather && self.scheduler.freshest() {
            let version = self.ended(Step::Apply);
            let read = &mut self.reads[nth];
            (read.version, read.k) = (version, nth + 1 - version);
        }
        if let LaneState::Idle { since } = self.lanes[lane as usize]
            && lane == Lane::Device
        {
            // The first iteration can't be waited for: nothing could run before it.
            let waited = if nth == self.unapplied {
                Duration::ZERO
            } else {
                now - since
            };
            if self.stalls.len() <= nth {
                self.stalls.resize(nth + 1, Duration::ZERO);
            }
            self.stalls[nth] += waited;
        }
        self.lanes[lane as usize] = LaneState::Busy { began: now };
    }

    /// `lane` has ended what it began, and moved this many bytes.
    pub(crate) fn end(&mut self, lane: Lane, step: Step, now: Duration, bytes: u64) {
        let nth = self.ended[step as usize];
        self.ended[step as usize] += 1;
        let began = match self.lanes[lane as usize] {
            LaneState::Busy { began } => began,
            LaneState::Idle { since } => since,
        };
        self.lanes[lane as usize] = LaneState::Idle { since: now };
        self.scheduler.observe(step, now - began);
        self.record.times.add(step.stage(), now - began);
        if step == Step::Begin {
            self.record.updater += now - began;
        }
        if nth < self.unapplied + self.traced {
            self.record.spans.push(Span {
                lane,
                step,
                iteration: self.first + nth,
                begin: began,
                end: now,
                bytes,
            });
        }
        if step == Step::Receive {
            self.received.push_back(began..now);
            if self.received.len() > KEPT_RECEIVES {
                self.received.pop_front();
            }
            self.observe_queue();
        }
    }

    /// The device has a queue, whose times will be told.
    pub(crate) fn expect_queue(&mut self) {
        self.queued = true;
        self.scheduler.expect_queue();
    }

    /// What the device's queue did for an iteration; in their order, but not for all.
    pub(crate) fn device_ran(&mut self, ran: QueueIteration) {
        let nth = ran.iteration.saturating_sub(self.first);
        self.record
            .add_queue(&ran, nth < self.unapplied + self.traced);
        self.device_ran.push_back(ran);
        self.observe_queue();
    }

    /// Tells the scheduler of the iterations that are through.
    fn observe_queue(&mut self) {
        let received = self.ended(Step::Receive);
        while let Some(ran) = self.device_ran.front() {
            let nth = ran.iteration.saturating_sub(self.first);
            let on_host = self.memory == Residency::Host;
            if on_host && nth >= received {
                return;
            }
            let at = (self.received.len() + nth).checked_sub(received);
            let taken = at.and_then(|at| self.received.get(at)).cloned();
            // Of one that was received too long ago nothing can be said any more.
            if !on_host || taken.is_some() {
                self.scheduler.observe_queue(ran, taken);
            }
            self.device_ran.pop_front();
        }
    }

    /// The run ends after its iteration `nth`.
    pub(crate) fn stop_after(&mut self, nth: usize) {
        self.end = self.end.min(nth + 1);
    }

    /// The run pauses after its iteration `nth`, or later: after the last one that has begun to
    /// read memory, here or wherever else the same iterations run.
    pub(crate) fn pause_after(&mut self, nth: usize) {
        let begun = self.begun(Step::Gather).saturating_sub(1);
        let last = self.scheduler.read_at_most(nth).unwrap_or(begun);
        self.stop_after(nth.max(last));
        self.pausing = true;
    }

    /// What happened.
    pub(crate) fn finish(mut self) -> Record {
        let trained = self.ended(Step::Train).max(self.ended(Step::Finish));
        let epoch = self.scheduler.epoch();
        let reads = self.reads.into_iter().take(trained).enumerate();
        let reads = reads.skip(self.unapplied);
        self.record.ledger = reads
            .map(|(nth, read)| {
                let stall = self.stalls.get(nth);
                let (iteration, version) = (self.first + nth, self.first + read.version);
                LedgerLine {
                    stall_us: stall.map_or(0, |time| time.as_micros() as u64),
                    decision: read.decision,
                    ..LedgerLine::new(epoch, iteration, read.k, version)
                }
            })
            .collect();
        self.record.sort_spans();
        self.record
    }
}
