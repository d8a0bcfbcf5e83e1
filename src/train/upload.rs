//! From a batch's plain vectors to tensors on the device, and back.

use std::sync::Arc;

use burn::tensor::{Device, Int, Shape, Tensor, TensorData};
use bytemuck::{Zeroable as _, cast_slice};

use super::error::EvalError;
use crate::batch::{Distinct, Layout, Mail, Mfg, Slot};
use crate::device;
use crate::features::resident::{Piece, PieceOnDevice, ResidentTable, Turn};
use crate::features::{BatchRows, FeatureRows, RowValues};
use crate::graph::Csr;
use crate::kernels::gather_rows::{LongRows, Uses};
use crate::kernels::packing::{Packed, Packing, Sent, upload};
use crate::kernels::temporal_attention::AttentionSlots;
use crate::kernels::unpack_bits::{unpack_bits, words_of};
use crate::memory::FetchedMemory;
use crate::memory::backlog::Backlog;
use crate::memory::node_times::FetchedTimes;
use crate::memory::trends::FetchedTrends;
use crate::model::{BacklogInput, LayerInput, MailboxInput, ModelInput, TrendInput};
use crate::parallel;
use crate::sampling::pair_history::WIDTH;

/// Mailboxes whose slots a task writes.
const MAILBOXES: usize = 256;

/// A float tensor of `values`, row-major.
pub fn floats<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    let _operation = upload(values.len());
    Tensor::from_data(TensorData::new(values, Shape::new(shape)), device)
}

/// Pair histories on `device`, `[pairs, statistics]`.
pub(super) fn statistics(rows: Vec<f32>, device: &Device) -> Tensor<2> {
    let pairs = rows.len() / WIDTH;
    floats(rows, [pairs, WIDTH], device)
}

/// An integer tensor of `values`, row-major.
pub fn ints<const D: usize>(
    values: Vec<i32>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    let _operation = upload(values.len());
    Tensor::from_data(TensorData::new(values, Shape::new(shape)), device)
}

/// `[roots, slots of a root, 4]`: the slots of each root.
fn slots(slots: &[Slot], [roots, fanout]: [usize; 2], packing: &mut Packing) -> Packed<3> {
    packing.ints(cast_slice(slots), [roots, fanout, 4])
}

/// Gathered features as numbers on `device`, `[rows, width]`: booleans are unpacked there.
pub(crate) fn feature_rows(rows: FeatureRows, device: &Device) -> Tensor<2> {
    let FeatureRows {
        rows,
        width,
        values,
    } = rows;
    match values {
        RowValues::Floats(values) => floats(values, [rows, width], device),
        RowValues::Words(words) => unpack_bits(ints(words, [rows, words_of(width)], device), width),
    }
}

/// Rows of features on their way to the device.
enum PackedRows {
    /// Numbers that were gathered: written by themselves, since they are most of what a batch uploads.
    Numbers(Tensor<2>),
    /// Booleans, with so many a row.
    Words(Tensor<2, Int>, usize),
    /// Which rows they are of a table that is there, and what it lacks.
    Resident(Arc<ResidentTable>, Turn, Vec<PackedPiece>),
}

/// A piece of them.
struct PackedPiece {
    slot: Packed<1>,
    written: Option<(Packed<1>, Packed<2>)>,
}

impl PackedPiece {
    /// Of rows of so many `columns`.
    fn new(piece: &Piece, columns: usize, packing: &mut Packing) -> PackedPiece {
        let Piece {
            slot,
            written,
            words,
        } = piece;
        PackedPiece {
            slot: packing.ints(slot, [slot.len()]),
            written: (!written.is_empty()).then(|| {
                let slots = packing.ints(written, [written.len()]);
                (slots, packing.ints(words, [written.len(), columns]))
            }),
        }
    }

    fn on_device(self, sent: &mut Sent) -> PieceOnDevice {
        PieceOnDevice {
            slot: sent.ints(self.slot).without_autodiff(),
            written: (self.written).map(|(slots, words)| {
                let slots = sent.ints(slots).without_autodiff();
                (slots, sent.ints(words).without_autodiff())
            }),
        }
    }
}

impl PackedRows {
    /// On `device`, which has no autodiff.
    fn new(rows: BatchRows, packing: &mut Packing, device: &Device) -> PackedRows {
        match rows {
            BatchRows::Resident { table, ids, ahead } => {
                let (turn, pieces) = table.want(&ids, ahead);
                let columns = table.columns();
                let pieces = pieces.iter();
                let packed = pieces.map(|piece| PackedPiece::new(piece, columns, packing));
                let packed = packed.collect();
                PackedRows::Resident(table, turn, packed)
            }
            BatchRows::Gathered(FeatureRows {
                rows,
                width,
                values,
            }) => match values {
                RowValues::Floats(values) => {
                    PackedRows::Numbers(floats(values, [rows, width], device))
                }
                RowValues::Words(words) => {
                    PackedRows::Words(ints(words, [rows, words_of(width)], device), width)
                }
            },
        }
    }

