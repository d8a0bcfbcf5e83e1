//! One stage after the other: the reference executor, and the `sequential` schedule.

use std::ops::Range;
use std::time::Instant;

use super::{Stage, StageTimes, Stages};

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
    let mut times = StageTimes::default();
    for iteration in iterations {
        let mut since = Instant::now();
        let mut lap = |stage| {
            let now = Instant::now();
            times.add(stage, now - since);
            since = now;
        };
        let sampled = S::sample(stages.host(), iteration)?;
        lap(Stage::Sample);
        let prepared = S::fetch_features(stages.host(), sampled)?;
        lap(Stage::FetchFeatures);
        let fetched = stages.fetch_memory(prepared)?;
        lap(Stage::FetchMemory);
        let trained = stages.train(fetched)?;
        lap(Stage::Train);
        stages.update_memory(trained)?;
        lap(Stage::UpdateMemory);
        if !proceed(stages, iteration) {
            break;
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
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
