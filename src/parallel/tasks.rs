//! Tasks that threads take one after the other.
//!
//! Unlike rayon's own loops these do not have the thread that began them sleep while another is at the last task: to wake
//! it may take longer than the task. It waits without, and takes other work of the pool if there is any.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::Scope;

use super::awake;

/// Waits until so many tasks have ended; counts them where one panics, too.
struct Ended<'a>(&'a AtomicUsize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Waits for all of `running`, and works for the pool meanwhile.
fn wait(running: &AtomicUsize) {
    while running.load(Ordering::Acquire) > 0 {
        if rayon::yield_now() != Some(rayon::Yield::Executed) {
            awake::pause();
        }
    }
}

/// Does `task` with each of `items`, on all threads of the pool.
pub(crate) fn for_each<T: Send>(items: Vec<T>, task: impl Fn(T) + Sync) {
    let threads = rayon::current_num_threads().min(items.len());
    if threads < 2 {
        items.into_iter().for_each(task);
        return;
    }
    awake::keep();
    let running = AtomicUsize::new(items.len());
    let items: Vec<_> = items
        .into_iter()
        .map(|item| Mutex::new(Some(item)))
        .collect();
    let begin = |part: usize| part * items.len() / threads;
    let next: Vec<_> = (0..threads)
        .map(|part| AtomicUsize::new(begin(part)))
        .collect();
    // A thread begins with the part that it had of the kernel before, whose numbers are in its cache.
    let work = || {
        let own = rayon::current_thread_index().unwrap_or(0);
        for part in (own..own + threads).map(|part| part % threads) {
            loop {
                let at = next[part].fetch_add(1, Ordering::Relaxed);
                if at >= begin(part + 1) {
                    break;
                }
                let mut place = items[at].lock().unwrap_or_else(PoisonError::into_inner);
                let Some(item) = place.take() else {
                    break;
                };
                drop(place);
                let _ended = Ended(&running);
                task(item);
            }
        }
    };
    rayon::in_place_scope(|scope: &Scope<'_>| {
        for _ in 1..threads {
            scope.spawn(|_| work());
        }
        work();
        wait(&running);
    });
}

/// What `task` makes of each of `items`, in their order.
pub(crate) fn map<T: Send, R: Send>(items: Vec<T>, task: impl Fn(T) -> R + Sync) -> Vec<R> {
    let mut made: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let places = items.into_iter().zip(&mut made).collect();
    for_each(places, |(item, place): (T, &mut Option<R>)| {
        *place = Some(task(item))
    });
    made.into_iter().flatten().collect()
}

/// Does both, side by side where there are two threads.
pub(crate) fn both<A, B: Send>(a: impl FnOnce() -> A, b: impl FnOnce() -> B + Send) -> (A, B) {
    if rayon::current_num_threads() < 2 {
        return (a(), b());
    }
    awake::keep();
    let running = AtomicUsize::new(1);
    let (mut of_a, mut of_b) = (None, None);
    rayon::in_place_scope(|scope| {
        let (running, of_b) = (&running, &mut of_b);
        scope.spawn(move |_| {
            let _ended = Ended(running);
            *of_b = Some(b());
        });
        of_a = Some(a());
        wait(running);
    });
    match (of_a, of_b) {
        (Some(a), Some(b)) => (a, b),
        _ => unreachable!("a panic goes on behind the scope"),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{self, AssertUnwindSafe};
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(work)
    }

    #[test]
    fn each_item_is_taken_once_and_results_keep_their_order() {
        for threads in [1, 2, 5] {
            let sum = AtomicU64::new(0);
            let squares = in_pool(threads, || {
                for_each((0..1000).collect(), |x| {
                    sum.fetch_add(x, Ordering::Relaxed);
                });
                map((0..100u64).collect(), |x| {
                    let (a, b) = both(|| x, || x);
                    a * b
                })
            });
            assert_eq!(sum.into_inner(), 999 * 1000 / 2);
            assert!(squares.into_iter().eq((0..100).map(|x| x * x)));
        }
        // Outside of a pool, too.
        assert_eq!(map(vec![1, 2, 3], |x| 2 * x), [2, 4, 6]);
    }

    #[test]
    fn a_panic_of_a_task_goes_on() {
        for threads in [1, 3] {
            let ended = in_pool(threads, || {
                panic::catch_unwind(AssertUnwindSafe(|| {
                    for_each((0..50).collect(), |x| assert_ne!(x, 7));
                }))
                .is_err()
                    && panic::catch_unwind(|| both(|| (), || panic!("b"))).is_err()
                    && panic::catch_unwind(|| both(|| panic!("a"), || ())).is_err()
            });
            assert!(ended, "{threads}");
        }
    }
}
