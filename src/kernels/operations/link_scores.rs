//! Scores of pairs, and the loss on those of a batch, after the link predictor's two products:
//! history, relu and output layer in one launch, cross-entropy in a second, their gradients in two
//! more.
//! [`mod@super::link_predictor`] is what autodiff knows.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, into_contiguous};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Device, Int, Tensor};

use crate::kernels::choice::SOFTWARE;
use crate::kernels::costs;
use crate::kernels::cpu::link_scores as cpu;
use crate::kernels::flex::{floats, from_floats, ints};
use crate::kernels::wgsl::{self, FINITE, GATES, KernelSpec, ROWS};
use crate::profiler::{self, Kind};

/// `shaders/link_scores.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "link_scores",
    source: include_str!("../../../shaders/link_scores.wgsl"),
    shared: &[ROWS, FINITE],
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
    shared: &[FINITE],
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

/// What the operation reads, or the gradients of that, as burn's backends take it.
#[derive(ExtensionType, Debug, Clone)]
pub(crate) struct LinkTensors<B: Backend> {
    /// `[events, width]`, or of each pair.
    pub source: FloatTensor<B>,
    /// `[2 events, width]`, or of each pair.
    pub destination: FloatTensor<B>,
    /// `[width]`.
    pub bias: FloatTensor<B>,
    /// `[width]`.
    pub output: FloatTensor<B>,
    /// `[1]`.
    pub output_bias: FloatTensor<B>,
    /// Weights of the statistics of a pair, `[statistics, width]`; empty where none are read.
    pub history: FloatTensor<B>,
}

/// Rows of pairs among the products, as burn's backends take them.
#[derive(ExtensionType, Debug, Clone)]
pub(crate) struct LinkPlaces<B: Backend> {
    /// Among those of the sources, `[pairs]`.
    pub source: IntTensor<B>,
    /// Among those of the destinations, `[pairs]`.
    pub destination: IntTensor<B>,
}

