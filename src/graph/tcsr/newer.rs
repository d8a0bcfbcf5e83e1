//! Events that a graph gets after it was built, and entries that it lets go of.
//!
//! Entries that came with the graph stay where they are. A node that gets another event has its entries
//! moved behind them, to a room of 4, 8, 16, … entries; a room that is left is used by the next node that
//! needs one of its size, or half of it.

use super::Tcsr;
use super::rooms::{NewerEntries, Places, ROOM, Row, SIZES, size_of_room};
use crate::graph::sharded::key_of_pair;
use crate::graph::{Directions, EventId, NodeId, Timestamp};

impl Tcsr {
    /// None of its entries.
    pub(crate) fn no_places(&self) -> Places {
        Places::none(self.event.len())
    }

    /// Adds the event `event`, which is not earlier than any that the graph has.
    ///
    /// # Panics
    /// If a node is not one of the graph.
    pub(crate) fn append(&mut self, event: EventId, [src, dst]: [NodeId; 2], time: Timestamp) {
        self.begin_to_grow();
        self.put(src, dst, event, time);
        if self.directions == Directions::Both {
            self.put(dst, src, event, time);
        }
    }

    /// Notes that the past of `src` has `dst` from now on, and the other way around where events are in
    /// both.
    pub(crate) fn note_met(&mut self, [src, dst]: [NodeId; 2]) {
        for key in self.keys([src, dst]).into_iter().flatten() {
            self.newer.met.insert(key, ());
        }
    }

    fn keys(&self, [src, dst]: [NodeId; 2]) -> [Option<u64>; 2] {
        let back = (self.directions == Directions::Both).then(|| key_of_pair(dst, src));
        [Some(key_of_pair(src, dst)), back]
    }

    /// Whether the past of `node` has had `other`, also where those entries were let go of; `built` are
    /// its [`built_partners`](Tcsr::built_partners), sorted.
    pub(crate) fn has_met(&self, node: NodeId, other: NodeId, built: &[NodeId]) -> bool {
        built.binary_search(&other).is_ok()
            || self.newer.met.get(key_of_pair(node, other)).is_some()
    }

    /// Whom `node` has had an event with in the stream that the graph was built of; some more than once.
    pub(crate) fn built_partners(&self, node: NodeId) -> &[NodeId] {
        let rows = self
            .newer
            .built
            .as_ref()
            .map_or(&self.rows, |(_, rows)| rows);
        let row = rows.get(node.index()).copied().unwrap_or_default();
        &self.neighbor[row.start..row.start + row.len as usize]
    }

    /// All that have met since it was built, as `[node, other]`.
    fn met(&self) -> impl Iterator<Item = [NodeId; 2]> {
        let keys = self.newer.met.sorted().into_iter().map(|(key, ())| key);
        keys.map(|key| [NodeId((key >> 32) as u32), NodeId(key as u32)])
    }

    fn put(&mut self, owner: NodeId, other: NodeId, event: EventId, time: Timestamp) {
        let row = self.rows[owner.index()];
        if row.len == row.room {
            self.move_to(owner, (2 * row.len).max(ROOM).next_power_of_two());
        }
        let row = &mut self.rows[owner.index()];
        let place = row.start + row.len as usize;
        row.len += 1;
        self.newer.entries += 1;
        self.neighbor[place] = other;
        self.event[place] = event;
        self.time[place] = time;
    }

    /// Moves the entries of `owner` to a room of `room`.
    fn move_to(&mut self, owner: NodeId, room: u32) {
        let start = self.take(room);
        let row = self.rows[owner.index()];
        let entries = row.start..row.start + row.len as usize;
        self.neighbor.copy_within(entries.clone(), start);
        self.event.copy_within(entries.clone(), start);
        self.time.copy_within(entries, start);
        if self.is_room(row) {
            self.newer.free[size_of_room(row.room)].push(row.start);
        } else {
            self.newer.entries += row.len as usize;
        }
        self.rows[owner.index()] = Row { start, room, ..row };
    }

    /// Whether these entries lie in a room, not where they were built.
    fn is_room(&self, row: Row) -> bool {
        let built = self.newer.built.as_ref();
        row.room > 0 && built.is_some_and(|(entries, _)| row.start >= *entries)
    }

