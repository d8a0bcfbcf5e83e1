//! Stage times, and what follows from them: periods and the smallest staleness.
//!
//! The timing model. With memory on the host the sampler, the fetcher (stages 2 and 3 in turn, since
//! both need the bus), the device, the receiver and the updater work side by side; with memory on the
//! device, stages 3 to 5 share the device. The device is one of two kinds:
//!
//! * one whose thread does the work itself (the CPU). The period with memory on the host is then
//!   max(τ1, τ2+τ3, τ4, τ5, (τ3+τ4+τ5)/k), with the updater's part υ of τ4 in place of τ4 in the last
//!   term where memory is written early; on the device it is max(τ1, τ2, τ3+τ4+τ5), whatever k is;
//! * one with a **queue** (a GPU): its thread only encodes, in some submissions, and the device works
//!   through them, copies and kernels in turn. Encoding and working are two lanes that overlap, so
//!   the way through both is shorter than their sum: each submission begins when it has been encoded
//!   and the one before it has ended.
//!
//! [`Cycle`] has what both come down to. The smallest k is at most 3 on the first kind, since the
//! busiest lane is at least as long as each part of the round trip, and 4 on the second.
//!
//! Invariant: pure arithmetic. Read and write points count as instants; queues need only be
//! one deep. Source: MSPipe, section 3.2; the general form is checked against
//! [`crate::what_if::simulator`] by tests/schedule.rs and src/what_if/queued_device/tests.rs.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::Stage;
use super::cycle::Cycle;
use super::link::{QuantityError, parse_time};
pub use super::residency::Residency;
use super::step::{Lane, Step};

/// Share of the bottleneck that a period may exceed it by before k is raised; stage times
/// are measured, and at a boundary their noise must not move k.
pub const MEASURING_SLACK: f64 = 0.02;

/// Part of `train` up to the updated memory where a profile doesn't say.
const DEFAULT_UPDATER_SHARE: f64 = 0.2;

/// Submissions of `train` where a profile with a queue doesn't say: cubecl submits every 64 launches,
/// and TGN has about 110.
const DEFAULT_SUBMISSIONS: u32 = 2;

/// A device that works behind a queue, while the host encodes what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Time of the device's thread to encode `train`.
    pub encode: Duration,
    /// Submissions that `train` comes in, at least 1; the device begins with the first.
    pub submissions: u32,
    /// Time in the queue to copy what an iteration reads to the device.
    pub up: Duration,
    /// Time in the queue to copy its updated rows back.
    pub down: Duration,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            encode: Duration::ZERO,
            submissions: DEFAULT_SUBMISSIONS,
            up: Duration::ZERO,
            down: Duration::ZERO,
        }
    }
}

/// What one step takes the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceStep {
    /// Time of its thread.
    pub encode: Duration,
    /// Time in its queue; zero if it has none.
    pub work: Duration,
    /// Submissions that both come in, in equal parts, at least 1.
    pub submissions: u32,
}

impl DeviceStep {
    /// When its work ends, if its thread begins at `now` and the queue is free at `free`: each
    /// submission has to be encoded before, and waits for the one before it.
    pub fn work_ends(&self, now: Duration, free: Duration) -> Duration {
        let parts = self.submissions.max(1);
        // Whole ones of each time, so that the parts add up to exactly that.
        let part = |time: Duration, nth: u32| time * nth / parts;
        (1..=parts).fold(free, |free, nth| {
            let work = part(self.work, nth) - part(self.work, nth - 1);
            free.max(now + part(self.encode, nth)) + work
        })
    }
}

/// Time of each stage of one iteration; reads `sample=3,fetch_features=2ms,…`, and for a device with
/// a queue `…,encode=2,submissions=4,up=0.5,down=0.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    times: [Duration; 5],
    updater: Duration,
    queue: Option<Queue>,
}

impl Profile {
    /// From the time of each stage, in the order of [`Stage::ALL`], and the part of `train`
    /// after which the updated memory is known (at most all of it).
    pub fn new(times: [Duration; 5], updater: Duration) -> Profile {
        Profile {
            times,
            updater: updater.min(times[Stage::Train as usize]),
            queue: None,
        }
    }

