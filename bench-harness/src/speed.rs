//! `speed`: training events per second, divided by what the machine's matrix product reaches.
//!
//! The ratio is what compares machines: both numbers are measured in the same run, the
//! product before and after training. The first epoch is not counted (it warms caches and
//! compiles shaders); of the others the median is reported. Events per second count batch
//! preparation to weight update, no evaluation.

use std::fmt;

use anyhow::{Context, Result, ensure};
use mspipe::config::{self, RunConfig};
use mspipe::device;
use mspipe::interrupt;
use mspipe::profiler::machine::median;
use mspipe::run_folder::{RunFolder, Summary};
use mspipe::session::Session;
use serde::Serialize;

use crate::cell::synthetic_mark;
use crate::matmul::MatmulReport;

/// A measurement.
#[derive(Debug, Serialize)]
pub struct SpeedReport {
    /// Device that trained.
    pub device: String,
    /// Stream, and whether it was generated.
    pub data: String,
    /// Whether the stream was generated.
    pub synthetic: bool,
    /// Width of the edge features.
    pub edge_width: usize,
    /// Events per batch.
    pub batch_size: usize,
    /// Worker threads.
    pub threads: usize,
    /// Training events per second of each counted epoch.
    pub events_per_s: Vec<f64>,
    /// GFLOP/s of the 19800 x 472 x 300 product, before and after training.
    pub matmul_gflops: [f64; 2],
    /// Median events per second / mean GFLOP/s.
    pub ratio: f64,
    /// Share of each stage in the training time, in percent.
    pub stage_percent: Vec<(String, f64)>,
}

/// Refuses a folder for what is not kept.
///
/// # Errors
/// When `--out` is given.
pub(crate) fn refuse_out(config: &RunConfig) -> Result<()> {
    ensure!(
        config.output.out.is_none(),
        "--out: this command keeps nothing; leave it out"
    );
    Ok(())
}

/// Trains as `config` says, at least two epochs, and measures.
///
/// # Errors
/// When the run fails.
pub fn measure(mut config: RunConfig) -> Result<SpeedReport> {
    refuse_out(&config)?;
    config.training.epochs = config.training.epochs.max(2);
    let stop = interrupt::stop();
    // Taken before the folder is there, and dropped after it.
    let _unfinished = stop.unfinished();
    // Removed at the end, whatever that is.
    let out = tempfile::tempdir().context("a folder for the run")?;
    config.output.out = Some(out.path().to_owned());
    config::start_threads(config.machine.threads)?;
    let session = Session::open_until(config, &stop)?;
    let config = session.config().clone();
    let measured = device::on_device_thread(|| -> Result<([f64; 2], Summary)> {
        let opened = device::open(config.device)?;
        let before = MatmulReport::measure(&opened.device, &opened.adapter)?.gflops;
        let folder = RunFolder::create(&config, &session.data.name)?;
        let summary = session.train(&opened, &folder, &mut |_| Ok(()))?;
        let after = MatmulReport::measure(&opened.device, &opened.adapter)?.gflops;
        Ok(([before, after], summary))
    })?;
    let (matmul_gflops, summary) = measured?;

    let events_per_s: Vec<f64> = summary.epochs[1..].iter().map(|e| e.events_per_s).collect();
    let mean_gflops = (matmul_gflops[0] + matmul_gflops[1]) / 2.0;
    let seconds: Vec<(String, f64)> = summary
        .stage_seconds
        .iter()
        .map(|(stage, seconds)| (stage.clone(), seconds.as_f64().unwrap_or(0.0)))
        .collect();
    let total: f64 = seconds.iter().map(|(_, seconds)| seconds).sum();
    Ok(SpeedReport {
        device: summary.device.adapter,
        data: summary.data.name,
        synthetic: summary.data.synthetic,
        edge_width: summary.data.edge_width,
        batch_size: summary.batch_size,
        threads: rayon::current_num_threads(),
        ratio: median(&events_per_s) / mean_gflops,
        events_per_s,
        matmul_gflops,
        stage_percent: seconds
            .into_iter()
            .map(|(stage, seconds)| (stage, 100.0 * seconds / total))
            .collect(),
    })
}

impl fmt::Display for SpeedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let synthetic = synthetic_mark(self.synthetic);
        writeln!(
            f,
            "{}{synthetic}, edge features {} wide, batch {}, {} threads, {}",
            self.data, self.edge_width, self.batch_size, self.threads, self.device
        )?;
        let epochs: Vec<String> = self
            .events_per_s
            .iter()
            .map(|v| format!("{v:.0}"))
            .collect();
        writeln!(
            f,
            "training events/s by epoch (first left out)  {}",
            epochs.join("  ")
        )?;
        writeln!(
            f,
            "G: 19800 x 472 x 300 product, GFLOP/s        {:.1} before, {:.1} after",
            self.matmul_gflops[0], self.matmul_gflops[1]
        )?;
        write!(
            f,
            "events/s / G                                 {:.1}",
            self.ratio
        )?;
        for (stage, percent) in &self.stage_percent {
            write!(f, "\n  {stage:<15} {percent:5.1} %")?;
        }
        Ok(())
    }
}
