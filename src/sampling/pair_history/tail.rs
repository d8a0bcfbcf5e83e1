//! What came after an index was built: how each node and pair stands that had an event since.
//!
//! The index of a stream never changes. A stream that is followed adds to this: per node and pair
//! that has a new event how many there are, the last one, and the decayed counts just after it. Sums
//! begin with those of the index and are carried on in f64, so that a stream that grew gives the bits
//! of one that was read whole.
//!
//! Nobody asks about a time before the last event that memory has followed. So of each node and pair
//! the states since are kept and one before ([`Tail::settle`]): what this takes grows with nodes and
//! pairs, and not with events.

use super::index::{Index, decayed_after};
use super::statistic::SCALES;
use crate::graph::sharded::{Sharded, key_of_pair};
use crate::graph::{EventId, NodeId, Timestamp};

/// An event that came since, as one of its nodes has it.
#[derive(Clone, Copy, Debug)]
struct Event {
    event: EventId,
    /// The other node.
    partner: NodeId,
    time: Timestamp,
}

/// How a node or a pair stands that had an event since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newer {
    /// How many it had, the index's among them.
    pub(super) count: u32,
    /// When the last one was.
    pub(super) time: Timestamp,
    /// Who took part in it, seen from the node that was asked for.
    pub(super) partner: NodeId,
    /// The decayed counts just after it.
    pub(super) decayed: [f32; SCALES],
}

/// How a node or a pair stands after an event.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Its events up to this one.
    count: u32,
    last: Event,
    sums: [f64; SCALES],
}

impl State {
    /// After one more event.
    fn next(before: Option<&State>, last: Event, scales: [f64; SCALES]) -> State {
        let mut sums = before.map_or([0.0; SCALES], |before| before.sums);
        let gap = before.map_or(0, |before| last.time - before.last.time);
        decayed_after(&mut sums, gap, scales);
        State {
            count: before.map_or(0, |before| before.count) + 1,
            last,
            sums,
        }
    }

    fn seen(&self) -> Newer {
        Newer {
            count: self.count,
            time: self.last.time,
            partner: self.last.partner,
            decayed: self.sums.map(|sum| sum as f32),
        }
    }
}

/// Events before this one that are earlier than this time: what was before them is asked for no more.
type Settled = Option<(EventId, Timestamp)>;

/// The states of a node or a pair that may still be asked for.
#[derive(Clone, Debug)]
struct States {
    newest: State,
    /// Those before it, ascending.
    earlier: Vec<State>,
}

impl States {
    fn push(&mut self, last: Event, scales: [f64; SCALES], settled: Settled) {
        let Event { event, time, .. } = self.newest.last;
        if settled.is_some_and(|(first, last)| event < first && time < last) {
            self.earlier.clear();
            self.earlier.shrink_to(1);
        }
        if self.earlier.is_empty() {
            // Mostly there is one.
            self.earlier.reserve_exact(1);
        }
        self.earlier.push(self.newest);
        self.newest = State::next(Some(&self.newest), last, scales);
    }

    /// What is before `before`, unless that is the index's alone.
    fn seen(&self, before: EventId) -> Option<Newer> {
        if self.newest.last.event < before {
            return Some(self.newest.seen());
        }
        let count = (self.earlier).partition_point(|state| state.last.event < before);
        let last = count.checked_sub(1)?;
        Some(self.earlier[last].seen())
    }
}

/// The states of all nodes, or of all pairs by the smaller of the two, then the other.
#[derive(Debug, Default)]
struct Table {
    states: Sharded<States>,
    /// Room for earlier states.
    earlier: usize,
}

impl Table {
    /// Adds an event to the states of `key`, which begin after the events `older` of the index.
    fn add<I: Iterator<Item = (EventId, Timestamp)>>(
        &mut self,
        key: u64,
        last: Event,
        older: impl Fn() -> I,
        scales: [f64; SCALES],
        settled: Settled,
    ) {
        if let Some(states) = self.states.get_mut(key) {
            self.earlier -= states.earlier.capacity();
            states.push(last, scales, settled);
            self.earlier += states.earlier.capacity();
            return;
        }
        let before = older().fold(None, |before: Option<State>, (event, time)| {
            // Nobody asks these whom they were with.
            let last = Event {
                event,
                time,
                ..last
            };
            Some(State::next(before.as_ref(), last, scales))
        });
        self.insert(key, State::next(before.as_ref(), last, scales));
    }

    fn insert(&mut self, key: u64, newest: State) {
        let earlier = Vec::new();
        self.states.insert(key, States { newest, earlier });
    }

    fn bytes(&self) -> u64 {
        self.states.bytes() + (size_of::<State>() * self.earlier) as u64
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Events of the index.
    built: usize,
    of_node: Table,
    of_pair: Table,
    /// Times of the last events, from event `first` on.
    first: usize,
    times: Vec<Timestamp>,
    settled: Settled,
}

/// The states of a tail as columns, those of one key one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct SavedStates {
    /// Keys, ascending: see [`key_of_pair`], or a node.
    pub(crate) key: Vec<i64>,
    /// Events so far.
    pub(crate) count: Vec<u32>,
    /// The last one.
    pub(crate) event: Vec<u32>,
    /// The node's other end of it.
    pub(crate) partner: Vec<u32>,
    /// Its time.
    pub(crate) time: Vec<Timestamp>,
    /// The bits of the decayed sums, `[states, SCALES]`.
    pub(crate) sums: Vec<i64>,
}

