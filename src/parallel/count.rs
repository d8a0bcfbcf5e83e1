//! What of the work of an iteration is divided among threads, counted where somebody asks: how many cores an
//! iteration can use, told on a machine that has few.
//!
//! Work is counted in bytes that are moved; eight floating-point operations are as much (a core that copies
//! 10 GB/s multiplies 80 GFLOP/s), and so is an eighth of a cache line that is looked up. A task says what it does on
//! the thread that runs it, and what runs on one thread alone says so too. Counts depend on sizes alone.
//!
//! A count belongs to a thread: it is taken in a pool of one, all of whose tasks run on the thread that asks. Elsewhere,
//! and when nobody asks, a task reads one flag of its thread. What burn does between our operations is not seen here.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Bytes of a cache line: what looking a number up in a table costs.
pub(crate) const LINE: usize = 64;

/// Floating-point operations that cost what a byte does.
pub(crate) const FLOPS: u64 = 8;

/// Work that follows itself: an operation, or a part of what is done on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub name: &'static str,
    /// Work of the thread that began it, while others wait.
    pub alone: u64,
    /// Work of each task, of which threads take one after the other.
    pub tasks: Vec<u64>,
}

impl Part {
    /// All of its work.
    pub fn work(&self) -> u64 {
        self.alone + self.tasks.iter().sum::<u64>()
    }

    /// Work that passes until it has ended on so many `threads`, each of which takes the next task when it has done
    /// its own; what follows waits for the last of them.
    pub fn passes(&self, threads: usize) -> u64 {
        let mut ends: BinaryHeap<_> = (0..threads.max(1)).map(|_| Reverse(0)).collect();
        for task in &self.tasks {
            if let Some(Reverse(end)) = ends.pop() {
                ends.push(Reverse(end + task));
            }
        }
        let last = ends.into_iter().map(|Reverse(end)| end).max();
        self.alone + last.unwrap_or(0)
    }
}

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static PARTS: RefCell<Parts> = const {
        RefCell::new(Parts {
            all: Vec::new(),
            under_way: Vec::new(),
        })
    };
}

struct Parts {
    all: Vec<Part>,
    /// Places of those that have not ended, the innermost last.
    under_way: Vec<usize>,
}

impl Parts {
    /// The innermost part under way, or one for what lies outside of all.
    fn current(&mut self) -> &mut Part {
        let at = match self.under_way.last() {
            Some(&at) => at,
            None => self.begin("elsewhere"),
        };
        &mut self.all[at]
    }

    fn begin(&mut self, name: &'static str) -> usize {
        self.all.push(Part {
            name,
            alone: 0,
            tasks: Vec::new(),
        });
        self.all.len() - 1
    }
}

/// Does `work` and counts what it divides, part after part as they began. Call it in a pool of one thread.
///
/// # Panics
/// In a pool of several threads, whose tasks nobody sees.
pub fn counted<T>(work: impl FnOnce() -> T) -> (T, Vec<Part>) {
    assert_eq!(rayon::current_num_threads(), 1, "threads of the pool");
    COUNTING.set(true);
    let done = work();
    COUNTING.set(false);
    let parts = PARTS.with_borrow_mut(|parts| std::mem::take(&mut parts.all));
    (done, parts)
}

/// A part under way; it ends when this is dropped.
#[must_use = "the part ends when this is dropped"]
pub(crate) struct UnderWay(Option<usize>);

/// Begins a part.
pub(crate) fn part(name: &'static str) -> UnderWay {
    UnderWay(COUNTING.get().then(|| {
        PARTS.with_borrow_mut(|parts| {
            let at = parts.begin(name);
            parts.under_way.push(at);
            at
        })
    }))
}

impl UnderWay {
    /// Says that the part is `whole` work, of which one thread has done what was no task.
    pub(crate) fn whole(&self, whole: u64) {
        if let Some(at) = self.0 {
            PARTS.with_borrow_mut(|parts| {
                let part = &mut parts.all[at];
                part.alone = whole.saturating_sub(part.tasks.iter().sum());
            });
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.is_some() {
            PARTS.with_borrow_mut(|parts| parts.under_way.pop());
        }
    }
}

/// Says what a task does.
#[inline]
pub(crate) fn task(work: impl FnOnce() -> u64) {
    if COUNTING.get() {
        PARTS.with_borrow_mut(|parts| parts.current().tasks.push(work()));
    }
}

/// Says what this thread does while others wait.
#[inline]
pub(crate) fn alone(work: impl FnOnce() -> u64) {
    if COUNTING.get() {
        PARTS.with_borrow_mut(|parts| parts.current().alone += work());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_one<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
        pool.build().unwrap().install(work)
    }

    #[test]
    fn a_part_has_its_tasks_and_what_is_left_of_the_whole() {
        let ((), parts) = in_one(|| {
            counted(|| {
                let outer = part("outer");
                task(|| 3);
                {
                    let _inner = part("inner");
                    task(|| 10);
                    alone(|| 7);
                }
                task(|| 4);
                outer.whole(20);
                drop(outer);
                alone(|| 1);
            })
        });
        let part = |name, alone, tasks: &[u64]| Part {
            name,
            alone,
            tasks: tasks.to_vec(),
        };
        let expected = [
            part("outer", 13, &[3, 4]),
            part("inner", 7, &[10]),
            part("elsewhere", 1, &[]),
        ];
        assert_eq!(parts, expected);
        assert_eq!(parts[0].work(), 20);
        in_one(|| {
            task(|| unreachable!("nobody counts"));
            assert_eq!(counted(|| ()).1, []);
        });
    }

    #[test]
    fn threads_take_the_next_task() {
        let part = Part {
            name: "x",
            alone: 5,
            tasks: vec![4, 1, 1, 3],
        };
        assert_eq!(
            [1, 2, 3, 9].map(|threads| part.passes(threads)),
            [14, 10, 9, 9]
        );
    }
}
