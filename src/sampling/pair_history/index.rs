//! The events of each node and of each pair, found without a scan.
//!
//! Every node has the list of its events, every pair that met the list of its meetings, both by
//! event and beside each event the counts that decay, as they were just after it. So what a query
//! needs is the last entry before it: one binary search, however long a history is. A pair is met
//! from either side; it is kept once, under the smaller of its two nodes. An event of a node with
//! itself is one event of that node and one meeting of the pair.
//!
//! Queries come nearly in the order of events, so a search begins where the last one in the same list
//! ended. The places are hints that threads share without order: they decide how long a search takes
//! and never what it finds.
//!
//! Per event 48 bytes (two entries of a node and one meeting, 16 bytes each), 12 more per distinct
//! pair and 20 per node; 8 more per event while it is built. It holds no times: those are the
//! stream's.
//!
//! A query takes steps, [`node`](Index::node) and [`pair`](Index::pair) to
//! [`meetings`](Index::meetings): each asks for what the next one reads, so that many
//! queries that go along together don't wait for memory one by one.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::statistic::SCALES;
use crate::graph::csr::Offset;
use crate::graph::tcsr::{balanced, offsets};
use crate::graph::{Csr, EventColumns, EventId, NodeId, Timestamp};

/// Bytes of an index of so many events and nodes, if all pairs differ, with what building takes
/// on so many threads.
pub(super) fn most_bytes(events: u64, nodes: u64, threads: u64) -> u64 {
    (48 + 12 + 8) * events + (20 + 8 * threads) * nodes
}

/// An event of a list, and the counts that decay as they were just after it: a query reads both at
/// once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) event: EventId,
    pub(super) decayed: [f32; SCALES],
}

/// Lists of entries, and where the last query in each ended.
#[derive(Debug)]
struct Lists<O> {
    entries: Csr<Entry, O>,
    /// `[lists]`: how many entries the last query saw.
    hints: Vec<AtomicU32>,
}

/// Where the entries of a list lie, and how many of them the last query saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    start: usize,
    end: usize,
    hint: u32,
}

