//! A batch that several ranks train together: which events are a rank's, what all of them write, and
//! whose rows travel for it.
//!
//! Memory, mail and times are the same on all ranks. Each rank lays out the events of the whole batch as
//! far as memory needs them, so that all know the same last writers, mail and times, numbered as one
//! process would number them; only updated rows have to travel. What a row becomes depends on its node, time,
//! memory and mail alone, so the rank that takes the first event that asks for it sends it.
//!
//! Invariants: a draw is keyed by what it is for in the whole batch; nothing that is written depends on the
//! number of ranks, but for the rounding of weights.

use std::collections::HashMap;
use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::pass::{Pass, Sampling};
use super::upload;
use crate::batch::{EventBatch, LastWriters, Layout, LayoutRule, Mfg, MfgScratch, TimeDelta};
use crate::graph::{EventId, Queries};
use crate::kernels::dropout::DrawRows;
use crate::memory::MemoryRequest;
use crate::memory::node_times::{FetchedTimes, NodeTimes};
use crate::memory::trends::FetchedTrends;
use crate::memory::write_back::WriteBack;

/// A rank's part of each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// The rank, from 0.
    pub(super) rank: usize,
    /// All ranks.
    pub(super) ranks: usize,
}

/// A rank's events of a batch.
#[derive(Debug, Clone, PartialEq)]
struct OwnEvents {
    /// Counted from the batch's first.
    events: Range<usize>,
    /// Their share of the batch.
    weight: f32,
}

impl Share {
    /// Events that each rank takes of a batch of `whole`; its last ranks get fewer or none.
    fn each(self, whole: usize) -> usize {
        whole.div_ceil(self.ranks).max(1)
    }

    /// Where in a batch of `events` events, of which a whole batch has `whole`, each rank's are.
    pub(super) fn all(self, events: usize, whole: usize) -> impl Iterator<Item = Range<usize>> {
        let each = self.each(whole);
        (0..self.ranks).map(move |rank| {
            let begin = (rank * each).min(events);
            begin..(begin + each).min(events)
        })
    }

    /// The rank's own of `events` events, where a whole batch has `whole`. A rank without events takes
    /// the last one of another rank, which then counts nothing: what it gives has the shape of all.
    fn of(self, events: usize, whole: usize) -> OwnEvents {
        let each = self.each(whole);
        let begin = (self.rank * each).min(events);
        let own = begin..(begin + each).min(events);
        let weight = own.len() as f32 / events.max(1) as f32;
        let events = match own.is_empty() {
            true => events.saturating_sub(1)..events,
            false => own,
        };
        OwnEvents { events, weight }
    }
}

/// What a rank knows of the whole batch, beside its own part of it.
#[derive(Debug)]
pub(super) struct Joint {
    /// Of all events, without past events: what is written, and which mail is sent.
    layout: Layout,
    /// All events.
    whole: EventBatch,
    /// Where in it are those of this rank, of which there may be none.
    own: Range<usize>,
    /// Of each of the layout's rows that an event has, the rank that sends it and its row there.
    places: Vec<Option<Place>>,
    rank: usize,
    /// Features of all events, `[events, edge width]`.
    edge: Vec<f32>,
    times: FetchedTimes,
    /// Share of the batch that the rank's gradients have.
    pub(super) weight: f32,
    /// Whether a node has one row of memory in it, whatever the times.
    pub(super) one_row_a_node: bool,
    /// Of each layer, the innermost first, in training.
    draws: Vec<Draws>,
}

/// The rows of the whole batch by which a rank's dropouts are drawn, and how many rows that has.
#[derive(Debug, PartialEq)]
struct Draws {
    row: Vec<i32>,
    of: usize,
}

/// Where a row comes from.
#[derive(Debug, Clone, Copy)]
struct Place {
    rank: usize,
    /// Row in the layout of that rank, where that is this one.
    own: Option<i32>,
}

/// What is written of a joint batch, and from whom its rows come.
#[derive(Debug)]
pub(super) struct JointUpdate {
    pub(super) back: WriteBack,
    /// This rank's rows, in the order in which they are sent.
    own: Vec<i32>,
    /// Which of its changes of rows follow them.
    changes: Vec<i32>,
    pub(super) senders: Senders,
}

/// The rank that sends each row of an update, and behind them each change of a row.
#[derive(Debug)]
pub(super) struct Senders(pub(super) Vec<usize>);

