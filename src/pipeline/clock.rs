//! Time, as the executor sees it.
//!
//! Invariant: `now` never goes backwards. A clock other than [`WallClock`] is for tests: it
//! may move time forward when no thread of the executor has anything to do, which is why the
//! executor tells it when threads start to wait and when they are woken.

use std::thread;
use std::time::{Duration, Instant};

/// Tells the time to all threads of a run.
pub trait Clock: Sync {
    /// Time since some fixed moment.
    fn now(&self) -> Duration;

    /// The calling thread sleeps for so long.
    fn sleep(&self, time: Duration);

    /// So many more threads run from now on.
    fn threads_run(&self, _threads: usize) {}

    /// The calling thread stops running: it waits for another one, or ends.
    fn thread_stops(&self) {}
}

/// Real time since the clock was made.
#[derive(Debug, Clone, Copy)]
pub struct WallClock(Instant);

impl WallClock {
    /// A clock that begins now.
    pub fn start() -> WallClock {
        WallClock(Instant::now())
    }

    /// Its time at `instant`; zero for one before it was made.
    pub(crate) fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.0)
    }
}

impl Clock for WallClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }
}
