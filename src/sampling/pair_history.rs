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
mod of_training;
mod statistic;
mod tail;
mod together;

use std::iter;
use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use encoding::{Encoder, SAMPLED_EVENTS, TOGETHER};
pub use encoding::{Encoding, EncodingArrays, Training};
use index::{Index, Met};
use of_training::OfTraining;
pub use statistic::{SCALES, STATISTICS, Statistic, WIDTH};
pub(crate) use tail::SavedStates;
use tail::Tail;
use together::{Asked, Block, Kept};

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
    /// Which event of the stream the first one is, where they are events of it in a row that met their
    /// first candidates.
    pub first: Option<EventId>,
}

/// Pairs of one unit of parallel work: a pair takes some tens of nanoseconds.
const PAIRS_PER_CHUNK: usize = 4 * TOGETHER;

/// Histories of all pairs of a stream; see the module.
#[derive(Debug)]
pub struct PairHistory {
    index: Index,
    /// What came after the index was built.
    tail: Tail,
    encoder: Encoder,
    /// What is the same in every epoch, once that has been counted.
    of_training: OnceLock<OfTraining>,
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
            of_training: OnceLock::new(),
        };
        if !known {
            let rows = history.sample(training);
            let encoding = history.encoder.encoding.standardised(&rows);
            history.encoder = Encoder::new(encoding, training.ticks_per_unit);
        }
        history
    }

    /// Counts the statistics of the events of `training` themselves, the first [`SAMPLED_EVENTS`] of them,
    /// before training begins: they are the same in every epoch, and [`of_events`](Self::of_events) takes
    /// them from here.
    pub(crate) fn keep(&self, training: &Training<'_>) {
        if self.of_training.get().is_none() {
            let rows = self.rows_of(training);
            let _the_same_if_kept_meanwhile = self.of_training.set(OfTraining::new(rows, training));
        }
    }

    fn rows_of(&self, training: &Training<'_>) -> Vec<[f32; WIDTH]> {
        let stream = training.stream;
        let mut rows = vec![[0.0; WIDTH]; training.events.min(SAMPLED_EVENTS)];
        let chunks = rows.par_chunks_mut(TOGETHER).enumerate();
        chunks.for_each(|(chunk, rows)| {
            let first = chunk * TOGETHER;
            let events = first..first + rows.len();
            let mut block = Block::new(self.kept(), stream);
            block.ask(events.clone().map(|event| training.asked(event)));
            block.meet(&stream.dst[events], None, rows.iter_mut());
        });
        rows
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
        let of_training = self.of_training.get().map_or(0, OfTraining::bytes);
        [self.index.bytes() + of_training, self.tail.bytes()]
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

    fn kept(&self) -> Kept<'_> {
        Kept {
            index: &self.index,
            tail: &self.tail,
            encoder: &self.encoder,
        }
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
                let mut block = Block::new(self.kept(), stream);
                let blocks = (source.chunks(TOGETHER))
                    .zip(time.chunks(TOGETHER))
                    .zip(candidate.chunks(TOGETHER));
                let rows = rows.as_chunks_mut::<WIDTH>().0.chunks_mut(TOGETHER);
                for (rows, ((source, time), candidate)) in rows.zip(blocks) {
                    block.ask(asked(source, time, hidden_from));
                    block.meet(candidate, None, rows.iter_mut());
                }
            });
        rows
    }

    /// The same of the first candidates of all events, then of the second ones,
    /// `[2 events, WIDTH]`: what is of the source is found once, and nothing twice that
    /// [`keep`](Self::keep) has counted. Workers take some events after the other while this thread does
    /// what is `beside` it; then it helps them.
    ///
    /// # Panics
    /// As [`of_pairs`](Self::of_pairs).
    pub fn of_events<T>(
        &self,
        stream: EventColumns<'_>,
        events: Events<'_>,
        hidden_from: Option<EventId>,
        beside: impl FnOnce() -> T,
    ) -> (Vec<f32>, T) {
        let count = events.source.len();
        let [first, second] = events.candidates;
        assert_eq!([first.len(), second.len(), events.time.len()], [count; 3]);
        let mut rows = vec![0.0; 2 * count * WIDTH];
        let (of_first, of_second) = rows.as_chunks_mut::<WIDTH>().0.split_at_mut(count);
        let known = self.known(stream, &events, hidden_from).chunks(TOGETHER);
        let sources = (events.source.chunks(TOGETHER))
            .zip(events.time.chunks(TOGETHER))
            .zip(known.map(Some).chain(iter::repeat(None)));
        let of_first = first.chunks(TOGETHER).zip(of_first.chunks_mut(TOGETHER));
        let of_second = second.chunks(TOGETHER).zip(of_second.chunks_mut(TOGETHER));
        let parts = Mutex::new(sources.zip(of_first.zip(of_second)));
        let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
        let help = || {
            let mut block = Block::new(self.kept(), stream);
            while let Some((((source, time), known), (of_first, of_second))) = next() {
                block.ask(asked(source, time, hidden_from));
                let (candidates, rows) = of_first;
                match known {
                    Some(known) => rows.copy_from_slice(known),
                    None => block.meet(candidates, None, rows.iter_mut()),
                }
                let (candidates, rows) = of_second;
                block.meet(candidates, known, rows.iter_mut());
            }
        };
        let beside = rayon::in_place_scope(|scope| {
            for _ in 0..rayon::current_num_threads() {
                scope.spawn(|_| help());
            }
            let beside = beside();
            // A worker that sleeps takes as long to wake up as all of this takes.
            help();
            beside
        });
        (rows, beside)
    }

    /// The rows of these events with their first candidates, if they are kept.
    fn known(
        &self,
        stream: EventColumns<'_>,
        events: &Events<'_>,
        hidden_from: Option<EventId>,
    ) -> &[[f32; WIDTH]] {
        // What came since may be of the sources' past.
        let kept = self.of_training.get().filter(|_| self.tail.is_empty());
        let columns = EventColumns {
            src: events.source,
            dst: events.candidates[0],
            time: events.time,
        };
        let rows = (kept.zip(events.first))
            .and_then(|(kept, first)| kept.of(stream, columns, first, hidden_from));
        rows.unwrap_or(&[])
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
        rows.par_chunks_mut(2 * TOGETHER * WIDTH)
            .enumerate()
            .for_each(|(block, rows)| {
                let rows = rows.as_chunks_mut::<WIDTH>().0;
                let first = block * TOGETHER;
                let drawn_from = |sample: usize| {
                    let event = (sample as u64 * events as u64 / samples as u64) as usize;
                    let mut drawn = draws.at(event as u64, 0);
                    (event, drawn.u32_below(destinations.len() as u32) as usize)
                };
                let (sampled, drawn): (Vec<usize>, Vec<usize>) =
                    (first..first + rows.len() / 2).map(drawn_from).unzip();
                let of_events: Vec<NodeId> =
                    sampled.iter().map(|&event| stream.dst[event]).collect();
                let of_drawn: Vec<NodeId> =
                    drawn.into_iter().map(|drawn| destinations[drawn]).collect();
                let mut block = Block::new(self.kept(), stream);
                block.ask(sampled.iter().map(|&event| training.asked(event)));
                block.meet(&of_events, None, rows.iter_mut().step_by(2));
                block.meet(&of_drawn, None, rows.iter_mut().skip(1).step_by(2));
            });
        rows
    }
}

impl Training<'_> {
    /// What the source of an event of it asks for.
    fn asked(&self, event: usize) -> Asked {
        let hidden = self.hidden_batch.map(|batch| event - event % batch);
        Asked {
            node: self.stream.src[event],
            time: self.stream.time[event],
            hidden_from: hidden.map(|first| EventId(first as u32)),
        }
    }
}

/// What lanes with these sources and times ask for.
fn asked(
    source: &[NodeId],
    time: &[Timestamp],
    hidden_from: Option<EventId>,
) -> impl Iterator<Item = Asked> {
    source.iter().zip(time).map(move |(&node, &time)| Asked {
        node,
        time,
        hidden_from,
    })
}

#[cfg(test)]
mod tests;
