//! The part `kernels`: the time of each kernel and matrix product, beside what the device's own copy and
//! product would take for its bytes and operations.
//!
//! A window of several calls is timed by the device's timestamps, where it has them, so that neither
//! the host's calls nor its waiting are in it; where it has none, by the host's clock with a wait at
//! each end. The median of several windows counts.

use std::fmt;

use anyhow::{Context as _, Result, anyhow};
use burn::tensor::{Device, Tensor, TimingMethod};
use mspipe::console;
use mspipe::device;
use mspipe::kernels::products::linear;
use mspipe::profiler::machine::{
    LARGE, PRODUCT, copy, median, median_seconds, product, product_gflops,
};
use mspipe::train::upload::floats;

use super::asked::Asked;
use super::found::{Clock, Findings, KernelRow, KernelTimes, Rates};
use crate::kernels::{Case, kernels, products};

/// Calls of a window: few enough for one submission (32 launches), so that the device does not
/// wait for the host within it.
const CALLS: usize = 8;

/// Windows of a case, at least and at most.
const WINDOWS: [usize; 2] = [3, 25];

pub(super) fn run(asked: &Asked, findings: &mut Findings) -> Result<()> {
    let opened = device::open(asked.device)?;
    device::on_device_thread(|| of_device(&opened.device, 1, asked.seconds, findings))?
}

/// Times all kernels with rows divided by `shrink`, in about `seconds`.
///
/// # Errors
/// When the device fails, or the findings can't be written.
pub fn of_device(
    device: &Device,
    shrink: usize,
    seconds: f64,
    findings: &mut Findings,
) -> Result<()> {
    let rates = rates(device)?;
    findings.report.kernels = Some(KernelTimes {
        rates,
        rows: Vec::new(),
    });
    let kernels = kernels(shrink, device)
        .into_iter()
        .map(|case| (case, false));
    let products = products(shrink, device)
        .into_iter()
        .map(|case| (case, true));
    let cases: Vec<(Case, bool)> = kernels.chain(products).collect();
    findings.plan(cases.iter().map(|(case, _)| case.name.to_owned()))?;
    let each = seconds / cases.len() as f64;
    console::note(format!("  {} kernels and products", cases.len()));
    for (case, product) in cases {
        let name = case.name;
        findings.measure(name, |report| {
            let row = row(case, product, rates, each, device).map_err(|e| format!("{e:#}"))?;
            let found = format!(
                "{:.1} µs, {:.0} % of what its bound allows",
                row.us,
                100.0 * row.bound_us / row.us
            );
            if let Some(times) = &mut report.kernels {
                times.rows.push(row);
            }
            Ok(found)
        })?;
    }
    Ok(())
}

fn row(
    mut case: Case,
    product: bool,
    rates: Rates,
    seconds: f64,
    device: &Device,
) -> Result<KernelRow> {
    let (time, clock) = timed(device, seconds, &mut *case.run)?;
    let (bytes, flops) = (case.work.bytes as f64, case.work.flops as f64);
    let bound = (bytes / rates.copy_gb_per_s).max(flops / rates.gflops()) / 1e9;
    Ok(KernelRow {
        name: case.name.to_owned(),
        product,
        us: 1e6 * time,
        bound_us: 1e6 * bound,
        gb_per_s: bytes / time / 1e9,
        gflop_per_s: flops / time / 1e9,
        clock,
    })
}

/// What `device` reaches of the copy and the product that a profile compares with.
///
/// # Errors
/// When it fails.
pub(super) fn rates(device: &Device) -> Result<Rates> {
    let (copied, clock) = timed(device, 0.5, &mut *copy(LARGE, device))?;
    let mut once = product(device);
    let (multiplied, _) = timed(device, 1.0, &mut move || drop(once()))?;
    let [rows, inner, columns] = PRODUCT;
    let [bias, x, weight] = [[1, columns], [rows, inner], [inner, columns]]
        .map(|shape| Tensor::<2>::ones(shape, device));
    let (own, _) = timed(device, 1.0, &mut move || {
        drop(linear(bias.clone(), x.clone(), weight.clone()));
    })?;
    Ok(Rates {
        copy_gb_per_s: 8.0 * LARGE as f64 / copied / 1e9,
        product_gflops: product_gflops(multiplied),
        own_product_gflops: product_gflops(own),
        upload_gb_per_s: upload_gb_per_s(device)?,
        launch_us: launch_us(device)?,
        clock,
    })
}

/// 10^9 bytes per second of numbers that `device` takes from the host.
fn upload_gb_per_s(device: &Device) -> Result<f64> {
    let seconds = median_seconds(WINDOWS[0], || {
        let uploaded = floats(vec![1.0; LARGE], [LARGE], device);
        let synced = device.sync();
        drop(uploaded);
        synced
    });
    Ok(4.0 * LARGE as f64 / seconds.map_err(failed)? / 1e9)
}

/// Microseconds of a launch that adds one to a few numbers, one of many that are enqueued without waiting.
fn launch_us(device: &Device) -> Result<f64> {
    const MANY: usize = 256;
    let mut once = copy(MANY, device);
    let seconds = median_seconds(WINDOWS[0], || {
        (0..MANY).for_each(|_| once());
        device.sync()
    });
    Ok(1e6 * seconds.map_err(failed)? / MANY as f64)
}

/// Seconds of a call of `run` on `device`, measured for about so many seconds after a first window
/// that compiles; and what told them.
fn timed(device: &Device, seconds: f64, run: &mut (dyn FnMut() + Send)) -> Result<(f64, Clock)> {
    // Compiles, and tells how long one takes with everything around it.
    window(device, 1, run)?;
    let begin = std::time::Instant::now();
    let (time, clock) = window(device, 1, run)?;
    let one = begin.elapsed().as_secs_f64();
    // An emulated device takes up to a minute for the large product: that time is the measurement.
    if one > 1.0 {
        return Ok((time, clock));
    }
    // A call that fills the device needs no others beside it.
    let calls = if one > 0.05 { 1 } else { CALLS };
    let [least, most] = WINDOWS;
    let windows = (seconds / (one * calls as f64)) as usize;
    let mut times = Vec::new();
    let mut clock = Clock::Device;
    for _ in 0..windows.clamp(least, most) {
        let (time, by) = window(device, calls, run)?;
        times.push(time / calls as f64);
        clock = by;
    }
    Ok((median(&times), clock))
}

/// Seconds of so many calls.
fn window(device: &Device, calls: usize, run: &mut (dyn FnMut() + Send)) -> Result<(f64, Clock)> {
    // What is enqueued before is not part of it.
    device.sync().map_err(failed)?;
    let profiled = device.profile(|| (0..calls).for_each(|_| run()));
    let ((), duration) = profiled.map_err(failed)?;
    let clock = match duration.timing_method() {
        TimingMethod::Device => Clock::Device,
        TimingMethod::System => Clock::Host,
    };
    let ticks = pollster::block_on(duration.resolve()).context("the device told no time")?;
    Ok((ticks.duration().as_secs_f64(), clock))
}

fn failed(error: impl fmt::Debug) -> anyhow::Error {
    anyhow!("the device failed: {error:?}")
}
