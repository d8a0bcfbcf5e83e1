//! The link predictor and its loss: the two products of a batch's embeddings, and what
//! [`mod@super::link_scores`] makes of them, as one operation.
//!
//! On the GPU it is a sequence of launches, on the CPU
//! `cpu/link_predictor.rs`.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, ExtensionType, Flex, TensorMetadata,
    backend_extension,
};
use burn::tensor::{Shape, Tensor};

use super::link_scores::{LinkLayer, LinkTensors, PairHistory, statistics_of};
use crate::kernels::autodiff::differentiable;
use crate::kernels::costs;
use crate::kernels::cpu::link_predictor as cpu;
use crate::kernels::cpu::link_scores::{HistoryInput, link_loss};
use crate::kernels::flex::{floats, from_floats};
use crate::profiler::{self, Kind};

/// Embeddings and parameters of the predictor, or their gradients, as burn's backends take them.
#[derive(ExtensionType, Debug, Clone)]
pub struct PredictorTensors<B: Backend> {
    /// Embeddings of src ‖ dst ‖ neg, `[3 events, width]`.
    pub embedding: FloatTensor<B>,
    /// `[width, width]`.
    pub source: FloatTensor<B>,
    /// `[width]`.
    pub source_bias: FloatTensor<B>,
    /// `[width, width]`.
    pub destination: FloatTensor<B>,
    /// `[width]`.
    pub destination_bias: FloatTensor<B>,
    /// `[width, 1]`.
    pub output: FloatTensor<B>,
    /// `[1]`.
    pub output_bias: FloatTensor<B>,
    /// Weights of the statistics of a pair, `[statistics, width]`; empty where none are read.
    pub history: FloatTensor<B>,
}

/// Loss, logits and the two products.
#[derive(ExtensionType, Debug, Clone)]
pub struct PredictorOutput<B: Backend> {
    pub(crate) loss: FloatTensor<B>,
    pub(crate) logits: FloatTensor<B>,
    pub(crate) source: FloatTensor<B>,
    pub(crate) destination: FloatTensor<B>,
}

/// Dispatch of [`link_predictor`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff)]
pub trait LinkPrediction: Backend {
    /// See [`link_predictor`]; `statistics` is `[2 events, statistics]`.
    fn link_predictor(
        #[extension_type] tensors: PredictorTensors<Self>,
        statistics: FloatTensor<Self>,
    ) -> PredictorOutput<Self>;

    /// Gradients of `tensors`, given the gradient of the loss.
    fn link_predictor_backward(
        #[extension_type] tensors: PredictorTensors<Self>,
        statistics: FloatTensor<Self>,
        #[extension_type] output: PredictorOutput<Self>,
        grad: FloatTensor<Self>,
    ) -> PredictorTensors<Self>;
}

/// Dispatch of [`link_products`] to the backends: pairs are scored without autodiff.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub(crate) trait LinkProducts: Backend {
    /// See [`link_products`].
    fn link_products(
        #[extension_type] tensors: PredictorTensors<Self>,
        sources: usize,
    ) -> LinkTensors<Self>;
}

