//! What becomes of work on a device that fails. Each test has a process of its own: a device that is
//! lost stays so, and what is logged meanwhile must not fail others.

use std::env;
use std::process::Command;

use burn::tensor::Tensor;
use mspipe::device::{self, ComputeDevice, DeviceError, DeviceFailure, DeviceSettings};
use mspipe::session::Session;
use mspipe::train::observer::TrainEvent;

use crate::schedules::config;

/// Set in the process that runs one test alone.
const ALONE: &str = "MSPIPE_TEST_ALONE";

/// The message of the failure that `work` ends with on a device of its own, in a process that runs the
/// test `name` alone; None in that process.
fn message(
    name: &str,
    settings: DeviceSettings,
    work: impl FnOnce(&ComputeDevice) + Send,
) -> Option<String> {
    if env::var_os(ALONE).is_some() {
        device::heed_log(std::io::sink);
        let ended = device::on_device_thread(|| work(&device::open(settings).unwrap()));
        println!("<<{}>>", ended.unwrap_err());
        return None;
    }
    let name = format!("gpu::failure::{name}");
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let found = said
        .split_once("<<")
        .and_then(|(_, rest)| rest.split_once(">>"));
    let Some((message, _)) = found else {
        panic!("{said}{}", String::from_utf8_lossy(&output.stderr));
    };
    println!("{message}");
    Some(message.to_owned())
}

#[test]
fn a_lost_device_ends_a_run_with_what_to_do() {
    let name = "a_lost_device_ends_a_run_with_what_to_do";
    let said = message(name, crate::device_settings(), |device| {
        let session = Session::open(config("tgn", "700", "--epochs 2")).unwrap();
        let mut training = session.training(&device.device).unwrap();
        let ended = training.run(&mut |event| {
            if let TrainEvent::Iteration { iteration: 5, .. } = event {
                device.lose();
            }
            Ok(())
        });
        assert!(ended.is_err(), "it went on without a device");
    });
    if let Some(said) = said {
        assert!(said.starts_with("the driver has lost "), "{said}");
        assert!(said.contains("'mspipe train --resume RUN'"), "{said}");
    }
}

#[test]
fn a_tensor_beyond_what_the_device_binds_ends_with_what_to_do() {
    let name = "a_tensor_beyond_what_the_device_binds_ends_with_what_to_do";
    let settings = DeviceSettings {
        limits: "webgpu".parse().unwrap(),
        ..crate::device_settings()
    };
    let said = message(name, settings, |device| {
        // 256 MiB of 128.
        let large = Tensor::<1>::zeros([64 << 20], &device.device) + 1.0;
        if let Err(error) = large.sum().try_into_data() {
            device::heed(&error);
        }
    });
    if let Some(said) = said {
        assert!(said.contains("binds at most 128.00 MiB at once"), "{said}");
        assert!(said.contains("a smaller --batch-size"), "{said}");
    }
}

/// What is read after it is as good as what was written last: what failed must be told all the same.
#[test]
fn a_batch_beyond_what_the_device_binds_ends_a_run_with_memory_on_the_host_with_what_to_do() {
    let name =
        "a_batch_beyond_what_the_device_binds_ends_a_run_with_memory_on_the_host_with_what_to_do";
    let settings = DeviceSettings {
        limits: "webgpu".parse().unwrap(),
        ..crate::device_settings()
    };
    let said = message(name, settings, |device| {
        // What two heads of 6,000 roots ask of 4,000 features: 192 MB.
        let options = "--data synthetic:wikipedia:scale=0.03 --memory host";
        let mut config = config("tgn", "3000", options);
        config.training.batch_size = 2000;
        config.stream.edge_features = "random:4000".parse().unwrap();
        let session = Session::open(config).unwrap();
        let mut training = session.training(&device.device).unwrap();
        let ended = training.run(&mut |_| Ok(()));
        assert!(ended.is_err(), "it trained on what is not there");
    });
    if let Some(said) = said {
        assert!(said.contains("binds at most 128.00 MiB at once"), "{said}");
        assert!(said.contains("a smaller --batch-size"), "{said}");
    }
}

#[test]
fn what_the_runtime_only_logs_is_no_success() {
    let name = "what_the_runtime_only_logs_is_no_success";
    let said = message(name, crate::device_settings(), |device| {
        let one = Tensor::<1>::ones([3], &device.device);
        tracing::error!(target: "cubecl_wgpu::backend::base", "the device refused the pipeline");
        assert_eq!(one.sum().into_scalar::<f32>(), 3.0);
    });
    if let Some(said) = said {
        let expected = "did not do a part of its work, so that no result after it can be trusted: the \
                        device refused the pipeline";
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_device_that_works_is_no_failure() {
    let name = "a_device_that_works_is_no_failure";
    let said = message(name, crate::device_settings(), |device| {
        let one = Tensor::<1>::ones([3], &device.device);
        assert_eq!(one.sum().into_scalar::<f32>(), 3.0);
        panic!("{}", device.adapter);
    });
    if let Some(said) = said {
        let expected = DeviceError::Panicked(String::new()).to_string();
        assert!(said.starts_with(&expected), "{said}");
    }
    // Of the type that a program matches on.
    let failure = DeviceFailure::NoMemory {
        adapter: "a card".to_owned(),
        memory: Some(8 << 30),
    };
    assert_eq!(
        DeviceError::from(failure).to_string(),
        "a card has no memory left (it has 8.00 GiB in all); try --memory host, which keeps node memory in \
         RAM, a smaller --batch-size or --fanout, or --device cpu"
    );
}
