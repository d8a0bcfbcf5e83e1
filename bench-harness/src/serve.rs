//! `serve`: how many events per second a server follows, how long a question takes, alone and
//! together, and what many events cost of memory.
//!
//! The server is the program itself, on the CPU, in a folder of its own that is removed afterwards;
//! clients are threads of this program on the same machine, whose time the server lacks. A latency is the
//! time from when a request was due to when its answer was read, so that a server that stalls makes all
//! requests late that were due meanwhile.

mod program;
mod questions;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use mspipe::session::predict::LoadOptions;
use mspipe::{DeviceChoice, Predictor, console, numbers};
use serde::Serialize;

use self::program::Served;
use self::questions::{Draws, Stream};
use crate::machine;

/// What to measure.
#[derive(Debug, Args)]
#[command(mut_args(|option| numbers::read_here(option, None)))]
pub struct ServeConfig {
    /// Run to serve
    run: PathBuf,

    /// The mspipe program [default: the one beside this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Parts to measure
    #[arg(long = "part", value_enum, default_values = ["ingest", "ask", "together"])]
    parts: Vec<ServePart>,

    /// Seconds of each
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,

    /// Events of a request
    #[arg(long, default_value_t = 200, value_parser = numbers::whole::<u32>(1..=4_294_967_295))]
    events: u32,

    /// Clients that send events
    #[arg(long, default_value_t = 2)]
    clients: u64,

    /// Events per second of `together`
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,

    /// Questions per second of `together`; alone, one follows the other
    #[arg(long, default_value_t = 20.0)]
    asks: f64,

    /// Pairs of a question
    #[arg(long, default_value_t = 100)]
    pairs: usize,

    /// Events of `growth`
    #[arg(long, default_value_t = 5_000_000)]
    growth: u64,

    /// One event in N has a new source, in `growth`
    #[arg(long, value_name = "N", default_value_t = 50)]
    new_every: u64,

    /// Options of the server
    #[arg(last = true)]
    options: Vec<String>,
}

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServePart {
    /// Events alone, as many as it takes
    Ingest,
    /// Questions alone, one after the other
    Ask,
    /// Both, at --rate and --asks
    Together,
    /// Many events with new nodes, and the server's memory
    Growth,
}

/// Latencies of requests.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// Requests.
    pub count: usize,
    /// The middle one, in milliseconds.
    pub p50_ms: f64,
    /// Of a hundred, one takes longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// What the server holds after some events.
#[derive(Debug, Clone, Serialize)]
pub struct Held {
    /// Events that it has followed in all.
    pub events: u64,
    /// Nodes.
    pub nodes: u64,
    /// Bytes of RAM.
    pub resident_bytes: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Bytes of RAM that it counts itself, by what they are for.
    pub counted_bytes: Vec<(String, u64)>,
}

/// What a part gave.
#[derive(Debug, Clone, Serialize)]
pub struct PartReport {
    /// Which.
    pub part: ServePart,
    /// How long it took.
    pub seconds: f64,
    /// Events that were acknowledged.
    pub events: u64,
    /// Requests that were told to come again.
    pub pushed_back: u64,
    /// Of requests for events.
    pub event_latency: Option<Latency>,
    /// Of questions.
    pub ask_latency: Option<Latency>,
    /// Memory as it grew.
    pub held: Vec<Held>,
    /// From the signal to end to the end, with the state that is saved meanwhile.
    pub end_seconds: f64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct ServeReport {
    /// The machine.
    pub machine: String,
    /// The program.
    pub program: String,
    /// Model, stream, its events and nodes.
    pub run: String,
    /// Edge features of an event.
    pub feature_width: usize,
    /// Events of a request.
    pub events: u32,
    /// Clients that sent events.
    pub clients: u64,
    /// Pairs of a question.
    pub pairs: usize,
    /// The parts.
    pub parts: Vec<PartReport>,
}

/// Measures what `config` asks for.
///
/// # Errors
/// When the run can't be read, the server does not start, or it refuses a request for another reason than
/// that too many wait.
pub fn measure(config: &ServeConfig) -> Result<ServeReport> {
    let program = match &config.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?
            .with_file_name("mspipe")
            .with_extension(std::env::consts::EXE_EXTENSION),
    };
    let load = LoadOptions {
        device: Some(DeviceChoice::Cpu.into()),
        ..LoadOptions::default()
    };
    let predictor = Predictor::load_with(&config.run, &load)?;
    let (stream, feature_width) = (Stream::of(&predictor)?, predictor.feature_width());
    let run = format!(
        "{} on {}, {} events, {} nodes, batches of {}",
        predictor.config().model.name,
        predictor.data().name,
        predictor.events(),
        predictor.node_count(),
        predictor.batch_size(),
    );
    drop(predictor);
    let folder = tempfile::tempdir()?;
    let mut parts = Vec::new();
    for &part in &config.parts {
        let server_folder = folder.path().join(format!("{part:?}"));
        let mut options = vec!["--late".to_owned(), "accept".to_owned()];
        options.extend_from_slice(&config.options);
        let served = Served::start(&program, &config.run, &server_folder, &options)?;
        let load = Load {
            config,
            served: &served,
            stream: &stream,
            begin: Instant::now(),
            sent: AtomicU64::new(0),
        };
        let mut report = load.part(part).with_context(|| format!("{part:?}"))?;
        report.end_seconds = served.end()?.as_secs_f64();
        parts.push(report);
        std::fs::remove_dir_all(&server_folder)?;
    }
    Ok(ServeReport {
        machine: machine::machine(),
        program: machine::program(),
        run,
        feature_width,
        events: config.events,
        clients: config.clients,
        pairs: config.pairs,
        parts,
    })
}

