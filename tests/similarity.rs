//! `--mitigation similarity` and `similarity-released`: who is corrected and how, by hand, wherever
//! memory lies.
//!
//! Users 0 to 3 and 6 meet items 4 and 5; an event every 10 ticks, each a batch of its own. The batch
//! that is looked at begins with event 8, at time 100.

use std::sync::Arc;

use burn::tensor::Device;
use mspipe::batch::{
    EventBatch, Layout, LayoutRule, MailAggregation, MailOrder, MailRule, MfgScratch, TimeDelta,
};
use mspipe::graph::{Directions, EventId, NodeId, Queries, Tcsr, Timestamp};
use mspipe::memory::device::DeviceMemory;
use mspipe::memory::host::HostMemory;
use mspipe::memory::node_times::{NodeTimes, NodeTimesRule};
use mspipe::memory::similarity::{Mitigation, Similar, SimilarNodes};
use mspipe::memory::{FetchedMemory, MemoryCommit, MemoryRequest, MemoryStore, MemoryWrite};
use mspipe::model::init::Initializer;
use mspipe::model::{LinkModel, ModelConfig, ModelName};
use mspipe::sampling::Neighbors;
use mspipe::train::upload;

use crate::on_device;
use crate::operations::{floats, numbers};

const NODES: usize = 7;

/// Source and destination of each event.
const EVENTS: [(u32, u32); 9] = [
    (0, 4),
    (0, 5),
    (1, 4),
    (1, 5),
    (1, 4),
    (2, 5),
    (2, 5),
    (3, 4),
    (6, 4),
];

/// The first event of the batch that is looked at.
const FIRST: usize = 8;

fn stream() -> (Vec<NodeId>, Vec<NodeId>, Vec<Timestamp>) {
    let (src, dst) = EVENTS
        .iter()
        .map(|&(src, dst)| (NodeId(src), NodeId(dst)))
        .unzip();
    (src, dst, (1..=9).map(|event| 10 * event).collect())
}

/// By the events before the batch.
fn past() -> Similar {
    let (src, dst, time) = stream();
    Similar::Past(Arc::new(
        Tcsr::build(NODES, &src, &dst, &time, Directions::Both).unwrap(),
    ))
}

/// By all events, as if all of them were training's.
fn listed() -> Similar {
    let (src, dst, _) = stream();
    Similar::Listed(Arc::new(SimilarNodes::of(NODES, &src, &dst)))
}

/// How a model lays its batches and its mail out.
#[derive(Clone, Copy)]
struct Setting {
    time_delta: TimeDelta,
    slots: usize,
    /// Of a memory row, a piece of mail and an edge feature.
    widths: [usize; 3],
}

impl Setting {
    fn layout(self) -> LayoutRule {
        LayoutRule {
            layers: 0,
            time_delta: self.time_delta,
            mail_rule: MailRule {
                aggregation: MailAggregation::Last,
                order: MailOrder::Event,
                to_neighbors: false,
            },
            attends_to_mail: self.slots > 1,
            ticks_per_unit: 1,
        }
    }

    /// Memory on the host and on the device, after the events before the batch.
    fn memories(self, similar: &Similar, device: &Device) -> [Box<dyn MemoryStore>; 2] {
        let times = NodeTimes::new(
            NODES,
            NodeTimesRule {
                time_delta: self.time_delta,
                write: MemoryWrite::Event,
                mail_slots: self.slots,
                catch_up: false,
                ticks_per_unit: 1,
                origin: 0,
                first: 0,
            },
        );
        let mitigation = Some(Mitigation {
            similar: similar.clone(),
            keep: 0.75,
            age_quantile: 0.5,
        });
        let [width, mail, _] = self.widths;
        let in_device = DeviceMemory::new(NODES, width, mail, times.clone(), device)
            .with_mitigation(mitigation.clone());
        let on_host = HostMemory::new(NODES, width, mail, times, mitigation, device);
        let mut memories: [Box<dyn MemoryStore>; 2] = [Box::new(on_host), Box::new(in_device)];
        for memory in &mut memories {
            self.fill(&mut **memory, device);
        }
        memories
    }

