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
mod tail;

use rayon::prelude::*;

use encoding::{Encoder, Facts, SAMPLED_EVENTS, Seen, TOGETHER};
pub use encoding::{Encoding, EncodingArrays, Training};
use index::{At, Index, Met, Past, count_first};
pub use statistic::{SCALES, STATISTICS, Statistic, WIDTH};
pub(crate) use tail::SavedStates;
use tail::Tail;

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

/// Events of a batch, whose sources meet two candidates each; all columns have the same length.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    /// The sources.
    pub source: &'a [NodeId],
    /// Whom each may interact with, first and second candidates.
    pub candidates: [&'a [NodeId]; 2],
    /// When, in ticks.
    pub time: &'a [Timestamp],
}

/// Pairs of one unit of parallel work: a pair takes a tenth of a microsecond or more.
const PAIRS_PER_CHUNK: usize = 4 * TOGETHER;

/// Histories of all pairs of a stream; see the module.
#[derive(Debug)]
pub struct PairHistory {
    index: Index,
    /// What came after the index was built.
    tail: Tail,
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
        let mut history = PairHistory {
            index,
            tail: Tail::after(training.stream.time.len()),
            encoder,
        };
        if !known {
            let rows = history.sample(training);
            let encoding = history.encoder.encoding.standardised(&rows);
            history.encoder = Encoder::new(encoding, training.ticks_per_unit);
        }
        history
    }

    /// Adds the event `event` of two nodes, the next one; `stream` is what this was built of.
    pub(crate) fn append(
        &mut self,
        stream: EventColumns<'_>,
        event: EventId,
        ends: [NodeId; 2],
        now: Timestamp,
    ) {
        let scales = self.encoder.scales;
        (self.tail).push(&self.index, event, ends, stream.time, now, scales);
    }

    /// Lets go of what nobody asks for once no question is about less than the first `followed` events,
    /// of which the last is at `last`.
    pub(crate) fn settle(&mut self, followed: EventId, last: Timestamp) {
        self.tail.settle(followed, last);
    }

    /// Bytes of what it was built with, and of what came since.
    pub(crate) fn bytes(&self) -> [u64; 2] {
        [self.index.bytes(), self.tail.bytes()]
    }

    /// What came since it was built, of nodes and of pairs.
    pub(crate) fn newer(&self) -> [SavedStates; 2] {
        self.tail.save()
    }

    /// Takes over what came since it was built; `times` are those of the last events, from event
    /// `first` on.
    pub(crate) fn restore(&mut self, newer: [SavedStates; 2], first: usize, times: &[Timestamp]) {
        self.tail.restore(newer, first, times);
    }

    /// The first event that a query at `time` does not see, if those from `hidden_from` on are hidden.
    /// `previous` is what the query before it did not see.
    fn first_unseen(
        &self,
        stream: EventColumns<'_>,
        time: Timestamp,
        hidden_from: Option<EventId>,
        previous: Option<EventId>,
    ) -> EventId {
        if let Some(seen) = self.tail.seen(time, hidden_from) {
            return EventId(seen as u32);
        }
        // Events are in order of time, so that the two limits are one event. Sources follow each
        // other in time, and what is hidden is mostly later than all that is seen.
        let all = stream.time.len();
        let hidden = hidden_from.map_or(all, |hidden| hidden.index().min(all));
        let hint = match (previous, hidden_from) {
            (Some(before), None) => before.index(),
            _ => hidden,
        };
        let before = count_first(&stream.time[..hidden], |&other| other < time, hint);
        EventId(before as u32)
    }

    fn past_of_node(&self, node: NodeId, before: EventId) -> Past {
        let newer = self.tail.of_node(node, before);
        newer.unwrap_or_else(|| self.index.of_node(node, before))
    }

    fn past_of_pair(&self, a: NodeId, b: NodeId, before: EventId) -> Past {
        let newer = self.tail.of_pair(a, b, before);
        newer.unwrap_or_else(|| self.index.of_pair(a, b, before))
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
    /// If the columns of `pairs` differ in length; if it is not the stream that this was built of.
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
                let mut chunk = Chunk::new(self, stream);
                let pairs = source.iter().zip(candidate).zip(time);
                for (row, ((&source, &candidate), &time)) in rows.chunks_exact_mut(WIDTH).zip(pairs)
                {
                    chunk.ask(source, time, hidden_from);
                    chunk.add(candidate, row);
                }
            });
        rows
    }

    /// The same of the first candidates of all events, then of the second ones,
    /// `[2 events, WIDTH]`: what is of the source is found once.
    ///
    /// # Panics
    /// As [`of_pairs`](Self::of_pairs).
    pub fn of_events(
        &self,
        stream: EventColumns<'_>,
        events: Events<'_>,
        hidden_from: Option<EventId>,
    ) -> Vec<f32> {
        let count = events.source.len();
        let [first, second] = events.candidates;
        assert_eq!([first.len(), second.len(), events.time.len()], [count; 3]);
        let mut rows = vec![0.0; 2 * count * WIDTH];
        let (of_first, of_second) = rows.split_at_mut(count * WIDTH);
        const EVENTS: usize = PAIRS_PER_CHUNK / 2;
        let columns = (events.source.par_chunks(EVENTS))
            .zip(events.time.par_chunks(EVENTS))
            .zip(first.par_chunks(EVENTS).zip(second.par_chunks(EVENTS)));
        of_first
            .par_chunks_mut(EVENTS * WIDTH)
            .zip(of_second.par_chunks_mut(EVENTS * WIDTH))
            .zip(columns)
            .for_each(
                |((of_first, of_second), ((source, time), (first, second)))| {
                    let mut chunk = Chunk::new(self, stream);
                    let rows = of_first.chunks_exact_mut(WIDTH);
                    let rows = rows.zip(of_second.chunks_exact_mut(WIDTH));
                    let candidates = first.iter().zip(second);
                    let events = source.iter().zip(time).zip(candidates);
                    for ((of_first, of_second), ((&source, &time), (&first, &second))) in
                        rows.zip(events)
                    {
                        chunk.ask(source, time, hidden_from);
                        chunk.add(first, of_first);
                        chunk.add(second, of_second);
                    }
                },
            );
        rows
    }

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
        rows.par_chunks_mut(PAIRS_PER_CHUNK * WIDTH)
            .enumerate()
            .for_each(|(part, rows)| {
                let mut chunk = Chunk::new(self, stream);
                let first = part * PAIRS_PER_CHUNK / 2;
                for (sample, rows) in (first..).zip(rows.chunks_exact_mut(2 * WIDTH)) {
                    let event = (sample as u64 * events as u64 / samples as u64) as usize;
                    let drawn = draws
                        .at(event as u64, 0)
                        .u32_below(destinations.len() as u32);
                    let hidden = training.hidden_batch.map(|batch| event - event % batch);
                    let hidden = hidden.map(|first| EventId(first as u32));
                    let (of_event, of_drawn) = rows.split_at_mut(WIDTH);
                    chunk.ask(stream.src[event], stream.time[event], hidden);
                    chunk.add(stream.dst[event], of_event);
                    chunk.add(destinations[drawn as usize], of_drawn);
                }
            });
        rows
    }
}