/// Calls `kernel` with the numbers of `tensors` and `statistics`.
fn with_numbers<T>(
    tensors: &PredictorTensors<Flex>,
    statistics: &[f32],
    kernel: impl FnOnce(&cpu::PredictorInput<'_>) -> T,
) -> T {
    let [source_bias, destination_bias] =
        [&tensors.source_bias, &tensors.destination_bias].map(floats);
    let both = source_bias.iter().zip(destination_bias.iter());
    let bias: Vec<f32> = both.map(|(a, b)| a + b).collect();
    kernel(&cpu::PredictorInput {
        embedding: &floats(&tensors.embedding),
        source: &floats(&tensors.source),
        destination: &floats(&tensors.destination),
        bias: &bias,
        output: &floats(&tensors.output),
        output_bias: floats(&tensors.output_bias)[0],
        history: HistoryInput {
            statistics,
            weight: &floats(&tensors.history),
        },
    })
}

impl LinkProducts for Flex {
    fn link_products(tensors: PredictorTensors<Self>, sources: usize) -> LinkTensors<Self> {
        let width = tensors.source_bias.shape()[0];
        let product = |numbers: Vec<f32>| {
            let rows = numbers.len() / width;
            from_floats(numbers, [rows, width])
        };
        let ([source, destination], bias) = with_numbers(&tensors, &[], |input| {
            let products = cpu::link_products(input, sources).map(product);
            (products, from_floats(input.bias.to_vec(), [width]))
        });
        LinkTensors {
            source,
            destination,
            bias,
            output: Self::float_reshape(tensors.output, Shape::new([width])),
            output_bias: tensors.output_bias,
            history: tensors.history,
        }
    }
}

impl LinkPrediction for Flex {
    fn link_predictor(
        tensors: PredictorTensors<Self>,
        statistics: FloatTensor<Self>,
    ) -> PredictorOutput<Self> {
        let output = with_numbers(&tensors, &floats(&statistics), cpu::link_predictor);
        let (pairs, width) = (output.logits.len(), tensors.source_bias.shape()[0]);
        PredictorOutput {
            loss: from_floats(vec![link_loss(&output.logits)], [1]),
            logits: from_floats(output.logits, [pairs]),
            source: from_floats(output.source, [pairs / 2, width]),
            destination: from_floats(output.destination, [pairs, width]),
        }
    }

    fn link_predictor_backward(
        tensors: PredictorTensors<Self>,
        statistics: FloatTensor<Self>,
        output: PredictorOutput<Self>,
        grad: FloatTensor<Self>,
    ) -> PredictorTensors<Self> {
        let [source, destination] = [&output.source, &output.destination].map(floats);
        let products = cpu::Products {
            source: &source,
            destination: &destination,
        };
        let d = with_numbers(&tensors, &floats(&statistics), |input| {
            cpu::link_predictor_backward(input, products, &floats(&output.logits), floats(&grad)[0])
        });
        PredictorTensors {
            embedding: from_floats(d.embedding, tensors.embedding.shape()),
            source: from_floats(d.source, tensors.source.shape()),
            source_bias: from_floats(d.bias.clone(), tensors.source_bias.shape()),
            destination: from_floats(d.destination, tensors.destination.shape()),
            destination_bias: from_floats(d.bias, tensors.destination_bias.shape()),
            output: from_floats(d.output, tensors.output.shape()),
            output_bias: from_floats(vec![d.output_bias], [1]),
            history: from_floats(d.history, tensors.history.shape()),
        }
    }
}

impl<B: LinkPrediction, C: CheckpointStrategy> LinkPrediction for Autodiff<B, C> {
    fn link_predictor(
        tensors: PredictorTensors<Self>,
        statistics: FloatTensor<Self>,
    ) -> PredictorOutput<Self> {
        let inputs = [
            tensors.embedding.node(),
            tensors.source.node(),
            tensors.source_bias.node(),
            tensors.destination.node(),
            tensors.destination_bias.node(),
            tensors.output.node(),
            tensors.output_bias.node(),
            tensors.history.node(),
        ];
        let tensors = PredictorTensors::<B> {
            embedding: tensors.embedding.into_primitive(),
            source: tensors.source.into_primitive(),
            source_bias: tensors.source_bias.into_primitive(),
            destination: tensors.destination.into_primitive(),
            destination_bias: tensors.destination_bias.into_primitive(),
            output: tensors.output.into_primitive(),
            output_bias: tensors.output_bias.into_primitive(),
            history: tensors.history.into_primitive(),
        };
        let statistics = statistics.into_primitive();
        let output = B::link_predictor(tensors.clone(), statistics.clone());
        let [logits, source, destination] = [&output.logits, &output.source, &output.destination]
            .map(|tensor| <Self as AutodiffBackend>::from_inner(tensor.clone()));
        let (loss, kept) = (output.loss.clone(), (tensors, statistics, output));
        let loss = differentiable::<B, C, _, 8>(inputs, kept, loss, |kept, grad| {
            let (tensors, statistics, output) = kept;
            let _operation = profiler::operation("link_predictor_backward", Kind::Kernel, || {
                let (embedding, history) = (tensors.embedding.shape(), tensors.history.shape());
                costs::link_predictor([embedding[0] / 3, embedding[1], history[0]], true)
            });
            let d = B::link_predictor_backward(tensors, statistics, output, grad);
            [
                d.embedding,
                d.source,
                d.source_bias,
                d.destination,
                d.destination_bias,
                d.output,
                d.output_bias,
                d.history,
            ]
        });
        PredictorOutput {
            loss,
            logits,
            source,
            destination,
        }
    }

    fn link_predictor_backward(
        tensors: PredictorTensors<Self>,
        statistics: FloatTensor<Self>,
        output: PredictorOutput<Self>,
        grad: FloatTensor<Self>,
    ) -> PredictorTensors<Self> {
        let _ = (tensors, statistics, output, grad);
        unreachable!("first order only")
    }
}

/// What the predictor reads.
#[derive(Debug, Clone)]
pub struct PredictorInput {
    /// Embeddings of src ‖ dst ‖ neg, `[3 events, width]`.
    pub embedding: Tensor<2>,
    /// `[width, width]`.
    pub source: Tensor<2>,
    /// `[width]`.
    pub source_bias: Tensor<1>,
    /// `[width, width]`.
    pub destination: Tensor<2>,
    /// `[width]`.
    pub destination_bias: Tensor<1>,
    /// `[width, 1]`.
    pub output: Tensor<2>,
    /// `[1]`.
    pub output_bias: Tensor<1>,
    /// History of each pair, if any is read.
    pub history: Option<PairHistory>,
}

impl PredictorInput {
    /// As the backends take them, with the statistics of `pairs` pairs.
    fn into_dispatch(self, pairs: usize) -> (PredictorTensors<Dispatch>, FloatTensor<Dispatch>) {
        let ([_, width], device) = (self.embedding.dims(), self.embedding.device());
        let [statistics, weight] = PairHistory::tensors(self.history, [pairs, width], &device);
        let tensors = PredictorTensors {
            embedding: self.embedding.into_dispatch(),
            source: self.source.into_dispatch(),
            source_bias: self.source_bias.into_dispatch(),
            destination: self.destination.into_dispatch(),
            destination_bias: self.destination_bias.into_dispatch(),
            output: self.output.into_dispatch(),
            output_bias: self.output_bias.into_dispatch(),
            history: weight.into_dispatch(),
        };
        (tensors, statistics.into_dispatch())
    }
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

/// The products of any embeddings, of which the first `sources` are sources, as
/// [`link_predictor`] makes them, bit for bit, with all that makes scores of them. Without
/// gradients.
pub(crate) fn link_products(input: PredictorInput, sources: usize) -> LinkLayer {
    let _operation = profiler::operation("link_products", Kind::Product, || {
        let [roots, width] = input.embedding.dims();
        costs::product([roots, width, width], 0)
    });
    let (history, pairs) = (input.history.clone(), input.embedding.dims()[0] - sources);
    let (tensors, _) = input.into_dispatch(pairs);
    let layer = Dispatch::link_products(tensors, sources);
    LinkLayer {
        source: Tensor::from_dispatch(layer.source),
        destination: Tensor::from_dispatch(layer.destination),
        bias: Tensor::from_dispatch(layer.bias),
        output: Tensor::from_dispatch(layer.output),
        output_bias: Tensor::from_dispatch(layer.output_bias),
        history,
    }
}

/// relu(src W_s + b_s + dst W_d + b_d + h W_h) w + b for each pair, h being the statistics of its
/// history, and the loss. Gradients of the loss go to all inputs but h.
///
/// # Panics
/// When the statistics are not those of the pairs.
pub fn link_predictor(input: PredictorInput) -> LinkScores {
    let [roots, width] = input.embedding.dims();
    let events = roots / 3;
    let _operation = profiler::operation("link_predictor", Kind::Kernel, || {
        let statistics = statistics_of(input.history.as_ref());
        costs::link_predictor([events, width, statistics], false)
    });
    let (tensors, statistics) = input.into_dispatch(2 * events);
    let output = Dispatch::link_predictor(tensors, statistics);
    LinkScores {
        logits: Tensor::from_dispatch(output.logits),
        loss: Tensor::from_dispatch(output.loss),
    }
}
