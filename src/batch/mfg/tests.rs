//! The layout against its definition, on one drawn batch and on random ones; also [`LastWriters`],
//! which is read off a layout.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::batch::{
    EventBatch, LastWriters, Mail, MailAggregation, MailOrder, MailRouting, MailRule, Roots,
};
use crate::graph::Directions;
use crate::graph::drawn_streams::{Stream, streams};
use crate::sampling::{NeighborSampler, Recent, SampleKey};

const TICKS: i64 = 4;

/// The batch `events` of the stream, and the `fanout` most recent neighbours of its roots.
fn sampled(
    stream: &Stream,
    nodes: usize,
    events: Range<usize>,
    neg: Vec<NodeId>,
    fanout: usize,
) -> (EventBatch, Neighbors) {
    let batch = EventBatch::cut(events, &stream.src, &stream.dst, &stream.time, neg);
    let graph = stream.graph(nodes, Directions::Both);
    let neighbors = Recent { fanout }.sample(
        &graph,
        batch.roots().queries(),
        None,
        SampleKey {
            seed: 0,
            epoch: 0,
            event: 0,
            request: 0,
        },
    );
    (batch, neighbors)
}

/// Row, event row and Δt of a slot.
type Seen = (i32, i32, f32);

fn laid_out(
    batch: &EventBatch,
    neighbors: &Neighbors,
    time_delta: TimeDelta,
    ticks_per_unit: i64,
    scratch: &mut MfgScratch,
) -> Mfg {
    Mfg::of(
        batch.roots().queries(),
        batch.events.clone(),
        neighbors,
        time_delta,
        ticks_per_unit,
        scratch,
    )
}

fn slot(row: i32, event: i32, delta_t: f32) -> Seen {
    (row, event, delta_t)
}

const EMPTY: Seen = (-1, -1, 0.0);

fn seen(slots: &[Slot]) -> Vec<Seen> {
    let slots = slots.iter();
    slots
        .map(|slot| (slot.row, slot.event, slot.delta_t))
        .collect()
}

/// ```text
/// time    10    20    30    40    40
///        0->3  1->3  0->4  0->3  1->4     batch: the last two events
/// event    0     1     2     3     4      negatives: 4, 4
/// ```
fn drawn() -> (EventBatch, Neighbors) {
    let stream = Stream::drawn("0>3@10 1>3@20 0>4@30 0>3@40 1>4@40");
    sampled(&stream, 5, 3..5, vec![NodeId(4); 2], 2)
}

#[test]
fn drawn_batch_by_message() {
    let (batch, neighbors) = drawn();
    let mfg = laid_out(
        &batch,
        &neighbors,
        TimeDelta::Message,
        TICKS,
        &mut MfgScratch::new(5),
    );
    assert_eq!(mfg.node, [0, 1, 3, 4].map(NodeId));
    assert!(mfg.query_time.is_empty());
    assert_eq!(mfg.root_row, [0, 1, 2, 3, 3, 3]);
    assert_eq!(mfg.events, [3, 4, 0, 1, 2].map(EventId), "own events first");
    let expected = [
        [slot(3, 4, 2.5), slot(2, 2, 7.5)], // 0 at 40: event 2 with 4, event 0 with 3
        [slot(2, 3, 5.0), EMPTY],           // 1 at 40: event 1 with 3
        [slot(1, 3, 5.0), slot(0, 2, 7.5)], // 3 at 40: event 1 with 1, event 0 with 0
        [slot(0, 4, 2.5), EMPTY],           // 4 at 40: event 2 with 0
        [slot(0, 4, 2.5), EMPTY],           // the negatives: the same
        [slot(0, 4, 2.5), EMPTY],
    ];
    assert_eq!(seen(&mfg.slots), expected.concat());
    assert_eq!(mfg.slot_uses.list(0), [5, 6, 8, 10]);
    assert_eq!(mfg.root_uses.list(3), [3, 4, 5]);

    let (last_writers, sides) = LastWriters::of(&batch, &mfg.root_row);
    assert_eq!(sides, [0, 0, 1, 1]);
    assert_eq!(last_writers.node, [0, 1, 3, 4].map(NodeId));
    assert_eq!(last_writers.row, [0, 1, 2, 3]);
}

