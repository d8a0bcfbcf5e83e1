//! A clock that moves on when no thread has anything to do: sleeping costs nothing, and times
//! are exact.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use mspipe::pipeline::clock::Clock;

#[derive(Default)]
struct State {
    now: Duration,
    running: usize,
    /// When the sleeping threads wake up.
    sleepers: Vec<Duration>,
}

/// Time that only passes when all threads sleep or wait.
#[derive(Default)]
pub(crate) struct VirtualClock {
    state: Mutex<State>,
    moved: Condvar,
}

impl VirtualClock {
    fn move_on(&self, state: &mut State) {
        if state.running > 0 {
            return;
        }
        if let Some(next) = state.sleepers.iter().min().copied() {
            state.now = next;
            let asleep = state.sleepers.len();
            state.sleepers.retain(|deadline| *deadline > next);
            state.running = asleep - state.sleepers.len();
            self.moved.notify_all();
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.state.lock().unwrap().now
    }

    fn sleep(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let mut state = self.state.lock().unwrap();
        let deadline = state.now + time;
        state.sleepers.push(deadline);
        state.running -= 1;
        self.move_on(&mut state);
        while state.now < deadline {
            state = self.moved.wait(state).unwrap();
        }
    }

    fn threads_run(&self, threads: usize) {
        self.state.lock().unwrap().running += threads;
    }

    fn thread_stops(&self) {
        let mut state = self.state.lock().unwrap();
        state.running -= 1;
        self.move_on(&mut state);
    }
}
