//! Launches of the scores of pairs and of the loss: history, relu and output layer in one, cross-entropy in a
//! second, their gradients in two more.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};

use super::chunks::Chunks;
use super::wgsl::{self, FINITE, GATES, KernelSpec, ROWS, TOTAL};
use crate::kernels::choice::SOFTWARE;
use crate::kernels::cpu::link_scores as cpu;
use crate::kernels::link_scores::{LinkPlaces, LinkScoring, LinkTensors};

/// `shaders/link_scores.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "link_scores",
    source: include_str!("../../../shaders/link_scores.wgsl"),
    shared: &[ROWS, FINITE, TOTAL],
    workgroup: 64,
    storage_buffers: 8,
    variants: &[
        &[("WIDTH", 100), ("HISTORY", 0)],
        &[
            ("WIDTH", 100),
            ("HISTORY", 0),
            ("WORKGROUP", SOFTWARE.row_workgroup),
        ],
        &[("WIDTH", 100), ("HISTORY", 16)],
        &[
            ("WIDTH", 100),
            ("HISTORY", 16),
            ("WORKGROUP", SOFTWARE.row_workgroup),
        ],
    ],
};

/// `shaders/link_loss.wgsl`.
pub(crate) static LOSS: KernelSpec = KernelSpec {
    name: "link_loss",
    source: include_str!("../../../shaders/link_loss.wgsl"),
    shared: &[FINITE, TOTAL],
    workgroup: 128,
    storage_buffers: 2,
    variants: &[],
};

const BACKWARD_VARIANTS: &[&[(&str, u32)]] = &[
    &[("WIDTH", 100), ("HISTORY", 0)],
    &[("WIDTH", 100), ("HISTORY", 16)],
];

/// `shaders/link_scores_backward.wgsl`.
pub(crate) static BACKWARD: KernelSpec = KernelSpec {
    name: "link_scores_backward",
    source: include_str!("../../../shaders/link_scores_backward.wgsl"),
    shared: &[ROWS, FINITE, GATES],
    workgroup: 64,
    storage_buffers: 8,
    variants: BACKWARD_VARIANTS,
};

/// `shaders/link_scores_backward_sums.wgsl`.
pub(crate) static BACKWARD_SUMS: KernelSpec = KernelSpec {
    name: "link_scores_backward_sums",
    source: include_str!("../../../shaders/link_scores_backward_sums.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 5,
    variants: BACKWARD_VARIANTS,
};

fn contiguous(tensors: LinkTensors<CubeBackend>) -> LinkTensors<CubeBackend> {
    LinkTensors {
        source: into_contiguous(tensors.source),
        destination: into_contiguous(tensors.destination),
        bias: into_contiguous(tensors.bias),
        output: into_contiguous(tensors.output),
        output_bias: into_contiguous(tensors.output_bias),
        history: into_contiguous(tensors.history),
    }
}

impl LinkScoring for CubeBackend {
    fn link_scores(
        tensors: LinkTensors<Self>,
        places: LinkPlaces<Self>,
        statistics: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let of_pairs = LinkTensors {
            source: Self::float_select(tensors.source, 0, places.source),
            destination: Self::float_select(tensors.destination, 0, places.destination),
            ..tensors
        };
        score(of_pairs, statistics).0
    }
}

/// Logits, and the two products as [`link_scores_backward`] takes them: those of the destinations
/// with the history's share.
pub(super) fn score(
    tensors: LinkTensors<CubeBackend>,
    statistics: FloatTensor<CubeBackend>,
) -> (FloatTensor<CubeBackend>, [FloatTensor<CubeBackend>; 2]) {
    let statistics = into_contiguous(statistics);
    let LinkTensors {
        source,
        mut destination,
        bias,
        output,
        output_bias,
        history: weight,
    } = contiguous(tensors);
    let (sources, width) = (source.shape()[0], source.shape()[1]);
    let (pairs, history) = (destination.shape()[0], weight.shape()[0]);
    if history > 0 {
        destination = wgsl::writable(destination);
    }
    let logits = wgsl::empty(&source, [pairs]);
    wgsl::launch(
        &FORWARD,
        &[
            ("WIDTH", width as u32),
            ("HISTORY", history as u32),
            ("WORKGROUP", wgsl::row_workgroup(&source, FORWARD.workgroup)),
        ],
        pairs,
        &[
            &source,
            &destination,
            &bias,
            &output,
            &output_bias,
            &statistics,
            &weight,
            &logits,
        ],
        &[sources as u32, pairs as u32],
    );
    (logits, [source, destination])
}

/// Mean cross-entropy of a batch's logits `[2 events]`.
pub(super) fn link_loss(logits: &FloatTensor<CubeBackend>) -> FloatTensor<CubeBackend> {
    let events = logits.shape()[0] / 2;
    let loss = wgsl::empty(logits, [1]);
    wgsl::launch(
        &LOSS,
        &[],
        1,
        &[logits, &loss],
        &[events as u32, cpu::mean_scale(events).to_bits()],
    );
    loss
}

/// Gradients of all inputs, given what [`score`] made of them and the gradient of the loss. Those of bias, output weights,
/// output bias and history are written to `room`.
///
/// Those of the products take the products' place, unless somebody else holds them.
pub(super) fn link_scores_backward(
    tensors: LinkTensors<CubeBackend>,
    statistics: FloatTensor<CubeBackend>,
    logits: FloatTensor<CubeBackend>,
    grad: FloatTensor<CubeBackend>,
    room: [CubeTensor; 4],
) -> LinkTensors<CubeBackend> {
    let [statistics, logits, grad] = [statistics, logits, grad].map(into_contiguous);
    let LinkTensors {
        source,
        destination,
        bias,
        output,
        history,
        ..
    } = contiguous(tensors);
    let [source, destination] = [source, destination].map(wgsl::writable);
    let (events, width) = (source.shape()[0], source.shape()[1]);
    let history = history.shape()[0];
    let constants = [("WIDTH", width as u32), ("HISTORY", history as u32)];
    let (chunks, columns) = (Chunks::of(events), (2 + history) * width + 1);
    let partial = wgsl::empty(&source, [chunks.count, columns]);
    wgsl::launch(
        &BACKWARD,
        &constants,
        wgsl::groups_of(chunks.count * (width + 1), BACKWARD.workgroup),
        &[
            &source,
            &destination,
            &bias,
            &output,
            &statistics,
            &logits,
            &grad,
            &partial,
        ],
        &[
            events as u32,
            cpu::mean_scale(events).to_bits(),
            chunks.rows as u32,
        ],
    );
    let [bias, output, output_bias, history] = room;
    let d = LinkTensors {
        bias,
        output,
        output_bias,
        history,
        source,
        destination,
    };
    wgsl::launch(
        &BACKWARD_SUMS,
        &constants,
        wgsl::groups_of(columns, BACKWARD_SUMS.workgroup),
        &[&partial, &d.bias, &d.output, &d.output_bias, &d.history],
        &[chunks.count as u32],
    );
    d
}
