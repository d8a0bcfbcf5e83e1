//! What all threads of a server share: the predictor, numbers, the way into memory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use mspipe_datasets::Stop;
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::numbers::Numbers;
use super::wire::Room;
use super::work::Work;
use crate::session::predict::{Late, PredictError, Predictor, Updated};

/// How far an event may be ahead of the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaxJump {
    /// As the stream is long that the model was trained on.
    Stream,
    /// So long, in the stream's unit of time.
    Time(String),
    /// As far as it says.
    Off,
}

/// How a server serves.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its folder.
    pub folder: PathBuf,
    /// What whoever asks must know.
    pub token: Option<String>,
    /// What becomes of late events.
    pub late: Late,
    /// How far an event may be ahead of the one before it.
    pub max_jump: MaxJump,
    /// Events after which the state is saved.
    pub save_every: u64,
    /// Bytes of a request's body, at most.
    pub max_body: usize,
    /// Connections at once, at most.
    pub max_connections: u64,
    /// Requests for events that wait, at most.
    pub queue: usize,
    /// Time for a request to come, and for an answer to be taken.
    pub patience: Duration,
    /// Whether events also come from standard input, one JSON object in a line.
    pub standard_input: bool,
}

/// What all its threads share.
pub(super) struct Server {
    pub(super) predictor: RwLock<Predictor>,
    /// Held by who asks: a question takes all cores, and the rows that questions share.
    pub(super) turn: Mutex<()>,
    /// For the bodies of all connections.
    pub(super) room: Room,
    pub(super) options: ServeOptions,
    pub(super) numbers: Numbers,
    pub(super) stop: Stop,
    pub(super) queue: SyncSender<Work>,
    /// Where news go.
    pub(super) tell: Box<dyn Fn(&str) + Send + Sync>,
    pub(super) ticks_per_unit: i64,
    pub(super) text_ids: bool,
    pub(super) two_kinds: bool,
}

impl Server {
    pub(super) fn tell(&self, what: impl AsRef<str>) {
        (self.tell)(what.as_ref());
    }

    /// What is known of the predictor, for a moment.
    pub(super) fn predictor(&self) -> RwLockReadGuard<'_, Predictor> {
        self.predictor.read()
    }

    /// The predictor, for a question that takes a while.
    pub(super) fn question(&self) -> (MutexGuard<'_, ()>, RwLockReadGuard<'_, Predictor>) {
        (self.turn.lock(), self.predictor.read())
    }

    /// Has memory follow a batch, as `follow` does; whoever waits with a question is next.
    pub(super) fn change(
        &self,
        follow: impl FnOnce(&mut Predictor) -> Result<(), PredictError>,
    ) -> Result<(), PredictError> {
        let mut predictor = self.predictor.write();
        let followed = follow(&mut predictor);
        // Without being handed on, the lock would be taken again for the next batch before they wake up.
        RwLockWriteGuard::unlock_fair(predictor);
        followed
    }

    /// Takes note of a request that memory has followed.
    pub(super) fn note(&self, updated: &Updated) {
        self.numbers.followed(updated.events as u64);
        let late = (updated.moved + updated.refused) as u64;
        self.numbers.late.fetch_add(late, Ordering::Relaxed);
    }
}

/// Events that were given so far, refused ones too: where an entry of the log stands.
pub(super) fn given(predictor: &Predictor) -> u64 {
    predictor.events() as u64 + predictor.late()[1]
}
