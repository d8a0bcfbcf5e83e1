//! A server of answers: events come in, scores, rankings and embeddings go out, over HTTP.
//!
//! A folder of the server's own has a log of all events that it acknowledged and, from time to time, the
//! state. Both together say where it stands: it begins with the state and follows what the log has
//! beyond it, in the same batches, so that a server that was killed answers with the same bits.
//!
//! Invariants: an event that was acknowledged is on disk; requests that ask share the predictor, and
//! memory is changed between them by one thread ([`ingest`]); what waits, what is read and who is
//! connected is bounded. It deliberately has no TLS and no users: a proxy has.

mod answers;
mod arrow;
mod connections;
mod error;
mod ingest;
mod lines;
mod log;
mod numbers;
mod origin;
mod reading;
mod saving;
mod shared;
mod wire;
mod work;

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub use error::ServeError;
pub use shared::{MaxJump, ServeOptions};

use ingest::{Ingest, Sequences, follow_again};
use log::Log;
use mspipe_datasets::{NodeKey, whole_file};
use numbers::Numbers;
use parking_lot::{FairMutex, RwLock};
use shared::{Expected, Server, given};
use wire::Room;

use crate::session::predict::{FILE_NAME, LoadOptions, Pair, Predictor};

/// Name of the file that is locked while a server has the folder.
const LOCK: &str = "serve.lock";

/// Bodies of the largest size that there is room for.
const BODIES: u64 = 8;

/// How long connections may take to end with the server.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves what the run or state `path` has learnt until `options`' stop is requested; `tell` is told the
/// address once it listens, and what goes wrong.
///
/// # Errors
/// What can't be read, an address that can't be had, memory that can't follow, a last state that can't be
/// saved.
pub fn serve(
    path: &Path,
    load: &LoadOptions,
    options: ServeOptions,
    tell: impl Fn(&str) + Send + Sync + 'static,
) -> Result<(), ServeError> {
    if !options.address.ip().is_loopback() && options.token.is_none() {
        return Err(ServeError::Open(options.address));
    }
    let stop = load.stop.clone();
    // The state is saved before the program ends.
    let _unfinished = stop.unfinished();
    let _lock = locked(&options.folder)?;
    // Of a server that was killed while it saved its state.
    whole_file::sweep(&options.folder);
    let refused = |error| ServeError::Listen {
        address: options.address,
        error,
    };
    // Refused before the log is followed.
    let listener = TcpListener::bind(options.address).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    origin::check(path, &options.folder, &tell)?;
    let (predictor, log, sequences) = restored(path, load, &options.folder, &tell)?;
    let max_jump = predictor.most_ahead(&options.max_jump)?;
    warm_up(&predictor);
    let (queue, work) = mpsc::sync_channel(options.queue);
    let server = Arc::new(Server {
        ticks_per_unit: predictor.ticks_per_unit(),
        text_ids: predictor.ids_are_text(),
        two_kinds: predictor.has_two_kinds(),
        features: Expected::of(&predictor),
        predictor: RwLock::new(predictor),
        turn: FairMutex::new(()),
        room: Room::new(BODIES * options.max_body as u64),
        numbers: Numbers::new(),
        stop: stop.clone(),
        queue,
        tell: Box::new(tell),
        options,
    });
    let accepting = {
        let server = server.clone();
        thread::spawn(move || server.accept(&listener))
    };
    if server.options.standard_input {
        let server = server.clone();
        thread::spawn(move || server.standard_input());
    }
    server.tell(format!("listening on http://{address}/"));
    let ingest = Ingest {
        server: &server,
        log,
        sequences,
        late: server.options.late,
        save_every: server.options.save_every,
        max_jump,
        saving: None,
    };
    let ended = ingest.run(&work);
    stop.request();
    // Whoever still waits for the queue is told, and the listener looks up.
    drop(work);
    drop(TcpStream::connect_timeout(
        &reachable(address),
        Duration::from_secs(1),
    ));
    let until = Instant::now() + FAREWELL;
    while server.numbers.connections.load(Ordering::SeqCst) > 0 && Instant::now() < until {
        thread::sleep(Duration::from_millis(10));
    }
    drop(accepting);
    ended
}

/// Asks once, so that nobody waits for the memory that questions share.
fn warm_up(predictor: &Predictor) {
    let ids: Vec<NodeKey> = predictor.nodes().map(|(id, _)| id).take(200).collect();
    let time = predictor.last().map_or(0, |last| last.saturating_add(1));
    let pair = |(src, dst): (&NodeKey, &NodeKey)| Pair {
        src: src.clone(),
        dst: dst.clone(),
        time,
    };
    let pairs: Vec<Pair> = ids.iter().zip(ids.iter().rev()).map(pair).collect();
    // Whoever asks is told what is wrong.
    _ = predictor.score(&pairs);
}

/// An address under which this machine reaches itself.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The folder, which nobody else has until what is returned is dropped.
fn locked(folder: &Path) -> Result<File, ServeError> {
    let failed = |error| ServeError::Folder {
        path: folder.to_owned(),
        error,
    };
    if folder.is_file() {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(failed(error));
    }
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = File::create(folder.join(LOCK)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(ServeError::Taken(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The predictor as the folder's state and log say, or as `path` does where they say nothing yet.
fn restored(
    path: &Path,
    load: &LoadOptions,
    folder: &Path,
    tell: &dyn Fn(&str),
) -> Result<(Predictor, Log, Sequences), ServeError> {
    let saved = folder.join(FILE_NAME);
    let mut predictor = Predictor::load_with(if saved.is_file() { &saved } else { path }, load)?;
    let hash = predictor.data().hash.clone();
    let (first, mut sequences, mut replayed) = (given(&predictor), Sequences::default(), 0);
    let hole = |found, expected| ServeError::Hole {
        path: folder.to_owned(),
        found,
        expected,
    };
    let mut found = Log::open(folder, &hash, first, |group| {
        group.iter().for_each(|entry| sequences.note(entry));
        let (before, expected) = (group.first().map(|entry| entry.before), given(&predictor));
        match before {
            // The state has followed it.
            Some(before) if before >= first => {}
            _ => return Ok(()),
        }
        if before != Some(expected) {
            return Err(hole(before.unwrap_or_default(), expected));
        }
        replayed += follow_again(&mut predictor, &group)?;
        Ok(())
    })?;
    if found.begins > first {
        return Err(hole(found.begins, first));
    }
    if saved.is_file() {
        let failed = |error| ServeError::Log {
            path: folder.to_owned(),
            error,
        };
        found.log.remove_covered(first).map_err(failed)?;
    }
    if found.cut > 0 {
        tell(&format!(
            "{}: {} bytes of an unfinished record of the log are cut off; nobody was told of it",
            folder.display(),
            found.cut
        ));
    }
    if replayed > 0 {
        tell(&format!(
            "{}: {replayed} events followed again",
            folder.display()
        ));
    }
    Ok((predictor, found.log, sequences))
}
