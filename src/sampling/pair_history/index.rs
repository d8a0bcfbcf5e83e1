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
//! Per event 48 bytes (two entries of a node and one meeting, 16 bytes each), 8 more per distinct
//! pair and 20 per node; 8 more per event while it is built. It holds no times: those are the
//! stream's.

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
    (48 + 8 + 8) * events + (20 + 8 * threads) * nodes
}

/// An event of a list, and the counts that decay as they were just after it: a query reads both at
/// once.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    event: EventId,
    decayed: [f32; SCALES],
}

/// The part of one list that a query sees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Past {
    /// Number of its events.
    pub(super) count: u32,
    /// The last of them, if there is any.
    pub(super) last: Option<Last>,
}

/// The last event of a list that a query sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Last {
    /// Which.
    pub(super) at: At,
    /// The decayed counts just after it.
    pub(super) decayed: [f32; SCALES],
}

/// An event of the index, whose stream has its columns, or what is kept of one that came since.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum At {
    /// Of the index.
    Event(EventId),
    /// One that came since.
    Newer {
        /// Its time.
        time: Timestamp,
        /// The other end, seen from the node that was asked for.
        partner: NodeId,
    },
}

/// The events of `list` before `before`, of which there may be `hint`.
fn past(list: &[Entry], before: EventId, hint: u32) -> Past {
    let count = count_first(list, |entry| entry.event < before, hint as usize);
    let last = count.checked_sub(1).map(|last| list[last]);
    Past {
        count: count as u32,
        last: last.map(|entry| Last {
            at: At::Event(entry.event),
            decayed: entry.decayed,
        }),
    }
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
/// after it: `hint` if that is right, else found by doubling steps from there.
pub(super) fn count_first<T>(list: &[T], is_first: impl Fn(&T) -> bool, hint: usize) -> usize {
    let hint = hint.min(list.len());
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
        let nodes = self.of_node.offsets.len() - 1;
        Index {
            of_node: with_decayed(self.of_node, time, scales),
            hints: (0..nodes).map(|_| AtomicU32::new(0)).collect(),
            partners: self.partners,
            of_pair: with_decayed(self.of_pair, time, scales),
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
#[derive(Debug)]
pub(super) struct Index {
    of_node: Csr<Entry, usize>,
    /// `[nodes]`: how many events the last query of a node saw.
    hints: Vec<AtomicU32>,
    partners: Csr<NodeId, usize>,
    of_pair: Csr<Entry, u32>,
}

impl Index {
    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> u64 {
        let lists = bytes_of(&self.of_node) + bytes_of(&self.partners) + bytes_of(&self.of_pair);
        lists + 4 * self.hints.capacity() as u64
    }

    /// The events of `node` before `before`.
    ///
    /// A node that came after it was built has none.
    pub(super) fn of_node(&self, node: NodeId, before: EventId) -> Past {
        let Some(hint) = self.hints.get(node.index()) else {
            return Past::default();
        };
        let hinted = hint.load(Ordering::Relaxed);
        let past = past(self.of_node.list(node.index()), before, hinted);
        // Threads that write beside each other wait for each other: only what is new.
        if past.count != hinted {
            hint.store(past.count, Ordering::Relaxed);
        }
        past
    }

    /// The meetings of two nodes before `before`.
    ///
    /// Nodes that came after it was built have none.
    pub(super) fn of_pair(&self, a: NodeId, b: NodeId, before: EventId) -> Past {
        let row = self.pair(a, b);
        row.map_or_else(Past::default, |row| past(self.of_pair.list(row), before, 0))
    }

    /// All events of `node`.
    pub(super) fn events_of_node(&self, node: NodeId) -> impl Iterator<Item = EventId> + '_ {
        let list = match node.index() < self.hints.len() {
            true => self.of_node.list(node.index()),
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
        let list = (self.pair(a, b)).map_or(&[][..], |row| self.of_pair.list(row));
        list.iter().map(|entry| entry.event)
    }

    /// The row of a pair that has met.
    fn pair(&self, a: NodeId, b: NodeId) -> Option<usize> {
        let smaller = a.min(b).index();
        if smaller >= self.hints.len() {
            return None;
        }
        let partners = self.partners.range(smaller);
        let found = self.partners.items[partners.clone()].binary_search(&a.max(b));
        found.ok().map(|partner| partners.start + partner)
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
