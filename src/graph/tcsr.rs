//! T-CSR: for every node the events it took part in, oldest first.
//!
//! Invariants: a node's entries are in event order, so event ids and times both ascend; lookups are
//! strict (`t_event < t_query`), so an event never sees itself or another event of its own time; a
//! node's first event is returned like any other. The result of [`Tcsr::build`] does not depend on
//! the number of threads.
//!
//! The graph holds the whole stream, and the past is cut by time at the query. That costs one search
//! per query and makes every query independent of all others, unlike the moving pointers of TGL's
//! sampler, which lose neighbours of nodes that repeat within a batch.
//!
//! A stream that is followed grows ([`Tcsr::append`]): a node's entries then move to where there is
//! room for twice as many, so an event costs a bounded number of copies on average and lookups stay
//! what they are. Entries that no query reaches any more are let go of ([`Tcsr::keep`]), and the room
//! that they leave is used again, so that the graph grows with the nodes and not with the events.
//!
//! Source: TGL (Zhou et al., VLDB 2022), section 3.1; the fields are its `indptr`, `indices`,
//! `eid` and `ts`.

mod newer;
mod rooms;

use std::ops::Range;

use rayon::prelude::*;
use thiserror::Error;

use self::rooms::{Newer, Row};
pub(crate) use self::rooms::{NewerEntries, Places};
use crate::graph::csr::Offset;
use crate::graph::{Directions, EventId, NodeId, Timestamp};

/// Why a stream can't become a graph.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GraphError {
    /// The columns are of different lengths.
    #[error(
        "event stream: {src} sources, {dst} destinations and {time} times; \
         the three columns must be equally long"
    )]
    Lengths {
        /// Length of the source column.
        src: usize,
        /// Length of the destination column.
        dst: usize,
        /// Length of the time column.
        time: usize,
    },
    /// More events than an index of a kernel (i32) can name.
    #[error(
        "event stream: {events} events; at most {} are supported, split the stream",
        i32::MAX
    )]
    TooManyEvents {
        /// Number of events given.
        events: usize,
    },
    /// A node id outside `0..nodes`.
    #[error(
        "event {event}: node {node}, but the graph has {nodes} nodes; \
         ids must be dense from 0 (remap them when reading)"
    )]
    NodeOutOfRange {
        /// First event with such an id.
        event: usize,
        /// The id found.
        node: u32,
        /// Number of nodes of the graph.
        nodes: usize,
    },
    /// Times that go backwards.
    #[error(
        "event {event}: time {time} precedes {previous} of the event before; sort by time first"
    )]
    Unsorted {
        /// First event that is earlier than the one before it.
        event: usize,
        /// Its time, in ticks.
        time: Timestamp,
        /// Time of the event before it, in ticks.
        previous: Timestamp,
    },
    /// A time span that does not fit an i64.
    #[error("event stream: times run from {first} to {last}; the span must fit 63 bits of ticks")]
    TimeSpan {
        /// First time, in ticks.
        first: Timestamp,
        /// Last time, in ticks.
        last: Timestamp,
    },
}

/// The temporal graph; see the module's text. 16 bytes per entry, two entries per event for
/// [`Directions::Both`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcsr {
    /// `[nodes]`: where the entries of each node lie.
    rows: Vec<Row>,
    /// Whose past an event enters.
    directions: Directions,
    /// The other endpoint of each entry.
    neighbor: Vec<NodeId>,
    /// The event of each entry; ascending within a node.
    event: Vec<EventId>,
    /// The event's time; ascending within a node.
    time: Vec<Timestamp>,
    newer: Newer,
}

/// Part of one node's past, oldest first. The three slices have the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History<'a> {
    /// The other endpoint of each event.
    pub neighbor: &'a [NodeId],
    /// Id of each event.
    pub event: &'a [EventId],
    /// Time of each event, in ticks.
    pub time: &'a [Timestamp],
}

impl History<'_> {
    /// Number of events.
    pub(crate) fn len(&self) -> usize {
        self.event.len()
    }
}