    fn fill(self, memory: &mut dyn MemoryStore, device: &Device) {
        let (src, dst, time) = stream();
        let [width, _, edge] = self.widths;
        for event in 0..FIRST {
            let neg = vec![NodeId(0)];
            let batch = EventBatch::cut(event..event + 1, &src, &dst, &time, neg);
            let none = |roots: Queries<'_>, _| Neighbors::none(roots.node.len());
            let layout = Layout::build(&batch, &self.layout(), none, &mut MfgScratch::new(NODES));
            let roots = batch.roots();
            let fetched = memory.fetch(MemoryRequest::of(&layout, roots.queries()));
            let nodes = &layout.innermost().node;
            let mut rows = Vec::new();
            for (node, &active) in nodes.iter().zip(&fetched.times.active) {
                rows.extend((0..width).map(|column| value(*node, column) * active as f32));
            }
            memory
                .commit(MemoryCommit {
                    memory: floats(&rows, [nodes.len(), width], device),
                    changes: None,
                    edge: floats(&vec![0.5; edge], [1, edge], device),
                    last_writers: layout.last_writers,
                    mail_routing: layout.mail_routing,
                    times: fetched.times,
                })
                .unwrap();
        }
    }
}

/// A node's memory once it has absorbed something.
fn value(node: NodeId, column: usize) -> f32 {
    ((node.index() + 2) * 5 + column * 3).rem_euclid(7) as f32 / 4.0
}

/// The rows of roots, each a row of its own.
fn fetch(
    memory: &dyn MemoryStore,
    roots: Queries<'_>,
    trains_from: Option<EventId>,
) -> FetchedMemory {
    memory.fetch(MemoryRequest {
        rows: roots,
        roots,
        root_row: &(0..roots.node.len() as i32).collect::<Vec<_>>(),
        trains_from,
        written: None,
    })
}

/// Checks that of the rows of nodes 0, 1, 2, 3 and 6 these are corrected, by these nodes.
fn check(setting: Setting, similar: &Similar, expected: &[(usize, &[usize])], device: &Device) {
    let node = [0, 1, 2, 3, 6].map(NodeId);
    let roots = Queries {
        node: &node,
        time: &[100; 5],
    };
    for memory in setting.memories(similar, device) {
        let evaluated = fetch(&*memory, roots, None);
        assert_eq!(evaluated.times.corrected, None, "not in evaluation");
        let mut rows = numbers(evaluated.memory);
        let absorbed = setting.time_delta == TimeDelta::Query;
        let plain = node.map(|node| match node.0 {
            6 => 0.0,
            3 if !absorbed => 0.0,
            _ => value(node, 0),
        });
        assert_eq!(rows, plain);
        for &(row, similar) in expected {
            let sum: f32 = similar.iter().map(|&other| plain[other]).sum();
            rows[row] = 0.75 * plain[row] + 0.25 * (sum / similar.len() as f32);
        }
        let trained = fetch(&*memory, roots, Some(EventId(FIRST as u32)));
        assert_eq!(trained.times.corrected, Some(expected.len()));
        for (found, expected) in numbers(trained.memory).iter().zip(&rows) {
            assert!((found - expected).abs() < 1e-6, "{found}, {expected}");
        }
    }
}

#[test]
fn old_rows_are_drawn_towards_newer_ones_that_were_similar_before_the_batch() {
    on_device(move |device| {
        for slots in [1, 3] {
            let setting = |time_delta| Setting {
                time_delta,
                slots,
                widths: [1, 3, 1],
            };
            // 3 and 6 have no memory yet. Ages 80, 50 and 30 have the median 50; 0 has met both items,
            // which 1 has met later, and 2 one of them.
            let message = setting(TimeDelta::Message);
            check(message, &past(), &[(0, &[1, 2])], device);
            // 3 has memory from its first event on: the median of 80, 50, 30 and 20 is 40.
            let query = setting(TimeDelta::Query);
            check(query, &past(), &[(0, &[1, 2, 3]), (1, &[2, 3])], device);
        }
    });
}

