//! Uniform neighbours: `fanout` different events of the whole past, each subset equally likely.
//!
//! Sampling is without replacement; a past not longer than `fanout` is returned whole. What was
//! drawn is returned newest first, as by [`super::recent`]. The draws of a root come from the
//! stream (seed, epoch, first event of the batch, request, node, query time), and not from its
//! place among the roots, which in the second of two layers depends on what later events of the
//! batch sampled. TGL draws with replacement, so its slots may repeat an event; here no slot
//! repeats another.

use crate::graph::{EventId, Queries, Tcsr};
use crate::sampling::counter_rng::{CounterRng, RandomStreams};
use crate::sampling::{NeighborSampler, Neighbors, ROOTS_PER_CHUNK, SampleKey, fill_slots};

/// Samples `fanout` different past events of each root.
#[derive(Clone, Copy, Debug)]
pub struct Uniform {
    /// Events per root at most.
    pub fanout: usize,
}

impl NeighborSampler for Uniform {
    fn sample(
        &self,
        graph: &Tcsr,
        roots: Queries<'_>,
        hidden_from: Option<EventId>,
        key: SampleKey,
    ) -> Neighbors {
        assert_eq!(
            roots.node.len(),
            roots.time.len(),
            "one query time per root"
        );
        let streams = RandomStreams::new(key.seed, key.epoch, b"neighbor");
        fill_slots(roots.node.len(), self.fanout, |first, slots| {
            // Searches first, for the reason given in `recent`.
            let mut pasts = [const { 0..0 }; ROOTS_PER_CHUNK];
            for (root, past) in pasts.iter_mut().take(slots.len.len()).enumerate() {
                let root = first + root;
                *past = graph.past(roots.node[root], roots.time[root], hidden_from);
            }
            let mut drawn = Vec::with_capacity(self.fanout);
            for (root, len) in slots.len.iter_mut().enumerate() {
                let history = graph.slice(pasts[root].clone());
                // A node has at most two entries per event, so fewer than 2^32.
                let past = history.len() as u32;
                if history.len() <= self.fanout {
                    drawn.clear();
                    drawn.extend((0..past).rev());
                } else {
                    let (node, time) = (roots.node[first + root], roots.time[first + root]);
                    let event = key.event ^ mixed(time as u64 ^ u64::from(key.request) << 60);
                    let mut rng = streams.at(event, node.0);
                    draw_subset(past, self.fanout as u32, &mut rng, &mut drawn);
                    drawn.sort_unstable_by(|a, b| b.cmp(a));
                }
                let base = root * self.fanout;
                for (slot, &position) in (base..).zip(&drawn) {
                    slots.node[slot] = history.neighbor[position as usize];
                    slots.event[slot] = history.event[position as usize];
                    slots.time[slot] = history.time[position as usize];
                }
                *len = drawn.len() as u32;
            }
        })
    }
}

/// Spreads the bits of a number over all of its bits (the last steps of SplitMix64; Steele, Lea and
/// Flood, OOPSLA 2014).
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Draws `count` different numbers below `n` (`count <= n`), every subset equally likely, by
/// Floyd's algorithm (Bentley, Floyd: "A sample of brilliance", CACM 1987): `count` draws, no
/// table of size `n`.
fn draw_subset(n: u32, count: u32, rng: &mut CounterRng, drawn: &mut Vec<u32>) {
    drawn.clear();
    for last in n - count..n {
        let candidate = rng.u32_below(last + 1);
        drawn.push(if drawn.contains(&candidate) {
            last
        } else {
            candidate
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All 10 subsets of 3 out of 5, 20,000 draws: 9 degrees of freedom exceed 33.7 once in 10^4.
    #[test]
    fn every_subset_is_equally_likely() {
        let streams = RandomStreams::new(3, 1, b"neighbor");
        let mut count = std::collections::BTreeMap::<Vec<u32>, u32>::new();
        let mut drawn = Vec::new();
        for event in 0..20_000 {
            draw_subset(5, 3, &mut streams.at(event, 0), &mut drawn);
            drawn.sort_unstable();
            *count.entry(drawn.clone()).or_default() += 1;
        }
        assert_eq!(count.len(), 10, "{count:?}");
        let chi: f64 = count
            .values()
            .map(|&c| (f64::from(c) - 2000.0).powi(2) / 2000.0)
            .sum();
        assert!(chi < 33.7, "chi-square {chi}, counts {count:?}");
    }

    #[test]
    fn all_of_n_is_a_permutation() {
        let mut drawn = Vec::new();
        let mut rng = RandomStreams::new(3, 1, b"neighbor").at(0, 0);
        draw_subset(7, 7, &mut rng, &mut drawn);
        drawn.sort_unstable();
        assert_eq!(drawn, [0, 1, 2, 3, 4, 5, 6]);
    }
}