impl SavedStates {
    /// Whether its columns have the lengths that they should.
    pub(crate) fn is_whole(&self) -> bool {
        let states = self.key.len();
        let columns = [self.count.len(), self.event.len(), self.partner.len()];
        columns == [states; 3]
            && self.time.len() == states
            && self.sums.len() == states * SCALES
            && self.key.is_sorted()
    }

    fn push(&mut self, key: u64, state: &State) {
        self.key.push(key as i64);
        self.count.push(state.count);
        self.event.push(state.last.event.0);
        self.partner.push(state.last.partner.0);
        self.time.push(state.last.time);
        let bits = state.sums.iter().map(|sum| sum.to_bits() as i64);
        self.sums.extend(bits);
    }

    fn of(table: &Table) -> SavedStates {
        let mut saved = SavedStates::default();
        for (key, states) in table.states.sorted() {
            for state in states.earlier.iter().chain([&states.newest]) {
                saved.push(key, state);
            }
        }
        saved
    }

    fn into_table(self) -> Table {
        let mut table = Table::default();
        for place in 0..self.key.len() {
            let sums = &self.sums[place * SCALES..][..SCALES];
            let newest = State {
                count: self.count[place],
                last: Event {
                    event: EventId(self.event[place]),
                    partner: NodeId(self.partner[place]),
                    time: self.time[place],
                },
                sums: std::array::from_fn(|scale| f64::from_bits(sums[scale] as u64)),
            };
            let key = self.key[place] as u64;
            match table.states.get_mut(key) {
                Some(states) => {
                    table.earlier -= states.earlier.capacity();
                    states.earlier.reserve_exact(1);
                    states.earlier.push(states.newest);
                    states.newest = newest;
                    table.earlier += states.earlier.capacity();
                }
                None => table.insert(key, newest),
            }
        }
        table
    }
}

impl Tail {
    /// Of an index of `events` events, with nothing yet.
    pub(super) fn after(events: usize) -> Tail {
        Tail {
            built: events,
            first: events,
            ..Tail::default()
        }
    }

    /// Adds the event `event` of `src` and `dst` at `now`, the next one of the stream; `time` are the
    /// times of the events of `index`.
    pub(super) fn push(
        &mut self,
        index: &Index,
        event: EventId,
        [src, dst]: [NodeId; 2],
        time: &[Timestamp],
        now: Timestamp,
        scales: [f64; SCALES],
    ) {
        let settled = self.settled;
        let event = |partner| Event {
            event,
            partner,
            time: now,
        };
        let timed = |event: EventId| (event, time[event.index()]);
        let both = [(src, dst), (dst, src)];
        for &(node, partner) in if src == dst { &both[..1] } else { &both[..] } {
            let older = || index.events_of_node(node).map(timed);
            let key = u64::from(node.0);
            (self.of_node).add(key, event(partner), older, scales, settled);
        }
        let (a, b) = (src.min(dst), src.max(dst));
        let older = || index.events_of_pair(a, b).map(timed);
        (self.of_pair).add(key_of_pair(a, b), event(b), older, scales, settled);
        self.times.push(now);
    }

    /// No question will be about less than the first `followed` events, of which the last is at `last`.
    pub(super) fn settle(&mut self, followed: EventId, last: Timestamp) {
        self.settled = Some((followed, last));
        let within = followed.index().saturating_sub(self.first);
        let before =
            self.times[..within.min(self.times.len())].partition_point(|&time| time < last);
        // One that is copied is made room for by one that goes.
        if before > self.times.len() / 2 {
            self.times.drain(..before);
            self.first += before;
        }
    }

    /// How many events are before `time` and `hidden_from`, unless all that are new come after them.
    pub(super) fn seen(&self, time: Timestamp, hidden_from: Option<EventId>) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let end = self.first + self.times.len();
        let hidden = hidden_from.map_or(end, |hidden| hidden.index().min(end));
        let within = hidden.saturating_sub(self.first);
        let seen = self.times[..within].partition_point(|&other| other < time);
        (seen > 0 || self.first > self.built).then(|| self.first + seen)
    }

    /// Whether nothing came since.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty() && self.first == self.built
    }

    /// The events of `node` before `before`, if any of them is new.
    #[inline]
    pub(super) fn of_node(&self, node: NodeId, before: EventId) -> Option<Newer> {
        if self.is_empty() {
            return None;
        }
        self.of_node.states.get(u64::from(node.0))?.seen(before)
    }

    /// The meetings of two nodes before `before`, if any of them is new.
    #[inline]
    pub(super) fn of_pair(&self, a: NodeId, b: NodeId, before: EventId) -> Option<Newer> {
        if self.is_empty() {
            return None;
        }
        let key = key_of_pair(a.min(b), a.max(b));
        self.of_pair.states.get(key)?.seen(before)
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.of_node.bytes() + self.of_pair.bytes() + 8 * self.times.capacity() as u64
    }

    /// States of nodes, and of pairs.
    pub(super) fn save(&self) -> [SavedStates; 2] {
        [&self.of_node, &self.of_pair].map(SavedStates::of)
    }

    /// Takes over what was saved; `times` are those of the last events, from event `first` on.
    pub(super) fn restore(
        &mut self,
        [node, pair]: [SavedStates; 2],
        first: usize,
        times: &[Timestamp],
    ) {
        self.of_node = node.into_table();
        self.of_pair = pair.into_table();
        self.first = first;
        self.times = times.to_vec();
    }
}