/// The released code's: 6 is the oldest since it never had an event, and is drawn towards nodes that it
/// will have met an item with; 3 counts though it has no memory.
#[test]
fn the_released_code_corrects_by_events_to_come_what_has_no_memory() {
    on_device(move |device| {
        for time_delta in [TimeDelta::Message, TimeDelta::Query] {
            for slots in [1, 3] {
                let setting = Setting {
                    time_delta,
                    slots,
                    widths: [1, 3, 1],
                };
                // The rows of 0, 1, 2 and 3 are the first four.
                let expected: [(usize, &[usize]); 2] = [(0, &[1, 2, 3]), (4, &[0, 1, 3])];
                check(setting, &listed(), &expected, device);
            }
        }
    });
}

/// APAN attends to a node's mail with the node's row, once for all of its rows; not so when one of
/// them is corrected and another is not.
#[test]
fn corrected_rows_of_apan_attend_for_themselves() {
    let config = ModelConfig {
        name: ModelName::Apan,
        width: 8,
        time_width: 8,
        edge_width: 4,
        node_width: 0,
        layers: 0,
        heads: 2,
        mail_slots: 3,
        train_time_encoding: true,
        dropout: 0.0,
        attention_dropout: 0.0,
        pair_history: 0,
    };
    let setting = Setting {
        time_delta: TimeDelta::Query,
        slots: 3,
        widths: [8, config.mail_width(), 4],
    };
    on_device(move |device| {
        let model = LinkModel::new(&config, &mut Initializer::new(1, device)).model;
        let embedded = |roots: Queries<'_>, memory: &dyn Fn(&Layout) -> FetchedMemory| {
            let none = |roots: Queries<'_>, _| Neighbors::none(roots.node.len());
            let scratch = &mut MfgScratch::new(NODES);
            let layout = Layout::of_roots(roots, 8..9, &setting.layout(), none, scratch);
            let edge = [floats(&[0.5; 4], [1, 4], device)];
            let input = upload::model_input(&layout, &memory(&layout), &edge, None, device);
            numbers(model.forward(&input, None).embedding)
        };
        // Ages 50, 980, 50 and 30: the median is 50, and only the second row is older.
        let node = [0, 0, 1, 2].map(NodeId);
        let time = [70, 1000, 100, 100];
        let roots = Queries {
            node: &node,
            time: &time,
        };
        for memory in setting.memories(&past(), device) {
            let training = |layout: &Layout| {
                let request = MemoryRequest::of(layout, roots);
                memory.fetch(request.training_from(EventId(FIRST as u32)))
            };
            let found = embedded(roots, &training);
            let plain = embedded(roots, &|layout| {
                memory.fetch(MemoryRequest::of(layout, roots))
            });
            for row in 0..4 {
                let one = Queries {
                    node: &node[row..=row],
                    time: &time[row..=row],
                };
                let alone = embedded(one, &|layout| {
                    let fetched = memory.fetch(MemoryRequest::of(layout, one));
                    let all = fetch(&*memory, roots, Some(EventId(FIRST as u32)));
                    assert_eq!(all.times.corrected, Some(1));
                    FetchedMemory {
                        memory: all.memory.slice(row..row + 1),
                        ..fetched
                    }
                });
                let of_row = 8 * row..8 * (row + 1);
                assert_eq!(found[of_row.clone()], alone, "row {row}");
                let as_without = found[of_row.clone()] == plain[of_row];
                assert_eq!(as_without, row != 1, "row {row}");
            }
        }
    });
}
