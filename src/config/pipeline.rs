//! How iterations overlap, where node memory lies, and what is done about staleness.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::pipeline::link::Link;
use crate::pipeline::schedule::Schedule;

/// Where memory rows and mails are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryPlaceName {
    /// In the device's memory
    Device,
    /// In RAM: for tables that the device can't hold; reading and writing overlap training
    Host,
}

/// What is done about stale memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MitigationName {
    /// Nothing
    None,
    /// The oldest rows of a batch are drawn towards those of similar nodes (MSPipe-S)
    Similarity,
}

/// Settings of the pipeline.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Pipeline")]
pub struct PipelineConfig {
    /// What overlaps with what: sequential, prefetch, staleness:K, mspipe, exact-overlap,
    /// auto, or replay:FILE (the k of each iteration as another run's ledger.jsonl has them)
    #[arg(long, value_name = "NAME", default_value = "sequential")]
    pub schedule: Schedule,

    /// Where node memory is kept
    #[arg(long, value_enum, default_value = "device")]
    pub memory: MemoryPlaceName,

    /// With memory on the host, let what crosses the bus in training take as long as over a
    /// bus of this bandwidth and latency; its rows, and events/s, are EMULATED
    #[arg(long, value_name = "RATE,LATENCY")]
    #[serde(default)]
    pub emulate_link: Option<Link>,

    /// Batches that may be ready ahead of the stage that takes them
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub queue_depth: usize,

    /// What is done about stale memory
    #[arg(long, value_enum, default_value = "none")]
    pub mitigation: MitigationName,

    /// Mitigation: what remains of a corrected row (λ)
    #[arg(long, value_name = "L", default_value_t = 0.9)]
    pub mitigation_keep: f32,

    /// Mitigation: rows are corrected whose age is above this quantile of their batch
    #[arg(long, value_name = "Q", default_value_t = 0.99)]
    pub mitigation_quantile: f64,
}

impl PipelineConfig {
    /// Checks what the types can't.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let fail = |option, found: String, expected| {
            Err(ConfigError::Range {
                option,
                found,
                expected,
            })
        };
        if let (Some(link), MemoryPlaceName::Device) = (self.emulate_link, self.memory) {
            let expected = "--memory host with it: memory on the device crosses no bus";
            return fail(
                "emulate-link",
                format!("{link} with --memory device"),
                expected,
            );
        }
        if !(0.0..=1.0).contains(&self.mitigation_keep) {
            let found = self.mitigation_keep.to_string();
            return fail("mitigation-keep", found, "0 to 1");
        }
        if !(0.0..1.0).contains(&self.mitigation_quantile) {
            let found = self.mitigation_quantile.to_string();
            return fail("mitigation-quantile", found, "at least 0 and below 1");
        }
        Ok(())
    }
}