#[test]
fn drawn_batch_by_query_has_a_row_for_each_node_and_time() {
    let (batch, neighbors) = drawn();
    let mfg = laid_out(
        &batch,
        &neighbors,
        TimeDelta::Query,
        TICKS,
        &mut MfgScratch::new(5),
    );
    let rows: Vec<_> = mfg
        .node
        .iter()
        .map(|n| n.0)
        .zip(mfg.query_time.iter().copied())
        .collect();
    let roots = [(0, 40), (1, 40), (3, 40), (4, 40)];
    let neighbors = [(4, 30), (3, 10), (3, 20), (1, 20), (0, 10), (0, 30)];
    assert_eq!(rows, [&roots[..], &neighbors].concat());
    assert_eq!(mfg.root_row, [0, 1, 2, 3, 3, 3]);
    assert_eq!(seen(&mfg.slots[..2]), [slot(4, 4, 2.5), slot(5, 2, 7.5)]);
    assert_eq!(LastWriters::of(&batch, &mfg.root_row).0.row, [0, 1, 2, 3]);
}

#[test]
fn a_self_loop_is_written_by_its_destination_side() {
    let stream = Stream::drawn("0>1@1 1>1@2 2>0@2");
    let (batch, neighbors) = sampled(&stream, 3, 0..3, vec![NodeId(2); 3], 1);
    let mfg = laid_out(
        &batch,
        &neighbors,
        TimeDelta::Query,
        1,
        &mut MfgScratch::new(3),
    );
    let (last_writers, sides) = LastWriters::of(&batch, &mfg.root_row);
    assert_eq!(sides, [1, 1, 0]);
    assert_eq!(last_writers.node, [0, 1, 2].map(NodeId));
    assert_eq!(
        last_writers.row,
        [mfg.root_row[5], mfg.root_row[4], mfg.root_row[2]]
    );
}

#[test]
fn no_events_and_no_fanout_are_allowed() {
    let batch = EventBatch::default();
    let mut scratch = MfgScratch::new(0);
    for time_delta in [TimeDelta::Message, TimeDelta::Query] {
        let mfg = laid_out(&batch, &Neighbors::default(), time_delta, 1, &mut scratch);
        assert_eq!((mfg.rows(), &mfg.slot_uses.offsets[..]), (0, &[0][..]));
        assert_eq!(
            LastWriters::of(&batch, &mfg.root_row).0,
            LastWriters::default()
        );
    }
    let stream = Stream::drawn("0>1@1");
    let (batch, neighbors) = sampled(&stream, 2, 0..1, vec![NodeId(1)], 0);
    let mfg = laid_out(
        &batch,
        &neighbors,
        TimeDelta::Message,
        1,
        &mut MfgScratch::new(2),
    );
    assert_eq!((mfg.rows(), mfg.slots.len(), mfg.events.len()), (2, 0, 1));
}

/// The f64 quotient is rounded once; 20,000,001 ticks are more than an f32 can count.
#[test]
fn delta_t_is_exact_before_it_becomes_f32() {
    let early = 1_700_000_000_000_001_i64;
    let stream = Stream::drawn(&format!("0>1@{early} 0>1@{}", early + 20_000_001));
    let (batch, neighbors) = sampled(&stream, 2, 1..2, vec![NodeId(1)], 1);
    let mfg = laid_out(
        &batch,
        &neighbors,
        TimeDelta::Message,
        1000,
        &mut MfgScratch::new(2),
    );
    assert_eq!(mfg.slots[0].delta_t, 20_000.001_f64 as f32);
}

/// Last writers and own mail: replays the events in order and lets each write overwrite.
fn writes_follow_the_stream(batch: &EventBatch, mfg: &Mfg) -> Result<(), TestCaseError> {
    let n = batch.src.len();
    let mut last = BTreeMap::new();
    for event in 0..n {
        last.insert(batch.src[event], (event, n + event, event));
        last.insert(batch.dst[event], (n + event, event, event));
    }
    let (last_writers, _) = LastWriters::of(batch, &mfg.root_row);
    let rule = MailRule {
        aggregation: MailAggregation::Last,
        order: MailOrder::Event,
        to_neighbors: false,
    };
    let routing = MailRouting::of(batch, &mfg.root_row, None, rule);
    prop_assert_eq!(
        &last_writers.node,
        &last.keys().copied().collect::<Vec<_>>()
    );
    prop_assert_eq!(&routing.node, &last_writers.node);
    for (w, &(root, peer, event)) in last.values().enumerate() {
        prop_assert_eq!(last_writers.row[w], mfg.root_row[root]);
        prop_assert_eq!(
            routing.mail.list(w),
            [Mail {
                own: mfg.root_row[root],
                peer: mfg.root_row[peer],
                event: event as i32
            }]
        );
        prop_assert_eq!(routing.time[w], batch.time[event]);
        prop_assert_eq!(mfg.node[last_writers.row[w] as usize], last_writers.node[w]);
    }
    Ok(())
}

