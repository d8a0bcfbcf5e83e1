//! `--probe-every`: what stale memory does to gradients is measured beside a run and changes nothing of it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use mspipe::pipeline::probe::Probe;
use mspipe::session::Session;
use mspipe::train::observer::TrainEvent;

use crate::on_device;
use crate::operations::numbers;
use crate::schedules::{MODELS, Outcome, SHORT, config, train};

/// What a run left, and what its probes found.
fn probed(model: &str, events: &str, options: &str) -> (Outcome, Vec<Probe>) {
    let config = config(model, events, options);
    on_device(move |device| {
        let session = Session::open(config).unwrap();
        let mut training = session.training(device).unwrap();
        let (mut outcome, mut found) = (Outcome::default(), Vec::new());
        let mut see = |event: TrainEvent<'_>| {
            if let TrainEvent::Probed { epoch, probes } = event {
                assert_eq!(epoch, 1);
                found.extend_from_slice(probes);
            }
            outcome.see(event)
        };
        training.run(&mut see).unwrap();
        outcome.look_into(&training.memory);
        (outcome, found)
    })
}

#[test]
fn probes_change_no_number_and_find_the_same_wherever_memory_lies() {
    for model in MODELS {
        let options = "--schedule staleness:3 --memory";
        let (outcome, found) = probed(model, SHORT, &format!("{options} device --probe-every 1"));
        train(model, SHORT, &format!("{options} device")).must_equal(&outcome, model);
        let (on_host, again) = probed(model, SHORT, &format!("{options} host --probe-every 1"));
        on_host.must_equal(&outcome, model);
        assert_eq!(found, again, "{model}");

        let trained: Vec<usize> = found.iter().map(|probe| probe.trained).collect();
        assert_eq!(trained, [1, 2, 3, 4, 5, 6, 7, 8], "{model}");
        // The first iteration sees what it also sees without staleness.
        let [first, later @ ..] = &found[..] else {
            unreachable!()
        };
        assert_eq!((first.memory_error, first.gradient_error), (0.0, 0.0));
        assert_eq!(first.smoothness, None);
        for probe in later {
            let wrong = [probe.memory_error, probe.gradient_error];
            assert!(
                wrong.iter().all(|error| (1e-6..=10.0).contains(error)),
                "{model}: {probe:?}"
            );
            assert!(
                probe.smoothness.is_some_and(|value| value > 0.0),
                "{model}: {probe:?}"
            );
        }
    }
}

#[test]
fn memory_that_is_not_stale_has_no_error() {
    for options in [
        "--schedule sequential",
        "--schedule exact-overlap --memory host",
    ] {
        for mitigation in ["none", "similarity", "pres"] {
            let options = format!("{options} --mitigation {mitigation} --probe-every 1");
            let (_, found) = probed("tgn", SHORT, &options);
            assert_eq!(found.len(), 8);
            for probe in &found {
                let wrong = (probe.memory_error, probe.gradient_error);
                assert_eq!(wrong, (0.0, 0.0), "{options}: {probe:?}");
            }
        }
    }
}

/// Collects weights.
struct Weights(Vec<f32>);

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(numbers(param.val().inner()));
    }
}

/// Of an iteration with gradient descent, the weights move by the learning rate times the gradient.
#[test]
fn the_gradient_is_what_the_optimizer_steps_by() {
    const LEARNING_RATE: f64 = 0.25;
    for model in MODELS {
        let options = format!("--optimizer sgd --learning-rate {LEARNING_RATE} --probe-every 1");
        let config = config(model, "36", &options);
        let (moved, found) = on_device(move |device| {
            let session = Session::open(config).unwrap();
            let mut training = session.training(device).unwrap();
            let mut found = Vec::new();
            let weights = || Weights(Vec::new());
            let mut before = weights();
            training.trainer.model().visit(&mut before);
            let mut see = |event: TrainEvent<'_>| {
                if let TrainEvent::Probed { probes, .. } = event {
                    found.extend_from_slice(probes);
                }
                Ok(())
            };
            training.run(&mut see).unwrap();
            let mut after = weights();
            training.trainer.model().visit(&mut after);
            let both = before.0.iter().zip(&after.0);
            let moved: f64 = both
                .map(|(&a, &b)| (f64::from(b) - f64::from(a)).powi(2))
                .sum();
            (moved, found)
        });
        let [probe] = found[..] else {
            panic!("{model}: {found:?}");
        };
        let expected = moved / LEARNING_RATE.powi(2);
        let error = (probe.squared_gradient - expected).abs() / expected;
        assert!(
            error < 1e-3,
            "{model}: {}, {expected}",
            probe.squared_gradient
        );
    }
}
