//! One stage after the other: the reference executor, and the `sequential` schedule.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::executor::{Ended, Executor, Proceed, RunError, Segment};
use super::flow::{Lane, Step};
use super::ledger::LedgerLine;
use super::scheduler::Scheduler;
use super::trace::{Record, Span};
use super::{StageTimes, Stages};

/// What a stage is, of which iteration, and what it failed with.
type Failure<E> = (Step, usize, E);

/// Is told when an iteration begins, and after each step what it was and the bytes it moved.
trait Laps {
    fn iteration_begins(&mut self);
    fn step_ended(&mut self, step: Step, iteration: usize, bytes: u64);
}

/// Runs `iterations` in order and returns the time spent in each stage.
///
/// `proceed` is called after each iteration with its number; `false` ends the run there.
///
/// # Errors
/// The first error of a stage, which ends the run.
pub fn run<S: Stages>(
    stages: &mut S,
    iterations: Range<usize>,
    mut proceed: impl FnMut(&mut S, usize) -> bool,
) -> Result<StageTimes, S::Error> {
    struct Stopwatch {
        times: StageTimes,
        since: Instant,
    }
    impl Laps for Stopwatch {
        fn iteration_begins(&mut self) {
            self.since = Instant::now();
        }
        fn step_ended(&mut self, step: Step, _iteration: usize, _bytes: u64) {
            let now = Instant::now();
            self.times.add(step.stage(), now - self.since);
            self.since = now;
        }
    }
    let mut stopwatch = Stopwatch {
        times: StageTimes::default(),
        since: Instant::now(),
    };
    let go_on = |stages: &mut S, iteration| match proceed(stages, iteration) {
        true => Proceed::Go,
        false => Proceed::Stop,
    };
    run_laps(stages, iterations, &mut stopwatch, go_on).map_err(|(_, _, source)| source)?;
    Ok(stopwatch.times)
}

/// The same as a run of an executor: with spans and a ledger. Nothing is ever left unapplied;
/// `apply` applies what another schedule left.
pub(super) fn run_recorded<S: Stages, U>(
    executor: &Executor<'_>,
    stages: &mut S,
    scheduler: &Scheduler,
    segment: Segment<U>,
    mut apply: impl FnMut(&mut S, U) -> Result<(), S::Error>,
    proceed: impl FnMut(&mut S, usize) -> Proceed,
) -> Result<Ended<U>, RunError<S::Error>> {
    struct Spans<'c> {
        executor: &'c Executor<'c>,
        recorder: Recorder,
        since: Duration,
    }
    impl Laps for Spans<'_> {
        fn iteration_begins(&mut self) {
            self.since = self.executor.clock.now();
        }
        fn step_ended(&mut self, step: Step, iteration: usize, bytes: u64) {
            let now = self.executor.clock.now();
            self.recorder.add(iteration, step, self.since..now, bytes);
            self.since = now;
        }
    }
    let failed = |(step, iteration, error): Failure<S::Error>| RunError::Stage {
        stage: step.stage(),
        iteration,
        error,
    };
    for (iteration, update) in segment.counted().zip(segment.unapplied) {
        apply(stages, update).map_err(|error| failed((Step::Apply, iteration, error)))?;
    }
    let iterations = segment.iterations;
    let clock = executor.clock;
    let mut spans = Spans {
        executor,
        recorder: Recorder::new(scheduler.epoch(), iterations.start, executor.traced),
        since: Duration::ZERO,
    };
    clock.threads_run(1);
    let done = run_laps(stages, iterations, &mut spans, proceed);
    clock.thread_stops();
    done.map_err(failed)?;
    Ok(spans.recorder.record.into())
}

