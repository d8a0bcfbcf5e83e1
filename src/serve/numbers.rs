//! What the server counts: requests, events, waiting; as Prometheus reads it and as its page shows it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Upper ends of the classes that latencies are counted in, in seconds.
const CLASSES: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// Seconds of the pulse.
const PULSE: usize = 60;

/// Requests of one path.
#[derive(Debug, Clone, Default)]
struct Latencies {
    classes: [u64; CLASSES.len()],
    count: u64,
    seconds: f64,
}

/// Events of each of the last seconds.
#[derive(Debug)]
struct Pulse {
    seconds: [u64; PULSE],
    /// The second that was last written to, since the beginning.
    at: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Numbers {
    began: Instant,
    /// By path and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    latencies: Mutex<BTreeMap<&'static str, Latencies>>,
    pulse: Mutex<Pulse>,
    pub(super) events: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) repeated: AtomicU64,
    /// Requests with an event that is too far ahead.
    pub(super) too_far: AtomicU64,
    pub(super) scores: AtomicU64,
    pub(super) saves: AtomicU64,
    pub(super) failed_saves: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) log_bytes: AtomicU64,
}

/// What the predictor is asked for when numbers are shown.
pub(super) struct Standing {
    pub(super) events: usize,
    pub(super) nodes: usize,
    pub(super) late: [u64; 2],
    /// By what they are for.
    pub(super) bytes: Vec<(&'static str, u64)>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Numbers {
    pub(super) fn new() -> Numbers {
        let zero = || AtomicU64::new(0);
        Numbers {
            began: Instant::now(),
            requests: Mutex::default(),
            latencies: Mutex::default(),
            pulse: Mutex::new(Pulse {
                seconds: [0; PULSE],
                at: 0,
            }),
            events: zero(),
            late: zero(),
            repeated: zero(),
            too_far: zero(),
            scores: zero(),
            saves: zero(),
            failed_saves: zero(),
            connections: zero(),
            waiting: zero(),
            log_bytes: zero(),
        }
    }

    /// A request for `path` was answered.
    pub(super) fn answered(&self, path: &'static str, status: u16, took: Duration) {
        *locked(&self.requests).entry((path, status)).or_default() += 1;
        let mut latencies = locked(&self.latencies);
        let latencies = latencies.entry(path).or_default();
        let seconds = took.as_secs_f64();
        latencies.count += 1;
        latencies.seconds += seconds;
        if let Some(class) = CLASSES.iter().position(|&class| seconds <= class) {
            latencies.classes[class] += 1;
        }
    }

    /// Memory has followed `events` events.
    pub(super) fn followed(&self, events: u64) {
        self.events.fetch_add(events, Ordering::Relaxed);
        let now = self.began.elapsed().as_secs();
        let mut pulse = locked(&self.pulse);
        pulse.pass(now);
        pulse.seconds[now as usize % PULSE] += events;
    }

    /// Events of each of the last seconds that are over, the newest last.
    pub(super) fn pulse(&self) -> Vec<u64> {
        let now = self.began.elapsed().as_secs();
        let mut pulse = locked(&self.pulse);
        pulse.pass(now);
        let first = (now + 1).saturating_sub(PULSE as u64);
        (first..now)
            .map(|second| pulse.seconds[second as usize % PULSE])
            .collect()
    }

    /// In Prometheus's text format.
    pub(super) fn prometheus(&self, standing: &Standing) -> String {
        let mut out = String::new();
        for (name, help, value) in self.single(standing) {
            let kind = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            // A String takes all that is written.
            _ = writeln!(
                out,
                "# HELP mspipe_{name} {help}\n# TYPE mspipe_{name} {kind}\nmspipe_{name} {value}"
            );
        }
        let name = "mspipe_bytes";
        _ = writeln!(
            out,
            "# HELP {name} Bytes of RAM that are counted, by what they are for\n# TYPE {name} gauge"
        );
        for (part, bytes) in &standing.bytes {
            _ = writeln!(out, "{name}{{part=\"{part}\"}} {bytes}");
        }
        self.requests_into(&mut out);
        out
    }

    /// Name, help and value of each number that stands alone.
    #[rustfmt::skip]
    fn single(&self, standing: &Standing) -> [(&'static str, &'static str, u64); 15] {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let [moved, refused] = standing.late;
        [
            ("events_total", "Events that memory has followed since the start", read(&self.events)),
            ("events_late_total", "Late events of these requests, refused or moved", read(&self.late)),
            ("requests_repeated_total", "Requests for /events that had been acknowledged before", read(&self.repeated)),
            ("requests_too_far_total", "Requests for /events with a time too far ahead (--max-jump)", read(&self.too_far)),
            ("scores_total", "Pairs scored and destinations ranked", read(&self.scores)),
            ("saves_total", "Times that the state was saved", read(&self.saves)),
            ("saves_failed_total", "Times that it could not be", read(&self.failed_saves)),
            ("connections", "Open connections", read(&self.connections)),
            ("waiting_requests", "Requests for /events that wait", read(&self.waiting)),
            ("log_bytes", "Bytes of the log of events", read(&self.log_bytes)),
            ("stream_events", "Events that memory has followed in all", standing.events as u64),
            ("stream_nodes", "Nodes", standing.nodes as u64),
            ("stream_late_moved", "Late events in all that were moved to the end", moved),
            ("stream_late_refused", "Late events in all that were refused", refused),
            ("uptime_seconds", "Since the start", self.began.elapsed().as_secs()),
        ]
    }

    fn requests_into(&self, out: &mut String) {
        _ = writeln!(
            out,
            "# HELP mspipe_requests_total Requests\n# TYPE mspipe_requests_total counter"
        );
        for ((path, status), count) in locked(&self.requests).iter() {
            _ = writeln!(
                out,
                "mspipe_requests_total{{path=\"{path}\",status=\"{status}\"}} {count}"
            );
        }
        let name = "mspipe_request_seconds";
        _ = writeln!(
            out,
            "# HELP {name} Time from a request's last byte to its answer\n# TYPE {name} histogram"
        );
        for (path, of) in locked(&self.latencies).iter() {
            let mut sum = 0;
            for (class, count) in CLASSES.iter().zip(of.classes) {
                sum += count;
                _ = writeln!(out, "{name}_bucket{{path=\"{path}\",le=\"{class}\"}} {sum}");
            }
            _ = writeln!(
                out,
                "{name}_bucket{{path=\"{path}\",le=\"+Inf\"}} {}",
                of.count
            );
            _ = writeln!(
                out,
                "{name}_sum{{path=\"{path}\"}} {}\n{name}_count{{path=\"{path}\"}} {}",
                of.seconds, of.count
            );
        }
    }
}

impl Pulse {
    /// Seconds without events up to `now` are empty.
    fn pass(&mut self, now: u64) {
        for second in (self.at + 1..=now).take(PULSE) {
            self.seconds[second as usize % PULSE] = 0;
        }
        // After a longer silence all are.
        if now - self.at.min(now) >= PULSE as u64 {
            self.seconds = [0; PULSE];
        }
        self.at = self.at.max(now);
    }
}
