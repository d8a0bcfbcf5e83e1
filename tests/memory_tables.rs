//! memory_gather, memory_update and mail_update against a plain model: a map from node to
//! its rows.
//!
//! Both test binaries run this file, each on its own device. Rows are copied, and means are
//! taken in the same order, so everything must be equal bit for bit.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};
use bytemuck::cast_slice;
use mspipe::batch::{LastWriter, Mail, MailList};
use mspipe::graph::NodeId;
use mspipe::kernels::mail_update::{MailLists, MailWatch, mail_update};
use mspipe::kernels::memory_gather::memory_gather;
use mspipe::kernels::memory_update::memory_update;

use crate::on_device;
use crate::operations::{draws, floats, ints, numbers};

/// Drawn ones.
#[cfg(test)]
mod stories;

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
    /// Nodes are distinct.
    last_writers: Vec<LastWriter>,
    /// Nodes, which are distinct, and their mail.
    mail: Vec<(i32, Vec<Mail>)>,
    /// Nodes that are read afterwards.
    read: Vec<i32>,
    /// Whether somebody else holds handles of the tables meanwhile.
    shared: bool,
    seed: u32,
}

/// Rows of `hidden` and of the event table in every update.
const HIDDEN_ROWS: usize = 9;
const EVENT_ROWS: usize = 7;

fn writer((node, row): (i32, i32)) -> LastWriter {
    LastWriter {
        node: NodeId(node as u32),
        row,
    }
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

fn lists(mail: &[(i32, Vec<Mail>)], device: &Device) -> MailLists {
    let place: Vec<i32> = mail.iter().map(|(node, _)| *node).collect();
    let (mut offsets, mut all) = (vec![0], Vec::new());
    for (_, list) in mail {
        all.extend(list);
        offsets.push(all.len() as i32);
    }
    MailLists::new(&MailList::of(&place, &offsets), &all, device)
}

impl Update {
    /// Memory rows and edge features that it writes.
    fn written(&self, story: &Story) -> (Vec<f32>, Vec<f32>) {
        let hidden = draws(self.seed, HIDDEN_ROWS * story.width);
        let features = draws(self.seed.wrapping_add(1), EVENT_ROWS * story.edge);
        (hidden, features)
    }

    /// Writes it into the tables of a device.
    fn to_tables(
        &self,
        story: &Story,
        (memory, mailbox): (Tensor<2>, Tensor<2>),
        device: &Device,
    ) -> (Tensor<2>, Tensor<2>) {
        let (hidden, features) = self.written(story);
        let hidden = floats(&hidden, [HIDDEN_ROWS, story.width], device);
        let features = floats(&features, [EVENT_ROWS, story.edge], device);
        let last_writers = &self.last_writers;
        let last_writer = ints(cast_slice(last_writers), [last_writers.len(), 2], device);
        let memory = memory_update(memory, hidden.clone(), last_writer);
        let watch = MailWatch {
            first: floats(&[0.0; 2], [2], device),
            commit: 1,
        };
        let lists = lists(&self.mail, device);
        let (mailbox, watched) = mail_update(mailbox, hidden, features, lists, watch);
        assert_eq!(numbers(watched.first), [0.0; 2], "all is finite");
        (memory, mailbox)
    }

    /// Writes it into the map.
    fn to_map(&self, story: &Story, map: &mut HashMap<i32, Rows>) {
        let (hidden, features) = self.written(story);
        for &LastWriter { node, row: own } in &self.last_writers {
            let own = row(&hidden, own, story.width);
            map.entry(node.0 as i32)
                .and_modify(|rows| rows.memory = own);
        }
        for (node, list) in &self.mail {
            let contents = list.iter().map(|mail| {
                let parts = [
                    row(&hidden, mail.own, story.width),
                    row(&hidden, mail.peer, story.width),
                    row(&features, mail.event, story.edge),
                ];
                parts.concat()
            });
            let sum = contents
                .reduce(|sum, mail| sum.iter().zip(&mail).map(|(a, b)| a + b).collect())
                .unwrap();
            let share = 1.0 / list.len() as f32;
            let mean = sum.iter().map(|value| value * share).collect();
            map.entry(*node).and_modify(|rows| rows.mail = mean);
        }
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
    let wanted = |map: &HashMap<i32, Rows>, nodes: &[i32], part: Part| -> Vec<f32> {
        let rows = nodes.iter().flat_map(|node| part(&map[node]).clone());
        rows.collect()
    };
    let mut memory = floats(&vec![-1.0; nodes * width], [nodes, width], device);
    let mut mailbox = floats(&vec![-2.0; nodes * mail], [nodes, mail], device);
    for update in &story.updates {
        let before = (numbers(memory.clone()), numbers(mailbox.clone()));
        let others = update.shared.then(|| (memory.clone(), mailbox.clone()));
        (memory, mailbox) = update.to_tables(story, (memory, mailbox), device);
        update.to_map(story, &mut map);
        if let Some((memory, mailbox)) = others {
            let now = (numbers(memory), numbers(mailbox));
            assert!(now == before, "a handle held by somebody else changed");
        }

        let read = ints(&update.read, [update.read.len()], device);
        let rows = memory_gather(memory.clone(), mailbox.clone(), read);
        assert_eq!(rows.0.dims(), [update.read.len(), width]);
        assert_eq!(rows.1.dims(), [update.read.len(), mail]);
        let of_read = |part: Part| wanted(&map, &update.read, part);
        let (memory_read, mail_read) = (numbers(rows.0), numbers(rows.1));
        assert_eq!(memory_read, of_read(|rows| &rows.memory), "memory read");
        assert_eq!(mail_read, of_read(|rows| &rows.mail), "mail read");
    }
    let nodes: Vec<i32> = (0..nodes as i32).collect();
    let all = |part: Part| wanted(&map, &nodes, part);
    assert_eq!(numbers(memory), all(|rows| &rows.memory), "all memory");
    assert_eq!(numbers(mailbox), all(|rows| &rows.mail), "all mail");
}

/// The widths of Wikipedia, every node updated and read.
#[cfg_attr(test, test)]
pub(crate) fn a_whole_table_agrees_with_a_map() {
    on_device(|device| {
        let last_writers = (0..300).map(|node| writer((299 - node, node % 9)));
        let mail = (0..300).map(|node| {
            let mail = Mail {
                own: node % 9,
                peer: (node + 4) % 9,
                event: node % 7,
            };
            (299 - node, vec![mail])
        });
        let update = Update {
            last_writers: last_writers.collect(),
            mail: mail.collect(),
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
