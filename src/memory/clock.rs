//! Times of memory rows and mails, exact, on the host.

use super::MemoryWrite;
use crate::batch::TimeDelta;
use crate::batch::winners::Winners;
use crate::graph::{NodeId, Timestamp};

/// When each node's memory was last updated and its mail was written.
#[derive(Debug, Clone)]
pub struct NodeClock {
    time_delta: TimeDelta,
    write: MemoryWrite,
    ticks_per_unit: i64,
    /// Time that a node which was never updated counts from.
    origin: Timestamp,
    last_update: Vec<Timestamp>,
    /// Time of the mail that waits; `None` is [`NO_MAIL`].
    mail_time: Vec<Timestamp>,
}

/// Marks a node without mail.
const NO_MAIL: Timestamp = Timestamp::MIN;

/// Times of the rows of one fetch.
#[derive(Debug, Clone, Default)]
pub struct FetchedTimes {
    /// Time since the last update of each row, in the stream's unit.
    pub delta_t: Vec<f32>,
    /// 1 where the updater runs, 0 where the row keeps its memory.
    pub active: Vec<i32>,
    /// Time that each row's memory has when the updater has run.
    updated: Vec<Timestamp>,
    /// Node of each row whose memory is kept though it has no event, with the row.
    pub(super) kept: Vec<(NodeId, usize)>,
}

impl NodeClock {
    /// A clock of `nodes` nodes, none of them updated yet.
    ///
    /// `origin` is the stream's first time; with [`TimeDelta::Query`] a node that was
    /// never updated counts from 0 instead, as in TGL.
    pub fn new(
        nodes: usize,
        time_delta: TimeDelta,
        ticks_per_unit: i64,
        origin: Timestamp,
    ) -> NodeClock {
        let origin = match time_delta {
            TimeDelta::Message => origin,
            TimeDelta::Query => 0,
        };
        NodeClock {
            time_delta,
            write: MemoryWrite::Event,
            ticks_per_unit,
            origin,
            last_update: vec![origin; nodes],
            mail_time: vec![NO_MAIL; nodes],
        }
    }

    /// The same clock for another rule of writing. [`MemoryWrite::Read`] needs one row a
    /// node, so [`TimeDelta::Message`].
    pub fn with_write(self, write: MemoryWrite) -> NodeClock {
        NodeClock { write, ..self }
    }

    /// Times of the rows `node`, with each row's `query_time` in query mode.
    ///
    /// Message mode (TGN): the mail of an earlier event at time t updates the memory,
    /// Δt = t − last update; a row without mail is not active. Query mode (TGL): every
    /// row is updated, Δt = query time − last update.
    pub fn fetch(&self, node: &[NodeId], query_time: &[Timestamp]) -> FetchedTimes {
        let mut times = FetchedTimes {
            delta_t: Vec::with_capacity(node.len()),
            active: Vec::with_capacity(node.len()),
            updated: Vec::with_capacity(node.len()),
            kept: Vec::new(),
        };
        if self.write == MemoryWrite::Read {
            times.kept = node.iter().copied().zip(0..).collect();
        }
        for (row, node) in node.iter().enumerate() {
            let last_update = self.last_update[node.index()];
            let until = match self.time_delta {
                TimeDelta::Query => query_time[row],
                TimeDelta::Message => self.mail_time[node.index()],
            };
            let active = until != NO_MAIL;
            let updated = if active { until } else { last_update };
            let ticks = updated - last_update;
            times
                .delta_t
                .push((ticks as f64 / self.ticks_per_unit as f64) as f32);
            let runs = active || self.write == MemoryWrite::Read;
            times.active.push(i32::from(runs));
            times.updated.push(updated);
        }
        times
    }

    /// Takes over a batch's winners: their memory is as old as what it absorbed, their
    /// new mail as old as their last event.
    pub fn commit(&mut self, winners: &Winners, times: &FetchedTimes) {
        for &(node, row) in &times.kept {
            self.last_update[node.index()] = times.updated[row];
        }
        for (i, node) in winners.node.iter().enumerate() {
            self.last_update[node.index()] = times.updated[winners.row[i] as usize];
            self.mail_time[node.index()] = winners.time[i];
        }
    }

    /// Forgets all updates and mails.
    pub fn reset(&mut self) {
        self.last_update.fill(self.origin);
        self.mail_time.fill(NO_MAIL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(node: u32, row: i32, time: Timestamp) -> Winners {
        Winners {
            node: vec![NodeId(node)],
            row: vec![row],
            peer_row: vec![row],
            event_row: vec![0],
            time: vec![time],
        }
    }

    #[test]
    fn message_mode_measures_between_events_and_skips_nodes_without_mail() {
        let mut clock = NodeClock::new(2, TimeDelta::Message, 10, 100);
        let node = [NodeId(1), NodeId(0)];
        let first = clock.fetch(&node, &[]);
        assert_eq!((first.delta_t, first.active), (vec![0.0; 2], vec![0; 2]));

        // Event at 130: nothing was absorbed, a mail waits.
        let times = clock.fetch(&node, &[]);
        clock.commit(&event(1, 0, 130), &times);
        let second = clock.fetch(&node, &[]);
        assert_eq!(second.delta_t, [3.0, 0.0]);
        assert_eq!(second.active, [1, 0]);

        // Event at 150: the mail of 130 was absorbed.
        clock.commit(&event(1, 0, 150), &second);
        assert_eq!(clock.fetch(&node, &[]).delta_t, [2.0, 0.0]);

        clock.reset();
        assert_eq!(clock.fetch(&node, &[]).active, [0, 0]);
    }

    #[test]
    fn writing_on_read_updates_every_fetched_row() {
        let clock = NodeClock::new(2, TimeDelta::Message, 1, 100);
        let mut clock = clock.with_write(MemoryWrite::Read);
        let node = [NodeId(1), NodeId(0)];
        let times = clock.fetch(&node, &[]);
        assert_eq!(
            (&times.delta_t[..], &times.active[..]),
            (&[0.0; 2][..], &[1; 2][..])
        );
        clock.commit(&event(1, 0, 130), &times);

        // Node 1 is read without an event of its own: its mail of 130 is absorbed.
        let times = clock.fetch(&node, &[]);
        assert_eq!(times.delta_t, [30.0, 0.0]);
        clock.commit(&event(0, 1, 140), &times);
        assert_eq!(clock.fetch(&node, &[]).delta_t, [0.0, 40.0]);
    }

    #[test]
    fn query_mode_measures_from_the_last_event_to_the_query() {
        let mut clock = NodeClock::new(1, TimeDelta::Query, 1, 100);
        let node = [NodeId(0), NodeId(0)];
        let first = clock.fetch(&node, &[130, 140]);
        assert_eq!(first.delta_t, [130.0, 140.0]);
        assert_eq!(first.active, [1, 1]);
        clock.commit(&event(0, 1, 140), &first);
        assert_eq!(clock.fetch(&node, &[140, 155]).delta_t, [0.0, 15.0]);
    }
}
