//! Drawn sequences of write-backs; one that fails is made smaller.

use mspipe::batch::Mail;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{EVENT_ROWS, HIDDEN_ROWS, Story, Update, agrees_with_a_map, writer};
use crate::on_device;

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
    let mail = mail.prop_map(|(own, peer, event)| Mail { own, peer, event });
    let list = prop::collection::vec(mail, 1..5);
    let mail = prop::collection::hash_map(node.clone(), list, 0..=nodes);
    let read = prop::collection::vec(node, 0..100);
    let drawn = (last_writers, mail, read, any::<bool>(), any::<u32>());
    drawn.prop_map(|(last_writers, mail, read, shared, seed)| Update {
        last_writers: last_writers.into_iter().map(writer).collect(),
        mail: mail.into_iter().collect(),
        read,
        shared,
        seed,
    })
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
