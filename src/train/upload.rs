//! From a batch's plain vectors to tensors on the device.

use burn::tensor::{Device, Int, Shape, Tensor, TensorData};

use crate::batch::Csr;
use crate::batch::Mfg;
use crate::kernels::gather_rows::Uses;
use crate::kernels::temporal_attention::AttentionSlots;
use crate::memory::FetchedMemory;
use crate::model::ModelInput;

/// A float tensor of `values`, row-major.
pub fn floats<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, Shape::new(shape)), device)
}

/// An integer tensor of `values`, row-major.
pub fn ints<const D: usize>(
    values: Vec<i32>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, Shape::new(shape)), device)
}

fn uses(csr: &Csr, device: &Device) -> Uses {
    Uses {
        offsets: ints(csr.offsets.clone(), [csr.offsets.len()], device),
        items: ints(csr.items.clone(), [csr.items.len()], device),
    }
}

/// What the model reads of a batch, on `device` (with autodiff when training).
///
/// `edge` is `[event rows, edge width]` for the events of `mfg`, `node_features`
/// `[rows, node width]` for its rows.
pub fn model_input(
    mfg: &Mfg,
    fetched: &FetchedMemory,
    edge: Tensor<2>,
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
    check_indices(mfg);
    let rows = mfg.rows();
    let slots: Vec<i32> = mfg.slots.as_flattened().to_vec();
    ModelInput {
        memory: lift(&fetched.memory),
        mail: lift(&fetched.mail),
        delta_t: floats(fetched.times.delta_t.clone(), [rows], device),
        active: ints(fetched.times.active.clone(), [rows], device),
        node_features: node_features.as_ref().map(lift),
        edge: lift(&edge),
        root_row: ints(mfg.root_row.clone(), [mfg.roots], device),
        root_uses: uses(&mfg.root_uses, device),
        slots: AttentionSlots {
            slot: ints(slots, [mfg.roots, mfg.fanout, 3], device),
            uses: uses(&mfg.slot_uses, device),
        },
    }
}

/// Shaders run without bounds checks, so that every index is checked here, once a batch.
///
/// # Panics
/// When an index points outside its table: a bug of whoever laid the batch out.
fn check_indices(mfg: &Mfg) {
    let (rows, events) = (mfg.rows() as i32, mfg.events.len() as i32);
    let slots = (mfg.roots * mfg.fanout) as i32;
    let within = |items: &[i32], bound: i32| items.iter().all(|&i| (0..bound).contains(&i));
    assert!(within(&mfg.root_row, rows), "rows of roots");
    assert!(
        within(&mfg.root_uses.items, mfg.roots as i32),
        "uses by roots"
    );
    assert!(within(&mfg.slot_uses.items, slots), "uses by slots");
    let valid = |[row, event, _]: &[i32; 3]| {
        *row == -1 || (0..rows).contains(row) && (0..events).contains(event)
    };
    assert!(mfg.slots.iter().all(valid), "slots");
}
