//! What happened in a run: spans of stages, and their view in Chrome's trace viewer.
//!
//! Invariant: the spans of one lane don't overlap. Only the first iterations of a run keep
//! theirs (a long stream has millions); times and the ledger are of all. A span is what a thread spent, or
//! on the lanes `gpu` and `bus` what a device's queue did, as far as that was measured
//! ([`super::queue`]).
//!
//! Source of the format: "Trace Event Format" of the Chromium project (complete events
//! `ph: "X"`, times in µs; metadata events `ph: "M"`), which ui.perfetto.dev reads too.

use std::io::{self, Write};
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ledger::LedgerLine;
use super::queue::QueueIteration;
use super::step::{Lane, Step};
use super::{Stage, StageTimes};

/// One step of one iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The thread that ran it, or the lane of the device's queue.
    pub lane: Lane,
    /// What it ran.
    pub step: Step,
    /// Iteration of the epoch, from 0.
    pub iteration: usize,
    /// When it began, on the run's clock.
    pub begin: Duration,
    /// When it ended.
    pub end: Duration,
    /// Bytes that it moved, as far as it says.
    pub bytes: u64,
}

/// What ranks give one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// Gradients and loss.
    Gradients,
    /// Updated rows of memory.
    Rows,
}

impl Given {
    fn name(self) -> &'static str {
        match self {
            Given::Gradients => "gradients",
            Given::Rows => "rows",
        }
    }
}

/// An exchange with other ranks, until all had what all gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeSpan {
    /// What was given.
    pub given: Given,
    /// Iteration of the epoch, from 0.
    pub iteration: usize,
    /// When it began, on the run's clock.
    pub begin: Duration,
    /// When it ended.
    pub end: Duration,
    /// Bytes that this rank gave.
    pub bytes: u64,
}

/// What another rank spent in the first iterations, on its own clock.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RankTrace {
    /// By lane and time.
    pub spans: Vec<Span>,
    /// By time, those of one kind.
    pub exchanges: Vec<ExchangeSpan>,
}

/// What a run yields beside its results.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Time spent in each stage, over all threads.
    pub times: StageTimes,
    /// Time of these in `train` until the updated memory was known; zero where that is not told from
    /// the rest.
    pub updater: Duration,
    /// What the device's queue spent, if it has one.
    pub queue: QueueTotals,
    /// Spans of the first iterations, by lane and time.
    pub spans: Vec<Span>,
    /// What each trained iteration read.
    pub ledger: Vec<LedgerLine>,
    /// What the first iterations exchanged with other ranks.
    pub exchanges: Vec<ExchangeSpan>,
    /// What the other ranks did, from rank 1 on.
    pub others: Vec<RankTrace>,
}

/// Time that a device's queue spent in each stage, over the iterations in which it was measured.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct QueueTotals {
    /// Running kernels.
    pub gpu: StageTimes,
    /// Copying between host and device.
    pub bus: StageTimes,
    /// Running the kernels of `train` until the updated memory was known; zero where that is not told
    /// from the rest.
    #[serde(default)]
    pub updater: Duration,
    /// Time of the device's thread to encode all of it: from the begin of each step until it was submitted.
    #[serde(default)]
    pub encode: Duration,
    /// Iterations measured.
    pub iterations: u64,
    /// Of these, those in which each step was waited for, for want of a clock on the device.
    pub in_turn: u64,
}

impl QueueTotals {
    /// Adds what was measured in another run.
    pub(crate) fn add_all(&mut self, other: &QueueTotals) {
        self.gpu.add_all(&other.gpu);
        self.bus.add_all(&other.bus);
        self.updater += other.updater;
        self.encode += other.encode;
        self.iterations += other.iterations;
        self.in_turn += other.in_turn;
    }

    /// Seconds of the device's thread to encode an iteration, the mean of those measured.
    pub(crate) fn mean_encode_seconds(&self) -> Option<f64> {
        (self.iterations > 0).then(|| self.encode.as_secs_f64() / self.iterations as f64)
    }

