//! The part `speed`: training events per second of three models, at three sizes of a batch.
//!
//! Two epochs of the generated stream, of which the second counts: the first compiles and warms
//! caches. From the preparation of a batch to the update of the weights, no evaluation. Beside each stands what
//! an iteration should take by what it asks for ([`super::prediction`]).

use anyhow::Result;
use mspipe::device::{ComputeDevice, KernelChoice};
use mspipe::{console, device};

use super::asked::Asked;
use super::found::{Findings, PartReport, Rates, SpeedRow};
use super::kernels;
use super::prediction::{Elsewhere, Predicted};
use super::trained::{self, SOUND};

/// Batches that a run trains at least.
const LEAST: usize = 6;

/// Bytes of APAN's mailboxes on the stream: 9,227 nodes with 10 mails of two rows of 100 and 172 features.
const APAN_TABLE: u64 = 9_227 * 10 * (2 * 100 + 172) * 4;

/// Models that are trained.
const MODELS: [&str; 3] = ["tgn", "jodie", "apan"];

/// Events of the batches that the kernels of a GPU are counted at where they are run for that alone.
const USUAL: usize = 600;

/// What the report calls that.
const COUNTED: &str = "launches of the kernels for GPUs";

pub(super) fn run(asked: &Asked, findings: &mut Findings) -> Result<()> {
    let batches: &[usize] = if asked.quick {
        &[USUAL]
    } else {
        &[200, USUAL, 4000]
    };
    let name = |model: &str, batch: usize| format!("{model}, batch {batch}");
    let all = MODELS
        .iter()
        .flat_map(|model| batches.iter().map(move |&batch| name(model, batch)));
    findings.plan(all.collect::<Vec<_>>())?;
    let device = trained::open(asked)?;
    let made_for = device.kernels.map_or("", |kernels| kernels.made_for);
    let others = made_for != GPU;
    findings.plan(others.then(|| COUNTED.to_owned()))?;
    let per_event = trained::seconds_per_event(asked, &device)?;
    let rates = device::on_device_thread(|| kernels::rates(&device.device))??;
    findings.report.speed_rates = Some(rates);
    let each = asked.seconds / (MODELS.len() * batches.len()) as f64;
    for model in MODELS {
        for &batch in batches {
            let events = trained::events(each, per_event, LEAST, batch);
            let name = name(model, batch);
            let why = match place(model, &device) {
                "host" => "; memory on the host: the device binds too little",
                _ => "",
            };
            console::note(format!("  {name}{why}"));
            findings.check(&name, SOUND, |report| {
                let (row, sound) = measured((model, batch, events), asked, &device, rates)?;
                let found = format!(
                    "{:.0} events/s, {:.1} ms an iteration where {:.1} are predicted, bound by {}; {sound}{why}",
                    row.events_per_s,
                    row.iteration_ms,
                    row.predicted.iteration_ms,
                    row.predicted.bound
                );
                if !others {
                    report.elsewhere.extend(Elsewhere::of(&row.load, model, batch, made_for));
                }
                report.speed.push(row);
                Ok(found.into())
            })?;
        }
    }
    if others {
        console::note(format!("  {COUNTED}"));
        findings.measure(COUNTED, |report| Ok(counted(asked, made_for, report)))?;
    }
    Ok(())
}

/// [`mspipe::device::Kernels::made_for`] of a GPU's.
const GPU: &str = "gpu";

/// Where a model's memory is. WebGPU guarantees 128 MiB to a table, and llvmpipe has no more.
fn place(model: &str, device: &ComputeDevice) -> &'static str {
    match (model, device.table_bytes) {
        ("apan", Some(most)) if most < APAN_TABLE => "host",
        _ => "device",
    }
}

/// Trains so many events; the speed, and what shows that the training was sound.
fn measured(
    (model, batch, events): (&str, usize, usize),
    asked: &Asked,
    device: &ComputeDevice,
    rates: Rates,
) -> Result<(SpeedRow, String), String> {
    let place = place(model, device);
    let options = format!(
        "--model {model} --batch-size {batch} --limit-events {events} --epochs 2 --memory {place}"
    );
    let config = trained::settings(asked, &options).map_err(trained::text)?;
    let title = format!("{model}, batch {batch}");
    let run = trained::train(config, device, &title).map_err(trained::text)?;
    let sound = trained::sound(&run.summary)?;
    let Some(epoch) = run.summary.epochs.last() else {
        return Err("no epoch was trained".to_owned());
    };
    let load =
        trained::load(asked, device, (model, batch), place == "host").map_err(trained::text)?;
    let row = SpeedRow {
        predicted: Predicted::of(&load, rates.into()),
        load,
        model: model.to_owned(),
        batch_size: batch,
        memory: place.to_owned(),
        events: (epoch.events_per_s * epoch.train_seconds).round() as usize,
        events_per_s: epoch.events_per_s,
        iteration_ms: 1e3 * batch as f64 / epoch.events_per_s,
    };
    Ok((row, sound))
}

/// Counts what iterations ask of a device that runs the kernels for GPUs, which this one does not otherwise, and
/// predicts other GPUs by that; or by its own kernels, where it can't run those.
fn counted(asked: &Asked, made_for: &str, report: &mut PartReport) -> String {
    match loads_of_gpu_kernels(asked) {
        Ok((counted, predicted)) => {
            report.elsewhere = predicted;
            counted
        }
        Err(error) => {
            let own = report
                .speed
                .iter()
                .flat_map(|row| Elsewhere::of(&row.load, &row.model, row.batch_size, made_for));
            report.elsewhere = own.collect();
            format!("can't be counted: {error:#}")
        }
    }
}

fn loads_of_gpu_kernels(asked: &Asked) -> Result<(String, Vec<Elsewhere>)> {
    let mut asked = *asked;
    asked.device.kernels = KernelChoice::Gpu;
    let device = trained::open(&asked)?;
    let (mut texts, mut predicted) = (Vec::new(), Vec::new());
    for model in MODELS {
        let small = place(model, &device) == "host";
        let load = trained::load(&asked, &device, (model, USUAL), small)?;
        texts.push(format!("{model} {:.0}", load.launches));
        predicted.extend(Elsewhere::of(&load, model, USUAL, GPU));
    }
    Ok((format!("{}, batch {USUAL}", texts.join(", ")), predicted))
}
