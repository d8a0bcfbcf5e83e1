//! Ranks that are threads of one process.
//!
//! A round of a channel begins when a rank gives, and is over when all have taken what all gave; who comes
//! for the next one earlier waits.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Channel, Exchange, Gathered, RankError, sum_of};

/// One rank of several in a process.
pub struct Thread {
    rank: usize,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    rounds: [Round; Channel::COUNT],
    ended: Option<RankError>,
}

/// A round of a channel.
#[derive(Clone)]
struct Round {
    /// What each rank gave, until all have.
    given: Vec<Option<Vec<u8>>>,
    /// All of it, and how many ranks have not taken it yet.
    whole: Option<(Gathered, usize)>,
}

/// The ranks of a process.
pub fn ranks(size: usize) -> Vec<Thread> {
    let round = Round {
        given: vec![None; size],
        whole: None,
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            rounds: [round.clone(), round],
            ended: None,
        }),
        changed: Condvar::new(),
    });
    (0..size)
        .map(|rank| Thread {
            rank,
            shared: shared.clone(),
        })
        .collect()
}

impl Thread {
    /// The state once `ready` holds for a round of `channel`.
    ///
    /// # Errors
    /// When a rank has ended.
    fn when(
        &self,
        channel: Channel,
        ready: impl Fn(&Round) -> bool,
    ) -> Result<MutexGuard<'_, State>, RankError> {
        let mut state = self.lock();
        loop {
            if ready(&state.rounds[channel as usize]) {
                return Ok(state);
            }
            if let Some(ended) = &state.ended {
                return Err(ended.clone());
            }
            let waited = self.shared.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.lock().rounds[0].given.len()
    }

    fn on_machine(&self) -> &[usize] {
        std::slice::from_ref(&self.rank)
    }

    fn all_gather(&self, channel: Channel, own: Vec<u8>) -> Result<Gathered, RankError> {
        let free = |round: &Round| round.whole.is_none() && round.given[self.rank].is_none();
        let mut state = self.when(channel, free)?;
        let round = &mut state.rounds[channel as usize];
        round.given[self.rank] = Some(own);
        if round.given.iter().all(Option::is_some) {
            let all: Vec<Vec<u8>> = round.given.iter_mut().filter_map(Option::take).collect();
            let ranks = all.len();
            round.whole = Some((Arc::new(all), ranks));
            self.shared.changed.notify_all();
        }
        drop(state);
        let mut state = self.when(channel, |round| round.whole.is_some())?;
        let round = &mut state.rounds[channel as usize];
        let Some((all, left)) = round.whole.take() else {
            unreachable!("it was there under this lock");
        };
        if left > 1 {
            round.whole = Some((all.clone(), left - 1));
        } else {
            self.shared.changed.notify_all();
        }
        Ok(all)
    }

    fn sum(&self, channel: Channel, numbers: &mut [f32]) -> Result<(), RankError> {
        let own = bytemuck::cast_slice(numbers).to_vec();
        sum_of(&self.all_gather(channel, own)?, numbers)
    }

    fn end(&self, why: Option<&str>) -> Option<RankError> {
        let mut state = self.lock();
        if let (Some(why), None) = (why, &state.ended) {
            let (rank, why) = (self.rank, why.to_owned());
            state.ended = Some(RankError::Ended { rank, why });
            self.shared.changed.notify_all();
        }
        state.ended.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// What each rank makes of its connection.
    fn each<T: Send>(size: usize, work: impl Fn(&Thread) -> T + Sync) -> Vec<T> {
        let all = ranks(size);
        thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> = all
                .iter()
                .map(|rank| scope.spawn(move || work(rank)))
                .collect();
            running.into_iter().map(|one| one.join().unwrap()).collect()
        })
    }

    #[test]
    fn all_ranks_get_what_all_give_in_their_order_round_by_round() {
        let gathered = each(4, |rank| {
            assert_eq!(rank.size(), 4);
            let rounds = (0..50u8).map(|round| {
                // The last rank gives nothing.
                let own = vec![round; 3 - rank.rank()];
                let channel = [Channel::Steps, Channel::Rows][round as usize % 2];
                let all = rank.all_gather(channel, own).unwrap();
                all.iter().map(Vec::len).collect::<Vec<_>>() == [3, 2, 1, 0]
                    && all.concat() == [round; 6]
            });
            rounds.collect::<Vec<_>>()
        });
        assert!(gathered.iter().flatten().all(|&whole| whole));
    }

    #[test]
    fn sums_have_the_order_of_the_ranks() {
        // In another order the 1 would be lost, or kept.
        let terms = [1e8f32, 1.0, -1e8];
        let expected = (terms[0] + terms[1]) + terms[2];
        let sums = each(3, |rank| {
            let mut numbers = [terms[rank.rank()], rank.rank() as f32];
            rank.sum(Channel::Steps, &mut numbers).unwrap();
            numbers
        });
        assert_eq!(sums, [[expected, 3.0]; 3]);
    }

    #[test]
    fn nobody_waits_for_a_rank_that_has_ended() {
        let said = each(3, |rank| match rank.rank() {
            1 => {
                rank.end(None);
                rank.end(Some("the disk is full"));
                rank.end(Some("a second reason"));
                String::new()
            }
            _ => {
                let waited = rank.all_gather(Channel::Rows, vec![1]);
                waited.unwrap_err().to_string()
            }
        });
        assert_eq!(said[0], "rank 1 ended: the disk is full");
        assert_eq!(said[0], said[2]);
    }
}