    /// Seconds of each lane and stage in an iteration, the mean of those measured.
    pub(crate) fn mean_seconds(&self, lane: Lane, stage: Stage) -> Option<f64> {
        let times = match lane {
            Lane::Bus => &self.bus,
            _ => &self.gpu,
        };
        (self.iterations > 0).then(|| times.of(stage).as_secs_f64() / self.iterations as f64)
    }
}

impl Record {
    /// Adds what the device's queue did for an iteration; keeps the spans if it is `traced`.
    pub(super) fn add_queue(&mut self, ran: &QueueIteration, traced: bool) {
        self.queue.iterations += 1;
        self.queue.in_turn += u64::from(ran.in_turn);
        self.queue.encode += ran.encode();
        for span in &ran.spans {
            let lane = span.step.queue_lane();
            let times = match lane {
                Lane::Bus => &mut self.queue.bus,
                _ => &mut self.queue.gpu,
            };
            let time = span.end.saturating_sub(span.begin);
            times.add(span.step.stage(), time);
            if span.step == Step::Begin {
                self.queue.updater += time;
            }
            if traced {
                self.spans.push(Span {
                    lane,
                    step: span.step,
                    iteration: ran.iteration,
                    begin: span.begin,
                    end: span.end,
                    bytes: 0,
                });
            }
        }
    }

    /// The same of several, of which those below iteration `traced` are.
    pub(crate) fn add_queues(&mut self, ran: Vec<QueueIteration>, traced: usize) {
        for ran in ran {
            self.add_queue(&ran, ran.iteration < traced);
        }
        self.sort_spans();
    }

    /// Time that the device thread waited for its input.
    pub(crate) fn stall(&self) -> Duration {
        let stall_us = self.ledger.iter().map(|line| line.stall_us).sum();
        Duration::from_micros(stall_us)
    }

    /// Continues with what happened next.
    pub fn extend(&mut self, next: Record) {
        self.times.add_all(&next.times);
        self.updater += next.updater;
        self.queue.add_all(&next.queue);
        self.spans.extend(next.spans);
        self.sort_spans();
        self.ledger.extend(next.ledger);
        self.exchanges.extend(next.exchanges);
        self.others.extend(next.others);
    }

    /// Adds a stage of an iteration that overlaps with no other one, and so sees all updates
    /// before it; keeps its span if it is `traced`.
    pub(crate) fn add_in_turn(&mut self, epoch: u64, span: Span, traced: bool) {
        let Span {
            step, iteration, ..
        } = span;
        self.times.add(step.stage(), span.end - span.begin);
        if traced {
            self.spans.push(span);
        }
        if step == Step::Train {
            let line = LedgerLine::new(epoch, iteration, 1, iteration);
            self.ledger.push(line);
        }
    }

    /// Lanes end steps in an order that is up to the threads.
    pub(super) fn sort_spans(&mut self) {
        self.spans
            .sort_by_key(|span| (span.lane, span.begin, span.iteration, span.step));
    }

    /// Mean time from one iteration's training to the next one's, over the last half of the
    /// spans; `None` with fewer than four iterations. With staleness k, beginnings repeat only
    /// every k iterations; the half is cut to a multiple of 6, which all k up to 3 divide.
    pub fn period(&self) -> Option<Duration> {
        let begins: Vec<Duration> = self
            .spans
            .iter()
            .filter(|span| span.lane == Lane::Device)
            .filter(|span| matches!(span.step, Step::Train | Step::Begin))
            .map(|span| span.begin)
            .collect();
        let half = begins.len() / 2;
        let steps = if half >= 6 { half - half % 6 } else { half };
        let last = *begins.last()?;
        let from = *begins.get(begins.len() - 1 - steps)?;
        (steps >= 2).then(|| (last - from).div_f64(steps as f64))
    }

    /// What the device waited between its spans, each with the iteration that it waited for: its
    /// queue if that was measured, else its thread.
    pub(crate) fn waits(&self) -> Vec<(Lane, Range<Duration>, usize)> {
        waits(&self.spans)
    }

