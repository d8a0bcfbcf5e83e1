//! States that are written while memory follows what comes.
//!
//! What a state has is copied between two batches, which is all that events wait for; a thread of its own
//! writes it. Only one is written at a time. What it covers of the log is removed when it is on disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use mspipe_datasets::whole_file::Existing;

use super::error::ServeError;
use super::shared::{Server, given};
use crate::session::predict::{FILE_NAME, PredictError};

/// Has the calling thread take a core when nobody else wants it: on a machine with few of them whoever asks
/// would wait for it. Elsewhere than on Linux, the whole program would be made to.
fn step_back() {
    #[cfg(target_os = "linux")]
    {
        use nix::libc::{PRIO_PROCESS, setpriority};
        // SAFETY: it takes numbers alone; 0 is the calling thread. That it may fail costs nothing but the core.
        unsafe { setpriority(PRIO_PROCESS, 0, 19) };
    }
}

/// A state that is being written.
pub(super) struct Saving {
    /// Events that were given before it was taken.
    pub(super) given: u64,
    writing: JoinHandle<Result<(), PredictError>>,
}

impl Saving {
    /// Takes the state, and begins to write it; `beside` others' work, who come first.
    ///
    /// # Errors
    /// When the device does not hand over the weights.
    pub(super) fn begin(server: &Arc<Server>, beside: bool) -> Result<Saving, ServeError> {
        let predictor = server.predictor();
        let given = given(&predictor);
        let snapshot = predictor.snapshot(false)?;
        drop(predictor);
        let to = server.options.folder.join(FILE_NAME);
        let writing = thread::spawn(move || {
            if beside {
                step_back();
            }
            snapshot.write(&to, Existing::Replace)
        });
        Ok(Saving { given, writing })
    }

    /// Whether it is written, or could not be.
    pub(super) fn is_over(&self) -> bool {
        self.writing.is_finished()
    }

    /// Waits until it is on disk.
    ///
    /// # Errors
    /// When it could not be written.
    pub(super) fn end(self, server: &Server) -> Result<(), ServeError> {
        let written = self.writing.join();
        written.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        server.numbers.saves.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
