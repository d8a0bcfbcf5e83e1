//! Scores of a batch's pairs and the loss on them, after the link predictor's two products:
//! relu, output layer and cross-entropy in two launches, their gradients in two more.
//! [`mod@super::link_predictor`] is what autodiff knows.

use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, into_contiguous};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use crate::kernels::costs;
use crate::kernels::cpu::link_scores as cpu;
use crate::kernels::flex::{floats, from_floats};
use crate::kernels::wgsl::{self, FINITE, GATES, KernelSpec, ROWS};
use crate::profiler::{self, Kind};

/// `shaders/link_scores.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "link_scores",
    source: include_str!("../../../shaders/link_scores.wgsl"),
    shared: &[ROWS, FINITE],
    workgroup: 64,
    storage_buffers: 6,
    variants: &[&[("WIDTH", 100)], &[("WIDTH", 100), ("WORKGROUP", 8)]],
};

/// `shaders/link_loss.wgsl`.
pub(crate) static LOSS: KernelSpec = KernelSpec {
    name: "link_loss",
    source: include_str!("../../../shaders/link_loss.wgsl"),
    shared: &[FINITE],
    workgroup: 128,
    storage_buffers: 2,
    variants: &[],
};

/// `shaders/link_scores_backward.wgsl`.
pub(crate) static BACKWARD: KernelSpec = KernelSpec {
    name: "link_scores_backward",
    source: include_str!("../../../shaders/link_scores_backward.wgsl"),
    shared: &[ROWS, FINITE, GATES],
    workgroup: 64,
    storage_buffers: 9,
    variants: &[&[("WIDTH", 100)]],
};