    /// Writes the spans as a trace that chrome://tracing and ui.perfetto.dev open: a row a
    /// lane, a process a rank; what the device waited is named `bubble`.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_chrome(&self, out: &mut impl Write) -> io::Result<()> {
        let mut separator = "[\n";
        let mut event = |value: Value| {
            let text = format!("{separator}{value}");
            separator = ",\n";
            out.write_all(text.as_bytes())
        };
        let name = match self.others.is_empty() {
            true => "mspipe",
            false => "mspipe, rank 0",
        };
        self.write_process((1, name), &self.spans, &self.exchanges, &mut event)?;
        for (rank, other) in (1..).zip(&self.others) {
            let name = format!("mspipe, rank {rank}");
            let (spans, exchanges) = (&other.spans, &other.exchanges);
            self.write_process((1 + rank, &name), spans, exchanges, &mut event)?;
        }
        out.write_all(b"\n]\n")
    }

    fn write_process(
        &self,
        (pid, name): (usize, &str),
        spans: &[Span],
        exchanges: &[ExchangeSpan],
        event: &mut dyn FnMut(Value) -> io::Result<()>,
    ) -> io::Result<()> {
        event(json!({
            "ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name},
        }))?;
        let queued = spans.iter().any(|span| span.lane == Lane::Gpu);
        let drawn = |lane: &Lane| queued || !matches!(lane, Lane::Gpu | Lane::Bus);
        let lanes = Lane::ALL.into_iter().filter(drawn);
        let mut rows: Vec<(usize, &str)> =
            lanes.map(|lane| (lane as usize + 1, lane.name())).collect();
        if !exchanges.is_empty() {
            rows.extend([Given::Gradients, Given::Rows].map(|given| (row_of(given), given.name())));
        }
        for (tid, name) in rows {
            event(json!({
                "ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name},
            }))?;
            event(json!({
                "ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid,
                "args": {"sort_index": tid},
            }))?;
        }
        for (lane, gap, iteration) in waits(spans) {
            event(json!({
                "ph": "X", "name": "bubble", "cat": "bubble", "pid": pid, "tid": lane as usize + 1,
                "ts": micros(gap.start), "dur": micros(gap.end - gap.start),
                "args": {"iteration": iteration},
            }))?;
        }
        for span in spans {
            let tid = span.lane as usize + 1;
            let mut args = json!({"iteration": span.iteration, "step": span.step});
            if span.bytes > 0 {
                args["bytes"] = span.bytes.into();
            }
            if matches!(span.step, Step::Gather)
                && let Some(line) = self.line(span.iteration)
            {
                args["k"] = line.k.into();
                args["version"] = line.version.into();
            }
            event(json!({
                "ph": "X", "name": span.step.stage().name(), "cat": "stage", "pid": pid, "tid": tid,
                "ts": micros(span.begin), "dur": micros(span.end - span.begin), "args": args,
            }))?;
        }
        for span in exchanges {
            event(json!({
                "ph": "X", "name": span.given.name(), "cat": "exchange", "pid": pid,
                "tid": row_of(span.given), "ts": micros(span.begin),
                "dur": micros(span.end - span.begin),
                "args": {"iteration": span.iteration, "bytes": span.bytes},
            }))?;
        }
        Ok(())
    }

    /// The ledger's line of an iteration.
    pub(crate) fn line(&self, iteration: usize) -> Option<&LedgerLine> {
        let first = self.ledger.first()?.iteration;
        self.ledger.get(iteration.checked_sub(first)?)
    }
}

/// The row of an exchange, below those of the lanes.
fn row_of(given: Given) -> usize {
    Lane::ALL.len() + 1 + given as usize
}

