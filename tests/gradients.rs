//! Finite differences of every hand-written backward, through burn's autodiff.
//!
//! Both test binaries run this file, each on its own device. Every element of every
//! differentiable input is moved once; the loss is the output projected on random weights.

use mspipe::kernels::temporal_attention::AttentionShape;

use crate::on_device;
use crate::operations::{
    Attention, DropoutCase, GatherRows, GruGates, HeadProducts, Linear, LinkPredictor, LinkScores,
    Operation, OutputNorm, RecurrentCell, RnnGates, TimeEncoding, TimeProjection, projection,
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
    println!("{compared} gradients, largest error {largest:.1e}");
    assert!(compared > 0);
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

#[test]
fn temporal_attention() {
    agrees_with_differences(Attention::new(SHAPE, 13, 0.0).with_short_times(3.0));
}

#[test]
fn temporal_attention_with_dropout() {
    agrees_with_differences(Attention::new(SHAPE, 13, 0.3).with_short_times(3.0));
}

#[test]
fn temporal_attention_without_edge_features() {
    let shape = AttentionShape {
        heads: 1,
        edge: 0,
        ..SHAPE
    };
    agrees_with_differences(Attention::new(shape, 13, 0.0).with_short_times(3.0));
}

#[test]
fn temporal_attention_without_past_events() {
    let operation = Attention::new(SHAPE, 3, 0.0).without_events();
    agrees_with_differences(operation.clone());
    let output = on_device(move |device| operation.run(device)).output;
    assert!(output.iter().all(|&v| v == 0.0));
}

#[test]
fn saturated_gru_gates() {
    agrees_with_differences(GruGates::new(6, 3).saturated(100.0));
}

#[test]
fn gru_gates() {
    agrees_with_differences(GruGates::new(6, 3));
}

#[test]
fn rnn_gates() {
    let operation = RnnGates::new(6, 3, 1.0);
    let expected = operation.expected();
    agrees_with_differences(operation.clone());
    let output = on_device(move |device| operation.run(device)).output;
    // WGSL's tanh may be off by 1e-5.
    for (found, expected) in output.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

#[test]
fn recurrent_cells() {
    for gates in [1, 3] {
        agrees_with_differences(RecurrentCell::new([9, 5, 7], gates, 3.0));
    }
}

/// Products far beyond what e^x can take give 1 and -1 and no gradient.
#[test]
fn saturated_rnn_gates() {
    let operation = RnnGates::new(6, 3, 1e20);
    let expected = operation.expected();
    let outcome = on_device(move |device| operation.run(device));
    for (found, expected) in outcome.output.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    let gradients = outcome.gradients.concat();
    assert!(gradients.iter().all(|g| g.abs() < 1e-5), "{gradients:?}");
}

#[test]
fn link_scores() {
    let operation = LinkScores::new(19, 5);
    let (expected, loss) = operation.expected();
    agrees_with_differences(operation.clone());
    let (logits, outcome) =
        on_device(move |device| (operation.logits(device), operation.run(device)));
    for (found, expected) in logits.iter().zip(&expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-5,
            "{found} {expected}"
        );
    }
    assert!((f64::from(outcome.output[0]) - loss).abs() < 1e-5 * loss);
}

#[test]
fn link_predictor() {
    let operation = LinkPredictor::new(7, 5);
    agrees_with_f64(operation.clone(), &[operation.expected()]);
}

/// Logits of hundreds: the loss grows with them, and the gradients stay finite.
#[test]
fn link_scores_far_from_zero() {
    let operation = LinkScores::new(19, 5).scaled(1e3);
    let (_, loss) = operation.expected();
    let outcome = on_device(move |device| operation.run(device));
    assert!((f64::from(outcome.output[0]) - loss).abs() < 1e-5 * loss);
    assert!(outcome.gradients.concat().iter().all(|g| g.is_finite()));
}

/// Compares gradients with differences and the output with what must come out.
fn agrees_with_f64(operation: impl Operation, expected: &[f64]) {
    let found = on_device({
        let operation = operation.clone();
        move |device| operation.run(device).output
    });
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-5,
            "{found} {expected}"
        );
    }
    agrees_with_differences(operation);
}

#[test]
fn linear() {
    let operation = Linear::new(7, 5, 3);
    agrees_with_f64(operation.clone(), &operation.expected());
}

#[test]
fn head_products() {
    let operation = HeadProducts::new(2, 7, 6, 5);
    agrees_with_f64(operation.clone(), &operation.expected());
}

#[test]
fn output_norm() {
    for (probability, relu) in [(0.0, false), (0.3, true)] {
        let operation = OutputNorm::new(9, 11, probability, relu);
        agrees_with_f64(operation.clone(), &operation.expected());
    }
}

#[test]
fn time_projection() {
    let operation = TimeProjection::new(9, 11);
    agrees_with_f64(operation.clone(), &operation.expected());
}

#[test]
fn time_encoding() {
    agrees_with_differences(TimeEncoding::new(70, 5, 3.0));
}

#[test]
fn gather_rows() {
    let operation = GatherRows::new(5, 11, 3);
    let expected = operation.expected();
    agrees_with_differences(operation.clone());
    assert_eq!(
        on_device(move |device| operation.run(device)).output,
        expected
    );
}

#[test]
fn dropout() {
    agrees_with_differences(DropoutCase::new(7, 5, 0.3));
}
