//! `--mitigation catch-up`: no mail is lost at any k, wherever memory lies.
//!
//! Memory here is a number per node and the updater a step that depends on the order of what it
//! absorbs; mail counts by its edge feature alone, so that it does not depend on memory and stale
//! rows can be compared with fresh ones.

use std::collections::VecDeque;

use burn::tensor::Device;
use mspipe::batch::{
    EventBatch, Layout, LayoutRule, MailAggregation, MailOrder, MailRule, MfgScratch, TimeDelta,
};
use mspipe::graph::{NodeId, Queries, Timestamp};
use mspipe::memory::device::DeviceMemory;
use mspipe::memory::host::HostMemory;
use mspipe::memory::node_times::{NodeTimes, NodeTimesRule};
use mspipe::memory::{FetchedMemory, MemoryCommit, MemoryRequest, MemoryStore, MemoryWrite};
use mspipe::sampling::Neighbors;

use crate::on_device;
use crate::operations::{floats, numbers};
use crate::schedules::{MODELS, Outcome, SHORT, same_wherever_memory_lies, train};

const NODES: usize = 8;

fn rule(time_delta: TimeDelta, slots: usize, catch_up: bool) -> NodeTimesRule {
    NodeTimesRule {
        time_delta,
        write: MemoryWrite::Event,
        mail_slots: slots,
        catch_up,
        ticks_per_unit: 1,
        origin: 0,
        first: 0,
    }
}

/// Memory rows 1 wide and mail 3 wide: own row, peer's row, feature.
fn on_host(rule: NodeTimesRule, device: &Device) -> Box<dyn MemoryStore> {
    let times = NodeTimes::new(NODES, rule);
    Box::new(HostMemory::new(NODES, 1, 3, times, None, device))
}

fn in_device(rule: NodeTimesRule, device: &Device) -> Box<dyn MemoryStore> {
    let times = NodeTimes::new(NODES, rule);
    Box::new(DeviceMemory::new(NODES, 1, 3, times, device))
}

/// Absorbs mail with this feature; exact in f32.
fn absorb(memory: f32, feature: f32, delta_t: f32) -> f32 {
    (memory * 31.0 + feature * 7.0 + delta_t) % 8191.0
}

/// What a row absorbs, oldest first: features and time differences.
type Absorbed = Vec<(f32, f32)>;

/// That of a row.
fn absorbed(fetched: &FetchedMemory, row: usize) -> Absorbed {
    let backlog = &fetched.times.backlog;
    let mut all = Vec::new();
    let entries = backlog.row.len();
    let entry = match backlog.source.get(row) {
        Some(&source) if (source as usize) < entries => Some(source as usize),
        Some(&source) => {
            assert_eq!(source as usize, entries + row);
            None
        }
        None => None,
    };
    if let Some(entry) = entry {
        let mail = numbers(fetched.earlier_mail.clone().unwrap());
        let mut first = 0;
        for &of_step in &backlog.steps {
            if entry < of_step {
                let at = first + entry;
                all.push((mail[3 * at + 2], backlog.delta_t[at]));
            }
            first += of_step;
        }
        assert_eq!(3 * first, mail.len());
    }
    if fetched.times.active[row] == 1 {
        let mail = numbers(fetched.mail.clone());
        all.push((mail[3 * row + 2], fetched.times.delta_t[row]));
    }
    all
}

/// The updated rows.
fn updated(fetched: &FetchedMemory, timed: bool) -> Vec<f32> {
    let memory = numbers(fetched.memory.clone());
    let of_row = |(row, &memory): (usize, &f32)| {
        let mail = absorbed(fetched, row).into_iter();
        mail.fold(memory, |memory, (feature, delta_t)| {
            absorb(memory, feature, if timed { delta_t } else { 0.0 })
        })
    };
    memory.iter().enumerate().map(of_row).collect()
}

/// A stream, one event per tick of 10; the feature of event i is i + 1.
struct Stream {
    src: Vec<NodeId>,
    dst: Vec<NodeId>,
    time: Vec<Timestamp>,
}

