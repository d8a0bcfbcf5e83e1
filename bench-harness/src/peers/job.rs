//! What a peer trains on: the stream, its parts and its negatives, as files.
//!
//! Negatives are those that mspipe draws, of every training epoch, of validation and of test,
//! so that both train and are measured on the same pairs. Scores come back as files too and are
//! measured here, by the metrics that measure mspipe's own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bytemuck::cast_slice;
use mspipe::config::RunConfig;
use mspipe::eval::metrics::average_precision;
use mspipe::graph::{EventId, NodeId};
use mspipe::sampling::SampleKey;
use mspipe::sampling::SplitPart;
use mspipe::train::evaluation::Evaluator;
use mspipe::train::pass::Pass;
use serde::Serialize;

/// Rows of features that are gathered at a time.
const ROWS: usize = 8_192;

/// `job.json`: what the peer is to train, and how.
#[derive(Debug, Serialize)]
struct Description {
    events: usize,
    nodes: usize,
    edge_width: usize,
    /// First event and end of each part.
    train: [usize; 2],
    val: [usize; 2],
    test: [usize; 2],
    batch_size: usize,
    fanout: usize,
    width: usize,
    time_width: usize,
    heads: usize,
    attention_dropout: f32,
    learning_rate: f64,
    seed: u64,
    threads: usize,
}

/// A job in a folder of its own, which goes with it.
pub(super) struct Job {
    folder: tempfile::TempDir,
    /// Events of validation and test.
    evaluated: [usize; 2],
}