/// What the clients of a part share.
struct Load<'a> {
    config: &'a ServeConfig,
    served: &'a Served,
    stream: &'a Stream,
    begin: Instant,
    /// Requests for events that are being sent or were.
    sent: AtomicU64,
}

/// What a client has seen.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    events: u64,
    pushed_back: u64,
}

/// When requests are due: the nth so many times this after the begin, if they are not as fast as it goes.
type Pace = Option<Duration>;

impl Load<'_> {
    fn part(&self, part: ServePart) -> Result<PartReport> {
        let end = Duration::from_secs_f64(self.config.seconds);
        let requests = self.config.growth.div_ceil(u64::from(self.config.events));
        let (until, most, new_every) = match part {
            ServePart::Growth => (Duration::MAX, requests, Some(self.config.new_every)),
            _ => (end, u64::MAX, None),
        };
        let together = part == ServePart::Together;
        let per_s = self.config.rate / f64::from(self.config.events);
        let pace = together.then(|| Duration::from_secs_f64(1.0 / per_s));
        let clients = if part == ServePart::Ask {
            0
        } else {
            self.config.clients
        };
        let (mut all, mut asked, mut held) = (Seen::default(), None, Vec::new());
        thread::scope(|scope| -> Result<()> {
            let senders: Vec<_> = (0..clients)
                .map(|client| scope.spawn(move || self.send(client, until, most, pace, new_every)))
                .collect();
            if matches!(part, ServePart::Ask | ServePart::Together) {
                let pace = together.then(|| Duration::from_secs_f64(1.0 / self.config.asks));
                asked = Some(self.ask(until, pace)?);
            }
            while part == ServePart::Growth && !senders.iter().all(|sender| sender.is_finished()) {
                let now = self.held()?;
                // It takes minutes.
                console::note(format!(
                    "{:>4.0} s {now}",
                    self.begin.elapsed().as_secs_f64()
                ));
                held.push(now);
                thread::sleep(Duration::from_secs(5));
            }
            for sender in senders {
                let Ok(seen) = sender.join() else {
                    bail!("a client panicked");
                };
                let seen = seen?;
                all.latencies.extend(seen.latencies);
                all.events += seen.events;
                all.pushed_back += seen.pushed_back;
            }
            Ok(())
        })?;
        held.push(self.held()?);
        Ok(PartReport {
            part,
            seconds: self.begin.elapsed().as_secs_f64(),
            events: all.events,
            pushed_back: all.pushed_back,
            event_latency: Latency::of(all.latencies),
            ask_latency: asked.and_then(|seen| Latency::of(seen.latencies)),
            held,
            end_seconds: 0.0,
        })
    }

    /// One client sends events.
    fn send(
        &self,
        client: u64,
        until: Duration,
        most: u64,
        pace: Pace,
        new_every: Option<u64>,
    ) -> Result<Seen> {
        let mut connection = self.served.client()?;
        let (mut seen, mut draws) = (Seen::default(), Draws(client));
        let features = self.stream.features(&mut draws);
        loop {
            let nth = self.sent.fetch_add(1, Ordering::Relaxed);
            if nth >= most {
                return Ok(seen);
            }
            let events = self.config.events as usize;
            let Some(due) = self.due(nth, pace, until) else {
                return Ok(seen);
            };
            let body = self.stream.events(events, new_every, &features, &mut draws);
            loop {
                let (status, said) = connection.post("/events", body.as_bytes())?;
                match status {
                    200 => break,
                    503 => seen.pushed_back += 1,
                    _ => bail!("{status}: {}", String::from_utf8_lossy(&said)),
                }
                thread::sleep(Duration::from_millis(5));
            }
            seen.latencies.push(self.begin.elapsed() - due);
            seen.events += events as u64;
        }
    }

    /// One client asks.
    fn ask(&self, until: Duration, pace: Pace) -> Result<Seen> {
        let mut connection = self.served.client()?;
        let (mut seen, mut draws) = (Seen::default(), Draws(1 << 32));
        for nth in 0.. {
            let Some(due) = self.due(nth, pace, until) else {
                break;
            };
            let body = self.stream.pairs(self.config.pairs, &mut draws);
            let (status, said) = connection.post("/score", body.as_bytes())?;
            if status != 200 {
                bail!("{status}: {}", String::from_utf8_lossy(&said));
            }
            seen.latencies.push(self.begin.elapsed() - due);
        }
        Ok(seen)
    }

    /// Waits for the time when the nth request is due; none is due after `until`.
    fn due(&self, nth: u64, pace: Pace, until: Duration) -> Option<Duration> {
        let now = self.begin.elapsed();
        let due = pace.map_or(now, |pace| pace.mul_f64(nth as f64));
        if due >= until {
            return None;
        }
        thread::sleep(due.saturating_sub(now));
        Some(due)
    }

    fn held(&self) -> Result<Held> {
        let (_, text) = self.served.client()?.get("/metrics")?;
        let text = String::from_utf8(text)?;
        let metric = |name: &str| -> Result<u64> {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            Ok(value
                .with_context(|| format!("no {name} in /metrics"))?
                .parse()?)
        };
        Ok(Held {
            events: metric("mspipe_stream_events")?,
            nodes: metric("mspipe_stream_nodes")?,
            log_bytes: metric("mspipe_log_bytes")?,
            resident_bytes: self.served.resident_bytes()?,
            counted_bytes: counted(&text)?,
        })
    }
}

