//! `matmul`: what this machine's matrix product reaches.
//!
//! Speeds are compared as events per second divided by this number, so that a fast machine
//! does not make a fast program. The size is that of the updater's largest product on
//! Wikipedia when nothing is shared between rows: 1,800 roots with ten past events each,
//! mail and time encoding 472 wide, three gates of 100.

use std::fmt;

use anyhow::{Result, anyhow};
use burn::tensor::Device;
use mspipe::profiler::machine;
use serde::Serialize;

/// A measurement.
#[derive(Debug, Clone, Serialize)]
pub struct MatmulReport {
    /// Device that multiplied.
    pub device: String,
    /// Rows, inner width and columns.
    pub size: [usize; 3],
    /// Products timed.
    pub runs: usize,
    /// 10^9 floating-point operations per second, two for each product of numbers; the median.
    pub gflops: f64,
}

impl MatmulReport {
    /// Measures `device`, called `name`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn measure(device: &Device, name: &str) -> Result<MatmulReport> {
        Ok(MatmulReport {
            device: name.to_owned(),
            size: machine::PRODUCT,
            runs: machine::PRODUCTS,
            gflops: matmul_gflops(device)?,
        })
    }
}

impl fmt::Display for MatmulReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rows, inner, columns] = self.size;
        write!(
            f,
            "{:.1} GFLOP/s ({rows} x {inner} x {columns}, f32, median of {}) on {}",
            self.gflops, self.runs, self.device
        )
    }
}

/// GFLOP/s of burn's f32 product on `device`, see [`machine::matmul_gflops`].
///
/// # Errors
/// When the device fails.
pub fn matmul_gflops(device: &Device) -> Result<f64> {
    machine::matmul_gflops(device).map_err(|error| anyhow!("the device failed: {error:?}"))
}
