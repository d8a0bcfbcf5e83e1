//! A device that works behind a queue, in simulated time: each step of its thread hands it work in some
//! submissions, which it does one after the other, copies and kernels alike.
//!
//! Invariant: exact, since a submission's end depends on nothing that comes after it. It does not know
//! drivers: a submission costs nothing but its encoding, and the queue is as long as it has to be.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::pipeline::profile::{Profile, Residency};
use crate::pipeline::queue::{QueueIteration, QueueSpan};
use crate::pipeline::step::{Lane, Step};

/// The queue of a device, and what it has done.
#[derive(Debug)]
pub struct QueuedDevice {
    profile: Profile,
    memory: Residency,
    /// The last step of an iteration on the device's thread.
    last: Step,
    /// When it is through with all that it has.
    free: Duration,
    /// When the rows of each iteration are on the host, of those that were not asked for.
    ready: VecDeque<Duration>,
    /// Of the iteration under way.
    spans: Vec<QueueSpan>,
    done: VecDeque<QueueIteration>,
}

impl QueuedDevice {
    /// A device that takes the times of `profile`.
    pub fn new(profile: Profile, memory: Residency, early: bool) -> QueuedDevice {
        let on_device = |step: &&Step| step.lane(memory) == Lane::Device;
        let mut steps = Step::of(memory, early).iter().filter(on_device);
        QueuedDevice {
            profile,
            memory,
            last: steps.next_back().copied().unwrap_or(Step::Train),
            free: Duration::ZERO,
            ready: VecDeque::new(),
            spans: Vec::new(),
            done: VecDeque::new(),
        }
    }

    /// Its thread begins a step of iteration `iteration` at `now`.
    pub fn begin(&mut self, step: Step, iteration: usize, now: Duration) {
        let takes = self.profile.device_step(self.memory, step);
        // A timestamp in front of a step is written when the queue comes to it, not when the first
        // submission does.
        let begin = self.free.max(now);
        self.free = takes.work_ends(now, self.free);
        self.spans.push(QueueSpan {
            step,
            submitted: now,
            encoded: now + takes.encode,
            begin,
            end: self.free.max(now),
        });
        if step == Step::ReadBack {
            self.ready.push_back(self.free);
        }
        if step == self.last {
            let spans = std::mem::take(&mut self.spans);
            self.done.push_back(QueueIteration {
                iteration,
                spans,
                in_turn: false,
            });
        }
    }

    /// When the rows of the next iteration to be received are on the host.
    pub fn next_ready(&mut self) -> Duration {
        self.ready.pop_front().unwrap_or_default()
    }

    /// An iteration that it is through with at `now`, with all that was measured of it.
    pub fn through(&mut self, now: Duration) -> Option<QueueIteration> {
        let through = |ran: &QueueIteration| ran.spans.iter().all(|span| span.end <= now);
        match self.done.front().is_some_and(through) {
            true => self.done.pop_front(),
            false => None,
        }
    }
}
