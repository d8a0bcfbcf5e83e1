//! The ranks of a run: starts those that are threads of this process, joins those that MPI has started, and
//! trains beside rank 0.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use mspipe_datasets::Stop;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::footprint::Footprint;
use super::opening::Begin;
use super::stream::OpenStream;
use super::{Session, SessionError};
use crate::checkpoint::{Header, Loaded};
use crate::config::{self, CandidateSource, ConfigError, RunConfig};
use crate::device::ComputeDevice;
use crate::pipeline::ledger::Replay;
use crate::pipeline::schedule::Schedule;
use crate::ranks::{Channel, Exchange, Launch, threads};
use crate::train::error::TrainError;
use crate::train::keeping::Keeping;
use crate::train::ranks::Ranks;

/// What the ranks of a run do.
pub(super) struct Roles<C, T, B, W> {
    /// Before anything is opened, once in each process, which is told whether it is rank 0's: how the run begins.
    pub(super) check: C,
    /// On rank 0 of several processes: what it needs, with the others of its machine, and what the user should know.
    pub(super) told: T,
    /// On all ranks but rank 0.
    pub(super) beside: B,
    /// On rank 0.
    pub(super) work: W,
}

/// Opens stream and device on each rank of a run and has each play its role. What is returned is rank
/// 0's.
///
/// # Errors
/// [`SessionError::Beside`] where this process has none of that; else those of rank 0.
pub(super) fn on_ranks<T: Send>(
    config: RunConfig,
    stop: &Stop,
    roles: Roles<
        impl FnOnce(&RunConfig, bool) -> Result<Begin, SessionError>,
        impl FnOnce(&Footprint, &[String]),
        impl Fn(&Session, &ComputeDevice, Ranks) -> Result<(), SessionError> + Sync,
        impl FnOnce(&Session, &ComputeDevice, Option<Ranks>) -> Result<T, SessionError> + Send,
    >,
) -> Result<T, SessionError> {
    if let Some(Launch::Mpi(asked)) = config.training.ranks {
        return process::join(config, asked, stop, roles);
    }
    let Roles {
        check,
        told,
        beside,
        work,
    } = roles;
    // One process knows what it needs.
    drop(told);
    let begin = check(&config, true)?;
    config::start_threads(config.machine.threads)?;
    let stream = OpenStream::open(config, begin, stop)?;
    let session = &Session::checked(stream, stop.clone())?;
    let ranks = session.config.training.ranks();
    if ranks == 1 {
        return session.with_device(|session, device| work(session, device, None));
    }
    let mut all = threads::ranks(ranks).into_iter();
    let Some(first) = all.next() else {
        unreachable!("there is more than one rank");
    };
    thread::scope(|scope| {
        let beside = &beside;
        for other in all {
            // Its error ends rank 0, which says so.
            scope.spawn(move || {
                on_thread((session, begin), other, |session, device, ranks| {
                    ranks.map_or(Ok(()), |ranks| beside(session, device, ranks))
                })
            });
        }
        on_thread((session, begin), first, work)
    })
}

/// Does `work` on a thread pool of the rank's own: a worker that waits for another rank must not have begun
/// that rank's work.
fn on_thread<T: Send>(
    (session, begin): (&Session, Begin),
    exchange: threads::Thread,
    work: impl FnOnce(&Session, &ComputeDevice, Option<Ranks>) -> Result<T, SessionError> + Send,
) -> Result<T, SessionError> {
    let threads = (rayon::current_num_threads() / exchange.size()).max(1);
    let exchange: Arc<dyn Exchange> = Arc::new(exchange);
    let ranks = Ranks::of(exchange.clone());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let _panicking = EndsInPanic(&*exchange);
    let done = match pool {
        Ok(pool) => pool.install(|| {
            agree(session, begin, &*exchange)?;
            session.with_device(|session, device| {
                check_device(device)?;
                work(session, device, ranks)
            })
        }),
        Err(error) => Err(SessionError::Config(ConfigError::Threads {
            threads: Some(threads),
            reason: error.to_string(),
        })),
    };
    if let Err(error) = &done {
        exchange.end(Some(&error.to_string()));
    }
    done
}