    /// From the time of each stage; the updater is taken to need a fifth of `train`.
    pub fn with_usual_updater(times: [Duration; 5]) -> Profile {
        let train = times[Stage::Train as usize];
        Profile::new(times, train.mul_f64(DEFAULT_UPDATER_SHARE))
    }

    /// The same on a device with a queue: the time of `train`, and of the stages that move memory on
    /// the device, is then that of the queue.
    pub fn with_queue(mut self, queue: Queue) -> Profile {
        self.queue = Some(queue);
        self
    }

    /// Time of a stage.
    pub fn of(&self, stage: Stage) -> Duration {
        self.times[stage as usize]
    }

    /// The same with another time for a stage other than `train`.
    pub fn with(mut self, stage: Stage, time: Duration) -> Profile {
        self.times[stage as usize] = time;
        self.updater = self.updater.min(self.of(Stage::Train));
        self
    }

    /// The same with training that goes on for longer behind the updated memory.
    pub(crate) fn with_longer_training(mut self, time: Duration) -> Profile {
        self.times[Stage::Train as usize] += time;
        self
    }

    /// Time from the beginning of `train` until the updated memory is known.
    pub fn updater(&self) -> Duration {
        self.updater
    }

    /// The device's queue, if it has one.
    pub fn queue(&self) -> Option<&Queue> {
        self.queue.as_ref()
    }

    /// What a step takes the device, with memory at `memory`; nothing if it is none of its steps.
    pub fn device_step(&self, memory: Residency, step: Step) -> DeviceStep {
        let train = self.of(Stage::Train);
        let time = match (step, memory) {
            (Step::Train, _) => train,
            (Step::Begin, _) => self.updater,
            (Step::Finish, _) => train - self.updater,
            (Step::Gather, Residency::Device) => self.of(Stage::FetchMemory),
            (Step::Apply, Residency::Device) => self.of(Stage::UpdateMemory),
            _ => Duration::ZERO,
        };
        let Some(queue) = &self.queue else {
            return DeviceStep {
                encode: time,
                work: Duration::ZERO,
                submissions: 1,
            };
        };
        let begin = match train.is_zero() {
            true => Duration::ZERO,
            false => queue
                .encode
                .mul_f64(self.updater.as_secs_f64() / train.as_secs_f64()),
        };
        let (encode, copies) = match step {
            Step::Train => (queue.encode, Duration::ZERO),
            Step::Begin => (begin, Duration::ZERO),
            Step::Finish => (queue.encode.saturating_sub(begin), Duration::ZERO),
            Step::Gather if memory == Residency::Device => (Duration::ZERO, queue.up),
            Step::Upload => (Duration::ZERO, queue.up),
            Step::ReadBack => (Duration::ZERO, queue.down),
            _ => (Duration::ZERO, Duration::ZERO),
        };
        DeviceStep {
            encode,
            work: time + copies,
            submissions: match step.stage() {
                Stage::Train => queue.submissions,
                _ => 1,
            },
        }
    }

    /// The device's steps, in its order.
    fn device_steps(
        &self,
        memory: Residency,
        early: bool,
    ) -> impl Iterator<Item = (Step, DeviceStep)> {
        let steps = Step::of(memory, early).iter();
        steps
            .filter(move |step| step.lane(memory) == Lane::Device)
            .map(move |step| (*step, self.device_step(memory, *step)))
    }

    /// The time that an iteration takes each lane.
    pub fn lanes(&self, memory: Residency) -> Vec<(Lane, Duration)> {
        let [sample, features, fetch, _, update] = self.times;
        let steps = || self.device_steps(memory, false);
        let mut lanes = vec![
            (Lane::Sampler, sample),
            (Lane::Fetcher, features),
            (Lane::Device, steps().map(|(_, step)| step.encode).sum()),
            // One queue: copies and kernels take turns.
            (Lane::Gpu, steps().map(|(_, step)| step.work).sum()),
        ];
        if memory == Residency::Host {
            lanes[1].1 += fetch;
            lanes.push((Lane::Receiver, update));
        }
        lanes
    }

