//! Pairs that are looked up and encoded together.
//!
//! What a pair needs lies here and there in an index that is mostly larger than the caches: where a
//! list is, an entry in the middle of it, the time of an event. Pairs one after the other would wait
//! for each of these. So all pairs of a block take one step before any takes the next, and a step
//! asks for what the next one reads.

use std::iter;

use super::encoding::{Columns, Encoder, Facts, Seen, TOGETHER};
use super::index::{Entry, Index, Place, count_first, expect};
use super::statistic::{STATISTICS, Statistic, WIDTH};
use super::tail::{Newer, Tail};
use crate::graph::{EventColumns, EventId, NodeId, Timestamp};

/// What is kept of a stream's pairs and nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a> {
    pub(super) index: &'a Index,
    /// What came after the index was built.
    pub(super) tail: &'a Tail,
    pub(super) encoder: &'a Encoder,
}

impl Kept<'_> {
    /// The first event that a query at `time` does not see, if those from `hidden_from` on are hidden.
    /// `previous` is what the query before it did not see.
    fn first_unseen(
        &self,
        stream: EventColumns<'_>,
        time: Timestamp,
        hidden_from: Option<EventId>,
        previous: Option<EventId>,
    ) -> EventId {
        if let Some(seen) = self.tail.seen(time, hidden_from) {
            return EventId(seen as u32);
        }
        // Events are in order of time, so that the two limits are one event. Sources follow each
        // other in time, and what is hidden is mostly later than all that is seen.
        let all = stream.time.len();
        let hidden = hidden_from.map_or(all, |hidden| hidden.index().min(all));
        let hint = match (previous, hidden_from) {
            (Some(before), None) => before.index(),
            _ => hidden,
        };
        let before = count_first(&stream.time[..hidden], |&other| other < time, hint);
        EventId(before as u32)
    }
}

/// A source at a time, and the first event that is hidden from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) node: NodeId,
    pub(super) time: Timestamp,
    pub(super) hidden_from: Option<EventId>,
}

/// What all candidates of a source at a time share.
#[derive(Clone, Copy, Debug)]
struct Source {
    node: NodeId,
    time: Timestamp,
    /// The first event that is not seen.
    before: EventId,
    /// Whom its last event was with.
    partner: Option<NodeId>,
}

/// At most [`TOGETHER`] pairs, one in each lane; blocks of one thread follow each other in time.
pub(super) struct Block<'a> {
    kept: Kept<'a>,
    stream: EventColumns<'a>,
    /// Neighbouring lanes that ask the same share a source.
    asked: Vec<Asked>,
    sources: Vec<Source>,
    /// Whether all of these have been looked up.
    looked_up: bool,
    facts: Facts,
    columns: Columns,
}

