//! From a batch's plain vectors to tensors on the device, and back.

use burn::tensor::{Device, Int, Shape, Tensor, TensorData};
use bytemuck::cast_slice;

use super::error::EvalError;
use crate::batch::{Distinct, Layout, Mail, Mfg, Slot};
use crate::device;
use crate::features::{BatchRows, FeatureRows, RowValues};
use crate::graph::Csr;
use crate::kernels::gather_rows::Uses;
use crate::kernels::temporal_attention::AttentionSlots;
use crate::kernels::unpack_bits::{unpack_bits, words_of};
use crate::memory::FetchedMemory;
use crate::memory::backlog::Backlog;
use crate::memory::trends::FetchedTrends;
use crate::model::{BacklogInput, LayerInput, MailboxInput, ModelInput, TrendInput};
use crate::profiler::{self, Kind, Operation, Work};
use crate::sampling::pair_history::WIDTH;

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
fn slots(slots: &[Slot], [roots, fanout]: [usize; 2], device: &Device) -> Tensor<3, Int> {
    ints(cast_slice(slots).to_vec(), [roots, fanout, 4], device)
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

/// Features of a batch on `device`, `[rows, width]`: gathered here, or from a table that is there.
pub(super) fn batch_rows(rows: BatchRows, device: &Device) -> Tensor<2> {
    match rows {
        BatchRows::Gathered(rows) => feature_rows(rows, device),
        BatchRows::Resident { table, index } => {
            let rows = index.len();
            table.rows(ints(index, [rows], device))
        }
    }
}

fn upload(numbers: usize) -> Operation {
    profiler::operation("upload", Kind::Upload, || Work::new(2 * numbers, 0))
}

fn uses(csr: &Csr, device: &Device) -> Uses {
    Uses {
        offsets: ints(csr.offsets.clone(), [csr.offsets.len()], device),
        items: ints(csr.items.clone(), [csr.items.len()], device),
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
    let lift = |tensor: &Tensor<2>| {
        if device.is_autodiff() {
            Tensor::from_inner(tensor.clone())
        } else {
            tensor.clone()
        }
    };
    check_indices(layout);
    let times = &fetched.times;
    let rows = times.delta_t.len();
    let roots = times.root_recency.len();
    ModelInput {
        memory: lift(&fetched.memory),
        mail: lift(&fetched.mail),
        backlog: (fetched.earlier_mail.clone())
            .map(|mail| backlog_input(&times.backlog, mail, &device.clone().inner())),
        trends: (fetched.trends.as_ref())
            .map(|sums| trend_input(&times.trends, lift(sums), rows, device)),
        delta_t: floats(times.delta_t.clone(), [rows], device),
        active: ints(times.active.clone(), [rows], device),
        mailbox: layout
            .attends_to_mail
            .then(|| mailbox_input(fetched, device)),
        node_features: node_features.as_ref().map(lift),
        root_recency: floats(times.root_recency.clone(), [roots], device),
        pair_history: None,
        draws: None,
        layers: layout
            .layers
            .iter()
            .zip(edge)
            .map(|(mfg, edge)| layer_input(mfg, lift(edge), device))
            .collect(),
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
        source: ints(source, [rows], device),
        source_uses: uses(&source_uses, device),
    }
}

fn layer_input(mfg: &Mfg, edge: Tensor<2>, device: &Device) -> LayerInput {
    let root_uses = uses(&mfg.root_uses, device);
    LayerInput {
        root_row: ints(mfg.root_row.clone(), [mfg.roots], device),
        root_uses: root_uses.clone(),
        slots: AttentionSlots {
            slot: slots(&mfg.slots, [mfg.roots, mfg.fanout], device),
            query_uses: root_uses,
            uses: uses(&mfg.slot_uses, device),
            draw_row: None,
        },
        edge,
    }
}

/// Row 0 of node rows without columns, each mail's place and age, and the row's query: rows of
/// one node have the same memory, unless a mitigation has corrected some of them.
fn mailbox_input(fetched: &FetchedMemory, device: &Device) -> MailboxInput {
    let (times, rows) = (&fetched.times, fetched.mail_row.len());
    let query = match times.corrected {
        Some(1..) => Distinct::of(0..rows),
        _ => Distinct::of(fetched.mail_row.iter()),
    };
    let slots_of_node = times.mail_delta_t.len().checked_div(rows).unwrap_or(1);
    let mut slot = Vec::with_capacity(times.mail_delta_t.len());
    let of_rows = fetched.mail_row.iter().zip(&query.number);
    for ((&mail_row, &query), ages) in of_rows.zip(times.mail_delta_t.chunks(slots_of_node.max(1)))
    {
        let mail_slots = (mail_row * slots_of_node as i32..).zip(ages);
        slot.extend(mail_slots.map(|(place, &delta_t)| Slot {
            row: 0,
            event: place,
            delta_t,
            query,
        }));
    }
    let query_uses = Csr::invert(query.first.len(), query.number.iter().copied());
    MailboxInput {
        slot: slots(&slot, [rows, slots_of_node], device),
        query_uses: uses(&query_uses, device),
        query: ints(query.first.clone(), [query.first.len()], device),
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
    let data = tensor
        .try_into_data()
        .inspect_err(device::heed)
        .map_err(|error| EvalError::Device(format!("{error:?}")))?;
    data.try_to_vec()
        .map_err(|error| EvalError::Device(format!("{error:?}")))
}
