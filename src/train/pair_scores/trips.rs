//! The pairs of a batch in trips through the model, laid out on the host.
//!
//! First come the distinct sources, then the pairs, ordered by destination. Nothing here touches the
//! device, so that a trip can be laid out while the one before it is computed.

use rayon::prelude::*;

use crate::batch::{EventBatch, Layout, Roots, TimeDelta};
use crate::graph::{NodeId, Queries};
use crate::model::Model;
use crate::train::pass::{LayoutFeatures, Sampling};

/// Pairs of one trip through the model: about as many roots as a usual batch has twice over.
pub(crate) const PAIRS_PER_CHUNK: usize = 4096;

/// A pair and the event, counted from the batch's first, whose time it has.
pub(super) type EventPair = (u32, NodeId, NodeId);

/// Pairs beside a batch, and what is known of all of them.
pub(super) struct PairList<'a> {
    batch: &'a EventBatch,
    sampling: &'a Sampling,
    pairs: &'a [EventPair],
    /// Whether an embedding depends on the time of the query.
    timed: bool,
    sources: Roots,
    /// Which source each pair has.
    source_of: Vec<i32>,
    /// Places of the pairs, ordered by destination and then as they are, each in the lower half of
    /// its number.
    order: Vec<u64>,
}

/// Roots that are embedded together.
pub(super) struct Trip {
    pub(super) roots: Roots,
    pub(super) layout: Layout,
    pub(super) features: LayoutFeatures,
    /// The pairs whose destinations they are; none if they are sources.
    pub(super) pairs: Option<TripPairs>,
}

/// Pairs of a trip, in one order.
pub(super) struct TripPairs {
    /// Their places among all pairs.
    pub(super) place: Vec<u32>,
    /// Which source each has, of all sources.
    pub(super) source: Vec<i32>,
    /// Which of the trip's roots each has.
    pub(super) destination: Vec<i32>,
}

impl<'a> PairList<'a> {
    pub(super) fn new(
        batch: &'a EventBatch,
        pairs: &'a [EventPair],
        sampling: &'a Sampling,
        model: &Model,
    ) -> PairList<'a> {
        let mut sources = Roots::default();
        let mut source_of = Vec::with_capacity(pairs.len());
        for same in pairs.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (event, src, _) = same[0];
            source_of.extend(same.iter().map(|_| sources.node.len() as i32));
            sources.node.push(src);
            sources.time.push(batch.time[event as usize]);
        }
        let places = (0u64..).zip(pairs);
        let mut order: Vec<u64> = places
            .map(|(place, &(_, _, dst))| u64::from(dst.0) << 32 | place)
            .collect();
        order.par_sort_unstable();
        PairList {
            batch,
            sampling,
            pairs,
            timed: sampling.layout.time_delta == TimeDelta::Query || model.reads_query_time(),
            sources,
            source_of,
            order,
        }
    }

    /// All trips, those of the sources first.
    pub(super) fn trips(&self) -> impl Iterator<Item = Trip> {
        let node = self.sources.node.chunks(PAIRS_PER_CHUNK);
        let time = self.sources.time.chunks(PAIRS_PER_CHUNK);
        let sources = node.zip(time).map(|(node, time)| Roots {
            node: node.to_vec(),
            time: time.to_vec(),
        });
        let pairs = self.order.chunks(PAIRS_PER_CHUNK);
        let pairs = pairs.map(|chunk| {
            let (roots, pairs) = self.destinations(chunk);
            self.laid_out(roots, Some(pairs))
        });
        sources.map(|roots| self.laid_out(roots, None)).chain(pairs)
    }

    /// The distinct destinations of some pairs, which follow each other in the order.
    fn destinations(&self, chunk: &[u64]) -> (Roots, TripPairs) {
        let place: Vec<u32> = chunk.iter().map(|&at| at as u32).collect();
        let mut roots = Roots::default();
        let root = |&place: &u32| {
            let (event, _, dst) = self.pairs[place as usize];
            let time = self.batch.time[event as usize];
            let same_time = !self.timed || roots.time.last() == Some(&time);
            if roots.node.last() != Some(&dst) || !same_time {
                roots.node.push(dst);
                roots.time.push(time);
            }
            roots.node.len() as i32 - 1
        };
        let destination = place.iter().map(root).collect();
        let source = place.iter().map(|&place| self.source_of[place as usize]);
        let pairs = TripPairs {
            source: source.collect(),
            destination,
            place,
        };
        (roots, pairs)
    }

    fn laid_out(&self, roots: Roots, pairs: Option<TripPairs>) -> Trip {
        let (sampling, events) = (self.sampling, self.batch.events.clone());
        // Evaluation is epoch 0.
        let past = |queries: Queries<'_>, request| sampling.past(queries, request, events.start, 0);
        let layout = sampling.with_scratch(|scratch| {
            let (roots, rule) = (roots.queries(), &sampling.layout);
            Layout::of_roots(roots, events.clone(), rule, past, scratch)
        });
        Trip {
            features: sampling.feature_rows(&layout),
            roots,
            layout,
            pairs,
        }
    }
}