impl Pass {
    /// Lays out a rank's share of the batch of an iteration, and of the whole batch what all write.
    pub(super) fn lay_out_share(
        &self,
        whole: &EventBatch,
        share: Share,
        scratch: &mut MfgScratch,
    ) -> (EventBatch, Layout, Joint) {
        let sampling = &*self.sampling;
        let first = whole.events.start;
        let past = |roots: Queries<'_>, request| sampling.past(roots, request, first, self.epoch);
        let own = share.of(whole.events.len(), sampling.batch_size);
        let batch = whole.part(own.events.clone());
        let rule = &sampling.layout;
        let roots = batch.roots();
        let layout = Layout::of_roots(roots.queries(), batch.events.clone(), rule, past, scratch);
        // Negatives have rows that dropouts are drawn by where there is no layer above them.
        let all_roots = match rule.layers {
            0 => whole.roots(),
            _ => whole.ends(),
        };
        let of_all = Layout::of_memory(whole, &all_roots, rule, past, scratch);
        let of_roots = whole_roots(&layout, whole.events.len(), &own.events);
        let draws = match (self.epoch, rule.layers) {
            // An evaluation drops nothing.
            (0, _) => Vec::new(),
            (_, 0) => vec![draws_of_rows(&of_roots, &layout, &of_all)],
            (_, layers) => {
                // What inner layers drop is numbered by the rows of the outer ones, those of all ranks.
                let outer = LayoutRule {
                    layers: layers - 1,
                    time_delta: TimeDelta::Query,
                    ..*rule
                };
                let (roots, events) = (whole.roots(), whole.events.clone());
                let outer = (outer.layers > 0)
                    .then(|| Layout::of_roots(roots.queries(), events, &outer, past, scratch));
                let outer = outer.map_or_else(Vec::new, |outer| outer.layers);
                draws_of_layers(of_roots, 3 * whole.events.len(), [&layout.layers, &outer])
            }
        };
        let joint = Joint {
            places: places(
                &of_all,
                &layout,
                whole.events.len(),
                &own.events,
                share,
                sampling,
            ),
            rank: share.rank,
            layout: of_all,
            own: match own.weight > 0.0 {
                true => own.events.clone(),
                false => 0..0,
            },
            whole: whole.clone(),
            edge: Vec::new(),
            times: FetchedTimes::default(),
            weight: own.weight,
            one_row_a_node: rule.time_delta == TimeDelta::Message,
            draws,
        };
        (batch, layout, joint)
    }
}

/// The root of the whole batch that root `root` of a rank's `own` events is; src, dst and negatives of
/// either follow each other.
fn whole_root(root: usize, events: usize, own: &Range<usize>) -> usize {
    root / own.len() * events + own.start + root % own.len()
}

/// What of `of_all` is written has a row in a rank's layout too: who is written, by which row, as which side.
fn own_writers(layout: &Layout, of_all: &Layout) -> (LastWriters, Vec<u8>) {
    let key = |mfg: &Mfg, row: usize| (mfg.node[row], mfg.query_time.get(row).copied());
    let own = layout.innermost();
    let rows: HashMap<_, i32> = (0..own.rows())
        .map(|row| (key(own, row), row as i32))
        .collect();
    let mut writers = LastWriters::default();
    let mut sides = Vec::new();
    let all = &of_all.last_writers;
    for ((&node, &row), &side) in all.node.iter().zip(&all.row).zip(&of_all.written_side) {
        if let Some(&row) = rows.get(&key(of_all.innermost(), row as usize)) {
            writers.node.push(node);
            writers.row.push(row);
            sides.push(side);
        }
    }
    (writers, sides)
}

/// Of each row of the whole batch's layout, who sends it: whoever takes the event that asks for it first.
fn places(
    of_all: &Layout,
    layout: &Layout,
    events: usize,
    own: &Range<usize>,
    share: Share,
    sampling: &Sampling,
) -> Vec<Option<Place>> {
    let each = share.each(sampling.batch_size);
    let mut places: Vec<Option<Place>> = vec![None; of_all.innermost().rows()];
    let ends = of_all.root_row.iter().take(2 * events).enumerate();
    for (root, &row) in ends {
        let (side, event) = (root / events, root % events);
        places[row as usize].get_or_insert_with(|| {
            let rank = event / each;
            let at = (rank == share.rank).then(|| side * own.len() + event - own.start);
            Place {
                rank,
                own: at.map(|root| layout.root_row[root]),
            }
        });
    }
    places
}

