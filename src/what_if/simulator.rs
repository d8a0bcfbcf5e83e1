//! Replays a stage profile by the rules of [`crate::pipeline::flow`]: when each step of each iteration
//! begins and ends if every stage takes exactly its time.
//!
//! Invariant: exact, in whole nanoseconds; the same rules as the executor's, not a model of
//! them. Read points, write points, uploads and the start of a read-back take no time: their
//! share of a profile is part of the transfer or of `train`.
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

/// How long a step takes.
pub fn step_time(profile: &Profile, memory: Residency, step: Step) -> Duration {
    let on_device = memory == Residency::Device;
    match step {
        Step::Sample => profile.of(Stage::Sample),
        Step::Features => profile.of(Stage::FetchFeatures),
        Step::Gather if on_device => profile.of(Stage::FetchMemory),
        Step::Send => profile.of(Stage::FetchMemory),
        Step::Train => profile.of(Stage::Train),
        Step::Begin => profile.updater(),
        Step::Finish => profile.of(Stage::Train) - profile.updater(),
        Step::Receive => profile.of(Stage::UpdateMemory),
        Step::Apply if on_device => profile.of(Stage::UpdateMemory),
        Step::Gather | Step::Upload | Step::ReadBack | Step::Apply => Duration::ZERO,
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
    if *scheduler.schedule() == Schedule::Sequential {
        return Ok(one_after_the_other(profile, iterations, EPOCH));
    }
    let memory = scheduler.memory();
    let mut now = Duration::ZERO;
    let mut flow = Flow::new(scheduler, 0, iterations, queue_depth, iterations, now);
    let mut busy: [Option<(Step, Duration)>; 4] = [None; 4];
    loop {
        let mut changed = true;
        while changed {
            changed = false;
            for lane in Lane::ALL {
                let slot = &mut busy[lane as usize];
                if slot.is_none()
                    && let Next::Run(step, _) = flow.next(lane)
                {
                    flow.begin(lane, step, now);
                    *slot = Some((step, now + step_time(profile, memory, step)));
                    changed = true;
                }
                if let Some((step, _)) = slot.take_if(|(_, end)| *end <= now) {
                    flow.end(lane, step, now, 0);
                    changed = true;
                }
            }
        }
        match busy.iter().flatten().map(|(_, end)| *end).min() {
            Some(end) => now = end,
            None => break,
        }
    }
    Ok(flow.finish())
}

fn one_after_the_other(profile: &Profile, iterations: usize, epoch: u64) -> Record {
    let mut record = Record::default();
    let mut begin = Duration::ZERO;
    for iteration in 0..iterations {
        for stage in Stage::ALL {
            let end = begin + profile.of(stage);
            let span = Span {
                lane: Lane::Device,
                step: Step::whole(stage),
                iteration,
                begin,
                end,
                bytes: 0,
            };
            record.add_in_turn(epoch, span, true);
            begin = end;
        }
    }
    record
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
