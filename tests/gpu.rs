//! Tests that run the WGSL kernels, in one binary.
//!
//! They run on the software adapter (llvmpipe, SwiftShader, WARP) and fail where there is
//! none; `MSPIPE_TEST_DEVICE=gpu` (or `gpu:1`, …) runs them on a real GPU. `MSPIPE_TEST_KERNELS=gpu`
//! runs the kernels of a GPU whatever the adapter is, `software` those of a software adapter;
//! `MSPIPE_TEST_LIMITS` is `webgpu`, or `alignment:64` or another alignment of slices.

#![allow(clippy::print_stdout, reason = "tests say what they measured")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::str::FromStr;

use burn::tensor::Device;
use mspipe::device::{DeviceChoice, DeviceSettings, KernelChoice, LimitsChoice};

/// Steps of Adam against f64.
mod adam;
/// Mail is caught up on: by hand, at any k, and in runs, through the shaders.
mod catch_up;
/// What every operation computes, in f64.
mod definitions;
/// Finite differences of every hand-written backward, through the shaders.
mod gradients;
/// Each operation against its definition, by the shaders.
mod kernels;
/// Strided and sliced inputs give what contiguous ones give.
mod layouts;
/// How far results are from what is defined.
mod measured;
/// memory_gather, memory_update and mail_update against a plain model, through the shaders.
mod memory_tables;
/// Two attention layers against their definition, through the shaders.
mod models;
/// NaN and infinity pass every operation, through the shaders.
mod not_finite;
/// Random inputs for the operations and one way to run them all.
mod operations;
/// Pairs scored beside a batch against pairs scored alone, through the shaders.
mod pair_scores;
/// Prediction and correction of memory: by hand, its gradients, and in runs, through the shaders.
mod pres;
/// A row has the same bits whatever else is in its batch, through the shaders.
mod row_independence;
/// Runs under each schedule, bit by bit, through the shaders.
mod schedules;
/// Corrections of stale memory by hand: who, by whom, and when not, through the shaders.
mod similarity;

mod gpu {
    /// What an iteration asks of wgpu.
    mod calls;
    /// Accuracy of the shaders' cosine.
    mod cosine;
    /// The one thread that owns the device.
    pub(crate) mod device_thread;
    /// What becomes of work on a device that fails.
    mod failure;
    /// Where shaders and CPU kernels give the same bits.
    mod kernels;
    /// Launches as a profile counts them.
    mod launches;
    /// Answers of a trained model.
    mod predict;
    /// A row of a product does not depend on the others.
    mod products;
    /// What has been submitted to the device's queue, and when it came to it.
    mod queue;
    /// Messages of the Khronos validation layer reach the tests.
    mod validation;
}

/// Runs `work` on the device of this binary, on the thread that owns it.
fn on_device<T: Send + 'static>(work: impl FnOnce(&Device) -> T + Send + 'static) -> T {
    gpu::device_thread::run(work)
}

/// The device of this binary, as the environment asks for it: `MSPIPE_TEST_DEVICE` is as `--device` (the software adapter unless it
/// names another), `MSPIPE_TEST_KERNELS` as `--kernels`, `MSPIPE_TEST_LIMITS` as `--limits`.
fn device_settings() -> DeviceSettings {
    DeviceSettings {
        choice: asked("MSPIPE_TEST_DEVICE", DeviceChoice::Software(0)),
        kernels: asked("MSPIPE_TEST_KERNELS", KernelChoice::Auto),
        limits: asked("MSPIPE_TEST_LIMITS", LimitsChoice::Adapter),
    }
}

fn asked<T: FromStr<Err = String>>(name: &str, usual: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{name}: {error}")),
        Err(_) => usual,
    }
}
