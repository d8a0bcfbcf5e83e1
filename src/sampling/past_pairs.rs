//! Negatives that are pairs of the stream itself: hard ones, for evaluation.
//!
//! A random destination was probably never met by the source, so that remembering pairs is enough
//! to tell it from an event. These negatives have happened before:
//!
//! * *historical*: a pair whose first event precedes the batch;
//! * *inductive*: such a pair that was first seen in evaluation, that is after the last event
//!   before the part that is evaluated.
//!
//! Neither takes pairs that occur in the batch's own span of time. A batch draws without
//! replacement as many pairs as it has events; where there are too few, random (source,
//! destination) pairs that are none of the batch's events fill up, and come first, beside the
//! batch's earliest events. A negative therefore has its own source, and takes the time of the event
//! that it stands beside.
//!
//! A draw depends on (seed, part, batch): other than uniform negatives, these depend on the batch
//! size by their definition.
//!
//! Source: Poursafaei et al., NeurIPS 2022, section 4, as DyGLib (Yu et al., NeurIPS 2023) defines
//! them in `NegativeEdgeSampler` of its `utils/utils.py`. A pair that fills up may have happened
//! before, there and here.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::counter_rng::RandomStreams;
use super::negative_key::{NegativeError, NegativeKey, SplitPart};
use crate::graph::{EventColumns, NodeId, Timestamp};

/// Which pairs of the past are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PastKind {
    /// All of them.
    Historical,
    /// Those first seen in evaluation.
    Inductive,
}

/// The distinct pairs of a stream, each with its first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastPairs {
    kind: PastKind,
    /// Ascending by time.
    first: Arc<[(Timestamp, NodeId, NodeId)]>,
    /// Distinct sources and destinations, ascending.
    sources: Arc<[NodeId]>,
    destinations: Arc<[NodeId]>,
    /// Time of the last event before validation, and before the test.
    observed: [Timestamp; 2],
}

impl PastPairs {
    /// The pairs of `stream` of both kinds; validation begins with event `val`, the test with
    /// event `test`.
    ///
    /// # Errors
    /// [`NegativeError::EmptyPool`] if the stream is empty.
    pub(crate) fn both_kinds(
        stream: EventColumns<'_>,
        val: usize,
        test: usize,
    ) -> Result<[PastPairs; 2], NegativeError> {
        if stream.time.is_empty() {
            return Err(NegativeError::EmptyPool);
        }
        let mut seen = HashSet::new();
        let pairs = stream.src.iter().zip(stream.dst).zip(stream.time);
        let first: Vec<(Timestamp, NodeId, NodeId)> = pairs
            .filter(|&((&src, &dst), _)| seen.insert((src, dst)))
            .map(|((&src, &dst), &time)| (time, src, dst))
            .collect();
        let ascending = |nodes: &[NodeId]| {
            let mut nodes = nodes.to_vec();
            nodes.sort_unstable();
            nodes.dedup();
            Arc::<[NodeId]>::from(nodes)
        };
        let before = |event: usize| match event.checked_sub(1) {
            Some(last) => stream.time[last],
            None => Timestamp::MIN,
        };
        let historical = PastPairs {
            kind: PastKind::Historical,
            first: first.into(),
            sources: ascending(stream.src),
            destinations: ascending(stream.dst),
            observed: [before(val), before(test)],
        };
        let inductive = PastPairs {
            kind: PastKind::Inductive,
            ..historical.clone()
        };
        Ok([historical, inductive])
    }

    /// Which pairs are drawn.
    pub(crate) fn kind(&self) -> PastKind {
        self.kind
    }

    /// Whether there is a pair to draw for each of these batches; asked before a run that
    /// would end with them.
    ///
    /// # Errors
    /// [`NegativeError::NoPairLeft`] for the first batch that there is none for.
    pub(crate) fn check(
        &self,
        batches: impl Iterator<Item = Range<usize>>,
        stream: EventColumns<'_>,
    ) -> Result<(), NegativeError> {
        for events in batches.filter(|events| !events.is_empty()) {
            // Counted only where it could be.
            let all = self.possible();
            if events.len() >= all && distinct(events.clone(), stream).len() >= all {
                return Err(self.none_left(&events));
            }
        }
        Ok(())
    }

    fn possible(&self) -> usize {
        self.sources.len() * self.destinations.len()
    }

    fn none_left(&self, events: &Range<usize>) -> NegativeError {
        NegativeError::NoPairLeft {
            events: events.clone(),
            sources: self.sources.len(),
            destinations: self.destinations.len(),
        }
    }

