//! Times of memory rows and mail, exact, on the host; and the order of a node's mail slots.

use super::backlog::{Backlog, Piece};
use super::trends::{FetchedTrends, RowTimes};
use super::{MemoryRequest, MemoryWrite};
use crate::batch::{LastWriter, LastWriters, MailRouting, TimeDelta};
use crate::graph::{NodeId, Timestamp};
use crate::parallel::{self, LINE};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeTimesRule {
    /// Which time difference the updater gets.
    pub time_delta: TimeDelta,
    /// When a memory row is written. [`MemoryWrite::Read`] needs one row per node, so
    /// [`TimeDelta::Message`].
    pub write: MemoryWrite,
    /// Pieces of mail that a node keeps, at least 1; a new one replaces the oldest.
    pub mail_slots: usize,
    /// Whether a row absorbs all mail that it has not absorbed, one piece after the other, and not
    /// its newest alone. [`MemoryWrite::Event`] only.
    pub catch_up: bool,
    /// Ticks of the stream's unit.
    pub ticks_per_unit: i64,
    /// Time that a node without updates counts from, and a mail slot that is empty: the
    /// stream's first time, or 0 as in TGL.
    pub origin: Timestamp,
    /// Time of the stream's first event, which may be before the origin: where the time of JODIE's
    /// projection counts from then, so that it never runs backwards or through 0.
    pub first: Timestamp,
}

/// When each node's memory was last updated and its mail was written.
#[derive(Debug, Clone)]
pub struct NodeTimes {
    rule: NodeTimesRule,
    last_update: Vec<Timestamp>,
    /// Times of each node's mail, `[nodes * slots]`; [`NO_MAIL`] where empty.
    mail_time: Vec<Timestamp>,
    /// Slot that each node's next mail goes to.
    next_slot: Vec<u32>,
    /// Mail that each node got, and of it what its row has absorbed; both wrap around. Kept to catch
    /// up.
    received: Vec<u32>,
    absorbed: Vec<u32>,
}

/// Times of all nodes, as a checkpoint has them.
#[derive(Debug)]
pub(super) struct SavedTimes {
    pub(super) last_update: Vec<Timestamp>,
    pub(super) mail_time: Vec<Timestamp>,
    pub(super) next_slot: Vec<u32>,
    pub(super) received: Vec<u32>,
    pub(super) absorbed: Vec<u32>,
}

/// Rows or roots of a task: some microseconds.
const CHUNK: usize = 256;

/// Marks an empty mail slot.
const NO_MAIL: Timestamp = Timestamp::MIN;

/// Times of the rows of one fetch, in the stream's unit.
#[derive(Debug, Clone, Default)]
pub struct FetchedTimes {
    /// Time since the last update of each row.
    pub delta_t: Vec<f32>,
    /// 1 where the updater runs, 0 where the row keeps its memory.
    pub active: Vec<i32>,
    /// Time since each mail of each row, `[rows * slots]`; since the origin where there is
    /// none.
    pub mail_delta_t: Vec<f32>,
    /// Time since the last event of each root, over the query's time since the origin (the first
    /// event, if that is earlier) plus one: from 0 to below 1.
    pub root_recency: Vec<f32>,
    /// Age of what each root knows of itself: time since its newest mail, since the origin where it
    /// has none.
    pub root_age: Vec<f64>,
    /// Rows that a mitigation corrected, if there is one.
    pub corrected: Option<usize>,
    /// Commits that they were read after, since the last reset.
    pub version: u64,
    /// Mail that rows absorb before their newest, to catch up.
    pub backlog: Backlog,
    /// Past changes of the rows that will be written, if a mitigation reads them.
    pub trends: FetchedTrends,
    /// Place of each row's newest mail in the table of mail, to catch up; else empty.
    pub(super) mail_place: Vec<i32>,
    /// Mail that each row's node had got, which the updated row has absorbed; to catch up, else empty.
    pub(super) seen: Vec<u32>,
    /// Time that each row's memory has when the updater has run.
    pub(super) updated: Vec<Timestamp>,
    /// Node of each row, where memory is kept though its node has no event; else empty.
    pub(super) kept: Vec<NodeId>,
}

impl FetchedTimes {
    /// Nodes whose rows are written, each once.
    pub fn written_nodes<'a>(&'a self, last_writers: &'a LastWriters) -> &'a [NodeId] {
        match self.kept.is_empty() {
            true => &last_writers.node,
            // The last writers' are among them.
            false => &self.kept,
        }
    }

