//! `--mitigation pres`: rows are drawn towards what the past predicts, by hand and in runs, wherever
//! memory lies.

use burn::tensor::{Device, Tensor};
use mspipe::batch::{
    EventBatch, Layout, LayoutRule, MailAggregation, MailOrder, MailRule, MfgScratch, TimeDelta,
};
use mspipe::graph::{EventId, NodeId, Queries, Timestamp};
use mspipe::memory::device::DeviceMemory;
use mspipe::memory::host::HostMemory;
use mspipe::memory::node_times::{NodeTimes, NodeTimesRule};
use mspipe::memory::{MemoryCommit, MemoryRequest, MemoryStore, MemoryWrite};
use mspipe::model::ModelInput;
use mspipe::model::pres::Pres;
use mspipe::sampling::Neighbors;
use mspipe::session::Session;
use mspipe::train::upload;

use crate::on_device;
use crate::operations::{draws, floats, numbers, projection};
use crate::schedules::{MODELS, Outcome, SHORT, config, same_wherever_memory_lies, train};

const NODES: usize = 3;
const WIDTH: usize = 2;

/// γ to begin with, and β.
const KEEP: f32 = 0.75;
const COHERENCE: f64 = 0.1;

/// Events, each a batch of its own: source, destination, time.
const EVENTS: [(u32, u32, Timestamp); 5] =
    [(0, 1, 10), (0, 1, 30), (0, 1, 60), (1, 0, 70), (0, 1, 100)];

/// What the updater makes of the row of node 0 in each event; that of node 1 is its negative. It does
/// not run in the first, in which nobody has mail.
const UPDATED: [[f32; WIDTH]; 5] = [[0.0; 2], [4.0, -2.0], [8.0, 2.0], [0.0; 2], [1.0; 2]];

/// Empty memory on the host and on the device.
fn memories(device: &Device) -> [Box<dyn MemoryStore>; 2] {
    let times = NodeTimes::new(
        NODES,
        NodeTimesRule {
            time_delta: TimeDelta::Message,
            write: MemoryWrite::Event,
            mail_slots: 1,
            catch_up: false,
            ticks_per_unit: 1,
            origin: 0,
            first: 0,
        },
    );
    let on_host = HostMemory::new(NODES, WIDTH, 2 * WIDTH + 1, times.clone(), None, device);
    let in_device = DeviceMemory::new(NODES, WIDTH, 2 * WIDTH + 1, times, device);
    [
        Box::new(on_host.with_trends(true)),
        Box::new(in_device.with_trends(true)),
    ]
}

fn layout(event: usize) -> (Layout, Vec<NodeId>, Vec<Timestamp>) {
    let rule = LayoutRule {
        layers: 0,
        time_delta: TimeDelta::Message,
        mail_rule: MailRule {
            aggregation: MailAggregation::Last,
            order: MailOrder::Event,
            to_neighbors: false,
        },
        attends_to_mail: false,
        ticks_per_unit: 1,
    };
    let src: Vec<NodeId> = EVENTS.iter().map(|(src, ..)| NodeId(*src)).collect();
    let dst: Vec<NodeId> = EVENTS.iter().map(|(_, dst, _)| NodeId(*dst)).collect();
    let time: Vec<Timestamp> = EVENTS.iter().map(|(.., time)| *time).collect();
    let batch = EventBatch::cut(event..event + 1, &src, &dst, &time, vec![NodeId(2)]);
    let none = |roots: Queries<'_>, _| Neighbors::none(roots.node.len());
    let layout = Layout::build(&batch, &rule, none, &mut MfgScratch::new(NODES));
    let roots = batch.roots();
    (layout, roots.node, roots.time)
}

/// What training reads of an event, and what is to be written of it with the rows `memory`.
fn read(memory: &dyn MemoryStore, event: usize, device: &Device) -> (ModelInput, MemoryCommit) {
    let (layout, node, time) = layout(event);
    let roots = Queries {
        node: &node,
        time: &time,
    };
    let request = MemoryRequest::of(&layout, roots).training_from(EventId(event as u32));
    let fetched = memory.fetch(request);
    let edge = floats(&[0.5], [1, 1], device);
    let training = device.clone().autodiff();
    let input = upload::model_input(
        &layout,
        &fetched,
        std::slice::from_ref(&edge),
        None,
        &training,
    );
    let commit = MemoryCommit {
        memory: fetched.memory,
        changes: None,
        edge,
        last_writers: layout.last_writers,
        mail_routing: layout.mail_routing,
        times: fetched.times,
    };
    (input, commit)
}

