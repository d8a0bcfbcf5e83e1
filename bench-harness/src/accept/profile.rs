//! The part `profile`: one run whose iterations are taken apart.
//!
//! TGN with its memory in RAM and the schedule `mspipe`: every lane of the pipeline has something
//! to do.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::trained::{self, SOUND};
use super::{Asked, Findings};

/// What is trained.
const OPTIONS: &str = "--model tgn --schedule mspipe --memory host --profile --epochs 2";

/// Batches of an epoch at least: the chart shows 8 from the 12th on, k is chosen at the 16th.
const LEAST: usize = 32;

/// A run with its profile.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProfiledRun {
    /// What was trained.
    pub options: String,
    /// Training events per second of the second epoch.
    pub events_per_s: f64,
    /// Seconds in each stage, over all epochs.
    pub stage_seconds: Vec<(String, f64)>,
    /// Seconds that the device thread waited for its input.
    pub stall_seconds: f64,
    /// Training iterations with each k.
    pub staleness: Vec<(usize, usize)>,
    /// `profile` of the run's summary.
    pub profile: Value,
    /// A few iterations, as an SVG element.
    pub timeline: Option<String>,
}

pub(super) fn run(asked: &Asked, findings: &mut Findings) -> Result<()> {
    let device = trained::open(asked)?;
    let per_event = trained::seconds_per_event(asked, &device)?;
    let batch = if asked.quick { 200 } else { 600 };
    let events = trained::events(asked.seconds, per_event, LEAST, batch);
    let options = format!("{OPTIONS} --batch-size {batch} --limit-events {events}");
    findings.check("a profiled run", SOUND, |report| {
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
            stall_seconds: summary.stall_seconds,
            staleness: summary.staleness.into_iter().collect(),
            profile,
            timeline: run.timeline,
        });
        Ok(sound.into())
    })
}