/// Pairs of one unit of work, one after the other, of which some wait to be encoded together: all
/// are when it is dropped.
struct Chunk<'a, 'r> {
    history: &'a PairHistory,
    stream: EventColumns<'a>,
    asked: Option<OfSource>,
    facts: Facts,
    /// Rows of the pairs that wait.
    rows: Vec<&'r mut [f32]>,
}

/// What all candidates of a source at a time share.
struct OfSource {
    node: NodeId,
    time: Timestamp,
    hidden_from: Option<EventId>,
    /// The first event that is not seen.
    before: EventId,
    /// Whom its last event was with.
    partner: Option<NodeId>,
    seen: Seen,
}

impl<'a, 'r> Chunk<'a, 'r> {
    fn new(history: &'a PairHistory, stream: EventColumns<'a>) -> Chunk<'a, 'r> {
        Chunk {
            history,
            stream,
            asked: None,
            facts: Facts::NONE,
            rows: Vec::with_capacity(TOGETHER),
        }
    }

    /// The pairs that follow are of this source and time, and see no event from `hidden_from` on.
    fn ask(&mut self, node: NodeId, time: Timestamp, hidden_from: Option<EventId>) {
        let previous = self.asked.as_ref();
        let same = |of: &OfSource| (of.node, of.time, of.hidden_from) == (node, time, hidden_from);
        if previous.is_some_and(same) {
            return;
        }
        let stream = self.stream;
        let before = previous.map(|of| of.before);
        let before = (self.history).first_unseen(stream, time, hidden_from, before);
        let past = self.history.past_of_node(node, before);
        let partner = past.last.map(|last| match last.at {
            At::Event(event) => {
                let (src, dst) = (stream.src[event.index()], stream.dst[event.index()]);
                if src == node { dst } else { src }
            }
            At::Newer { partner, .. } => partner,
        });
        self.asked = Some(OfSource {
            node,
            time,
            hidden_from,
            before,
            partner,
            seen: seen(past, stream, time),
        });
    }

    /// Writes the statistics of the source and this candidate to `row`, `[WIDTH]`, sooner or later.
    fn add(&mut self, candidate: NodeId, row: &'r mut [f32]) {
        let Some(source) = &self.asked else {
            unreachable!("a candidate of no source")
        };
        let history = self.history;
        let met = history.past_of_pair(source.node, candidate, source.before);
        let past = history.past_of_node(candidate, source.before);
        let [past, met] = [past, met].map(|past| seen(past, self.stream, source.time));
        let seen = [&source.seen, &past, &met];
        let last_partner = source.partner == Some(candidate);
        self.facts.set(self.rows.len(), seen, last_partner);
        self.rows.push(row);
        if self.rows.len() == TOGETHER {
            self.encode();
        }
    }

    fn encode(&mut self) {
        self.history.encoder.encode(&self.facts, &mut self.rows);
        self.rows.clear();
    }
}

impl Drop for Chunk<'_, '_> {
    fn drop(&mut self) {
        self.encode();
    }
}

/// What `past` is at `now`.
#[inline]
fn seen(past: Past, stream: EventColumns<'_>, now: Timestamp) -> Seen {
    past.last.map_or(Seen::default(), |last| {
        let time = match last.at {
            At::Event(event) => stream.time[event.index()],
            At::Newer { time, .. } => time,
        };
        Seen {
            count: past.count,
            // Exact in ticks before it becomes a float.
            age: (now - time) as f64,
            decayed: last.decayed,
        }
    })
}

#[cfg(test)]
mod tests;
