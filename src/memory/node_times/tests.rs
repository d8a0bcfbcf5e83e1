//! Node times against hand-made histories of one or two nodes.

use super::*;
use crate::batch::Mail;
use crate::graph::{Csr, Queries};

const RULE: NodeTimesRule = NodeTimesRule {
    time_delta: TimeDelta::Message,
    write: MemoryWrite::Event,
    mail_slots: 1,
    catch_up: false,
    ticks_per_unit: 1,
    origin: 100,
    first: 100,
};

const NODE: [NodeId; 2] = [NodeId(1), NodeId(0)];

fn rows<'a>(node: &'a [NodeId], time: &'a [Timestamp]) -> MemoryRequest<'a> {
    MemoryRequest {
        rows: Queries { node, time },
        ..MemoryRequest::default()
    }
}

/// One list with one piece of mail, of an event of `row` with itself.
fn one_piece(row: i32) -> Csr<Mail> {
    let mut mail = Csr::default();
    mail.push([Mail {
        own: row,
        peer: row,
        event: 0,
    }]);
    mail
}

/// Commits an event of `node`, whose memory row is `row`, at `time`.
fn event(node_times: &mut NodeTimes, node: u32, row: i32, time: Timestamp, times: &FetchedTimes) {
    let last_writers = LastWriters {
        node: vec![NodeId(node)],
        row: vec![row],
    };
    let mail_routing = MailRouting {
        node: vec![NodeId(node)],
        time: vec![time],
        mail: one_piece(row),
    };
    node_times.commit(&last_writers, &mail_routing, times);
}

#[test]
fn message_mode_measures_between_events_and_skips_nodes_without_mail() {
    let rule = NodeTimesRule {
        ticks_per_unit: 10,
        ..RULE
    };
    let mut node_times = NodeTimes::new(2, rule);
    let first = node_times.fetch(rows(&NODE, &[]));
    assert_eq!((first.delta_t, first.active), (vec![0.0; 2], vec![0; 2]));

    // Event at 130: nothing was absorbed, a mail waits.
    let times = node_times.fetch(rows(&NODE, &[]));
    event(&mut node_times, 1, 0, 130, &times);
    let second = node_times.fetch(rows(&NODE, &[]));
    assert_eq!(second.delta_t, [3.0, 0.0]);
    assert_eq!(second.active, [1, 0]);

    // Event at 150: the mail of 130 was absorbed.
    event(&mut node_times, 1, 0, 150, &second);
    assert_eq!(node_times.fetch(rows(&NODE, &[])).delta_t, [2.0, 0.0]);

    node_times.reset();
    assert_eq!(node_times.fetch(rows(&NODE, &[])).active, [0, 0]);
}

#[test]
fn writing_on_read_updates_every_fetched_row() {
    let write = MemoryWrite::Read;
    let mut node_times = NodeTimes::new(2, NodeTimesRule { write, ..RULE });
    let times = node_times.fetch(rows(&NODE, &[]));
    assert_eq!(
        (&times.delta_t[..], &times.active[..]),
        (&[0.0; 2][..], &[1; 2][..])
    );
    event(&mut node_times, 1, 0, 130, &times);

    // Node 1 is read without an event of its own: its mail of 130 is absorbed.
    let times = node_times.fetch(rows(&NODE, &[]));
    assert_eq!(times.delta_t, [30.0, 0.0]);
    event(&mut node_times, 0, 1, 140, &times);
    assert_eq!(node_times.fetch(rows(&NODE, &[])).delta_t, [0.0, 40.0]);
}

#[test]
fn query_mode_measures_from_the_last_event_to_the_query() {
    let rule = NodeTimesRule {
        time_delta: TimeDelta::Query,
        origin: 0,
        first: 0,
        ..RULE
    };
    let mut node_times = NodeTimes::new(1, rule);
    let node = [NodeId(0), NodeId(0)];
    let first = node_times.fetch(rows(&node, &[130, 140]));
    assert_eq!(first.delta_t, [130.0, 140.0]);
    assert_eq!(first.active, [1, 1]);
    event(&mut node_times, 0, 1, 140, &first);
    assert_eq!(
        node_times.fetch(rows(&node, &[140, 155])).delta_t,
        [0.0, 15.0]
    );
}

