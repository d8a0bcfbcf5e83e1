//! EdgeBank: predicts that what happened will happen again.
//!
//! A pair (source, destination) scores 1 if it is in the bank, else 0; the bank never forgets. It
//! does not learn and yet beats trained models under some protocols, so it is printed beside every
//! result.
//!
//! Updates are batch-wise: [`EdgeBank::score_batch`] scores with the events before the batch and
//! only then takes its events in, so no score sees an event of its own batch. Pairs are directed.
//! The bank starts empty; whoever evaluates a later split first calls [`EdgeBank::insert`] for the
//! events before it. The variant with a time window is not implemented.
//!
//! Source: Poursafaei et al., "Towards better evaluation for dynamic link prediction", NeurIPS 2022.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use crate::graph::NodeId;

/// The pairs seen so far; 9 to 18 bytes each.
#[derive(Clone, Debug, Default)]
pub struct EdgeBank {
    pairs: HashSet<u64, BuildHasherDefault<PairHasher>>,
}

impl EdgeBank {
    /// A bank that knows no pair.
    pub fn new() -> EdgeBank {
        EdgeBank::default()
    }

    /// 1 if the pair has been inserted, else 0.
    pub fn score(&self, src: NodeId, dst: NodeId) -> f32 {
        f32::from(u8::from(self.pairs.contains(&pair(src, dst))))
    }

    /// Remembers a pair.
    pub fn insert(&mut self, src: NodeId, dst: NodeId) {
        self.pairs.insert(pair(src, dst));
    }

    /// Number of distinct pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether no pair is known.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Scores of a batch's events and of its negatives (each `[events]`), then remembers the events.
    ///
    /// # Panics
    /// If the three columns differ in length.
    pub fn score_batch(
        &mut self,
        src: &[NodeId],
        dst: &[NodeId],
        neg: &[NodeId],
    ) -> (Vec<f32>, Vec<f32>) {
        assert!(
            src.len() == dst.len() && src.len() == neg.len(),
            "columns of one batch"
        );
        let scores = |to: &[NodeId]| {
            src.iter()
                .zip(to)
                .map(|(&s, &d)| self.score(s, d))
                .collect()
        };
        let (positive, negative) = (scores(dst), scores(neg));
        src.iter().zip(dst).for_each(|(&s, &d)| self.insert(s, d));
        (positive, negative)
    }
}

fn pair(src: NodeId, dst: NodeId) -> u64 {
    u64::from(src.0) << 32 | u64::from(dst.0)
}

/// Hashes one u64 by the finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom
/// number generators", OOPSLA 2014). Several times faster than the standard hasher, whose defence
/// against chosen keys a bank of node pairs does not need.
#[derive(Clone, Debug, Default)]
struct PairHasher(u64);

impl Hasher for PairHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, key: u64) {
        let mut z = (self.0 ^ key).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.0 = z ^ (z >> 31);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes<const N: usize>(ids: [u32; N]) -> [NodeId; N] {
        ids.map(NodeId)
    }

    #[test]
    fn pairs_are_directed_and_remembered_once() {
        let mut bank = EdgeBank::new();
        assert!(bank.is_empty());
        bank.insert(NodeId(1), NodeId(2));
        bank.insert(NodeId(1), NodeId(2));
        assert_eq!(bank.len(), 1);
        assert_eq!(bank.score(NodeId(1), NodeId(2)), 1.0);
        assert_eq!(bank.score(NodeId(2), NodeId(1)), 0.0);
        assert_eq!(bank.score(NodeId(1), NodeId(3)), 0.0);
    }

    /// ```text
    /// batch 1: 0->5 0->5 1->6    negatives 6, 7, 5
    /// batch 2: 0->5 1->5 1->6    negatives 6, 6, 7
    /// ```
    #[test]
    fn a_batch_does_not_see_itself() {
        let mut bank = EdgeBank::new();
        let (positive, negative) =
            bank.score_batch(&nodes([0, 0, 1]), &nodes([5, 5, 6]), &nodes([6, 7, 5]));
        assert_eq!((positive, negative), (vec![0.0; 3], vec![0.0; 3]));
        let (positive, negative) =
            bank.score_batch(&nodes([0, 1, 1]), &nodes([5, 5, 6]), &nodes([6, 6, 7]));
        assert_eq!(positive, [1.0, 0.0, 1.0]);
        assert_eq!(
            negative,
            [0.0, 1.0, 0.0],
            "negatives are scored but not remembered"
        );
        assert_eq!(bank.len(), 3);
    }

    #[test]
    fn many_pairs_are_told_apart() {
        let mut bank = EdgeBank::new();
        for src in 0..300 {
            for dst in (0..300).filter(|dst| (src + dst) % 3 == 0) {
                bank.insert(NodeId(src), NodeId(dst));
            }
        }
        assert_eq!(bank.len(), 30_000);
        for src in 0..300 {
            for dst in 0..300 {
                let expected = if (src + dst) % 3 == 0 { 1.0 } else { 0.0 };
                assert_eq!(
                    bank.score(NodeId(src), NodeId(dst)),
                    expected,
                    "{src} {dst}"
                );
            }
        }
    }
}
