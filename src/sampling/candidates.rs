//! Destinations that an event's own is ranked among: one against many.
//!
//! The candidates of an event never contain a destination that its source has at the event's own
//! time, so that no true event counts as a negative. They are fixed: drawn from (seed, part, event)
//! alone, or recorded in advance.
//!
//! Source: TGB (Huang et al., NeurIPS 2023), `negative_generator.py`: random destinations without
//! replacement among those of the stream (its strategy `rnd`); where more are asked for than there
//! are, all of them (as in tgbl-wiki), where TGB repeats some. Its strategy `hist_rnd` is
//! [`Candidates::HalfHistorical`]: up to half of them are destinations that the source has in the
//! training part, the rest random ones that it has not. History is the training part alone, in the
//! test too, so that what is drawn does not depend on what is evaluated; a source that training does
//! not have has none. (TGB's random half excludes the history of an earlier event's source there.)

use std::ops::Range;
use std::sync::Arc;

use super::counter_rng::RandomStreams;
use super::negative_key::{NegativeError, NegativeKey};
use crate::graph::{Csr, EventColumns, NodeId};

/// Where candidates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// So many distinct ones of a pool.
    Drawn {
        /// Distinct nodes, ascending.
        pool: Arc<[NodeId]>,
        /// How many per event.
        count: usize,
    },
    /// So many distinct ones: up to half of them from the source's history, the rest from a pool
    /// without that history.
    HalfHistorical {
        /// Distinct nodes, ascending, those of the history among them.
        pool: Arc<[NodeId]>,
        /// How many per event.
        count: usize,
        /// Who has met whom.
        history: Arc<SourceHistory>,
    },
    /// Recorded lists.
    Listed(Arc<ListedCandidates>),
}

/// The distinct destinations of each source in some events; 4 bytes each, and 8 per node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceHistory(Csr<NodeId, usize>);

impl SourceHistory {
    /// That of events from `src` to `dst` in a stream of `nodes` nodes.
    pub(crate) fn of(nodes: usize, src: &[NodeId], dst: &[NodeId]) -> SourceHistory {
        let pairs = src.iter().copied().zip(dst.iter().copied());
        let mut pairs: Vec<(NodeId, NodeId)> = pairs.collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut history = Csr::default();
        let mut of_sources = pairs.chunk_by(|a, b| a.0 == b.0).peekable();
        for node in (0..nodes as u32).map(NodeId) {
            let own = of_sources.next_if(|own| own[0].0 == node);
            history.push(own.unwrap_or_default().iter().map(|&(_, dst)| dst));
        }
        SourceHistory(history)
    }

    /// The destinations of `src`, ascending.
    fn list(&self, src: NodeId) -> &[NodeId] {
        self.0.list(src.index())
    }
}

/// Recorded candidates, one list per event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedCandidates {
    /// Events that have a list, ascending.
    event: Vec<usize>,
    /// Their lists.
    nodes: Csr<NodeId, usize>,
}

impl ListedCandidates {
    /// From (event, candidates) in any order; of several lists for one event the last counts.
    pub fn new(mut lists: Vec<(usize, Vec<NodeId>)>) -> ListedCandidates {
        // Stable, so that the last list of an event stays last.
        lists.sort_by_key(|(event, _)| *event);
        let mut listed = ListedCandidates::default();
        for same_event in lists.chunk_by(|a, b| a.0 == b.0) {
            if let [.., (event, nodes)] = same_event {
                listed.event.push(*event);
                listed.nodes.push(nodes.iter().copied());
            }
        }
        listed
    }

    fn of(&self, event: usize) -> Option<&[NodeId]> {
        let list = self.event.binary_search(&event).ok()?;
        Some(self.nodes.list(list))
    }
}

