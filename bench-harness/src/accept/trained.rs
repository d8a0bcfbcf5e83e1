//! Runs on the generated stream for the parts that measure.

use anyhow::{Context as _, Result, anyhow};
use mspipe::config::{self, RunConfig};
use mspipe::device::{self, ComputeDevice};
use mspipe::interrupt;
use mspipe::profiler;
use mspipe::run_folder::{RunFolder, Summary};
use mspipe::session::Session;

use super::asked::Asked;
use super::prediction::Load;
use crate::iterations::Iterations;
use crate::reproduce::settings_of;

/// The stream: as many events, nodes and features as Wikipedia's.
pub(super) const STREAM: &str = "synthetic:wikipedia";

/// Its events, and the share of them that is trained on.
const EVENTS: f64 = 157_474.0;
const TRAINED: f64 = 0.7;

/// Events of the stream that are opened to see how fast a device is.
const PROBE_EVENTS: usize = 12_000;

/// Settings of a run on the stream.
pub(super) fn settings(asked: &Asked, options: &str) -> Result<RunConfig> {
    settings_on(STREAM, asked, options)
}

/// Settings of a run on the stream of this name.
fn settings_on(stream: &str, asked: &Asked, options: &str) -> Result<RunConfig> {
    let stream = format!("--data {stream}");
    let device = asked.device;
    settings_of(
        &[&stream, options],
        &[
            format!("--device={}", device.choice),
            format!("--kernels={}", device.kernels),
            format!("--limits={}", device.limits),
        ],
    )
}

/// Seconds of TGN for a training event, at the usual size of a batch.
pub(super) fn seconds_per_event(asked: &Asked, device: &ComputeDevice) -> Result<f64> {
    let config = settings(asked, &format!("--limit-events {PROBE_EVENTS}"))?;
    let batch = config.training.batch_size;
    let session = Session::open_until(config, &interrupt::stop())?;
    device::on_device_thread(|| {
        let mut iterations = Iterations::begin(&session, device)?;
        // The first ones compile, and have no past events.
        iterations.run(3)?;
        let times = 3;
        Ok(iterations.run(times)?.as_secs_f64() / (times * batch) as f64)
    })?
}

/// What an iteration of `model` asks of `device`: the mean of three, after as many that compile and have no past
/// events. On a stream with a tenth fewer nodes where `small`, so that a device that binds little holds
/// their memory.
pub(super) fn load(
    asked: &Asked,
    device: &ComputeDevice,
    (model, batch): (&str, usize),
    small: bool,
) -> Result<Load> {
    const TIMES: usize = 3;
    let stream = match small {
        true => &format!("{STREAM}:scale=0.9"),
        false => STREAM,
    };
    let events = events(0.0, 1.0, 2 * TIMES, batch);
    let options = format!("--model {model} --batch-size {batch} --limit-events {events}");
    let session = Session::open_until(settings_on(stream, asked, &options)?, &interrupt::stop())?;
    device::on_device_thread(|| {
        let mut iterations = Iterations::begin(&session, device)?;
        iterations.run(TIMES)?;
        profiler::take();
        profiler::set_recording(true);
        let ran = iterations.run(TIMES);
        profiler::set_recording(false);
        ran?;
        Ok(Load::of(&profiler::take(), TIMES))
    })?
}

/// Events of the stream to open so that two epochs with their evaluations take about `seconds`, with at
/// least `batches` batches of `batch` to train.
pub(super) fn events(seconds: f64, per_event: f64, batches: usize, batch: usize) -> usize {
    // Two epochs, and half as much again for validation and test.
    let enough = seconds / (3.0 * TRAINED * per_event);
    let least = (batches * batch) as f64 / TRAINED + 1.0;
    enough.max(least).min(EVENTS) as usize
}

/// A finished run in a folder that is removed with it.
pub(super) struct Run {
    /// What it gave.
    pub(super) summary: Summary,
    /// Its timeline, if it drew one.
    pub(super) timeline: Option<String>,
}

/// Trains as `config` says.
pub(super) fn train(mut config: RunConfig, device: &ComputeDevice, title: &str) -> Result<Run> {
    let stop = interrupt::stop();
    let _unfinished = stop.unfinished();
    let out = tempfile::tempdir().context("a folder for the run")?;
    config.output.out = Some(out.path().join("run"));
    config::start_threads(config.machine.threads)?;
    let session = Session::open_until(config, &stop)?;
    let config = session.config();
    let folder = RunFolder::create(config, &session.data.name)?;
    let summary = device::on_device_thread(|| {
        session.train(device, &folder, &mut |event| match event {
            mspipe::train::observer::TrainEvent::EpochRecorded(record) => {
                folder.write_timeline(record, title)
            }
            _ => Ok(()),
        })
    })??;
    let timeline = std::fs::read_to_string(folder.path().join(mspipe::run_folder::TIMELINE)).ok();
    Ok(Run { summary, timeline })
}

/// What a run that trained well shows: losses and scores that are numbers.
pub(super) fn sound(summary: &Summary) -> Result<String, String> {
    let losses: Vec<f64> = summary
        .epochs
        .iter()
        .map(|epoch| epoch.train_loss)
        .collect();
    let texts: Vec<String> = losses.iter().map(|loss| format!("{loss:.4}")).collect();
    let ap = summary.test.own_pool.ap;
    let found = format!("losses {}, test AP {ap:.4}", texts.join(", "));
    match losses.iter().all(|loss| loss.is_finite()) && ap.is_finite() {
        true => Ok(found),
        false => Err(found),
    }
}

/// What [`sound`] expects.
pub(super) const SOUND: &str = "finite losses and scores";

/// An error with all its causes.
pub(super) fn text(error: anyhow::Error) -> String {
    format!("{error:#}")
}

/// Opens the device of all runs of a part.
pub(super) fn open(asked: &Asked) -> Result<ComputeDevice> {
    device::open(asked.device).map_err(|error| anyhow!("{error}"))
}