    /// Pieces of mail that the updater absorbs: one for each row that it runs for, and what they
    /// catch up.
    pub fn updater_rows(&self) -> u64 {
        let runs = self.active.iter().map(|&runs| runs as u64).sum::<u64>();
        runs + self.backlog.mail() as u64
    }

    /// Each memory row that is written: the last writers', then those that are kept though their
    /// node has no event.
    pub(super) fn written(&self, last_writers: &LastWriters) -> Vec<LastWriter> {
        let entries = last_writers.node.iter().zip(&last_writers.row);
        let mut written: Vec<LastWriter> = entries
            .map(|(&node, &row)| LastWriter { node, row })
            .collect();
        for (row, &node) in (0..).zip(&self.kept) {
            // LastWriters ascend by node.
            if last_writers.node.binary_search(&node).is_err() {
                written.push(LastWriter { node, row });
            }
        }
        written
    }
}

impl NodeTimes {
    /// Times of `nodes` nodes, none of them updated yet.
    pub fn new(nodes: usize, rule: NodeTimesRule) -> NodeTimes {
        NodeTimes {
            last_update: vec![rule.origin; nodes],
            mail_time: vec![NO_MAIL; nodes * rule.mail_slots],
            next_slot: vec![0; nodes],
            received: vec![0; if rule.catch_up { nodes } else { 0 }],
            absorbed: vec![0; if rule.catch_up { nodes } else { 0 }],
            rule,
        }
    }

    /// What is measured.
    pub fn rule(&self) -> &NodeTimesRule {
        &self.rule
    }

    /// When each node's memory was last updated, in ticks.
    pub fn last_update(&self) -> &[Timestamp] {
        &self.last_update
    }

    /// Times of each node's mail, `[nodes * slots]`, in ticks; the least number where there
    /// is none.
    pub(crate) fn mail_time(&self) -> &[Timestamp] {
        &self.mail_time
    }

    /// Slot that each node's next mail goes to.
    pub(crate) fn next_slot(&self) -> &[u32] {
        &self.next_slot
    }