/// The updater's rows of nodes 0, 1 and 2.
fn updated(event: usize, device: &Device) -> Tensor<2> {
    let [a, b] = UPDATED[event];
    floats(&[a, b, -a, -b, 0.0, 0.0], [3, WIDTH], device)
}

/// Has `memory` follow the events before `end`; returns rows, what the loss gained and the changes of
/// each event in which the updater ran.
fn follow(
    memory: &mut dyn MemoryStore,
    pres: &Pres,
    end: usize,
    device: &Device,
) -> Vec<(Vec<f32>, f32, Vec<f32>)> {
    let mut story = Vec::new();
    for event in 0..end {
        let (input, commit) = read(memory, event, device);
        let Some(trends) = &input.trends else {
            assert_eq!(event, 0, "nobody has mail in the first event alone");
            memory.commit(commit).unwrap();
            continue;
        };
        let rows = Tensor::from_inner(updated(event, device));
        let smoothed = pres.smooth(rows, &input.memory, trends);
        let rows = smoothed.memory.inner();
        let gained = numbers(smoothed.incoherence.unwrap().inner())[0];
        let changes = smoothed.changes;
        story.push((numbers(rows.clone()), gained, numbers(changes.clone())));
        memory
            .commit(MemoryCommit {
                memory: rows,
                changes: Some(changes),
                ..commit
            })
            .unwrap();
    }
    story
}

fn near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found}, {expected}");
    }
}

#[test]
fn rows_are_drawn_towards_what_their_past_predicts_by_hand() {
    on_device(move |device| {
        let pres = Pres::new(KEEP, COHERENCE, &device.clone().autodiff());
        for mut memory in memories(device) {
            let story = follow(&mut *memory, &pres, EVENTS.len(), device);
            // Node 0. Of the second event: its mail is 10 ticks old, and nothing is known. Of the third,
            // 20 ticks later: predicted are (4, -2) + 20 (0.4, -0.2) = (12, -6). In the fourth it is a
            // destination for the first time. In the fifth its two changes as a source have the mean
            // (0.325, -0.05), and predicted are 10 times that.
            let rows = [[4.0, -2.0], [9.0, 0.0], [0.0, 0.0], [1.5625, 0.625]];
            let changes = [[0.4, -0.2], [0.25, 0.1], [-0.3, 0.0], [0.15625, 0.0625]];
            // Only the third and the fourth have rows that were not 0 before: the cosine of (9, 0)
            // and (4, -2), and that of nothing.
            let gained = [0.0, 0.1 * (1.0 - 36.0 / (9.0 * 20.0f32.sqrt())), 0.1, 0.0];
            assert_eq!(story.len(), rows.len());
            for (nth, (found, gain, change)) in story.iter().enumerate() {
                let [a, b] = rows[nth];
                near(found, &[a, b, -a, -b, 0.0, 0.0]);
                near(&[*gain], &[gained[nth]]);
                let [a, b] = changes[nth];
                near(change, &[a, b, -a, -b]);
            }
        }
    });
}

#[test]
fn an_evaluation_neither_reads_nor_writes_trends() {
    on_device(move |device| {
        let pres = Pres::new(KEEP, COHERENCE, &device.clone().autodiff());
        for mut memory in memories(device) {
            follow(&mut *memory, &pres, 3, device);
            let (layout, node, time) = layout(3);
            let roots = Queries {
                node: &node,
                time: &time,
            };
            let fetched = memory.fetch(MemoryRequest::of(&layout, roots));
            assert!(fetched.trends.is_none());
            memory
                .commit(MemoryCommit {
                    memory: updated(3, device),
                    changes: None,
                    edge: floats(&[0.5], [1, 1], device),
                    last_writers: layout.last_writers,
                    mail_routing: layout.mail_routing,
                    times: fetched.times,
                })
                .unwrap();
            let (_, commit) = read(&*memory, 4, device);
            assert_eq!(commit.times.trends.count, [2, 2]);
            // Nobody has been a source and a destination in turn.
            let (_, commit) = read(&*memory, 3, device);
            assert_eq!(commit.times.trends.count, [0, 0]);
            memory.reset();
            let (input, _) = read(&*memory, 4, device);
            assert!(input.trends.is_none());
        }
    });
}