/// The mail of a node's last event has been let into no memory row yet, but into what a root reads.
#[test]
fn age_counts_from_the_newest_mail() {
    for (time_delta, write) in [
        (TimeDelta::Message, MemoryWrite::Event),
        (TimeDelta::Message, MemoryWrite::Read),
        (TimeDelta::Query, MemoryWrite::Event),
    ] {
        let rule = NodeTimesRule {
            time_delta,
            write,
            ticks_per_unit: 10,
            mail_slots: 2,
            ..RULE
        };
        let mut node_times = NodeTimes::new(2, rule);
        let ages = |node_times: &NodeTimes| {
            let request = MemoryRequest {
                roots: Queries {
                    node: &NODE,
                    time: &[160; 2],
                },
                ..rows(&[], &[])
            };
            node_times.fetch(request).root_age
        };
        assert_eq!(ages(&node_times), [6.0, 6.0], "from the origin");
        // Mail that a node gets without an event of its own counts too.
        for (node, time, age) in [(1, 130, 3.0), (1, 150, 1.0), (1, 155, 0.5)] {
            let times = node_times.fetch(rows(&NODE, &[time; 2]));
            event(&mut node_times, node, 0, time, &times);
            assert_eq!(ages(&node_times), [age, 6.0], "{time_delta:?} {write:?}");
        }
        let mail_routing = MailRouting {
            node: vec![NodeId(0)],
            time: vec![158],
            mail: one_piece(0),
        };
        let times = node_times.fetch(rows(&NODE, &[158; 2]));
        node_times.commit(&LastWriters::default(), &mail_routing, &times);
        assert_eq!(ages(&node_times), [0.5, 0.2]);
    }
}

/// TGL divides by t + 1, which is 0 at -1 and negative before.
#[test]
fn recency_counts_from_an_event_before_the_origin() {
    let recency = |origin, first, time: [Timestamp; 3]| {
        let rule = NodeTimesRule {
            time_delta: TimeDelta::Query,
            origin,
            first,
            ..RULE
        };
        let request = MemoryRequest {
            roots: Queries {
                node: &[NodeId(0); 3],
                time: &time,
            },
            ..rows(&[], &[])
        };
        NodeTimes::new(1, rule).fetch(request).root_recency
    };
    assert_eq!(recency(0, -1, [-1, 0, 1]), [0.0, 0.5, 2.0 / 3.0]);
    assert_eq!(recency(0, -4, [-4, -3, -1]), [0.0, 0.5, 0.75]);
    // As TGL has it where no time is negative.
    assert_eq!(recency(0, 3, [3, 4, 9]), [0.75, 0.8, 0.9]);
}

#[test]
fn a_full_mailbox_loses_its_oldest_mail() {
    let rule = NodeTimesRule {
        time_delta: TimeDelta::Query,
        mail_slots: 3,
        ..RULE
    };
    let mut node_times = NodeTimes::new(2, rule);
    let node = [NodeId(1)];
    let age = |node_times: &NodeTimes| node_times.fetch(rows(&node, &[200])).mail_delta_t;
    assert_eq!(
        age(&node_times),
        [100.0; 3],
        "empty slots count from the origin"
    );
    for time in [110, 120, 130, 140] {
        let mail = MailRouting {
            node: vec![NodeId(1)],
            time: vec![time],
            mail: one_piece(0),
        };
        let slot = [110, 120, 130].iter().position(|&t| t == time).unwrap_or(0);
        assert_eq!(node_times.places(&mail), [3 + slot as i32]);
        let times = node_times.fetch(rows(&node, &[200]));
        node_times.commit(&LastWriters::default(), &mail, &times);
    }
    assert_eq!(age(&node_times), [60.0, 80.0, 70.0]);
    // A node that only got mail as a neighbour was not updated.
    assert_eq!(node_times.last_update(), [100, 100]);
}

#[test]
fn recency_is_the_time_since_the_last_event_over_the_time_since_the_origin() {
    let mut node_times = NodeTimes::new(2, RULE);
    let request = MemoryRequest {
        roots: Queries {
            node: &NODE,
            time: &[199, 149],
        },
        ..rows(&[], &[])
    };
    let times = node_times.fetch(request);
    assert_eq!(times.root_recency, [99.0 / 100.0, 49.0 / 50.0]);
    let times = node_times.fetch(rows(&NODE, &[]));
    event(&mut node_times, 1, 0, 149, &times);
    assert_eq!(
        node_times.fetch(request).root_recency,
        [50.0 / 100.0, 49.0 / 50.0]
    );
}