    /// The way through the device on idle lanes: from the beginning of its first step until the updated
    /// rows are on the host, and until all of training has ended.
    fn device_ways(&self, early: bool) -> [Duration; 2] {
        let (mut now, mut free) = (Duration::ZERO, Duration::ZERO);
        let mut back = Duration::ZERO;
        for (step, takes) in self.device_steps(Residency::Host, early) {
            free = takes.work_ends(now, free);
            now += takes.encode;
            if step == Step::ReadBack {
                back = free;
            }
        }
        [back, free]
    }

    /// What bounds the period of iterations that overlap; `early`: memory is written back right after
    /// the updater's forward.
    pub fn cycle(&self, memory: Residency, early: bool) -> Cycle {
        let lanes = self.lanes(memory);
        if memory == Residency::Device {
            return Cycle::new(&lanes, [Duration::ZERO; 2]);
        }
        let [back, trained] = self.device_ways(early);
        let transfers = self.of(Stage::FetchMemory) + self.of(Stage::UpdateMemory);
        // The next iteration's rows come back behind all of this one's training.
        let behind = self.device_steps(memory, early);
        let behind = behind.filter(|(step, _)| *step != Step::Finish);
        let behind: Duration = behind.map(|(_, step)| step.work).sum();
        let next = match early {
            true => transfers + trained + behind,
            false => Duration::ZERO,
        };
        Cycle::new(&lanes, [transfers + back, next])
    }

    /// Time of an iteration where each one begins when the one before it has ended.
    pub fn in_turn(&self, memory: Residency) -> Duration {
        let before = self.of(Stage::Sample) + self.of(Stage::FetchFeatures);
        match memory {
            Residency::Host => before + self.cycle(memory, false).round_trip,
            // Nobody waits for the queue, which works on while the next iteration is sampled.
            Residency::Device => {
                let encode = self
                    .device_steps(memory, false)
                    .map(|(_, step)| step.encode);
                let work = self.device_steps(memory, false).map(|(_, step)| step.work);
                (before + encode.sum::<Duration>()).max(work.sum())
            }
        }
    }

    /// The time below which no schedule gets: that of the busiest lane.
    pub fn bottleneck(&self, memory: Residency) -> Duration {
        self.cycle(memory, false).busiest
    }

    /// Time of an iteration with staleness `k` (at least 1) when everything overlaps;
    /// `early`: memory is written back right after the updater's forward.
    pub fn period(&self, memory: Residency, early: bool, k: usize) -> Duration {
        self.cycle(memory, early).period(k)
    }

    /// The smallest staleness whose period exceeds the bottleneck by at most the share
    /// `slack` of it.
    pub fn minimal_staleness(&self, memory: Residency, early: bool, slack: f64) -> usize {
        self.cycle(memory, early).minimal_staleness(slack)
    }

    /// Whether training is the bottleneck with memory on the host.
    pub fn training_bound(&self) -> bool {
        self.bottleneck(Residency::Host) == self.of(Stage::Train)
    }
}

/// Why a profile can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// No `=`.
    #[error("found '{0}', expected STAGE=TIME such as train=10ms")]
    NoTime(String),
    /// A name that is no stage.
    #[error(
        "there is no stage '{0}'; stages are sample, fetch_features, fetch_memory, train, update_memory, and updater for the part of train after which the updated memory is known; a device with a queue has encode, submissions, up and down"
    )]
    UnknownStage(String),
    /// A stage twice.
    #[error("stage {0} has two times; give one")]
    Twice(String),
    /// A stage without a time.
    #[error("stage {0} has no time; give all five, 0 for one that costs nothing")]
    Missing(Stage),
    /// A time that is none.
    #[error("stage {stage}: {error}")]
    Time {
        /// The stage.
        stage: String,
        /// What is wrong with its time.
        error: QuantityError,
    },
    /// A part of a queue without `encode`, which says that there is one.
    #[error("{0} is of a device with a queue; give encode=TIME too, the host's part of train")]
    NoQueue(&'static str),
    /// No number of submissions.
    #[error("submissions: found '{0}', expected a number of 1 to 1000")]
    Submissions(String),
    /// Longer than `train`.
    #[error("updater={0:?} is longer than train={1:?}, of which it is a part")]
    Updater(Duration, Duration),
}

