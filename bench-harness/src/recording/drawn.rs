//! Recordings of a drawn stream, without numbers: what [`crate::parity::record`] fills in.
//!
//! Widths are those of a run on Wikipedia; nodes are few, so that each is written several times,
//! and events repeat times and nodes within a batch. Everything comes from a counter: the same
//! on every machine.

use std::path::PathBuf;

use anyhow::Result;
use mspipe::graph::{Directions, NodeId, Queries, Tcsr, Timestamp};
use mspipe::sampling::{NeighborSampler as _, Neighbors, Recent, SampleKey};

use super::{Outcome, RecordedBatch, Recording, Settings};

/// Sources and destinations.
const SOURCES: u64 = 250;
const DESTINATIONS: u64 = 100;

/// `batches` batches of `batch` events for `model`: tgn, jodie or apan.
///
/// # Errors
/// When the stream is larger than a graph holds.
pub fn drawn(model: &str, batches: usize, batch: usize) -> Result<Recording> {
    let settings = Settings {
        model: model.to_owned(),
        nodes: (SOURCES + DESTINATIONS) as usize,
        events: batches * batch,
        batches,
        batch,
        width: 100,
        time_width: 100,
        edge_width: 172,
        node_width: if model == "apan" { 0 } else { 16 },
        heads: 2,
        mail_slots: if model == "apan" { 10 } else { 1 },
        fanout: 10,
        learning_rate: 1e-4,
    };
    let numbers = |seed: u64, count: usize| -> Vec<f32> {
        let one = |i| (draw(seed, i) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..count as u64).map(one).collect()
    };
    Ok(Recording {
        file: PathBuf::from(format!("drawn stream, {model}")),
        edge: numbers(1, settings.events * settings.edge_width),
        node: numbers(2, settings.nodes * settings.node_width),
        initial: Default::default(),
        last: Default::default(),
        batches: drawn_batches(&settings)?,
        settings,
    })
}

/// A number that depends on both alone (splitmix64).
fn draw(seed: u64, i: u64) -> u64 {
    let mut x = (seed << 32 | i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn drawn_batches(settings: &Settings) -> Result<Vec<RecordedBatch>> {
    let events = 0..settings.events as u64;
    // The smaller of two draws: some nodes are busier than others.
    let node = |seed: u64, i: u64, below: u64| {
        (draw(seed, i) % below).min(draw(seed + 1, i) % below) as u32
    };
    let src: Vec<NodeId> = events
        .clone()
        .map(|i| NodeId(node(3, i, SOURCES)))
        .collect();
    let other = |seed| move |i| NodeId(SOURCES as u32 + node(seed, i, DESTINATIONS));
    let dst: Vec<NodeId> = events.clone().map(other(5)).collect();
    let neg: Vec<NodeId> = events.clone().map(other(7)).collect();
    // Two events a time, an hour at most in all: a trained frequency of 1 that differs in its last bit
    // turns the angle of a day by 0.005 and that of a month by 0.15, which no tolerance would pass.
    let time: Vec<Timestamp> = events.map(|i| (i / 2) as Timestamp).collect();
    let graph = Tcsr::build(settings.nodes, &src, &dst, &time, Directions::Both)?;
    let batch = |i: usize| {
        let events = i * settings.batch..(i + 1) * settings.batch;
        let part = |nodes: &[NodeId]| nodes[events.clone()].to_vec();
        let roots = [part(&src), part(&dst), part(&neg)].concat();
        let time = time[events.clone()].to_vec();
        let neighbors = match settings.model.as_str() {
            "jodie" => Neighbors::none(roots.len()),
            _ => {
                let time = time.repeat(3);
                let roots = Queries {
                    node: &roots,
                    time: &time,
                };
                let key = SampleKey {
                    seed: 0,
                    epoch: 0,
                    event: events.start as u64,
                    request: 0,
                };
                let recent = Recent {
                    fanout: settings.fanout,
                };
                recent.sample(&graph, roots, None, key)
            }
        };
        RecordedBatch {
            roots,
            time,
            neighbors,
            outcome: Outcome::default(),
        }
    };
    Ok((0..settings.batches).map(batch).collect())
}
