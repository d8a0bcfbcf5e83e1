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
