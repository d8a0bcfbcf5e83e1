//! memory_gather, memory_update and mail_update against a plain model: a map from node to
//! its rows.
//!
//! Both test binaries run this file, each on its own device. Rows are copied, and means are
//! taken in the same order, so everything must be equal bit for bit.

use std::collections::HashMap;

use burn::tensor::Device;
use mspipe::kernels::mail_update::{MailLists, MailWatch, mail_update};
use mspipe::kernels::memory_gather::memory_gather;
use mspipe::kernels::memory_update::memory_update;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::on_device;
use crate::operations::{draws, floats, ints, numbers};

/// A sequence of write-backs on tables of `nodes` rows.
#[derive(Debug, Clone)]
struct Story {
    nodes: usize,
    width: usize,
    edge: usize,
    updates: Vec<Update>,
}

#[derive(Debug, Clone)]
struct Update {
    /// (node, row), nodes distinct.
    last_writers: Vec<[i32; 2]>,
    /// (node, its mails' (row, peer's row, event row)), nodes distinct.
    mails: Vec<(i32, Vec<[i32; 3]>)>,
    /// Nodes that are read afterwards.
    read: Vec<i32>,
    /// Whether somebody else holds handles of the tables meanwhile.
    shared: bool,
    seed: u32,
}

/// Rows of `hidden` and of the event table in every update.
const HIDDEN_ROWS: usize = 9;
const EVENT_ROWS: usize = 7;

fn stories() -> impl Strategy<Value = Story> {
    // Few widths, because each needs a shader of its own.
    let sizes = (1..150usize, prop::sample::select(vec![(1, 0), (3, 2)]));
    sizes.prop_flat_map(|(nodes, (width, edge))| {
        let updates = prop::collection::vec(updates(nodes), 1..4);
        updates.prop_map(move |updates| Story {
            nodes,
            width,
            edge,
            updates,
        })
    })
}

fn updates(nodes: usize) -> impl Strategy<Value = Update> {
    let row = 0..HIDDEN_ROWS as i32;
    let node = 0..nodes as i32;
    let last_writers = prop::collection::hash_map(node.clone(), row.clone(), 0..=nodes);
    let mail = (row.clone(), row, 0..EVENT_ROWS as i32);
    let list = prop::collection::vec(mail, 1..5);
    let mails = prop::collection::hash_map(node.clone(), list, 0..=nodes);
    let read = prop::collection::vec(node, 0..100);
    let drawn = (last_writers, mails, read, any::<bool>(), any::<u32>());
    drawn.prop_map(|(last_writers, mails, read, shared, seed)| {
        let sources = |list: Vec<(i32, i32, i32)>| list.into_iter().map(|(a, b, c)| [a, b, c]);
        Update {
            last_writers: last_writers
                .into_iter()
                .map(|(node, row)| [node, row])
                .collect(),
            mails: mails
                .into_iter()
                .map(|(node, list)| (node, sources(list).collect()))
                .collect(),
            read,
            shared,
            seed,
        }
    })
}

/// What the model holds for a node.
struct Rows {
    memory: Vec<f32>,
    mail: Vec<f32>,
}

type Part = fn(&Rows) -> &Vec<f32>;

fn row(table: &[f32], row: i32, width: usize) -> Vec<f32> {
    table[row as usize * width..][..width].to_vec()
}

fn lists(mails: &[(i32, Vec<[i32; 3]>)], device: &Device) -> MailLists {
    let place: Vec<i32> = mails.iter().map(|(node, _)| *node).collect();
    let mut offsets = vec![0];
    let mut all: Vec<i32> = Vec::new();
    for (_, list) in mails {
        all.extend(list.as_flattened());
        offsets.push(all.len() as i32 / 3);
    }
    MailLists {
        place: ints(&place, [place.len()], device),
        offsets: ints(&offsets, [offsets.len()], device),
        mails: ints(&all, [all.len() / 3, 3], device),
    }
}

