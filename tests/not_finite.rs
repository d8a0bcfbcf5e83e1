//! NaN in, NaN out: no operation makes an ordinary number of what is not finite, forward or
//! backward, and the kernels that watch for it name the first step and commit.

use burn::tensor::{Device, Tensor};
use mspipe::batch::{Mail, MailList};
use mspipe::kernels::adam::{AdamStep, BESIDE, Moving, WATCHED, adam};
use mspipe::kernels::mail_update::{MailLists, MailWatch, mail_update};
use mspipe::kernels::temporal_attention::AttentionShape;

use crate::on_device;
use crate::operations::{
    Attention, DropoutCase, GatherRows, HeadProducts, Linear, LinkPredictor, Operation, Outcome,
    OutputNorm, RecurrentCell, RootNorm, TimeEncoding, floats, numbers,
};

/// `operation` with `change` made of the number `at` of its input `input`, on the device.
fn changed(
    operation: &impl Operation,
    input: usize,
    at: usize,
    change: impl Fn(f32) -> f32,
) -> Outcome {
    let mut operation = operation.clone();
    let number = &mut operation.inputs()[input].1[at];
    *number = change(*number);
    on_device(move |device| operation.run(device))
}

fn all_finite(numbers: &[f32]) -> bool {
    numbers.iter().all(|number| number.is_finite())
}

/// Puts each of `bad` in place of some numbers of each input. What a finite change of the
/// number would have changed must not be finite then: the output, and some gradient.
fn passes_on(label: &str, mut operation: impl Operation, bad: &[f32]) {
    let plain = {
        let operation = operation.clone();
        on_device(move |device| operation.run(device))
    };
    let inputs: Vec<(&str, usize)> = operation
        .inputs()
        .into_iter()
        .map(|(name, numbers)| (name, numbers.len()))
        .collect();
    let mut tried = 0;
    for (input, (name, count)) in inputs.into_iter().enumerate() {
        for at in [0, count / 2, count - 1] {
            let moved = changed(&operation, input, at, |number| number + 0.25);
            for &bad in bad {
                let found = changed(&operation, input, at, |_| bad);
                let place = format!("{label}: {bad} at {at} of {name}");
                if moved.output != plain.output {
                    tried += 1;
                    assert!(!all_finite(&found.output), "{place}: {:?}", found.output);
                }
                if moved.gradients != plain.gradients {
                    let gradients = found.gradients.concat();
                    assert!(!all_finite(&gradients), "{place}: {gradients:?}");
                }
            }
        }
    }
    assert!(tried > 0, "{label}: no number of its inputs matters");
}

const NAN: [f32; 2] = [f32::NAN, -f32::NAN];
const ALL: [f32; 4] = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// Gates are 1 or 0 for infinity, and the loss of a right score that is infinite is 0.
#[cfg_attr(test, test)]
pub(crate) fn nan_passes_what_saturates() {
    for gates in [1, 3] {
        passes_on("cell", RecurrentCell::new([3, 4, 3], gates, 100.0), &NAN);
    }
    passes_on("link_predictor", LinkPredictor::new(3, 5), &NAN);
    let with_history = LinkPredictor::new(3, 5).with_history(2);
    passes_on("link_predictor with history", with_history, &NAN);
    for probability in [0.0, 0.5] {
        let shape = AttentionShape {
            heads: 2,
            fanout: 3,
            node: 4,
            edge: 3,
            time: 4,
        };
        let attention = Attention::new(shape, 6, probability);
        passes_on("temporal_attention", attention, &NAN);
        let norm = OutputNorm::new(3, 5, probability, true);
        passes_on("output_norm with relu", norm, &NAN);
    }
}

#[cfg_attr(test, test)]
pub(crate) fn nan_and_infinity_pass_the_rest() {
    passes_on("gather_rows", GatherRows::new(4, 9, 3), &ALL);
    passes_on("dropout", DropoutCase::new(3, 5, 0.5), &ALL);
    passes_on("time_encoding", TimeEncoding::new(5, 3, 100.0), &ALL);
    passes_on("root_norm", RootNorm::new(3, 5, true), &ALL);
    passes_on("linear", Linear::new(3, 5, 2), &ALL);
    passes_on("head_products", HeadProducts::new(2, 3, 4, 5), &ALL);
    passes_on("output_norm", OutputNorm::new(3, 5, 0.0, false), &ALL);
}

/// Steps with `gradients`, one after the other, on two parameters; what was watched.
fn watched_steps(gradients: &[[f32; 2]], device: &Device) -> Vec<f32> {
    let one = |number: f32| floats(&[number], [1], device);
    let mut moments = Tensor::zeros([4 + BESIDE], device);
    let mut parameters = vec![one(1.0), one(2.0)];
    for (t, gradients) in (1..).zip(gradients) {
        let moving = parameters.into_iter().zip(gradients).enumerate();
        let moving = moving.map(|(place, (parameter, gradient))| Moving {
            parameter,
            gradient: one(*gradient),
            place,
        });
        (moments, parameters) = adam(moments, moving.collect(), AdamStep::new(1e-2, t));
    }
    numbers(moments.slice(4..4 + WATCHED))
}

#[cfg_attr(test, test)]
pub(crate) fn adam_names_the_first_step_that_went_wrong() {
    on_device(|device| {
        let steps = |gradients: &[[f32; 2]]| watched_steps(gradients, device);
        assert_eq!(steps(&[[1.0, -2.0], [1e18, 0.0], [-1e-30, 3.0]]), [0.0; 2]);
        let nan = f32::NAN;
        assert_eq!(steps(&[[1.0, 1.0], [1.0, nan], [nan, 1.0]]), [2.0, 2.0]);
        assert_eq!(steps(&[[f32::INFINITY, 1.0]]), [1.0, 1.0]);
        // The square is infinite, the step is 0 then.
        assert_eq!(steps(&[[1.0, 1.0], [1.0, 1e25]]), [2.0, 0.0]);
    });
}

#[cfg_attr(test, test)]
pub(crate) fn mail_update_names_the_first_commit_that_went_wrong() {
    on_device(|device| {
        let (width, edge_width) = (2, 3);
        let mut mailbox = Tensor::zeros([3, 2 * width + edge_width], device);
        let mut watch = MailWatch {
            first: Tensor::zeros([2], device),
            commit: 0,
        };
        let (infinity, nan) = (f32::INFINITY, f32::NAN);
        for (row, feature) in [(1.0, 2.0), (1.0, infinity), (nan, 1.0), (nan, nan)] {
            let mail = [[0, 1, 0], [1, 0, 0]].map(|[own, peer, event]| Mail { own, peer, event });
            let lists = MailLists::new(&MailList::of(&[2, 0], &[0, 1, 2]), &mail, device);
            watch.commit += 1;
            let hidden = floats(&[0.5, 0.5, 0.5, row], [2, width], device);
            let edge = floats(&[0.5, feature, 0.5], [1, edge_width], device);
            (mailbox, watch) = mail_update(mailbox, hidden, edge, lists, watch);
        }
        assert_eq!(numbers(watch.first), [3.0, 2.0]);
        assert!(!all_finite(&numbers(mailbox)));
    });
}
