//! Negatives: for every event a node that did not take the destination's place.
//!
//! The pool is part of the protocol and decides what a score means: on a bipartite stream most of
//! *all nodes* are impossible destinations (89 % on Wikipedia), which makes the task easy, so
//! [`NegativePool::destinations`] is the default and [`NegativePool::AllNodes`] is for parity with
//! TGL, [`NegativePool::end_points`] for that with MSPipe.
//!
//! A draw depends on (seed, epoch, split, event) alone: not on the batch size, the order of calls
//! or the number of threads. A negative may equal the true destination, or another destination of
//! the same source: the field allows it (TGN, TGL, DyGLib draw blindly), and redrawing would make
//! numbers incomparable. In a pool of 1,000 it happens about once in 1,000 events for uniform
//! destinations.
//!
//! [`NegativePool::Past`] draws pairs with sources of their own, see [`super::past_pairs`]; the
//! many candidates of one event are [`super::candidates`].

use std::ops::Range;

use crate::graph::{EventColumns, NodeId};
use crate::parallel::{self, LINE};
use crate::sampling::counter_rng::RandomStreams;
use crate::sampling::negative_key::{NegativeError, NegativeKey};
use crate::sampling::past_pairs::PastPairs;

/// Events that a task draws for: some microseconds.
const EVENTS: usize = 128;

/// Where negatives are drawn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NegativePool {
    /// Uniform over these nodes, ascending and distinct; made by [`NegativePool::destinations`].
    Destinations(Vec<NodeId>),
    /// Uniform over these nodes, ascending and distinct, whatever their side; made by
    /// [`NegativePool::end_points`].
    EndPoints(Vec<NodeId>),
    /// Uniform over all nodes of the graph, whatever their side.
    AllNodes {
        /// Number of nodes.
        nodes: u32,
    },
    /// Recorded in advance, one per event: `node[i]` belongs to event `first + i`.
    Fixed {
        /// First event that has a negative.
        first: usize,
        /// The negatives.
        node: Vec<NodeId>,
    },
    /// Pairs that have happened before, each with a source of its own.
    Past(PastPairs),
}

/// Negatives of consecutive events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// Their sources, where these are not the events' own.
    pub src: Option<Vec<NodeId>>,
    /// Their destinations.
    pub dst: Vec<NodeId>,
}

impl NegativePool {
    /// The distinct destinations of some events: of the whole stream, as in TGN and DyGLib, or of
    /// the training events only. `dst` is the destination column of these events.
    ///
    /// # Errors
    /// [`NegativeError::EmptyPool`] if there is no event.
    pub fn destinations(dst: &[NodeId]) -> Result<NegativePool, NegativeError> {
        occurring(&[dst]).map(NegativePool::Destinations)
    }

    /// The distinct sources and destinations of some events: of those of training, where MSPipe
    /// trains, or of the first ones of a stream, in which other nodes do not occur.
    ///
    /// # Errors
    /// [`NegativeError::EmptyPool`] if there is no event.
    pub fn end_points(src: &[NodeId], dst: &[NodeId]) -> Result<NegativePool, NegativeError> {
        occurring(&[src, dst]).map(NegativePool::EndPoints)
    }

    /// One negative for each of `events` of `stream`, in their order. Only pairs of the past
    /// look into the stream.
    ///
    /// # Errors
    /// An empty pool, or events outside a fixed list.
    pub(crate) fn sample(
        &self,
        key: NegativeKey,
        events: Range<usize>,
        stream: EventColumns<'_>,
    ) -> Result<Drawn, NegativeError> {
        let streams = RandomStreams::new(key.seed, key.epoch, b"negative");
        let draw = |event: usize, n: usize| {
            // Ids are u32, so a pool is no larger.
            streams
                .at(event as u64, key.split as u32)
                .u32_below(n as u32)
        };
        let dst = match self {
            NegativePool::Past(pairs) => {
                let (src, dst) = pairs.sample(key, events, stream)?;
                let src = Some(src);
                return Ok(Drawn { src, dst });
            }
            NegativePool::Destinations(pool) | NegativePool::EndPoints(pool) if pool.is_empty() => {
                return Err(NegativeError::EmptyPool);
            }
            NegativePool::AllNodes { nodes: 0 } => return Err(NegativeError::EmptyPool),
            NegativePool::Destinations(pool) | NegativePool::EndPoints(pool) => {
                in_tasks(events, |event| pool[draw(event, pool.len()) as usize])
            }
            NegativePool::AllNodes { nodes } => {
                in_tasks(events, |event| NodeId(draw(event, *nodes as usize)))
            }
            NegativePool::Fixed { first, node } => {
                let recorded = *first..first + node.len();
                if events.start < recorded.start || events.end > recorded.end {
                    return Err(NegativeError::NotRecorded {
                        asked: events,
                        recorded,
                    });
                }
                node[events.start - first..events.end - first].to_vec()
            }
        };
        Ok(Drawn { src: None, dst })
    }
}