fn run_laps<S: Stages>(
    stages: &mut S,
    iterations: Range<usize>,
    laps: &mut impl Laps,
    mut proceed: impl FnMut(&mut S, usize) -> Proceed,
) -> Result<(), Failure<S::Error>> {
    for iteration in iterations {
        let failed = |step| move |source| (step, iteration, source);
        laps.iteration_begins();
        let sampled = S::sample(stages.host(), iteration).map_err(failed(Step::Sample))?;
        laps.step_ended(Step::Sample, iteration, 0);
        let prepared = S::fetch_features(stages.host(), sampled).map_err(failed(Step::Features))?;
        laps.step_ended(Step::Features, iteration, S::prepared_bytes(&prepared));
        let fetched = stages
            .fetch_memory(prepared)
            .map_err(failed(Step::Gather))?;
        laps.step_ended(Step::Gather, iteration, 0);
        let trained = stages.train(fetched).map_err(failed(Step::Train))?;
        laps.step_ended(Step::Train, iteration, 0);
        stages.update_memory(trained).map_err(failed(Step::Apply))?;
        laps.step_ended(Step::Apply, iteration, 0);
        if proceed(stages, iteration) != Proceed::Go {
            break;
        }
    }
    Ok(())
}

/// Writes down iterations of which none overlap: each sees all updates before it.
pub(crate) struct Recorder {
    pub(crate) record: Record,
    epoch: u64,
    first: usize,
    traced: usize,
}

impl Recorder {
    pub(crate) fn new(epoch: u64, first: usize, traced: usize) -> Recorder {
        Recorder {
            record: Record::default(),
            epoch,
            first,
            traced,
        }
    }

    pub(crate) fn add(&mut self, iteration: usize, step: Step, time: Range<Duration>, bytes: u64) {
        self.record.times.add(step.stage(), time.end - time.start);
        if iteration - self.first < self.traced {
            self.record.spans.push(Span {
                lane: Lane::Device,
                step,
                iteration,
                begin: time.start,
                end: time.end,
                bytes,
            });
        }
        if step == Step::Train {
            self.record.ledger.push(LedgerLine {
                epoch: self.epoch,
                iteration,
                k: 1,
                version: iteration,
                stall_us: 0,
                decision: None,
                ages: None,
                corrected: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stage;
    use super::*;

    /// Writes down what ran.
    #[derive(Default)]
    struct Recorder {
        ran: Vec<(Stage, usize)>,
        fails_at: Option<(Stage, usize)>,
    }

    impl Recorder {
        fn run(&mut self, stage: Stage, iteration: usize) -> Result<usize, (Stage, usize)> {
            if self.fails_at == Some((stage, iteration)) {
                return Err((stage, iteration));
            }
            self.ran.push((stage, iteration));
            Ok(iteration)
        }
    }

    impl Stages for Recorder {
        type Host = ();
        type Sampled = usize;
        type Prepared = usize;
        type Fetched = usize;
        type Trained = usize;
        type Error = (Stage, usize);

        fn host(&self) -> &() {
            &()
        }
        fn sample((): &(), iteration: usize) -> Result<usize, Self::Error> {
            Ok(iteration)
        }
        fn fetch_features((): &(), sampled: usize) -> Result<usize, Self::Error> {
            Ok(sampled)
        }
        fn fetch_memory(&mut self, i: usize) -> Result<usize, Self::Error> {
            self.run(Stage::FetchMemory, i)
        }
        fn train(&mut self, i: usize) -> Result<usize, Self::Error> {
            self.run(Stage::Train, i)
        }
        fn update_memory(&mut self, i: usize) -> Result<(), Self::Error> {
            self.run(Stage::UpdateMemory, i).map(|_| ())
        }
    }

    #[test]
    fn each_iteration_ends_before_the_next_begins() {
        let mut stages = Recorder::default();
        run(&mut stages, 3..6, |_, iteration| iteration < 4).unwrap();
        let expected: Vec<_> = [3, 4]
            .into_iter()
            .flat_map(|i| Stage::ALL[2..].iter().map(move |&stage| (stage, i)))
            .collect();
        assert_eq!(stages.ran, expected);
    }

    #[test]
    fn an_error_ends_the_run() {
        let mut stages = Recorder {
            fails_at: Some((Stage::Train, 1)),
            ..Recorder::default()
        };
        let error = run(&mut stages, 0..3, |_, _| true).unwrap_err();
        assert_eq!(error, (Stage::Train, 1));
        assert_eq!(stages.ran.last(), Some(&(Stage::FetchMemory, 1)));
    }
}