    /// One pair (source, destination) for each of the batch's `events` of `stream`.
    ///
    /// # Errors
    /// [`NegativeError::NoPairLeft`] if every possible pair is one of the batch's.
    pub(super) fn sample(
        &self,
        key: NegativeKey,
        events: Range<usize>,
        stream: EventColumns<'_>,
    ) -> Result<(Vec<NodeId>, Vec<NodeId>), NegativeError> {
        if events.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let begin = stream.time[events.start];
        let present = distinct(span(&events, stream), stream);
        // Nothing first seen at `begin` or later could be drawn: it is in the batch's own span.
        let past = self.first.partition_point(|&(time, ..)| time < begin);
        let known = match (self.kind, key.split) {
            (PastKind::Historical, _) | (_, SplitPart::Train) => 0,
            (PastKind::Inductive, part) => {
                let observed = self.observed[usize::from(part == SplitPart::Test)];
                self.first.partition_point(|&(time, ..)| time <= observed)
            }
        };
        let drawable = self.first.get(known..past).unwrap_or_default();
        let wanted = events.len();
        let streams = RandomStreams::new(key.seed, key.epoch, b"pastpair");
        let rng = |lane| streams.at(events.start as u64, 2 * key.split as u32 + lane);
        // Ids and events are u32, and so is the number of distinct pairs.
        let past: Vec<(NodeId, NodeId)> = rng(0)
            .each_below(drawable.len() as u32)
            .map(|pair| drawable[pair as usize])
            .map(|(_, src, dst)| (src, dst))
            .filter(|pair| !present.contains(pair))
            .take(wanted)
            .collect();

        let possible = self.possible();
        let mut taken = distinct(events.clone(), stream);
        let missing = wanted - past.len();
        if missing > 0 && taken.len() >= possible {
            return Err(self.none_left(&events));
        }
        let mut rng = rng(1);
        // Once each as long as there are enough.
        let once = possible - taken.len() >= missing;
        let mut pairs = Vec::with_capacity(wanted);
        while pairs.len() < missing {
            let mut draw = |nodes: &[NodeId]| nodes[rng.u32_below(nodes.len() as u32) as usize];
            let pair = (draw(&self.sources), draw(&self.destinations));
            if !taken.contains(&pair) {
                pairs.push(pair);
                if once {
                    taken.insert(pair);
                }
            }
        }
        pairs.extend(past);
        Ok(pairs.into_iter().unzip())
    }
}

/// The events in a batch's own span of time.
fn span(events: &Range<usize>, stream: EventColumns<'_>) -> Range<usize> {
    let (begin, end) = (stream.time[events.start], stream.time[events.end - 1]);
    stream.time.partition_point(|&time| time < begin)
        ..stream.time.partition_point(|&time| time <= end)
}

