//! Bodies of requests: events of a stream's nodes, some of them new, and pairs to score.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use anyhow::{Context, Result};
use mspipe::{Predictor, Side};
use mspipe_datasets::NodeKey;

/// What events and pairs are made of.
pub(super) struct Stream {
    sources: Vec<String>,
    destinations: Vec<String>,
    text: bool,
    feature_width: usize,
    /// The time of the next event, in the stream's unit.
    time: AtomicI64,
    /// Nodes that nobody has seen.
    new: AtomicU64,
}

/// Numbers that are as good as random.
pub(super) struct Draws(pub(super) u64);

impl Draws {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of<'a>(&mut self, all: &'a [String]) -> &'a str {
        &all[(self.next() % all.len() as u64) as usize]
    }
}

/// As JSON has it.
fn json(key: &NodeKey) -> String {
    match key {
        NodeKey::Number(number) => number.to_string(),
        NodeKey::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
    }
}

impl Stream {
    pub(super) fn of(predictor: &Predictor) -> Result<Stream> {
        let (mut sources, mut destinations) = (Vec::new(), Vec::new());
        for (key, side) in predictor.nodes() {
            if side != Some(Side::Destination) {
                sources.push(json(&key));
            }
            if side != Some(Side::Source) {
                destinations.push(json(&key));
            }
        }
        let last = predictor.last().context("a stream without events")?;
        Ok(Stream {
            sources,
            destinations,
            text: predictor.ids_are_text(),
            feature_width: predictor.feature_width(),
            time: AtomicI64::new(last / predictor.ticks_per_unit() + 1),
            new: AtomicU64::new(1 << 40),
        })
    }

    /// Features of events, as JSON has them, to be used again and again.
    pub(super) fn features(&self, draws: &mut Draws) -> Vec<String> {
        let value = |draws: &mut Draws| draws.next() % 2000;
        let row = |draws: &mut Draws| -> Vec<String> {
            let values = (0..self.feature_width).map(|_| value(draws));
            values
                .map(|value| format!("{}", value as f32 / 1000.0 - 1.0))
                .collect()
        };
        (0..64).map(|_| row(draws).join(",")).collect()
    }

    /// A body of `events` events, of which one in `new_every` has a source that nobody has seen.
    pub(super) fn events(
        &self,
        events: usize,
        new_every: Option<u64>,
        features: &[String],
        draws: &mut Draws,
    ) -> String {
        let mut body = String::with_capacity(events * (60 + features[0].len()));
        let first = self.time.fetch_add(events as i64, Ordering::Relaxed);
        for time in (first..).take(events) {
            let is_new = new_every.is_some_and(|every| draws.next().is_multiple_of(every));
            body.push_str("{\"src\":");
            match is_new {
                true => {
                    let id = self.new.fetch_add(1, Ordering::Relaxed);
                    let quote = if self.text { "\"" } else { "" };
                    body.push_str(&format!("{quote}{id}{quote}"));
                }
                false => body.push_str(draws.of(&self.sources)),
            }
            body.push_str(",\"dst\":");
            body.push_str(draws.of(&self.destinations));
            body.push_str(&format!(",\"time\":{time},\"features\":["));
            body.push_str(draws.of(features));
            body.push_str("]}\n");
        }
        body
    }

    /// A body that asks for `pairs` pairs.
    pub(super) fn pairs(&self, pairs: usize, draws: &mut Draws) -> String {
        let pair = |_| {
            format!(
                "[{},{}]",
                draws.of(&self.sources),
                draws.of(&self.destinations)
            )
        };
        let pairs: Vec<String> = (0..pairs).map(pair).collect();
        format!("{{\"pairs\":[{}]}}", pairs.join(","))
    }
}
