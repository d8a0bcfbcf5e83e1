//! Steps of the optimisers against their definition.

use burn::tensor::{Device, Tensor};
use mspipe::kernels::adam::{AdamStep, BESIDE, Moving, WATCHED, adam};
use mspipe::kernels::clip_scale::clip_scale;

use crate::definitions::adam::{Rule, clip_scale as clip_scale_of, moved as moved_of};
use crate::measured::within;
use crate::on_device;

const LEARNING_RATE: f64 = 1e-2;

/// More parameters than a launch takes, of odd sizes; moments lie in another order.
const SIZES: [usize; 9] = [0, 1, 127, 20_000, 65, 64, 4096, 4097, 3];
const PLACES: [usize; 9] = [0, 20_256, 20_064, 64, 20_191, 0, 20_257, 24_353, 28_450];
const ALL: usize = 28_453;

/// Those of a step, as the tests give them.
#[derive(Debug, Clone, Copy)]
struct Case {
    rule: Rule,
    decay: f64,
    clip_norm: Option<f64>,
}

impl Case {
    fn step(self, t: u32) -> AdamStep {
        let step = match self.rule {
            Rule::Adam => AdamStep::new(LEARNING_RATE, t),
            Rule::Sgd => AdamStep::sgd(LEARNING_RATE, t),
        };
        AdamStep {
            clip_norm: self.clip_norm.map(|norm| norm as f32),
            ..step.with_decay(LEARNING_RATE * self.decay)
        }
    }

    /// Where a parameter of `n` numbers is after `steps` steps, in f64.
    fn expected(self, n: usize, steps: u32) -> Vec<f64> {
        let scales: Vec<f64> = (1..=steps).map(|t| self.scale(t)).collect();
        let gradient = |i, t: u32| f64::from(gradient(i, t)) * scales[t as usize - 1];
        let of = |i: usize| {
            let own = |t| gradient(i, t);
            moved_of(start(i), self.rule, LEARNING_RATE, self.decay, steps, own)
        };
        (0..n).map(of).collect()
    }

    /// What the gradients of step `t` are multiplied by.
    fn scale(self, t: u32) -> f64 {
        let all = SIZES
            .iter()
            .flat_map(|&n| (0..n).map(move |i| f64::from(gradient(i, t))));
        self.clip_norm.map_or(1.0, |norm| clip_scale_of(all, norm))
    }
}

fn start(i: usize) -> f64 {
    (i as f64 * 0.37).sin()
}

fn gradient(i: usize, t: u32) -> f32 {
    ((i as f32 + 1.0) * 0.11 * t as f32).cos() * 10f32.powi((i % 7) as i32 - 5)
}

fn gradients(t: u32, device: &Device) -> Vec<Tensor<1>> {
    let of = |n: usize| (0..n).map(|i| gradient(i, t)).collect();
    SIZES.map(|n| tensor(of(n), device)).into()
}

fn tensor(values: Vec<f32>, device: &Device) -> Tensor<1> {
    Tensor::from_floats(values.as_slice(), device)
}

fn read(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

#[cfg_attr(test, test)]
pub(crate) fn steps_agree_with_f64_and_leave_other_handles_alone() {
    for rule in [Rule::Adam, Rule::Sgd] {
        for decay in [0.0, 3.0] {
            // Of gradients whose norm is about 300.
            for clip_norm in [None, Some(20.0), Some(1e6)] {
                let case = Case {
                    rule,
                    decay,
                    clip_norm,
                };
                on_device(move |device| steps_agree(case, device));
            }
        }
    }
}

fn steps_agree(case: Case, device: &Device) {
    let begin = |n: usize| (0..n).map(|i| start(i) as f32).collect();
    let mut parameters: Vec<Tensor<1>> = SIZES.map(|n| tensor(begin(n), device)).into();
    let held = parameters.clone();
    let mut moments = Tensor::zeros([2 * ALL + BESIDE], device);
    for t in 1..=5 {
        let all = parameters.into_iter().zip(gradients(t, device)).zip(PLACES);
        let moving = all.map(|((parameter, gradient), place)| Moving {
            parameter,
            gradient,
            place,
        });
        (moments, parameters) = adam(moments, moving.collect(), case.step(t));
    }
    let watched = read(moments.slice(2 * ALL..2 * ALL + WATCHED));
    assert_eq!(watched, [0.0; WATCHED], "all is finite");
    let mut largest = 0.0f64;
    for ((n, moved), held) in SIZES.into_iter().zip(parameters).zip(held) {
        for (found, expected) in read(moved).iter().zip(&case.expected(n, 5)) {
            let error = (f64::from(*found) - expected).abs();
            assert!(error.is_finite(), "{case:?}, {n}: {found} {expected}");
            largest = largest.max(error);
        }
        assert_eq!(read(held), begin(n));
    }
    // Five steps of 1e-2, each exact to a few roundings.
    within(&format!("{case:?}"), largest, 1e-6);
}

/// What `clip_scale` puts behind moments for the gradients of step `t`.
fn scale(t: u32, largest: f32, device: &Device) -> f32 {
    let moments = Tensor::zeros([BESIDE], device);
    let numbers = read(clip_scale(moments, &gradients(t, device), largest));
    assert_eq!(numbers[..WATCHED], [0.0; WATCHED]);
    numbers[WATCHED]
}

#[cfg_attr(test, test)]
pub(crate) fn the_scale_is_that_of_the_norm_of_all_gradients() {
    on_device(|device| {
        for (t, largest) in [(1, 0.5), (2, 20.0), (3, 1e-3), (4, 1e6)] {
            let case = Case {
                rule: Rule::Sgd,
                decay: 0.0,
                clip_norm: Some(largest),
            };
            let (found, expected) = (f64::from(scale(t, largest as f32, device)), case.scale(t));
            // Sums of 28,453 squares in f32, by chunks and lanes.
            let error = (found / expected - 1.0).abs();
            assert!(error < 1e-6, "{t}, {largest}: {found} {expected}");
        }
        assert_eq!(scale(4, 1e6, device), 1.0);
    });
}

#[cfg_attr(test, test)]
pub(crate) fn the_scale_has_the_same_bits_with_any_number_of_threads() {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let bits = || on_device(|device| [1, 2, 3].map(|t| scale(t, 20.0, device).to_bits()));
        pool.unwrap().install(bits)
    };
    let one = with(1);
    (0..3).for_each(|_| assert_eq!(with(3), one));
}

#[cfg_attr(test, test)]
pub(crate) fn a_gradient_that_is_not_finite_is_found_though_it_is_clipped() {
    on_device(|device| {
        for bad in [f32::NAN, f32::INFINITY, 3e19] {
            let moving = [1.0, bad]
                .into_iter()
                .enumerate()
                .map(|(place, gradient)| Moving {
                    parameter: tensor(vec![1.0], device),
                    gradient: tensor(vec![gradient], device),
                    place,
                });
            let step = AdamStep {
                clip_norm: Some(1.0),
                ..AdamStep::new(LEARNING_RATE, 7)
            };
            let moments = Tensor::zeros([4 + BESIDE], device);
            let (moments, _) = adam(moments, moving.collect(), step);
            let first = read(moments.slice(4..4 + WATCHED))[0];
            assert_eq!(first, 7.0, "{bad}");
        }
    });
}