/// The root of the whole batch that each root of a rank's layout is.
fn whole_roots(layout: &Layout, events: usize, own: &Range<usize>) -> Vec<i32> {
    let roots = 0..layout.root_row.len();
    roots
        .map(|root| whole_root(root, events, own) as i32)
        .collect()
}

/// By which rows the dropouts of a model without layers are drawn: those of the whole batch's `of_all`, whose
/// roots are `of_roots`.
fn draws_of_rows(of_roots: &[i32], layout: &Layout, of_all: &Layout) -> Draws {
    let mut row = vec![0; layout.innermost().rows()];
    for (&own, &root) in layout.root_row.iter().zip(of_roots) {
        row[own as usize] = of_all.root_row[root as usize];
    }
    Draws {
        row,
        of: of_all.innermost().rows(),
    }
}

/// By which roots the dropouts of each layer are drawn, the innermost first: `layers` are a rank's, `outer` those
/// of the whole batch without the innermost, and `of_roots` of its `roots` are the rank's.
fn draws_of_layers(of_roots: Vec<i32>, roots: usize, [layers, outer]: [&[Mfg]; 2]) -> Vec<Draws> {
    let mut draws = vec![Draws {
        row: of_roots,
        of: roots,
    }];
    // The rows of a layer are the roots of the one below.
    for (own, all) in layers.iter().rev().zip(outer.iter().rev()) {
        let above = &draws[draws.len() - 1].row;
        let row = whole_rows(own, all, above);
        draws.push(Draws {
            row,
            of: all.rows(),
        });
    }
    draws.reverse();
    draws
}

/// The row of the whole batch's layer `all` that each row of a rank's is, whose roots are `of_roots` there: a root
/// has the same past events in both.
fn whole_rows(own: &Mfg, all: &Mfg, of_roots: &[i32]) -> Vec<i32> {
    let mut rows = vec![0; own.rows()];
    let slots = |mfg: &Mfg, root: usize| {
        let begin = root * mfg.fanout;
        begin..begin + mfg.fanout
    };
    for (root, &of_all) in of_roots.iter().enumerate() {
        let of_all = of_all as usize;
        rows[own.root_row[root] as usize] = all.root_row[of_all];
        let of_own = &own.slots[slots(own, root)];
        let of_all = &all.slots[slots(all, of_all)];
        for (slot, of_all) in of_own.iter().zip(of_all) {
            if slot.row >= 0 {
                rows[slot.row as usize] = of_all.row;
            }
        }
    }
    rows
}

impl Joint {
    /// Gathers the features of the batch's events.
    pub(super) fn fetch_features(&mut self, sampling: &Sampling) {
        let ids = self.whole.events.clone().map(|id| EventId(id as u32));
        let ids: Vec<EventId> = ids.collect();
        self.edge = sampling.features.edge_rows(&ids).first(ids.len());
    }

    /// Reads the times of the batch's rows, when its memory is read.
    pub(super) fn read(&mut self, times: &NodeTimes) {
        let innermost = self.layout.innermost();
        self.times = times.fetch(MemoryRequest {
            rows: Queries {
                node: &innermost.node,
                time: &innermost.query_time,
            },
            ..MemoryRequest::default()
        });
    }

