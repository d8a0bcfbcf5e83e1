//! Rows that are read very often: how their uses are divided, and what that leaves to do for the busiest invocation
//! of a GPU, counted over the layout of a batch.

use mspipe::batch::{
    EventBatch, Layout, LayoutRule, MailAggregation, MailOrder, MailRule, MfgScratch, TimeDelta,
};
use mspipe::graph::{Directions, NodeId, Queries, Tcsr, Timestamp};
use mspipe::kernels::gather_rows::LongRows;
use mspipe::sampling::{NeighborSampler, Recent, SampleKey};

const NODES: usize = 1_000;

/// Offsets of the uses of node rows and of root rows, in a batch of a stream in which node 0 is one side of every
/// other event; all other nodes are many.
fn offsets_with_a_hub(events: usize) -> [Vec<i32>; 2] {
    let all = 3 * events;
    let node = |i: usize| NodeId((1 + i * 7_919 % (NODES - 1)) as u32);
    let src: Vec<NodeId> = (0..all)
        .map(|i| if i % 2 == 0 { NodeId(0) } else { node(i) })
        .collect();
    let dst: Vec<NodeId> = (0..all).map(|i| node(i + 3)).collect();
    let time: Vec<Timestamp> = (0..all as i64).collect();
    let graph = Tcsr::build(NODES, &src, &dst, &time, Directions::Both).unwrap();
    let neg = (0..events).map(|i| node(5 * i + 1)).collect();
    let batch = EventBatch::cut(2 * events..all, &src, &dst, &time, neg);
    let rule = LayoutRule {
        layers: 1,
        time_delta: TimeDelta::Message,
        mail_rule: MailRule {
            aggregation: MailAggregation::Last,
            order: MailOrder::Event,
            to_neighbors: false,
        },
        attends_to_mail: false,
        ticks_per_unit: 1,
    };
    let sample = |roots: Queries<'_>, request| {
        let key = SampleKey {
            seed: 0,
            epoch: 1,
            event: 2 * events as u64,
            request,
        };
        Recent { fanout: 10 }.sample(&graph, roots, None, key)
    };
    let layout = Layout::build(&batch, &rule, sample, &mut MfgScratch::new(NODES));
    let rows = layout.innermost();
    [
        rows.slot_uses.offsets.clone(),
        rows.root_uses.offsets.clone(),
    ]
}

fn most_uses(offsets: &[i32]) -> usize {
    let uses = offsets.windows(2).map(|ends| (ends[1] - ends[0]) as usize);
    uses.max().unwrap_or(0)
}

/// Before: all uses of the row that has most, one after the other.
#[test]
fn a_node_in_half_of_all_events_leaves_no_invocation_more_than_256_additions() {
    for events in [200, 600, 4_000] {
        let offsets = offsets_with_a_hub(events);
        let uses = offsets.each_ref().map(|offsets| most_uses(offsets));
        let left = offsets.each_ref().map(|offsets| LongRows::longest(offsets));
        println!("{events} events: {uses:?} additions before, {left:?} now");
        assert!(uses.iter().all(|&uses| uses >= events / 2), "{uses:?}");
        assert!((0..2).all(|i| left[i] <= uses[i].min(256)), "{left:?}");
    }
}

/// Every use of a long row is in one piece, in order; no other row has pieces.
#[test]
fn pieces_divide_the_uses_of_long_rows() {
    let lengths = [0, 256, 257, 3, 384, 385, 100_000, 0];
    let mut offsets = vec![0];
    for length in lengths {
        offsets.push(offsets[offsets.len() - 1] + length);
    }
    let (long, table) = LongRows::of(&offsets);
    let (rows, pieces) = table.split_at(3 * long.rows);
    let (rows, pieces): (Vec<_>, Vec<_>) = (rows.chunks(3).collect(), pieces.chunks(2).collect());
    assert_eq!(pieces.len(), long.pieces);
    assert_eq!(
        rows.iter().map(|row| row[0]).collect::<Vec<_>>(),
        [2, 4, 5, 6]
    );
    let mut first = 0;
    for row in rows {
        assert_eq!(row[1], first, "{row:?}");
        let of_row = &pieces[first as usize..(first + row[2]) as usize];
        let mut place = offsets[row[0] as usize];
        for piece in of_row {
            assert_eq!(piece[0], place, "{row:?}");
            assert!((1..=128).contains(&(piece[1] - piece[0])), "{piece:?}");
            place = piece[1];
        }
        assert_eq!(place, offsets[row[0] as usize + 1], "{row:?}");
        first += row[2];
    }
    assert_eq!(first as usize, long.pieces);
}