    /// Where a room of `room` entries begins that nobody has.
    fn take(&mut self, room: u32) -> usize {
        /// What arrays grow by, at least.
        const GROWTH: usize = 1 << 14;
        let wanted = size_of_room(room);
        let free = &mut self.newer.free;
        if let Some(found) = (wanted..SIZES).find(|&size| !free[size].is_empty()) {
            let start = free[found].pop().unwrap_or_default();
            // What is left of it is one room of each smaller size.
            for (size, rooms) in free.iter_mut().enumerate().take(found).skip(wanted) {
                rooms.push(start + ((ROOM as usize) << size));
            }
            return start;
        }
        let start = self.event.len();
        let end = start + room as usize;
        if end > self.event.capacity() {
            // By a fifth: twice as many would be much that nobody has yet.
            let more = (end - start).max(GROWTH).max(start / 5);
            self.neighbor.reserve_exact(more);
            self.event.reserve_exact(more);
            self.time.reserve_exact(more);
        }
        self.neighbor.resize(end, NodeId(0));
        self.event.resize(end, EventId(0));
        self.time.resize(end, 0);
        start
    }

    /// Lets go of the entries of the nodes from `first` on that were moved or came since it was built but for
    /// those at `kept`, until it has looked at `most` nodes and entries; returns the node that is next, if there is
    /// one. What lies at `kept` is what lay there when the first was let go of, if none came meanwhile.
    pub(crate) fn keep(&mut self, kept: &Places, first: NodeId, most: usize) -> Option<NodeId> {
        let mut looked = 0;
        for owner in first.index()..self.rows.len() {
            if looked >= most {
                return Some(NodeId(owner as u32));
            }
            let row = self.rows[owner];
            looked += 1;
            if !self.is_room(row) {
                continue;
            }
            looked += row.len as usize;
            let mut end = row.start;
            for place in row.start..row.start + row.len as usize {
                if kept.has(place) {
                    self.neighbor[end] = self.neighbor[place];
                    self.event[end] = self.event[place];
                    self.time[end] = self.time[place];
                    end += 1;
                }
            }
            let len = (end - row.start) as u32;
            self.newer.entries -= (row.len - len) as usize;
            self.rows[owner].len = len;
            // Room for as many again. The one that is left is for whoever needs one so large next: cut up, it
            // would be made anew each time.
            let room = (2 * len).max(ROOM).next_power_of_two();
            if room < row.room / 2 {
                self.move_to(NodeId(owner as u32), room);
            }
        }
        None
    }

    /// Entries that were moved or came since it was built.
    pub(crate) fn newer_entries(&self) -> usize {
        self.newer.entries
    }

    /// The entries that came since it was built, of each node those that are kept.
    pub(crate) fn newer(&self) -> NewerEntries {
        let mut newer = NewerEntries::default();
        let first = self.newer.first_event;
        for (owner, row) in (0..).zip(&self.rows).filter(|(_, row)| self.is_room(**row)) {
            for place in row.start..row.start + row.len as usize {
                if self.event[place].index() >= first {
                    newer.owner.push(owner);
                    newer.other.push(self.neighbor[place].0);
                    newer.event.push(self.event[place].0);
                    newer.time.push(self.time[place]);
                }
            }
        }
        for [node, other] in self.met() {
            newer.met_node.push(node.0);
            newer.met_other.push(other.0);
        }
        newer
    }

    /// Adds to a graph that was built what came since.
    ///
    /// # Panics
    /// If a node is not one of the graph.
    pub(crate) fn restore(&mut self, newer: &NewerEntries) {
        self.begin_to_grow();
        let ends = newer.owner.iter().zip(&newer.other);
        for ((&owner, &other), (&event, &time)) in ends.zip(newer.event.iter().zip(&newer.time)) {
            self.put(NodeId(owner), NodeId(other), EventId(event), time);
        }
        for (&node, &other) in newer.met_node.iter().zip(&newer.met_other) {
            self.newer
                .met
                .insert(key_of_pair(NodeId(node), NodeId(other)), ());
        }
    }

    fn begin_to_grow(&mut self) {
        if self.newer.built.is_none() {
            self.newer.built = Some((self.event.len(), self.rows.clone()));
        }
    }

