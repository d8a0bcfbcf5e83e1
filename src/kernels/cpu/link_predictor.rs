//! The link predictor with its two products, on the CPU.
//!
//! What the GPU does in several launches ([`crate::kernels::link_predictor`]).

use super::history_gradients::HistoryGradients;
use super::link_scores::{self, HistoryInput, LinkInput};
use super::products::{Matrix, ROWS, Together, WEIGHT_ROWS};
use super::room;

/// What the predictor reads; all tables row-major.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PredictorInput<'a> {
    /// Embeddings of src ‖ dst ‖ neg, `[3 events, width]`.
    pub(crate) embedding: &'a [f32],
    /// `[width, width]`.
    pub(crate) source: &'a [f32],
    /// `[width, width]`.
    pub(crate) destination: &'a [f32],
    /// Both biases together, `[width]`.
    pub(crate) bias: &'a [f32],
    /// `[width]`.
    pub(crate) output: &'a [f32],
    /// Output bias.
    pub(crate) output_bias: f32,
    /// Pair history, if any is read.
    pub(crate) history: HistoryInput<'a>,
}

impl<'a> PredictorInput<'a> {
    fn width(&self) -> usize {
        self.bias.len()
    }

    fn events(&self) -> usize {
        self.embedding.len() / self.width() / 3
    }

    /// What comes after the products, of which those of the sources are given.
    fn scores<'s>(&self, source: &'s [f32]) -> LinkInput<'s>
    where
        'a: 's,
    {
        LinkInput {
            source,
            bias: self.bias,
            output: self.output,
            output_bias: self.output_bias,
            history: self.history,
        }
    }

    /// Embeddings of the sources, and of destinations and negatives.
    fn sides(&self) -> (&'a [f32], &'a [f32]) {
        self.embedding.split_at(self.events() * self.width())
    }
}

/// The two products.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Products<'a> {
    /// Of the sources, `[events, width]`.
    pub(crate) source: &'a [f32],
    /// Of destinations and negatives, with those of the histories, `[2 events, width]`.
    pub(crate) destination: &'a [f32],
}

/// Scores of a batch's pairs.
#[derive(Debug, Default)]
pub(crate) struct PredictorOutput {
    /// Logits, `[2 events]`.
    pub(crate) logits: Vec<f32>,
    /// Product of the sources, `[events, width]`.
    pub(crate) source: Vec<f32>,
    /// Product of destinations and negatives, with that of the histories, `[2 events, width]`.
    pub(crate) destination: Vec<f32>,
}

/// Products of the first `sources` rows with the sources' weights, and of all others with those of
/// the destinations.
pub(crate) fn link_products(input: &PredictorInput<'_>, sources: usize) -> [Vec<f32>; 2] {
    let width = input.width();
    let (of_sources, of_others) = input.embedding.split_at(sources * width);
    let mut products = [Vec::new(), Vec::new()];
    let mut together = Together::default();
    let sides = [(of_sources, input.source), (of_others, input.destination)];
    for ((x, weight), out) in sides.into_iter().zip(&mut products) {
        let sizes = [x.len() / width, width, width];
        let (x_rows, weight) = (Matrix::whole(x, width), Matrix::whole(weight, width));
        together.add(x_rows, weight, sizes, ROWS, room(out, x.len()));
    }
    together.write();
    for (out, (x, _)) in products.iter_mut().zip(sides) {
        // SAFETY: the product has been written.
        unsafe { out.set_len(x.len()) };
    }
    products
}

/// Scores of all pairs, and the products that they are made of.
pub(crate) fn link_predictor(input: &PredictorInput<'_>) -> PredictorOutput {
    let [source, mut destination] = link_products(input, input.events());
    let logits = link_scores::batch_scores(&input.scores(&source), &mut destination);
    PredictorOutput {
        logits,
        source,
        destination,
    }
}

/// Gradients of the loss.
#[derive(Debug, Default)]
pub(crate) struct PredictorGradients {
    /// `[3 events, width]`.
    pub(crate) embedding: Vec<f32>,
    /// `[width, width]`.
    pub(crate) source: Vec<f32>,
    /// `[width, width]`.
    pub(crate) destination: Vec<f32>,
    /// Of either bias, `[width]`.
    pub(crate) bias: Vec<f32>,
    /// `[width]`.
    pub(crate) output: Vec<f32>,
    /// Of the output's bias.
    pub(crate) output_bias: f32,
    /// `[statistics, width]`.
    pub(crate) history: Vec<f32>,
}

/// Backward of the loss on [`link_predictor`]'s logits; `grad` is the gradient of the loss.
pub(crate) fn link_predictor_backward(
    input: &PredictorInput<'_>,
    products: Products<'_>,
    logits: &[f32],
    grad: f32,
) -> PredictorGradients {
    let (width, events) = (input.width(), input.events());
    let (sources, others) = input.sides();
    let link = input.scores(products.source);
    let scores = link_scores::link_scores_backward(&link, products.destination, logits, grad);
    let mut d = PredictorGradients {
        bias: scores.bias,
        output: scores.output,
        output_bias: scores.output_bias,
        ..PredictorGradients::default()
    };
    let whole = |table| Matrix::whole(table, width);
    let (d_source, d_destination) = (whole(&scores.source), whole(&scores.destination));
    let (d_sources, d_others) =
        room(&mut d.embedding, 3 * events * width).split_at_mut(events * width);
    let mut together = Together::default();
    for (x, weight, d_product, d_x, d_weight, rows) in [
        (
            sources,
            input.source,
            d_source,
            d_sources,
            &mut d.source,
            events,
        ),
        (
            others,
            input.destination,
            d_destination,
            d_others,
            &mut d.destination,
            2 * events,
        ),
    ] {
        let weight = whole(weight).transposed();
        together.add(d_product, weight, [rows, width, width], ROWS, d_x);
        let (x, d_weight) = (whole(x).transposed(), room(d_weight, width * width));
        together.add(x, d_product, [width, rows, width], WEIGHT_ROWS, d_weight);
    }
    let mut history = HistoryGradients::new(&link);
    together.write_beside(history.parts(), |part| part.sum(&link, &scores.destination));
    d.history = history.joined();
    // SAFETY: all four products have been written.
    unsafe {
        d.embedding.set_len(3 * events * width);
        d.source.set_len(width * width);
        d.destination.set_len(width * width);
    }
    d
}
