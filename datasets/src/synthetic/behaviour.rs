//! Who meets whom, and when: the process behind generated streams.
//!
//! Every source has a number of events (Zipf-like, at least one) and lives
//! through sessions: a session starts at a random time, its events follow each
//! other closely. A wanted share of the events repeats a pair: within a session a
//! source mostly stays with its destination, otherwise it revisits one of its last
//! eight. The others meet a destination for the first time, mostly one of the
//! source's community, by popularity. Every destination is met at least once; new
//! ones appear throughout the stream. Memory: one bit a pair of nodes (35 MB for
//! gdelt). Events come out in time order, equal times by source id.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::random::{Draws, Words};

/// Tunable habits of sources.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    /// Share of events that repeat a pair. Missed only where it is impossible: the first event of
    /// a source is new, and a source cannot meet more destinations than there are.
    pub(super) repeats: f64,
    /// Of the repeats within a session, the share that stays with the destination.
    pub(super) stay: f64,
    /// Mean events of a session.
    pub(super) session_events: f64,
    /// Mean time between events of a session, in the stream's unit.
    pub(super) session_gap: f64,
    /// Zipf exponent of events per source (ranks offset by a hundredth of the sources).
    pub(super) source_skew: f64,
    /// Zipf exponent of popularity among destinations.
    pub(super) destination_skew: f64,
    /// Groups of sources that share preferences.
    pub(super) communities: u32,
}

/// Share of first meetings that stay within the community.
const LOYALTY: f64 = 0.85;
/// First meetings are this much rarer within a session than at its start.
const DISTRACTION: f64 = 0.3;
/// Draws for a first meeting before a pair that has met is accepted.
const ATTEMPTS: usize = 12;
/// Destinations are introduced over this share of the stream.
const INTRODUCTION: f64 = 0.9;
const REMEMBERED: usize = 8;

/// One generated event; ids are those of the store.
pub(super) struct Meeting {
    pub(super) time: i64,
    pub(super) source: u32,
    pub(super) destination: u32,
}

/// Recent destinations of a source, newest first.
#[derive(Clone, Copy, Default)]
struct Recent {
    items: [u32; REMEMBERED],
    len: u8,
}

impl Recent {
    fn touch(&mut self, item: u32) {
        let len = usize::from(self.len);
        let at = match self.items[..len].iter().position(|&known| known == item) {
            Some(at) => at,
            None if len < REMEMBERED => {
                self.len += 1;
                len
            }
            None => REMEMBERED - 1,
        };
        self.items.copy_within(0..at, 1);
        self.items[0] = item;
    }
}

#[derive(Clone, Copy, Default)]
struct Source {
    remaining: u64,
    /// Events left in the running session.
    session: u64,
    /// Whether the next event continues a session.
    continues: bool,
    recent: Recent,
}

/// Popularity of some destinations, for drawing one.
struct Popularity {
    items: Vec<u32>,
    cumulative: Vec<f64>,
}

impl Popularity {
    fn of(items: Vec<u32>, weight: impl Fn(u32) -> f64) -> Popularity {
        let mut sum = 0.0;
        let cumulative = items
            .iter()
            .map(|&item| {
                sum += weight(item);
                sum
            })
            .collect();
        Popularity { items, cumulative }
    }

    fn draw(&self, draws: &mut Draws) -> Option<u32> {
        let x = draws.unit() * self.cumulative.last()?;
        let at = self.cumulative.partition_point(|&c| c < x);
        self.items.get(at).or(self.items.last()).copied()
    }
}

/// The event process; yields exactly the events asked for.
pub(super) struct Behaviour {
    habits: Habits,
    events: u64,
    done: u64,
    span: i64,
    /// Id of the first destination; 0 if sources are destinations too.
    base: u32,
    sources: Vec<Source>,
    /// Next event of every source that has one.
    calendar: BinaryHeap<Reverse<(i64, u32)>>,
    everyone: Popularity,
    communities: Vec<Popularity>,
    /// Destinations in the order in which they are introduced.
    introductions: Vec<u32>,
    introduced: usize,
    /// One bit for each (source, destination): whether they have met.
    met: Vec<u64>,
    pairs_met: u64,
    /// Sources that have had no event yet.
    unborn: u64,
    words: Words,
    draws: Draws,
}

