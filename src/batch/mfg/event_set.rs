//! The distinct events of a layer, and the number of each among them in ascending order.
//!
//! Past events are mostly recent: a bit for each event from the first to the last takes less than a hash table of
//! those that were sampled, and needs no sort. How many bits are set before an event's own is its number. Where they lie
//! too far apart, they are numbered by a table and sorted.

use crate::batch::index_table::KeyTable;
use crate::graph::EventId;

/// Words of bits per event that a set may have: as many bytes as a table of the events has.
const WORDS: usize = 4;

/// Events of one layer after the other; what is in it is forgotten by [`EventSet::fill`].
#[derive(Clone, Debug, Default)]
pub(super) struct EventSet {
    /// The event that the first bit stands for.
    first: usize,
    /// Empty where the table has the events.
    bits: Vec<u64>,
    /// `[words]`: events in the words before.
    before: Vec<u32>,
    table: KeyTable<EventId>,
    /// Number of each event of the table.
    rank: Vec<u32>,
}

impl EventSet {
    /// Takes `events`, of which there are at most `most`, any of them several times; returns them distinct and
    /// ascending.
    pub(super) fn fill(
        &mut self,
        events: impl Iterator<Item = EventId> + Clone,
        most: usize,
    ) -> Vec<EventId> {
        let ends = |(first, last): (usize, usize), event: EventId| {
            (first.min(event.index()), last.max(event.index()))
        };
        let (first, last) = events.clone().fold((usize::MAX, 0), ends);
        self.bits.clear();
        self.before.clear();
        if first > last {
            return Vec::new();
        }
        self.first = first;
        let words = (last - first) / 64 + 1;
        match words <= WORDS * most {
            true => self.fill_bits(events, words),
            false => self.fill_table(events, most),
        }
    }

    fn fill_bits(&mut self, events: impl Iterator<Item = EventId>, words: usize) -> Vec<EventId> {
        self.bits.resize(words, 0);
        for event in events {
            let bit = event.index() - self.first;
            self.bits[bit / 64] |= 1 << (bit % 64);
        }
        let mut count = 0;
        self.before.extend(self.bits.iter().map(|word| {
            let before = count;
            count += word.count_ones();
            before
        }));
        let mut ascending = Vec::with_capacity(count as usize);
        for (word, &bits) in self.bits.iter().enumerate() {
            let mut rest = bits;
            while rest != 0 {
                let event = self.first + 64 * word + rest.trailing_zeros() as usize;
                ascending.push(EventId(event as u32));
                rest &= rest - 1;
            }
        }
        ascending
    }

    fn fill_table(&mut self, events: impl Iterator<Item = EventId>, most: usize) -> Vec<EventId> {
        self.table.clear(most);
        for event in events {
            self.table.index(event);
        }
        let mut numbered: Vec<(EventId, u32)> =
            self.table.keys().iter().copied().zip(0..).collect();
        numbered.sort_unstable();
        self.rank.resize(numbered.len(), 0);
        for (rank, &(_, number)) in (0..).zip(&numbered) {
            self.rank[number as usize] = rank;
        }
        numbered.into_iter().map(|(event, _)| event).collect()
    }

    /// How many events of the set precede `event`, which is one of them.
    #[inline]
    pub(super) fn rank(&self, event: EventId) -> u32 {
        if self.bits.is_empty() {
            return self.rank[self.table.number(event) as usize];
        }
        let bit = event.index() - self.first;
        let below = self.bits[bit / 64] & ((1 << (bit % 64)) - 1);
        self.before[bit / 64] + below.count_ones()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_numbered_in_ascending_order_near_and_far_apart() {
        let mut set = EventSet::default();
        for far in [1, 64, 1_000_000, 1] {
            let ids = [9, 2, 9, 130, 3, 2, 64, 65].map(|id| EventId(7 + far * id));
            let ascending = set.fill(ids.iter().copied(), ids.len());
            assert_eq!(
                ascending,
                [2, 3, 9, 64, 65, 130].map(|id| EventId(7 + far * id)),
                "{far}"
            );
            assert_eq!(set.bits.is_empty(), far > 1, "{far}");
            for (rank, &event) in (0..).zip(&ascending) {
                assert_eq!(set.rank(event), rank, "{far}");
            }
        }
        assert!(set.fill(std::iter::empty(), 0).is_empty());
        assert_eq!(set.fill(std::iter::once(EventId(5)), 1), [EventId(5)]);
        assert_eq!(set.rank(EventId(5)), 0);
    }
}
