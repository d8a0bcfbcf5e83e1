//! Everything that is computed from a batch before features and memory are read.
//!
//! With several attention layers, the rows of a layer are the roots of the one below it: every
//! distinct (node, query time) pair is embedded once. The innermost layer's rows are the rows of the
//! memory updater. A model without neighbours has one layer of fanout 0.

use std::ops::Range;

use crate::batch::{
    EventBatch, LastWriters, MailRouting, MailRule, Mfg, MfgScratch, Roots, TimeDelta,
};
use crate::graph::Queries;
use crate::parallel;
use crate::sampling::Neighbors;

/// What a model and its protocol ask of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutRule {
    /// Attention layers over sampled past events, 0 for none.
    pub layers: usize,
    /// What a row of the memory updater is.
    pub time_delta: TimeDelta,
    /// How mail is routed.
    pub mail_rule: MailRule,
    /// Whether the updater attends to each piece of mail.
    pub attends_to_mail: bool,
    /// Ticks of the stream's unit.
    pub ticks_per_unit: i64,
}

/// The layout of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// Layers, the innermost first; at least one. Each has the batch's own events as its first
    /// event rows.
    pub layers: Vec<Mfg>,
    /// `[roots]`: the memory row of each root, those of a batch being src ‖ dst ‖ neg.
    pub root_row: Vec<i32>,
    /// Whose memory is written.
    pub last_writers: LastWriters,
    /// Of each, the side that it is written as: 0 source, 1 destination.
    pub written_side: Vec<u8>,
    /// Who gets which mail.
    pub mail_routing: MailRouting,
    /// Whether the updater attends to each piece of mail.
    pub attends_to_mail: bool,
}

