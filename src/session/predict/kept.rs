//! Which events' features sampling can still ask for, so that no others need be kept.
//!
//! A query after the last event samples at most `fanout` events of a node, the newest before it. With
//! more layers each event's other end is asked for its own past before that event, and so on. Uniform
//! sampling may ask for any event. A model without layers asks for none.

use crate::config::SamplerName;
use crate::graph::{EventId, NodeId, Tcsr, Timestamp};

/// Of the first `events` events of a graph of `nodes` nodes those, ascending, whose features queries at
/// `last` or later may need.
pub(super) fn needed(
    graph: &Tcsr,
    sampler: SamplerName,
    [layers, fanout]: [usize; 2],
    [nodes, events]: [usize; 2],
    last: Timestamp,
) -> Vec<u32> {
    if layers == 0 {
        return Vec::new();
    }
    if sampler == SamplerName::Uniform {
        return (0..events as u32).collect();
    }
    let mut needed = vec![false; events];
    let mut queries: Vec<(NodeId, Timestamp)> = Vec::new();
    for node in (0..nodes as u32).map(NodeId) {
        // Events at the very time of a query are not in its past, and are in that of a later one.
        let before = graph.past(node, last, None);
        let all = graph.past(node, Timestamp::MAX, None);
        let first = before.end - before.len().min(fanout);
        let seen = graph.slice(first..all.end);
        for (place, event) in seen.event.iter().enumerate() {
            mark(&mut needed, *event);
            queries.push((seen.neighbor[place], seen.time[place]));
        }
    }
    for _ in 1..layers {
        queries.sort_unstable();
        queries.dedup();
        let mut deeper = Vec::new();
        for (node, time) in queries {
            let past = graph.past(node, time, None);
            let first = past.end - past.len().min(fanout);
            let seen = graph.slice(first..past.end);
            for (place, event) in seen.event.iter().enumerate() {
                mark(&mut needed, *event);
                deeper.push((seen.neighbor[place], seen.time[place]));
            }
        }
        queries = deeper;
    }
    let events = (0..).zip(needed);
    events
        .filter(|(_, is)| *is)
        .map(|(event, _)| event)
        .collect()
}

/// Marks an event, if it is among those that are asked about.
fn mark(needed: &mut [bool], event: EventId) {
    if let Some(needed) = needed.get_mut(event.index()) {
        *needed = true;
    }
}