/// Of the gate, and of the coherence term and the rows.
#[test]
fn gradients_are_finite_differences() {
    const STEP: f32 = 1e-2;
    on_device(move |device| {
        let training = device.clone().autodiff();
        let [mut memory, _] = memories(device);
        follow(
            &mut *memory,
            &Pres::new(KEEP, COHERENCE, &training),
            3,
            device,
        );
        // Nodes 0 and 1 have changed twice each as what they are in the third event, whose rows were
        // not 0 before.
        let (input, _) = read(&*memory, 2, device);
        let trends = input.trends.unwrap();
        let weights = floats(&projection(3 * WIDTH), [3, WIDTH], device);
        let loss = |pres: &Pres, rows: Tensor<2>| -> Tensor<1> {
            let smoothed = pres.smooth(rows, &input.memory, &trends);
            let projected = smoothed.memory * Tensor::from_inner(weights.clone());
            // The coherence term is small beside it otherwise.
            projected.sum() + smoothed.incoherence.unwrap() * 50.0
        };
        let pres = Pres::new(KEEP, COHERENCE, &training);
        let at = draws(7, 3 * WIDTH);
        let leaf =
            |values: &[f32]| Tensor::from_inner(floats(values, [3, WIDTH], device)).require_grad();
        let rows = leaf(&at);
        let gradients = loss(&pres, rows.clone()).backward();
        let of_gate = pres.gate.val().grad(&gradients).unwrap();
        let of_gate = numbers(of_gate)[0];
        let of_rows = numbers(rows.grad(&gradients).unwrap());
        let value =
            |pres: &Pres, values: &[f32]| -> f32 { numbers(loss(pres, leaf(values)).inner())[0] };
        let gate = (KEEP / (1.0 - KEEP)).ln();
        let moved = |by: f32| {
            let keep = 1.0 / (1.0 + (-(gate + by)).exp());
            value(&Pres::new(keep, COHERENCE, &training), &at)
        };
        let check = |what: &str, gradient: f32, quotient: f32| {
            let error = (gradient - quotient).abs() / gradient.abs().max(1.0);
            assert!(error < 2e-3, "{what}: {gradient}, {quotient}");
        };
        assert!(of_gate.abs() > 0.01);
        check("gate", of_gate, (moved(STEP) - moved(-STEP)) / (2.0 * STEP));
        for place in 0..at.len() {
            let shifted = |by: f32| {
                let mut values = at.clone();
                values[place] += by;
                value(&pres, &values)
            };
            let quotient = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
            check(&format!("row {place}"), of_rows[place], quotient);
        }
    });
}

fn smoothed(model: &str, options: &str) -> Outcome {
    train(model, SHORT, &format!("{options} --mitigation pres"))
}

#[test]
fn without_prediction_and_coherence_the_bits_are_those_of_none() {
    let stale = "--schedule staleness:3 --memory host";
    let mut cases = MODELS.map(|model| (model, stale)).to_vec();
    // What differs between schedules and places does so for every model.
    cases.push(("tgn", "--schedule sequential --memory device"));
    cases.push(("jodie", "--schedule exact-overlap --memory host"));
    for (model, options) in cases {
        let none = train(model, SHORT, options);
        let idle = format!("{options} --mitigation-keep 1 --coherence 0");
        smoothed(model, &idle).must_equal(&none, &format!("{model} {options}"));
        if options == stale {
            let acting = smoothed(model, options);
            assert_ne!(acting.losses, none.losses, "{model} {options}");
            assert!(acting.memory != none.memory, "{model} {options}");
        }
    }
}

#[test]
fn a_run_is_the_same_wherever_memory_lies() {
    for model in MODELS {
        same_wherever_memory_lies(model, smoothed);
    }
}

#[test]
fn rows_that_are_written_when_they_are_read_are_refused() {
    let config = config("tgn", SHORT, "--mitigation pres --memory-write read");
    let refused = Session::open(config).err().unwrap().to_string();
    assert!(
        refused.contains("pres with --memory-write read"),
        "{refused}"
    );
}
