//! The part `profile`: one run whose iterations are taken apart.
//!
//! TGN with its memory in RAM and the schedule `mspipe`: every lane of the pipeline has something
//! to do.

use anyhow::Result;

use super::asked::Asked;
use super::found::{Findings, ProfiledRun};
use super::trained::{self, SOUND};

/// What is trained.
const OPTIONS: &str = "--model tgn --schedule mspipe --memory host --profile --epochs 2";

/// What the report calls it.
const NAME: &str = "a profiled run";

/// Batches of an epoch at least: the chart shows 8 from the 12th on, k is chosen at the 16th.
const LEAST: usize = 32;

pub(super) fn run(asked: &Asked, findings: &mut Findings) -> Result<()> {
    findings.plan([NAME.to_owned()])?;
    let device = trained::open(asked)?;
    let per_event = trained::seconds_per_event(asked, &device)?;
    let batch = if asked.quick { 200 } else { 600 };
    let events = trained::events(asked.seconds, per_event, LEAST, batch);
    let options = format!("{OPTIONS} --batch-size {batch} --limit-events {events}");
    findings.check(NAME, SOUND, |report| {
        let config = trained::settings(asked, &options).map_err(trained::text)?;
        let run = trained::train(config, &device, "TGN").map_err(trained::text)?;
        let sound = trained::sound(&run.summary)?;
        let summary = run.summary;
        let seconds = summary.stage_seconds.iter();
        let profile = serde_json::to_value(&summary.profile).map_err(|e| e.to_string())?;
        report.profile = Some(ProfiledRun {
            options: options.clone(),
            events_per_s: summary.epochs.last().map_or(f64::NAN, |e| e.events_per_s),
            stage_seconds: seconds
                .map(|(stage, seconds)| (stage.clone(), seconds.as_f64().unwrap_or(0.0)))
                .collect(),
            queue: summary.queue,
            stall_seconds: summary.stall_seconds,
            staleness: summary.staleness.into_iter().collect(),
            profile,
            timeline: run.timeline,
        });
        Ok(sound.into())
    })
}
