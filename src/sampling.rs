//! Which past events a root node sees.
//!
//! A sampler turns root nodes and their query times into at most `fanout` past events each, newest
//! first. Invariants: an event is seen only strictly after its time; every root is sampled on its
//! own, so a node that occurs twice in a batch gets its full past twice; results depend on the
//! graph, the roots and the [`SampleKey`] alone, never on the number of threads.
//!
//! Samplers return plain vectors and know neither features nor devices; deduplication is the work
//! of [`crate::batch`].
//!
//! Source: TGL (Zhou et al., VLDB 2022), section 3.1, without the two faults of its sampler (a
//! node's first event is never returned; repeats of a node in a batch share one pointer).

use crate::graph::{EventId, NodeId, Queries, Tcsr, Timestamp};
use crate::parallel::{self, LINE};

pub mod candidates;
pub(crate) mod counter_rng;
pub(crate) mod negative;
mod negative_key;
pub mod pair_history;
pub(crate) mod past_pairs;
pub(crate) mod recent;
pub(crate) mod uniform;

pub use candidates::Candidates;
pub use negative::NegativePool;
pub use negative_key::{NegativeError, NegativeKey, SplitPart};
pub use recent::Recent;
pub use uniform::Uniform;

/// Sampled past events of `roots` root nodes.
///
/// Slot `r * fanout + k` holds the `k`-th newest of root `r`; its first `len[r]` slots are valid,
/// the others are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbors {
    /// Slots per root.
    pub fanout: usize,
    /// `[roots * fanout]`: the other endpoint of the event.
    pub node: Vec<NodeId>,
    /// `[roots * fanout]`: the event.
    pub event: Vec<EventId>,
    /// `[roots * fanout]`: the event's time, in ticks.
    pub time: Vec<Timestamp>,
    /// `[roots]`: number of valid slots.
    pub len: Vec<u32>,
}

impl Neighbors {
    /// No past events of `roots` roots, at fanout 0.
    pub fn none(roots: usize) -> Neighbors {
        Neighbors {
            len: vec![0; roots],
            ..Neighbors::default()
        }
    }
}

/// What the random choices of one call depend on, besides the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleKey {
    /// Seed of the run; all 64 bits count.
    pub seed: u64,
    /// Epoch, so that every epoch draws afresh.
    pub epoch: u64,
    /// Id of the batch's first event.
    pub event: u64,
    /// Number of this call among those of the batch, below 16.
    pub request: u32,
}

/// A rule that selects past events.
pub trait NeighborSampler: Send + Sync {
    /// Samples the past of every root. Events from `hidden_from` on are hidden: the PyG/TGB rule, with
    /// the batch's first event here; without it a root sees earlier events of its own batch too (TGN,
    /// TGL, DyGLib).
    ///
    /// # Panics
    /// If the columns of `roots` differ in length or name a node that the graph does not have.
    fn sample(
        &self,
        graph: &Tcsr,
        roots: Queries<'_>,
        hidden_from: Option<EventId>,
        key: SampleKey,
    ) -> Neighbors;
}

/// Roots of one task: large enough to hide what that costs (about a microsecond), and
/// small enough to spread the 1,800 roots of a usual batch over several cores.
const ROOTS_PER_CHUNK: usize = 128;

/// Lines that the search for a root's past reads, and bytes that a slot takes.
const SEARCH: usize = 8;
const SLOT: usize = 16;

/// The slots of some consecutive roots, to be filled.
struct Slots<'a> {
    node: &'a mut [NodeId],
    event: &'a mut [EventId],
    time: &'a mut [Timestamp],
    len: &'a mut [u32],
}

