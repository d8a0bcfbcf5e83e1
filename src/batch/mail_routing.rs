//! Which mail of a batch goes to which node.
//!
//! Each event makes two pieces of mail: its source's `[source's row | destination's row | features]` and its
//! destination's, the other way round. A mail goes to its own node (TGN, JODIE), and where asked
//! for also to the past events' nodes that were sampled for it (APAN). Of the mail that reaches a
//! node the last one wins, or their mean counts. Negatives send and receive nothing.
//!
//! Invariants: nodes ascend and are distinct, so the kernel that writes needs neither atomics nor an
//! order; the order of a list depends on the batch alone.
//!
//! Sources: TGN (arXiv 2006.10637), section 3.1, message aggregator; APAN (arXiv 2011.11545),
//! section 3.5; TGL's `memorys.py`.

use bytemuck::{Pod, Zeroable};
use clap::ValueEnum;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::batch::EventBatch;
use crate::graph::{Csr, NodeId, Timestamp};
use crate::sampling::Neighbors;

/// What becomes of several pieces of mail that reach a node in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailAggregation {
    /// The last one is kept.
    #[value(help = "The last one is kept (TGN, TGL)")]
    Last,
    /// Their mean is kept, with the time of the last.
    #[value(help = "Their mean is kept")]
    Mean,
}

/// Which piece of a node's mail is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailOrder {
    /// That of the last event; of one event's mail, a node's own before one that it gets as a
    /// neighbour, the destination's before the source's.
    Event,
    /// TGL's: a mail that a node gets as a neighbour beats its own, whatever the times; neighbours
    /// of destinations beat those of sources.
    Row,
}

impl MailOrder {
    /// Place in the order of an event's mail to its own source (side 0) or destination (1).
    fn own(self, event: usize, side: usize) -> usize {
        match self {
            MailOrder::Event => 4 * event + 2 + side,
            MailOrder::Row => 2 * event + side,
        }
    }

    /// Place of the mail of `root` to the node in slot `slot` of all slots; there are `events`
    /// events.
    fn neighbor(self, root: usize, slot: usize, events: usize) -> usize {
        match self {
            MailOrder::Event => 4 * (root % events) + root / events,
            MailOrder::Row => 2 * events + slot,
        }
    }

    /// The root that sends the mail with this place.
    fn root(self, place: usize, events: usize, fanout: usize) -> usize {
        match self {
            MailOrder::Event => place % 2 * events + place / 4,
            MailOrder::Row if place < 2 * events => place % 2 * events + place / 2,
            MailOrder::Row => (place - 2 * events) / fanout,
        }
    }
}

/// How a model's mail is routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailRule {
    /// Several pieces for one node.
    pub aggregation: MailAggregation,
    /// Which of them is the last.
    pub order: MailOrder,
    /// Whether nodes of sampled past events of sources and destinations get mail too.
    pub to_neighbors: bool,
}

/// What one piece of mail is made of, as kernels read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Mail {
    /// Memory row of the sender.
    pub own: i32,
    /// Memory row of the event's other end.
    pub peer: i32,
    /// Event row.
    pub event: i32,
}

/// Where a list of mail goes, as kernels read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct MailList {
    /// Row of the table of mail that its mean is written to.
    pub place: i32,
    /// Its first piece of mail.
    pub first: i32,
    /// The one behind its last.
    pub end: i32,
    /// What the sum of its mail is multiplied by: 1 / their number. Divided here, because WGSL
    /// rounds a division as it likes and a product in one way only.
    pub share: f32,
}

impl MailList {
    /// The lists that begin at `offsets` (`[places + 1]`, as in [`Csr`]) and go to `places`, which are
    /// distinct.
    pub fn of(places: &[i32], offsets: &[i32]) -> Vec<MailList> {
        let lists = places.iter().zip(offsets.windows(2));
        lists
            .map(|(&place, bounds)| MailList {
                place,
                first: bounds[0],
                end: bounds[1],
                share: 1.0 / (bounds[1] - bounds[0]).max(1) as f32,
            })
            .collect()
    }
}

/// Pieces of mail that one thread sorts as fast as two.
const ALONE: usize = 4096;

/// Which mail goes to whom: one list for each node that gets some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailRouting {
    /// `[nodes]`: who gets mail, ascending.
    pub node: Vec<NodeId>,
    /// `[nodes]`: time of the last of its mail, in ticks.
    pub time: Vec<Timestamp>,
    /// The mail of each node, oldest first.
    pub mail: Csr<Mail>,
}

impl MailRouting {
    /// Event rows that its mail is made of: the first so many.
    pub fn events(&self) -> usize {
        let events = self.mail.items.iter().map(|mail| mail.event as usize + 1);
        events.max().unwrap_or(0)
    }