/// Ends a rank that panics, for which the others would wait.
struct EndsInPanic<'a>(&'a dyn Exchange);

impl Drop for EndsInPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end(Some("it panicked; this is a bug in mspipe"));
        }
    }
}

/// Ranks that are threads share the processor, not a GPU.
fn check_device(device: &ComputeDevice) -> Result<(), SessionError> {
    match device.kernels {
        None => Ok(()),
        Some(_) => Err(SessionError::Config(ConfigError::Range {
            option: "device",
            found: device.adapter.clone(),
            expected: "cpu with --ranks threads:R, whose ranks are threads of one process",
        })),
    }
}

/// A build that knows no MPI.
#[cfg(not(feature = "mpi"))]
mod process {
    use super::{Roles, RunConfig, SessionError, Stop};
    use crate::config::ConfigError;

    pub(super) fn join<T, C, N, B, W>(
        _: RunConfig,
        _: Option<usize>,
        _: &Stop,
        _: Roles<C, N, B, W>,
    ) -> Result<T, SessionError> {
        Err(SessionError::Config(ConfigError::Range {
            option: "ranks",
            found: "mpi".to_owned(),
            expected: "threads:R: this program was built without MPI (cargo build --features mpi)",
        }))
    }
}

/// A process of an MPI job.
#[cfg(feature = "mpi")]
mod process {
    use super::{
        Arc, Begin, ComputeDevice, EndsInPanic, Exchange, Footprint, Launch, OpenStream, Ranks,
        Roles, RunConfig, Session, SessionError, Stop, agree, config,
    };
    use crate::config::ConfigError;
    use crate::device;
    use crate::ranks::mpi::World;
    use crate::ranks::{Channel, RankError, Started};
    use crate::session::footprint::Needs;
    use crate::train::error::TrainError;

    /// Refuses a process that is one of several for who started it and alone for MPI, each of which would train a run
    /// of its own; and a stream that only one rank gets.
    fn check_process(config: &RunConfig, size: usize) -> Result<(), SessionError> {
        if config.source.data == "-" {
            return Err(SessionError::Config(ConfigError::Range {
                option: "data",
                found: "-".to_owned(),
                expected: "a file or a data set with --ranks mpi: mpirun gives its standard input to one process alone",
            }));
        }
        match Started::together().filter(|_| size == 1) {
            None => Ok(()),
            Some(Started {
                processes, said_by, ..
            }) => Err(SessionError::Mpi(format!(
                "{processes} processes were started ({said_by}), and each is alone for the MPI library that this \
                 program was built with; start them with the mpirun of that library, or with srun --mpi=pmix"
            ))),
        }
    }

    /// What this process needs, and what all of its machine need together.
    fn footprint(stream: &OpenStream, exchange: &dyn Exchange) -> Result<Footprint, SessionError> {
        let adapter = device::chosen(stream.config.device)?;
        let own = Footprint::of(stream, adapter.as_ref());
        let mut bytes = Vec::new();
        if let Err(error) = ciborium::into_writer(&own.needs(), &mut bytes) {
            unreachable!("a vector takes all that is written: {error}");
        }
        let all = exchange
            .all_gather(Channel::Steps, bytes)
            .map_err(TrainError::from)?;
        let read = |bytes: &Vec<u8>| ciborium::from_reader(bytes.as_slice()).ok();
        let all: Option<Vec<Needs>> = all.iter().map(read).collect();
        // Those of another version are refused later.
        Ok(own.together(exchange.on_machine(), &all.unwrap_or_default()))
    }

