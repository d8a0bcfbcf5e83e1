//! `kernels`: each memory-bound kernel against a plain copy of the same bytes in the same run.
//!
//! Bytes are those of [`mspipe::kernels::costs`]: each input read once, each output written
//! once. The copy reads half as many and writes half as many, with the same threads: memcpy on
//! the CPU device, burn's `x + 1` on a GPU. Kernel and copy take turns, and the median of each
//! counts. Where burn's own operations, one after the other, do what the kernel does, they take their
//! turn too. Sizes are Wikipedia's in a batch of 600 events; its arrays fit in the cache of many
//! processors, so rates may be above those of main memory, for both.
//!
//! A kernel makes its output anew at each call, the CPU's copy writes the same memory.

mod cases;

use std::fmt;
use std::time::Instant;

use anyhow::{Result, anyhow};
use burn::tensor::Device;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use mspipe::device::{self, DeviceChoice};
use mspipe::profiler::Work;
use mspipe::profiler::machine;
use serde::Serialize;

use cases::OfBurn;

/// Settings.
#[derive(Debug, Clone, Args)]
pub struct KernelsConfig {
    /// Device to use: auto, cpu, gpu, gpu:N or software
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,

    /// Measure only kernels whose name contains this
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub only: String,

    /// Divide the numbers of rows by this
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=600))]
    pub shrink: usize,

    /// Times that each kernel and its copy are timed
    #[arg(long, value_name = "N", default_value_t = 15,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub rounds: usize,
}

/// Calls between two waits for the device, so that waiting is a small share.
const CALLS: usize = 8;

/// An operation with its inputs.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What a call reads, writes and computes.
    pub work: Work,
    /// Calls it; on a GPU it is enqueued.
    pub run: Box<dyn FnMut()>,
}

/// All kernels at Wikipedia's sizes, and the matrix products between them.
pub fn kernels_and_products(device: &Device) -> [Vec<Case>; 2] {
    [cases::all(1, device), cases::products(1, device)]
}

/// A kernel against a copy.
#[derive(Debug, Clone, Serialize)]
pub struct KernelRow {
    /// The kernel.
    pub name: &'static str,
    /// Bytes read and written.
    pub bytes: u64,
    /// Floating-point operations.
    pub flops: u64,
    /// Microseconds of a call, the median.
    pub time_us: f64,
    /// Microseconds of a copy of the same bytes, the median.
    pub copy_us: f64,
    /// Microseconds of burn's own operations for the same, where there are any.
    pub burn_us: Option<f64>,
    /// 10^9 bytes a second.
    pub gb_per_s: f64,
    /// 10^9 bytes a second of the copy.
    pub copy_gb_per_s: f64,
    /// The first over the second.
    pub of_copy: f64,
    /// 10^9 floating-point operations a second.
    pub gflop_per_s: f64,
}

/// A measurement.
#[derive(Debug, Clone, Serialize)]
pub struct KernelsReport {
    /// Device that ran.
    pub device: String,
    /// Worker threads.
    pub threads: usize,
    /// Times that each was timed.
    pub rounds: usize,
    /// What the numbers of rows were divided by.
    pub shrink: usize,
    /// Each kernel.
    pub kernels: Vec<KernelRow>,
}

/// Measures all kernels.
///
/// # Errors
/// When there is no such device, or it fails.
pub fn measure(config: &KernelsConfig) -> Result<KernelsReport> {
    device::on_device_thread(|| {
        let opened = device::open(config.device)?;
        let device = &opened.device;
        let mut of_burn = cases::of_burn(config.shrink.max(1), device);
        let kernels = cases::all(config.shrink.max(1), device)
            .into_iter()
            .filter(|case| case.name.contains(&config.only))
            .map(|case| {
                let of_burn = of_burn.iter_mut().find(|(name, _)| *name == case.name);
                row(case, of_burn, config.rounds, device)
            })
            .collect::<Result<_>>()?;
        Ok(KernelsReport {
            device: opened.adapter.clone(),
            threads: rayon::current_num_threads(),
            rounds: config.rounds.max(1),
            shrink: config.shrink.max(1),
            kernels,
        })
    })?
}

fn row(
    mut case: Case,
    mut of_burn: Option<&mut OfBurn>,
    rounds: usize,
    device: &Device,
) -> Result<KernelRow> {
    let mut copy = machine::copy((case.work.bytes / 8) as usize, device);
    let failed = |error| anyhow!("the device failed: {error:?}");
    let seconds = |run: &mut dyn FnMut()| -> Result<f64> {
        let begin = Instant::now();
        (0..CALLS).for_each(|_| run());
        device.sync().map_err(failed)?;
        Ok(begin.elapsed().as_secs_f64() / CALLS as f64)
    };
    // Compiles shaders, fills caches.
    seconds(&mut case.run)?;
    seconds(&mut copy)?;
    if let Some((_, run)) = &mut of_burn {
        seconds(run)?;
    }
    let (mut own, mut copied, mut burns) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        own.push(seconds(&mut case.run)?);
        copied.push(seconds(&mut copy)?);
        if let Some((_, run)) = &mut of_burn {
            burns.push(seconds(run)?);
        }
    }
    let median = |seconds: &mut Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    };
    let (own, copied) = (median(&mut own), median(&mut copied));
    let Work { bytes, flops } = case.work;
    Ok(KernelRow {
        name: case.name,
        bytes,
        flops,
        time_us: 1e6 * own,
        copy_us: 1e6 * copied,
        burn_us: (!burns.is_empty()).then(|| 1e6 * median(&mut burns)),
        gb_per_s: bytes as f64 / own / 1e9,
        copy_gb_per_s: bytes as f64 / copied / 1e9,
        of_copy: copied / own,
        gflop_per_s: flops as f64 / own / 1e9,
    })
}

impl fmt::Display for KernelsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} with {} threads; medians of {}; bytes read and written\n",
            self.device, self.threads, self.rounds
        )?;
        write!(
            f,
            "{:<30} {:>8} {:>9} {:>9} {:>9} {:>8} {:>10} {:>9} {:>9}",
            "kernel",
            "MB",
            "µs",
            "burn's µs",
            "copy µs",
            "GB/s",
            "copy GB/s",
            "% of copy",
            "GFLOP/s"
        )?;
        for row in &self.kernels {
            let burns = row.burn_us.map_or("-".into(), |us| format!("{us:.1}"));
            write!(
                f,
                "\n{:<30} {:>8.3} {:>9.1} {burns:>9} {:>9.1} {:>8.1} {:>10.1} {:>9.0} {:>9.1}",
                row.name,
                row.bytes as f64 / 1e6,
                row.time_us,
                row.copy_us,
                row.gb_per_s,
                row.copy_gb_per_s,
                100.0 * row.of_copy,
                row.gflop_per_s
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_runs_at_a_tiny_size() {
        let report = measure(&KernelsConfig {
            device: DeviceChoice::Cpu,
            only: String::new(),
            shrink: 100,
            rounds: 1,
        })
        .unwrap();
        assert!(report.kernels.len() >= 18);
        for row in &report.kernels {
            assert!(row.bytes > 0 && row.time_us > 0.0, "{row:?}");
            assert!(row.burn_us.is_none_or(|us| us > 0.0), "{row:?}");
            assert!((row.of_copy - row.copy_us / row.time_us).abs() < 1e-9);
        }
        let beside = report.kernels.iter().filter(|row| row.burn_us.is_some());
        assert_eq!(beside.count(), 10);
        let text = report.to_string();
        assert_eq!(text.lines().count(), 3 + report.kernels.len(), "{text}");
    }
}