fn waits(spans: &[Span]) -> Vec<(Lane, Range<Duration>, usize)> {
    let of_queue = |span: &&Span| matches!(span.lane, Lane::Gpu | Lane::Bus);
    let mut own: Vec<&Span> = spans.iter().filter(of_queue).collect();
    let lane = match own.is_empty() {
        true => Lane::Device,
        false => Lane::Gpu,
    };
    if own.is_empty() {
        own.extend(spans.iter().filter(|span| span.lane == lane));
    }
    own.sort_by_key(|span| (span.begin, span.end));
    let gaps = own.windows(2).filter_map(|pair| {
        let (before, after) = (pair[0], pair[1]);
        // Between iterations that were not both measured nobody knows what it did.
        let follows = after.iteration <= before.iteration + 1;
        let gap = before.end..after.begin;
        (follows && gap.start < gap.end).then_some((lane, gap, after.iteration))
    });
    gaps.collect()
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::queue::QueueSpan;

    #[test]
    fn a_trace_is_json_with_names_and_bubbles() {
        let span = |step, iteration, begin, end, bytes| Span {
            lane: Lane::Device,
            step,
            iteration,
            begin: Duration::from_micros(begin),
            end: Duration::from_micros(end),
            bytes,
        };
        let record = Record {
            spans: vec![
                span(Step::Upload, 0, 0, 10, 64),
                span(Step::Train, 0, 10, 30, 0),
                span(Step::Train, 1, 45, 50, 0),
            ],
            ..Record::default()
        };
        let mut text = Vec::new();
        record.write_chrome(&mut text).unwrap();
        let events: Vec<Value> = serde_json::from_slice(&text).unwrap();
        let complete: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
        let names: Vec<_> = complete.iter().map(|event| &event["name"]).collect();
        assert_eq!(names, ["bubble", "fetch_memory", "train", "train"]);
        assert_eq!(complete[0]["dur"], 15.0);
        assert_eq!(complete[1]["args"]["bytes"], 64);
        assert_eq!(events[1]["args"]["name"], "sampler");
    }

    #[test]
    fn ranks_are_processes_with_what_they_exchange() {
        let us = Duration::from_micros;
        let exchange = |given, begin, bytes| ExchangeSpan {
            given,
            iteration: 3,
            begin: us(begin),
            end: us(begin + 7),
            bytes,
        };
        let other = RankTrace {
            spans: vec![Span {
                lane: Lane::Sampler,
                step: Step::Sample,
                iteration: 3,
                begin: us(1),
                end: us(2),
                bytes: 0,
            }],
            exchanges: vec![exchange(Given::Rows, 20, 400)],
        };
        // As it comes from another rank.
        let sent = serde_json::to_vec(&other).unwrap();
        let record = Record {
            exchanges: vec![exchange(Given::Gradients, 10, 1200)],
            others: vec![serde_json::from_slice(&sent).unwrap()],
            ..Record::default()
        };
        let mut text = Vec::new();
        record.write_chrome(&mut text).unwrap();
        let events: Vec<Value> = serde_json::from_slice(&text).unwrap();
        let named = |name: &str| -> Vec<&Value> {
            events
                .iter()
                .filter(|event| event["name"] == name)
                .collect()
        };
        let processes: Vec<&Value> = named("process_name")
            .iter()
            .map(|event| &event["args"]["name"])
            .collect();
        assert_eq!(processes, ["mspipe, rank 0", "mspipe, rank 1"]);
        assert_eq!(named("sample")[0]["pid"], 2);
        for (name, pid, begin, bytes) in [("gradients", 1, 10.0, 1200), ("rows", 2, 20.0, 400)] {
            let found = named(name)[0];
            assert_eq!(found["pid"], pid);
            assert_eq!((&found["ts"], &found["dur"]), (&json!(begin), &json!(7.0)));
            assert_eq!(found["args"]["bytes"], bytes);
        }
    }

    #[test]
    fn a_queue_has_rows_and_bubbles_of_its_own() {
        let us = Duration::from_micros;
        let mut record = Record::default();
        for iteration in [0, 1] {
            let at = 100 * iteration as u64;
            let span = |step, begin, end| QueueSpan {
                step,
                submitted: us(at),
                encoded: us(at + 5),
                begin: us(at + begin),
                end: us(at + end),
            };
            let spans = vec![span(Step::Upload, 5, 10), span(Step::Train, 10, 60)];
            record.add_queue(
                &QueueIteration {
                    iteration,
                    spans,
                    in_turn: false,
                },
                true,
            );
        }
        record.sort_spans();
        assert_eq!(record.waits(), [(Lane::Gpu, us(60)..us(105), 1)]);
        assert_eq!(record.queue.bus.of(Stage::FetchMemory), us(10));
        let mean = record.queue.mean_seconds(Lane::Gpu, Stage::Train);
        assert_eq!(mean, Some(50e-6));
        let mut text = Vec::new();
        record.write_chrome(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("\"gpu\"") && text.contains("\"bus\""),
            "{text}"
        );
    }
}