    /// Tells rank 0, whose exit code is the job's, of the signal that ended the run on whichever rank.
    fn share_signal(exchange: &dyn Exchange, stop: &Stop) {
        let own = vec![stop.exit_code().unwrap_or(0)];
        // A rank that ended otherwise leaves it at what this one knows.
        let all = exchange.all_gather(Channel::Steps, own);
        let mut codes = all.iter().flat_map(|all| all.iter().flatten());
        if let Some(&code) = codes.find(|&&code| code != 0) {
            stop.request_for(code);
        }
    }

    /// Plays this process's role.
    pub(super) fn join<T: Send>(
        mut config: RunConfig,
        asked: Option<usize>,
        stop: &Stop,
        roles: Roles<
            impl FnOnce(&RunConfig, bool) -> Result<Begin, SessionError>,
            impl FnOnce(&Footprint, &[String]),
            impl Fn(&Session, &ComputeDevice, Ranks) -> Result<(), SessionError> + Sync,
            impl FnOnce(&Session, &ComputeDevice, Option<Ranks>) -> Result<T, SessionError> + Send,
        >,
    ) -> Result<T, SessionError> {
        let world = World::enter().map_err(SessionError::Mpi)?;
        let exchange: Arc<dyn Exchange> = Arc::new(world.process());
        world.leave_at_end();
        let (rank, size) = (exchange.rank(), exchange.size());
        config.training.ranks = Some(Launch::Mpi(Some(size)));
        let Roles {
            check,
            told,
            beside,
            work,
        } = roles;
        // Rank 0 has something to keep, and the others have to help.
        let _unfinished = stop.unfinished();
        let played = || {
            check_process(&config, size)?;
            if let Some(expected) = asked.filter(|&asked| asked != size) {
                return Err(SessionError::Processes {
                    found: size,
                    expected,
                    resumed: None,
                });
            }
            let begin = check(&config, rank == 0)?;
            config::start_threads(config.machine.threads)?;
            let stream = OpenStream::open(config, begin, stop)?;
            let footprint = footprint(&stream, &*exchange)?;
            if rank == 0 {
                told(&footprint, &stream.notes());
            }
            let session = Session::fitting(stream, stop.clone(), &footprint)?;
            agree(&session, begin, &*exchange)?;
            let ranks = Ranks::of(exchange.clone());
            session.with_device(|session, device| match ranks {
                Some(ranks) if rank > 0 => beside(session, device, ranks).map(|()| None),
                ranks => work(session, device, ranks).map(Some),
            })
        };
        let panicking = EndsInPanic(&*exchange);
        let done = played();
        drop(panicking);
        if let Err(SessionError::Train(TrainError::Interrupted { .. })) = &done {
            share_signal(&*exchange, stop);
        }
        let failed = done.as_ref().err().map(ToString::to_string);
        let ended = exchange.end(failed.as_deref());
        match done {
            Ok(Some(of_rank_0)) => Ok(of_rank_0),
            Ok(None) => Err(SessionError::Beside),
            // Whoever failed says so, and rank 0.
            Err(error) => match ended {
                Some(RankError::Ended { rank: other, .. }) if rank > 0 && other != rank => {
                    Err(SessionError::Beside)
                }
                _ => Err(error),
            },
        }
    }
}

/// Refuses ranks whose settings, streams, versions or checkpoints differ, on all of them.
///
/// # Errors
/// [`SessionError::Uneven`]; when a rank has ended.
fn agree(session: &Session, begin: Begin, exchange: &dyn Exchange) -> Result<(), SessionError> {
    let own = decisive(session, begin)?;
    let text = Value::Object(own).to_string().into_bytes();
    let all = exchange
        .all_gather(Channel::Steps, text)
        .map_err(TrainError::from)?;
    let read = |bytes: &Vec<u8>| -> Map<String, Value> {
        serde_json::from_slice(bytes).unwrap_or_default()
    };
    let expected = read(&all[0]);
    for (rank, bytes) in all.iter().enumerate() {
        let found = read(bytes);
        let differing = expected
            .iter()
            .find(|(name, value)| found.get(*name) != Some(value));
        if let Some((name, value)) = differing {
            let other = found.get(name).unwrap_or(&Value::Null);
            return Err(uneven(rank, name, [other, value]));
        }
    }
    Ok(())
}

