//! `length`: what an event costs in streams of different lengths, and at different places of one.
//!
//! A stream is opened as a whole: all its events are in the graph, all its nodes have memory.
//! Trained are stretches of `--events` events at its beginning, in its middle and at the end of
//! its training part, `--epochs` times each, and the median is reported. The first pass over a
//! stretch, which reads features from the disk where they are not in the page cache, is
//! reported by itself.

use std::fmt;

use anyhow::{Result, ensure};
use clap::Args;
use mspipe::config::{self, RunConfig};
use mspipe::device;
use mspipe::interrupt;
use mspipe::numbers;
use mspipe::profiler::machine::median;
use mspipe::session::Session;
use mspipe_datasets::Split;
use serde::Serialize;

use crate::speed::refuse_out;

/// What to measure.
#[derive(Debug, Args)]
#[command(mut_args(|option| numbers::read_here(option, None)))]
pub struct LengthConfig {
    #[command(flatten)]
    run: RunConfig,
    /// Streams, the shortest first; --data is not used
    #[arg(
        long,
        value_name = "STREAM,STREAM",
        value_delimiter = ',',
        required = true
    )]
    streams: Vec<String>,
    /// Events of a stretch; less where a training part has less
    #[arg(long, value_name = "N", default_value_t = 120_000)]
    events: usize,
}

/// One stretch of one stream.
#[derive(Debug, Serialize)]
pub struct Stretch {
    /// The stream.
    pub stream: String,
    /// Whether the stream was generated.
    pub synthetic: bool,
    /// Its events and nodes.
    pub stream_events: usize,
    /// Its nodes.
    pub nodes: usize,
    /// First event of the stretch.
    pub first: usize,
    /// Events of the stretch.
    pub events: usize,
    /// Training events per second of the first pass.
    pub first_pass: f64,
    /// Median training events per second of the other passes.
    pub events_per_s: f64,
}

/// All stretches.
#[derive(Debug, Serialize)]
pub struct LengthReport {
    /// Device that trained.
    pub device: String,
    /// The model.
    pub model: String,
    /// Events per batch.
    pub batch_size: usize,
    /// Stretches of each stream in the order that was given.
    pub stretches: Vec<Stretch>,
}

/// Measures every stretch.
///
/// # Errors
/// When a stream can't be opened or a run fails.
pub fn measure(config: LengthConfig) -> Result<LengthReport> {
    let LengthConfig {
        mut run,
        streams,
        events,
    } = config;
    refuse_out(&run)?;
    ensure!(events > 0, "--events is 0, expected at least 1");
    run.training.epochs = run.training.epochs.max(2);
    config::start_threads(run.machine.threads)?;
    let (mut stretches, mut adapter) = (Vec::new(), String::new());
    for stream in streams {
        let mut config = run.clone();
        config.source.data = stream;
        let session = Session::open_until(config, &interrupt::stop())?;
        let of_stream = device::on_device_thread(|| -> Result<Vec<Stretch>> {
            let opened = device::open(run.device)?;
            adapter.clone_from(&opened.adapter);
            train(&session, &opened.device, events)
        })??;
        stretches.extend(of_stream);
    }
    Ok(LengthReport {
        device: adapter,
        model: run.model.name.to_string(),
        batch_size: run.training.batch_size,
        stretches,
    })
}

fn train(session: &Session, device: &burn::tensor::Device, events: usize) -> Result<Vec<Stretch>> {
    let batch = session.config().training.batch_size;
    let part = session.split.train.clone();
    // Evaluation, which is not timed, takes a batch behind the stretch each.
    let room = part.len().saturating_sub(2 * batch);
    ensure!(room > 0, "{}: too few events", session.data.name);
    let events = events.min(room);
    let mut firsts = vec![
        part.start,
        part.start + (room - events) / 2,
        part.start + room - events,
    ];
    firsts.dedup();
    let mut stretches = Vec::new();
    for first in firsts {
        let end = first + events;
        let mut training = session.training(device)?;
        training.evaluator.split = Split {
            train: first..end,
            val: end..end + batch,
            test: end + batch..end + 2 * batch,
        };
        let (record, _) = training.run(&mut |_| Ok(()))?;
        let speeds: Vec<f64> = record
            .epochs
            .iter()
            .map(|epoch| epoch.events_per_s)
            .collect();
        stretches.push(Stretch {
            stream: session.data.name.clone(),
            synthetic: session.data.synthetic,
            stream_events: session.data.events,
            nodes: session.data.nodes,
            first,
            events,
            first_pass: speeds[0],
            events_per_s: median(&speeds[1..]),
        });
    }
    Ok(stretches)
}

impl fmt::Display for LengthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, batch {}, {}",
            self.model, self.batch_size, self.device
        )?;
        write!(
            f,
            "{:>12} {:>8} {:>12} {:>9} {:>14} {:>12}  stream",
            "events", "nodes", "from event", "trained", "first pass/s", "events/s"
        )?;
        for stretch in &self.stretches {
            let synthetic = if stretch.synthetic {
                " (SYNTHETIC)"
            } else {
                ""
            };
            write!(
                f,
                "\n{:>12} {:>8} {:>12} {:>9} {:>14.0} {:>12.0}  {}{synthetic}",
                stretch.stream_events,
                stretch.nodes,
                stretch.first,
                stretch.events,
                stretch.first_pass,
                stretch.events_per_s,
                stretch.stream
            )?;
        }
        Ok(())
    }
}