    /// `[rows, width]`, without autodiff.
    fn rows(self, sent: &mut Sent) -> Tensor<2> {
        match self {
            PackedRows::Numbers(rows) => rows,
            PackedRows::Words(words, width) => unpack_bits(words, width),
            PackedRows::Resident(table, turn, pieces) => {
                let pieces = pieces.into_iter();
                table.rows(turn, pieces.map(|piece| piece.on_device(sent)).collect())
            }
        }
    }
}

/// Uses of rows on their way.
#[derive(Clone, Copy)]
struct PackedUses {
    offsets: Packed<1>,
    items: Packed<1>,
    long: LongRows,
}

impl PackedUses {
    fn new(csr: &Csr, packing: &mut Packing) -> PackedUses {
        let (long, table) = LongRows::of(&csr.offsets);
        let items = [&csr.items[..], &table].concat();
        PackedUses {
            offsets: packing.ints(&csr.offsets, [csr.offsets.len()]),
            items: packing.ints(&items, [items.len()]),
            long,
        }
    }

    fn uses(self, sent: &mut Sent) -> Uses {
        Uses {
            offsets: sent.ints(self.offsets),
            items: sent.ints(self.items),
            long: self.long,
        }
    }
}

/// What a model reads of a batch beside rows of tables, on its way.
pub(super) struct PackedLayout {
    delta_t: Packed<1>,
    active: Packed<1>,
    root_recency: Packed<1>,
    mailbox: Option<PackedMailbox>,
    layers: Vec<PackedLayer>,
}

struct PackedMailbox {
    slot: Packed<3>,
    query_uses: PackedUses,
    query: Packed<1>,
}

struct PackedLayer {
    root_row: Packed<1>,
    root_uses: PackedUses,
    slot: Packed<3>,
    slot_uses: PackedUses,
}

impl PackedLayout {
    /// `times` and `mail_row` are those of the memory that is fetched for it.
    pub(super) fn new(
        layout: &Layout,
        (times, mail_row): (&FetchedTimes, &[i32]),
        packing: &mut Packing,
    ) -> PackedLayout {
        let _part = parallel::part("packing");
        let numbers = layout.layers.iter().map(|mfg| {
            let slots = 4 * mfg.slots.len() + mfg.slot_uses.items.len();
            slots + 3 * mfg.rows() + 2 * mfg.roots
        });
        let numbers = numbers.sum::<usize>() + 4 * times.mail_delta_t.len();
        // Nothing is launched before both have ended.
        let ((), packed) = parallel::both(
            || {
                parallel::task(|| 4 * numbers as u64);
                check_indices(layout);
            },
            || {
                parallel::task(|| 2 * 4 * numbers as u64);
                PackedLayout::unchecked(layout, (times, mail_row), packing)
            },
        );
        packed
    }

    fn unchecked(
        layout: &Layout,
        (times, mail_row): (&FetchedTimes, &[i32]),
        packing: &mut Packing,
    ) -> PackedLayout {
        let attends = layout.attends_to_mail;
        PackedLayout {
            delta_t: packing.floats(&times.delta_t, [times.delta_t.len()]),
            active: packing.ints(&times.active, [times.active.len()]),
            root_recency: packing.floats(&times.root_recency, [times.root_recency.len()]),
            mailbox: attends.then(|| PackedMailbox::new(times, mail_row, packing)),
            layers: (layout.layers.iter())
                .map(|mfg| PackedLayer::new(mfg, packing))
                .collect(),
        }
    }

    /// With the memory and features of its rows, on `device` (with autodiff when training): `edge` holds for each layer
    /// `[event rows, edge width]` for its events, `node_features` `[rows, node width]` for the innermost layer's rows.
    fn input(
        self,
        sent: &mut Sent,
        fetched: &FetchedMemory,
        edge: &[Tensor<2>],
        node_features: Option<Tensor<2>>,
        device: &Device,
    ) -> ModelInput {
        let lift = |tensor: &Tensor<2>| {
            if device.is_autodiff() {
                Tensor::from_inner(tensor.clone())
            } else {
                tensor.clone()
            }
        };
        let times = &fetched.times;
        let rows = times.delta_t.len();
        ModelInput {
            memory: lift(&fetched.memory),
            mail: lift(&fetched.mail),
            backlog: (fetched.earlier_mail.clone())
                .map(|mail| backlog_input(&times.backlog, mail, &device.clone().inner())),
            trends: (fetched.trends.as_ref())
                .map(|sums| trend_input(&times.trends, lift(sums), rows, device)),
            delta_t: sent.floats(self.delta_t),
            active: sent.ints(self.active),
            mailbox: self.mailbox.map(|mailbox| mailbox.input(sent)),
            node_features: node_features.as_ref().map(lift),
            root_recency: sent.floats(self.root_recency),
            pair_history: None,
            draws: Vec::new(),
            layers: (self.layers.into_iter().zip(edge))
                .map(|(layer, edge)| layer.input(lift(edge), sent))
                .collect(),
        }
    }
}