/// A rank that has another value under a name than rank 0; of several values in one, the first that differs.
fn uneven(rank: usize, name: &str, [found, expected]: [&Value; 2]) -> SessionError {
    if let (Some(parts), Some(others)) = (found.as_object(), expected.as_object()) {
        let part = |(part, other): (&String, &Value)| {
            let own = parts.get(part).unwrap_or(&Value::Null).clone();
            (own != *other).then(|| (format!("{name}'s {part}"), own, other.clone()))
        };
        if let Some((name, own, other)) = others.iter().find_map(part) {
            return uneven(rank, &name, [&own, &other]);
        }
    }
    SessionError::Uneven {
        rank,
        name: name.to_owned(),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

/// What decides the numbers of a run: settings, stream, version, where it begins; not where the stream lies, nor
/// the machine.
///
/// # Errors
/// When a file that decides them can't be read here.
fn decisive(session: &Session, begin: Begin) -> Result<Map<String, Value>, SessionError> {
    let unwritable = |error: serde_json::Error| SessionError::Mpi(error.to_string());
    let usual = RunConfig::default();
    let mut config = session.config.clone();
    config.source = usual.source;
    config.machine = usual.machine;
    config.output = usual.output;
    config.device = usual.device;
    let mut all = config.by_name().map_err(unwritable)?;
    let stream = serde_json::to_value(&session.data).map_err(unwritable)?;
    all.insert("stream".to_owned(), stream);
    let version = Header::new(0, 0, Value::Null).producer;
    all.insert("version".to_owned(), Value::String(version));
    let config = &session.config;
    if let Some(weights) = &session.weights {
        all.insert("weights' sha256".to_owned(), sha256(&weights.path)?);
    }
    if let Schedule::Replay(ledger) = &config.pipeline.schedule {
        all.insert("ledger's sha256".to_owned(), sha256(&Replay::file(ledger))?);
    }
    if let Some(CandidateSource::Files(files)) = &config.protocol.candidates {
        let each: Result<Value, SessionError> = files.iter().map(|file| sha256(file)).collect();
        all.insert("candidates' sha256".to_owned(), each?);
    }
    let checkpoint = match begin {
        Begin::Fresh => "none".to_owned(),
        Begin::Resumed {
            place: (epoch, iteration),
        } => format!("of epoch {epoch}, iteration {iteration}"),
    };
    all.insert("checkpoint".to_owned(), Value::String(checkpoint));
    Ok(all)
}

/// What tells a file that each rank opens itself from others.
///
/// # Errors
/// When it can't be read.
fn sha256(path: &Path) -> Result<Value, SessionError> {
    let bytes = fs::read(path).map_err(|error| SessionError::FileOfRank {
        path: path.to_owned(),
        error,
    })?;
    let digest = Sha256::digest(&bytes);
    let hex = digest.iter().map(|byte| format!("{byte:02x}"));
    Ok(Value::String(hex.collect()))
}

impl Session {
    /// Trains beside rank 0, from a checkpoint if there is one.
    pub(super) fn train_beside(
        &self,
        from: Option<Loaded>,
        device: &ComputeDevice,
        ranks: Ranks,
    ) -> Result<(), SessionError> {
        let mut training = self.training(&device.device)?.with(Some(ranks));
        if let Some(Loaded {
            checkpoint, path, ..
        }) = from
        {
            training
                .resume(checkpoint)
                .map_err(|error| SessionError::Resume { path, error })?;
        }
        training.keeping = Keeping::new(self.config.machine.checkpoint_every);
        Ok(training.run_beside()?)
    }
}
