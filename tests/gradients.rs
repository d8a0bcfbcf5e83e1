//! Finite differences of every hand-written backward, through burn's autodiff: what no definition
//! and no backward can have wrong alike.
//!
//! Both test binaries run this file, each on its own device. Every element of every
//! differentiable input is moved once; the loss is the output projected on random weights.

use mspipe::kernels::temporal_attention::AttentionShape;

use crate::measured::within;
use crate::on_device;
use crate::operations::{
    Attention, AttentionLayer, DropoutCase, GatherRows, HeadProducts, Linear, LinkPredictor,
    Operation, OutputNorm, RecurrentCell, RootNorm, TimeEncoding, projection,
};

/// Half the distance of the two points of a central difference. The inputs are of order
/// 1: rounding of the f32 outputs contributes about 1e-5 to the quotient, the third
/// derivative about 1e-4.
const STEP: f32 = 1e-2;

/// Largest difference between gradient and quotient, absolute and relative to the
/// gradient: some times what the two errors above come to. A wrong factor, sign, slot or
/// head is off by far more.
const TOLERANCE: f64 = 1e-3;

/// Compares each gradient of the operation with central differences.
fn agrees_with_differences(operation: impl Operation) {
    let (largest, compared) = on_device(move |device| {
        let mut operation = operation;
        let outcome = operation.run(device);
        let weights = projection(outcome.output.len());
        let loss = |operation: &_| -> f64 {
            let output = Operation::run(operation, device).output;
            let terms = output.iter().zip(&weights);
            terms.map(|(v, w)| f64::from(*v) * f64::from(*w)).sum()
        };
        let (mut largest, mut compared) = (0.0f64, 0);
        for (input, gradient) in outcome.gradients.iter().enumerate() {
            let (name, values) = operation.inputs().swap_remove(input);
            assert_eq!(values.len(), gradient.len(), "{name}");
            for (i, gradient) in gradient.iter().map(|g| f64::from(*g)).enumerate() {
                let shift = |by: f32| {
                    let mut shifted = operation.clone();
                    shifted.inputs().swap_remove(input).1[i] += by;
                    loss(&shifted)
                };
                let quotient = (shift(STEP) - shift(-STEP)) / (2.0 * f64::from(STEP));
                let error = (gradient - quotient).abs() / gradient.abs().max(1.0);
                assert!(
                    error < TOLERANCE,
                    "{name}[{i}]: gradient {gradient}, central difference {quotient}"
                );
                largest = largest.max(error);
                compared += 1;
            }
        }
        (largest, compared)
    });
    assert!(compared > 0);
    within(&format!("{compared} gradients"), largest, TOLERANCE);
}

/// A shape in which every width is odd, different and no multiple of anything.
const SHAPE: AttentionShape = AttentionShape {
    heads: 2,
    fanout: 4,
    node: 3,
    edge: 1,
    time: 5,
};

// The leaky ReLU has a kink where a score is 0; with these draws no score comes within a
// step of it (a kink in the way fails the test by far).

#[cfg_attr(test, test)]
pub(crate) fn temporal_attention() {
    agrees_with_differences(Attention::new(SHAPE, 13, 0.0).with_short_times(3.0));
}

#[cfg_attr(test, test)]
pub(crate) fn temporal_attention_with_dropout() {
    agrees_with_differences(Attention::new(SHAPE, 13, 0.3).with_short_times(3.0));
}

#[cfg_attr(test, test)]
pub(crate) fn temporal_attention_without_edge_features() {
    let shape = AttentionShape {
        heads: 1,
        edge: 0,
        ..SHAPE
    };
    agrees_with_differences(Attention::new(shape, 13, 0.0).with_short_times(3.0));
}

#[cfg_attr(test, test)]
pub(crate) fn temporal_attention_without_past_events() {
    let operation = Attention::new(SHAPE, 3, 0.0).without_events();
    agrees_with_differences(operation.clone());
    let output = on_device(move |device| operation.run(device)).output;
    assert!(output.iter().all(|&v| v == 0.0));
}

/// Node rows of the layer's width.
#[cfg_attr(test, test)]
pub(crate) fn attention_layer() {
    let shape = AttentionShape { node: 4, ..SHAPE };
    agrees_with_differences(AttentionLayer::new(shape, 13, 0.3).with_short_times(3.0));
}

#[cfg_attr(test, test)]
pub(crate) fn recurrent_cells() {
    for gates in [1, 3] {
        agrees_with_differences(RecurrentCell::new([9, 5, 7], gates, 3.0));
    }
}

#[cfg_attr(test, test)]
pub(crate) fn saturated_gru() {
    agrees_with_differences(RecurrentCell::new([9, 5, 7], 3, 3.0).saturated(100.0));
}

/// Products far beyond what e^x can take give 1 and -1 and no gradient.
#[cfg_attr(test, test)]
pub(crate) fn saturated_rnn() {
    let operation = RecurrentCell::new([9, 5, 7], 1, 3.0).saturated(1e20);
    let outcome = on_device(move |device| operation.run(device));
    let gradients = outcome.gradients.concat();
    assert!(gradients.iter().all(|g| g.abs() < 1e-5), "{gradients:?}");
}

#[cfg_attr(test, test)]
pub(crate) fn link_predictor() {
    agrees_with_differences(LinkPredictor::new(7, 5));
}

#[cfg_attr(test, test)]
pub(crate) fn link_predictor_with_pair_history() {
    agrees_with_differences(LinkPredictor::new(7, 5).with_history(3));
}

/// Logits of hundreds: the gradients stay finite.
#[cfg_attr(test, test)]
pub(crate) fn link_predictor_far_from_zero() {
    let operation = LinkPredictor::new(19, 5).scaled(1e3);
    let outcome = on_device(move |device| operation.run(device));
    assert!(outcome.gradients.concat().iter().all(|g| g.is_finite()));
}

#[cfg_attr(test, test)]
pub(crate) fn linear() {
    agrees_with_differences(Linear::new(7, 5, 3));
}

#[cfg_attr(test, test)]
pub(crate) fn head_products() {
    agrees_with_differences(HeadProducts::new(2, 7, 6, 5));
}

#[cfg_attr(test, test)]
pub(crate) fn output_norm() {
    for (probability, relu) in [(0.0, false), (0.3, true)] {
        agrees_with_differences(OutputNorm::new(9, 11, probability, relu));
    }
}

#[cfg_attr(test, test)]
pub(crate) fn root_norm() {
    for projected in [false, true] {
        agrees_with_differences(RootNorm::new(9, 11, projected));
    }
}

#[cfg_attr(test, test)]
pub(crate) fn time_encoding() {
    agrees_with_differences(TimeEncoding::new(70, 5, 3.0));
}

#[cfg_attr(test, test)]
pub(crate) fn gather_rows() {
    agrees_with_differences(GatherRows::new(5, 11, 3));
}

#[cfg_attr(test, test)]
pub(crate) fn dropout() {
    agrees_with_differences(DropoutCase::new(7, 5, 0.3));
    agrees_with_differences(DropoutCase::new(7, 5, 0.3).with_relu());
}