    /// Adds nodes that were never updated, until there are `nodes`.
    pub(super) fn grow(&mut self, nodes: usize) {
        let nodes = nodes.max(self.last_update.len());
        self.last_update.resize(nodes, self.rule.origin);
        self.mail_time.resize(nodes * self.rule.mail_slots, NO_MAIL);
        self.next_slot.resize(nodes, 0);
        if self.rule.catch_up {
            self.received.resize(nodes, 0);
            self.absorbed.resize(nodes, 0);
        }
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> u64 {
        let times = self.last_update.capacity() + self.mail_time.capacity();
        let counts = [&self.next_slot, &self.received, &self.absorbed];
        let counts: usize = counts.iter().map(|column| column.capacity()).sum();
        (8 * times + 4 * counts) as u64
    }

    /// Whether a node has had mail, as each end of an event gets some.
    pub(crate) fn has_mail(&self, node: NodeId) -> bool {
        self.newest_mail(node) != NO_MAIL
    }

    /// Mail that each node got, and of it what its row has absorbed; empty unless rows catch up.
    pub(crate) fn received_and_absorbed(&self) -> [&[u32]; 2] {
        [&self.received, &self.absorbed]
    }

    /// Takes over the times of another table of as many nodes and slots.
    pub(super) fn restore(&mut self, times: SavedTimes) {
        self.last_update = times.last_update;
        self.mail_time = times.mail_time;
        self.next_slot = times.next_slot;
        self.received = times.received;
        self.absorbed = times.absorbed;
    }

    /// Times of the requested rows and roots.
    ///
    /// Message mode (TGN): the mail of an earlier event at time t updates the memory,
    /// Δt = t − last update; a row without mail is not active. Query mode (TGL): every
    /// row is updated, Δt = query time − last update. A mail's age is taken at the row's
    /// query time (query mode) or at its node's newest mail (message mode).
    pub fn fetch(&self, request: MemoryRequest<'_>) -> FetchedTimes {
        let _part = parallel::part("times");
        let mut times = FetchedTimes {
            root_recency: self.root_recency(request),
            root_age: self.root_age(request),
            ..self.row_times(request)
        };
        if self.rule.write == MemoryWrite::Read {
            times.kept = request.rows.node.to_vec();
        }
        if self.rule.catch_up {
            let nodes = request.rows.node;
            times.backlog = Backlog::of(
                nodes,
                |node| self.unabsorbed(node),
                |node, newer| self.piece(node, newer),
            );
            times.mail_place = nodes.iter().map(|&node| self.mail_place(node, 0)).collect();
            times.seen = nodes
                .iter()
                .map(|node| self.received[node.index()])
                .collect();
        }
        times
    }

    /// What the updater reads of each row.
    fn row_times(&self, request: MemoryRequest<'_>) -> FetchedTimes {
        let (rows, slots) = (request.rows.node.len(), self.rule.mail_slots);
        let mut times = FetchedTimes {
            delta_t: vec![0.0; rows],
            active: vec![0; rows],
            mail_delta_t: vec![0.0; rows * slots],
            updated: vec![0; rows],
            ..FetchedTimes::default()
        };
        let states = (times.delta_t.chunks_mut(CHUNK))
            .zip(times.active.chunks_mut(CHUNK))
            .zip(times.updated.chunks_mut(CHUNK));
        let chunks = states
            .zip(times.mail_delta_t.chunks_mut(CHUNK * slots))
            .enumerate();
        parallel::for_each(
            chunks.collect(),
            |(chunk, (((delta_t, active), updated), of_mail))| {
                parallel::task(|| (delta_t.len() * (2 * LINE + 12 * slots)) as u64);
                let of_rows = delta_t.iter_mut().zip(active).zip(updated);
                let of_rows = of_rows.zip(of_mail.chunks_exact_mut(slots));
                for (row, (((delta_t, runs), updated), of_mail)) in (chunk * CHUNK..).zip(of_rows) {
                    let node = request.rows.node[row];
                    let last_update = self.last_update_before(node, 0);
                    let until = match self.rule.time_delta {
                        TimeDelta::Query => request.rows.time[row],
                        TimeDelta::Message => self.newest_mail(node),
                    };
                    let active = until != NO_MAIL;
                    *updated = if active { until } else { last_update };
                    *delta_t = self.in_units(*updated - last_update);
                    *runs = i32::from(active || self.rule.write == MemoryWrite::Read);
                    for (delta_t, &time) in of_mail.iter_mut().zip(self.mails(node)) {
                        let none = time == NO_MAIL;
                        let written = if none { self.rule.origin } else { time };
                        *delta_t = self.in_units(*updated - written);
                    }
                }
            },
        );
        times
    }

    fn root_recency(&self, request: MemoryRequest<'_>) -> Vec<f32> {
        let origin = self.rule.origin.min(self.rule.first);
        of_roots(request, |node, time| {
            let last_event = match self.newest_mail(node) {
                NO_MAIL => origin,
                time => time,
            };
            // As TGL's JODIE has it, with the query counted from the origin.
            let stream = (time - origin) as f64 + self.rule.ticks_per_unit as f64;
            ((time - last_event) as f64 / stream) as f32
        })
    }

    fn root_age(&self, request: MemoryRequest<'_>) -> Vec<f64> {
        of_roots(request, |node, time| {
            let ticks = time - self.newest(node);
            ticks as f64 / self.rule.ticks_per_unit as f64
        })
    }

    /// What trends need of the times of a fetch.
    pub(super) fn of_rows<'a>(&self, times: &'a FetchedTimes) -> RowTimes<'a> {
        RowTimes {
            active: &times.active,
            delta_t: &times.delta_t,
            tick: self.in_units(1),
        }
    }

    fn in_units(&self, ticks: i64) -> f32 {
        (ticks as f64 / self.rule.ticks_per_unit as f64) as f32
    }

    fn mails(&self, node: NodeId) -> &[Timestamp] {
        let slots = self.rule.mail_slots;
        &self.mail_time[node.index() * slots..(node.index() + 1) * slots]
    }

    fn newest_mail(&self, node: NodeId) -> Timestamp {
        self.mails(node)[self.mail_slot(node, 0)]
    }

    /// Slot of the piece of a node's mail that so many are newer than.
    fn mail_slot(&self, node: NodeId, newer: usize) -> usize {
        let slots = self.rule.mail_slots;
        (self.next_slot[node.index()] as usize + 2 * slots - 1 - newer) % slots
    }

    /// Its place in the table of mail.
    fn mail_place(&self, node: NodeId, newer: usize) -> i32 {
        (node.index() * self.rule.mail_slots + self.mail_slot(node, newer)) as i32
    }

    /// Pieces of a node's mail that its row has not absorbed and that are still there.
    fn unabsorbed(&self, node: NodeId) -> usize {
        let [received, absorbed] = [&self.received, &self.absorbed].map(|all| all[node.index()]);
        (received.wrapping_sub(absorbed) as usize).min(self.rule.mail_slots)
    }

    /// The piece of a node's mail that so many are newer than, absorbed after those before it.
    fn piece(&self, node: NodeId, newer: usize) -> Piece {
        let last_update = self.last_update_before(node, newer);
        let updated = self.last_update_after(node, newer, last_update);
        Piece {
            place: self.mail_place(node, newer),
            delta_t: self.in_units(updated - last_update),
        }
    }

    /// Time of a node's row when all has been absorbed that came before the piece of mail that so many
    /// are newer than.
    fn last_update_before(&self, node: NodeId, newer: usize) -> Timestamp {
        let last_update = self.last_update[node.index()];
        if self.rule.catch_up && self.unabsorbed(node) > newer + 1 {
            self.last_update_after(node, newer + 1, last_update)
        } else {
            last_update
        }
    }

    /// The same when that piece has been absorbed too: its own time, and where differences count to the
    /// query, the time of the next piece, which came with the node's next update. A row that was
    /// written from stale memory may be newer than the mail that it has not absorbed: then no time
    /// passes.
    fn last_update_after(&self, node: NodeId, newer: usize, last_update: Timestamp) -> Timestamp {
        match self.rule.time_delta {
            TimeDelta::Message => self.mails(node)[self.mail_slot(node, newer)],
            TimeDelta::Query => self.mails(node)[self.mail_slot(node, newer - 1)].max(last_update),
        }
    }

    /// Whether a node's row has absorbed anything after the stream's first event: until then it is zero, or
    /// hardly more.
    pub(super) fn has_memory(&self, node: NodeId) -> bool {
        self.last_update[node.index()] != self.rule.origin
    }

    /// Time of what a node knows of itself: its newest mail, which the updater lets into a row
    /// before anything reads it; the origin where there is none.
    pub(super) fn newest(&self, node: NodeId) -> Timestamp {
        match self.newest_mail(node) {
            NO_MAIL => self.rule.origin,
            time => time,
        }
    }

    /// Places in the mailbox table (node x slots + slot) that `mail_routing` go to.
    pub fn places(&self, mail_routing: &MailRouting) -> Vec<i32> {
        let slots = self.rule.mail_slots as i32;
        mail_routing
            .node
            .iter()
            .map(|node| node.0 as i32 * slots + self.next_slot[node.index()] as i32)
            .collect()
    }

    /// Takes over a batch's last writers, whose memory is as old as what it absorbed, and its
    /// mail, which is as old as its last event.
    pub fn commit(
        &mut self,
        last_writers: &LastWriters,
        mail_routing: &MailRouting,
        times: &FetchedTimes,
    ) {
        for (node, updated) in times.kept.iter().zip(&times.updated) {
            self.last_update[node.index()] = *updated;
        }
        for (node, &row) in last_writers.node.iter().zip(&last_writers.row) {
            self.last_update[node.index()] = times.updated[row as usize];
        }
        if self.rule.catch_up {
            for (node, &row) in last_writers.node.iter().zip(&last_writers.row) {
                self.absorbed[node.index()] = times.seen[row as usize];
            }
            for node in &mail_routing.node {
                let received = &mut self.received[node.index()];
                *received = received.wrapping_add(1);
            }
        }
        let places = self.places(mail_routing);
        for ((node, &time), place) in mail_routing.node.iter().zip(&mail_routing.time).zip(places) {
            self.mail_time[place as usize] = time;
            let next = &mut self.next_slot[node.index()];
            *next = (*next + 1) % self.rule.mail_slots as u32;
        }
    }

    /// Forgets all updates and mail.
    pub fn reset(&mut self) {
        self.last_update.fill(self.rule.origin);
        self.mail_time.fill(NO_MAIL);
        self.next_slot.fill(0);
        self.received.fill(0);
        self.absorbed.fill(0);
    }
}

/// A number of each root by its node and time, in tasks.
fn of_roots<T: Default + Clone + Send>(
    request: MemoryRequest<'_>,
    number: impl Fn(NodeId, Timestamp) -> T + Sync,
) -> Vec<T> {
    let mut numbers = vec![T::default(); request.roots.node.len()];
    let queries = (request.roots.node.chunks(CHUNK)).zip(request.roots.time.chunks(CHUNK));
    let chunks = numbers.chunks_mut(CHUNK).zip(queries);
    parallel::for_each(chunks.collect(), |(numbers, (nodes, times))| {
        parallel::task(|| (nodes.len() * LINE) as u64);
        for (to, (&node, &time)) in numbers.iter_mut().zip(nodes.iter().zip(times)) {
            *to = number(node, time);
        }
    });
    numbers
}

#[cfg(test)]
mod tests;
