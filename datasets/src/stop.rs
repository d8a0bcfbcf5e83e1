//! A request to stop, and how long work heeds it.
//!
//! Whoever receives it (a signal handler, another thread) calls [`Stop::request`]; long work asks
//! [`Stop::check`] between its pieces and ends with [`Stopped`]. Work that has something to remove
//! or to keep first holds an [`Unfinished`]: while there is one, a program that is asked to stop
//! waits for the work to end by itself; without one there is nothing to wait for, and it may end
//! at once. So only work with an [`Unfinished`] needs to check, and it must check often: a second
//! is long for somebody who waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// A request to stop that may come; all clones share it. The default one never comes, unless
/// somebody keeps a clone and [requests](Stop::request) it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    requested: AtomicBool,
    /// Exit code of the first signal that asked; 0 for none.
    code: AtomicU8,
    unfinished: AtomicUsize,
}

/// Work ended early because it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted before it was done; start it again")]
pub struct Stopped;

/// Work that has something to remove or to keep before the program may end; see the module.
#[derive(Debug)]
#[must_use = "the work counts as unfinished while this lives"]
pub struct Unfinished(Stop);

impl Stop {
    /// Asks all work that heeds this to end. Safe in a signal handler: it only writes an atomic.
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
    }

    /// Asks likewise, for a signal that programs end with this exit code for; the first one's stays. Safe in a
    /// signal handler.
    pub fn request_for(&self, code: u8) {
        let code_of_first = &self.0.code;
        // One that is not the first changes nothing.
        let _ = code_of_first.compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
        self.request();
    }

    /// The exit code of the first signal that asked, if one did.
    pub fn exit_code(&self) -> Option<u8> {
        Some(self.0.code.load(Ordering::SeqCst)).filter(|&code| code != 0)
    }

    /// Whether the work is to end.
    pub fn requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Ends the work if it is to end; for `?` between two pieces of it.
    ///
    /// # Errors
    /// [`Stopped`] once a stop was requested.
    pub fn check(&self) -> Result<(), Stopped> {
        match self.requested() {
            true => Err(Stopped),
            false => Ok(()),
        }
    }

    /// Marks work that checks, and that must not be cut off. Take it before anything is created
    /// that would have to be removed, and keep it until that is removed or finished.
    pub fn unfinished(&self) -> Unfinished {
        self.0.unfinished.fetch_add(1, Ordering::SeqCst);
        Unfinished(self.clone())
    }

    /// Whether any such work is under way. Safe in a signal handler.
    pub fn has_unfinished(&self) -> bool {
        self.0.unfinished.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.0.unfinished.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_request_and_the_work() {
        let stop = Stop::default();
        let other = stop.clone();
        assert_eq!((stop.check(), stop.has_unfinished()), (Ok(()), false));
        let (one, two) = (stop.unfinished(), other.unfinished());
        drop(one);
        assert!(stop.has_unfinished());
        drop(two);
        assert!(!other.has_unfinished());
        other.request();
        assert_eq!((stop.check(), stop.exit_code()), (Err(Stopped), None));
        other.request_for(143);
        other.request_for(130);
        assert_eq!(stop.exit_code(), Some(143));
        assert!(
            !Stop::default().requested(),
            "requests are not shared by all"
        );
    }
}