/// A batch's features, layout and pair histories on their way to the device.
pub(super) struct PackedBatch {
    edge: Vec<PackedRows>,
    node: Option<PackedRows>,
    layout: PackedLayout,
    history: Option<Packed<2>>,
}

impl PackedBatch {
    /// What is large is written at once: nothing must be launched between this and [`Packing::send`].
    pub(super) fn new(
        layout: PackedLayout,
        (edge, node): (Vec<BatchRows>, BatchRows),
        history: Option<Vec<f32>>,
        packing: &mut Packing,
        device: &Device,
    ) -> PackedBatch {
        let plain = &device.clone().inner();
        let edge = edge.into_iter();
        PackedBatch {
            edge: edge
                .map(|rows| PackedRows::new(rows, packing, plain))
                .collect(),
            node: (node.width() > 0).then(|| PackedRows::new(node, packing, plain)),
            layout,
            history: history.map(|rows| {
                let shape = [rows.len() / WIDTH, WIDTH];
                packing.owned_floats(rows, shape)
            }),
        }
    }

    /// What the model reads, on `device`, and the edge features of the innermost layer's events.
    pub(super) fn input(
        self,
        sent: &mut Sent,
        fetched: &FetchedMemory,
        device: &Device,
    ) -> (ModelInput, Tensor<2>) {
        let edge = self.edge.into_iter();
        let edge: Vec<Tensor<2>> = edge.map(|rows| rows.rows(sent)).collect();
        let node = self.node.map(|rows| rows.rows(sent));
        let input = ModelInput {
            pair_history: self.history.map(|history| sent.floats(history)),
            ..self.layout.input(sent, fetched, &edge, node, device)
        };
        (input, edge[0].clone())
    }
}

/// What the model reads of a batch, on `device` (with autodiff when training).
///
/// `edge` holds for each layer `[event rows, edge width]` for its events, `node_features`
/// `[rows, node width]` for the innermost layer's rows.
pub fn model_input(
    layout: &Layout,
    fetched: &FetchedMemory,
    edge: &[Tensor<2>],
    node_features: Option<Tensor<2>>,
    device: &Device,
) -> ModelInput {
    let mut packing = Packing::new(device);
    let of = (&fetched.times, &fetched.mail_row[..]);
    let packed = PackedLayout::new(layout, of, &mut packing);
    packed.input(&mut packing.send(), fetched, edge, node_features, device)
}

fn uses(csr: &Csr, device: &Device) -> Uses {
    let (long, table) = LongRows::of(&csr.offsets);
    let items = [&csr.items[..], &table].concat();
    let uses = items.len();
    Uses {
        offsets: ints(csr.offsets.clone(), [csr.offsets.len()], device),
        items: ints(items, [uses], device),
        long,
    }
}

/// On `device`, which has no autodiff.
fn backlog_input(backlog: &Backlog, mail: Tensor<2>, device: &Device) -> BacklogInput {
    let ints = |values: &[i32]| ints(values.to_vec(), [values.len()], device);
    BacklogInput {
        row: ints(&backlog.row),
        steps: backlog.steps.clone(),
        mail,
        delta_t: floats(backlog.delta_t.clone(), [backlog.delta_t.len()], device),
        source: ints(&backlog.source),
    }
}

/// Of a batch of so many `rows`.
fn trend_input(
    trends: &FetchedTrends,
    sums: Tensor<2>,
    rows: usize,
    device: &Device,
) -> TrendInput {
    let written = trends.row.len();
    let column = |values: Vec<f32>| floats(values, [written, 1], device);
    let counts = trends.count.iter();
    let mut source: Vec<i32> = (0..rows as i32).collect();
    for (behind, &row) in (rows as i32..).zip(&trends.row) {
        source[row as usize] = behind;
    }
    let source_uses = Csr::invert(rows + written, source.iter().copied());
    let row_uses = Csr::invert(rows, trends.row.iter().copied());
    TrendInput {
        row: ints(trends.row.clone(), [written], device),
        row_uses: uses(&row_uses, device),
        sums,
        count: column(counts.clone().map(|&n| n.max(1) as f32).collect()),
        known: column(counts.map(|&n| n.min(1) as f32).collect()),
        delta_t: column(trends.delta_t.clone()),
        spacing: column(
            (trends.delta_t.iter())
                .map(|time| time.max(trends.tick))
                .collect(),
        ),
        share: trends.share.clone().map(column),
        source: ints(source, [rows], device),
        source_uses: uses(&source_uses, device),
    }
}