    /// The routing of mail of `batch`, whose roots src ‖ dst ‖ neg have the memory rows `root_row`.
    /// `neighbors`, of the roots src ‖ dst, are who else gets a root's mail.
    ///
    /// # Panics
    /// If `root_row` or `neighbors` lack roots of the batch.
    pub fn of(
        batch: &EventBatch,
        root_row: &[i32],
        neighbors: Option<&Neighbors>,
        rule: MailRule,
    ) -> MailRouting {
        let events = batch.src.len();
        assert!(
            root_row.len() >= 2 * events,
            "the layout lacks roots of the batch"
        );
        // A mail on its way is its receiver, then its place in the order; one number sorts fast.
        let mail = |node: NodeId, place: usize| u64::from(node.0) << 32 | place as u64;
        let mut sent: Vec<u64> = Vec::with_capacity(2 * events);
        for (event, (&src, &dst)) in batch.src.iter().zip(&batch.dst).enumerate() {
            for (side, node) in [src, dst].into_iter().enumerate() {
                sent.push(mail(node, rule.order.own(event, side)));
            }
        }
        let fanout = neighbors.map_or(0, |neighbors| neighbors.fanout);
        if let Some(neighbors) = neighbors {
            assert!(neighbors.len.len() >= 2 * events, "neighbours of the roots");
            for root in 0..2 * events {
                let first = root * fanout;
                for slot in first..first + neighbors.len[root] as usize {
                    let place = rule.order.neighbor(root, slot, events);
                    sent.push(mail(neighbors.node[slot], place));
                }
            }
        }
        match sent.len() <= ALONE {
            true => sent.sort_unstable(),
            false => sent.par_sort_unstable(),
        }

        let mut mail_routing = MailRouting::default();
        let sender = |mail: u64| rule.order.root(mail as u32 as usize, events, fanout);
        for received in sent.chunk_by(|a, b| a >> 32 == b >> 32) {
            let last = &received[received.len() - 1..];
            let kept = match rule.aggregation {
                MailAggregation::Last => last,
                MailAggregation::Mean => received,
            };
            mail_routing.node.push(NodeId((last[0] >> 32) as u32));
            mail_routing.time.push(batch.time[sender(last[0]) % events]);
            mail_routing.mail.push(kept.iter().map(|&mail| {
                let root = sender(mail);
                let peer = (root + events) % (2 * events);
                Mail {
                    own: root_row[root],
                    peer: root_row[peer],
                    event: (root % events) as i32,
                }
            }));
        }
        mail_routing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events 0 -> 5 at 10 and 1 -> 0 at 20; the memory row of root r is 10 + r.
    fn batch() -> (EventBatch, Vec<i32>) {
        let nodes = |ids: [u32; 2]| ids.map(NodeId).to_vec();
        let batch = EventBatch {
            events: 7..9,
            src: nodes([0, 1]),
            dst: nodes([5, 0]),
            neg: nodes([8, 8]),
            neg_src: None,
            time: vec![10, 20],
        };
        (batch, (10..16).collect())
    }

    fn list(mail_routing: &MailRouting, node: u32) -> (&[[i32; 3]], Timestamp) {
        let i = mail_routing.node.binary_search(&NodeId(node)).unwrap();
        let mail = bytemuck::cast_slice(mail_routing.mail.list(i));
        (mail, mail_routing.time[i])
    }

    fn rule(aggregation: MailAggregation, order: MailOrder) -> MailRule {
        MailRule {
            aggregation,
            order,
            to_neighbors: true,
        }
    }

    #[test]
    fn the_last_own_mail_wins_or_the_mean_of_all_counts() {
        let (batch, rows) = batch();
        let last = MailRouting::of(
            &batch,
            &rows,
            None,
            rule(MailAggregation::Last, MailOrder::Event),
        );
        assert_eq!(last.node, [0, 1, 5].map(NodeId));
        // Node 0 is source of event 0 (root 0) and destination of event 1 (root 3).
        assert_eq!(list(&last, 0), (&[[13, 11, 1]][..], 20));
        assert_eq!(list(&last, 1), (&[[11, 13, 1]][..], 20));
        assert_eq!(list(&last, 5), (&[[12, 10, 0]][..], 10));

        let mean = MailRouting::of(
            &batch,
            &rows,
            None,
            rule(MailAggregation::Mean, MailOrder::Event),
        );
        assert_eq!(list(&mean, 0), (&[[10, 12, 0], [13, 11, 1]][..], 20));
        assert_eq!(mean.mail.offsets, [0, 2, 3, 4]);
    }

    #[test]
    fn neighbours_get_the_mail_of_the_root_that_they_were_sampled_for() {
        let (batch, rows) = batch();
        // Root 0 (node 0, event 0) has past nodes 5 and 6, root 3 (node 0, event 1) has 6,
        // root 2 (node 5, event 0) has 1.
        let neighbors = Neighbors {
            fanout: 2,
            node: [5, 6, 0, 0, 1, 0, 6, 0].map(NodeId).to_vec(),
            len: vec![2, 0, 1, 1],
            ..Neighbors::default()
        };
        let event = rule(MailAggregation::Last, MailOrder::Event);
        let mail_routing = MailRouting::of(&batch, &rows, Some(&neighbors), event);
        assert_eq!(mail_routing.node, [0, 1, 5, 6].map(NodeId));
        // Of event 0, node 5's own mail beats the one that it gets as a neighbour.
        assert_eq!(list(&mail_routing, 5), (&[[12, 10, 0]][..], 10));
        // Node 6 gets root 0's mail of event 0, then root 3's of event 1.
        assert_eq!(list(&mail_routing, 6), (&[[13, 11, 1]][..], 20));
        // Node 1's own mail of event 1 is later than the one of event 0.
        assert_eq!(list(&mail_routing, 1), (&[[11, 13, 1]][..], 20));

        // TGL: whatever is routed to a neighbour beats own mail.
        let row = rule(MailAggregation::Last, MailOrder::Row);
        let mail_routing = MailRouting::of(&batch, &rows, Some(&neighbors), row);
        assert_eq!(list(&mail_routing, 5), (&[[10, 12, 0]][..], 10));
        assert_eq!(list(&mail_routing, 1), (&[[12, 10, 0]][..], 10));

        let mean = rule(MailAggregation::Mean, MailOrder::Event);
        let mail_routing = MailRouting::of(&batch, &rows, Some(&neighbors), mean);
        assert_eq!(list(&mail_routing, 5).0, [[10, 12, 0], [12, 10, 0]]);
    }
}