/// `shaders/link_scores_backward_sums.wgsl`.
pub(crate) static BACKWARD_SUMS: KernelSpec = KernelSpec {
    name: "link_scores_backward_sums",
    source: include_str!("../../../shaders/link_scores_backward_sums.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 4,
    variants: &[&[("WIDTH", 100)]],
};

/// What the operation reads, or the gradients of that, as burn's backends take it.
#[derive(ExtensionType, Debug, Clone)]
pub(crate) struct LinkTensors<B: Backend> {
    /// `[events, width]`.
    pub source: FloatTensor<B>,
    /// `[2 events, width]`.
    pub destination: FloatTensor<B>,
    /// `[width]`.
    pub bias: FloatTensor<B>,
    /// `[width]`.
    pub output: FloatTensor<B>,
    /// `[1]`.
    pub output_bias: FloatTensor<B>,
}

/// Loss and logits.
#[derive(ExtensionType)]
pub(crate) struct LinkOutput<B: Backend> {
    /// `[1]`.
    pub loss: FloatTensor<B>,
    /// `[2 events]`.
    pub logits: FloatTensor<B>,
}

/// Dispatch of [`link_scores`] to the backends.
#[backend_extension(Cube, Flex)]
pub(crate) trait LinkScoring: Backend {
    /// See [`link_scores`].
    fn link_scores(#[extension_type] tensors: LinkTensors<Self>) -> LinkOutput<Self>;
}

fn contiguous(tensors: LinkTensors<CubeBackend>) -> LinkTensors<CubeBackend> {
    LinkTensors {
        source: into_contiguous(tensors.source),
        destination: into_contiguous(tensors.destination),
        bias: into_contiguous(tensors.bias),
        output: into_contiguous(tensors.output),
        output_bias: into_contiguous(tensors.output_bias),
    }
}

impl LinkScoring for CubeBackend {
    fn link_scores(tensors: LinkTensors<Self>) -> LinkOutput<Self> {
        let LinkTensors {
            source,
            destination,
            bias,
            output,
            output_bias,
        } = contiguous(tensors);
        let (events, width) = (source.shape()[0], source.shape()[1]);
        let logits = wgsl::empty(&source, [2 * events]);
        let loss = wgsl::empty(&source, [1]);
        let workgroup = wgsl::row_workgroup(&source, FORWARD.workgroup);
        wgsl::launch(
            &FORWARD,
            &[("WIDTH", width as u32), ("WORKGROUP", workgroup)],
            2 * events,
            &[&source, &destination, &bias, &output, &output_bias, &logits],
            &[events as u32],
        );
        wgsl::launch(
            &LOSS,
            &[],
            1,
            &[&logits, &loss],
            &[events as u32, cpu::mean_scale(events).to_bits()],
        );
        LinkOutput { loss, logits }
    }
}

/// Gradients of all inputs, given the logits and the gradient of the loss.
pub(super) fn link_scores_backward(
    tensors: LinkTensors<CubeBackend>,
    logits: FloatTensor<CubeBackend>,
    grad: FloatTensor<CubeBackend>,
) -> LinkTensors<CubeBackend> {
    let [logits, grad] = [logits, grad].map(into_contiguous);
    let LinkTensors {
        source,
        destination,
        bias,
        output,
        ..
    } = contiguous(tensors);
    let (events, width) = (source.shape()[0], source.shape()[1]);
    let chunks = events.div_ceil(cpu::CHUNK);
    let d = LinkTensors {
        source: wgsl::empty(&source, source.shape()),
        destination: wgsl::empty(&source, destination.shape()),
        bias: wgsl::empty(&source, [width]),
        output: wgsl::empty(&source, [width]),
        output_bias: wgsl::empty(&source, [1]),
    };
    let partial = wgsl::empty(&source, [chunks, 2 * width + 1]);
    wgsl::launch(
        &BACKWARD,
        &[("WIDTH", width as u32)],
        chunks,
        &[
            &source,
            &destination,
            &bias,
            &output,
            &logits,
            &grad,
            &d.source,
            &d.destination,
            &partial,
        ],
        &[events as u32, cpu::mean_scale(events).to_bits()],
    );
    wgsl::launch(
        &BACKWARD_SUMS,
        &[("WIDTH", width as u32)],
        wgsl::groups_of(2 * width + 1, BACKWARD_SUMS.workgroup),
        &[&partial, &d.bias, &d.output, &d.output_bias],
        &[chunks as u32],
    );
    d
}

impl LinkScoring for Flex {
    fn link_scores(tensors: LinkTensors<Self>) -> LinkOutput<Self> {
        let logits = cpu::link_scores(&cpu::LinkInput {
            source: &floats(&tensors.source),
            destination: &floats(&tensors.destination),
            bias: &floats(&tensors.bias),
            output: &floats(&tensors.output),
            output_bias: floats(&tensors.output_bias)[0],
        });
        let pairs = logits.len();
        LinkOutput {
            loss: from_floats(vec![cpu::link_loss(&logits)], [1]),
            logits: from_floats(logits, [pairs]),
        }
    }
}

/// Products of a batch's pairs and what the predictor does with them.
#[derive(Debug, Clone)]
pub struct LinkLayer {
    /// Products of the sources, `[events, width]`.
    pub source: Tensor<2>,
    /// Products of the destinations, then of the negatives, `[2 events, width]`.
    pub destination: Tensor<2>,
    /// Added to every pair before the relu, `[width]`.
    pub bias: Tensor<1>,
    /// Output weights, `[width]`.
    pub output: Tensor<1>,
    /// Output bias, `[1]`.
    pub output_bias: Tensor<1>,
}

/// Scores and loss of a batch.
#[derive(Debug, Clone)]
pub struct LinkScores {
    /// Logits of (src, dst), then of (src, neg), `[2 events]`.
    pub logits: Tensor<1>,
    /// Mean cross-entropy of the first half against 1 plus that of the second against 0,
    /// `[1]`; 0 without events.
    pub loss: Tensor<1>,
}

/// relu(source + destination + bias) · output + output bias for each pair, and the loss.
/// Without gradients.
pub fn link_scores(layer: LinkLayer) -> LinkScores {
    let _operation = profiler::operation("link_scores", Kind::Kernel, || {
        let [events, width] = layer.source.dims();
        costs::link_scores(events, width)
    });
    let output = Dispatch::link_scores(LinkTensors {
        source: layer.source.into_dispatch(),
        destination: layer.destination.into_dispatch(),
        bias: layer.bias.into_dispatch(),
        output: layer.output.into_dispatch(),
        output_bias: layer.output_bias.into_dispatch(),
    });
    LinkScores {
        logits: Tensor::from_dispatch(output.logits),
        loss: Tensor::from_dispatch(output.loss),
    }
}