impl Stream {
    fn of(pairs: &[(u32, u32)]) -> Stream {
        let ends = pairs.iter().map(|&(src, dst)| (NodeId(src), NodeId(dst)));
        let (src, dst) = ends.unzip();
        let time = (1..=pairs.len() as i64).map(|i| 10 * i).collect();
        Stream { src, dst, time }
    }

    /// Goes over it with staleness `k`; returns what each node's row absorbed for its batch, in order
    /// of batches, and what all nodes have when everything has been applied and absorbed.
    fn run(
        &self,
        memory: &mut dyn MemoryStore,
        (batch_size, k): (usize, usize),
        time_delta: TimeDelta,
        device: &Device,
    ) -> (Vec<(NodeId, Absorbed)>, Vec<f32>) {
        let timed = time_delta == TimeDelta::Message;
        let rule = LayoutRule {
            layers: 0,
            time_delta,
            mail_rule: MailRule {
                aggregation: MailAggregation::Last,
                order: MailOrder::Event,
                to_neighbors: false,
            },
            attends_to_mail: false,
            ticks_per_unit: 1,
        };
        let none = |roots: Queries<'_>, _| Neighbors::none(roots.node.len());
        let (mut unapplied, mut story) = (VecDeque::new(), Vec::new());
        for (nth, start) in (0..self.src.len()).step_by(batch_size).enumerate() {
            if nth >= k {
                memory.commit(unapplied.pop_front().unwrap()).unwrap();
            }
            let events = start..(start + batch_size).min(self.src.len());
            let neg = vec![NodeId(0); events.len()];
            let batch = EventBatch::cut(events.clone(), &self.src, &self.dst, &self.time, neg);
            let layout = Layout::build(&batch, &rule, none, &mut MfgScratch::new(NODES));
            let roots = batch.roots();
            let fetched = memory.fetch(MemoryRequest::of(&layout, roots.queries()));
            let rows = updated(&fetched, timed);
            for (&node, &row) in layout
                .last_writers
                .node
                .iter()
                .zip(&layout.last_writers.row)
            {
                story.push((node, absorbed(&fetched, row as usize)));
            }
            let features: Vec<f32> = events.clone().map(|event| (event + 1) as f32).collect();
            unapplied.push_back(MemoryCommit {
                memory: floats(&rows, [rows.len(), 1], device),
                changes: None,
                edge: floats(&features, [features.len(), 1], device),
                last_writers: layout.last_writers,
                mail_routing: layout.mail_routing,
                times: fetched.times,
            });
        }
        for commit in unapplied {
            memory.commit(commit).unwrap();
        }
        let node: Vec<NodeId> = (0..NODES as u32).map(NodeId).collect();
        let time = vec![100_000; NODES];
        let all = Queries {
            node: &node,
            time: &time,
        };
        let fetched = memory.fetch(MemoryRequest {
            rows: all,
            roots: all,
            root_row: &(0..NODES as i32).collect::<Vec<_>>(),
            trains_from: None,
            written: None,
        });
        (story, updated(&fetched, timed))
    }
}

#[test]
fn a_pair_that_meets_in_every_batch_by_hand() {
    let stream = Stream::of(&[(0, 1); 7]);
    on_device(move |device| {
        for place in [on_host, in_device] {
            let mut memory = place(rule(TimeDelta::Message, 3, true), device);
            let (story, _) = stream.run(&mut *memory, (1, 3), TimeDelta::Message, device);
            let of_node_1 = story.into_iter().filter(|(node, _)| *node == NodeId(1));
            let found: Vec<Absorbed> = of_node_1.map(|(_, mail)| mail).collect();
            // Batch 3 sees the update of 0, batch 4 those of 0 and 1, whose rows had seen nothing;
            // batch 6 continues from the row of batch 3, which had absorbed the mail of 0.
            let expected: [&[(f32, f32)]; 7] = [
                &[],
                &[],
                &[],
                &[(1.0, 10.0)],
                &[(1.0, 10.0), (2.0, 10.0)],
                &[(1.0, 10.0), (2.0, 10.0), (3.0, 10.0)],
                &[(2.0, 10.0), (3.0, 10.0), (4.0, 10.0)],
            ];
            assert_eq!(found, expected);
        }
    });
}