/// Plays the story on `device` and, beside it, on a map from node to its two rows.
fn agrees_with_a_map(story: &Story, device: &Device) {
    let &Story {
        nodes, width, edge, ..
    } = story;
    let mail = 2 * width + edge;
    let mut map: HashMap<i32, Rows> = (0..nodes as i32)
        .map(|node| {
            let (memory, mail) = (vec![-1.0; width], vec![-2.0; mail]);
            (node, Rows { memory, mail })
        })
        .collect();
    let mut memory = floats(&vec![-1.0; nodes * width], [nodes, width], device);
    let mut mailbox = floats(&vec![-2.0; nodes * mail], [nodes, mail], device);
    for update in &story.updates {
        let hidden = draws(update.seed, HIDDEN_ROWS * width);
        let features = draws(update.seed.wrapping_add(1), EVENT_ROWS * edge);
        let before = (numbers(memory.clone()), numbers(mailbox.clone()));
        let others = update.shared.then(|| (memory.clone(), mailbox.clone()));
        let last_writer = ints(
            update.last_writers.as_flattened(),
            [update.last_writers.len(), 2],
            device,
        );
        let hidden_rows = floats(&hidden, [HIDDEN_ROWS, width], device);
        memory = memory_update(memory, hidden_rows.clone(), last_writer);
        let watch = MailWatch {
            first: floats(&[0.0; 2], [2], device),
            commit: 1,
        };
        let watched;
        (mailbox, watched) = mail_update(
            mailbox,
            hidden_rows,
            floats(&features, [EVENT_ROWS, edge], device),
            lists(&update.mails, device),
            watch,
        );
        assert_eq!(numbers(watched.first), [0.0; 2], "all is finite");
        for &[node, own] in &update.last_writers {
            let own = row(&hidden, own, width);
            map.entry(node).and_modify(|rows| rows.memory = own);
        }
        for (node, list) in &update.mails {
            let contents = list.iter().map(|&[own, peer, event]| {
                let parts = [
                    row(&hidden, own, width),
                    row(&hidden, peer, width),
                    row(&features, event, edge),
                ];
                parts.concat()
            });
            let sum = contents
                .reduce(|sum, mail| sum.iter().zip(&mail).map(|(a, b)| a + b).collect())
                .unwrap();
            let count = list.len() as f32;
            let mean = sum.iter().map(|value| value / count).collect();
            map.entry(*node).and_modify(|rows| rows.mail = mean);
        }
        if let Some((memory, mailbox)) = others {
            let now = (numbers(memory), numbers(mailbox));
            assert!(now == before, "a handle held by somebody else changed");
        }

        let read = ints(&update.read, [update.read.len()], device);
        let rows = memory_gather(memory.clone(), mailbox.clone(), read);
        assert_eq!(rows.0.dims(), [update.read.len(), width]);
        assert_eq!(rows.1.dims(), [update.read.len(), mail]);
        let wanted = |part: Part| -> Vec<f32> {
            update
                .read
                .iter()
                .flat_map(|node| part(&map[node]).clone())
                .collect()
        };
        assert_eq!(
            numbers(rows.0),
            wanted(|rows| &rows.memory),
            "memory rows of the read nodes"
        );
        assert_eq!(
            numbers(rows.1),
            wanted(|rows| &rows.mail),
            "mails of the read nodes"
        );
    }
    let all = |part: Part| -> Vec<f32> {
        (0..nodes as i32)
            .flat_map(|node| part(&map[&node]).clone())
            .collect()
    };
    assert_eq!(
        numbers(memory),
        all(|rows| &rows.memory),
        "memory of all nodes"
    );
    assert_eq!(
        numbers(mailbox),
        all(|rows| &rows.mail),
        "mails of all nodes"
    );
}

#[test]
fn updates_and_reads_agree_with_a_map() {
    on_device(|device| {
        let mut runner = TestRunner::new(Config {
            cases: 64,
            failure_persistence: None,
            ..Config::default()
        });
        let device = device.clone();
        let check = |story| {
            agrees_with_a_map(&story, &device);
            Ok(())
        };
        runner.run(&stories(), check).unwrap();
    });
}

/// The widths of Wikipedia, every node updated and read.
#[test]
fn a_whole_table_agrees_with_a_map() {
    on_device(|device| {
        let last_writers = (0..300).map(|node| [299 - node, node % 9]);
        let mails = (0..300).map(|node| (299 - node, vec![[node % 9, (node + 4) % 9, node % 7]]));
        let update = Update {
            last_writers: last_writers.collect(),
            mails: mails.collect(),
            read: (0..300).rev().collect(),
            shared: false,
            seed: 3,
        };
        let again = Update {
            shared: true,
            seed: 4,
            ..update.clone()
        };
        let updates = vec![update, again];
        let story = Story {
            nodes: 300,
            width: 100,
            edge: 172,
            updates,
        };
        agrees_with_a_map(&story, device);
    });
}