/// The parts of a profile's text that are no stages.
#[derive(Default)]
struct Rest {
    updater: Option<Duration>,
    encode: Option<Duration>,
    up: Option<Duration>,
    down: Option<Duration>,
    submissions: Option<u32>,
}

impl Rest {
    fn submissions(&mut self, text: &str) -> Result<(), ProfileError> {
        let wrong = || ProfileError::Submissions(text.to_owned());
        let number = text.parse().map_err(|_| wrong())?;
        if !(1..=1000).contains(&number) {
            return Err(wrong());
        }
        match self.submissions.replace(number) {
            Some(_) => Err(ProfileError::Twice("submissions".to_owned())),
            None => Ok(()),
        }
    }

    fn time(&mut self, name: &str) -> Option<&mut Option<Duration>> {
        Some(match name {
            "updater" => &mut self.updater,
            "encode" => &mut self.encode,
            "up" => &mut self.up,
            "down" => &mut self.down,
            _ => return None,
        })
    }

    fn queue(&self) -> Result<Option<Queue>, ProfileError> {
        let given = [
            ("submissions", self.submissions.is_some()),
            ("up", self.up.is_some()),
            ("down", self.down.is_some()),
        ];
        match (self.encode, given.iter().find(|(_, given)| *given)) {
            (None, Some((name, _))) => Err(ProfileError::NoQueue(name)),
            (None, None) => Ok(None),
            (Some(encode), _) => Ok(Some(Queue {
                encode,
                submissions: self.submissions.unwrap_or(DEFAULT_SUBMISSIONS),
                up: self.up.unwrap_or_default(),
                down: self.down.unwrap_or_default(),
            })),
        }
    }
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Profile, ProfileError> {
        let mut times: [Option<Duration>; 5] = [None; 5];
        let mut rest = Rest::default();
        for entry in text.split(',') {
            let (name, time) = entry
                .split_once('=')
                .ok_or_else(|| ProfileError::NoTime(entry.to_owned()))?;
            let name = name.trim();
            if name == "submissions" {
                rest.submissions(time.trim())?;
                continue;
            }
            let slot = match Stage::ALL.into_iter().find(|stage| stage.name() == name) {
                Some(stage) => &mut times[stage as usize],
                None => rest
                    .time(name)
                    .ok_or_else(|| ProfileError::UnknownStage(name.to_owned()))?,
            };
            let time = parse_time(time).map_err(|error| ProfileError::Time {
                stage: name.to_owned(),
                error,
            })?;
            if slot.replace(time).is_some() {
                return Err(ProfileError::Twice(name.to_owned()));
            }
        }
        let mut all = [Duration::ZERO; 5];
        for stage in Stage::ALL {
            all[stage as usize] = times[stage as usize].ok_or(ProfileError::Missing(stage))?;
        }
        let train = all[Stage::Train as usize];
        let profile = match rest.updater {
            Some(updater) if updater > train => return Err(ProfileError::Updater(updater, train)),
            Some(updater) => Profile::new(all, updater),
            None => Profile::with_usual_updater(all),
        };
        let queue = rest.queue()?;
        Ok(queue.map_or(profile, |queue| profile.with_queue(queue)))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in Stage::ALL {
            write!(f, "{stage}={:?},", self.of(stage))?;
        }
        write!(f, "updater={:?}", self.updater)?;
        if let Some(Queue {
            encode,
            submissions,
            up,
            down,
        }) = self.queue
        {
            write!(
                f,
                ",encode={encode:?},submissions={submissions},up={up:?},down={down:?}"
            )?;
        }
        Ok(())
    }
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stages = Stage::ALL.map(|stage| (stage.name(), self.of(stage).as_secs_f64()));
        let updater = ("updater", self.updater.as_secs_f64());
        let queue = self.queue.map(|queue| {
            [
                ("encode", queue.encode.as_secs_f64()),
                ("submissions", f64::from(queue.submissions)),
                ("up", queue.up.as_secs_f64()),
                ("down", queue.down.as_secs_f64()),
            ]
        });
        let all = stages.into_iter().chain([updater]);
        serializer.collect_map(all.chain(queue.into_iter().flatten()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> Profile {
        text.parse().unwrap()
    }

    #[test]
    fn the_papers_regime() {
        let p =
            profile("sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2,updater=3");
        assert!(p.training_bound());
        assert_eq!(p.in_turn(Residency::Host), Duration::from_millis(19));
        assert_eq!(p.in_turn(Residency::Device), Duration::from_millis(19));
        assert_eq!(p.minimal_staleness(Residency::Host, false, 0.0), 2);
        assert_eq!(p.minimal_staleness(Residency::Host, true, 0.0), 1);
        assert_eq!(
            p.period(Residency::Host, false, 1),
            Duration::from_millis(14)
        );
        assert_eq!(
            p.period(Residency::Host, false, 2),
            Duration::from_millis(10)
        );
        assert_eq!(
            p.period(Residency::Host, true, 1),
            Duration::from_millis(10)
        );
        assert_eq!(
            p.period(Residency::Device, false, 2),
            Duration::from_millis(14)
        );
    }

    /// Encoding overlaps the device, so the round trip is not the sum; copies and kernels take turns.
    #[test]
    fn a_queue_makes_two_lanes_of_the_device() {
        let p = profile(
            "sample=1,fetch_features=0.5,fetch_memory=1,train=2.5,update_memory=0.2,updater=0.5,\
             encode=2,submissions=4,up=0.1,down=0.1",
        );
        let us = Duration::from_micros;
        let cycle = p.cycle(Residency::Host, false);
        assert_eq!((cycle.lane, cycle.busiest), (Lane::Gpu, us(2_700)));
        // 1 ms to gather, 0.5 for the first submission, 2.5 on the device, 0.1 back, 0.2 to write.
        assert_eq!(cycle.round_trip, us(4_300));
        assert_eq!(cycle.minimal_staleness(0.0), 2);
        // Early: a quarter of 0.4 ms, then 0.5 on the device and 0.1 back.
        let early = p.cycle(Residency::Host, true);
        assert_eq!(early.round_trip, us(1_000 + 100 + 500 + 100 + 200));
        assert_eq!(early.minimal_staleness(0.0), 1);
        assert_eq!(p.in_turn(Residency::Host), us(1_500 + 4_300));
        assert_eq!(p.in_turn(Residency::Device), us(2_500 + 1_200 + 100));
        assert_eq!(
            p.period(Residency::Device, false, 1),
            us(2_500 + 1_200 + 100)
        );
    }

    #[test]
    fn nothing_costs_nothing() {
        let p = profile("sample=0,fetch_features=0,fetch_memory=0,train=0,update_memory=0");
        assert_eq!(p.minimal_staleness(Residency::Host, false, 0.0), 1);
        assert_eq!(p.period(Residency::Host, false, 1), Duration::ZERO);
    }

    #[test]
    fn reads_what_it_prints() {
        let p = profile("sample=3,fetch_features=2us,fetch_memory=2,train=1.5s,update_memory=2");
        assert_eq!(profile(&p.to_string()), p);
        assert_eq!(p.updater(), Duration::from_millis(300));
        let queued = profile(&format!("{p},encode=2,down=1ms"));
        assert_eq!(queued.queue().map(|queue| queue.submissions), Some(2));
        assert_eq!(profile(&queued.to_string()), queued);
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text: &str| text.parse::<Profile>().unwrap_err().to_string();
        assert!(error("sample=3").contains("stage fetch_features has no time"));
        assert!(error("sample").contains("expected STAGE=TIME"));
        assert!(error("trian=3").contains("no stage 'trian'"));
        assert!(error("sample=3,sample=4").contains("two times"));
        assert!(error("sample=3h").starts_with("stage sample: found '3h'"));
        let all = "sample=0,fetch_features=0,fetch_memory=0,train=1,update_memory=0";
        assert!(error(&format!("{all},down=1")).contains("give encode=TIME too"));
        assert!(error(&format!("{all},encode=1,submissions=0")).contains("found '0'"));
        assert!(
            error("sample=0,fetch_features=0,fetch_memory=0,train=1,update_memory=0,updater=2")
                .contains("longer than train")
        );
    }
}