/// The numbers of `mspipe_bytes` in `metrics`, by part.
fn counted(metrics: &str) -> Result<Vec<(String, u64)>> {
    let lines = metrics.lines();
    let of_parts = lines.filter_map(|line| {
        line.strip_prefix("mspipe_bytes{part=\"")?
            .split_once("\"} ")
    });
    of_parts
        .map(|(part, bytes)| Ok((part.to_owned(), bytes.parse()?)))
        .collect()
}

impl Latency {
    fn of(mut all: Vec<Duration>) -> Option<Latency> {
        all.sort_unstable();
        let ms = |share: f64| {
            let place = (share * (all.len() - 1) as f64).ceil() as usize;
            all[place].as_secs_f64() * 1e3
        };
        (!all.is_empty()).then(|| Latency {
            count: all.len(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            max_ms: ms(1.0),
        })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency {
            count,
            p50_ms,
            p99_ms,
            max_ms,
        } = self;
        write!(
            f,
            "p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, at most {max_ms:.1} ms ({count} requests)"
        )
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted: u64 = self.counted_bytes.iter().map(|(_, bytes)| bytes).sum();
        write!(
            f,
            "{:>9} events, {:>8} nodes: {:>6} MiB of RAM, of which it counts {:>6}; log {:>6} MiB",
            self.events,
            self.nodes,
            self.resident_bytes >> 20,
            counted >> 20,
            self.log_bytes >> 20
        )
    }
}

impl fmt::Display for ServeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.machine, self.program, self.run)?;
        write!(
            f,
            "{} events of {} features in a request, {} clients; {} pairs in a question",
            self.events, self.feature_width, self.clients, self.pairs
        )?;
        for part in &self.parts {
            let name = format!("{:?}", part.part).to_lowercase();
            write!(f, "\n{name}, {:.1} s", part.seconds)?;
            if let Some(latency) = &part.event_latency {
                let per_s = part.events as f64 / part.seconds;
                write!(f, "\n  {per_s:.0} events/s; requests: {latency}")?;
                write!(f, "; {} told to come again", part.pushed_back)?;
            }
            if let Some(latency) = &part.ask_latency {
                write!(f, "\n  questions: {latency}")?;
            }
            for held in &part.held {
                write!(f, "\n  {held}")?;
            }
            if let Some(held) = part.held.last() {
                let mib = |(part, bytes): &(String, u64)| {
                    format!("{part} {:.1}", *bytes as f64 / f64::from(1 << 20))
                };
                let counted: Vec<String> = held.counted_bytes.iter().map(mib).collect();
                write!(f, "\n  MiB that it counts: {}", counted.join(", "))?;
            }
            write!(f, "\n  ended after {:.1} s", part.end_seconds)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_by_part() {
        let metrics =
            "mspipe_log_bytes 7\nmspipe_bytes{part=\"graph\"} 12\nmspipe_bytes{part=\"ids\"} 3\n";
        let expected = [("graph".to_owned(), 12), ("ids".to_owned(), 3)];
        assert_eq!(counted(metrics).expect("numbers"), expected);
    }

    #[test]
    fn percentiles_are_of_the_requests() {
        let all = (1..=200).rev().map(Duration::from_millis).collect();
        let latency = Latency::of(all).expect("some");
        assert_eq!(latency.count, 200);
        let found = [latency.p50_ms, latency.p99_ms, latency.max_ms];
        assert!(
            found
                .iter()
                .zip([101.0, 199.0, 200.0])
                .all(|(a, b)| (a - b).abs() < 1e-9),
            "{found:?}"
        );
        assert!(Latency::of(Vec::new()).is_none());
    }
}
