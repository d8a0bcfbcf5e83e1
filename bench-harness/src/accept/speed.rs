//! The part `speed`: training events per second of three models, at three sizes of a batch.
//!
//! Two epochs of the generated stream, of which the second counts: the first compiles and warms
//! caches. From the preparation of a batch to the update of the weights, no evaluation. Beside each stands what
//! an iteration should take by what it asks for ([`super::prediction`]).

use anyhow::Result;
use mspipe::{console, device};

use super::asked::Asked;
use super::found::{Findings, SpeedRow};
use super::kernels;
use super::prediction::Predicted;
use super::trained::{self, SOUND};

/// Batches that a run trains at least.
const LEAST: usize = 6;

/// Bytes of APAN's mailboxes on the stream: 9,227 nodes with 10 mails of two rows of 100 and 172 features.
const APAN_TABLE: u64 = 9_227 * 10 * (2 * 100 + 172) * 4;

pub(super) fn run(asked: &Asked, findings: &mut Findings) -> Result<()> {
    let batches: &[usize] = if asked.quick {
        &[600]
    } else {
        &[200, 600, 4000]
    };
    let models = ["tgn", "jodie", "apan"];
    let name = |model: &str, batch: usize| format!("{model}, batch {batch}");
    let all = models
        .iter()
        .flat_map(|model| batches.iter().map(move |&batch| name(model, batch)));
    findings.plan(all.collect::<Vec<_>>())?;
    let device = trained::open(asked)?;
    let per_event = trained::seconds_per_event(asked, &device)?;
    let rates = device::on_device_thread(|| kernels::rates(&device.device))??;
    let each = asked.seconds / (models.len() * batches.len()) as f64;
    for model in models {
        for &batch in batches {
            let events = trained::events(each, per_event, LEAST, batch);
            // WebGPU guarantees 128 MiB to a table, and llvmpipe has no more.
            let (place, why) = match (model, device.table_bytes) {
                ("apan", Some(most)) if most < APAN_TABLE => {
                    ("host", "; memory on the host: the device binds too little")
                }
                _ => ("device", ""),
            };
            let name = name(model, batch);
            console::note(format!("  {name}{why}"));
            findings.check(&name, SOUND, |report| {
                let options = format!(
                    "--model {model} --batch-size {batch} --limit-events {events} --epochs 2 \
                     --memory {place}"
                );
                let config = trained::settings(asked, &options).map_err(trained::text)?;
                let run = trained::train(config, &device, &name).map_err(trained::text)?;
                let sound = trained::sound(&run.summary)?;
                let Some(epoch) = run.summary.epochs.last() else {
                    return Err("no epoch was trained".to_owned());
                };
                let load = trained::load(asked, &device, (model, batch), place == "host")
                    .map_err(trained::text)?;
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
                let found = format!(
                    "{:.0} events/s, {:.1} ms an iteration where {:.1} are predicted, bound by {}; {sound}{why}",
                    row.events_per_s,
                    row.iteration_ms,
                    row.predicted.iteration_ms,
                    row.predicted.bound
                );
                report.speed.push(row);
                Ok(found.into())
            })?;
        }
    }
    Ok(())
}