/// Dispatch of [`link_scores`] to the backends.
#[backend_extension(Cube, Flex)]
pub(crate) trait LinkScoring: Backend {
    /// See [`link_scores`]; `statistics` is `[pairs, statistics]`.
    fn link_scores(
        #[extension_type] tensors: LinkTensors<Self>,
        #[extension_type] places: LinkPlaces<Self>,
        statistics: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

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

/// Gradients of all inputs, given what [`score`] made of them and the gradient of the loss.
///
/// Those of the products take the products' place, unless somebody else holds them.
pub(super) fn link_scores_backward(
    tensors: LinkTensors<CubeBackend>,
    statistics: FloatTensor<CubeBackend>,
    logits: FloatTensor<CubeBackend>,
    grad: FloatTensor<CubeBackend>,
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
    let (chunks, columns) = (events.div_ceil(cpu::CHUNK), (2 + history) * width + 1);
    let partial = wgsl::empty(&source, [chunks, columns]);
    wgsl::launch(
        &BACKWARD,
        &constants,
        chunks,
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
        &[events as u32, cpu::mean_scale(events).to_bits()],
    );
    let d = LinkTensors {
        bias: wgsl::empty(&source, [width]),
        output: wgsl::empty(&source, [width]),
        output_bias: wgsl::empty(&source, [1]),
        history: wgsl::empty(&source, [history, width]),
        source,
        destination,
    };
    wgsl::launch(
        &BACKWARD_SUMS,
        &constants,
        wgsl::groups_of(columns, BACKWARD_SUMS.workgroup),
        &[&partial, &d.bias, &d.output, &d.output_bias, &d.history],
        &[chunks as u32],
    );
    d
}

impl LinkScoring for Flex {
    fn link_scores(
        tensors: LinkTensors<Self>,
        places: LinkPlaces<Self>,
        statistics: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let input = cpu::LinkInput {
            source: &floats(&tensors.source),
            bias: &floats(&tensors.bias),
            output: &floats(&tensors.output),
            output_bias: floats(&tensors.output_bias)[0],
            history: cpu::HistoryInput {
                statistics: &floats(&statistics),
                weight: &floats(&tensors.history),
            },
        };
        let [source, destination] = [&places.source, &places.destination].map(ints);
        let of_destinations = floats(&tensors.destination);
        let logits = cpu::pair_scores(&input, &of_destinations, [&source, &destination]);
        let pairs = logits.len();
        from_floats(logits, [pairs])
    }
}

/// Products and what the predictor does with those of pairs.
#[derive(Debug, Clone)]
pub struct LinkLayer {
    /// Products of the sources, `[sources, width]`.
    pub source: Tensor<2>,
    /// Products of the destinations, `[destinations, width]`.
    pub destination: Tensor<2>,
    /// Added to every pair before the relu, `[width]`.
    pub bias: Tensor<1>,
    /// Output weights, `[width]`.
    pub output: Tensor<1>,
    /// Output bias, `[1]`.
    pub output_bias: Tensor<1>,
    /// History of each pair, if any is read.
    pub history: Option<PairHistory>,
}

/// Statistics of what has happened between the two nodes of each pair, and their weights in the
/// hidden layer.
#[derive(Debug, Clone)]
pub struct PairHistory {
    /// `[pairs, statistics]`, those of a batch (src, dst), then (src, neg); they get no gradient.
    pub statistics: Tensor<2>,
    /// `[statistics, width]`.
    pub weight: Tensor<2>,
}

impl PairHistory {
    /// The two tensors, without rows where there is no history.
    ///
    /// # Panics
    /// When they are not of `pairs` pairs and of `width`: shaders have no bounds checks.
    pub(super) fn tensors(
        history: Option<PairHistory>,
        [pairs, width]: [usize; 2],
        device: &Device,
    ) -> [Tensor<2>; 2] {
        let Some(PairHistory { statistics, weight }) = history else {
            return [[pairs, 0], [0, width]].map(|shape| Tensor::empty(shape, device));
        };
        let count = weight.dims()[0];
        assert_eq!(statistics.dims(), [pairs, count], "statistics of the pairs");
        assert_eq!(weight.dims(), [count, width], "weights of the statistics");
        [statistics, weight]
    }
}

/// How many statistics of a pair are read.
pub(super) fn statistics_of(history: Option<&PairHistory>) -> usize {
    history.map_or(0, |history| history.weight.dims()[0])
}

/// relu(source + destination + bias + statistics · weight) · output + output bias for each pair,
/// `[pairs]`; `source` and `destination` `[pairs]` are its rows among the products. Without
/// gradients.
///
/// # Panics
/// When places and statistics are not of as many pairs.
pub fn link_scores(layer: LinkLayer, [source, destination]: [Tensor<1, Int>; 2]) -> Tensor<1> {
    let ([pairs], [_, width]) = (source.dims(), layer.destination.dims());
    let _operation = profiler::operation("link_scores", Kind::Kernel, || {
        costs::link_scores([pairs, width, statistics_of(layer.history.as_ref())])
    });
    assert_eq!(destination.dims(), [pairs], "places of the pairs");
    assert_eq!(layer.source.dims()[1], width, "products of one width");
    let device = layer.source.device();
    let [statistics, weight] = PairHistory::tensors(layer.history, [pairs, width], &device);
    let tensors = LinkTensors {
        source: layer.source.into_dispatch(),
        destination: layer.destination.into_dispatch(),
        bias: layer.bias.into_dispatch(),
        output: layer.output.into_dispatch(),
        output_bias: layer.output_bias.into_dispatch(),
        history: weight.into_dispatch(),
    };
    let places = LinkPlaces {
        source: source.into_dispatch(),
        destination: destination.into_dispatch(),
    };
    let statistics = statistics.into_dispatch();
    Tensor::from_dispatch(Dispatch::link_scores(tensors, places, statistics))
}
