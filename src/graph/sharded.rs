//! A table by node or by pair that grows a little at a time.
//!
//! A hash table that is full moves all that it has: with a million pairs whoever asks would wait for
//! that. Here keys are spread over many small tables, which fill up one after the other.

use std::collections::HashMap;

use super::NodeId;

/// Small tables.
const SHARDS: usize = 256;

/// Values of nodes or of pairs; see [`key_of_pair`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sharded<V>(Vec<HashMap<u64, V>>);

impl<V> Default for Sharded<V> {
    fn default() -> Sharded<V> {
        Sharded((0..SHARDS).map(|_| HashMap::new()).collect())
    }
}

/// The key of a pair, one way around.
pub(crate) fn key_of_pair(a: NodeId, b: NodeId) -> u64 {
    u64::from(a.0) << 32 | u64::from(b.0)
}

fn shard_of(key: u64) -> usize {
    // The top byte of a product with 2^64 / golden ratio.
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

impl<V> Sharded<V> {
    pub(crate) fn get(&self, key: u64) -> Option<&V> {
        self.0[shard_of(key)].get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        self.0[shard_of(key)].get_mut(&key)
    }

    pub(crate) fn insert(&mut self, key: u64, value: V) {
        self.0[shard_of(key)].insert(key, value);
    }

    /// All keys with their values, by ascending keys.
    pub(crate) fn sorted(&self) -> Vec<(u64, &V)> {
        let all = self.0.iter().flatten();
        let mut all: Vec<(u64, &V)> = all.map(|(&key, value)| (key, value)).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    /// Bytes of its tables, not of what values hold elsewhere.
    pub(crate) fn bytes(&self) -> u64 {
        let entry = size_of::<(u64, V)>() + 1;
        let entries: usize = self.0.iter().map(buckets).sum();
        (entries * entry) as u64
    }
}

/// Places of a hash table: it is full when seven of eight are taken.
fn buckets<V>(table: &HashMap<u64, V>) -> usize {
    match table.capacity() {
        0 => 0,
        capacity => (capacity * 8 / 7).next_power_of_two(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_one_way_is_not_the_other_way() {
        let mut pairs = Sharded::default();
        let (a, b) = (NodeId(7), NodeId(u32::MAX));
        pairs.insert(key_of_pair(a, b), 1);
        assert_eq!(pairs.get(key_of_pair(a, b)), Some(&1));
        assert_eq!(pairs.get(key_of_pair(b, a)), None);
        (0..1000).for_each(|node| pairs.insert(key_of_pair(NodeId(node), a), 2));
        assert_eq!(pairs.sorted().len(), 1001);
        assert!(pairs.sorted().is_sorted_by_key(|(key, _)| *key));
        let least = 1001 * (8 + 4 + 1);
        assert!((least..4 * least).contains(&pairs.bytes()));
    }
}
