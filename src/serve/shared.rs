//! What all threads of a server share: the predictor, numbers, the way into memory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use mspipe_datasets::Stop;
use parking_lot::{FairMutex, FairMutexGuard, RwLock, RwLockReadGuard};

use super::numbers::Numbers;
use super::wire::Room;
use super::work::Work;
pub use crate::session::predict::MaxJump;
use crate::session::predict::{Changed, Late, NewEvent, PredictError, Predictor, Updated};

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
    /// Held by who computes, a question or a piece of what has memory follow events: each takes all cores, and the
    /// rows that are shared. It goes to who has waited longest, so a question waits for one piece.
    pub(super) turn: FairMutex<()>,
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
    pub(super) features: Expected,
}

/// Which edge features an event must bring.
#[derive(Debug)]
pub(super) struct Expected {
    /// How many; any number where the model reads none.
    pub(super) width: Option<usize>,
    /// What they are called, if that is known.
    pub(super) names: Option<Vec<String>>,
}

impl Expected {
    pub(super) fn of(predictor: &Predictor) -> Expected {
        Expected {
            width: predictor.given_width(),
            names: predictor.feature_names().map(<[String]>::to_vec),
        }
    }
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
    pub(super) fn question(&self) -> (FairMutexGuard<'_, ()>, RwLockReadGuard<'_, Predictor>) {
        (self.turn.lock(), self.predictor.read())
    }

    /// Changes the predictor; whoever waits with a question is next.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Predictor) -> T) -> T {
        let _turn = self.turn.lock();
        change(&mut self.predictor.write())
    }

    /// Makes ready what memory needs to follow `batch`, a piece at a time.
    pub(super) fn make_ready(&self, batch: &[&NewEvent]) -> Result<(), PredictError> {
        /// Events of a piece; a batch of as many is a piece of its own.
        const EVENTS: usize = 128;
        if batch.len() <= EVENTS {
            return Ok(());
        }
        batch.chunks(EVENTS).try_for_each(|events| {
            let (_turn, predictor) = self.question();
            predictor.make_ready(events)
        })
    }

    /// Makes again what a batch has changed, a piece at a time: the next question would have to.
    pub(super) fn make_again(&self, mut changed: Changed) -> Result<(), PredictError> {
        /// Rows of a piece.
        const ROWS: usize = 256;
        loop {
            let (_turn, predictor) = self.question();
            if predictor.make_again(&mut changed, ROWS)? {
                return Ok(());
            }
        }
    }

    /// Lets go of what nothing can ask for any more, a piece at a time.
    pub(super) fn let_go(&self) {
        /// Entries and rows of a piece.
        const LOOKED_AT: usize = 16_384;
        // Nobody else changes it meanwhile, and who asks need not wait.
        let Some(mut rest) = self.predictor().outlived() else {
            return;
        };
        while !self.change(|predictor| predictor.let_go(&mut rest, LOOKED_AT)) {}
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