impl Candidates {
    /// Whether each of `events` has candidates; asked before a run that would end with them.
    ///
    /// # Errors
    /// [`NegativeError::NoCandidates`] for the first event that has none.
    pub(crate) fn check(
        &self,
        events: Range<usize>,
        stream: EventColumns<'_>,
    ) -> Result<(), NegativeError> {
        let none = |event: &usize| match self {
            Candidates::Listed(lists) => lists.of(*event).is_none_or(<[NodeId]>::is_empty),
            // Looked at only where it could be: there may be many ties.
            Candidates::Drawn { pool, .. } => {
                ties(*event, stream) >= pool.len() && {
                    let at_once = destinations_at_once(*event, stream);
                    pool.iter().all(|node| at_once.contains(node))
                }
            }
            Candidates::HalfHistorical {
                pool,
                count,
                history,
            } => {
                let seen = history.list(stream.src[*event]);
                ties(*event, stream) + seen.len() >= pool.len() && {
                    let at_once = destinations_at_once(*event, stream);
                    let possible = |node: &&NodeId| !at_once.contains(node);
                    let historical = seen.iter().filter(possible).take(count / 2).count();
                    let unseen = |node: &&NodeId| seen.binary_search(node).is_err();
                    historical == 0 && !pool.iter().filter(possible).any(|node| unseen(&node))
                }
            }
        };
        match events.into_iter().find(none) {
            Some(event) => Err(NegativeError::NoCandidates { event }),
            None => Ok(()),
        }
    }

    /// Candidates of `event`, an event of `stream`; at least one.
    ///
    /// # Errors
    /// A pool without any other destination, an event without a list.
    pub(crate) fn of(
        &self,
        key: NegativeKey,
        event: usize,
        stream: EventColumns<'_>,
    ) -> Result<Vec<NodeId>, NegativeError> {
        let found: Vec<NodeId> = match self {
            Candidates::Listed(lists) => match lists.of(event) {
                Some(list) => list.to_vec(),
                None => return Err(NegativeError::NoCandidates { event }),
            },
            Candidates::HalfHistorical {
                pool,
                count,
                history,
            } => {
                let seen = history.list(stream.src[event]);
                half_historical(key, event, stream, (pool, seen, *count))
            }
            Candidates::Drawn { pool, count } => {
                let true_ones = destinations_at_once(event, stream);
                let possible = |node: &NodeId| !true_ones.contains(node);
                if *count >= pool.len() {
                    // The rank does not depend on an order.
                    pool.iter().copied().filter(possible).collect()
                } else {
                    let streams = RandomStreams::new(key.seed, key.epoch, b"candidat");
                    let rng = streams.at(event as u64, key.split as u32);
                    // Ids are u32, so a pool is no larger.
                    rng.each_below(pool.len() as u32)
                        .map(|place| pool[place as usize])
                        .filter(possible)
                        .take(*count)
                        .collect()
                }
            }
        };
        if found.is_empty() {
            return Err(NegativeError::NoCandidates { event });
        }
        Ok(found)
    }
}

/// Up to half of `count` of the source's `seen` destinations, the rest of `pool` without them; none
/// that the source of `event` has at its time.
fn half_historical(
    key: NegativeKey,
    event: usize,
    stream: EventColumns<'_>,
    (pool, seen, count): (&[NodeId], &[NodeId], usize),
) -> Vec<NodeId> {
    let true_ones = destinations_at_once(event, stream);
    let possible = |node: &NodeId| !true_ones.contains(node);
    let streams = RandomStreams::new(key.seed, key.epoch, b"halfhist");
    // Ids are u32, so neither list is longer.
    let order = |nodes: &[NodeId], lane| {
        let rng = streams.at(event as u64, 2 * key.split as u32 + lane);
        rng.each_below(nodes.len() as u32)
    };
    let historical = order(seen, 0).map(|place| seen[place as usize]);
    let mut found: Vec<NodeId> = historical.filter(possible).take(count / 2).collect();
    let unseen = |node: &NodeId| seen.binary_search(node).is_err();
    let others = order(pool, 1).map(|place| pool[place as usize]);
    let missing = count - found.len();
    found.extend(others.filter(possible).filter(unseen).take(missing));
    found
}

