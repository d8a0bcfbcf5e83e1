//! The link predictor as a sequence of launches: products of the embeddings, then what
//! [`mod@super::link_scores`] makes of them.

use std::ops::Range;

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::CubeBackend;
use burn::tensor::Shape;

use super::link_scores::{self, link_scores_backward};
use super::products::{product_of_rows, stacked_products_transposed, transposed_product_of_rows};
use super::wgsl;
use crate::kernels::link_predictor::{
    LinkPrediction, LinkProducts, PredictorOutput, PredictorTensors,
};
use crate::kernels::link_scores::LinkTensors;

/// What comes after the products, as the kernels of [`mod@super::link_scores`] take it; the bias
/// of the sources is in their product.
fn scored(
    tensors: &PredictorTensors<CubeBackend>,
    [source, destination]: [FloatTensor<CubeBackend>; 2],
) -> LinkTensors<CubeBackend> {
    let width = tensors.source_bias.shape()[0];
    LinkTensors {
        source,
        destination,
        bias: tensors.destination_bias.clone(),
        output: CubeBackend::float_reshape(tensors.output.clone(), Shape::new([width])),
        output_bias: tensors.output_bias.clone(),
        history: tensors.history.clone(),
    }
}

impl LinkProducts for CubeBackend {
    fn link_products(tensors: PredictorTensors<Self>, sources: usize) -> LinkTensors<Self> {
        let roots = tensors.embedding.shape()[0];
        let width = tensors.source_bias.shape()[0];
        let product = |rows: Range<usize>, weight: &FloatTensor<Self>, bias| match rows.is_empty() {
            true => wgsl::empty(&tensors.embedding, [0, width]),
            false => product_of_rows(tensors.embedding.clone(), rows, weight.clone(), bias),
        };
        let bias = Some(tensors.source_bias.clone());
        let source = product(0..sources, &tensors.source, bias);
        let destination = product(sources..roots, &tensors.destination, None);
        scored(&tensors, [source, destination])
    }
}

impl LinkPrediction for CubeBackend {
    fn link_predictor(
        tensors: PredictorTensors<Self>,
        statistics: FloatTensor<Self>,
    ) -> PredictorOutput<Self> {
        let events = tensors.embedding.shape()[0] / 3;
        let products = Self::link_products(tensors, events);
        let (logits, [source, destination]) = link_scores::score(products, statistics);
        PredictorOutput {
            loss: link_scores::link_loss(&logits),
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
        let scored = scored(&tensors, [output.source, output.destination]);
        let d = link_scores_backward(scored, statistics, output.logits, grad);
        let roots = tensors.embedding.shape()[0];
        let (sources, others) = (0..roots / 3, roots / 3..roots);
        let weight_gradient = |rows, grad: &FloatTensor<Self>| {
            transposed_product_of_rows(tensors.embedding.clone(), rows, grad.clone())
        };
        PredictorTensors {
            source: weight_gradient(sources, &d.source),
            source_bias: d.bias.clone(),
            destination: weight_gradient(others, &d.destination),
            destination_bias: d.bias,
            embedding: stacked_products_transposed(
                [d.source, d.destination],
                [tensors.source, tensors.destination],
            ),
            output: Self::float_reshape(d.output, tensors.output.shape()),
            output_bias: d.output_bias,
            history: d.history,
        }
    }
}