proptest! {
    #[test]
    fn layouts_follow_their_definition(
        (nodes, stream) in streams(10, 60),
        cut in any::<(prop::sample::Index, prop::sample::Index)>(),
        neg in prop::collection::vec(0..10u32, 60),
        fanout in 0..5usize,
        by_query in any::<bool>(),
    ) {
        let total = stream.time.len();
        let (a, b) = (cut.0.index(total + 1), cut.1.index(total + 1));
        let events = a.min(b)..a.max(b);
        let neg = neg[..events.len()].iter().map(|n| NodeId(n % nodes as u32)).collect();
        let (batch, neighbors) = sampled(&stream, nodes, events.clone(), neg, fanout);
        let Roots { node: root_node, time: root_time } = batch.roots();
        let time_delta = if by_query { TimeDelta::Query } else { TimeDelta::Message };

        // A scratch that has served another batch must not show.
        let mut scratch = MfgScratch::new(nodes);
        let mfg = laid_out(&batch, &neighbors, time_delta, TICKS, &mut scratch);
        prop_assert_eq!(&mfg, &laid_out(&batch, &neighbors, time_delta, TICKS, &mut scratch));

        // Rows: distinct keys; every root and slot finds its own key; every row is used.
        let key = |node, time| (node, if by_query { time } else { 0 });
        let row_key: Vec<_> = (0..mfg.rows())
            .map(|r| key(mfg.node[r], mfg.query_time.get(r).copied().unwrap_or(0)))
            .collect();
        prop_assert_eq!(row_key.iter().collect::<BTreeSet<_>>().len(), mfg.rows());
        let mut uses: BTreeMap<i32, (Vec<i32>, Vec<i32>)> = BTreeMap::new();
        prop_assert_eq!(mfg.root_row.len(), root_node.len());
        for (root, &row) in mfg.root_row.iter().enumerate() {
            prop_assert_eq!(row_key[row as usize], key(root_node[root], root_time[root]));
            uses.entry(row).or_default().1.push(root as i32);
        }
        prop_assert_eq!(mfg.slots.len(), mfg.roots * mfg.fanout);
        let mut other_events = BTreeSet::new();
        for (slot, &of_slot) in mfg.slots.iter().enumerate() {
            let Slot { row, event, delta_t, query } = of_slot;
            let (root, k) = (slot / fanout, slot % fanout);
            prop_assert_eq!(query, mfg.root_row[root]);
            if k >= neighbors.len[root] as usize {
                prop_assert_eq!((row, event, delta_t), EMPTY);
                continue;
            }
            let (node, time) = (neighbors.node[slot], neighbors.time[slot]);
            prop_assert_eq!(row_key[row as usize], key(node, time));
            prop_assert_eq!(mfg.events[event as usize], neighbors.event[slot]);
            let expected = ((root_time[root] - time) as f64 / TICKS as f64) as f32;
            prop_assert_eq!(delta_t, expected);
            prop_assert!(expected > 0.0);
            uses.entry(row).or_default().0.push(slot as i32);
            if !events.contains(&neighbors.event[slot].index()) {
                other_events.insert(neighbors.event[slot]);
            }
        }

        // Events: the batch's own in order, then the others, each once.
        let own = events.clone().map(|e| EventId(e as u32));
        prop_assert_eq!(&mfg.events, &own.chain(other_events).collect::<Vec<_>>());

        // The lists of uses are the inverse of slots and root_row.
        // Rows that roots read are the first.
        let own_rows = mfg.root_row.iter().max().map_or(0, |&row| row as usize + 1);
        for (csr, rows) in [(&mfg.slot_uses, mfg.rows()), (&mfg.root_uses, own_rows)] {
            prop_assert_eq!(csr.offsets.len(), rows + 1);
            prop_assert_eq!(csr.offsets[rows] as usize, csr.items.len());
        }
        prop_assert_eq!(uses.len(), mfg.rows());
        for (row, (slots, roots)) in uses {
            prop_assert_eq!(mfg.slot_uses.list(row as usize), slots);
            if (row as usize) < own_rows {
                prop_assert_eq!(mfg.root_uses.list(row as usize), roots);
                prop_assert!(!mfg.root_uses.list(row as usize).is_empty());
            } else {
                prop_assert!(roots.is_empty());
            }
        }

        writes_follow_the_stream(&batch, &mfg)?;
    }
}