impl Behaviour {
    pub(super) fn new(
        habits: Habits,
        events: u64,
        sources: u32,
        destinations: u32,
        span: i64,
        seed: u64,
    ) -> Behaviour {
        let words = Words::new(seed, u64::from_le_bytes(*b"meetings"));
        let one_set = destinations == 0;
        let destinations = if one_set { sources } else { destinations };
        let ranks = shuffled(destinations, words.child(1));
        let weight = |item: u32| zipf(ranks[item as usize], habits.destination_skew);
        let groups = habits.communities.min(destinations);
        let members = |group: u32| {
            (0..destinations)
                .filter(|&i| community(words, 2, i, groups) == group)
                .collect()
        };
        let mut behaviour = Behaviour {
            habits,
            events,
            done: 0,
            span,
            base: if one_set { 0 } else { sources },
            sources: vec![Source::default(); sources as usize],
            calendar: BinaryHeap::with_capacity(sources as usize),
            everyone: Popularity::of((0..destinations).collect(), weight),
            communities: (0..groups)
                .map(|group| Popularity::of(members(group), weight))
                .collect(),
            introductions: shuffled(destinations, words.child(3)),
            introduced: 0,
            met: vec![0; (sources as usize * destinations as usize).div_ceil(64)],
            pairs_met: 0,
            unborn: u64::from(sources),
            words,
            draws: Draws::new(words.child(4)),
        };
        behaviour.share_out_events(shuffled(sources, words.child(5)));
        for source in 0..sources {
            let time = behaviour.next_time(source, 0);
            behaviour.calendar.push(Reverse((time, source)));
        }
        behaviour
    }

    /// Gives every source at least one event and the rest by Zipf's law of its rank.
    fn share_out_events(&mut self, ranks: Vec<u32>) {
        let sources = self.sources.len() as u64;
        // Without the offset the first few sources would have most of the events.
        let offset = (sources / 100) as u32;
        let weight = |rank: u32| zipf(rank + offset, self.habits.source_skew);
        let total: f64 = (0..sources as u32).map(weight).sum();
        let free = self.events - sources;
        let mut left = free;
        for (source, &rank) in self.sources.iter_mut().zip(&ranks) {
            let share = (free as f64 * weight(rank) / total) as u64;
            let share = share.min(left);
            left -= share;
            source.remaining = 1 + share;
        }
        // What rounding down left over: less than one event a source.
        for i in 0..left {
            self.sources[(i % sources) as usize].remaining += 1;
        }
    }

    /// When a source that has events left acts next, if it acted at `now`.
    fn next_time(&mut self, source: u32, now: i64) -> i64 {
        let habits = self.habits;
        let state = &mut self.sources[source as usize];
        if state.session > 0 {
            state.session -= 1;
            state.continues = true;
            let gap = 1.0 + self.draws.exponential(habits.session_gap);
            return now.saturating_add(gap as i64).min(self.span);
        }
        // The first of `sessions` uniform times in the rest of the span.
        let sessions = (state.remaining as f64 / habits.session_events)
            .ceil()
            .max(1.0);
        let share = 1.0 - libm::exp(libm::log(self.draws.unit()) / sessions);
        let length = self.draws.exponential(habits.session_events - 0.5).round() as u64;
        state.session = length.min(state.remaining - 1);
        state.continues = false;
        now + ((self.span - now) as f64 * share) as i64
    }

    fn choose(&mut self, source: u32) -> u32 {
        let Source {
            recent, continues, ..
        } = self.sources[source as usize];
        let left = self.events - self.done;
        if left <= (self.introductions.len() - self.introduced) as u64 || recent.len == 0 {
            return self.meet(source);
        }
        if self.draws.unit() < self.first_meeting_probability(continues) {
            return self.meet(source);
        }
        if continues && self.draws.unit() < self.habits.stay {
            return recent.items[0];
        }
        // Halving odds, the newest first; within a session the newest but one.
        let back = self.draws.word().trailing_zeros() as usize + usize::from(continues);
        recent.items[back.min(usize::from(recent.len) - 1)]
    }

