//! Past events that each root was given, against a count by the definition.
//!
//! The definition is applied to the stream itself, event by event: a root sees the events of its
//! node strictly before its query time (and before its batch, where that is hidden), and is given
//! as many of them as fit.

use std::collections::HashMap;

use super::report::{Check, CheckRecord};
use super::{AuditStream, Sampled, ScoredBatch, Sight};
use crate::graph::NodeId;

/// Times and events of each node's past, oldest first; a self loop counts twice.
type Histories = HashMap<NodeId, Vec<(i64, usize)>>;

/// Checks everything that was sampled.
pub(super) fn of_neighbors(
    batches: &[ScoredBatch],
    stream: &AuditStream,
    sight: Sight,
) -> CheckRecord {
    let mut record = CheckRecord::new(Check::NeighborCounts);
    if batches.iter().all(|batch| batch.sampled.is_empty()) {
        let why = "the model samples no past events";
        return CheckRecord::skipped(Check::NeighborCounts, why);
    }
    let mut histories = Histories::new();
    for (event, (&src, &dst)) in stream.src.iter().zip(&stream.dst).enumerate() {
        let past = (stream.time[event], event);
        histories.entry(src).or_default().push(past);
        if sight.both_directions {
            histories.entry(dst).or_default().push(past);
        }
    }
    for batch in batches {
        for sampled in &batch.sampled {
            check(&mut record, batch, sampled, &histories, sight);
        }
    }
    record
}

fn check(
    record: &mut CheckRecord,
    batch: &ScoredBatch,
    sampled: &Sampled,
    histories: &Histories,
    sight: Sight,
) {
    let neighbors = &sampled.neighbors;
    let mut lists: HashMap<(NodeId, i64), u32> = HashMap::new();
    for (root, (&node, &time)) in sampled.node.iter().zip(&sampled.time).enumerate() {
        record.compared += 1;
        let own = histories.get(&node).map_or(&[][..], Vec::as_slice);
        let visible = |&&(at, event): &&(i64, usize)| {
            at < time && (!sight.hide_batch || event < batch.events.start)
        };
        let (there, given) = (own.iter().filter(visible).count(), neighbors.len[root]);
        let expected = there.min(sight.fanout);
        let (event, role) = place(root, sampled, batch);
        let who = || format!("{role} (node {}, time {time})", node.0);
        if given as usize != expected {
            record.add(event, || {
                format!(
                    "{} was given {given} past events; it has {there} and may be given {expected}",
                    who()
                )
            });
        }
        let first = root * neighbors.fanout;
        for slot in first..first + given as usize {
            let (past, at) = (neighbors.event[slot], neighbors.time[slot]);
            if !own
                .iter()
                .filter(visible)
                .any(|&(_, event)| event == past.index())
            {
                record.add(event, || {
                    format!(
                        "{} was given event {} of time {at}, which it must not see",
                        who(),
                        past.0
                    )
                });
            }
        }
        let before = *lists.entry((node, time)).or_insert(given);
        if before != given {
            record.add(event, || {
                format!(
                    "{} occurs in its batch with {before} and with {given} past events",
                    who()
                )
            });
        }
    }
}

/// The event that a root belongs to, and what it is there.
fn place(root: usize, sampled: &Sampled, batch: &ScoredBatch) -> (Option<usize>, &'static str) {
    let (first, events) = (batch.events.start, batch.events.len());
    // Calls for the batch itself are keyed by its first event.
    let own = sampled.event == first as u64;
    let roles = ["its source", "its destination", "its negative"];
    match sampled.node.len() / events.max(1) {
        3 if own && sampled.request == 0 => (Some(first + root % events), roles[root / events]),
        2 if own => (Some(first + root % events), roles[root / events]),
        _ if own => (None, "a past event's node"),
        _ => (None, "a candidate or its source"),
    }
}
