//! Destinations that an event's own is ranked among: one against many.
//!
//! The candidates of an event never contain a destination that its source has at the event's own
//! time, so that no true event counts as a negative. They are fixed: drawn from (seed, part, event)
//! alone, or recorded in advance.
//!
//! Source: TGB (Huang et al., NeurIPS 2023), `negative_generator.py`: random destinations without
//! replacement among those of the stream; where more are asked for than there are, all of them
//! (as in tgbl-wiki), where TGB repeats some.

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
    /// Recorded lists.
    Listed(Arc<ListedCandidates>),
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
            Candidates::Drawn { pool, .. } => {
                let time = stream.time[*event];
                let ties = stream.time.partition_point(|&other| other <= time)
                    - stream.time.partition_point(|&other| other < time);
                // Looked at only where it could be: there may be many ties.
                ties >= pool.len() && {
                    let at_once = destinations_at_once(*event, stream);
                    pool.iter().all(|node| at_once.contains(node))
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