    /// Reads the trends of what all ranks write, as `of` has them if any are kept, and notes in a rank's `own` layout
    /// which of its rows these are.
    pub(super) fn read_trends(
        &mut self,
        own: &mut Layout,
        of: impl FnOnce(MemoryRequest<'_>) -> Option<FetchedTrends>,
    ) {
        let request = MemoryRequest::of(&self.layout, Queries::default());
        let first = EventId(self.whole.events.start as u32);
        if let Some(trends) = of(request.training_from(first)) {
            self.times.trends = trends;
            (own.last_writers, own.written_side) = own_writers(own, &self.layout);
        }
    }

    /// What each of a rank's `own` trends counts in its loss, which counts as much as its events: those that it sends
    /// make with the others' the mean over all rows that were not 0.
    pub(super) fn share_trends(&self, own: &mut FetchedTrends) {
        let all = &self.times.trends;
        if all.place.is_empty() {
            return;
        }
        let counted = all
            .changed
            .iter()
            .filter(|&&changed| changed)
            .count()
            .max(1);
        let share = match self.weight > 0.0 {
            true => 1.0 / (counted as f32 * self.weight),
            false => 0.0,
        };
        let of_place = |place| match self.sender(place) {
            Some(Place { rank, .. }) if rank == self.rank => share,
            _ => 0.0,
        };
        own.share = Some(own.place.iter().map(of_place).collect());
    }

    /// Who sends the row that is written at a place of the trends, which ascend.
    fn sender(&self, place: &i32) -> Option<Place> {
        let all = &self.times.trends;
        let nth = all.place.binary_search(place).ok()?;
        self.places[all.row[nth] as usize]
    }

    /// The batch of all ranks.
    pub(super) fn whole(&self) -> &EventBatch {
        &self.whole
    }

    /// Where in it this rank's events are.
    pub(super) fn own(&self) -> Range<usize> {
        self.own.clone()
    }

    /// What is written, by all ranks.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The rows that the rank's dropouts are drawn by, of each layer; none in an evaluation.
    pub(super) fn draw_rows(&mut self, device: &Device) -> Vec<DrawRows> {
        let draws = std::mem::take(&mut self.draws).into_iter();
        let on_device = |Draws { row, of }: Draws| {
            let rows = row.len();
            DrawRows {
                row: upload::ints(row, [rows], device),
                of,
            }
        };
        draws.map(on_device).collect()
    }

    /// What the batch writes, once its memory has been read; the rank has read its `own` trends.
    pub(super) fn into_update(self, own: &FetchedTrends) -> JointUpdate {
        let rows = self.layout.innermost().rows();
        let (mut changes, mut of_changes) = (Vec::new(), Vec::new());
        for place in &self.times.trends.place {
            let Some(sender) = self.sender(place) else {
                unreachable!("what is written is of an event");
            };
            of_changes.push(sender.rank);
            if sender.rank == self.rank {
                let nth = own.place.binary_search(place);
                changes.extend(nth.map(|nth| nth as i32));
            }
        }
        let Layout {
            last_writers,
            mail_routing,
            ..
        } = self.layout;
        let back = WriteBack::new(last_writers, mail_routing, self.times, self.edge, rows);
        let places = back.rows().iter().map(|&row| self.places[row as usize]);
        let (mut own, mut senders) = (Vec::new(), Vec::new());
        for place in places {
            let Some(place) = place else {
                unreachable!("what is written is of an event");
            };
            senders.push(place.rank);
            own.extend(place.own.filter(|_| place.rank == self.rank));
        }
        senders.extend(of_changes);
        JointUpdate {
            back,
            own,
            changes,
            senders: Senders(senders),
        }
    }
}

impl JointUpdate {
    /// This rank's rows out of its updated ones, `[rows, width]`, and behind them its changes out of `changes`,
    /// `[trends, width]`; one row that nobody asks for if there are none.
    pub(super) fn select(&self, updated: Tensor<2>, changes: Option<Tensor<2>>) -> Tensor<2> {
        let of = |table: Tensor<2>, rows: &[i32]| {
            let data = TensorData::new(rows.to_vec(), [rows.len()]);
            let rows = Tensor::<1, Int>::from_data(data, &table.device());
            table.select(0, rows)
        };
        let rows = match self.own.as_slice() {
            [] => of(updated, &[0]),
            own => of(updated, own),
        };
        match changes.filter(|_| !self.changes.is_empty()) {
            Some(changes) => Tensor::cat(vec![rows, of(changes, &self.changes)], 0),
            None => rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_a_batch_once_and_weigh_what_they_have() {
        for (ranks, whole, events) in [(2, 300, 300), (4, 600, 450), (4, 600, 1), (3, 9, 7)] {
            let shares: Vec<OwnEvents> = (0..ranks)
                .map(|rank| Share { rank, ranks }.of(events, whole))
                .collect();
            let with_events = shares.iter().filter(|share| share.weight > 0.0);
            let mut next = 0;
            for share in with_events {
                assert_eq!(share.events.start, next);
                next = share.events.end;
            }
            assert_eq!(next, events);
            let sum: f32 = shares.iter().map(|share| share.weight).sum();
            assert!((sum - 1.0).abs() < 1e-6, "{sum}");
            // Nobody has nothing to show for.
            assert!(shares.iter().all(|share| !share.events.is_empty()));
        }
    }

    #[test]
    fn roots_of_a_share_are_those_of_the_batch() {
        // Events 2 and 3 of 5: src 2, 3, dst 7, 8, negatives 12, 13.
        let roots: Vec<usize> = (0..6).map(|root| whole_root(root, 5, &(2..4))).collect();
        assert_eq!(roots, [2, 3, 7, 8, 12, 13]);
    }
}
