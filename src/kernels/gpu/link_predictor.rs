//! The link predictor as a sequence of launches: products of the embeddings, then what
//! [`mod@super::link_scores`] makes of them.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::tensor::Shape;

use super::link_scores::{self, link_scores_backward};
use super::memories::empty_together;
use super::product::{Base, Matrix, Product, multiply};
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
        let (roots, width) = (tensors.embedding.shape()[0], tensors.embedding.shape()[1]);
        let embedding = into_contiguous(tensors.embedding.clone());
        let weights =
            [&tensors.source, &tensors.destination].map(|weight| into_contiguous(weight.clone()));
        let bias = into_contiguous(tensors.source_bias.clone());
        let rows = [0..sources, sources..roots];
        let products = [0, 1].map(|of| wgsl::empty(&embedding, [rows[of].len(), width]));
        let bases = [Base::Row(&bias), Base::Zero];
        let both = [0, 1].map(|of| {
            let factors = [
                Matrix::whole(&embedding, width).from(rows[of].start * width),
                Matrix::whole(&weights[of], width),
            ];
            let size = [1, rows[of].len(), width, width];
            let out = Matrix::whole(&products[of], width);
            Product::of_rows(factors, size, bases[of], out)
        });
        match sources {
            0 => multiply(&both[1..]),
            _ if sources == roots => multiply(&both[..1]),
            _ => multiply(&both),
        }
        scored(&tensors, products)
    }
}

/// The gradient of the embeddings; those of the two weights are written to `d_weights`.
fn products_backward(
    tensors: &PredictorTensors<CubeBackend>,
    grads: [&CubeTensor; 2],
    d_weights: [&CubeTensor; 2],
) -> CubeTensor {
    let (roots, width) = (tensors.embedding.shape()[0], tensors.embedding.shape()[1]);
    let embedding = into_contiguous(tensors.embedding.clone());
    let weights =
        [&tensors.source, &tensors.destination].map(|weight| into_contiguous(weight.clone()));
    let rows = [0..roots / 3, roots / 3..roots];
    let of = |start: usize, tensor| Matrix::whole(tensor, width).from(start * width);
    multiply(&[0, 1].map(|i| {
        let factors = [of(rows[i].start, &embedding).transposed(), of(0, grads[i])];
        let size = [1, width, rows[i].len(), width];
        Product::of_terms(factors, size, of(0, d_weights[i]), None)
    }));
    let d_embedding = wgsl::empty(&embedding, [roots, width]);
    multiply(&[0, 1].map(|i| {
        let factors = [of(0, grads[i]), of(0, &weights[i]).transposed()];
        let size = [1, rows[i].len(), width, width];
        Product::of_rows(factors, size, Base::Zero, of(rows[i].start, &d_embedding))
    }));
    d_embedding
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
        let parameters = [
            &tensors.source,
            &tensors.destination,
            &scored.bias,
            &scored.output,
            &scored.output_bias,
            &scored.history,
        ];
        let shapes = parameters.map(|of| of.shape());
        // In one memory.
        let [source, destination, room @ ..] = empty_together(&grad, shapes);
        let d = link_scores_backward(scored, statistics, output.logits, grad, room);
        let (grads, d_weights) = ([&d.source, &d.destination], [&source, &destination]);
        PredictorTensors {
            embedding: products_backward(&tensors, grads, d_weights),
            source,
            source_bias: d.bias.clone(),
            destination,
            destination_bias: d.bias,
            output: Self::float_reshape(d.output, tensors.output.shape()),
            output_bias: d.output_bias,
            history: d.history,
        }
    }
}