/// What `draw` gives for each of `events`, in tasks.
fn in_tasks(events: Range<usize>, draw: impl Fn(usize) -> NodeId + Sync) -> Vec<NodeId> {
    let _part = parallel::part("negatives");
    let (mut drawn, first) = (vec![NodeId(0); events.len()], events.start);
    let chunks = drawn.chunks_mut(EVENTS).enumerate();
    parallel::for_each(chunks.collect(), |(chunk, drawn)| {
        parallel::task(|| (drawn.len() * LINE) as u64);
        for (event, drawn) in (first + chunk * EVENTS..).zip(drawn) {
            *drawn = draw(event);
        }
    });
    drawn
}

/// The nodes of some columns once each, ascending; takes a byte per node besides.
fn occurring(columns: &[&[NodeId]]) -> Result<Vec<NodeId>, NegativeError> {
    let all = || columns.iter().copied().flatten();
    let Some(last) = all().max() else {
        return Err(NegativeError::EmptyPool);
    };
    let mut occurs = vec![false; last.index() + 1];
    all().for_each(|node| occurs[node.index()] = true);
    let nodes = (0..).map(NodeId).zip(occurs);
    Ok(nodes
        .filter_map(|(node, occurs)| occurs.then_some(node))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::SplitPart;

    const KEY: NegativeKey = NegativeKey {
        seed: 1,
        epoch: 2,
        split: SplitPart::Train,
    };

    /// Destinations that `pool` draws for `events`.
    fn draw(
        pool: &NegativePool,
        key: NegativeKey,
        events: Range<usize>,
    ) -> Result<Vec<NodeId>, NegativeError> {
        let drawn = pool.sample(key, events, EventColumns::default())?;
        assert_eq!(drawn.src, None);
        Ok(drawn.dst)
    }

    fn nodes(ids: &[u32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn destinations_are_sorted_and_distinct() {
        let pool = NegativePool::destinations(&nodes(&[9, 4, 9, 7])).unwrap();
        assert_eq!(pool, NegativePool::Destinations(nodes(&[4, 7, 9])));
        let drawn = draw(&pool, KEY, 0..3000).unwrap();
        for node in nodes(&[4, 7, 9]) {
            let count = drawn.iter().filter(|&&n| n == node).count();
            assert!((880..1120).contains(&count), "{node:?}: {count} of 3000");
        }
    }

    /// Where every node occurs, the two are one pool.
    #[test]
    fn end_points_are_the_nodes_that_occur() {
        let pool = NegativePool::end_points(&nodes(&[3, 0, 3]), &nodes(&[9, 0, 4])).unwrap();
        assert_eq!(pool, NegativePool::EndPoints(nodes(&[0, 3, 4, 9])));
        let drawn = draw(&pool, KEY, 0..4000).unwrap();
        for node in nodes(&[0, 3, 4, 9]) {
            let count = drawn.iter().filter(|&&n| n == node).count();
            assert!((880..1120).contains(&count), "{node:?}: {count} of 4000");
        }
        let all = NegativePool::end_points(&nodes(&[0, 2]), &nodes(&[1, 3])).unwrap();
        let of_graph = NegativePool::AllNodes { nodes: 4 };
        assert_eq!(draw(&all, KEY, 0..99), draw(&of_graph, KEY, 0..99));
    }

    #[test]
    fn batch_borders_do_not_matter_but_the_key_does() {
        let pool = NegativePool::AllNodes { nodes: 1000 };
        let whole = draw(&pool, KEY, 100..200).unwrap();
        let mut parts = draw(&pool, KEY, 100..137).unwrap();
        parts.extend(draw(&pool, KEY, 137..200).unwrap());
        assert_eq!(whole, parts);
        let others = [
            NegativeKey {
                seed: 1 << 63 | 1,
                ..KEY
            },
            NegativeKey { epoch: 3, ..KEY },
            NegativeKey {
                split: SplitPart::Validation,
                ..KEY
            },
            NegativeKey {
                split: SplitPart::Test,
                ..KEY
            },
        ];
        for other in others {
            let drawn = draw(&pool, other, 100..200).unwrap();
            let equal = drawn.iter().zip(&whole).filter(|(a, b)| a == b).count();
            assert!(equal < 5, "{other:?} repeats {equal} of 100 negatives");
        }
    }

    #[test]
    fn fixed_negatives_belong_to_their_events() {
        let pool = NegativePool::Fixed {
            first: 10,
            node: nodes(&[5, 6, 7]),
        };
        assert_eq!(draw(&pool, KEY, 11..13).unwrap(), nodes(&[6, 7]));
        let error = draw(&pool, KEY, 11..14).unwrap_err();
        assert_eq!(
            error,
            NegativeError::NotRecorded {
                asked: 11..14,
                recorded: 10..13
            }
        );
        assert!(
            error
                .to_string()
                .contains("events 11..14 asked for, 10..13 recorded")
        );
        assert!(draw(&pool, KEY, 9..11).is_err());
    }

    #[test]
    fn an_empty_pool_is_refused() {
        assert_eq!(
            NegativePool::destinations(&[]),
            Err(NegativeError::EmptyPool)
        );
        for pool in [
            NegativePool::Destinations(vec![]),
            NegativePool::EndPoints(vec![]),
            NegativePool::AllNodes { nodes: 0 },
        ] {
            assert_eq!(draw(&pool, KEY, 0..1), Err(NegativeError::EmptyPool));
        }
    }
}