impl<O: Offset> Lists<O> {
    fn of(entries: Csr<Entry, O>) -> Lists<O> {
        let lists = entries.offsets.len() - 1;
        Lists {
            entries,
            hints: (0..lists).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    fn bytes(&self) -> u64 {
        bytes_of(&self.entries) + 4 * self.hints.capacity() as u64
    }

    /// Asks for what [`place`](Self::place) reads.
    #[inline]
    fn expect(&self, list: usize) {
        expect(&self.entries.offsets, list);
        expect(&self.hints, list);
    }

    /// Where a list is; asks for what [`before`](Self::before) reads.
    #[inline]
    fn place(&self, list: usize) -> Place {
        let Range { start, end } = self.entries.range(list);
        let hint = self.hints[list].load(Ordering::Relaxed);
        // Of those before the hint the last one is the answer, if the hint is right.
        let last = start + hint as usize;
        expect(&self.entries.items, last.saturating_sub(1));
        expect(&self.entries.items, last);
        Place { start, end, hint }
    }

    /// The entries of a list that are before `before`.
    #[inline]
    fn before(&self, list: usize, place: Place, before: EventId) -> &[Entry] {
        let entries = &self.entries.items[place.start..place.end];
        let hint = place.hint as usize;
        let count = count_first(entries, |entry| entry.event < before, hint);
        // Threads that write beside each other wait for each other: only what is new.
        if count != hint {
            self.hints[list].store(count as u32, Ordering::Relaxed);
        }
        &entries[..count]
    }
}

/// Asks for an item that is read soon, where the processor can be asked.
#[inline(always)]
pub(super) fn expect<T>(items: &[T], place: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing and may be out of range.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(items.as_ptr().wrapping_add(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (items, place);
}

/// Lists with decayed counts: D_i = 1 + D_(i-1) exp(-(t_i - t_(i-1)) / scale), summed in f64.
fn with_decayed<O: Offset + Sync>(
    events: Csr<EventId, O>,
    time: &[Timestamp],
    scales: [f64; SCALES],
) -> Csr<Entry, O> {
    let mut entries = vec![Entry::default(); events.items.len()];
    in_parts(&events.offsets, &mut entries, |rows, entries| {
        let base = events.offsets[rows.start].place();
        for row in rows {
            let places = events.range(row);
            let mut sums = [0.0; SCALES];
            let mut previous = None;
            let of_row = &mut entries[places.start - base..places.end - base];
            for (&event, entry) in events.items[places].iter().zip(of_row) {
                let now = time[event.index()];
                decayed_after(&mut sums, now - previous.unwrap_or(now), scales);
                *entry = Entry {
                    event,
                    decayed: sums.map(|sum| sum as f32),
                };
                previous = Some(now);
            }
        }
    });
    Csr {
        offsets: events.offsets,
        items: entries,
    }
}

/// Moves decayed counts on by one event, `gap` ticks after the one before it.
pub(super) fn decayed_after(sums: &mut [f64; SCALES], gap: Timestamp, scales: [f64; SCALES]) {
    for (sum, scale) in sums.iter_mut().zip(scales) {
        *sum = 1.0 + *sum * (-(gap as f64) / scale).exp();
    }
}

/// How many of `list` are in front of the first for which `is_first` is false, as it is for all
/// after it: `hint` if that is right, else found from there.
#[inline]
pub(super) fn count_first<T>(list: &[T], is_first: impl Fn(&T) -> bool, hint: usize) -> usize {
    let hint = hint.min(list.len());
    let (before, from) = list.split_at(hint);
    match before.last().is_none_or(&is_first) && !from.first().is_some_and(&is_first) {
        true => hint,
        false => count_first_near(list, is_first, hint),
    }
}

/// The same by doubling steps from `hint`.
fn count_first_near<T>(list: &[T], is_first: impl Fn(&T) -> bool, hint: usize) -> usize {
    let (mut low, mut high, mut step) = (hint, hint, 1);
    // True for all before `low`, for none from `high` on.
    while low > 0 && !is_first(&list[low - 1]) {
        high = low - 1;
        low = high.saturating_sub(step);
        step *= 2;
    }
    while high < list.len() && is_first(&list[high]) {
        low = high + 1;
        high = (low + step).min(list.len());
        step *= 2;
    }
    low + list[low..high].partition_point(is_first)
}

/// The events of each node and pair, not yet decayed: scales are chosen from them.
pub(super) struct Met {
    /// `[nodes]`: events of each node.
    of_node: Csr<EventId, usize>,
    /// `[nodes]`: of each node the nodes that it met and that are not smaller than it, ascending.
    partners: Csr<NodeId, usize>,
    /// `[pairs]`, as `partners` has them: the meetings of each pair.
    of_pair: Csr<EventId, u32>,
}

impl Met {
    /// Of a stream with `nodes` nodes.
    pub(super) fn of(nodes: usize, stream: EventColumns<'_>) -> Met {
        let pair = |event: usize| (stream.src[event], stream.dst[event]);
        let of_node = grouped(nodes, stream.time.len(), |event, put| {
            let (src, dst) = pair(event);
            put(src, EventId(event as u32));
            if dst != src {
                put(dst, EventId(event as u32));
            }
        });
        let mut meetings: Csr<u64, usize> = grouped(nodes, stream.time.len(), |event, put| {
            let (src, dst) = pair(event);
            put(src.min(dst), u64::from(src.max(dst).0) << 32 | event as u64);
        });
        in_parts(&meetings.offsets, &mut meetings.items, {
            let offsets = &meetings.offsets;
            move |nodes, meetings| {
                let base = offsets[nodes.start];
                for node in nodes {
                    meetings[offsets[node] - base..offsets[node + 1] - base].par_sort_unstable();
                }
            }
        });
        let mut partners = Csr::default();
        let mut of_pair = Csr::default();
        of_pair.items.reserve_exact(meetings.items.len());
        for node in 0..nodes {
            let of_partner = meetings.list(node).chunk_by(|a, b| a >> 32 == b >> 32);
            partners.push(of_partner.map(|meetings| {
                of_pair.push(meetings.iter().map(|&key| EventId(key as u32)));
                NodeId((meetings[0] >> 32) as u32)
            }));
        }
        Met {
            of_node,
            partners,
            of_pair,
        }
    }

    /// Ticks between consecutive meetings of a pair before event `end`, or between events of a node
    /// where no pair meets twice; of every n-th, so that there are at most `most`.
    pub(super) fn gaps(&self, time: &[Timestamp], end: usize, most: usize) -> Vec<Timestamp> {
        let of_pairs = gaps(&self.of_pair, time, end, most);
        match of_pairs.is_empty() {
            true => gaps(&self.of_node, time, end, most),
            false => of_pairs,
        }
    }

    /// With counts that decay over `scales`, in ticks.
    pub(super) fn decayed(self, time: &[Timestamp], scales: [f64; SCALES]) -> Index {
        Index {
            of_node: Lists::of(with_decayed(self.of_node, time, scales)),
            partners: self.partners,
            of_pair: Lists::of(with_decayed(self.of_pair, time, scales)),
        }
    }
}

fn gaps<O: Offset>(
    lists: &Csr<EventId, O>,
    time: &[Timestamp],
    end: usize,
    most: usize,
) -> Vec<Timestamp> {
    let stride = lists.items.len().div_ceil(most).max(1);
    let rows = 0..lists.offsets.len() - 1;
    let entries = rows.flat_map(|row| lists.range(row).skip(1));
    entries
        .filter(|entry| entry % stride == 0)
        .map(|entry| [entry - 1, entry].map(|entry| lists.items[entry].index()))
        .filter(|&[_, later]| later < end)
        .map(|[earlier, later]| time[later] - time[earlier])
        .collect()
}

/// Bytes of the lists of `csr`.
fn bytes_of<T, O>(csr: &Csr<T, O>) -> u64 {
    (csr.items.capacity() * size_of::<T>() + csr.offsets.capacity() * size_of::<O>()) as u64
}

/// See the module.
///
/// A node that came after it was built has no events, and has met nobody.
#[derive(Debug)]
pub(super) struct Index {
    of_node: Lists<usize>,
    partners: Csr<NodeId, usize>,
    of_pair: Lists<u32>,
}

impl Index {
    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.of_node.bytes() + bytes_of(&self.partners) + self.of_pair.bytes()
    }

    fn nodes(&self) -> usize {
        self.of_node.hints.len()
    }

    /// Asks for what [`node`](Self::node) reads.
    #[inline]
    pub(super) fn expect_node(&self, node: NodeId) {
        self.of_node.expect(node.index());
    }

    /// Where the events of a node are.
    #[inline]
    pub(super) fn node(&self, node: NodeId) -> Place {
        match node.index() < self.nodes() {
            true => self.of_node.place(node.index()),
            false => Place::default(),
        }
    }

    /// The events of `node`, which are at `place`, before `before`.
    #[inline]
    pub(super) fn events(&self, node: NodeId, place: Place, before: EventId) -> &[Entry] {
        match node.index() < self.nodes() {
            true => self.of_node.before(node.index(), place, before),
            false => &[],
        }
    }

    /// Asks for what [`expect_partner`](Self::expect_partner) reads.
    #[inline]
    pub(super) fn expect_pair(&self, a: NodeId, b: NodeId) {
        expect(&self.partners.offsets, a.min(b).index());
    }

    /// Asks for what [`pair`](Self::pair) reads first.
    #[inline]
    pub(super) fn expect_partner(&self, a: NodeId, b: NodeId) {
        let smaller = a.min(b).index();
        if smaller < self.nodes() {
            let Range { start, end } = self.partners.range(smaller);
            expect(&self.partners.items, start.midpoint(end));
        }
    }

    /// The row of two nodes, if they have met.
    #[inline]
    pub(super) fn pair(&self, a: NodeId, b: NodeId) -> Option<usize> {
        let smaller = a.min(b).index();
        if smaller >= self.nodes() {
            return None;
        }
        let partners = self.partners.range(smaller);
        let found = self.partners.items[partners.clone()].binary_search(&a.max(b));
        let row = partners.start + found.ok()?;
        self.of_pair.expect(row);
        Some(row)
    }

    /// Where the meetings of the pair of `row` are.
    #[inline]
    pub(super) fn meetings_of(&self, row: Option<usize>) -> Place {
        row.map_or_else(Place::default, |row| self.of_pair.place(row))
    }

    /// The meetings of the pair of `row`, which are at `place`, before `before`.
    #[inline]
    pub(super) fn meetings(&self, row: Option<usize>, place: Place, before: EventId) -> &[Entry] {
        row.map_or(&[], |row| self.of_pair.before(row, place, before))
    }

    /// All events of `node`.
    pub(super) fn events_of_node(&self, node: NodeId) -> impl Iterator<Item = EventId> + '_ {
        let list = match node.index() < self.nodes() {
            true => self.of_node.entries.list(node.index()),
            false => &[],
        };
        list.iter().map(|entry| entry.event)
    }

    /// All meetings of two nodes.
    pub(super) fn events_of_pair(
        &self,
        a: NodeId,
        b: NodeId,
    ) -> impl Iterator<Item = EventId> + '_ {
        let list = (self.pair(a, b)).map_or(&[][..], |row| self.of_pair.entries.list(row));
        list.iter().map(|entry| entry.event)
    }
}

/// Items by node, those of one node in the order of events: `put_all` is given an event and puts
/// what it has for each node. Every part owns a range of nodes and reads the whole stream for
/// them, as in [`Tcsr::build`](crate::graph::Tcsr::build).
fn grouped<T: Copy + Default + Send>(
    nodes: usize,
    events: usize,
    put_all: impl Fn(usize, &mut dyn FnMut(NodeId, T)) + Sync,
) -> Csr<T, usize> {
    let chunk = events.div_ceil(rayon::current_num_threads()).max(1);
    let starts: Vec<usize> = (0..events).step_by(chunk).collect();
    let counts = starts
        .into_par_iter()
        .map(|start| {
            let mut counts = vec![0; nodes];
            for event in start..(start + chunk).min(events) {
                put_all(event, &mut |node, _| counts[node.index()] += 1);
            }
            counts
        })
        .reduce(
            || vec![0; nodes],
            |mut sum, part| {
                sum.iter_mut().zip(part).for_each(|(sum, n)| *sum += n);
                sum
            },
        );
    let offsets = offsets(&counts);
    let mut items = vec![T::default(); offsets[nodes]];
    in_parts(&offsets, &mut items, |rows, items| {
        let base = offsets[rows.start];
        let mut next: Vec<usize> = offsets[rows.clone()].iter().map(|o| o - base).collect();
        for event in 0..events {
            put_all(event, &mut |node, item| {
                if rows.contains(&node.index()) {
                    let place = &mut next[node.index() - rows.start];
                    items[*place] = item;
                    *place += 1;
                }
            });
        }
    });
    Csr { offsets, items }
}

/// Does `work` on ranges of rows and their `items` at once.
fn in_parts<O: Offset + Sync, T: Send>(
    offsets: &[O],
    items: &mut [T],
    work: impl Fn(Range<usize>, &mut [T]) + Sync,
) {
    let mut parts = Vec::new();
    let mut rest = items;
    for rows in balanced(offsets, rayon::current_num_threads()) {
        let entries = offsets[rows.end].place() - offsets[rows.start].place();
        let (own, others) = rest.split_at_mut(entries);
        parts.push((rows, own));
        rest = others;
    }
    parts
        .into_par_iter()
        .for_each(|(rows, own)| work(rows, own));
}
