//! Why there is no server, or none any more.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::session::predict::PredictError;

/// Why there is no server, or none any more.
#[derive(Debug, Error)]
pub enum ServeError {
    /// What it has learnt.
    #[error(transparent)]
    Predict(Box<PredictError>),
    /// The address.
    #[error(
        "--http {address}: {error}; give another address or port (127.0.0.1:0 takes a free one)"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// An address that others reach.
    #[error(
        "--http {0}: is reached by other machines; give --token-file FILE, with a token that whoever asks \
         must know, or an address of this machine alone (127.0.0.1)"
    )]
    Open(SocketAddr),
    /// The folder.
    #[error("{}: {error}; --to gives the server another folder", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// A folder that goes on from something else.
    #[error(
        "{}: holds what a server knows that began with {} as that was then, and its state would answer, not {}; \
         give --to another folder, which begins with {}, or remove this one if what came since may go",
        folder.display(), kept.display(), path.display(), path.display()
    )]
    Origin {
        /// The folder.
        folder: PathBuf,
        /// What was to be served.
        path: PathBuf,
        /// What the folder began with, as it was given.
        kept: PathBuf,
    },
    /// Another server.
    #[error("{}: another server has this folder; give another one (--to)", .0.display())]
    Taken(PathBuf),
    /// The log.
    #[error("{}: {error}", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// A log that is not as it was written.
    #[error("{}: byte {at}: {reason}; give a folder of its own (--to), or repair it from a backup", path.display())]
    DamagedLog {
        /// The log.
        path: PathBuf,
        /// Where.
        at: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A log without what the state lacks.
    #[error(
        "{}: has events from event {found} of the stream on, and the state stands after {expected}; give the \
         state that belongs to it", path.display()
    )]
    Hole {
        /// The log.
        path: PathBuf,
        /// Where it goes on.
        found: u64,
        /// Where it should.
        expected: u64,
    },
}

impl From<PredictError> for ServeError {
    fn from(error: PredictError) -> ServeError {
        ServeError::Predict(Box::new(error))
    }
}
