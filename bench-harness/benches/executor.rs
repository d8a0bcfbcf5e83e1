//! The executor of the pipeline with stages that only sleep, against the period that the
//! schedule predicts. What is lost is what the executor and the system's timers cost.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, Result};
use mspipe::pipeline::clock::WallClock;
use mspipe::pipeline::executor::Executor;
use mspipe::pipeline::profile::{Profile, Residency};
use mspipe::pipeline::schedule::Schedule;
use mspipe::what_if::sleeping::Sleeper;

use crate::suite::{Limit, Prepared, Suite};

/// Milliseconds of sample, fetch_features, fetch_memory, train, update_memory: training is
/// the bottleneck.
const STAGES_MS: [u64; 5] = [2, 1, 1, 5, 1];

/// Iterations of a run at least: periods are those of its last half.
const ITERATIONS: u64 = 40;

pub(crate) fn measure(suite: &mut Suite) -> Result<()> {
    for schedule in Schedule::COMPARED {
        suite.bench("executor", &schedule.to_string().replace(':', " "), |_| {
            prepare(schedule)
        })?;
    }
    Ok(())
}

/// As in a run on a device that memory has to be sent to.
fn prepare(schedule: Schedule) -> Result<Prepared> {
    let memory = Residency::Host;
    let profile = Profile::with_usual_updater(STAGES_MS.map(Duration::from_millis));
    let period = schedule.period(&profile, memory).context("a replay")?;
    Ok(Prepared {
        run: Box::new(move |times| {
            let iterations = times.max(ITERATIONS) as usize;
            let sleeper = Sleeper {
                profile,
                memory,
                failure: None,
            };
            let executor = Executor {
                queue_depth: NonZeroUsize::MIN.saturating_add(1),
                traced: iterations,
                clock: &WallClock::start(),
                queue: None,
            };
            let record = sleeper.run(&executor, schedule.clone(), iterations)?;
            let period = record.period().context("too few iterations")?;
            Ok(period.mul_f64(times as f64))
        }),
        work: None,
        items: Some(("iterations", 1.0)),
        bound: Limit::Seconds(
            "predicted period",
            Box::new(move || Ok(period.as_secs_f64())),
        ),
    })
}