/// Allocates the slots of `roots` roots and has `fill` write them, in parallel chunks; `fill` gets
/// the first root of its chunk.
fn fill_slots(
    roots: usize,
    fanout: usize,
    fill: impl Fn(usize, Slots<'_>) + Send + Sync,
) -> Neighbors {
    let slots = roots * fanout;
    let _part = parallel::part("past events");
    parallel::alone(|| (slots * SLOT) as u64);
    let mut neighbors = Neighbors {
        fanout,
        node: vec![NodeId(0); slots],
        event: vec![EventId(0); slots],
        time: vec![0; slots],
        len: vec![0; roots],
    };
    if fanout > 0 {
        let chunk = ROOTS_PER_CHUNK * fanout;
        let slots = (neighbors.node.chunks_mut(chunk))
            .zip(neighbors.event.chunks_mut(chunk))
            .zip(neighbors.time.chunks_mut(chunk))
            .zip(neighbors.len.chunks_mut(ROOTS_PER_CHUNK))
            .enumerate();
        parallel::for_each(slots.collect(), |(index, (((node, event), time), len))| {
            parallel::task(|| (len.len() * SEARCH * LINE + 2 * node.len() * SLOT) as u64);
            fill(
                index * ROOTS_PER_CHUNK,
                Slots {
                    node,
                    event,
                    time,
                    len,
                },
            );
        });
    }
    neighbors
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::Directions;
    use crate::graph::drawn_streams::{Stream, streams};

    const KEY: SampleKey = SampleKey {
        seed: 1,
        epoch: 2,
        event: 3,
        request: 0,
    };

    fn sampled(neighbors: &Neighbors, root: usize) -> Vec<(u32, u32, Timestamp)> {
        let first = root * neighbors.fanout;
        (first..first + neighbors.len[root] as usize)
            .map(|k| (neighbors.node[k].0, neighbors.event[k].0, neighbors.time[k]))
            .collect()
    }

    /// ```text
    /// time    10    20    20    30
    ///        0->4  0->5  1->4  0->4
    /// event    0     1     2     3
    /// ```
    #[test]
    fn the_past_is_strict_and_includes_the_first_event() {
        let graph = Stream::drawn("0>4@10 0>5@20 1>4@20 0>4@30").graph(6, Directions::Both);
        let node = [0, 0, 0, 4, 4, 1, 3].map(NodeId);
        let roots = Queries {
            node: &node,
            time: &[10, 11, 30, 20, 31, 20, 99],
        };
        let got = Recent { fanout: 2 }.sample(&graph, roots, None, KEY);
        let expected: [&[_]; 7] = [
            &[],           // nothing precedes its own first event
            &[(4, 0, 10)], // the first event counts
            &[(5, 1, 20), (4, 0, 10)],
            &[(0, 0, 10)],             // event 2 has the query's time
            &[(0, 3, 30), (1, 2, 20)], // two slots: the oldest falls out
            &[],
            &[], // a node without events
        ];
        for (root, expected) in expected.into_iter().enumerate() {
            assert_eq!(sampled(&got, root), expected, "root {root}");
        }

        // Hidden from event 2 on: node 4 has lost events 2 and 3, node 0 event 3.
        let got = Recent { fanout: 2 }.sample(&graph, roots, Some(EventId(2)), KEY);
        assert_eq!(sampled(&got, 4), [(0, 0, 10)]);
        assert_eq!(sampled(&got, 2), [(5, 1, 20), (4, 0, 10)]);
    }

    #[test]
    fn source_only_hides_the_way_back() {
        let graph = Stream::drawn("0>4@10 4>0@20").graph(5, Directions::SourceOnly);
        let roots = Queries {
            node: &[NodeId(0), NodeId(4)],
            time: &[99, 99],
        };
        let got = Recent { fanout: 3 }.sample(&graph, roots, None, KEY);
        assert_eq!(sampled(&got, 0), [(4, 0, 10)]);
        assert_eq!(sampled(&got, 1), [(0, 1, 20)]);
    }

    #[test]
    fn fanout_zero_and_no_roots_are_allowed() {
        let graph = Stream::drawn("0>1@1").graph(2, Directions::Both);
        let roots = Queries {
            node: &[NodeId(0)],
            time: &[5],
        };
        let none = Queries {
            node: &[],
            time: &[],
        };
        for sampler in [
            &Recent { fanout: 0 } as &dyn NeighborSampler,
            &Uniform { fanout: 0 },
        ] {
            assert_eq!(sampler.sample(&graph, roots, None, KEY).len, [0]);
            assert_eq!(
                sampler.sample(&graph, none, None, KEY),
                Neighbors::default()
            );
        }
    }

    fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(work)
    }

    proptest! {
        /// Both samplers against the definition, applied to the stream itself.
        #[test]
        fn samplers_follow_their_definition(
            (nodes, stream) in streams(12, 80),
            queries in prop::collection::vec((0..12u32, 0..14i64), 1..40),
            fanout in 0..6usize,
            hidden in prop::option::of(0..80u32),
            both in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let directions = if both { Directions::Both } else { Directions::SourceOnly };
            let graph = stream.graph(nodes, directions);
            let (node, time): (Vec<_>, Vec<_>) =
                queries.iter().map(|&(n, t)| (NodeId(n % nodes as u32), t)).unzip();
            let roots = Queries { node: &node, time: &time };
            let hidden_from = hidden.map(EventId);
            let key = SampleKey { seed, ..KEY };
            let recent = Recent { fanout }.sample(&graph, roots, hidden_from, key);
            let uniform = Uniform { fanout }.sample(&graph, roots, hidden_from, key);
            for root in 0..node.len() {
                let mut past = stream.past(node[root], time[root], hidden, both);
                past.reverse();
                let newest = &past[..fanout.min(past.len())];
                prop_assert_eq!(sampled(&recent, root), newest);

                let drawn = sampled(&uniform, root);
                prop_assert_eq!(drawn.len(), newest.len());
                // A subsequence of the past, newest first; no entry twice.
                let mut rest = past.iter();
                prop_assert!(drawn.iter().all(|event| rest.any(|past| past == event)));
            }
            for unused in [&recent, &uniform] {
                for (root, &len) in unused.len.iter().enumerate() {
                    let empty = root * fanout + len as usize..(root + 1) * fanout;
                    prop_assert!(unused.time[empty].iter().all(|&t| t == 0));
                }
            }
        }

        #[test]
        fn threads_do_not_matter((nodes, stream) in streams(12, 80), seed in any::<u64>()) {
            // Enough roots for several chunks.
            let (node, time): (Vec<_>, Vec<_>) = (0..3 * ROOTS_PER_CHUNK + 7)
                .map(|root| (NodeId((root % nodes) as u32), (root % 14) as Timestamp))
                .unzip();
            let roots = Queries { node: &node, time: &time };
            let key = SampleKey { seed, ..KEY };
            let run = |threads| in_pool(threads, || {
                let graph = stream.graph(nodes, Directions::Both);
                let recent = Recent { fanout: 3 }.sample(&graph, roots, None, key);
                let uniform = Uniform { fanout: 3 }.sample(&graph, roots, None, key);
                (graph, recent, uniform)
            });
            prop_assert_eq!(run(1), run(3));
        }
    }

    #[test]
    fn uniform_draws_depend_on_every_part_of_the_key_and_on_the_root_but_not_on_its_place() {
        let line: String = (0..200).map(|t| format!("0>1@{t} ")).collect();
        let graph = Stream::drawn(&line).graph(2, Directions::Both);
        // The last root has the first one's place in the next chunk.
        let last = ROOTS_PER_CHUNK;
        let (mut node, mut time) = (vec![NodeId(0); last + 2], vec![500; last + 2]);
        (node[1], time[last]) = (NodeId(1), 501);
        let roots = Queries {
            node: &node,
            time: &time,
        };
        let draw = |key| Uniform { fanout: 10 }.sample(&graph, roots, None, key);
        let first = draw(KEY);
        for root in [1, last] {
            let events = |root| -> Vec<_> { sampled(&first, root).iter().map(|s| s.1).collect() };
            assert_ne!(events(0), events(root), "root {root}");
        }
        assert_eq!(sampled(&first, 0), sampled(&first, last + 1));
        assert_eq!(first, draw(KEY));
        let others = [
            SampleKey { seed: 9, ..KEY },
            SampleKey { epoch: 9, ..KEY },
            SampleKey { event: 9, ..KEY },
            SampleKey { request: 9, ..KEY },
        ];
        for key in others {
            assert_ne!(first, draw(key), "{key:?}");
        }
    }
}