/// Events at the time of `event`.
fn ties(event: usize, stream: EventColumns<'_>) -> usize {
    let time = stream.time[event];
    stream.time.partition_point(|&other| other <= time)
        - stream.time.partition_point(|&other| other < time)
}

/// Destinations that the source of `event` has at its time.
fn destinations_at_once(event: usize, stream: EventColumns<'_>) -> Vec<NodeId> {
    let (src, time) = (stream.src[event], stream.time[event]);
    let at_once = |other: &usize| stream.time[*other] == time;
    let before = (0..event).rev().take_while(at_once);
    let after = (event..stream.time.len()).take_while(at_once);
    before
        .chain(after)
        .filter(|&other| stream.src[other] == src)
        .map(|other| stream.dst[other])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::drawn_streams::Stream;
    use crate::sampling::SplitPart;

    const KEY: NegativeKey = NegativeKey {
        seed: 1,
        epoch: 0,
        split: SplitPart::Test,
    };

    fn nodes(ids: &[u32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn columns(stream: &Stream) -> EventColumns<'_> {
        EventColumns {
            src: &stream.src,
            dst: &stream.dst,
            time: &stream.time,
        }
    }

    #[test]
    fn what_has_no_candidate_is_known_beforehand() {
        let stream = Stream::drawn("0>5@1 1>6@2 0>5@3 0>6@3 1>6@4");
        let listed = ListedCandidates::new(vec![(0, nodes(&[6])), (1, Vec::new())]);
        for candidates in [
            Candidates::Drawn {
                pool: nodes(&[5, 6]).into(),
                count: 7,
            },
            Candidates::Listed(Arc::new(listed)),
        ] {
            for event in 0..stream.time.len() {
                assert_eq!(
                    candidates.check(event..event + 1, columns(&stream)),
                    candidates.of(KEY, event, columns(&stream)).map(drop)
                );
            }
            let first = candidates.check(0..5, columns(&stream)).unwrap_err();
            assert!(matches!(
                first,
                NegativeError::NoCandidates { event: 1 | 2 }
            ));
        }
    }

    #[test]
    fn drawn_candidates_are_distinct_and_no_true_destination() {
        // Source 0 meets 5 and 6 at time 2, source 1 meets 7 then.
        let stream = Stream::drawn("0>8@1 0>5@2 1>7@2 0>6@2 0>9@3");
        let pool = Arc::<[NodeId]>::from(nodes(&[5, 6, 7, 8, 9]));
        let draw = |event, count, seed| {
            let pool = pool.clone();
            let key = NegativeKey { seed, ..KEY };
            Candidates::Drawn { pool, count }
                .of(key, event, columns(&stream))
                .unwrap()
        };
        for event in [1, 3] {
            let mut all = draw(event, 100, 1);
            all.sort_unstable();
            assert_eq!(all, nodes(&[7, 8, 9]), "all that are left, each once");
        }
        let mut all = draw(2, 4, 1);
        all.sort_unstable();
        assert_eq!(all, nodes(&[5, 6, 8, 9]));
        let two = draw(1, 2, 1);
        assert_eq!(two.len(), 2);
        assert_ne!(two[0], two[1]);
        assert_eq!(two, draw(1, 2, 1));
        assert!((2..20).any(|seed| draw(1, 2, seed) != two));
    }

    /// By TGB's definition: of `count` candidates, as many of the source's training destinations as
    /// there are, up to half; the rest have never been its own.
    #[test]
    fn half_of_the_candidates_are_of_the_sources_history() {
        // Training is the first five events; 3 is a source that it does not have.
        let stream = Stream::drawn("0>10@1 0>11@2 1>12@3 0>10@4 0>13@5 0>12@6 1>12@7 3>14@8");
        let pool = Arc::<[NodeId]>::from(nodes(&(10..30).collect::<Vec<_>>()));
        let history = SourceHistory::of(30, &stream.src[..5], &stream.dst[..5]);
        assert_eq!(history.list(NodeId(0)), nodes(&[10, 11, 13]));
        assert_eq!(history.list(NodeId(3)), nodes(&[]));
        let history = Arc::new(history);
        let draw = |event, count, seed| {
            let (pool, history) = (pool.clone(), history.clone());
            let key = NegativeKey { seed, ..KEY };
            Candidates::HalfHistorical {
                pool,
                count,
                history,
            }
            .of(key, event, columns(&stream))
            .unwrap()
        };
        for (event, src, own, count, historical) in [
            (5, 0, 12, 4, 2),
            (5, 0, 12, 5, 2),
            (5, 0, 12, 10, 3),
            // Its only destination is the event's own.
            (6, 1, 12, 6, 0),
            (7, 3, 14, 6, 0),
            (5, 0, 12, 1, 0),
        ] {
            for seed in 0..30 {
                let drawn = draw(event, count, seed);
                assert_eq!(drawn, draw(event, count, seed));
                assert_eq!(drawn.len(), count, "event {event}");
                let mut distinct = drawn.clone();
                distinct.sort_unstable();
                distinct.dedup();
                assert_eq!(distinct.len(), count);
                assert!(!drawn.contains(&NodeId(own)));
                let seen = history.list(NodeId(src));
                let of_history = drawn.iter().filter(|node| seen.contains(node)).count();
                assert_eq!(of_history, historical, "event {event}: {drawn:?}");
            }
        }
        let all: std::collections::BTreeSet<NodeId> =
            (0..300).flat_map(|seed| draw(5, 4, seed)).collect();
        assert_eq!(all.len(), 19, "each but the event's own can be drawn");
        // More than there are: all of the history, and each that is not of it, once.
        assert_eq!(draw(5, 100, 0).len(), 19);
    }

    #[test]
    fn a_source_that_has_met_all_has_only_its_history() {
        let stream = Stream::drawn("0>5@1 0>6@2 0>5@3 1>6@4");
        let pool = Arc::<[NodeId]>::from(nodes(&[5, 6]));
        let history = SourceHistory::of(7, &stream.src[..2], &stream.dst[..2]);
        let history = Arc::new(history);
        for (event, count, expected) in [
            (2, 2, Some(&[6][..])),
            (3, 2, Some(&[5])),
            // A half of one is none.
            (2, 1, None),
            (3, 1, Some(&[5])),
        ] {
            let candidates = Candidates::HalfHistorical {
                pool: pool.clone(),
                count,
                history: history.clone(),
            };
            let drawn = candidates.of(KEY, event, columns(&stream));
            assert_eq!(drawn.clone().ok(), expected.map(nodes), "event {event}");
            let checked = candidates.check(event..event + 1, columns(&stream));
            assert_eq!(checked, drawn.map(drop), "event {event}");
        }
    }

    #[test]
    fn nothing_left_to_draw_is_an_error() {
        let stream = Stream::drawn("0>5@1");
        let pool = Arc::<[NodeId]>::from(nodes(&[5]));
        let candidates = Candidates::Drawn { pool, count: 3 };
        let error = candidates.of(KEY, 0, columns(&stream)).unwrap_err();
        assert_eq!(error, NegativeError::NoCandidates { event: 0 });
    }

    #[test]
    fn recorded_lists_belong_to_their_events() {
        let lists = vec![
            (7, nodes(&[1, 2, 3])),
            (3, nodes(&[4])),
            (7, nodes(&[5, 6])),
        ];
        let listed = Candidates::Listed(Arc::new(ListedCandidates::new(lists)));
        let of = |event| listed.of(KEY, event, EventColumns::default());
        assert_eq!(of(3).unwrap(), nodes(&[4]));
        assert_eq!(of(7).unwrap(), nodes(&[5, 6]), "the last list counts");
        let error = of(4).unwrap_err();
        assert!(error.to_string().contains("event 4 has none"), "{error}");
    }
}
