//! Replays a stage profile by the rules of [`crate::pipeline::flow`]: when each step of each iteration
//! begins and ends if every stage takes exactly its time.
//!
//! Invariant: exact, in whole nanoseconds; the same rules as the executor's, not a model of
//! them. Read points, write points, uploads and the start of a read-back take no time: their
//! share of a profile is part of the transfer or of `train`. A device with a queue works by
//! [`super::queued_device`].
//! It does not know jitter, nor that threads share cores.

use std::time::Duration;

use crate::pipeline::Stage;
use crate::pipeline::flow::{Flow, Next};
use crate::pipeline::ledger::ReplayError;
use crate::pipeline::profile::{Profile, Residency};
use crate::pipeline::schedule::Schedule;
use crate::pipeline::scheduler::Scheduler;
use crate::pipeline::step::{Lane, Step};
use crate::pipeline::trace::{Record, Span};
use crate::what_if::queued_device::QueuedDevice;

/// How long a step takes its thread; of `Receive`, once the rows are on the host.
pub fn step_time(profile: &Profile, memory: Residency, step: Step) -> Duration {
    match step {
        Step::Sample => profile.of(Stage::Sample),
        Step::Features => profile.of(Stage::FetchFeatures),
        Step::Send => profile.of(Stage::FetchMemory),
        Step::Receive => profile.of(Stage::UpdateMemory),
        step => profile.device_step(memory, step).encode,
    }
}

/// Runs `iterations` of epoch 1 on a simulated clock; all spans are kept.
///
/// # Errors
/// When the scheduler replays a ledger that doesn't have them.
pub fn simulate(
    profile: &Profile,
    scheduler: &mut Scheduler,
    queue_depth: usize,
    iterations: usize,
) -> Result<Record, ReplayError> {
    const EPOCH: u64 = 1;
    scheduler.begin(EPOCH, 0..iterations)?;
    let mut run = Simulated {
        profile,
        memory: scheduler.memory(),
        device: profile
            .queue()
            .map(|_| QueuedDevice::new(*profile, scheduler.memory(), scheduler.early())),
        now: Duration::ZERO,
    };
    if *scheduler.schedule() == Schedule::Sequential {
        return Ok(run.one_after_the_other(iterations, EPOCH));
    }
    let mut flow = Flow::new(scheduler, 0, iterations, queue_depth, iterations, run.now);
    if run.device.is_some() {
        flow.expect_queue();
    }
    run.overlapping(&mut flow);
    Ok(flow.finish())
}

/// A run on a simulated clock.
struct Simulated<'p> {
    profile: &'p Profile,
    memory: Residency,
    /// The device, if it has a queue.
    device: Option<QueuedDevice>,
    now: Duration,
}

impl Simulated<'_> {
    /// When a step that begins now ends for its thread.
    fn end_of(&mut self, step: Step, iteration: usize) -> Duration {
        let mut begin = self.now;
        if let Some(device) = &mut self.device {
            match step {
                Step::Receive => begin = begin.max(device.next_ready()),
                step if step.lane(self.memory) == Lane::Device => {
                    device.begin(step, iteration, self.now);
                }
                _ => {}
            }
        }
        begin + step_time(self.profile, self.memory, step)
    }

    fn overlapping(&mut self, flow: &mut Flow<'_>) {
        let mut busy: [Option<(Step, Duration)>; Lane::ALL.len()] = Default::default();
        let mut awake: [Option<Duration>; Lane::ALL.len()] = Default::default();
        loop {
            let mut changed = true;
            while changed {
                changed = false;
                while let Some(ran) = self.device.as_mut().and_then(|d| d.through(self.now)) {
                    flow.device_ran(ran);
                }
                for lane in Lane::ALL {
                    let slot = &mut busy[lane as usize];
                    awake[lane as usize] = None;
                    if slot.is_none() {
                        match flow.next(lane, self.now) {
                            Next::Run(step, nth) => {
                                flow.begin(lane, step, self.now);
                                *slot = Some((step, self.end_of(step, nth)));
                                changed = true;
                            }
                            Next::Until(time) => awake[lane as usize] = Some(time),
                            Next::Wait | Next::Over => {}
                        }
                    }
                    if let Some((step, _)) = slot.take_if(|(_, end)| *end <= self.now) {
                        flow.end(lane, step, self.now, 0);
                        changed = true;
                    }
                }
            }
            let ends = busy.iter().flatten().map(|(_, end)| *end);
            match ends.chain(awake.iter().flatten().copied()).min() {
                Some(end) => self.now = end,
                None => break,
            }
        }
        while let Some(ran) = self.device.as_mut().and_then(|d| d.through(Duration::MAX)) {
            flow.device_ran(ran);
        }
    }

    /// A stage is one span of the device's thread, which waits for the rows where they go to the host.
    fn one_after_the_other(&mut self, iterations: usize, epoch: u64) -> Record {
        let mut record = Record::default();
        for iteration in 0..iterations {
            let steps = Step::of(self.memory, false);
            for of_stage in steps.chunk_by(|step, next| step.stage() == next.stage()) {
                let begin = self.now;
                for step in of_stage {
                    self.now = self.end_of(*step, iteration);
                }
                let span = Span {
                    lane: Lane::Device,
                    step: Step::whole(of_stage[0].stage()),
                    iteration,
                    begin,
                    end: self.now,
                    bytes: 0,
                };
                record.add_in_turn(epoch, span, true);
            }
        }
        let through = std::iter::from_fn(|| self.device.as_mut()?.through(Duration::MAX));
        record.add_queues(through.collect(), iterations);
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stages: &str, schedule: Schedule, memory: Residency) -> Record {
        let mut scheduler = Scheduler::new(schedule, memory).unwrap();
        simulate(&stages.parse().unwrap(), &mut scheduler, 2, 100).unwrap()
    }

    const PAPER: &str =
        "sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2,updater=4";

    #[test]
    fn the_first_iterations_by_hand() {
        let record = record(PAPER, Schedule::Staleness(2), Residency::Host);
        let spans = |step| {
            let of_step = record.spans.iter().filter(move |span| span.step == step);
            of_step.map(|span| (span.begin.as_millis(), span.end.as_millis()))
        };
        let first = |step| spans(step).take(3).collect::<Vec<_>>();
        assert_eq!(first(Step::Sample), [(0, 3), (3, 6), (6, 9)]);
        assert_eq!(first(Step::Features), [(3, 5), (7, 9), (11, 13)]);
        // The third waits for the update of the first, which ends at 19.
        assert_eq!(first(Step::Send), [(5, 7), (9, 11), (19, 21)]);
        assert_eq!(first(Step::Train), [(7, 17), (17, 27), (27, 37)]);
        assert_eq!(first(Step::Receive), [(17, 19), (27, 29), (37, 39)]);
        assert_eq!(record.stall(), Duration::ZERO);
    }

    #[test]
    fn periods_are_those_of_the_closed_form() {
        let profile: Profile = PAPER.parse().unwrap();
        for memory in [Residency::Host, Residency::Device] {
            for schedule in Schedule::COMPARED {
                let expected = schedule.period(&profile, memory);
                let record = record(PAPER, schedule.clone(), memory);
                assert_eq!(record.period(), expected, "{schedule} {memory:?}");
            }
        }
    }
}
