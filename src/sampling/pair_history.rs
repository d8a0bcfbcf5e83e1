//! What a source and a candidate have had to do with each other: statistics of a pair at a time.
//!
//! They come from the stream itself when a batch is sampled, not from node memory, so they are
//! never stale, whatever the schedule. A statistic at time t counts the events strictly before t
//! and, if the batch is hidden, before the batch's first event; whether a sampler or a graph of
//! sources alone sees them does not matter. Meetings are undirected. Nothing is scanned: an
//! [`Index`] of the whole stream is built once, and a query takes one binary search per node and
//! pair. Results do not depend on the number of threads.
//!
//! [`Encoding`] turns counts and times into numbers of about one size; its scales and moments are
//! of the training part alone and belong to the weights that were trained on it.
//!
//! Whether two nodes have met is all that EdgeBank knows (Poursafaei et al., NeurIPS 2022). Decayed
//! counts are the intensities of a Hawkes process with exponential kernels (Hawkes, Biometrika
//! 1971), which are kept up to date event by event.

mod encoding;
mod index;
mod statistic;

use rayon::prelude::*;

use encoding::{Encoder, Facts, SAMPLED_EVENTS, Seen};
pub use encoding::{Encoding, EncodingArrays, Training};
use index::{Index, Met, Past};
pub use statistic::{SCALES, STATISTICS, Statistic, WIDTH};

use crate::graph::{EventColumns, EventId, NodeId, Timestamp};
use crate::sampling::counter_rng::RandomStreams;

/// Bytes of the histories of so many events and nodes, if all pairs differ, with what building takes
/// on so many threads.
pub fn most_bytes(events: u64, nodes: u64, threads: u64) -> u64 {
    index::most_bytes(events, nodes, threads) + encoding::most_bytes(events)
}

/// Pairs that are asked for; the three columns have the same length.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// The sources.
    pub source: &'a [NodeId],
    /// Whom each may interact with.
    pub candidate: &'a [NodeId],
    /// When, in ticks.
    pub time: &'a [Timestamp],
}

/// Pairs of one unit of parallel work: a pair takes a fifth of a microsecond or more.
const PAIRS_PER_CHUNK: usize = 128;

/// Histories of all pairs of a stream; see the module.
#[derive(Debug)]
pub struct PairHistory {
    index: Index,
    encoder: Encoder,
}

impl PairHistory {
    /// Of the stream that `training` is a part of, with the encoding of that part, or with `given`,
    /// which weights were trained with.
    pub fn new(training: &Training<'_>, given: Option<Encoding>) -> PairHistory {
        let met = Met::of(training.nodes, training.stream);
        let known = given.is_some();
        let encoding = given.unwrap_or_else(|| Encoding::of_gaps(&met, training));
        let encoder = Encoder::new(encoding, training.ticks_per_unit);
        let index = met.decayed(training.stream.time, encoder.scales);
        let mut history = PairHistory { index, encoder };
        if !known {
            let rows = history.sample(training);
            let encoding = history.encoder.encoding.standardised(&rows);
            history.encoder = Encoder::new(encoding, training.ticks_per_unit);
        }
        history
    }

    /// How its numbers are encoded.
    pub fn encoding(&self) -> &Encoding {
        &self.encoder.encoding
    }

    /// Encoded statistics of each pair, `[pairs, WIDTH]`, from the events of `stream` before the
    /// pair's time and, if that is given, before `hidden_from`. Consecutive pairs of one source and
    /// time share what is of the source.
    ///
    /// # Panics
    /// If the columns of `pairs` differ in length or name a node that the stream does not have; if
    /// it is not the stream that this was built of.
    pub fn of_pairs(
        &self,
        stream: EventColumns<'_>,
        pairs: Pairs<'_>,
        hidden_from: Option<EventId>,
    ) -> Vec<f32> {
        let count = pairs.source.len();
        assert_eq!([pairs.candidate.len(), pairs.time.len()], [count; 2]);
        let mut rows = vec![0.0; count * WIDTH];
        let columns = (pairs.source.par_chunks(PAIRS_PER_CHUNK))
            .zip(pairs.candidate.par_chunks(PAIRS_PER_CHUNK))
            .zip(pairs.time.par_chunks(PAIRS_PER_CHUNK));
        rows.par_chunks_mut(PAIRS_PER_CHUNK * WIDTH)
            .zip(columns)
            .for_each(|(rows, ((source, candidate), time))| {
                let mut previous: Option<OfSource> = None;
                let pairs = source.iter().zip(candidate).zip(time);
                for (row, ((&source, &candidate), &time)) in rows.chunks_exact_mut(WIDTH).zip(pairs)
                {
                    let of_source = previous
                        .filter(|of_source| (of_source.node, of_source.time) == (source, time))
                        .unwrap_or_else(|| self.of_source(stream, source, time, hidden_from));
                    self.fill(stream, &of_source, candidate, row);
                    previous = Some(of_source);
                }
            });
        rows
    }