impl Tcsr {
    /// Builds the graph of `nodes` nodes from the stream's columns.
    ///
    /// # Errors
    /// Columns of different lengths, times that descend or span more than an i64, an id outside
    /// `0..nodes`, more than `i32::MAX` events.
    pub fn build(
        nodes: usize,
        src: &[NodeId],
        dst: &[NodeId],
        time: &[Timestamp],
        directions: Directions,
    ) -> Result<Tcsr, GraphError> {
        check(nodes, src, dst, time)?;
        let both = directions == Directions::Both;
        let indptr = offsets(&degrees(nodes, src, dst, both));
        let entries = indptr[nodes];
        let row = |bounds: &[usize]| {
            // At most two entries per event, of which there are at most i32::MAX.
            let len = (bounds[1] - bounds[0]) as u32;
            Row {
                start: bounds[0],
                len,
                room: len,
            }
        };
        let mut graph = Tcsr {
            rows: indptr.windows(2).map(row).collect(),
            directions,
            neighbor: vec![NodeId(0); entries],
            event: vec![EventId(0); entries],
            time: vec![0; entries],
            newer: Newer::after(time.len()),
        };

        // Every part owns a range of nodes with about equally many entries and reads the whole
        // stream for them: no two parts write one place, and the order within a node is the
        // stream's, whatever the number of parts. Reading is sequential and cheap beside writing.
        let mut parts = Vec::new();
        let (mut neighbor, mut event, mut ticks) = (
            &mut graph.neighbor[..],
            &mut graph.event[..],
            &mut graph.time[..],
        );
        for nodes in balanced(&indptr, rayon::current_num_threads()) {
            let entries = indptr[nodes.end] - indptr[nodes.start];
            let (a, rest_a) = neighbor.split_at_mut(entries);
            let (b, rest_b) = event.split_at_mut(entries);
            let (c, rest_c) = ticks.split_at_mut(entries);
            (neighbor, event, ticks) = (rest_a, rest_b, rest_c);
            parts.push((nodes, a, b, c));
        }
        let indptr = &indptr;
        parts
            .into_par_iter()
            .for_each(|(nodes, neighbor, event, ticks)| {
                let base = indptr[nodes.start];
                let mut next: Vec<usize> = indptr[nodes.clone()]
                    .iter()
                    .map(|&start| start - base)
                    .collect();
                let mut put = |owner: NodeId, other: NodeId, id: usize| {
                    if nodes.contains(&owner.index()) {
                        let entry = &mut next[owner.index() - nodes.start];
                        neighbor[*entry] = other;
                        event[*entry] = EventId(id as u32);
                        ticks[*entry] = time[id];
                        *entry += 1;
                    }
                };
                for (id, (&s, &d)) in src.iter().zip(dst).enumerate() {
                    put(s, d, id);
                    if both {
                        put(d, s, id);
                    }
                }
            });
        Ok(graph)
    }

    /// Number of entries over all nodes: two per event for [`Directions::Both`], else one.
    pub(crate) fn entries(&self) -> usize {
        self.rows.iter().map(|row| row.len as usize).sum()
    }

    /// Adds nodes without events, until there are `nodes`.
    pub(crate) fn grow(&mut self, nodes: usize) {
        let nodes = nodes.max(self.rows.len());
        self.rows.resize(nodes, Row::default());
    }

    /// Where the past of `node` lies among the entries: its events strictly before `before`, and
    /// before `hidden_from` if that is given (the PyG/TGB rule, where the events of a batch do not
    /// see one another). [`Tcsr::slice`] reads such a range.
    ///
    /// # Panics
    /// If `node` is not a node of the graph.
    #[inline]
    pub(crate) fn past(
        &self,
        node: NodeId,
        before: Timestamp,
        hidden_from: Option<EventId>,
    ) -> Range<usize> {
        let Row { start, len, .. } = self.rows[node.index()];
        let end = start + len as usize;
        let mut len = self.time[start..end].partition_point(|&time| time < before);
        if let Some(hidden) = hidden_from {
            len = self.event[start..start + len].partition_point(|&event| event < hidden);
        }
        start..start + len
    }

    /// The entries of a range, as [`Tcsr::past`] returns it.
    ///
    /// # Panics
    /// If the range is not within `0..entries`.
    #[inline]
    pub(crate) fn slice(&self, entries: Range<usize>) -> History<'_> {
        History {
            neighbor: &self.neighbor[entries.clone()],
            event: &self.event[entries.clone()],
            time: &self.time[entries],
        }
    }
}

/// Refuses what [`Tcsr::build`] can't represent.
fn check(
    nodes: usize,
    src: &[NodeId],
    dst: &[NodeId],
    time: &[Timestamp],
) -> Result<(), GraphError> {
    let events = time.len();
    if src.len() != events || dst.len() != events {
        return Err(GraphError::Lengths {
            src: src.len(),
            dst: dst.len(),
            time: events,
        });
    }
    if events > i32::MAX as usize {
        return Err(GraphError::TooManyEvents { events });
    }
    if let Some(event) = time.windows(2).position(|pair| pair[1] < pair[0]) {
        let (previous, time) = (time[event], time[event + 1]);
        return Err(GraphError::Unsorted {
            event: event + 1,
            time,
            previous,
        });
    }
    if let (Some(&first), Some(&last)) = (time.first(), time.last())
        && last.checked_sub(first).is_none()
    {
        return Err(GraphError::TimeSpan { first, last });
    }
    for (event, (s, d)) in src.iter().zip(dst).enumerate() {
        let node = s.0.max(d.0);
        if node as usize >= nodes {
            return Err(GraphError::NodeOutOfRange { event, node, nodes });
        }
    }
    Ok(())
}

