//! Streams for tests: written by hand as `"0>4@10 1>4@20"` (source > destination @ time), or random.

use proptest::prelude::*;

use crate::graph::{Directions, NodeId, Tcsr, Timestamp};

/// The columns of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) src: Vec<NodeId>,
    pub(crate) dst: Vec<NodeId>,
    pub(crate) time: Vec<Timestamp>,
}

impl Stream {
    fn of(events: impl IntoIterator<Item = (u32, u32, Timestamp)>) -> Stream {
        let mut stream = Stream {
            src: vec![],
            dst: vec![],
            time: vec![],
        };
        for (src, dst, time) in events {
            stream.src.push(NodeId(src));
            stream.dst.push(NodeId(dst));
            stream.time.push(time);
        }
        stream
    }

    /// Reads `"src>dst@time ..."`.
    pub(crate) fn drawn(text: &str) -> Stream {
        Stream::of(text.split_whitespace().map(|event| {
            let (nodes, time) = event.split_once('@').unwrap();
            let (src, dst) = nodes.split_once('>').unwrap();
            (
                src.parse().unwrap(),
                dst.parse().unwrap(),
                time.parse().unwrap(),
            )
        }))
    }

    pub(crate) fn graph(&self, nodes: usize, directions: Directions) -> Tcsr {
        Tcsr::build(nodes, &self.src, &self.dst, &self.time, directions).unwrap()
    }

    /// The definition of a node's past, by a scan of the stream: (other endpoint, event, time),
    /// oldest first.
    pub(crate) fn past(
        &self,
        node: NodeId,
        before: Timestamp,
        hidden_from: Option<u32>,
        both: bool,
    ) -> Vec<(u32, u32, Timestamp)> {
        let mut past = Vec::new();
        for event in 0..self.time.len() {
            let (src, dst, time) = (self.src[event], self.dst[event], self.time[event]);
            let id = event as u32;
            if time < before && hidden_from.is_none_or(|hidden| id < hidden) {
                if src == node {
                    past.push((dst.0, id, time));
                }
                if both && dst == node {
                    past.push((src.0, id, time));
                }
            }
        }
        past
    }
}

/// Random (number of nodes, stream) with self loops, repeated pairs and many equal times (0..12).
pub(crate) fn streams(nodes: usize, events: usize) -> impl Strategy<Value = (usize, Stream)> {
    (1..=nodes).prop_flat_map(move |nodes| {
        let node = 0..nodes as u32;
        prop::collection::vec((node.clone(), node, 0..12i64), 0..events).prop_map(
            move |mut events| {
                events.sort_by_key(|&(_, _, time)| time);
                (nodes, Stream::of(events))
            },
        )
    })
}