impl PackedLayer {
    fn new(mfg: &Mfg, packing: &mut Packing) -> PackedLayer {
        PackedLayer {
            root_row: packing.ints(&mfg.root_row, [mfg.roots]),
            root_uses: PackedUses::new(&mfg.root_uses, packing),
            slot: slots(&mfg.slots, [mfg.roots, mfg.fanout], packing),
            slot_uses: PackedUses::new(&mfg.slot_uses, packing),
        }
    }

    fn input(self, edge: Tensor<2>, sent: &mut Sent) -> LayerInput {
        let root_uses = self.root_uses.uses(sent);
        LayerInput {
            root_row: sent.ints(self.root_row),
            root_uses: root_uses.clone(),
            slots: AttentionSlots {
                slot: sent.ints(self.slot),
                query_uses: root_uses,
                uses: self.slot_uses.uses(sent),
                draw_row: None,
            },
            edge,
        }
    }
}

impl PackedMailbox {
    /// Row 0 of node rows without columns, each mail's place and age, and the row's query: rows of
    /// one node have the same memory, unless a mitigation has corrected some of them.
    fn new(times: &FetchedTimes, mail_row: &[i32], packing: &mut Packing) -> PackedMailbox {
        let rows = mail_row.len();
        let query = match times.corrected {
            Some(1..) => Distinct::of(&(0..rows as i32).collect::<Vec<_>>()),
            _ => Distinct::of(mail_row),
        };
        let slots_of_node = times.mail_delta_t.len().checked_div(rows).unwrap_or(1);
        let mut slot = vec![Slot::zeroed(); times.mail_delta_t.len()];
        let of_each = slots_of_node.max(1);
        let numbers = mail_row
            .chunks(MAILBOXES)
            .zip(query.number.chunks(MAILBOXES));
        let ages = times.mail_delta_t.chunks(MAILBOXES * of_each);
        let chunks = numbers.zip(ages).zip(slot.chunks_mut(MAILBOXES * of_each));
        parallel::for_each(chunks.collect(), |(((mail_row, query), ages), slot)| {
            let of_rows = mail_row.iter().zip(query).zip(ages.chunks(of_each));
            for (((&mail_row, &query), ages), slot) in of_rows.zip(slot.chunks_mut(of_each)) {
                let places = (mail_row * slots_of_node as i32..).zip(ages);
                for (slot, (place, &delta_t)) in slot.iter_mut().zip(places) {
                    *slot = Slot {
                        row: 0,
                        event: place,
                        delta_t,
                        query,
                    };
                }
            }
        });
        let query_uses = Csr::invert(query.first.len(), query.number.iter().copied());
        PackedMailbox {
            slot: slots(&slot, [rows, slots_of_node], packing),
            query_uses: PackedUses::new(&query_uses, packing),
            query: packing.ints(&query.first, [query.first.len()]),
        }
    }

    fn input(self, sent: &mut Sent) -> MailboxInput {
        MailboxInput {
            slot: sent.ints(self.slot),
            query_uses: self.query_uses.uses(sent),
            query: sent.ints(self.query),
        }
    }
}

/// Shaders run without bounds checks, so that every index is checked here, once per batch.
///
/// # Panics
/// When an index points outside its table: a bug of whoever laid the batch out.
fn check_indices(layout: &Layout) {
    let within = |items: &[i32], bound: usize| {
        let bound = bound as i32;
        items.iter().all(|i| (0..bound).contains(i))
    };
    for mfg in &layout.layers {
        let (rows, events) = (mfg.rows(), mfg.events.len());
        assert!(within(&mfg.root_row, rows), "rows of roots");
        assert!(within(&mfg.root_uses.items, mfg.roots), "uses by roots");
        let slots = mfg.roots * mfg.fanout;
        assert!(within(&mfg.slot_uses.items, slots), "uses by slots");
        let valid = |slot: &Slot| {
            slot.row == -1 || within(&[slot.row], rows) && within(&[slot.event], events)
        };
        assert!(mfg.slots.iter().all(valid), "slots");
    }
    let innermost = layout.innermost();
    let (rows, events) = (innermost.rows(), innermost.events.len());
    assert!(
        within(&layout.last_writers.row, rows),
        "rows of last_writers"
    );
    let valid = |mail: &Mail| within(&[mail.own, mail.peer], rows) && within(&[mail.event], events);
    assert!(layout.mail_routing.mail.items.iter().all(valid), "mails");
}

/// The numbers of a tensor, row-major.
pub(super) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, EvalError> {
    device::read(tensor).map_err(EvalError::Device)
}
