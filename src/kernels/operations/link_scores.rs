//! Scores of pairs, and the loss on those of a batch, after the link predictor's two products:
//! history, relu and output layer in one launch, cross-entropy in a second, their gradients in two
//! more.
//! [`mod@super::link_predictor`] is what autodiff knows.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, backend_extension};
use burn::tensor::{Device, Int, Tensor};

use crate::kernels::costs;
use crate::kernels::cpu::link_scores as cpu;
use crate::kernels::flex::{floats, from_floats, ints};
use crate::profiler::{self, Kind};

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
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub(crate) trait LinkScoring: Backend {
    /// See [`link_scores`]; `statistics` is `[pairs, statistics]`.
    fn link_scores(
        #[extension_type] tensors: LinkTensors<Self>,
        #[extension_type] places: LinkPlaces<Self>,
        statistics: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
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
