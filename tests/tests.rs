//! Tests that need no GPU, in one binary.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::Device;

/// Steps of Adam against f64.
mod adam;
/// Who imports whom, file sizes, module docs, one build of burn.
mod architecture;
/// The program as a user runs it: trainings, determinism, bad input.
mod cli;
/// Finite differences of every hand-written backward, on the CPU device.
mod gradients;
/// Strided and sliced inputs give what contiguous ones give.
mod layouts;
/// memory_gather and memory_update against a plain model, on the CPU device.
mod memory_tables;
/// Random inputs for the operations and one way to run them all.
mod operations;
/// Every WGSL text under naga: valid without capabilities, translatable, as declared.
mod shaders_valid;
/// The twins' bits do not depend on the number of threads.
mod threads;

/// Runs `work` on the device of this binary: burn's CPU backend.
fn on_device<T>(work: impl FnOnce(&Device) -> T) -> T {
    work(&Device::flex())
}