/// Time differences that count to the query do so from mail to mail, and never run backwards.
#[test]
fn differences_to_the_query_by_hand() {
    let stream = Stream::of(&[(0, 1); 6]);
    on_device(move |device| {
        let mut memory = on_host(rule(TimeDelta::Query, 3, true), device);
        let (story, _) = stream.run(&mut *memory, (1, 3), TimeDelta::Query, device);
        let of_node_1 = story.into_iter().filter(|(node, _)| *node == NodeId(1));
        let found: Vec<Absorbed> = of_node_1.map(|(_, mail)| mail).collect();
        // A row absorbs empty mail where there is none yet. The row of batch 2 is of time 30 when
        // batch 5 continues from it with the mail of times 10, 20 and 30.
        let expected: [&[(f32, f32)]; 6] = [
            &[(0.0, 10.0)],
            &[(0.0, 20.0)],
            &[(0.0, 30.0)],
            &[(1.0, 30.0)],
            &[(1.0, 0.0), (2.0, 30.0)],
            &[(1.0, 0.0), (2.0, 0.0), (3.0, 30.0)],
        ];
        assert_eq!(found, expected);
    });
}

/// What is absorbed, and in which order, does not depend on k, batch by batch delayed as it is.
#[test]
fn nothing_is_lost_at_any_k() {
    let mut state = 12_345u32;
    let mut draw = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    // Few nodes that are active all the time, and some that hardly are.
    let pairs: Vec<(u32, u32)> = (0..150)
        .map(|_| (draw(3), 3 + draw(5).max(draw(5))))
        .collect();
    let stream = Stream::of(&pairs);
    on_device(move |device| {
        for time_delta in [TimeDelta::Message, TimeDelta::Query] {
            let mut fresh = on_host(rule(time_delta, 1, false), device);
            let (_, expected) = stream.run(&mut *fresh, (4, 1), time_delta, device);
            for k in 1..7 {
                for place in [on_host, in_device] {
                    let mut memory = place(rule(time_delta, k, true), device);
                    let (_, found) = stream.run(&mut *memory, (4, k), time_delta, device);
                    assert_eq!(found, expected, "k = {k}, {time_delta:?}");
                }
                let mut none = on_host(rule(time_delta, 1, false), device);
                let (_, lossy) = stream.run(&mut *none, (4, k), time_delta, device);
                assert_eq!(
                    lossy == expected,
                    k == 1,
                    "k = {k}: mail is lost without it"
                );
            }
        }
    });
}

fn caught_up(model: &str, options: &str) -> Outcome {
    train(model, SHORT, &format!("{options} --mitigation catch-up"))
}

#[test]
fn without_staleness_the_bits_are_those_of_none() {
    for model in MODELS.into_iter().filter(|model| *model != "apan") {
        for options in [
            "--schedule sequential --memory device",
            "--schedule prefetch --memory host",
            "--schedule exact-overlap --memory host",
        ] {
            let none = train(model, SHORT, options);
            caught_up(model, options).must_equal(&none, &format!("{model} {options}"));
        }
    }
}

#[test]
fn a_run_loses_no_mail_and_is_the_same_wherever_memory_lies() {
    for model in MODELS.into_iter().filter(|model| *model != "apan") {
        let reference = same_wherever_memory_lies(model, caught_up);
        let none = train(model, SHORT, "--schedule staleness:3 --memory host");
        assert_ne!(none.losses, reference.losses, "{model}");
        let lost = |outcome: &Outcome| -> u64 {
            let lines = outcome.ledger.iter();
            lines
                .map(|line| line.stale_memory.as_ref().unwrap().mail_lost)
                .sum()
        };
        assert!(lost(&none) > 0 && lost(&reference) == 0, "{model}");
        let steps = |outcome: &Outcome| -> u64 {
            let lines = outcome.ledger.iter();
            lines.map(|line| line.updater_rows.unwrap()).sum()
        };
        assert!(steps(&reference) > steps(&none), "{model}");
    }
}