    /// What all candidates of a source at a time share.
    fn of_source(
        &self,
        stream: EventColumns<'_>,
        source: NodeId,
        time: Timestamp,
        hidden_from: Option<EventId>,
    ) -> OfSource {
        // Events are in order of time, so that the two limits are one event.
        let earlier = EventId(stream.time.partition_point(|&other| other < time) as u32);
        let before = hidden_from.map_or(earlier, |hidden| hidden.min(earlier));
        let past = self.index.of_node(source, before);
        let partner = past.last.map(|(last, _)| {
            let (src, dst) = (stream.src[last.index()], stream.dst[last.index()]);
            if src == source { dst } else { src }
        });
        let mut of_source = OfSource {
            node: source,
            time,
            before,
            partner,
            seen: seen(past, stream, time),
            row: [0.0; WIDTH],
        };
        let facts = Facts {
            source: of_source.seen,
            ..Facts::default()
        };
        for (place, statistic) in STATISTICS.into_iter().enumerate() {
            if statistic.is_of_source() {
                of_source.row[place] = self.encoder.encode(place, &facts);
            }
        }
        of_source
    }

    /// The statistics of a candidate, `[WIDTH]`.
    fn fill(
        &self,
        stream: EventColumns<'_>,
        source: &OfSource,
        candidate: NodeId,
        row: &mut [f32],
    ) {
        let met = self.index.of_pair(source.node, candidate, source.before);
        let past = self.index.of_node(candidate, source.before);
        let facts = Facts {
            source: source.seen,
            candidate: seen(past, stream, source.time),
            met: seen(met, stream, source.time),
            last_partner: source.partner == Some(candidate),
        };
        row.copy_from_slice(&source.row);
        for (place, statistic) in STATISTICS.into_iter().enumerate() {
            if !statistic.is_of_source() {
                row[place] = self.encoder.encode(place, &facts);
            }
        }
    }
}

impl PairHistory {
    /// Encoded statistics of training events, each followed by one negative of its source:
    /// `[2 samples, WIDTH]`. Samples are all training events, or as many as
    /// [`SAMPLED_EVENTS`], spread evenly.
    pub fn sample(&self, training: &Training<'_>) -> Vec<f32> {
        let (stream, events) = (training.stream, training.events);
        let mut destinations = stream.dst[..events].to_vec();
        destinations.par_sort_unstable();
        destinations.dedup();
        let samples = events.min(SAMPLED_EVENTS);
        // Not the run's seed: runs that differ by it alone see one encoding.
        let draws = RandomStreams::new(0, 0, b"pairstat");
        let mut rows = vec![0.0; 2 * samples * WIDTH];
        rows.par_chunks_mut(2 * WIDTH)
            .enumerate()
            .for_each(|(sample, rows)| {
                let event = (sample as u64 * events as u64 / samples as u64) as usize;
                let drawn = draws
                    .at(event as u64, 0)
                    .u32_below(destinations.len() as u32);
                let hidden = training.hidden_batch.map(|batch| event - event % batch);
                let asked = self.of_source(
                    stream,
                    stream.src[event],
                    stream.time[event],
                    hidden.map(|first| EventId(first as u32)),
                );
                let both = [stream.dst[event], destinations[drawn as usize]];
                for (row, candidate) in rows.chunks_exact_mut(WIDTH).zip(both) {
                    self.fill(stream, &asked, candidate, row);
                }
            });
        rows
    }
}

/// What all candidates of a source at a time share.
#[derive(Clone, Copy)]
struct OfSource {
    node: NodeId,
    time: Timestamp,
    /// The first event that is not seen.
    before: EventId,
    /// Whom its last event was with.
    partner: Option<NodeId>,
    seen: Seen,
    /// With the statistics that are of the source alone.
    row: [f32; WIDTH],
}

/// What `past` is at `now`.
fn seen(past: Past, stream: EventColumns<'_>, now: Timestamp) -> Seen {
    Seen {
        count: past.count,
        // Exact in ticks before it becomes a float.
        last: past
            .last
            .map(|(last, decayed)| ((now - stream.time[last.index()]) as f64, decayed)),
    }
}

#[cfg(test)]
mod tests;
