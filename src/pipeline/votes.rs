//! The k that several who run the same iterations agree on.
//!
//! Each measures its own times and would choose its own k. After each iteration all tell each other what
//! they would choose now, and the largest is agreed on: whoever waits for memory least could wait less,
//! whoever waits most must not wait at all. What was agreed on after an iteration is in force from the
//! first block that nobody can have begun to read by then.
//!
//! Invariant: what a block reads with depends on what was agreed on after an iteration that all have
//! trained before any of them asks, so all of them get the same answer.
//! Source: MSPipe, section 3.3, for one; the rule for several is this project's.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::schedule::MOST_ONLINE;

/// A block reads with what was agreed on so many iterations before it, or earlier. The iteration before the block
/// has read when the block's k is asked for: up to `MOST_ONLINE` before it, updates were applied, and the
/// iteration before these had been trained, also where updates are written before that.
const BEFORE: usize = MOST_ONLINE + 2;

/// Agreed numbers that are kept: those of more iterations than one of them is asked about.
const KEPT: usize = 2 * BEFORE;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Votes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    own: Option<usize>,
    /// Epoch, iteration and what was agreed on after it, in order.
    agreed: VecDeque<(u64, usize, usize)>,
}

impl Votes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This one would choose `k` now, or can't tell yet.
    pub(super) fn propose(&self, k: Option<usize>) {
        self.state().own = k;
    }

    /// What this one would choose, at most [`MOST_ONLINE`].
    pub(crate) fn own(&self) -> Option<usize> {
        self.state().own
    }

    /// All agreed on `k` after an iteration; in the order of the iterations.
    pub(crate) fn agree(&self, epoch: u64, iteration: usize, k: usize) {
        let agreed = &mut self.state().agreed;
        if agreed.len() == KEPT {
            agreed.pop_front();
        }
        agreed.push_back((epoch, iteration, k));
    }

    /// The k for the block that begins with an iteration, if one was agreed on in time.
    pub(super) fn for_block(&self, epoch: u64, iteration: usize) -> Option<usize> {
        let state = self.state();
        let in_time = |&&(of, nth, _): &&(u64, usize, usize)| {
            of < epoch || of == epoch && nth + BEFORE <= iteration
        };
        let agreed = state.agreed.iter().rev().find(in_time)?;
        Some(agreed.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_reads_with_what_was_agreed_on_in_time() {
        let votes = Votes::default();
        assert_eq!(votes.for_block(1, 16), None);
        for iteration in 0..40 {
            votes.agree(1, iteration, 1 + iteration);
        }
        assert_eq!(votes.for_block(1, 32), Some(23));
        // Whatever came meanwhile.
        votes.agree(1, 40, 7);
        assert_eq!(votes.for_block(1, 32), Some(23));
        // The next epoch begins with the last of this one.
        assert_eq!(votes.for_block(2, 0), Some(7));
        votes.agree(2, 0, 3);
        assert_eq!(votes.for_block(2, 0), Some(7));
    }

    #[test]
    fn what_is_proposed_is_the_last() {
        let votes = Votes::default();
        assert_eq!(votes.own(), None);
        votes.propose(Some(3));
        votes.propose(Some(2));
        assert_eq!(votes.own(), Some(2));
    }
}
