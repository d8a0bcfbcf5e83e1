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
use std::time::Duration;

use super::ledger::{Decision, Replay, ReplayError};
use super::profile::{Profile, Residency};
use super::schedule::{MEASURING_SLACK, Schedule};
use super::step::Step;

/// k may change at iterations that are a multiple of this.
pub const BLOCK: usize = 16;
/// Times of each step that a median is taken of.
pub(crate) const WINDOW: usize = 32;
/// Iterations at the start of a run that are not measured.
pub(crate) const DISCARDED: usize = 4;
/// Times of each step that the first choice needs.
pub(crate) const ENOUGH: usize = 8;

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

    /// The median; zero for a step that this schedule doesn't have.
    fn median(&self) -> Duration {
        let mut sorted: Vec<Duration> = self.last.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
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
    /// k of the replayed iterations of this run.
    replayed: Vec<usize>,
    k: usize,
    times: [Times; Step::COUNT],
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
            _ => 1,
        };
        Ok(Scheduler {
            schedule,
            memory,
            replay,
            replayed: Vec::new(),
            k,
            times: Default::default(),
            epoch: 0,
            first: 0,
            version: 0,
        })
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
        self.memory == Residency::Host && self.schedule.early()
    }

    /// What the run's iteration `nth` (from 0) reads; to be asked once each, in order.
    pub(super) fn read_point(&mut self, nth: usize) -> ReadPoint {
        let mut decision = None;
        if let Some(k) = self.replayed.get(nth) {
            self.k = *k;
        } else if self.schedule.online() && (self.first + nth).is_multiple_of(BLOCK) {
            decision = self.decide();
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

    /// Stage times as measured; `None` while there are too few. What a thread does for a stage
    /// counts where it keeps the thread busy: uploads are time of the device.
    pub(crate) fn measured(&self) -> Option<Profile> {
        let steps = Step::of(self.memory, self.early());
        let enough = |step: &&Step| self.times[**step as usize].last.len() >= ENOUGH;
        if steps.iter().filter(enough).count() < steps.len() {
            return None;
        }
        let time = |steps: &[Step]| -> Duration {
            steps
                .iter()
                .map(|step| self.times[*step as usize].median())
                .sum()
        };
        let known = time(&[Step::Upload, Step::Begin, Step::ReadBack]);
        let train = known + time(&[Step::Train, Step::Finish]);
        let times = [
            time(&[Step::Sample]),
            time(&[Step::Features]),
            time(&[Step::Gather, Step::Send]),
            train,
            time(&[Step::Receive, Step::Apply]),
        ];
        // A late write-back doesn't tell when the updated memory is known.
        Some(Profile::new(
            times,
            if self.early() { known } else { train },
        ))
    }

    fn decide(&mut self) -> Option<Box<Decision>> {
        let measured = self.measured()?;
        self.k = measured.minimal_staleness(self.memory, self.early(), MEASURING_SLACK);
        Some(Box::new(Decision {
            k: self.k,
            measured,
        }))
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
