//! `matmul`: what this machine's matrix product reaches.
//!
//! Speeds are compared as events per second divided by this number, so that a fast machine
//! does not make a fast program. The size is that of the updater's largest product on
//! Wikipedia when nothing is shared between rows: 1,800 roots with ten past events each,
//! mail and time encoding 472 wide, three gates of 100.

use std::time::Instant;

use anyhow::{Result, anyhow};
use burn::tensor::Device;
use mspipe::train::upload::floats;
use serde::Serialize;

/// Rows, inner width and columns of the product.
pub const SIZE: [usize; 3] = [19_800, 472, 300];

/// Products that are timed; the median counts.
const RUNS: usize = 11;

/// A measurement.
#[derive(Debug, Clone, Serialize)]
pub struct MatmulReport {
    /// Device that multiplied.
    pub device: String,
    /// Rows, inner width and columns.
    pub size: [usize; 3],
    /// Products timed.
    pub runs: usize,
    /// 10^9 floating-point operations a second, two for each product of numbers; the median.
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
            size: SIZE,
            runs: RUNS,
            gflops: matmul_gflops(device)?,
        })
    }
}

/// GFLOP/s of burn's f32 product of [`SIZE`] on `device`: the median of several, each until
/// the device has finished, after a warm-up.
///
/// # Errors
/// When the device fails.
pub fn matmul_gflops(device: &Device) -> Result<f64> {
    let [rows, inner, columns] = SIZE;
    // Any numbers without zeros and subnormals do.
    let numbers = |n: usize| (0..n).map(|i| (i % 251) as f32 / 251.0 - 0.498).collect();
    let left = floats(numbers(rows * inner), [rows, inner], device);
    let right = floats(numbers(inner * columns), [inner, columns], device);
    let once = || -> Result<f64> {
        let start = Instant::now();
        let product = left.clone().matmul(right.clone());
        device
            .sync()
            .map_err(|error| anyhow!("the device failed: {error:?}"))?;
        let seconds = start.elapsed().as_secs_f64();
        drop(product);
        Ok(seconds)
    };
    for _ in 0..3 {
        once()?;
    }
    let mut seconds = (0..RUNS).map(|_| once()).collect::<Result<Vec<_>>>()?;
    seconds.sort_by(f64::total_cmp);
    let operations = 2.0 * (rows * inner * columns) as f64;
    Ok(operations / seconds[RUNS / 2] / 1e9)
}