impl<'a> Block<'a> {
    pub(super) fn new(kept: Kept<'a>, stream: EventColumns<'a>) -> Block<'a> {
        Block {
            kept,
            stream,
            asked: Vec::with_capacity(TOGETHER),
            sources: Vec::with_capacity(TOGETHER),
            looked_up: false,
            facts: Facts::NONE,
            columns: Columns::NONE,
        }
    }

    /// The pairs that follow have these sources, lane by lane.
    pub(super) fn ask(&mut self, lanes: impl Iterator<Item = Asked>) {
        let mut asked = Vec::with_capacity(TOGETHER);
        for (lane, of_lane) in lanes.enumerate() {
            if asked.last() != Some(&of_lane) {
                asked.push(of_lane);
            }
            self.facts.source_of[lane] = asked.len() as u8 - 1;
        }
        // As it is when many candidates of one source are ranked.
        if asked == self.asked {
            return;
        }
        self.asked = asked;
        self.looked_up = false;
        let mut previous = self.sources.last().map(|source| source.before);
        self.sources.clear();
        for &Asked {
            node,
            time,
            hidden_from,
        } in &self.asked
        {
            let before = (self.kept).first_unseen(self.stream, time, hidden_from, previous);
            previous = Some(before);
            self.sources.push(Source {
                node,
                time,
                before,
                partner: None,
            });
        }
    }

    /// Looks up some of the sources.
    fn look_up_sources(&mut self, some: &[u8]) {
        let (kept, index, stream) = (self.kept, self.kept.index, self.stream);
        let source = |i: u8| self.sources[usize::from(i)];
        for &i in some {
            index.expect_node(source(i).node);
        }
        let mut places = [Place::default(); TOGETHER];
        for (place, &i) in places.iter_mut().zip(some) {
            *place = index.node(source(i).node);
        }
        let mut events: [&[Entry]; TOGETHER] = [&[]; TOGETHER];
        for ((events, place), &i) in events.iter_mut().zip(places).zip(some) {
            *events = index.events(source(i).node, place, source(i).before);
            if let Some(last) = events.last() {
                expect(stream.time, last.event.index());
                expect(stream.src, last.event.index());
                expect(stream.dst, last.event.index());
            }
        }
        for (events, i) in events.into_iter().zip(some.iter().map(|&i| usize::from(i))) {
            let source = &mut self.sources[i];
            let newer = kept.tail.of_node(source.node, source.before);
            source.partner = match (newer, events.last()) {
                (Some(newer), _) => Some(newer.partner),
                (None, Some(last)) => {
                    let event = last.event.index();
                    let (src, dst) = (stream.src[event], stream.dst[event]);
                    Some(if src == source.node { dst } else { src })
                }
                (None, None) => None,
            };
            let seen = seen(events, newer, stream, source.time);
            self.facts.source.set(i, &seen);
        }
    }

    /// Looks up all sources that were asked for, once.
    fn look_up_all_sources(&mut self) {
        if self.looked_up {
            return;
        }
        let all: [u8; TOGETHER] = std::array::from_fn(|i| i as u8);
        self.look_up_sources(&all[..self.sources.len()]);
        self.kept.encoder.encode_sources(&mut self.facts);
        self.looked_up = true;
    }

    /// Looks up the sources that have met the candidates of their lanes.
    fn look_up_sources_that_met(&mut self, met: &[Option<usize>; TOGETHER]) {
        let (mut that_met, mut count) = ([0; TOGETHER], 0);
        for (met, &source) in met.iter().zip(&self.facts.source_of) {
            that_met[count] = source;
            count += usize::from(met.is_some());
        }
        self.look_up_sources(&that_met[..count]);
    }

    /// Writes the statistics of the sources that were asked for and these candidates, lane by lane, to
    /// `rows`. `known`, if given, are those of the sources with somebody else: of sources that never met
    /// their candidate nothing more is read. It is not for what is newer than the index.
    pub(super) fn meet<'r>(
        &mut self,
        candidates: &[NodeId],
        known: Option<&[[f32; WIDTH]]>,
        rows: impl Iterator<Item = &'r mut [f32; WIDTH]>,
    ) {
        let index = self.kept.index;
        let source_of = self.facts.source_of;
        let source = |lane: usize| self.sources[usize::from(source_of[lane])].node;
        let lanes = || candidates.iter().copied().enumerate();
        for (lane, candidate) in lanes() {
            index.expect_node(candidate);
            index.expect_pair(source(lane), candidate);
        }
        let mut nodes = [Place::default(); TOGETHER];
        for (lane, candidate) in lanes() {
            nodes[lane] = index.node(candidate);
            index.expect_partner(source(lane), candidate);
        }
        let mut met = [None; TOGETHER];
        for (lane, candidate) in lanes() {
            met[lane] = index.pair(source(lane), candidate);
        }
        match known {
            None => self.look_up_all_sources(),
            Some(_) => self.look_up_sources_that_met(&met),
        }
        self.find(candidates, &nodes, &met);
        (self.kept.encoder).encode(&self.facts, candidates.len(), &mut self.columns);
        for (lane, row) in iter::zip(0..candidates.len(), rows) {
            self.columns.write(lane, row);
            if let Some(known) = known {
                take_of_source(row, &known[lane]);
            }
        }
    }

    /// Finds what `candidates` have done, also with their sources, before what these do not see;
    /// `nodes` says where the events of the candidates are, `met` which pairs have met.
    fn find(
        &mut self,
        candidates: &[NodeId],
        nodes: &[Place; TOGETHER],
        met: &[Option<usize>; TOGETHER],
    ) {
        let (kept, index, stream) = (self.kept, self.kept.index, self.stream);
        let source_of = self.facts.source_of;
        let source = |lane: usize| self.sources[usize::from(source_of[lane])];
        let lanes = || candidates.iter().copied().enumerate();
        let mut pairs = [Place::default(); TOGETHER];
        let mut events: [&[Entry]; TOGETHER] = [&[]; TOGETHER];
        for (lane, candidate) in lanes() {
            pairs[lane] = index.meetings_of(met[lane]);
            events[lane] = index.events(candidate, nodes[lane], source(lane).before);
            expect_time(events[lane], stream);
        }
        let mut meetings: [&[Entry]; TOGETHER] = [&[]; TOGETHER];
        for (lane, _) in lanes() {
            meetings[lane] = index.meetings(met[lane], pairs[lane], source(lane).before);
            expect_time(meetings[lane], stream);
        }
        for (lane, candidate) in lanes() {
            let source = source(lane);
            let newer = kept.tail.of_node(candidate, source.before);
            let of_candidate = seen(events[lane], newer, stream, source.time);
            let newer = kept.tail.of_pair(source.node, candidate, source.before);
            let of_pair = seen(meetings[lane], newer, stream, source.time);
            let last = source.partner == Some(candidate);
            self.facts.set(lane, &of_candidate, &of_pair, last);
        }
    }
}

/// Takes what is of the source alone from another row of it.
#[inline(always)]
fn take_of_source(row: &mut [f32; WIDTH], other: &[f32; WIDTH]) {
    for (place, statistic) in STATISTICS.into_iter().enumerate() {
        if matches!(statistic, Statistic::SinceSource | Statistic::SourceEvents) {
            row[place] = other[place];
        }
    }
}

/// Asks for the time of the last of `events`.
#[inline(always)]
fn expect_time(events: &[Entry], stream: EventColumns<'_>) {
    if let Some(last) = events.last() {
        expect(stream.time, last.event.index());
    }
}

/// What `events` are at `now`, unless newer ones came after them.
#[inline(always)]
fn seen(events: &[Entry], newer: Option<Newer>, stream: EventColumns<'_>, now: Timestamp) -> Seen {
    // Ages are exact in ticks before they become floats.
    match (newer, events.last()) {
        (Some(newer), _) => Seen {
            count: newer.count,
            age: (now - newer.time) as f64,
            decayed: newer.decayed,
        },
        (None, Some(last)) => Seen {
            count: events.len() as u32,
            age: (now - stream.time[last.event.index()]) as f64,
            decayed: last.decayed,
        },
        (None, None) => Seen::default(),
    }
}
