//! The link predictor, relu(src W_s + b_s + dst W_d + b_d + h W_h) · w + b for each pair, whose
//! statistics are h, and the loss: mean
//! cross-entropy of the events' logits against 1 plus that of the negatives' against 0.

use super::linear::{linear, linear_gradients};

/// log(1 + e^x).
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// What comes after the products: `source` is `[events, width]`, `destination` `[2 events, width]`,
/// or both are of any pairs.
#[derive(Debug, Clone)]
pub(crate) struct Pairs {
    pub(crate) source: Vec<f64>,
    pub(crate) destination: Vec<f64>,
    pub(crate) bias: Vec<f64>,
    pub(crate) output: Vec<f64>,
    pub(crate) output_bias: f64,
    pub(crate) history: History,
}

/// `statistics` is `[2 events, n]`, `weight` `[n, width]`; both empty where none are read.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) statistics: Vec<f64>,
    pub(crate) weight: Vec<f64>,
}

impl Pairs {
    fn events(&self) -> usize {
        self.source.len() / self.output.len()
    }

    /// What the relu gets of a pair's column; pairs of the negatives have the same sources.
    fn sum(&self, pair: usize, c: usize) -> f64 {
        let width = self.output.len();
        let source = self.source[pair % self.events() * width + c];
        let mut sum = source + self.destination[pair * width + c] + self.bias[c];
        for (k, statistic) in self.statistics(pair).iter().enumerate() {
            sum += statistic * self.history.weight[k * width + c];
        }
        sum
    }

    fn statistics(&self, pair: usize) -> &[f64] {
        let n = self.history.weight.len() / self.output.len();
        &self.history.statistics[pair * n..][..n]
    }

    /// Of (src, dst), then of (src, neg), or of any pairs.
    pub(crate) fn logits(&self) -> Vec<f64> {
        let mut logits = Vec::new();
        for pair in 0..self.destination.len() / self.output.len() {
            let mut logit = self.output_bias;
            for c in 0..self.output.len() {
                logit += self.sum(pair, c).max(0.0) * self.output[c];
            }
            logits.push(logit);
        }
        logits
    }

    /// 0 without events.
    pub(crate) fn loss(&self) -> f64 {
        let mut loss = 0.0;
        for (pair, logit) in self.logits().into_iter().enumerate() {
            let of_event = pair < self.events();
            loss += softplus(if of_event { -logit } else { logit });
        }
        loss / self.events().max(1) as f64
    }

    /// Gradients of source, destination, bias, output and the history's weights, and of the
    /// output's bias.
    fn gradients(&self, grad: f64) -> ([Vec<f64>; 5], f64) {
        let (width, events) = (self.output.len(), self.events());
        let mut d_source = vec![0.0; self.source.len()];
        let mut d_destination = vec![0.0; self.destination.len()];
        let (mut d_bias, mut d_output) = (vec![0.0; width], vec![0.0; width]);
        let mut d_history = vec![0.0; self.history.weight.len()];
        let mut d_output_bias = 0.0;
        for (pair, logit) in self.logits().into_iter().enumerate() {
            let wanted = if pair < events { 1.0 } else { 0.0 };
            let probability = 1.0 / (1.0 + (-logit).exp());
            let d_logit = grad * (probability - wanted) / events as f64;
            d_output_bias += d_logit;
            for c in 0..width {
                d_output[c] += d_logit * self.sum(pair, c).max(0.0);
                if self.sum(pair, c) > 0.0 {
                    let d_sum = d_logit * self.output[c];
                    d_source[pair % events * width + c] += d_sum;
                    d_destination[pair * width + c] += d_sum;
                    d_bias[c] += d_sum;
                    for (k, statistic) in self.statistics(pair).iter().enumerate() {
                        d_history[k * width + c] += d_sum * statistic;
                    }
                }
            }
        }
        let gradients = [d_source, d_destination, d_bias, d_output, d_history];
        (gradients, d_output_bias)
    }
}

/// Embeddings of src ‖ dst ‖ neg, `[3 events, width]`, and parameters.
#[derive(Debug, Clone)]
pub(crate) struct Predictor {
    pub(crate) embedding: Vec<f64>,
    pub(crate) source: Vec<f64>,
    pub(crate) source_bias: Vec<f64>,
    pub(crate) destination: Vec<f64>,
    pub(crate) destination_bias: Vec<f64>,
    pub(crate) output: Vec<f64>,
    pub(crate) output_bias: f64,
    pub(crate) history: History,
}

impl Predictor {
    /// Rows, inputs and outputs of the two products.
    fn sizes(&self) -> [[usize; 3]; 2] {
        let width = self.output.len();
        let events = self.embedding.len() / width / 3;
        [[events, width, width], [2 * events, width, width]]
    }

    fn sides(&self) -> (&[f64], &[f64]) {
        let [[events, width, _], _] = self.sizes();
        self.embedding.split_at(events * width)
    }

    pub(crate) fn pairs(&self) -> Pairs {
        let ([of_sources, of_others], (sources, others)) = (self.sizes(), self.sides());
        let bias = &self.destination_bias;
        Pairs {
            source: linear(&self.source_bias, sources, &self.source, of_sources),
            destination: linear(bias, others, &self.destination, of_others),
            bias: vec![0.0; self.output.len()],
            output: self.output.clone(),
            output_bias: self.output_bias,
            history: self.history.clone(),
        }
    }

    /// Gradients of the loss: of embedding, source and its bias, destination and its bias, output
    /// and its bias, and the history's weights.
    pub(crate) fn gradients(&self, grad: f64) -> Vec<Vec<f64>> {
        let ([of_sources, of_others], (sources, others)) = (self.sizes(), self.sides());
        let ([d_source, d_destination, _, d_output, d_history], d_bias) =
            self.pairs().gradients(grad);
        let [source_bias, mut embedding, source] =
            linear_gradients(sources, &self.source, of_sources, &d_source);
        let [destination_bias, of_destinations, destination] =
            linear_gradients(others, &self.destination, of_others, &d_destination);
        embedding.extend(of_destinations);
        vec![
            embedding,
            source,
            source_bias,
            destination,
            destination_bias,
            d_output,
            vec![d_bias],
            d_history,
        ]
    }
}