/// Entries of each node, `[nodes]`. Integer sums: the grouping does not matter.
fn degrees(nodes: usize, src: &[NodeId], dst: &[NodeId], both: bool) -> Vec<usize> {
    let chunk = src.len().div_ceil(rayon::current_num_threads()).max(1);
    src.par_chunks(chunk)
        .zip(dst.par_chunks(chunk))
        .map(|(src, dst)| {
            let mut degree = vec![0; nodes];
            src.iter().for_each(|node| degree[node.index()] += 1);
            if both {
                dst.iter().for_each(|node| degree[node.index()] += 1);
            }
            degree
        })
        .reduce(
            || vec![0; nodes],
            |mut sum, part| {
                sum.iter_mut()
                    .zip(part)
                    .for_each(|(sum, part)| *sum += part);
                sum
            },
        )
}

/// Exclusive prefix sums with the total at the end.
pub(crate) fn offsets(counts: &[usize]) -> Vec<usize> {
    let mut total = 0;
    let mut offsets = Vec::with_capacity(counts.len() + 1);
    offsets.push(0);
    for &count in counts {
        total += count;
        offsets.push(total);
    }
    offsets
}

/// Cuts the nodes (or whatever rows have the offsets `indptr`) into at most `parts` ranges with about
/// equally many entries.
pub(crate) fn balanced<O: Offset>(indptr: &[O], parts: usize) -> Vec<Range<usize>> {
    let (nodes, entries) = (indptr.len() - 1, indptr[indptr.len() - 1].place());
    let mut ranges = Vec::with_capacity(parts);
    let mut start = 0;
    for part in 1..=parts {
        let goal = (entries as u128 * part as u128 / parts as u128) as usize;
        let end = if part == parts {
            nodes
        } else {
            indptr
                .partition_point(|&offset| offset.place() < goal)
                .clamp(start, nodes)
        };
        if start < end {
            ranges.push(start..end);
        }
        start = end;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::drawn_streams::Stream;

    /// All events of `node` before `before`.
    fn history(graph: &Tcsr, node: u32, before: Timestamp) -> History<'_> {
        graph.slice(graph.past(NodeId(node), before, None))
    }

    /// ```text
    /// time   1     1     2     3
    ///      0->2  1->2  2->2  0->3      node 4 has no event
    /// ```
    #[test]
    fn entries_are_in_event_order_and_a_self_loop_counts_twice() {
        let stream = Stream::drawn("0>2@1 1>2@1 2>2@2 0>3@3");
        let graph = stream.graph(5, Directions::Both);
        assert_eq!(graph.entries(), 8);
        let seen = history(&graph, 2, 3);
        assert_eq!(seen.neighbor, [0, 1, 2, 2].map(NodeId));
        assert_eq!(seen.event, [0, 1, 2, 2].map(EventId));
        assert_eq!(seen.time, [1, 1, 2, 2]);
        assert_eq!(history(&graph, 2, 2).len(), 2);
        assert!(history(&graph, 2, 1).event.is_empty());
        assert!(history(&graph, 4, 9).event.is_empty());
        assert_eq!(stream.graph(5, Directions::SourceOnly).entries(), 4);
    }

    #[test]
    fn an_empty_stream_is_a_graph() {
        let graph = Tcsr::build(3, &[], &[], &[], Directions::Both).unwrap();
        assert!(history(&graph, 2, 9).event.is_empty());
        let no_node = Tcsr::build(0, &[], &[], &[], Directions::Both).unwrap();
        assert_eq!(no_node.entries(), 0);
    }

    #[test]
    fn bad_streams_are_refused_with_the_place() {
        let build = |dst: &[u32], time: &[Timestamp]| {
            let dst: Vec<NodeId> = dst.iter().copied().map(NodeId).collect();
            Tcsr::build(2, &[NodeId(0); 2], &dst, time, Directions::Both).unwrap_err()
        };
        assert_eq!(
            build(&[1], &[1, 2]),
            GraphError::Lengths {
                src: 2,
                dst: 1,
                time: 2
            }
        );
        assert_eq!(
            build(&[1, 1], &[5, 4]),
            GraphError::Unsorted {
                event: 1,
                time: 4,
                previous: 5
            }
        );
        let error = build(&[1, 2], &[4, 5]);
        assert_eq!(
            error,
            GraphError::NodeOutOfRange {
                event: 1,
                node: 2,
                nodes: 2
            }
        );
        assert!(
            error
                .to_string()
                .contains("event 1: node 2, but the graph has 2 nodes")
        );
        let (first, last) = (i64::MIN, 1);
        assert_eq!(
            build(&[1, 1], &[first, last]),
            GraphError::TimeSpan { first, last }
        );
    }

    #[test]
    fn parts_cover_every_node_once() {
        // One node with nearly all entries, and nodes without any.
        let indptr = [0, 0, 90, 91, 91, 100, 100];
        for parts in 1..9 {
            let ranges = balanced(&indptr, parts);
            let covered: Vec<usize> = ranges.into_iter().flatten().collect();
            assert_eq!(covered, [0, 1, 2, 3, 4, 5], "{parts} parts");
        }
    }
}