fn distinct(events: Range<usize>, stream: EventColumns<'_>) -> HashSet<(NodeId, NodeId)> {
    events
        .map(|event| (stream.src[event], stream.dst[event]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::drawn_streams::Stream;

    const SEED: u64 = 3;

    fn key(split: SplitPart, seed: u64) -> NegativeKey {
        NegativeKey {
            seed,
            epoch: 0,
            split,
        }
    }

    fn columns(stream: &Stream) -> EventColumns<'_> {
        EventColumns {
            src: &stream.src,
            dst: &stream.dst,
            time: &stream.time,
        }
    }

    /// ```text
    /// train: 0>5@1 1>6@2 0>5@3 2>7@4   validation: 1>5@5 2>6@6 0>5@7   test: 0>7@8 1>5@9 2>7@9
    /// ```
    fn stream() -> Stream {
        Stream::drawn("0>5@1 1>6@2 0>5@3 2>7@4 1>5@5 2>6@6 0>5@7 0>7@8 1>5@9 2>7@9")
    }

    fn drawn(kind: usize, split: SplitPart, events: Range<usize>) -> HashSet<(u32, u32)> {
        let stream = stream();
        let pools = PastPairs::both_kinds(columns(&stream), 4, 7).unwrap();
        let mut all = HashSet::new();
        for seed in 0..50 {
            let (src, dst) = pools[kind]
                .sample(key(split, seed), events.clone(), columns(&stream))
                .unwrap();
            assert_eq!(src.len(), events.len());
            let pairs = src.iter().zip(&dst).map(|(src, dst)| (src.0, dst.0));
            all.extend(pairs);
        }
        all
    }

    #[test]
    fn historical_pairs_precede_the_batch_and_are_none_of_its_own() {
        // Before time 7: 0>5 (in the batch), 1>6, 2>7, 1>5, 2>6.
        let got = drawn(0, SplitPart::Validation, 6..7);
        assert_eq!(got, HashSet::from([(1, 6), (2, 7), (1, 5), (2, 6)]));
        // A batch of time 9 excludes what shares its time: event 9 is not in 8..9.
        let got = drawn(0, SplitPart::Test, 8..9);
        assert_eq!(got, HashSet::from([(0, 5), (1, 6), (2, 6), (0, 7)]));
    }

    #[test]
    fn inductive_pairs_were_first_seen_in_evaluation() {
        // After the last training event (time 4) and before time 7.
        let got = drawn(1, SplitPart::Validation, 6..7);
        assert_eq!(got, HashSet::from([(1, 5), (2, 6)]));
        // Nothing is new between the last validation event (time 7) and time 8: random pairs of
        // sources 0, 1, 2 and destinations 5, 6, 7 that are not the batch's own.
        let got = drawn(1, SplitPart::Test, 7..8);
        assert_eq!(got.len(), 8);
        assert!(!got.contains(&(0, 7)), "{got:?}");
    }

    #[test]
    fn a_batch_draws_each_pair_once_and_fills_up() {
        let stream = stream();
        let [historical, _] = PastPairs::both_kinds(columns(&stream), 4, 7).unwrap();
        // Five pairs precede time 8 and three of the batch 7..10 are excluded: 2>7, 1>5 and 0>7.
        let (src, dst) = historical
            .sample(key(SplitPart::Test, SEED), 7..10, columns(&stream))
            .unwrap();
        let pairs: HashSet<(u32, u32)> = src.iter().zip(&dst).map(|(s, d)| (s.0, d.0)).collect();
        assert_eq!(pairs, HashSet::from([(0, 5), (1, 6), (2, 6)]));
        // The first batch has no past at all.
        let (src, dst) = historical
            .sample(key(SplitPart::Train, SEED), 0..2, columns(&stream))
            .unwrap();
        let pairs: HashSet<(u32, u32)> = src.iter().zip(&dst).map(|(s, d)| (s.0, d.0)).collect();
        assert_eq!(pairs.len(), 2);
        assert!(pairs.is_disjoint(&HashSet::from([(0, 5), (1, 6)])));
    }

    /// DyGLib's rule, as `random_sample_with_collision_check` and `historical_sample` of its
    /// `utils/utils.py` have it.
    #[test]
    fn fill_ups_avoid_the_batch_alone_and_come_first() {
        // Events 1 and 2 share a time; a batch of event 1 alone may draw the pair of event 2.
        let stream = Stream::drawn("0>5@1 1>6@2 0>6@2");
        let [historical, _] = PastPairs::both_kinds(columns(&stream), 1, 1).unwrap();
        let mut all = HashSet::new();
        for seed in 0..50 {
            let (src, dst) = historical
                .sample(key(SplitPart::Test, seed), 0..1, columns(&stream))
                .unwrap();
            all.insert((src[0].0, dst[0].0));
            // One pair of the past; of the two that are not the batch's, one is new.
            let (src, dst) = historical
                .sample(key(SplitPart::Test, seed), 1..3, columns(&stream))
                .unwrap();
            assert_eq!((src[1].0, dst[1].0), (0, 5), "the past comes last");
            assert!([(0, 5), (1, 5)].contains(&(src[0].0, dst[0].0)));
        }
        assert_eq!(all, HashSet::from([(0, 6), (1, 5), (1, 6)]));
    }

    #[test]
    fn without_any_other_pair_there_is_no_negative() {
        let stream = Stream::drawn("0>1@1 0>1@2");
        let [historical, _] = PastPairs::both_kinds(columns(&stream), 1, 1).unwrap();
        let key = key(SplitPart::Test, SEED);
        let none = Err(NegativeError::NoPairLeft {
            events: 1..2,
            sources: 1,
            destinations: 1,
        });
        assert_eq!(historical.sample(key, 1..2, columns(&stream)), none);
    }

    #[test]
    fn what_can_be_drawn_is_known_beforehand() {
        // The four pairs that there are occur in each batch of four, three in others.
        let stream = Stream::drawn("0>2@1 0>3@2 1>2@3 1>3@4 0>2@5 0>3@6 1>2@7 1>3@8 0>2@9");
        let [historical, inductive] = PastPairs::both_kinds(columns(&stream), 2, 4).unwrap();
        let key = key(SplitPart::Test, SEED);
        for events in [0..4, 4..8, 0..3, 4..7, 7..8, 3..3] {
            let batch = || [events.clone()].into_iter();
            let checked = historical.check(batch(), columns(&stream));
            for pairs in [&historical, &inductive] {
                let drawn = pairs.sample(key, events.clone(), columns(&stream));
                assert_eq!(checked, drawn.map(drop), "{events:?}");
            }
            let all = events.len() == 4;
            assert_eq!(checked.is_err(), all, "{events:?}");
        }
        assert_eq!(
            PastPairs::both_kinds(EventColumns::default(), 0, 0),
            Err(NegativeError::EmptyPool)
        );
    }
}