    /// Bytes of the graph, and of who has met since it was built.
    pub(crate) fn bytes(&self) -> [u64; 2] {
        let entry = size_of::<NodeId>() + size_of::<EventId>() + size_of::<Timestamp>();
        let built = self
            .newer
            .built
            .as_ref()
            .map_or(0, |(_, rows)| rows.capacity());
        let rows = self.rows.capacity() + built;
        let free: usize = self.newer.free.iter().map(Vec::capacity).sum();
        let entries = self.event.capacity() * entry;
        let graph = entries + rows * size_of::<Row>() + free * size_of::<usize>();
        [graph as u64, self.newer.met.bytes()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::History;
    use crate::graph::drawn_streams::Stream;

    /// All events of `node` before `before`.
    fn history(graph: &Tcsr, node: u32, before: Timestamp) -> History<'_> {
        graph.slice(graph.past(NodeId(node), before, None))
    }

    #[test]
    fn a_graph_that_grows_answers_as_one_that_is_built() {
        let stream = Stream::drawn("0>2@1 1>2@1 2>2@2 0>3@3 4>0@3 0>2@5 0>5@6 2>0@6 0>2@7 0>3@8");
        for directions in [Directions::Both, Directions::SourceOnly] {
            let built = stream.graph(6, directions);
            for first in 0..stream.src.len() {
                let mut grown = Tcsr::build(
                    4,
                    &stream.src[..first.min(4)],
                    &stream.dst[..first.min(4)],
                    &stream.time[..first.min(4)],
                    directions,
                )
                .unwrap();
                grown.grow(6);
                for event in first.min(4)..stream.src.len() {
                    let ends = [stream.src[event], stream.dst[event]];
                    grown.append(EventId(event as u32), ends, stream.time[event]);
                }
                assert_eq!(grown.entries(), built.entries());
                for node in 0..6 {
                    for before in 0..10 {
                        assert_eq!(history(&grown, node, before), history(&built, node, before));
                    }
                }
            }
        }
    }

    /// The last two events of each node are kept, over and over again: what is asked of them is what it was,
    /// and the graph takes no more than it did.
    #[test]
    fn a_graph_that_lets_go_stays_as_large_and_keeps_the_last_events() {
        let stream = Stream::drawn("0>2@1 1>2@1 2>2@2 0>3@3");
        let mut graph = stream.graph(6, Directions::Both);
        let mut whole = graph.clone();
        let mut sizes = Vec::new();
        for round in 0..20u32 {
            for nth in 0..200 {
                let event = 4 + round * 200 + nth;
                // Node 5 is in every other event, and gets none in the last rounds.
                let hub = if event % 2 == 0 && round < 17 {
                    5
                } else {
                    event % 4
                };
                let ends = [NodeId(event / 3 % 4), NodeId(hub)];
                let time = i64::from(event);
                graph.append(EventId(event), ends, time);
                graph.note_met(ends);
                whole.append(EventId(event), ends, time);
            }
            let mut kept = graph.no_places();
            for node in 0..6 {
                let all = graph.past(NodeId(node), Timestamp::MAX, None);
                let last = all.end - all.len().min(2)..all.end;
                last.for_each(|place| assert!(kept.add(place)));
            }
            let mut next = Some(NodeId(0));
            let mut steps = 0;
            while let Some(first) = next {
                next = graph.keep(&kept, first, 3);
                steps += 1;
            }
            assert!(steps >= 4, "{steps}");
            for node in 0..6 {
                let (found, expected) = (history(&graph, node, 9999), history(&whole, node, 9999));
                let last = expected.len() - expected.len().min(2);
                assert_eq!(found.event, &expected.event[last..], "{node} in {round}");
                assert_eq!(found.neighbor, &expected.neighbor[last..]);
                assert_eq!(found.time, &expected.time[last..]);
            }
            // Node 4 has no event, and what came with the graph is in rooms by now.
            assert_eq!(graph.newer_entries(), 10);
            sizes.push(graph.bytes()[0]);
        }
        let room_of_lists = 1024;
        assert!(
            sizes[2..]
                .iter()
                .all(|size| *size < sizes[2] + room_of_lists),
            "{sizes:?}"
        );
        assert!(graph.event.len() < 8 + 5 * 3 * 256, "{}", graph.event.len());
        assert_eq!(graph.event.len(), graph.time.len());
        // Whom a node has met is known for ever.
        for node in 0..6 {
            let mut built = graph.built_partners(NodeId(node)).to_vec();
            built.sort_unstable();
            let expected = history(&whole, node, 9999).neighbor;
            for other in 0..6 {
                let other = NodeId(other);
                assert_eq!(
                    graph.has_met(NodeId(node), other, &built),
                    expected.contains(&other)
                );
            }
        }
    }
}
