//! Keeps threads awake between one kernel and the next.
//!
//! rayon's threads look for work for some 30 µs and then sleep. To wake one takes 50 to 150 µs where a core that has
//! nothing to do halts, as on a virtual machine, which is as long as a kernel of a batch; an iteration has about forty, with
//! more than 30 µs between many of them. So while there are tasks, threads go on looking for [`PATIENCE`] after the last, and
//! give way to whoever else wants the core.

use std::cell::Cell;
use std::hint;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread looks for work that finds none: longer than what lies between two kernels, and too short to notice
/// where nothing follows.
const PATIENCE: Duration = Duration::from_micros(500);

/// Pauses of the processor between two looks.
const PAUSES: usize = 16;

/// Whether a thread has stopped looking since all were last asked to.
static ASLEEP: AtomicBool = AtomicBool::new(true);

thread_local! {
    /// Whether this thread looks already, or has its own work to come back to: the device's.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Asks the threads of the pool to look for work, where this one goes from kernel to kernel: what a sampler beside a
/// GPU shares with others is worth no waiting.
pub(super) fn keep() {
    if !BUSY.get() || !ASLEEP.load(Ordering::Relaxed) || !ASLEEP.swap(false, Ordering::Relaxed) {
        return;
    }
    let own = rayon::current_thread_index();
    rayon::spawn_broadcast(move |context| {
        if own != Some(context.index()) {
            look();
        }
    });
}

/// Lets a moment pass, and others have the core.
pub(super) fn pause() {
    (0..PAUSES).for_each(|_| hint::spin_loop());
    thread::yield_now();
}

/// Does `work` on this thread, which does not look for other work meanwhile: where it waits for a task, it is to go on as
/// soon as that has ended.
pub(crate) fn without_looking<T>(work: impl FnOnce() -> T) -> T {
    let _before = Before(BUSY.replace(true));
    work()
}

/// What a thread was before: it is so again, also after a panic.
struct Before(bool);

impl Drop for Before {
    fn drop(&mut self) {
        BUSY.set(self.0);
    }
}

fn look() {
    if BUSY.replace(true) {
        return;
    }
    let mut worked = Instant::now();
    while worked.elapsed() < PATIENCE {
        match rayon::yield_now() {
            Some(rayon::Yield::Executed) => worked = Instant::now(),
            _ => pause(),
        }
    }
    BUSY.set(false);
    ASLEEP.store(true, Ordering::Relaxed);
}