impl Job {
    /// Writes the stream of `evaluator` and all negatives of a run with `config`.
    ///
    /// # Errors
    /// When the folder of temporary files can't be written.
    pub(super) fn write(config: &RunConfig, evaluator: &Evaluator, threads: usize) -> Result<Job> {
        let folder = tempfile::Builder::new()
            .prefix("mspipe-peers-")
            .tempdir()
            .context("the folder of temporary files can't be written")?;
        let (sampling, split) = (evaluator.sampling(), &evaluator.split);
        let (log, features) = (&sampling.log, &sampling.features);
        let events = split.test.end;
        let write = |name: &str, bytes: &[u8]| -> Result<()> {
            let path: PathBuf = folder.path().join(name);
            fs::write(&path, bytes).with_context(|| format!("{}: can't be written", path.display()))
        };
        let nodes = |ids: &[u32]| -> Vec<i64> { ids.iter().map(|&id| id.into()).collect() };
        write("src", &little_endian(&nodes(&log.src()[..events])))?;
        write("dst", &little_endian(&nodes(&log.dst()[..events])))?;
        write("time", &little_endian(&log.time()[..events]))?;
        if features.edge_width() > 0 {
            let mut bytes = Vec::with_capacity(4 * events * features.edge_width());
            for start in (0..events).step_by(ROWS) {
                let ids: Vec<EventId> = (start..(start + ROWS).min(events))
                    .map(|event| EventId(event as u32))
                    .collect();
                let rows = features.edge_rows(&ids).first(ids.len());
                bytes.extend(rows.iter().flat_map(|number| number.to_le_bytes()));
            }
            write("edge", &bytes)?;
        }
        let negatives = |name: &str, pass: &Pass| -> Result<()> {
            let mut drawn = Vec::with_capacity(pass.events.len());
            for iteration in 0..pass.iterations() {
                let batch = pass.batch(iteration)?;
                drawn.extend(nodes(cast_slice::<NodeId, u32>(&batch.neg)));
            }
            write(name, &little_endian(&drawn))
        };
        for epoch in 1..=config.training.epochs {
            let pass = evaluator.pass(SplitPart::Train, epoch as u64);
            negatives(&format!("train-{epoch}"), &pass)?;
        }
        negatives("val", &evaluator.pass(SplitPart::Validation, 0))?;
        negatives("test", &evaluator.pass(SplitPart::Test, 0))?;
        let part = |range: &std::ops::Range<usize>| [range.start, range.end];
        let description = Description {
            events,
            nodes: log.nodes(),
            edge_width: features.edge_width(),
            train: part(&split.train),
            val: part(&split.val),
            test: part(&split.test),
            batch_size: config.training.batch_size,
            fanout: config.model.fanout,
            width: config.model.width,
            time_width: config.model.time_width,
            heads: config.model.heads,
            attention_dropout: config.model.attention_dropout,
            learning_rate: config.training.learning_rate,
            seed: config.training.seed,
            threads,
        };
        write("job.json", &serde_json::to_vec_pretty(&description)?)?;
        Ok(Job {
            evaluated: [split.val.len(), split.test.len()],
            folder,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Pooled AP of validation and test, from the scores that the peer left.
    ///
    /// # Errors
    /// When scores are missing, are too few or have no rank.
    pub(super) fn average_precisions(&self) -> Result<[f64; 2]> {
        let [val, test] = self.evaluated;
        Ok([self.measured("val", val)?, self.measured("test", test)?])
    }

    fn measured(&self, part: &str, events: usize) -> Result<f64> {
        let path = self.path().join(format!("{part}.scores"));
        let bytes = fs::read(&path).with_context(|| format!("{}", path.display()))?;
        let (words, rest) = bytes.as_chunks::<4>();
        ensure!(
            words.len() == 2 * events && rest.is_empty(),
            "{}: found {} bytes, expected two f32 for each of {events} events",
            path.display(),
            bytes.len()
        );
        let scores: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        let (positive, negative) = scores.split_at(events);
        average_precision(positive, negative).context("the peer's scores")
    }
}

fn little_endian(numbers: &[i64]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// Past events that mspipe's sampler gives a training batch, the mean over an epoch.
///
/// # Errors
/// When negatives can't be drawn.
pub(super) fn neighbor_rows(pass: &Pass) -> Result<f64> {
    let sampling = &*pass.sampling;
    let mut rows = 0;
    for iteration in 0..pass.iterations() {
        let batch = pass.batch(iteration)?;
        let roots = batch.roots();
        let key = SampleKey {
            seed: sampling.seed,
            epoch: pass.epoch,
            event: batch.events.start as u64,
            request: 0,
        };
        let sampled = sampling
            .sampler
            .sample(&sampling.graph, roots.queries(), None, key);
        rows += sampled.len.iter().map(|&len| len as usize).sum::<usize>();
    }
    Ok(rows as f64 / pass.iterations() as f64)
}

#[cfg(test)]
mod tests {

    use clap::Parser;
    use mspipe::device::{self, DeviceChoice};
    use mspipe::session::Session;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        run: RunConfig,
    }

    #[test]
    fn the_peer_gets_the_stream_and_the_negatives_of_the_session() {
        let arguments = [
            "test",
            "--data=synthetic:wikipedia:scale=0.005",
            "--edge-features=random:3",
            "--epochs=2",
        ];
        let session = Session::open(Program::parse_from(arguments).run).unwrap();
        device::on_device_thread(|| {
            let device = device::open(DeviceChoice::Cpu).unwrap();
            let training = session.training(&device.device).unwrap();
            let evaluator = &training.evaluator;
            let job = Job::write(session.config(), evaluator, 1).unwrap();

            let read = |name: &str| fs::read(job.path().join(name)).unwrap();
            let log = &evaluator.sampling().log;
            assert_eq!(read("time"), little_endian(log.time()));
            let src: Vec<i64> = log.src().iter().map(|&id| id.into()).collect();
            assert_eq!(read("src"), little_endian(&src));
            assert_eq!(read("edge").len(), 4 * 3 * log.events());
            let train = |epoch| evaluator.pass(SplitPart::Train, epoch);
            let first: Vec<i64> = train(2)
                .batch(0)
                .unwrap()
                .neg
                .iter()
                .map(|id| id.0.into())
                .collect();
            assert!(read("train-2").starts_with(&little_endian(&first)));
            assert_ne!(read("train-1"), read("train-2"));
            assert_eq!(read("test").len(), 8 * session.split.test.len());

            let error = job.average_precisions().unwrap_err();
            assert!(format!("{error:#}").contains("val.scores"), "{error:#}");
            for (name, events) in [
                ("val", session.split.val.len()),
                ("test", session.split.test.len()),
            ] {
                // All positives above all negatives.
                let scores = [vec![1.0f32; events], vec![0.0; events]].concat();
                let bytes: Vec<u8> = scores
                    .iter()
                    .flat_map(|score| score.to_le_bytes())
                    .collect();
                fs::write(job.path().join(format!("{name}.scores")), bytes).unwrap();
            }
            assert_eq!(job.average_precisions().unwrap(), [1.0, 1.0]);
            fs::write(job.path().join("test.scores"), [0; 7]).unwrap();
            let error = job.average_precisions().unwrap_err();
            assert!(error.to_string().contains("found 7 bytes"), "{error}");
        })
        .unwrap();
    }
}
