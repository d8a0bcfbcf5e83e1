//! Steps of the optimisers against their definition.

use burn::tensor::Tensor;
use mspipe::kernels::adam::{AdamStep, Moving, WATCHED, adam};

use crate::definitions::adam::{Rule, moved as moved_of};
use crate::on_device;

const LEARNING_RATE: f64 = 1e-2;

/// Parameters at the start and after `steps` steps, in f64.
fn expected(n: usize, rule: Rule, decay: f64, steps: u32) -> (Vec<f64>, Vec<f64>) {
    let start: Vec<f64> = (0..n).map(|i| (i as f64 * 0.37).sin()).collect();
    let of = |(i, start): (usize, &f64)| {
        let gradient = |t| f64::from(gradient(i, t));
        moved_of(*start, rule, LEARNING_RATE, decay, steps, gradient)
    };
    let moved = start.iter().enumerate().map(of).collect();
    (start, moved)
}

fn gradient(i: usize, t: u32) -> f32 {
    ((i as f32 + 1.0) * 0.11 * t as f32).cos() * 10f32.powi((i % 7) as i32 - 5)
}

#[test]
fn steps_agree_with_f64_and_leave_other_handles_alone() {
    for (rule, decay) in [
        (Rule::Adam, 0.0),
        (Rule::Adam, 3.0),
        (Rule::Sgd, 0.0),
        (Rule::Sgd, 3.0),
    ] {
        steps_agree(rule, decay);
    }
}

fn steps_agree(rule: Rule, decay: f64) {
    on_device(move |device| {
        // More than one launch takes, of odd sizes; moments lie in another order.
        let sizes = [0, 1, 127, 20_000, 65, 64];
        let places = [0, 20_256, 20_064, 64, 20_191, 0];
        let all = sizes.iter().sum::<usize>();
        let tensor = |values: Vec<f32>| Tensor::<1>::from_floats(values.as_slice(), device);
        let mut parameters: Vec<Tensor<1>> = sizes
            .iter()
            .map(|&n| {
                tensor(
                    expected(n, rule, decay, 0)
                        .0
                        .iter()
                        .map(|&x| x as f32)
                        .collect(),
                )
            })
            .collect();
        let held = parameters.clone();
        let mut moments = Tensor::zeros([2 * all + WATCHED], device);
        for t in 1..=5 {
            let moving = parameters
                .into_iter()
                .zip(places)
                .map(|(parameter, place)| {
                    let n = parameter.dims()[0];
                    Moving {
                        gradient: tensor((0..n).map(|i| gradient(i, t)).collect()),
                        parameter,
                        place,
                    }
                });
            let step = match rule {
                Rule::Adam => AdamStep::new(LEARNING_RATE, t),
                Rule::Sgd => AdamStep::sgd(LEARNING_RATE, t),
            };
            let step = step.with_decay(LEARNING_RATE * decay);
            (moments, parameters) = adam(moments, moving.collect(), step);
        }
        let read = |tensor: Tensor<1>| tensor.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(
            read(moments.slice(2 * all..)),
            [0.0; WATCHED],
            "all is finite"
        );
        for ((n, moved), held) in sizes.into_iter().zip(parameters).zip(held) {
            let (start, expected) = expected(n, rule, decay, 5);
            for (found, expected) in read(moved).iter().zip(&expected) {
                // Five steps of 1e-2, each exact to a few roundings.
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-6,
                    "{rule:?}, decay {decay}, {n}: {found} {expected}"
                );
            }
            for (found, expected) in read(held).iter().zip(&start) {
                assert_eq!(*found, *expected as f32);
            }
        }
    });
}