    /// Steers towards the wanted share: what is still missing, spread over the events still to come.
    fn first_meeting_probability(&self, continues: bool) -> f64 {
        let wanted = (1.0 - self.habits.repeats) * self.events as f64;
        let missing = wanted - (self.pairs_met + self.unborn) as f64;
        let left = (self.events - self.done).saturating_sub(self.unborn).max(1) as f64;
        let starts = 1.0 / self.habits.session_events;
        let weight = if continues { DISTRACTION } else { 1.0 };
        missing / left * weight / (starts + (1.0 - starts) * DISTRACTION)
    }

    /// A destination that is new to the source, if one can be found.
    fn meet(&mut self, source: u32) -> u32 {
        let waiting = self.introductions.len() - self.introduced;
        let due = self.introduced as f64 * self.events as f64 * INTRODUCTION
            <= self.done as f64 * self.introductions.len() as f64;
        if waiting > 0 && (due || self.events - self.done <= waiting as u64) {
            self.introduced += 1;
            return self.introductions[self.introduced - 1];
        }
        let group = community(self.words, 6, source, self.communities.len() as u32);
        let mut item = 0;
        for _ in 0..ATTEMPTS {
            let loyal = self.draws.unit() < LOYALTY;
            let own = if loyal {
                self.communities[group as usize].draw(&mut self.draws)
            } else {
                None
            };
            item = own
                .or_else(|| self.everyone.draw(&mut self.draws))
                .unwrap_or(0);
            if !self.have_met(source, item) {
                break;
            }
        }
        item
    }

    fn bit(&self, source: u32, item: u32) -> (usize, u64) {
        let bit = source as usize * self.introductions.len() + item as usize;
        (bit / 64, 1 << (bit % 64))
    }

    fn have_met(&self, source: u32, item: u32) -> bool {
        let (word, mask) = self.bit(source, item);
        self.met[word] & mask != 0
    }

    /// Notes that a source meets a destination.
    fn record(&mut self, source: u32, item: u32) {
        let (word, mask) = self.bit(source, item);
        self.pairs_met += u64::from(self.met[word] & mask == 0);
        self.met[word] |= mask;
        let state = &mut self.sources[source as usize];
        self.unborn -= u64::from(state.recent.len == 0);
        state.recent.touch(item);
        state.remaining -= 1;
    }
}

impl Iterator for Behaviour {
    type Item = Meeting;

    fn next(&mut self) -> Option<Meeting> {
        let Reverse((now, source)) = self.calendar.pop()?;
        let mut item = self.choose(source);
        if self.base == 0 && item == source {
            item = (item + 1) % self.introductions.len() as u32;
        }
        self.record(source, item);
        if self.sources[source as usize].remaining > 0 {
            let next = self.next_time(source, now);
            self.calendar.push(Reverse((next, source)));
        }
        self.done += 1;
        // The stream starts at 0 and ends at its span, as published ones do.
        let time = match self.done {
            1 => 0,
            done if done == self.events => self.span,
            _ => now,
        };
        Some(Meeting {
            time,
            source,
            destination: self.base + item,
        })
    }
}

fn community(words: Words, stream: u64, node: u32, groups: u32) -> u32 {
    (words.child(stream).at(u64::from(node)) % u64::from(groups.max(1))) as u32
}

fn zipf(rank: u32, exponent: f64) -> f64 {
    libm::pow(f64::from(rank) + 1.0, -exponent)
}

/// A seeded permutation of `0..n` (Fisher and Yates).
fn shuffled(n: u32, words: Words) -> Vec<u32> {
    let mut draws = Draws::new(words);
    let mut order: Vec<u32> = (0..n).collect();
    for i in (1..n as usize).rev() {
        order.swap(i, draws.below(i as u64 + 1) as usize);
    }
    order
}