impl Layout {
    /// Lays out `batch`; `sample` returns past events of the roots that it is given, with the number of
    /// this request within the batch, so that no two draw the same numbers.
    ///
    /// # Panics
    /// If `sample` returns neighbours of other roots, or names a node that `scratch` was not made
    /// for.
    pub fn build(
        batch: &EventBatch,
        rule: &LayoutRule,
        mut sample: impl FnMut(Queries<'_>, u32) -> Neighbors,
        scratch: &mut MfgScratch,
    ) -> Layout {
        let roots = batch.roots();
        let events = batch.events.clone();
        let layout = Layout::of_roots(roots.queries(), events, rule, &mut sample, scratch);
        let receivers = rule.mail_rule.to_neighbors.then(|| {
            let ends = 2 * batch.src.len();
            let of_events = Queries {
                node: &roots.node[..ends],
                time: &roots.time[..ends],
            };
            sample(of_events, rule.layers as u32)
        });
        layout.written_by(batch, receivers.as_ref(), rule.mail_rule)
    }

    /// Lays out the events of `batch` alone, without its negatives and without past events: all that
    /// memory needs to follow them. What is written and which mail is sent is what
    /// [`build`](Layout::build) says for the same rule.
    ///
    /// # Panics
    /// As [`Layout::build`].
    pub fn of_events(
        batch: &EventBatch,
        rule: &LayoutRule,
        sample: impl FnMut(Queries<'_>, u32) -> Neighbors,
        scratch: &mut MfgScratch,
    ) -> Layout {
        Layout::of_memory(batch, &batch.ends(), rule, sample, scratch)
    }

    /// The same with rows for all of `roots`, which begin with the ends of the batch's events.
    ///
    /// # Panics
    /// As [`Layout::build`].
    pub(crate) fn of_memory(
        batch: &EventBatch,
        roots: &Roots,
        rule: &LayoutRule,
        mut sample: impl FnMut(Queries<'_>, u32) -> Neighbors,
        scratch: &mut MfgScratch,
    ) -> Layout {
        let memory_alone = LayoutRule { layers: 0, ..*rule };
        let none = |queries: Queries<'_>, _| Neighbors::none(queries.node.len());
        let events = batch.events.clone();
        let layout = Layout::of_roots(roots.queries(), events, &memory_alone, none, scratch);
        let ends = 2 * batch.src.len();
        let of_events = Queries {
            node: &roots.node[..ends],
            time: &roots.time[..ends],
        };
        let to_neighbors = rule.mail_rule.to_neighbors;
        let receivers = to_neighbors.then(|| sample(of_events, rule.layers as u32));
        layout.written_by(batch, receivers.as_ref(), rule.mail_rule)
    }

    /// The same with what the events of `batch`, whose roots it lays out, write and send; `receivers` are the past
    /// events of their ends, if their mail goes there too.
    fn written_by(
        self,
        batch: &EventBatch,
        receivers: Option<&Neighbors>,
        rule: MailRule,
    ) -> Layout {
        let row = &self.root_row;
        let _part = parallel::part("last writers and mail");
        // Both sort what they have.
        let sorted = |of: usize| (8 * of * (of.max(2).ilog2() as usize)) as u64;
        let (writes, more) = (
            2 * batch.src.len(),
            receivers.map_or(0, |receivers| receivers.node.len()),
        );
        let ((last_writers, written_side), mail_routing) = parallel::both(
            || {
                parallel::task(|| sorted(writes));
                LastWriters::of(batch, row)
            },
            || {
                parallel::task(|| sorted(writes + more));
                MailRouting::of(batch, row, receivers, rule)
            },
        );
        Layout {
            last_writers,
            written_side,
            mail_routing,
            ..self
        }
    }

    /// Lays out any roots, for which nothing is written and no mail is sent; `events` get the first
    /// event rows.
    ///
    /// # Panics
    /// As [`Layout::build`].
    pub fn of_roots(
        roots: Queries<'_>,
        events: Range<usize>,
        rule: &LayoutRule,
        mut sample: impl FnMut(Queries<'_>, u32) -> Neighbors,
        scratch: &mut MfgScratch,
    ) -> Layout {
        let mut layers: Vec<Mfg> = Vec::with_capacity(rule.layers.max(1));
        // From the outermost to the innermost.
        for layer in 0..rule.layers.max(1) {
            let queries = layers.last().map_or(roots, |above| Queries {
                node: &above.node,
                time: &above.query_time,
            });
            let neighbors = if rule.layers == 0 {
                Neighbors::none(queries.node.len())
            } else {
                sample(queries, layer as u32)
            };
            let innermost = layer + 1 >= rule.layers;
            let rows = if innermost {
                rule.time_delta
            } else {
                TimeDelta::Query
            };
            let mfg = Mfg::of(
                queries,
                events.clone(),
                &neighbors,
                rows,
                rule.ticks_per_unit,
                scratch,
            );
            layers.push(mfg);
        }

        let mut root_row: Vec<i32> = (0..roots.node.len() as i32).collect();
        for layer in &layers {
            for row in &mut root_row {
                *row = layer.root_row[*row as usize];
            }
        }
        layers.reverse();
        Layout {
            layers,
            root_row,
            attends_to_mail: rule.attends_to_mail,
            ..Layout::default()
        }
    }

    /// The layer whose rows the memory updater has.
    ///
    /// # Panics
    /// On the empty layout, which [`Layout::build`] never returns.
    pub fn innermost(&self) -> &Mfg {
        &self.layers[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{MailAggregation, MailOrder, Slot};
    use crate::graph::drawn_streams::Stream;
    use crate::graph::{Directions, NodeId};
    use crate::sampling::{NeighborSampler, Recent, SampleKey};

    const RULE: LayoutRule = LayoutRule {
        layers: 1,
        time_delta: TimeDelta::Message,
        mail_rule: MailRule {
            aggregation: MailAggregation::Last,
            order: MailOrder::Event,
            to_neighbors: false,
        },
        attends_to_mail: false,
        ticks_per_unit: 1,
    };

    /// The last two events of a drawn stream of five nodes, laid out.
    fn layout(rule: LayoutRule) -> Layout {
        let stream = Stream::drawn("0>3@1 1>3@2 0>4@3 0>3@4 1>4@5");
        let graph = stream.graph(5, Directions::Both);
        let neg = vec![NodeId(4), NodeId(3)];
        let batch = EventBatch::cut(3..5, &stream.src, &stream.dst, &stream.time, neg);
        let sample = |queries: Queries<'_>, request| {
            let key = SampleKey {
                seed: 0,
                epoch: 0,
                event: 3,
                request,
            };
            Recent { fanout: 2 }.sample(&graph, queries, None, key)
        };
        Layout::build(&batch, &rule, sample, &mut MfgScratch::new(5))
    }

    fn nodes(ids: &[u32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn without_layers_only_roots_have_rows() {
        let layout = layout(LayoutRule { layers: 0, ..RULE });
        assert_eq!(layout.layers.len(), 1);
        assert_eq!(layout.innermost().node, nodes(&[0, 1, 3, 4]));
        assert_eq!(layout.root_row, [0, 1, 2, 3, 3, 2]);
        assert_eq!(layout.innermost().slots.len(), 0);
    }

    #[test]
    fn rows_of_a_layer_are_the_roots_of_the_one_below() {
        let layout = layout(LayoutRule { layers: 2, ..RULE });
        let [inner, outer] = &layout.layers[..] else {
            panic!("two layers");
        };
        assert_eq!(inner.roots, outer.rows());
        // Root 4 is the negative 4 at time 4: its past is event 2 at time 3 with node 0, which
        // is embedded at time 3.
        let slot = outer.slots[4 * 2];
        let row = slot.row as usize;
        assert_eq!((outer.node[row], outer.query_time[row]), (NodeId(0), 3));
        // At time 3 node 0 has one past event, at time 1 with node 3.
        let below = inner.slots[row * 2];
        assert_eq!(inner.node[below.row as usize], NodeId(3));
        assert_eq!(inner.slots[row * 2 + 1], Slot::empty(inner.root_row[row]));
        // Memory rows of roots: through both layers.
        for (root, &row) in layout.root_row.iter().enumerate() {
            let node = [0, 1, 3, 4, 4, 3][root];
            assert_eq!(inner.node[row as usize], NodeId(node));
        }
        assert_eq!(layout.last_writers.node, nodes(&[0, 1, 3, 4]));
    }

    #[test]
    fn neighbours_get_mail_where_asked_for() {
        let mail_rule = MailRule {
            to_neighbors: true,
            ..RULE.mail_rule
        };
        let rule = LayoutRule {
            layers: 0,
            mail_rule,
            ..RULE
        };
        let mail_routing = layout(rule).mail_routing;
        // Event 4 (1 -> 4 at 5): the past of 1 is 3, that of 4 is 0. Node 3's own mail is of
        // event 3, so the mail of event 4 that it gets as a neighbour wins.
        assert_eq!(mail_routing.node, nodes(&[0, 1, 3, 4]));
        assert_eq!(mail_routing.time, [5, 5, 5, 5]);
        // Nodes 0, 1, 3, 4 have rows 0 to 3; node 0 gets the mail of 4, node 3 that of 1.
        let mail: &[[i32; 3]] = bytemuck::cast_slice(&mail_routing.mail.items);
        assert_eq!(mail, [[3, 1, 1], [1, 3, 1], [1, 3, 1], [3, 1, 1]]);
    }
}
