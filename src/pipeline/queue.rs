//! When a device with a queue did what its thread had encoded.
//!
//! The executor knows such times only by [`QueueTimes`]: whoever owns the device measures them, by
//! timestamps or by waiting, and hands them out once an iteration is through. Most iterations may be
//! left out. Invariant: nothing but the choice of k depends on them.

use std::time::Duration;

use super::step::Step;

/// A step of the device's thread, and when the queue worked on what it encoded. All times are of the
/// run's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSpan {
    /// The step.
    pub step: Step,
    /// When the first of it was submitted, or could have been: its thread began then.
    pub submitted: Duration,
    /// When all of it was.
    pub encoded: Duration,
    /// When the queue came to it.
    pub begin: Duration,
    /// When the queue was through with it.
    pub end: Duration,
}

/// All steps of one iteration, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueIteration {
    /// Iteration of the epoch, from 0.
    pub iteration: usize,
    /// Its steps.
    pub spans: Vec<QueueSpan>,
    /// Whether each step was waited for, for want of a clock on the device.
    pub in_turn: bool,
}

/// Measures a device's queue.
pub trait QueueTimes {
    /// Hands out the iterations that are through since it was last asked, in order; if `all`, waits
    /// for those that are not. Called on the device's thread.
    fn take(&self, all: bool) -> Vec<QueueIteration>;
}

impl QueueIteration {
    fn span(&self, step: Step) -> Option<&QueueSpan> {
        self.spans.iter().find(|span| span.step == step)
    }

    /// Time of the thread that encoded.
    pub(super) fn encode(&self) -> Duration {
        let encode = |span: &QueueSpan| span.encoded.saturating_sub(span.submitted);
        self.spans.iter().map(encode).sum()
    }

    /// Time of the queue for those steps that count.
    pub(super) fn work(&self, counts: impl Fn(Step) -> bool) -> Duration {
        let counted = self.spans.iter().filter(|span| counts(span.step));
        counted
            .map(|span| span.end.saturating_sub(span.begin))
            .sum()
    }

    /// The way from the iteration's first step to the end of `step` if the queue had been free: at
    /// least what encoding takes, and less what the queue was busy for with other iterations when
    /// the first of this one was submitted.
    pub(super) fn way_to(&self, step: Step) -> Option<Duration> {
        let (first, last) = (self.spans.first()?, self.span(step)?);
        let way = last.end.saturating_sub(first.submitted + self.waited());
        Some(way.max(last.encoded.saturating_sub(first.submitted)))
    }

    /// Time that the queue was busy with other iterations when the first of this one was submitted.
    pub(super) fn waited(&self) -> Duration {
        let first = self.spans.first();
        first.map_or(Duration::ZERO, |first| {
            first.begin.saturating_sub(first.submitted)
        })
    }

    /// The least that any of its steps found the queue busy; zero where it had nothing to do at some
    /// time.
    pub(super) fn least_waited(&self) -> Duration {
        let waits = self.spans.iter();
        let waits = waits.map(|span| span.begin.saturating_sub(span.submitted));
        waits.min().unwrap_or_default()
    }

    /// When the queue was through with `step`.
    pub(super) fn end_of(&self, step: Step) -> Option<Duration> {
        Some(self.span(step)?.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iteration(spans: &[(Step, [u64; 4])]) -> QueueIteration {
        let spans = spans.iter().map(|(step, ms)| {
            let [submitted, encoded, begin, end] = ms.map(Duration::from_millis);
            QueueSpan {
                step: *step,
                submitted,
                encoded,
                begin,
                end,
            }
        });
        QueueIteration {
            iteration: 0,
            spans: spans.collect(),
            in_turn: false,
        }
    }

    #[test]
    fn waiting_for_other_iterations_is_no_part_of_the_way() {
        let spans = |late: u64| {
            iteration(&[
                (Step::Upload, [0, 1, late, late + 2]),
                (Step::Train, [1, 4, late + 2, late + 9]),
                (Step::ReadBack, [4, 5, late + 9, late + 10]),
            ])
        };
        for late in [0, 30] {
            let way = spans(late).way_to(Step::ReadBack);
            assert_eq!(way, Some(Duration::from_millis(10)), "{late}");
        }
        assert_eq!(spans(0).encode(), Duration::from_millis(5));
        let kernels = spans(7).work(|step| step == Step::Train);
        assert_eq!(kernels, Duration::from_millis(7));
        assert_eq!(spans(0).way_to(Step::Finish), None);
    }

    #[test]
    fn a_way_is_as_long_as_encoding_takes() {
        let late = iteration(&[(Step::Upload, [0, 2, 9, 9]), (Step::Train, [2, 12, 9, 12])]);
        let way = late.way_to(Step::Train);
        assert_eq!(way, Some(Duration::from_millis(12)));
    }
}
